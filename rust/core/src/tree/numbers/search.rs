//! The best split of a node.

use super::NumberData;
use super::absolute::{Buffers, Ranked};
use super::lists::{MISSING, key_of, key_or_missing, pack, row_of, sort, value_of};
use super::node::Node;
use super::scan::{Cut, Limits, Poisson, Squared, best_cut, best_cut_of_many};
use super::source::{Pairs, Rows, Unit};
use crate::rng::Stream;
use crate::tree::Loss;
use crate::tree::bins::midpoint;
use crate::tree::categorical::order_by_means;
use crate::tree::nodes::{Split, code_set};
use crate::tree::params::Splitter;
use crate::tree::sorted::tie_rank;

/// A node whose split is sought.
#[derive(Clone, Copy)]
pub(super) struct View<'n> {
    pub node: &'n Node,
    pub key: u64,
    pub bounds: (f64, f64),
    pub rows: &'n [u32],
    /// The rows in the order of each output, where medians are wanted.
    pub ranked: &'n Ranked,
    /// Weighted distance of each row's target from the node's shift, where thresholds are random
    /// and sums of one output decide.
    pub centred: &'n [f64],
    /// Their weights; empty where every row weighs 1.
    pub weights: &'n [f64],
}

/// The best split so far.
#[derive(Debug)]
pub(super) struct Found {
    pub score: f64,
    rank: u64,
    pub split: Split,
}

impl Found {
    /// Whether this one is to be preferred. Of equal ones that of the lower rank, so that the
    /// order in which features are tried does not matter.
    pub fn beats(&self, other: &Found) -> bool {
        self.score > other.score || self.score == other.score && self.rank < other.rank
    }
}

/// One thread's buffers, kept between nodes.
#[derive(Default)]
pub(super) struct Scanner {
    pub found: Option<Found>,
    /// Whether a feature was tried that tells rows apart.
    pub varying: bool,
    pub scratch: Vec<u64>,
    gathered: Vec<u64>,
    block: Vec<f32>,
    pub(super) arranged: Vec<u64>,
    left: Vec<f64>,
    total: Vec<f64>,
    absolute: Buffers,
}

/// Features whose values are gathered together: as many as share a line of cache.
const TOGETHER: usize = 16;

/// Rows whose values are gathered together.
const ROWS_TOGETHER: usize = 256;

impl Scanner {
    /// Tries one feature, whose rows `list` has in order.
    pub fn try_sorted(
        &mut self,
        shared: &NumberData,
        source: &Rows,
        view: &View,
        feature: usize,
        list: &[u64],
    ) {
        let present = if shared.missing[feature] {
            list.partition_point(|&packed| key_of(packed) != MISSING)
        } else {
            list.len()
        };
        let (present, missing) = list.split_at(present);
        self.try_values(shared, source, view, feature, present, missing);
    }

    /// Tries features whose values are gathered first.
    pub fn try_gathered(
        &mut self,
        shared: &NumberData,
        source: &Rows,
        view: &View,
        features: &[u32],
    ) {
        let rows = view.rows.len();
        let width = shared.data.features;
        let mut block = std::mem::take(&mut self.block);
        let mut gathered = std::mem::take(&mut self.gathered);
        for some in features.chunks(TOGETHER) {
            let cells = some.len() * rows;
            if block.len() < cells {
                block.resize(cells, 0.0);
            }
            let block = &mut block[..cells];
            // The lines of a few rows stay in cache while all columns are read from them.
            for start in (0..rows).step_by(ROWS_TOGETHER) {
                let end = rows.min(start + ROWS_TOGETHER);
                let here = &view.rows[start..end];
                for (column, &feature) in block.chunks_exact_mut(rows).zip(some) {
                    for (cell, &row) in column[start..end].iter_mut().zip(here) {
                        *cell = shared.data.x[row as usize * width + feature as usize];
                    }
                }
            }
            for (column, &feature) in block.chunks_exact_mut(rows).zip(some) {
                let feature = feature as usize;
                if shared.bins(feature).is_some() {
                    for value in &mut *column {
                        *value = shared.coded(*value, feature);
                    }
                }
                let random =
                    shared.params.splitter == Splitter::Random && !shared.is_categorical(feature);
                if random && !view.centred.is_empty() && !shared.missing[feature] {
                    self.random_of_sums(shared, view, feature, column);
                    continue;
                }
                gathered.clear();
                let cells = view.rows.iter().zip(&*column);
                gathered.extend(cells.map(|(&row, &value)| pack(key_or_missing(value), row)));
                if !random {
                    sort(&mut gathered, &mut self.scratch);
                } else if shared.missing[feature] {
                    // Missing values last, in the order of rows like the others.
                    gathered.sort_by_key(|&packed| key_of(packed) == MISSING);
                }
                self.try_sorted(shared, source, view, feature, &gathered);
            }
        }
        self.block = block;
        self.gathered = gathered;
    }

