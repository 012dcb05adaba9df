//! Split search by sorting every drawn feature: works for every setting.

use super::bins::{Bins, midpoint};
use super::categorical::order_categories;
use super::nodes::{Split, code_set};
use super::params::{Splitter, TrainingSet, TreeParams};
use crate::rng::{Stream, mix};

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// The rank of a feature among equally good ones at the node with this key.
#[inline]
pub(crate) fn tie_rank(key: u64, feature: usize) -> u64 {
    mix(key ^ (feature as u64 + 1).wrapping_mul(GOLDEN))
}

/// The key of a child, which names its path from the root.
#[inline]
pub(crate) fn child_key(key: u64, left: bool) -> u64 {
    mix(key.wrapping_add(if left { GOLDEN } else { GOLDEN << 1 }))
}

/// A value above its place in the node, as one number that sorts like the pair: sorting plain
/// numbers is several times faster than sorting pairs by a float.
#[inline]
fn pack(value: f32, at: usize) -> u64 {
    let bits = value.to_bits();
    let ordered = bits ^ (((bits as i32 >> 31) as u32) | 1 << 31);
    u64::from(ordered) << 32 | at as u64
}

/// The value and the place in the node that [`pack`] was given.
#[inline]
fn unpack(packed: u64) -> (f32, usize) {
    let ordered = (packed >> 32) as u32;
    let bits = ordered ^ ((!(ordered as i32) >> 31) as u32 | 1 << 31);
    (f32::from_bits(bits), packed as u32 as usize)
}

/// A node whose split is sought.
pub(crate) struct NodeView<'n> {
    pub rows: &'n [u32],
    pub counts: &'n [f64],
    pub key: u64,
    /// Bounds on the probability of class 1 from monotonic constraints above.
    pub bounds: (f64, f64),
}

/// Class codes and weights of all rows.
#[derive(Clone, Copy)]
struct Labels<'a> {
    codes: &'a [u32],
    outputs: usize,
    /// Places of each output in a vector of class weights.
    classes: usize,
    weight: &'a [f64],
}

impl Labels<'_> {
    /// Adds the weight of a row to its class of each output.
    #[inline]
    fn add(&self, row: u32, counts: &mut [f64]) {
        let row = row as usize;
        let weight = if self.weight.is_empty() {
            1.0
        } else {
            self.weight[row]
        };
        if self.outputs == 1 {
            counts[self.codes[row] as usize] += weight;
            return;
        }
        let codes = &self.codes[row * self.outputs..][..self.outputs];
        for (counts, &code) in counts.chunks_exact_mut(self.classes).zip(codes) {
            counts[code as usize] += weight;
        }
    }
}

struct Found {
    score: f64,
    rank: u64,
    split: Split,
}

/// Buffers of a search, kept between nodes.
pub(crate) struct SortedSearch<'a> {
    data: TrainingSet<'a>,
    params: &'a TreeParams,
    bins: &'a [Bins],
    labels: Labels<'a>,
    features: Vec<u32>,
    values: Vec<u64>,
    missing: Vec<u32>,
    left: Vec<f64>,
    right: Vec<f64>,
    found: Option<Found>,
}

impl<'a> SortedSearch<'a> {
    /// `weight` has one positive number for each row that occurs in a node, or is empty.
    pub fn new(
        data: TrainingSet<'a>,
        params: &'a TreeParams,
        bins: &'a [Bins],
        weight: &'a [f64],
    ) -> Self {
        SortedSearch {
            data,
            params,
            bins,
            labels: Labels {
                codes: data.targets.codes(),
                outputs: data.targets.outputs().len(),
                classes: params.n_classes,
                weight,
            },
            features: Vec::new(),
            values: Vec::new(),
            missing: Vec::new(),
            left: vec![0.0; data.targets.outputs().width()],
            right: vec![0.0; data.targets.outputs().width()],
            found: None,
        }
    }

    /// Adds the class weights of `rows` to `counts`, in the order of `rows`.
    pub fn count(&self, rows: &[u32], counts: &mut [f64]) {
        for &row in rows {
            self.labels.add(row, counts);
        }
    }

    /// The best split of a node, if any is allowed.
    pub fn search(&mut self, node: &NodeView) -> Option<Split> {
        self.found = None;
        let width = self.data.features;
        let mut stream = Stream::new(node.key, 0);
        self.features.clear();
        self.features.extend(0..width as u32);
        let shuffle = self.params.max_features < width;
        let mut varying = 0;
        for drawn in 0..width {
            if drawn >= self.params.max_features && varying > 0 {
                break;
            }
            if shuffle {
                let other = drawn + stream.below(width - drawn);
                self.features.swap(drawn, other);
            }
            let feature = self.features[drawn] as usize;
            if self.load(node.rows, feature) {
                varying += 1;
                if self.data.categorical.is_some_and(|c| c[feature]) {
                    self.scan_categories(node, feature);
                } else if self.params.splitter == Splitter::Random {
                    self.try_random(node, feature);
                } else {
                    self.scan_values(node, feature);
                }
            }
        }
        self.found.take().map(|found| found.split)
    }

