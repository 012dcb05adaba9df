//! The engine of random thresholds grows the general engine's trees, to the bit.

use super::RandomData;
use crate::parallel::Control;
use crate::rng::Stream;
use crate::tree::grow::Prepared;
use crate::tree::nodes::TreeArrays;
use crate::tree::{Criterion, Loss, Splitter, Targets, TrainingSet, TreeParams};
use proptest::prelude::*;
use std::sync::atomic::AtomicBool;

#[derive(Clone, Copy, Debug)]
enum Weight {
    None,
    Counts,
    Numbers,
}

struct Case {
    rows: usize,
    features: usize,
    classes: usize,
    /// Distinct values of a feature, 0 for many.
    distinct: usize,
    weight: Weight,
    /// Numbers are learned instead of classes.
    loss: Option<Loss>,
    seed: u64,
}

impl Case {
    fn both(
        &self,
        params: &TreeParams,
        block_bytes: usize,
        threads: usize,
    ) -> (TreeArrays, TreeArrays) {
        let mut stream = Stream::new(self.seed, 78);
        let x: Vec<f32> = (0..self.rows * self.features)
            .map(|_| match self.distinct {
                0 => ((stream.next_f64() - 0.3) * 4.0) as f32,
                n => stream.below(n) as f32 * 0.3 - 1.0,
            })
            .collect();
        let y: Vec<u32> = x
            .chunks(self.features)
            .map(|row| {
                let class = (row[0] + row[self.features - 1]).abs() * self.classes as f32;
                if stream.next_f64() < 0.2 {
                    stream.below(self.classes) as u32
                } else {
                    class as u32 % self.classes as u32
                }
            })
            .collect();
        let weight: Option<Vec<f64>> = match self.weight {
            Weight::None => None,
            Weight::Counts => Some((0..self.rows).map(|_| stream.below(4) as f64).collect()),
            Weight::Numbers => Some(
                (0..self.rows)
                    .map(|_| (stream.next_f64() - 0.2).max(0.0) + 1e-9)
                    .collect(),
            ),
        };
        let numbers: Vec<f64> = x
            .chunks(self.features)
            .zip(&y)
            .map(|(row, &class)| {
                f64::from(class)
                    + if self.seed.is_multiple_of(2) {
                        0.0
                    } else {
                        row[0].abs().into()
                    }
            })
            .collect();
        let data = TrainingSet {
            x: &x,
            rows: self.rows,
            features: self.features,
            targets: match self.loss {
                None => Targets::Classes {
                    codes: &y,
                    n_classes: &[self.classes],
                },
                Some(loss) => Targets::Values {
                    values: &numbers,
                    outputs: 1,
                    loss,
                },
            },
            weight: weight.as_deref().filter(|w| w.iter().any(|&w| w > 0.0)),
            categorical: None,
            monotonic: None,
        };
        let serial = Control::serial();
        let general = Prepared::with(&data, params, None, None, &serial).unwrap();
        let slow = general.grow(data.weight, 3, &serial).unwrap();
        let cancel = AtomicBool::new(false);
        let control = Control::new(&cancel, threads);
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        let quick = pool.install(|| {
            let random = RandomData::new(&data, params, false, &control)
                .unwrap()
                .expect("these settings are not left to the general engine")
                .with_block_bytes(block_bytes);
            let prepared = Prepared::with(&data, params, None, Some(random), &control).unwrap();
            prepared.grow(data.weight, 3, &control).unwrap()
        });
        (quick, slow)
    }

    fn params(&self) -> TreeParams {
        TreeParams {
            n_classes: if self.loss.is_none() { self.classes } else { 1 },
            criterion: Criterion::Gini,
            splitter: Splitter::Random,
            max_depth: None,
            min_samples_split: 2,
            min_samples_leaf: 1,
            min_weight_leaf: 0.0,
            max_features: self.features,
            max_leaf_nodes: None,
            min_impurity_decrease: 0.0,
            max_bins: 0,
            seed: self.seed,
        }
    }
}

fn weights() -> impl Strategy<Value = Weight> {
    prop_oneof![
        Just(Weight::None),
        Just(Weight::Counts),
        Just(Weight::Numbers)
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn trees_agree_with_the_general_engine(
        rows in prop_oneof![2usize..70, 60usize..900],
        features in 1usize..12,
        classes in prop_oneof![1usize..4, 5usize..25],
        distinct in prop_oneof![Just(0usize), 1usize..6, 20usize..250, 257usize..2000],
        weight in weights(),
        entropy in any::<bool>(),
        leaf in prop_oneof![Just(1usize), 1usize..20],
        light in prop_oneof![Just(0.0), 0.0f64..20.0],
        drawn in 0.0f64..1.0,
        depth in prop_oneof![Just(None), (1usize..9).prop_map(Some)],
        block_bytes in prop_oneof![Just(0usize), 100usize..2000, Just(1usize << 20)],
        decrease in prop_oneof![Just(0.0), 0.0f64..0.02],
        loss in prop_oneof![Just(None), Just(Some(Loss::Squared)), Just(Some(Loss::Poisson))],
        seed in 0u64..1000,
    ) {
        let case = Case { rows, features, classes, distinct, weight, loss, seed };
        let mut params = case.params();
        if entropy {
            params.criterion = Criterion::Entropy;
        }
        params.min_samples_leaf = leaf;
        params.min_weight_leaf = light;
        params.max_features = 1 + (drawn * features as f64) as usize;
        params.max_depth = depth;
        params.min_impurity_decrease = decrease;
        let (quick, slow) = case.both(&params, block_bytes, 1);
        prop_assert_eq!(&quick.feature, &slow.feature);
        prop_assert_eq!(&quick.threshold, &slow.threshold);
        prop_assert_eq!(quick, slow);
    }
}

#[test]
fn large_nodes_blocks_and_threads_agree_too() {
    for (rows, features, distinct, classes) in [
        (12_000, 5, 0, 2),
        (9_000, 40, 0, 4),
        (9_000, 90, 200, 10),
        (9_000, 90, 0, 3),
        (3_000, 300, 2, 3),
    ] {
        let losses = [None, Some(Loss::Squared)].into_iter();
        let weights = [Weight::None, Weight::Counts, Weight::Numbers];
        for (loss, weight) in losses.flat_map(|loss| weights.map(|weight| (loss, weight))) {
            let case = Case {
                rows,
                features,
                classes,
                distinct,
                weight,
                loss,
                seed: 5,
            };
            let mut params = case.params();
            params.max_features = features.isqrt();
            let (quick, slow) = case.both(&params, 1 << 16, 3);
            assert!(quick.len() > 100);
            assert!(quick == slow, "{rows} {features} {distinct} {weight:?}");
        }
    }
}
