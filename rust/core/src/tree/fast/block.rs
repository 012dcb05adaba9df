//! Nodes of at most 64 rows: sets of bits over the rows of a block.

use super::Context;
use super::codes::Meaning;
use super::search::{Cut, Draw};
use super::wide::Wide;
use crate::rng::Stream;
use crate::tree::Criterion;
use crate::tree::bins::midpoint;
use crate::tree::nodes::Split;
use crate::tree::sorted::tie_rank;
use ironlearn_kernels::bytes::{BLOCK, block_equal, ranks};
use ironlearn_kernels::gather::ask;
use ironlearn_kernels::split::{BlockClasses, block_cuts, block_gini};

/// Rows of up to so many codes lie on a cache line or two, which can be asked for early.
const NARROW: usize = 64;

/// At most 64 rows, and their columns where every node looks at every feature.
#[derive(Default)]
pub(super) struct Block {
    rows: Vec<u32>,
    /// The classes that occur, rising.
    classes: Vec<usize>,
    /// For each of them `planes` sets: its rows whose count has bit 0, bit 1, ...
    sets: Vec<u64>,
    planes: usize,
    /// The features to search, where every node looks at every feature.
    features: Vec<u32>,
    /// Codes; ranks within the block where the feature's codes are ranges.
    columns: Vec<[u8; BLOCK]>,
    /// Nodes that use the block.
    pub users: usize,
}

impl Block {
    /// Takes the rows of a node, and its columns where it has some.
    pub fn fill(&mut self, context: &Context, wide: &Wide) {
        self.rows.clear();
        self.rows
            .extend(wide.packed.iter().map(|&p| context.row(p) as u32));
        let largest = wide.packed.iter().map(|&p| context.count(p)).max();
        self.planes = (u32::BITS - largest.unwrap_or(1).leading_zeros()) as usize;
        self.classes.clear();
        self.sets.clear();
        for class in 0..wide.total.len() {
            let range = wide.offsets[class] as usize..wide.offsets[class + 1] as usize;
            if range.is_empty() {
                continue;
            }
            self.classes.push(class);
            let first = self.sets.len();
            self.sets.resize(first + self.planes, 0);
            for i in range {
                let count = context.count(wide.packed[i]);
                for (bit, set) in self.sets[first..].iter_mut().enumerate() {
                    *set |= u64::from(count >> bit & 1) << i;
                }
            }
        }
        self.columns.clear();
        self.features.clear();
        if let Some(columns) = &wide.columns {
            self.features.extend_from_slice(&columns.features);
            for (place, &feature) in columns.features.iter().enumerate() {
                let mut column = [0; BLOCK];
                if context.coded.has_ranges(feature as usize) {
                    self.rank(context, feature as usize, self.all(), &mut column);
                } else {
                    column[..self.rows.len()].copy_from_slice(columns.column(place));
                }
                self.columns.push(column);
            }
        }
    }

    /// All rows.
    pub fn all(&self) -> u64 {
        u64::MAX >> (BLOCK - self.rows.len())
    }

    /// Ranks of a feature's values among `rows`.
    fn rank(&self, context: &Context, feature: usize, rows: u64, out: &mut [u8; BLOCK]) {
        let mut values = [0.0; BLOCK];
        let mut ranked = [0; BLOCK];
        for (v, i) in values.iter_mut().zip(bits(rows)) {
            *v = context.value(self.rows[i] as usize, feature);
        }
        ranks(
            context.tier,
            &values[..rows.count_ones() as usize],
            &mut ranked,
        );
        for (rank, i) in ranked.into_iter().zip(bits(rows)) {
            out[i] = rank;
        }
    }