    /// Loads a feature's values; false where nothing can be told apart by them.
    fn load(&mut self, rows: &[u32], feature: usize) -> bool {
        self.values.clear();
        self.missing.clear();
        let bins = self.bins.get(feature).filter(|bins| !bins.low.is_empty());
        for (at, &row) in rows.iter().enumerate() {
            let value = self.data.x[row as usize * self.data.features + feature];
            if value.is_nan() {
                self.missing.push(row);
            } else if let Some(bins) = bins {
                self.values.push(pack(bins.code(value) as f32, at));
            } else {
                self.values.push(pack(value, at));
            }
        }
        let Some(&first) = self.values.first() else {
            return false;
        };
        let first = unpack(first).0;
        !self.missing.is_empty() || self.values.iter().any(|&v| unpack(v).0 != first)
    }

    /// Scores the split whose left class weights are in `self.left`. Returns it where it may
    /// be made and beats what was found so far.
    fn beats(&mut self, node: &NodeView, feature: usize, left_rows: usize) -> Option<(f64, u64)> {
        let params = self.params;
        let right_rows = node.rows.len() - left_rows;
        if left_rows == 0 || right_rows == 0 {
            return None;
        }
        if left_rows < params.min_samples_leaf || right_rows < params.min_samples_leaf {
            return None;
        }
        for (r, (l, c)) in self.right.iter_mut().zip(self.left.iter().zip(node.counts)) {
            *r = (c - l).max(0.0);
        }
        // Each output has the whole weight.
        let classes = params.n_classes;
        let left: f64 = self.left[..classes].iter().sum();
        let right: f64 = self.right[..classes].iter().sum();
        if left < params.min_weight_leaf || right < params.min_weight_leaf {
            return None;
        }
        if left <= 0.0 || right <= 0.0 {
            return None;
        }
        let direction = self.data.monotonic.map_or(0, |m| m[feature]);
        if direction != 0 && params.n_classes == 2 {
            let (l, r) = (self.left[1] / left, self.right[1] / right);
            let (low, high) = node.bounds;
            if l < low || r < low || l > high || r > high {
                return None;
            }
            if (l - r) * f64::from(direction) > 0.0 {
                return None;
            }
        }
        let score = params.criterion.sides(&self.left, classes, left)
            + params.criterion.sides(&self.right, classes, right);
        let rank = tie_rank(node.key, feature);
        let better = match &self.found {
            None => true,
            Some(best) => {
                score > best.score
                    || score == best.score && best.split.feature != feature && rank < best.rank
            }
        };
        better.then_some((score, rank))
    }

    fn keep(&mut self, (score, rank): (f64, u64), split: Split) {
        self.found = Some(Found { score, rank, split });
    }

    /// Every boundary between two values, with the missing ones on the right, then the missing
    /// ones alone on the right, then the boundaries with the missing ones on the left.
    fn scan_values(&mut self, node: &NodeView, feature: usize) {
        self.values.sort_unstable();
        let present = self.values.len();
        let passes: &[bool] = if self.missing.is_empty() {
            &[false]
        } else {
            &[false, true]
        };
        for &missing_left in passes {
            self.left.fill(0.0);
            let mut base = 0;
            if missing_left {
                self.count_missing();
                base = self.missing.len();
            }
            for i in 0..present {
                let (value, at) = unpack(self.values[i]);
                let row = node.rows[at];
                self.labels.add(row, &mut self.left);
                let threshold = if i + 1 < present {
                    let next = unpack(self.values[i + 1]).0;
                    if value >= next {
                        continue;
                    }
                    self.threshold(feature, value, next)
                } else if !missing_left && !self.missing.is_empty() {
                    f64::INFINITY
                } else {
                    continue;
                };
                let left_rows = base + i + 1;
                if let Some(score) = self.beats(node, feature, left_rows) {
                    let majority = left_rows > node.rows.len() - left_rows;
                    let split = Split {
                        feature,
                        threshold,
                        missing_left: if self.missing.is_empty() {
                            majority
                        } else {
                            missing_left
                        },
                        left_codes: Vec::new(),
                    };
                    self.keep(score, split);
                }
            }
        }
    }

    fn count_missing(&mut self) {
        for i in 0..self.missing.len() {
            let row = self.missing[i];
            self.labels.add(row, &mut self.left);
        }
    }

