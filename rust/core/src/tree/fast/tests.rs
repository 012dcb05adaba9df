//! The fast engine grows the general engine's trees, to the bit.

use crate::parallel::Control;
use crate::rng::Stream;
use crate::tree::grow::Prepared;
use crate::tree::nodes::TreeArrays;
use crate::tree::{Criterion, Splitter, Targets, TrainingSet, TreeParams};
use proptest::prelude::*;
use std::sync::atomic::AtomicBool;

struct Case {
    rows: usize,
    features: usize,
    classes: usize,
    /// Distinct values of a feature, 0 for many.
    distinct: usize,
    noise: f64,
    weights: Option<u32>,
    scale: Option<Vec<f64>>,
    seed: u64,
}

impl Case {
    fn data(&self) -> (Vec<f32>, Vec<u32>, Option<Vec<f64>>) {
        let mut stream = Stream::new(self.seed, 77);
        let mut x = Vec::new();
        for _ in 0..self.rows * self.features {
            let u = stream.next_f64();
            x.push(match self.distinct {
                0 => ((u - 0.3) * 4.0) as f32,
                n => (u * n as f64).floor() as f32 - 3.0,
            });
        }
        let largest = if self.distinct == 0 {
            4.0
        } else {
            self.distinct as f64
        };
        let y: Vec<u32> = x
            .chunks(self.features)
            .map(|row| {
                let signal = f64::from(row[0] + row[self.features - 1]) / largest;
                if stream.next_f64() < self.noise {
                    stream.below(self.classes) as u32
                } else {
                    ((signal.abs() * 2.0 * self.classes as f64) as usize % self.classes) as u32
                }
            })
            .collect();
        let mut weight = self.weights.map(|most| {
            let draw = |_| stream.below(most as usize + 1) as f64;
            let mut weight: Vec<f64> = (0..self.rows).map(draw).collect();
            weight[0] = 1.0;
            weight
        });
        if let (Some(weight), Some(scale)) = (&mut weight, &self.scale) {
            for (w, &class) in weight.iter_mut().zip(&y) {
                *w *= scale[class as usize];
            }
        }
        (x, y, weight)
    }
}

fn both(case: &Case, params: &TreeParams, threads: usize) -> (TreeArrays, TreeArrays) {
    let (x, y, weight) = case.data();
    let data = TrainingSet {
        x: &x,
        rows: case.rows,
        features: case.features,
        targets: Targets::Classes {
            codes: &y,
            n_classes: &[case.classes],
        },
        weight: weight.as_deref(),
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
        let prepared = Prepared::new(&data, params, &control).unwrap();
        assert!(prepared.is_fast());
        prepared.grow(data.weight, 3, &control).unwrap()
    });
    (quick, slow)
}

fn params(case: &Case) -> TreeParams {
    TreeParams {
        n_classes: case.classes,
        criterion: Criterion::Gini,
        splitter: Splitter::Best,
        max_depth: None,
        min_samples_split: 2,
        min_samples_leaf: 1,
        min_weight_leaf: 0.0,
        max_features: case.features,
        max_leaf_nodes: None,
        min_impurity_decrease: 0.0,
        max_bins: 0,
        seed: case.seed,
    }
}

fn same(a: &TreeArrays, b: &TreeArrays) -> Result<(), TestCaseError> {
    prop_assert_eq!(&a.feature, &b.feature);
    prop_assert_eq!(&a.threshold, &b.threshold);
    prop_assert_eq!(&a.n_node_samples, &b.n_node_samples);
    prop_assert_eq!(a, b);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]
    #[test]
    fn trees_agree_with_the_general_engine(
        rows in prop_oneof![2usize..70, 60usize..900],
        features in 1usize..8,
        classes in prop_oneof![Just(2usize), 2usize..6, 15usize..19],
        distinct in prop_oneof![Just(0usize), 2usize..6, 20usize..300, 1000usize..4000],
        noise in prop_oneof![Just(0.1), Just(0.9)],
        weights in prop_oneof![Just(None), (1u32..5).prop_map(Some)],
        entropy in any::<bool>(),
        leaf in prop_oneof![Just(1usize), 1usize..20],
        light in prop_oneof![Just(0.0), 0.0f64..20.0],
        few_features in any::<bool>(),
        leaves in prop_oneof![Just(None), (2usize..40).prop_map(Some)],
        max_bins in prop_oneof![Just(0usize), Just(0usize), 2usize..200],
        seed in 0u64..1000,
    ) {
        let case = Case { rows, features, classes, distinct, noise, weights, scale: None, seed };
        let mut params = params(&case);
        if entropy {
            params.criterion = Criterion::Entropy;
        }
        params.min_samples_leaf = leaf;
        params.min_weight_leaf = light;
        params.max_leaf_nodes = leaves;
        params.max_bins = max_bins;
        if few_features {
            params.max_features = features.div_ceil(2);
        }
        let (quick, slow) = both(&case, &params, 1);
        same(&quick, &slow)?;
    }
}

#[test]
fn large_nodes_and_threads_agree_too() {
    for (distinct, classes, weights) in [
        (0, 2, None),
        (0, 2, Some(3)),
        (0, 4, Some(2)),
        (200, 10, None),
        (2000, 3, None),
    ] {
        let case = Case {
            rows: 12_000,
            features: 5,
            classes,
            distinct,
            noise: 0.2,
            weights,
            scale: None,
            seed: 5,
        };
        for criterion in [Criterion::Gini, Criterion::Entropy] {
            let mut params = params(&case);
            params.criterion = criterion;
            params.min_samples_leaf = 2;
            let (quick, slow) = both(&case, &params, 3);
            assert!(
                quick == slow,
                "{distinct} values, {classes} classes, {criterion:?}"
            );
            params.max_features = 2;
            params.max_depth = Some(9);
            let (quick, slow) = both(&case, &params, 3);
            assert!(
                quick == slow,
                "drawn, {distinct} values, {classes} classes, {criterion:?}"
            );
        }
    }
}

#[test]
fn class_weights_are_factors() {
    // Weights that add up without rounding, so that order does not matter.
    for classes in [2, 3] {
        for weights in [1, 3] {
            let case = Case {
                rows: 3000,
                features: 4,
                classes,
                distinct: 0,
                noise: 0.3,
                weights: Some(weights),
                scale: Some(vec![0.75, 1.5, 0.625]),
                seed: 8,
            };
            let (quick, slow) = both(&case, &params(&case), 2);
            assert!(quick == slow, "{classes} classes, weights up to {weights}");
        }
    }
}
