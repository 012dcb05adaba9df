//! Growing the same trees as the general engine, much faster, for the common settings.
//!
//! Every cell becomes a code of one byte ([`codes`]). A node with more rows than a block
//! counts classes by code, scores the cuts between codes from the counts ([`search`],
//! [`scan`]), and looks inside a code that holds several values only where a bound says that a
//! better cut may hide there ([`refine`]). A node of at most 64 rows is a set of bits of its block
//! ([`block`]). Rows are kept grouped by class, so that counting never reads a label.
//!
//! Scores that come close to the best are computed exactly as the general engine does, so the
//! trees agree to the bit. Left to the general engine: missing values, categories, monotonic
//! constraints, random thresholds, more than 256 bins or [`MAX_CLASSES`] classes, and weights
//! that are not one factor a class times small integers.

mod block;
mod codes;
mod grow;
mod refine;
mod scan;
mod search;
mod weights;
mod wide;

use super::nodes::TreeArrays;
use super::params::{Splitter, TrainingSet, TreeParams};
use crate::error::Result;
use crate::parallel::Control;
use crate::tree::Criterion;
use crate::tree::criterion::xlog2x;
use codes::{CODES, Coded};
use ironlearn_kernels::tier::{Tier, active};
use weights::Counts;

/// More classes are left to the general engine.
const MAX_CLASSES: usize = 512;

/// Counts whose `n log n` is looked up.
const LOGARITHMS: usize = 1 << 16;

/// What all trees of a forest share.
pub(crate) struct FastData {
    coded: Coded,
    /// `n log2 n` where the criterion is entropy.
    logarithms: Vec<f64>,
}

/// What the growth of one tree reads.
struct Context<'a> {
    data: TrainingSet<'a>,
    params: &'a TreeParams,
    coded: &'a Coded,
    logarithms: &'a [f64],
    /// Weight of one count of each class.
    scale: &'a [f64],
    /// Whether some scale is not 1.
    scaled: bool,
    /// Whether every row counts once.
    unit: bool,
    /// Bits of a row's number in a packed row; its count is above.
    shift: u32,
    tier: Tier,
    /// Weight of all rows.
    total: f64,
}

impl FastData {
    /// Codes the data, unless settings or values need the general engine.
    pub fn new(
        data: &TrainingSet,
        params: &TreeParams,
        missing: bool,
        control: &Control,
    ) -> Result<Option<FastData>> {
        let free = data.monotonic.is_none() && data.categorical.is_none_or(|c| !c.contains(&true));
        if missing
            || !free
            || params.splitter != Splitter::Best
            || params.max_bins > CODES
            || params.n_classes > MAX_CLASSES
        {
            return Ok(None);
        }
        let coded = Coded::new(
            data.x,
            data.rows,
            data.features,
            params.max_bins,
            params.max_features < data.features,
            by_class(data.targets.codes(), params.n_classes),
            control,
        )?;
        let logarithms = match params.criterion {
            Criterion::Gini => Vec::new(),
            Criterion::Entropy => (0..LOGARITHMS.min(data.rows + 1))
                .map(|n| xlog2x(n as f64))
                .collect(),
        };
        Ok(Some(FastData { coded, logarithms }))
    }

    /// Grows the tree with this number, unless its weights need the general engine.
    pub fn grow(
        &self,
        data: &TrainingSet,
        params: &TreeParams,
        weight: Option<&[f64]>,
        tree: u64,
        control: &Control,
    ) -> Result<Option<TreeArrays>> {
        let Some(counts) = Counts::new(data.targets.codes(), params.n_classes, weight) else {
            return Ok(None);
        };
        let Some(root) = counts.root(data.targets.codes(), self.coded.order()) else {
            return Ok(None);
        };
        let mut total = 0.0;
        for (&count, scale) in root.total.iter().zip(&counts.scale) {
            total += f64::from(count) * scale;
        }
        let context = Context {
            data: *data,
            params,
            coded: &self.coded,
            logarithms: &self.logarithms,
            scale: &counts.scale,
            scaled: counts.scale.iter().any(|&s| s != 1.0),
            unit: counts.unit(),
            shift: counts.shift,
            tier: active(),
            total,
        };
        grow::grow(&context, root, tree, control).map(Some)
    }
}

/// All rows, grouped by class.
fn by_class(y: &[u32], n_classes: usize) -> Vec<u32> {
    let mut next = vec![0usize; n_classes + 1];
    for &class in y {
        next[class as usize + 1] += 1;
    }
    for class in 0..n_classes {
        next[class + 1] += next[class];
    }
    let mut order = vec![0; y.len()];
    for (row, &class) in y.iter().enumerate() {
        let at = &mut next[class as usize];
        order[*at] = row as u32;
        *at += 1;
    }
    order
}

impl Context<'_> {
    /// Whether some cuts are not allowed because a side would be too small.
    fn limited(&self) -> bool {
        self.params.min_samples_leaf > 1 || self.params.min_weight_leaf > 0.0
    }

    /// The bits of a packed row that are its number.
    #[inline]
    fn row_mask(&self) -> u32 {
        ((1u64 << self.shift) - 1) as u32
    }

    #[inline]
    fn row(&self, packed: u32) -> usize {
        (packed & self.row_mask()) as usize
    }

    #[inline]
    fn count(&self, packed: u32) -> u32 {
        if self.unit {
            1
        } else {
            (u64::from(packed) >> self.shift) as u32
        }
    }

    /// Where the value of a feature is in X.
    #[inline]
    fn cell(&self, row: usize, feature: usize) -> usize {
        self.coded.original(row) * self.data.features + feature
    }

    #[inline]
    fn value(&self, row: usize, feature: usize) -> f32 {
        self.data.x[self.cell(row, feature)]
    }

    /// What a side with these counts adds to the score, to the bit as
    /// [`Criterion::side`] has it.
    fn side(&self, counts: impl Iterator<Item = (usize, u32)>) -> f64 {
        let (mut sum, mut total) = (0.0, 0.0);
        match self.params.criterion {
            Criterion::Gini => {
                for (class, count) in counts {
                    let weight = f64::from(count) * self.scale[class];
                    sum += weight * weight;
                    total += weight;
                }
                sum / total
            }
            Criterion::Entropy if !self.scaled => {
                let mut rows = 0u32;
                for (_, count) in counts {
                    sum += self.xlog2x(count);
                    rows += count;
                }
                sum - self.xlog2x(rows)
            }
            Criterion::Entropy => {
                for (class, count) in counts {
                    let weight = f64::from(count) * self.scale[class];
                    sum += xlog2x(weight);
                    total += weight;
                }
                sum - xlog2x(total)
            }
        }
    }

    #[inline]
    fn xlog2x(&self, count: u32) -> f64 {
        match self.logarithms.get(count as usize) {
            Some(&value) => value,
            None => xlog2x(f64::from(count)),
        }
    }

    /// Weight of these counts of each class.
    fn weight(&self, counts: impl Iterator<Item = (usize, u32)>) -> f64 {
        counts
            .map(|(class, n)| f64::from(n) * self.scale[class])
            .sum()
    }
}

#[cfg(test)]
mod tests;