    fn try_values(
        &mut self,
        shared: &NumberData,
        source: &Rows,
        view: &View,
        feature: usize,
        present: &[u64],
        missing: &[u64],
    ) {
        let Some(&first) = present.first() else {
            return;
        };
        let random = shared.params.splitter == Splitter::Random;
        let constant = if random && !shared.is_categorical(feature) {
            present.iter().all(|&p| key_of(p) == key_of(first))
        } else {
            key_of(first) == key_of(present[present.len() - 1])
        };
        if constant && missing.is_empty() {
            return;
        }
        self.varying = true;
        let found = if shared.is_categorical(feature) {
            self.categories(shared, source, view, feature, present, missing)
        } else if random {
            self.random(shared, source, view, feature, present, missing)
        } else {
            self.values(shared, source, view, feature, present, missing)
        };
        self.offer(found);
    }

    pub(super) fn offer(&mut self, found: Option<Found>) {
        if let Some(found) = found
            && self.found.as_ref().is_none_or(|best| found.beats(best))
        {
            self.found = Some(found);
        }
    }

    pub(super) fn cut(
        &mut self,
        shared: &NumberData,
        source: &Rows,
        view: &View,
        feature: usize,
        present: &[u64],
        missing: &[u64],
    ) -> Option<Cut> {
        let limits = limits(shared, view, feature);
        let node = view.node;
        if shared.loss == Loss::Absolute {
            let source = (source, shared.data.rows);
            let ranked = view.ranked;
            return self
                .absolute
                .best_cut(ranked, source, present, missing, node, &limits);
        }
        if source.outputs > 1 {
            self.left.resize(source.outputs, 0.0);
            self.total.resize(source.outputs, 0.0);
            let sums = (&mut self.left[..], &mut self.total[..]);
            return if shared.loss == Loss::Squared {
                best_cut_of_many::<Squared>(source, present, missing, node, &limits, sums)
            } else {
                best_cut_of_many::<Poisson>(source, present, missing, node, &limits, sums)
            };
        }
        match (shared.loss, source.weight.is_empty()) {
            (Loss::Squared, true) => {
                let source = Unit(source.values);
                best_cut::<_, Squared>(&source, present, missing, node, &limits)
            }
            (Loss::Squared, false) => {
                let source = Pairs(&source.pairs);
                best_cut::<_, Squared>(&source, present, missing, node, &limits)
            }
            (_, true) => {
                let source = Unit(source.values);
                best_cut::<_, Poisson>(&source, present, missing, node, &limits)
            }
            (_, false) => {
                let source = Pairs(&source.pairs);
                best_cut::<_, Poisson>(&source, present, missing, node, &limits)
            }
        }
    }

    /// Every boundary between two values.
    fn values(
        &mut self,
        shared: &NumberData,
        source: &Rows,
        view: &View,
        feature: usize,
        present: &[u64],
        missing: &[u64],
    ) -> Option<Found> {
        let cut = self.cut(shared, source, view, feature, present, missing)?;
        let low = value_of(key_of(present[cut.at]));
        let threshold = match (present.get(cut.at + 1), shared.bins(feature)) {
            (None, _) => f64::INFINITY,
            (Some(&next), None) => midpoint(low, value_of(key_of(next))),
            (Some(&next), Some(bins)) => midpoint(
                bins.high[low as usize],
                bins.low[value_of(key_of(next)) as usize],
            ),
        };
        Some(found(view, feature, cut, threshold, missing))
    }

