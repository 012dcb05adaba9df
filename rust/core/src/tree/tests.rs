use super::*;
use proptest::prelude::*;

fn params(n_classes: usize, features: usize) -> TreeParams {
    TreeParams {
        n_classes,
        criterion: Criterion::Gini,
        splitter: Splitter::Best,
        max_depth: None,
        min_samples_split: 2,
        min_samples_leaf: 1,
        min_weight_leaf: 0.0,
        max_features: features,
        max_leaf_nodes: None,
        min_impurity_decrease: 0.0,
        max_bins: 0,
        seed: 1,
    }
}

fn set<'a>(x: &'a [f32], y: &'a [u32], n_classes: &'a [usize], features: usize) -> TrainingSet<'a> {
    TrainingSet {
        x,
        rows: y.len(),
        features,
        targets: Targets::Classes {
            codes: y,
            n_classes,
        },
        weight: None,
        categorical: None,
        monotonic: None,
    }
}

#[test]
fn worked_example() {
    // Cutting at 2.5 separates {0,0} from {1,1,0}; then 4.5 separates the rest.
    let x = [1.0, 2.0, 3.0, 4.0, 5.0];
    let y = [0, 0, 1, 1, 0];
    let tree = fit_tree(&set(&x, &y, &[2], 1), &params(2, 1), 0, &Control::serial()).unwrap();
    assert_eq!(tree.threshold, [2.5, -2.0, 4.5, -2.0, -2.0]);
    assert_eq!(tree.left, [1, -1, 3, -1, -1]);
    assert_eq!(tree.right, [2, -1, 4, -1, -1]);
    assert_eq!(tree.n_node_samples, [5, 2, 3, 2, 1]);
    assert!((tree.impurity[0] - 0.48).abs() < 1e-12);
}

proptest! {
    #[test]
    fn training_rows_reach_pure_leaves(
        cells in prop::collection::vec((-3i32..3, -3i32..3, 0u32..3), 1..60)
    ) {
        let x: Vec<f32> = cells.iter().flat_map(|c| [c.0 as f32, c.1 as f32]).collect();
        // Equal rows get equal labels, so that a full tree can separate everything.
        let y: Vec<u32> = cells.iter().map(|c| ((c.0 * 7 + c.1 * 3).rem_euclid(3)) as u32).collect();
        let tree = fit_tree(&set(&x, &y, &[3], 2), &params(3, 2), 0, &Control::serial()).unwrap();
        let model = ForestModel::from_tree(Outputs::Classes(vec![3]), 2, tree);
        let model = ForestModel::from_arrays(Outputs::Classes(vec![3]), 2, model.arrays().clone()).unwrap();
        let codes = model.predict_codes(&x, y.len(), Voting::Soft, &Control::serial()).unwrap();
        prop_assert_eq!(codes, y.iter().map(|&c| i64::from(c)).collect::<Vec<_>>());
    }
}
