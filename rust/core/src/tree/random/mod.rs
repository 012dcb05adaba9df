//! Growing trees with random thresholds (Geurts, Ernst and Wehenkel, "Extremely randomized
//! trees", Machine Learning 63, 2006): the general engine's trees to the bit, much faster.
//!
//! A drawn feature needs two things of a node: the extremes of its cells, and the sums of the
//! targets on the left of one cut. So columns are kept as codes of one byte ([`codes`]) that sort
//! like the values; where a code stands for several values, the few rows that share the code of
//! an extreme or of the cut are looked up ([`source`]). A node gathers the codes of a drawn
//! feature once, and all passes then run over memory that lies together. Rows stay grouped by
//! class, so that counting never reads a label ([`classes`]; [`numbers`] adds up numbers). A subtree that fits into the
//! second-level cache copies its rows and works there ([`grow`]).
//!
//! Left to the general engine: missing values, categories, bins, monotonic constraints, a limit
//! on the number of leaves, several outputs, and absolute errors.

mod classes;
mod codes;
mod grow;
mod numbers;
mod source;
mod sums;

use super::Loss;
use super::nodes::TreeArrays;
use super::params::{Splitter, Targets, TrainingSet, TreeParams};
use crate::error::Result;
use crate::parallel::Control;
use classes::ClassRule;
use codes::Coded;
use numbers::NumberRule;
use sums::Sums;

/// Sums of squares of so many rows are exact.
const MOST_ROWS: usize = 1 << 26;

/// Bytes of a block that stays in the second-level cache with what is beside it.
const BLOCK_BYTES: usize = 1 << 19;

/// What all trees of a forest share.
pub(crate) struct RandomData {
    coded: Coded,
    rule: Rule,
    block_bytes: usize,
}

enum Rule {
    Classes(ClassRule),
    Numbers(NumberRule),
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
        let (rule, order) = match data.targets {
            Targets::Classes { codes, n_classes } if n_classes.len() == 1 => {
                let (rule, order) = ClassRule::new(codes, params);
                (Rule::Classes(rule), order)
            }
            Targets::Values {
                values,
                outputs: 1,
                loss: loss @ (Loss::Squared | Loss::Poisson),
            } => {
                let rule = NumberRule::new(values, loss, params);
                (Rule::Numbers(rule), (0..data.rows as u32).collect())
            }
            _ => return Ok(None),
        };
        Ok(Some(RandomData {
            coded: Coded::new(data, order, control)?,
            rule,
            block_bytes: BLOCK_BYTES,
        }))
    }

    /// The same with blocks of another size.
    #[cfg(test)]
    fn with_block_bytes(self, block_bytes: usize) -> RandomData {
        RandomData {
            block_bytes,
            ..self
        }
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
        match (&self.rule, data.targets) {
            (Rule::Numbers(rule), Targets::Values { values, .. }) => {
                let (rows, sums) = rule.root(values, weight);
                self.grow_from(data, params, rows, sums, tree, control)
            }
            (Rule::Classes(rule), _) => {
                let weight = in_order(weight, self.coded.order());
                let (rows, sums) = rule.root(weight.as_deref());
                self.grow_from(data, params, rows, sums, tree, control)
            }
            (Rule::Numbers(_), Targets::Classes { .. }) => {
                unreachable!("the rule was made for the same targets")
            }
        }
    }

    fn grow_from<S: Sums>(
        &self,
        data: &TrainingSet,
        params: &TreeParams,
        rows: Vec<u32>,
        sums: S,
        tree: u64,
        control: &Control,
    ) -> Result<TreeArrays> {
        let (coded, bytes) = (&self.coded, self.block_bytes);
        if coded.all_exact() {
            grow::grow::<u8, S>(data, params, coded, bytes, rows, sums, tree, control)
        } else {
            grow::grow::<i32, S>(data, params, coded, bytes, rows, sums, tree, control)
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
