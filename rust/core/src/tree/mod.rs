//! Exact decision trees for classes and for numbers.
//!
//! The best split of a node is the one that a full sort of every feature would find
//! (Breiman, Friedman, Olshen and Stone, "Classification and Regression Trees", 1984).
//! Thresholds, stopping rules and the treatment of missing values are scikit-learn's. Ties
//! between features are broken by a hash of (seed, path of the node, feature), so that no
//! feature is preferred and the tree does not depend on the number of threads.

mod bins;
mod categorical;
mod criterion;
mod fast;
mod grow;
mod layout;
mod model;
mod nodes;
mod numbers;
mod params;
mod predict;
mod random;
mod sorted;

pub use criterion::{Criterion, Loss};
pub use model::{ForestModel, ModelArrays, Voting};
pub use nodes::TreeArrays;
pub use params::{Outputs, Splitter, Targets, TrainingSet, TreeParams};

use crate::error::Result;
use crate::parallel::Control;

/// Grows one tree. `tree` numbers it within a forest: together with the seed it keys every
/// random choice.
pub fn fit_tree(
    data: &TrainingSet,
    params: &TreeParams,
    tree: u64,
    control: &Control,
) -> Result<TreeArrays> {
    data.validate(params)?;
    let prepared = grow::Prepared::new(data, params, control)?;
    prepared.grow(data.weight, tree, control)
}

pub(crate) use grow::Prepared;

#[cfg(test)]
mod tests;