    /// Cuts of the categories in the order of their mean targets, which holds the best subset
    /// for the squared error and the Poisson deviance (Breiman et al. 1984, section 8.8) and a
    /// good one otherwise; with `splitter="random"` a random subset.
    fn categories(
        &mut self,
        shared: &NumberData,
        source: &Rows,
        view: &View,
        feature: usize,
        present: &[u64],
        missing: &[u64],
    ) -> Option<Found> {
        // The categories that occur: code, and where its rows begin.
        let mut codes: Vec<(usize, usize)> = Vec::new();
        let mut weights: Vec<f64> = Vec::new();
        let mut sums: Vec<f64> = Vec::new();
        let outputs = source.outputs;
        for (i, &packed) in present.iter().enumerate() {
            let code = value_of(key_of(packed)) as usize;
            if codes.last().is_none_or(|&(last, _)| last != code) {
                codes.push((code, i));
                weights.push(0.0);
                sums.resize(sums.len() + outputs, 0.0);
            }
            let last = codes.len() - 1;
            let weight = source.weight(row_of(packed));
            weights[last] += weight;
            for (output, sum) in sums[last * outputs..].iter_mut().enumerate() {
                let target = source.target(row_of(packed), output);
                *sum += weight * (target - view.node.shift(output));
            }
        }
        let random = shared.params.splitter == Splitter::Random;
        let mut stream = Stream::new(view.key, feature as u64 + 1);
        let mut order: Vec<usize> = (0..codes.len()).collect();
        let mut only = 0;
        if random {
            stream.shuffle(&mut order);
            only = 1 + stream.below(codes.len().max(2) - 1);
        } else {
            order = order_by_means(&sums, &weights, outputs);
        }
        let coin = stream.next_u64() & 1 == 1;
        let end_of = |category: usize| codes.get(category + 1).map_or(present.len(), |c| c.1);
        let (cut, lefts) = if random {
            let mut chosen = vec![false; codes.len()];
            for &category in &order[..only] {
                chosen[category] = true;
            }
            let missing_left = coin && !missing.is_empty();
            self.arrange(present, missing, missing_left, |i, _| {
                chosen[codes.partition_point(|c| c.1 <= i) - 1]
            });
            let cut = self.only_cut(shared, source, view, feature)?;
            let cut = Cut {
                missing_left,
                ..cut
            };
            (cut, only)
        } else {
            let mut arranged = std::mem::take(&mut self.arranged);
            arranged.clear();
            for (place, &category) in order.iter().enumerate() {
                for &packed in &present[codes[category].1..end_of(category)] {
                    arranged.push(pack(place as u32, row_of(packed)));
                }
            }
            let cut = self.cut(shared, source, view, feature, &arranged, missing);
            let lefts = cut.map(|cut| key_of(arranged[cut.at]) as usize + 1);
            self.arranged = arranged;
            (cut?, lefts?)
        };
        let mut found = found(view, feature, cut, 0.0, missing);
        let left: Vec<usize> = order[..lefts].iter().map(|&c| codes[c].0).collect();
        let present: Vec<usize> = codes.iter().map(|c| c.0).collect();
        found.split.left_codes = code_set(&left, &present, found.split.missing_left);
        Some(found)
    }
}

pub(super) fn limits(shared: &NumberData, view: &View, feature: usize) -> Limits {
    Limits {
        rows: shared.params.min_samples_leaf,
        weight: shared.params.min_weight_leaf,
        direction: shared.direction(feature),
        bounds: view.bounds,
    }
}

pub(super) fn found(
    view: &View,
    feature: usize,
    cut: Cut,
    threshold: f64,
    missing: &[u64],
) -> Found {
    let missing_left = if missing.is_empty() {
        // Values that are missing later go where most rows go.
        cut.at + 1 > view.node.rows - (cut.at + 1)
    } else {
        cut.missing_left
    };
    Found {
        score: cut.score,
        rank: tie_rank(view.key, feature),
        split: Split {
            feature,
            threshold,
            missing_left,
            left_codes: Vec::new(),
        },
    }
}
