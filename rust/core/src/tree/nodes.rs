//! The nodes of one grown tree, as plain arrays in scikit-learn's meaning.

use crate::error::{Error, Result};

/// The split of an inner node.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Split {
    pub feature: usize,
    /// Rows with a value of at most this go left; infinite where only missing ones go right.
    pub threshold: f64,
    pub missing_left: bool,
    /// Codes that go left; empty for numbers.
    pub left_codes: Vec<u64>,
}

/// Whether a set of codes holds the code `value`; `None` where `value` is no code of the set's
/// range.
#[inline]
pub(crate) fn holds_code(words: &[u64], value: f32) -> Option<bool> {
    if !(value >= 0.0 && value < (words.len() * 64) as f32) {
        return None;
    }
    let code = value as usize;
    Some(words[code / 64] >> (code % 64) & 1 == 1)
}

impl Split {
    /// Whether a row with this value of the feature goes left.
    #[inline]
    pub fn goes_left(&self, value: f32) -> bool {
        if value.is_nan() {
            self.missing_left
        } else if self.left_codes.is_empty() {
            f64::from(value) <= self.threshold
        } else {
            holds_code(&self.left_codes, value).unwrap_or(self.missing_left)
        }
    }
}

/// The set of codes that go left. Codes that the node has not seen go where missing values go.
pub(crate) fn code_set(left: &[usize], present: &[usize], others_left: bool) -> Vec<u64> {
    let words = present.iter().max().map_or(1, |&m| m / 64 + 1);
    let mut bits = vec![if others_left { u64::MAX } else { 0 }; words];
    for &code in present {
        bits[code / 64] &= !(1 << (code % 64));
    }
    for &code in left {
        bits[code / 64] |= 1 << (code % 64);
    }
    bits
}

/// One tree. Children have larger indices than their parents.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TreeArrays {
    /// Left child, -1 at leaves.
    pub left: Vec<i32>,
    /// Right child, -1 at leaves.
    pub right: Vec<i32>,
    /// Feature of the split, -2 at leaves.
    pub feature: Vec<i32>,
    /// Threshold of the split, -2 at leaves.
    pub threshold: Vec<f64>,
    /// Whether missing values go left.
    pub missing_left: Vec<bool>,
    /// Impurity.
    pub impurity: Vec<f64>,
    /// Number of training rows.
    pub n_node_samples: Vec<i64>,
    /// Their weight.
    pub weighted_n_node_samples: Vec<f64>,
    /// Class shares, node by node.
    pub value: Vec<f64>,
    /// Where the codes of each node begin in `category_bits`; one entry more than nodes.
    pub category_offsets: Vec<i64>,
    /// Sets of category codes that go left.
    pub category_bits: Vec<u64>,
}

impl TreeArrays {
    /// Number of nodes.
    pub fn len(&self) -> usize {
        self.left.len()
    }

    /// Whether there are no nodes.
    pub fn is_empty(&self) -> bool {
        self.left.is_empty()
    }

    /// Appends a leaf and returns its index.
    pub(crate) fn push_leaf(
        &mut self,
        rows: usize,
        weight: f64,
        impurity: f64,
        value: &[f64],
    ) -> usize {
        self.left.push(-1);
        self.right.push(-1);
        self.feature.push(-2);
        self.threshold.push(-2.0);
        self.missing_left.push(false);
        self.impurity.push(impurity);
        self.n_node_samples.push(rows as i64);
        self.weighted_n_node_samples.push(weight);
        self.value.extend_from_slice(value);
        self.len() - 1
    }

    /// Makes the tree `child` with its root the left or the right child of `parent`; moves its
    /// sets of codes along.
    pub(crate) fn graft(
        &mut self,
        parent: usize,
        left: bool,
        child: &TreeArrays,
        codes: Vec<(usize, Vec<u64>)>,
        into: &mut Vec<(usize, Vec<u64>)>,
    ) -> Result<()> {
        let base = self.len();
        self.expect_room(child.len())?;
        let links = if left {
            &mut self.left
        } else {
            &mut self.right
        };
        links[parent] = base as i32;
        let moved = |link: &i32| if *link < 0 { -1 } else { link + base as i32 };
        self.left.extend(child.left.iter().map(moved));
        self.right.extend(child.right.iter().map(moved));
        self.feature.extend_from_slice(&child.feature);
        self.threshold.extend_from_slice(&child.threshold);
        self.missing_left.extend_from_slice(&child.missing_left);
        self.impurity.extend_from_slice(&child.impurity);
        self.n_node_samples.extend_from_slice(&child.n_node_samples);
        self.weighted_n_node_samples
            .extend_from_slice(&child.weighted_n_node_samples);
        self.value.extend_from_slice(&child.value);
        into.extend(codes.into_iter().map(|(node, set)| (base + node, set)));
        Ok(())
    }

    /// An error where `more` nodes would be too many.
    pub(crate) fn expect_room(&self, more: usize) -> Result<()> {
        if self.len() + more <= i32::MAX as usize {
            return Ok(());
        }
        Err(Error::TooLarge {
            what: "The number of nodes of a tree",
            given: (self.len() + more).to_string(),
            limit: i32::MAX.to_string(),
        })
    }

    /// Gives nodes their sets of codes that go left. `sets` holds each node at most once.
    pub(crate) fn set_codes(&mut self, mut sets: Vec<(usize, Vec<u64>)>) {
        sets.sort_unstable_by_key(|set| set.0);
        let mut next = sets.iter().peekable();
        self.category_bits.clear();
        self.category_offsets.clear();
        for node in 0..self.len() {
            self.category_offsets.push(self.category_bits.len() as i64);
            if let Some((_, codes)) = next.next_if(|set| set.0 == node) {
                self.category_bits.extend_from_slice(codes);
            }
        }
        self.category_offsets.push(self.category_bits.len() as i64);
    }
}