    /// Loads the columns of drawn features for the rows of one node. Most nodes of a block draw
    /// other features, so that whole columns would not be used again.
    fn load(&mut self, context: &Context, features: &[usize], rows: u64) {
        let first = self.columns.len();
        self.columns.resize(first + features.len(), [0; BLOCK]);
        let mut columns = std::mem::take(&mut self.columns);
        if context.data.features <= NARROW {
            for i in bits(rows) {
                ask(context.coded.row(self.rows[i] as usize), 0);
            }
        }
        for i in bits(rows) {
            let row = self.rows[i] as usize;
            let codes = context.coded.row(row);
            for (column, &feature) in columns[first..].iter_mut().zip(features) {
                column[i] = codes[feature];
                if context.coded.has_ranges(feature) {
                    // Ranked below, and far from the codes.
                    ask(context.data.x, context.cell(row, feature));
                }
            }
        }
        for (column, &feature) in columns[first..].iter_mut().zip(features) {
            if context.coded.has_ranges(feature) {
                self.rank(context, feature, rows, column);
            }
        }
        self.columns = columns;
    }
}

/// Buffers of a search, kept between nodes.
pub(super) struct BlockSearch<'a> {
    context: &'a Context<'a>,
    draw: Draw,
    drawn: Vec<usize>,
    /// Classes of the node: their numbers, sets and counts.
    classes: Vec<usize>,
    sets: Vec<u64>,
    total: Vec<u32>,
    planes: usize,
    cuts: Box<[(u8, u64); BLOCK]>,
    best: Option<(Cut, u64)>,
}

impl<'a> BlockSearch<'a> {
    pub fn new(context: &'a Context<'a>) -> Self {
        BlockSearch {
            context,
            draw: Draw::new(context.data.features),
            drawn: Vec::new(),
            classes: Vec::new(),
            sets: Vec::new(),
            total: Vec::new(),
            planes: 1,
            cuts: Box::new([(0, 0); BLOCK]),
            best: None,
        }
    }

    /// Turns to the node with these rows, and writes the weights of its classes.
    pub fn enter(&mut self, block: &Block, rows: u64, weights: &mut [f64]) {
        weights.fill(0.0);
        self.classes.clear();
        self.sets.clear();
        self.total.clear();
        self.planes = block.planes;
        for (&class, sets) in block.classes.iter().zip(block.sets.chunks(block.planes)) {
            let total = count(sets, rows);
            if total > 0 {
                self.classes.push(class);
                self.sets.extend(sets.iter().map(|set| set & rows));
                self.total.push(total);
                weights[class] = f64::from(total) * self.context.scale[class];
            }
        }
    }

    /// The best split of the node that was entered last, and its rows on the left.
    pub fn search(
        &mut self,
        block: &mut Block,
        rows: u64,
        key: u64,
        weight: f64,
    ) -> Option<(Split, u64)> {
        self.best = None;
        let context = self.context;
        if !block.features.is_empty() {
            for place in 0..block.features.len() {
                let feature = block.features[place] as usize;
                self.look_at(&block.columns[place], rows, key, weight, feature, place);
            }
        } else {
            let mut stream = Stream::new(key, 0);
            self.draw.reset();
            let mut drawn = std::mem::take(&mut self.drawn);
            drawn.clear();
            for _ in 0..context.params.max_features {
                drawn.extend(self.draw.next(&mut stream));
            }
            block.columns.clear();
            let (mut place, mut varies) = (0, false);
            while place < drawn.len() {
                if place == block.columns.len() {
                    block.load(context, &drawn[place..], rows);
                }
                let codes = &block.columns[place];
                varies |= self.look_at(codes, rows, key, weight, drawn[place], place);
                place += 1;
                if place == drawn.len() && !varies {
                    drawn.extend(self.draw.next(&mut stream));
                }
            }
            self.drawn = drawn;
        }
        let (cut, left) = self.best?;
        let split = Split {
            feature: cut.feature,
            threshold: self.threshold(block, &cut, rows, left),
            missing_left: left.count_ones() > (rows & !left).count_ones(),
            left_codes: Vec::new(),
        };
        Some((split, left))
    }

