//! Growing trees of numbers (Breiman et al. 1984, chapter 8): exact, for every setting.
//!
//! Where most features are tried at a node, each feature keeps its rows in the order of its
//! values all the way down: sorted once, the lists are split in two, keeping their order, with
//! each node (Shafer, Agrawal and Mehta, "SPRINT", VLDB 1996). A cut is then scored from
//! running sums, a few nanoseconds a cell. Where few features are drawn, or thresholds are
//! random, the node's rows are gathered instead. Both ways add up in the same order, so they
//! grow the same trees.
//!
//! Sums are of distances to about the node's mean: scores do not suffer where targets are large
//! and vary little. Where all targets are whole numbers, so is what is added up, and the sums
//! are exact.

mod absolute;
mod grow;
mod lists;
pub(super) mod node;
mod random;
pub(super) mod scan;
mod search;
pub(super) mod source;
#[cfg(test)]
mod tests;

use super::bins::Bins;
use super::nodes::TreeArrays;
use super::params::{Splitter, TrainingSet, TreeParams};
use crate::error::Result;
use crate::parallel::{Control, map_chunks};
use crate::tree::Loss;
use lists::{key_or_missing, pack, sort};

/// Cells whose sorted lists may be kept, eight bytes each, in the forest and in each tree.
const MOST_CELLS: usize = 1 << 27;

/// Lists are kept where at least one of so many features is tried at each node; otherwise
/// splitting the lists of all takes longer than sorting the few that are tried.
const KEPT_PER_TRIED: usize = 5;

/// What all trees of a forest share.
pub(crate) struct NumberData<'a> {
    data: TrainingSet<'a>,
    params: &'a TreeParams,
    values: &'a [f64],
    outputs: usize,
    loss: Loss,
    /// Whether all targets are whole numbers that add up exactly.
    whole: bool,
    bins: Vec<Bins>,
    /// Which features have missing values.
    missing: Vec<bool>,
    /// Each feature's rows in the order of its values; none where rows are gathered.
    lists: Vec<Vec<u64>>,
    /// The rows in the order of each output, where medians are wanted.
    by_target: Vec<Vec<u32>>,
}

impl<'a> NumberData<'a> {
    /// Sorts what is to be kept sorted.
    pub fn new(
        data: &TrainingSet<'a>,
        params: &'a TreeParams,
        target: (&'a [f64], usize, Loss),
        bins: Vec<Bins>,
        control: &Control,
    ) -> Result<Self> {
        let kept = params.splitter == Splitter::Best
            && params.max_features.saturating_mul(KEPT_PER_TRIED) >= data.features
            && data.x.len() <= MOST_CELLS;
        Self::with(data, params, target, bins, kept, control)
    }

    /// The same with lists kept sorted or without.
    fn with(
        data: &TrainingSet<'a>,
        params: &'a TreeParams,
        (values, outputs, loss): (&'a [f64], usize, Loss),
        bins: Vec<Bins>,
        kept: bool,
        control: &Control,
    ) -> Result<Self> {
        let mut shared = NumberData {
            data: *data,
            params,
            values,
            outputs,
            loss,
            whole: source::all_whole(values, data.rows),
            bins,
            missing: vec![false; data.features],
            lists: Vec::new(),
            by_target: Vec::new(),
        };
        for row in data.x.chunks_exact(data.features) {
            for (missing, value) in shared.missing.iter_mut().zip(row) {
                *missing |= value.is_nan();
            }
        }
        if kept {
            shared.lists = map_chunks(control, data.features, 1, |range| {
                let feature = range.start;
                let mut list: Vec<u64> = (0..data.rows as u32)
                    .map(|row| pack(shared.key(row, feature), row))
                    .collect();
                sort(&mut list, &mut Vec::new());
                Ok(list)
            })?;
        }
        if loss == Loss::Absolute {
            shared.by_target = map_chunks(control, outputs, 1, |range| {
                let target = |row: u32| values[row as usize * outputs + range.start];
                let mut list: Vec<u32> = (0..data.rows as u32).collect();
                list.sort_by(|&a, &b| target(a).total_cmp(&target(b)));
                Ok(list)
            })?;
        }
        Ok(shared)
    }

    /// What a row is sorted by.
    #[inline]
    fn key(&self, row: u32, feature: usize) -> u32 {
        let value = self.data.x[row as usize * self.data.features + feature];
        key_or_missing(self.coded(value, feature))
    }

    /// The value, or its bin's number.
    #[inline]
    fn coded(&self, value: f32, feature: usize) -> f32 {
        match self.bins(feature) {
            Some(bins) if !value.is_nan() => bins.code(value) as f32,
            _ => value,
        }
    }

    fn bins(&self, feature: usize) -> Option<&Bins> {
        self.bins.get(feature).filter(|bins| !bins.low.is_empty())
    }

    fn is_categorical(&self, feature: usize) -> bool {
        self.data.categorical.is_some_and(|c| c[feature])
    }

    fn direction(&self, feature: usize) -> i8 {
        self.data.monotonic.map_or(0, |m| m[feature])
    }

    /// Grows the tree with this number on the rows of positive `weight`.
    pub fn grow(&self, weight: Option<&[f64]>, tree: u64, control: &Control) -> Result<TreeArrays> {
        grow::grow(self, weight, tree, control)
    }
}
