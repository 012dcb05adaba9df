use super::*;
use crate::tree::{Criterion, Splitter, Voting};
use std::sync::atomic::AtomicBool;

#[test]
fn a_forest_in_steps_is_one_grown_at_once_on_any_number_of_threads() {
    let mut stream = Stream::new(5, 0);
    let rows = 200;
    let x: Vec<f32> = (0..rows * 4).map(|_| stream.next_f64() as f32).collect();
    let y: Vec<u32> = x
        .chunks(4)
        .map(|r| u32::from(r[0] + r[1] * r[2] > 0.7))
        .collect();
    let data = TrainingSet {
        x: &x,
        rows,
        features: 4,
        targets: Targets::Classes {
            codes: &y,
            n_classes: &[2],
        },
        weight: None,
        categorical: None,
        monotonic: None,
    };
    let params = TreeParams {
        n_classes: 2,
        criterion: Criterion::Gini,
        splitter: Splitter::Best,
        max_depth: None,
        min_samples_split: 2,
        min_samples_leaf: 1,
        min_weight_leaf: 0.0,
        max_features: 2,
        max_leaf_nodes: None,
        min_impurity_decrease: 0.0,
        max_bins: 0,
        seed: 9,
    };
    let forest = ForestParams {
        n_trees: 8,
        first_tree: 0,
        bootstrap: true,
        n_draws: rows,
        balanced_subsample: false,
        oob: true,
    };
    let (all, votes) = fit_forest(&data, &params, &forest, &Control::serial()).unwrap();
    let part = |first_tree, n_trees| {
        let forest = ForestParams {
            first_tree,
            n_trees,
            ..forest
        };
        fit_forest(&data, &params, &forest, &Control::serial())
            .unwrap()
            .0
    };
    let joined = ForestModel::concat(&[&part(0, 3), &part(3, 5)]).unwrap();
    assert_eq!(all.arrays(), joined.arrays());
    let cancel = AtomicBool::new(false);
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(3)
        .build()
        .unwrap();
    let many = pool
        .install(|| fit_forest(&data, &params, &forest, &Control::new(&cancel, 3)))
        .unwrap();
    assert_eq!(all.arrays(), many.0.arrays());
    assert_eq!(votes, many.1);
    let codes = all
        .predict_codes(&x, rows, Voting::Soft, &Control::serial())
        .unwrap();
    let right = codes
        .iter()
        .zip(&y)
        .filter(|(c, y)| **c == i64::from(**y))
        .count();
    assert!(right >= 195, "{right} of {rows}");
}
