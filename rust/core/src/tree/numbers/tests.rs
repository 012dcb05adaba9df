use super::*;
use crate::rng::Stream;
use crate::tree::{Criterion, Targets};
use proptest::prelude::*;
use std::sync::atomic::AtomicBool;

struct Case {
    x: Vec<f32>,
    y: Vec<f64>,
    weight: Option<Vec<f64>>,
    rows: usize,
    features: usize,
    outputs: usize,
    loss: Loss,
}

impl Case {
    fn new(rows: usize, features: usize, outputs: usize, distinct: usize, seed: u64) -> Case {
        let mut stream = Stream::new(seed, 1);
        let mut x = Vec::new();
        for _ in 0..rows * features {
            let u = stream.next_f64();
            x.push(match distinct {
                0 => u as f32,
                n => (u * n as f64).floor() as f32,
            });
        }
        let y = (0..rows * outputs)
            .map(|i| f64::from(x[i / outputs * features]) + stream.next_f64())
            .collect();
        Case {
            x,
            y,
            weight: None,
            rows,
            features,
            outputs,
            loss: Loss::Squared,
        }
    }

    fn data(&self) -> TrainingSet<'_> {
        TrainingSet {
            x: &self.x,
            rows: self.rows,
            features: self.features,
            targets: Targets::Values {
                values: &self.y,
                outputs: self.outputs,
                loss: self.loss,
            },
            weight: self.weight.as_deref(),
            categorical: None,
            monotonic: None,
        }
    }

    fn params(&self) -> TreeParams {
        TreeParams {
            n_classes: 1,
            criterion: Criterion::Gini,
            splitter: Splitter::Best,
            max_depth: None,
            min_samples_split: 2,
            min_samples_leaf: 1,
            min_weight_leaf: 0.0,
            max_features: self.features,
            max_leaf_nodes: None,
            min_impurity_decrease: 0.0,
            max_bins: 0,
            seed: 3,
        }
    }

    fn grow(&self, params: &TreeParams, kept: bool, control: &Control) -> TreeArrays {
        let target = (&self.y[..], self.outputs, self.loss);
        let data = self.data();
        data.validate(params).unwrap();
        let shared = NumberData::with(&data, params, target, Vec::new(), kept, control).unwrap();
        shared.grow(data.weight, 0, control).unwrap()
    }
}

const LOSSES: [Loss; 3] = [Loss::Squared, Loss::Absolute, Loss::Poisson];

proptest! {
    #[test]
    fn kept_and_gathered_lists_grow_the_same_tree(
        rows in 1usize..80,
        features in 1usize..5,
        outputs in 1usize..3,
        distinct in prop_oneof![Just(0usize), 1usize..6],
        loss in 0usize..3,
        weighted in any::<bool>(),
        gaps in any::<bool>(),
        leaves in prop_oneof![Just(None), (2usize..20).prop_map(Some)],
        leaf in 1usize..4,
        drawn in 1usize..5,
        seed in 0u64..1000,
    ) {
        let mut case = Case::new(rows, features, outputs, distinct, seed);
        case.loss = LOSSES[loss];
        let mut stream = Stream::new(seed, 2);
        if weighted {
            let mut weight: Vec<f64> = (0..rows).map(|_| stream.below(4) as f64 / 2.0).collect();
            weight[0] = 1.0;
            case.weight = Some(weight);
        }
        if gaps {
            for value in &mut case.x {
                if stream.below(5) == 0 {
                    *value = f32::NAN;
                }
            }
        }
        let mut params = case.params();
        params.max_leaf_nodes = leaves;
        params.min_samples_leaf = leaf;
        params.max_features = drawn.min(features);
        let kept = case.grow(&params, true, &Control::serial());
        let gathered = case.grow(&params, false, &Control::serial());
        prop_assert_eq!(kept, gathered);
    }
}

#[test]
fn threads_do_not_change_a_tree() {
    for loss in LOSSES {
        for splitter in [Splitter::Best, Splitter::Random] {
            let mut case = Case::new(6000, 8, 1, 0, 7);
            case.loss = loss;
            let mut params = case.params();
            params.splitter = splitter;
            let kept = splitter == Splitter::Best;
            let one = case.grow(&params, kept, &Control::serial());
            let cancel = AtomicBool::new(false);
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(3)
                .build()
                .unwrap();
            let many = pool.install(|| case.grow(&params, kept, &Control::new(&cancel, 3)));
            assert_eq!(one, many);
            assert!(one.len() > 1000);
        }
    }
}

#[test]
fn a_deep_chain_grows_on_several_threads() {
    // Each of the first rows outweighs all before it, so that each split cuts off one row.
    let rows = 5_000;
    let case = Case {
        x: (0..rows).map(|i| i as f32).collect(),
        y: (0..rows)
            .map(|i| if i < 900 { 2f64.powi(i) } else { 0.0 })
            .collect(),
        weight: None,
        rows: rows as usize,
        features: 1,
        outputs: 1,
        loss: Loss::Squared,
    };
    let params = case.params();
    let one = case.grow(&params, true, &Control::serial());
    let cancel = AtomicBool::new(false);
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(3)
        .build()
        .unwrap();
    let many = pool.install(|| case.grow(&params, true, &Control::new(&cancel, 3)));
    assert_eq!(one, many);
    assert!(one.len() > 900);
}

#[test]
fn a_large_offset_does_not_hide_a_small_step() {
    // The squares of these targets differ in their last bits alone.
    let x: Vec<f32> = (0..20).map(|i| i as f32).collect();
    let y = (0..20).map(|i| 1e9 + f64::from(u8::from(i >= 7))).collect();
    let case = Case {
        y,
        x,
        weight: None,
        rows: 20,
        features: 1,
        outputs: 1,
        loss: Loss::Squared,
    };
    let mut params = case.params();
    params.max_depth = Some(1);
    let tree = case.grow(&params, true, &Control::serial());
    assert_eq!(tree.threshold[0], 6.5);
    assert_eq!(tree.impurity[1..], [0.0, 0.0]);
}