    fn threshold(&self, feature: usize, low: f32, high: f32) -> f64 {
        match self.bins.get(feature).filter(|bins| !bins.low.is_empty()) {
            Some(bins) => midpoint(bins.high[low as usize], bins.low[high as usize]),
            None => midpoint(low, high),
        }
    }

    /// One threshold, uniform between the smallest and the largest value; missing values go to
    /// a random side.
    fn try_random(&mut self, node: &NodeView, feature: usize) {
        let (mut low, mut high) = (f32::INFINITY, f32::NEG_INFINITY);
        for &packed in &self.values {
            let value = unpack(packed).0;
            low = low.min(value);
            high = high.max(value);
        }
        let mut stream = Stream::new(node.key, feature as u64 + 1);
        let mut cut = f64::from(low) + stream.next_f64() * (f64::from(high) - f64::from(low));
        if cut >= f64::from(high) {
            cut = f64::from(low);
        }
        let coin = stream.next_u64() & 1 == 1;
        let missing_left = !self.missing.is_empty() && coin;
        self.left.fill(0.0);
        let mut left_rows = 0;
        if missing_left {
            self.count_missing();
            left_rows = self.missing.len();
        }
        let mut below = low;
        for i in 0..self.values.len() {
            let (value, at) = unpack(self.values[i]);
            let row = node.rows[at];
            if f64::from(value) <= cut {
                self.labels.add(row, &mut self.left);
                left_rows += 1;
                below = below.max(value);
            }
        }
        let threshold = match self.bins.get(feature).filter(|bins| !bins.low.is_empty()) {
            Some(bins) => f64::from(bins.high[below as usize]),
            None => cut,
        };
        if let Some(score) = self.beats(node, feature, left_rows) {
            let majority = left_rows > node.rows.len() - left_rows;
            let split = Split {
                feature,
                threshold,
                missing_left: if self.missing.is_empty() {
                    majority
                } else {
                    missing_left
                },
                left_codes: Vec::new(),
            };
            self.keep(score, split);
        }
    }

    /// Cuts of the categories in an order that holds the best subset for two classes and a good
    /// one for more (see [`order_categories`]); with `splitter="random"` a random subset.
    fn scan_categories(&mut self, node: &NodeView, feature: usize) {
        let classes = self.left.len();
        self.values.sort_unstable();
        // The categories that occur: code, rows, class weights.
        let mut codes: Vec<(usize, usize)> = Vec::new();
        let mut table: Vec<f64> = Vec::new();
        for &packed in &self.values {
            let (value, at) = unpack(packed);
            let row = node.rows[at];
            let code = value as usize;
            if codes.last().is_none_or(|&(last, _)| last != code) {
                codes.push((code, 0));
                table.resize(table.len() + classes, 0.0);
            }
            let last = codes.len() - 1;
            codes[last].1 += 1;
            self.labels.add(row, &mut table[last * classes..]);
        }
        let random = self.params.splitter == Splitter::Random;
        let mut stream = Stream::new(node.key, feature as u64 + 1);
        let (order, cut) = if random {
            let mut order: Vec<usize> = (0..codes.len()).collect();
            stream.shuffle(&mut order);
            (order, Some(1 + stream.below(codes.len().max(2) - 1)))
        } else {
            (order_categories(&table, classes, codes.len()), None)
        };
        let has_missing = !self.missing.is_empty();
        let coin = stream.next_u64() & 1 == 1;
        let passes: &[bool] = match (has_missing, random) {
            (false, _) => &[false],
            (true, false) => &[false, true],
            (true, true) if coin => &[true],
            (true, true) => &[false],
        };
        for &missing_left in passes {
            self.left.fill(0.0);
            let mut left_rows = 0;
            if missing_left {
                self.count_missing();
                left_rows = self.missing.len();
            }
            for (i, &category) in order.iter().enumerate() {
                let row = &table[category * classes..(category + 1) * classes];
                for (l, w) in self.left.iter_mut().zip(row) {
                    *l += w;
                }
                left_rows += codes[category].1;
                let last = i + 1 == order.len();
                if last && (missing_left || !has_missing) {
                    break;
                }
                if cut.is_some_and(|cut| cut != i + 1) {
                    continue;
                }
                if let Some(score) = self.beats(node, feature, left_rows) {
                    let majority = left_rows > node.rows.len() - left_rows;
                    let missing_left = if has_missing { missing_left } else { majority };
                    let left: Vec<usize> = order[..=i].iter().map(|&c| codes[c].0).collect();
                    let present: Vec<usize> = codes.iter().map(|c| c.0).collect();
                    let split = Split {
                        feature,
                        threshold: 0.0,
                        missing_left,
                        left_codes: code_set(&left, &present, missing_left),
                    };
                    self.keep(score, split);
                }
            }
        }
    }
}
