//! The best cut of rows in one order, for losses that are known from sums.

use super::lists::{key_of, row_of};
use super::node::{NO_MEAN, Node};
use super::source::{Rows, Source};

/// What a cut must keep to.
#[derive(Clone, Copy, Debug)]
pub(in crate::tree) struct Limits {
    /// Rows on either side.
    pub rows: usize,
    /// Weight on either side.
    pub weight: f64,
    /// Whether the prediction must rise (1) or fall (-1) from left to right.
    pub direction: i8,
    /// Between what predictions must lie where they must rise or fall.
    pub bounds: (f64, f64),
}

impl Limits {
    /// Whether any cut that leaves enough rows may be made.
    #[inline]
    fn free(&self) -> bool {
        self.weight <= 0.0 && self.direction == 0
    }

    /// Whether predictions may be these.
    #[inline]
    pub fn allow(&self, left: f64, right: f64) -> bool {
        let (low, high) = self.bounds;
        self.direction == 0
            || left >= low
                && right >= low
                && left <= high
                && right <= high
                && (left - right) * f64::from(self.direction) <= 0.0
    }
}

/// A cut of a sequence of rows.
#[derive(Clone, Copy, Debug)]
pub(in crate::tree) struct Cut {
    pub score: f64,
    /// The last row on the left.
    pub at: usize,
    /// Whether the rows that miss the feature are on the left.
    pub missing_left: bool,
}

/// The part of the decrease of the loss that a cut decides, as a function of the sums of either
/// side.
pub(in crate::tree) trait Score {
    /// The score for one output: sums of targets, and weights.
    fn one(left: f64, right: f64, left_weight: f64, right_weight: f64) -> f64;

    /// The score for several outputs.
    fn many(left: &[f64], total: &[f64], left_weight: f64, right_weight: f64) -> f64 {
        let mut sum = 0.0;
        for (&left, &total) in left.iter().zip(total) {
            sum += Self::one(left, total - left, left_weight, right_weight);
        }
        sum
    }
}

/// The squared error: sum of squared sums over weights, by one division.
pub(in crate::tree) struct Squared;

impl Score for Squared {
    #[inline]
    fn one(left: f64, right: f64, left_weight: f64, right_weight: f64) -> f64 {
        (left * left * right_weight + right * right * left_weight) / (left_weight * right_weight)
    }
}

/// Half the Poisson deviance, which no side without a positive sum has.
pub(in crate::tree) struct Poisson;

/// Shares of a node's sum below this are what rounding leaves of a side of zeros, whose sum is the
/// difference of two others.
const NO_SHARE: f64 = 1e-11;

impl Score for Poisson {
    #[inline]
    fn one(left: f64, right: f64, left_weight: f64, right_weight: f64) -> f64 {
        let least = NO_MEAN.max(NO_SHARE * (left + right));
        if left <= least || right <= least {
            return f64::NEG_INFINITY;
        }
        left * (left / left_weight).ln() + right * (right / right_weight).ln()
    }
}

/// The score of the cut with these sums of one output on the left, where it may be made.
#[inline]
pub(in crate::tree) fn score<L: Score>(
    left: f64,
    left_weight: f64,
    left_rows: usize,
    node: &Node,
    limits: &Limits,
) -> Option<f64> {
    let right_rows = node.rows - left_rows;
    let (right, right_weight) = (node.total(0) - left, node.weight - left_weight);
    if left_rows.min(right_rows) < limits.rows.max(1)
        || right_weight <= 0.0
        || left_weight.min(right_weight) < limits.weight
    {
        return None;
    }
    let shift = node.shift(0);
    if limits.direction != 0
        && !limits.allow(shift + left / left_weight, shift + right / right_weight)
    {
        return None;
    }
    let score = L::one(left, right, left_weight, right_weight);
    (score > f64::NEG_INFINITY).then_some(score)
}

/// On which side the missing values are tried.
pub(in crate::tree) fn passes(missing: &[u64]) -> &'static [bool] {
    if missing.is_empty() {
        &[false]
    } else {
        &[false, true]
    }
}

/// The rows after which a cut may come: where `base` rows are on the left already and `present`
/// follow, of `rows` in all.
pub(in crate::tree) fn places(
    base: usize,
    present: usize,
    rows: usize,
    limits: &Limits,
) -> std::ops::Range<usize> {
    let least = limits.rows.max(1);
    let first = least.saturating_sub(base + 1);
    // Without missing values on the right, something present must stay there.
    let last = present.min(rows.saturating_sub(base + least));
    first.min(last)..last
}

