//! Growing trees with random thresholds (Geurts, Ernst and Wehenkel, "Extremely randomized
//! trees", Machine Learning 63, 2006): the general engine's trees to the bit, much faster.
//!
//! A drawn feature needs two things of a node: the extremes of its cells, and the sums of the
//! targets on the left of one cut. So columns are kept as integers that sort like the values
//! ([`cells`]): one byte where every feature has at most 256 values. A node gathers the cells of
//! a drawn feature once, and both passes then run over memory that lies together. Rows stay
//! grouped by class, so that counting never reads a label ([`classes`]). A node that fits into
//! the second-level cache copies its rows; the whole subtree below then works there ([`grow`]).
//!
//! Left to the general engine: missing values, categories, bins, monotonic constraints, a limit
//! on the number of leaves, and several outputs.

mod cells;
mod classes;
mod grow;

use super::nodes::TreeArrays;
use super::params::{Splitter, TrainingSet, TreeParams};
use crate::error::Result;
use crate::parallel::Control;
use cells::Coded;
use classes::ClassRule;

/// Sums of squares of so many rows are exact.
const MOST_ROWS: usize = 1 << 26;

/// What all trees of a forest share.
pub(crate) struct RandomData {
    cells: Cells,
    rule: ClassRule,
}

enum Cells {
    Bytes(Coded<u8>),
    Keys(Coded<i32>),
}

impl RandomData {
    /// Codes the data, unless settings or values need the general engine.
    pub fn new(
        data: &TrainingSet,
        params: &TreeParams,
        missing: bool,
        control: &Control,
    ) -> Result<Option<RandomData>> {
        let plain = data.monotonic.is_none() && data.categorical.is_none_or(|c| !c.contains(&true));
        if missing
            || !plain
            || params.splitter != Splitter::Random
            || params.max_bins > 0
            || params.max_leaf_nodes.is_some()
            || data.rows > MOST_ROWS
        {
            return Ok(None);
        }
        let (rule, order) = ClassRule::new(data.targets.codes(), params);
        let cells = match Coded::bytes(data, &order, control)? {
            Some(coded) => Cells::Bytes(coded),
            None => Cells::Keys(Coded::keys(data, &order, control)?),
        };
        Ok(Some(RandomData { cells, rule }))
    }

    /// Grows the tree with this number on the rows of positive `weight`.
    pub fn grow(
        &self,
        data: &TrainingSet,
        params: &TreeParams,
        weight: Option<&[f64]>,
        tree: u64,
        control: &Control,
    ) -> Result<TreeArrays> {
        match &self.cells {
            Cells::Bytes(coded) => {
                let weight = in_order(weight, coded.order());
                let (rows, sums) = self.rule.root(weight.as_deref());
                grow::grow(data, params, coded, rows, sums, tree, control)
            }
            Cells::Keys(coded) => {
                let weight = in_order(weight, coded.order());
                let (rows, sums) = self.rule.root(weight.as_deref());
                grow::grow(data, params, coded, rows, sums, tree, control)
            }
        }
    }
}

/// The weights in the order of the coded rows; none where all rows count once.
fn in_order(weight: Option<&[f64]>, order: &[u32]) -> Option<Vec<f64>> {
    let weight = weight.filter(|weight| weight.iter().any(|&w| w != 1.0))?;
    Some(order.iter().map(|&row| weight[row as usize]).collect())
}

#[cfg(test)]
mod tests;