    /// Offers the cuts of a column; false where it does not vary.
    fn look_at(
        &mut self,
        codes: &[u8; BLOCK],
        rows: u64,
        key: u64,
        weight: f64,
        feature: usize,
        place: usize,
    ) -> bool {
        let first = codes[rows.trailing_zeros() as usize % BLOCK];
        if block_equal(codes, first) & rows == rows {
            return false;
        }
        let context = self.context;
        let params = context.params;
        let rank = tie_rank(key, feature);
        let mut to_beat = f64::NEG_INFINITY;
        if let Some((best, _)) = self.best {
            to_beat = best.score;
            // No cut scores more than one that leaves one class on each side.
            if params.criterion == Criterion::Gini && to_beat >= weight && rank > best.rank {
                return true;
            }
        }
        let short = params.criterion == Criterion::Gini && !context.scaled;
        let found = if short {
            let node = BlockClasses {
                rows,
                sets: &self.sets,
                planes: self.planes,
                total: &self.total,
                least: params.min_samples_leaf as u32,
            };
            if params.min_weight_leaf > 0.0 {
                // A cut that is too light must not hide a lighter score.
                to_beat = f64::NEG_INFINITY;
                block_cuts(codes, rows, &mut self.cuts)
            } else {
                block_gini(context.tier, codes, &node, to_beat, &mut self.cuts)
            }
        } else {
            block_cuts(codes, rows, &mut self.cuts)
        };
        for i in 0..found {
            let (code, left) = self.cuts[i];
            self.score(rows, left, to_beat, rank, feature, place, code);
        }
        true
    }

    fn score(
        &mut self,
        rows: u64,
        left: u64,
        to_beat: f64,
        rank: u64,
        feature: usize,
        place: usize,
        code: u8,
    ) {
        let context = self.context;
        let params = context.params;
        let counts = (left.count_ones(), (rows & !left).count_ones());
        let least = params.min_samples_leaf.max(1) as u32;
        if counts.0 < least || counts.1 < least {
            return;
        }
        let on_left = || {
            let sets = self.sets.chunks_exact(self.planes);
            let classes = self.classes.iter().zip(sets);
            classes.map(|(&class, sets)| (class, count(sets, left)))
        };
        let on_right = || on_left().zip(&self.total).map(|((c, l), t)| (c, t - l));
        let score = context.side(on_left()) + context.side(on_right());
        if score.is_nan() || score < to_beat {
            return;
        }
        let light = params.min_weight_leaf;
        if light > 0.0 && (context.weight(on_left()) < light || context.weight(on_right()) < light)
        {
            return;
        }
        let cut = Cut {
            score,
            rank,
            feature,
            place,
            code,
            inside: None,
        };
        if self.best.is_none_or(|(best, _)| cut.beats(&best)) {
            self.best = Some((cut, left));
        }
    }

    fn threshold(&self, block: &Block, cut: &Cut, rows: u64, left: u64) -> f64 {
        let context = self.context;
        match context.coded.meaning(cut.feature) {
            Meaning::Exact { low, high } => {
                let codes = &block.columns[cut.place];
                let next = bits(rows & !left).map(|i| codes[i]).min();
                midpoint(
                    high[usize::from(cut.code)],
                    low[usize::from(next.unwrap_or(cut.code))],
                )
            }
            Meaning::Ranges => {
                let value = |i: usize| context.value(block.rows[i] as usize, cut.feature);
                let low = bits(left).map(value).fold(f32::NEG_INFINITY, f32::max);
                let high = bits(rows & !left).map(value).fold(f32::INFINITY, f32::min);
                midpoint(low, high)
            }
        }
    }
}

/// Sum of the counts of the rows, from the bits of their counts.
#[inline]
fn count(sets: &[u64], rows: u64) -> u32 {
    let bits = sets.iter().enumerate();
    bits.map(|(bit, set)| (set & rows).count_ones() << bit)
        .sum()
}

fn bits(mut set: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let first = set.trailing_zeros() as usize;
        (set != 0).then(|| {
            set &= set - 1;
            first
        })
    })
}