/// The best cut for one output: every boundary between two keys, with the missing ones on the
/// right, then the missing ones alone on the right, then the boundaries with them on the left.
pub(in crate::tree) fn best_cut<S: Source, L: Score>(
    source: &S,
    present: &[u64],
    missing: &[u64],
    node: &Node,
    limits: &Limits,
) -> Option<Cut> {
    if limits.free() {
        cuts::<S, L, true>(source, present, missing, node, limits)
    } else {
        cuts::<S, L, false>(source, present, missing, node, limits)
    }
}

fn cuts<S: Source, L: Score, const FREE: bool>(
    source: &S,
    present: &[u64],
    missing: &[u64],
    node: &Node,
    limits: &Limits,
) -> Option<Cut> {
    let (shift, total, weight) = (node.shift(0), node.total(0), node.weight);
    let rows = present.len() + missing.len();
    let mut best = Cut {
        score: f64::NEG_INFINITY,
        at: usize::MAX,
        missing_left: false,
    };
    for &missing_left in passes(missing) {
        let (mut left, mut left_weight) = (0.0, 0.0);
        let mut base = 0;
        if missing_left {
            base = missing.len();
            for &packed in missing {
                let (weight, target) = source.at(row_of(packed));
                left += weight * (target - shift);
                left_weight += weight;
            }
        }
        let places = places(base, present.len(), rows, limits);
        for &packed in &present[..places.start] {
            let (weight, target) = source.at(row_of(packed));
            left += weight * (target - shift);
            left_weight += weight;
        }
        for at in places {
            let (row_weight, target) = source.at(row_of(present[at]));
            left += row_weight * (target - shift);
            if S::UNIT {
                left_weight = (base + at + 1) as f64;
            } else {
                left_weight += row_weight;
            }
            if at + 1 < present.len() && key_of(present[at]) == key_of(present[at + 1]) {
                continue;
            }
            let right_weight = weight - left_weight;
            let right = total - left;
            if !S::UNIT && right_weight <= 0.0 {
                continue;
            }
            if !FREE
                && (left_weight < limits.weight
                    || right_weight < limits.weight
                    || !limits.allow(shift + left / left_weight, shift + right / right_weight))
            {
                continue;
            }
            let score = L::one(left, right, left_weight, right_weight);
            if score > best.score {
                best = Cut {
                    score,
                    at,
                    missing_left,
                };
            }
        }
    }
    (best.at != usize::MAX).then_some(best)
}

/// The best cut for several outputs, in the same order. `left` and `total` have room for one
/// number an output.
pub(in crate::tree) fn best_cut_of_many<L: Score>(
    source: &Rows,
    present: &[u64],
    missing: &[u64],
    node: &Node,
    limits: &Limits,
    (left, total): (&mut [f64], &mut [f64]),
) -> Option<Cut> {
    let rows = present.len() + missing.len();
    let mut best = Cut {
        score: f64::NEG_INFINITY,
        at: usize::MAX,
        missing_left: false,
    };
    for (output, total) in total.iter_mut().enumerate() {
        *total = node.total(output);
    }
    let add = |row: u32, left: &mut [f64]| {
        let weight = source.weight(row);
        for (output, left) in left.iter_mut().enumerate() {
            *left += weight * (source.target(row, output) - node.shift(output));
        }
        weight
    };
    for &missing_left in passes(missing) {
        left.fill(0.0);
        let mut left_weight = 0.0;
        let mut base = 0;
        if missing_left {
            base = missing.len();
            for &packed in missing {
                left_weight += add(row_of(packed), left);
            }
        }
        let places = places(base, present.len(), rows, limits);
        for (at, &packed) in present[..places.end].iter().enumerate() {
            left_weight += add(row_of(packed), left);
            if at < places.start
                || at + 1 < present.len() && key_of(packed) == key_of(present[at + 1])
            {
                continue;
            }
            let right_weight = node.weight - left_weight;
            if right_weight <= 0.0 || left_weight.min(right_weight) < limits.weight {
                continue;
            }
            let score = L::many(left, total, left_weight, right_weight);
            if score > best.score {
                best = Cut {
                    score,
                    at,
                    missing_left,
                };
            }
        }
    }
    (best.at != usize::MAX).then_some(best)
}
