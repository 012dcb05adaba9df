//! The best cut of a node with more rows than a block, by counting classes by code.

use super::Context;
use super::codes::CODES;
use super::wide::{Columns, Wide};
use crate::error::Result;
use crate::parallel::{Control, map_chunks};
use crate::rng::Stream;
use crate::tree::Criterion;
use crate::tree::sorted::tie_rank;
use ironlearn_kernels::classes::{ClassCounts, ClassScan, LANES};
use ironlearn_kernels::gather::{RowGather, gather_column};
use ironlearn_kernels::split::TwoClassScan;

/// Relative error that double precision may leave in a score.
pub(super) const ROUNDING: f64 = 1e-12;

/// Cells of a node that make a second thread worth while.
const PARALLEL: usize = 1 << 17;

/// Where a node has less than this part of all rows, codes are read row by row.
const ROWS_BELOW: usize = 32;

/// A cut of one feature.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cut {
    pub score: f64,
    pub rank: u64,
    pub feature: usize,
    /// Place of the feature among those that were looked at.
    pub place: usize,
    /// Largest code on the left.
    pub code: u8,
    /// Where the cut is inside `code`: its neighbouring values.
    pub inside: Option<(f32, f32)>,
}

impl Cut {
    /// Whether this cut comes first: the larger score, then the feature's rank, then the
    /// smaller threshold.
    pub fn beats(&self, other: &Cut) -> bool {
        if self.score != other.score {
            return self.score > other.score;
        }
        if self.feature != other.feature {
            return self.rank < other.rank;
        }
        let order = |cut: &Cut| (cut.code, cut.inside.is_none());
        match (self.inside, other.inside) {
            (Some((a, _)), Some((b, _))) if self.code == other.code => a < b,
            _ => order(self) < order(other),
        }
    }
}

/// A code that may hide a better cut between its values.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hidden {
    /// No cut inside scores more.
    pub bound: f64,
    pub place: usize,
    pub feature: usize,
    pub code: u8,
}

/// What is known of a node while its features are searched.
pub(super) struct View<'n> {
    pub wide: &'n Wide,
    /// Count of each row; empty where all are 1.
    pub counts: &'n [u32],
    pub key: u64,
    /// Weight of the node, and its count.
    pub weight: f64,
    pub count: u32,
}

impl View<'_> {
    /// The rows of a class.
    #[inline]
    pub fn class(&self, class: usize) -> std::ops::Range<usize> {
        self.wide.offsets[class] as usize..self.wide.offsets[class + 1] as usize
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Method {
    TwoClasses,
    SixteenClasses,
    Any,
}

/// Buffers of a search, kept between nodes.
pub(super) struct Search<'a> {
    pub context: &'a Context<'a>,
    pub(super) two: Box<[[u32; CODES]; 2]>,
    pub(super) scan: Box<TwoClassScan>,
    pub(super) sixteen: Box<ClassCounts>,
    pub(super) cuts: Box<ClassScan>,
    /// Counts by code and class, and rows by code.
    pub(super) many: Vec<u32>,
    pub(super) rows: Box<[u32; CODES]>,
    pub left: Vec<u32>,
    pub best: Option<Cut>,
    pub hidden: Vec<Hidden>,
    /// Which of the places looked at vary.
    pub varying: Vec<bool>,
    /// Codes of drawn features, one after another.
    gathered: Vec<u8>,
    drawn: Vec<usize>,
    row_gather: RowGather,
    pub draw: Draw,
}

/// A random order of the features, drawn one by one.
pub(super) struct Draw {
    order: Vec<u32>,
    swaps: Vec<u32>,
}

impl Draw {
    pub fn new(features: usize) -> Draw {
        Draw {
            order: (0..features as u32).collect(),
            swaps: Vec::new(),
        }
    }

    /// The next feature; the same as the general engine draws.
    pub fn next(&mut self, stream: &mut Stream) -> Option<usize> {
        let at = self.swaps.len();
        if at == self.order.len() {
            return None;
        }
        let other = at + stream.below(self.order.len() - at);
        self.order.swap(at, other);
        self.swaps.push(other as u32);
        Some(self.order[at] as usize)
    }

    /// Puts the features back into their order.
    pub fn reset(&mut self) {
        while let Some(other) = self.swaps.pop() {
            self.order.swap(self.swaps.len(), other as usize);
        }
    }
}

impl<'a> Search<'a> {
    pub fn new(context: &'a Context<'a>) -> Self {
        let classes = context.params.n_classes;
        Search {
            context,
            two: Box::new([[0; CODES]; 2]),
            scan: Box::default(),
            sixteen: Box::new([[[0; LANES]; CODES]; 2]),
            cuts: Box::default(),
            many: Vec::new(),
            rows: Box::new([0; CODES]),
            left: vec![0; classes],
            best: None,
            hidden: Vec::new(),
            varying: Vec::new(),
            gathered: Vec::new(),
            drawn: Vec::new(),
            row_gather: RowGather::default(),
            draw: Draw::new(context.data.features),
        }
    }

    /// Finds the best cut of a node that has columns of its own, which all take part.
    pub fn search_columns(
        &mut self,
        view: &View,
        columns: &Columns,
        control: &Control,
    ) -> Result<Option<Cut>> {
        self.start();
        let places = columns.features.len();
        if control.threads() > 1 && places > 1 && places * view.wide.rows() >= PARALLEL {
            let context = self.context;
            let parts = map_chunks(control, places, places.div_ceil(16), |range| {
                let mut part = Search::new(context);
                for place in range {
                    let feature = columns.features[place] as usize;
                    part.look_at(view, place, feature, columns.column(place));
                }
                Ok((part.best, part.hidden, part.varying))
            })?;
            for (best, hidden, varying) in parts {
                if let Some(cut) = best {
                    self.offer(cut);
                }
                self.hidden.extend(hidden);
                self.varying.extend(varying);
            }
        } else {
            for place in 0..places {
                let feature = columns.features[place] as usize;
                self.look_at(view, place, feature, columns.column(place));
            }
        }
        self.refine(view, &|place| columns.column(place));
        Ok(self.best)
    }

    /// Finds the best cut among drawn features.
    pub fn search_drawn(&mut self, view: &View) -> Option<Cut> {
        self.start();
        let context = self.context;
        let (rows, features) = (view.wide.rows(), context.data.features);
        let mut stream = Stream::new(view.key, 0);
        self.draw.reset();
        self.drawn.clear();
        for _ in 0..context.params.max_features {
            self.drawn.extend(self.draw.next(&mut stream));
        }
        let mut gathered = std::mem::take(&mut self.gathered);
        // Below, a row's codes share a few cache lines that one column's would not.
        let all = context.coded.rows;
        let by_row = context.coded.has_rows()
            && (rows * ROWS_BELOW <= all || features <= 128 && rows * 4 <= all);
        let mask = context.row_mask();
        let mut place = 0;
        while place < self.drawn.len() {
            let feature = self.drawn[place];
            if gathered.len() < self.drawn.len() * rows {
                gathered.resize(self.drawn.len() * rows, 0);
            }
            if !by_row {
                let next = self.drawn.get(place + 1);
                let next = next.map_or(&[][..], |&feature| context.coded.column(feature));
                let out = &mut gathered[place * rows..(place + 1) * rows];
                let column = context.coded.column(feature);
                gather_column(column, &view.wide.packed, mask, next, out);
            } else if place == 0 || place >= context.params.max_features {
                let wanted = self.drawn[place..].iter().copied();
                self.row_gather.choose(features, wanted);
                let out = &mut gathered[place * rows..self.drawn.len() * rows];
                let table = context.coded.table();
                self.row_gather.gather(table, &view.wide.packed, mask, out);
            }
            let codes = &gathered[place * rows..(place + 1) * rows];
            self.look_at(view, place, feature, codes);
            place += 1;
            if place == self.drawn.len() && !self.varying.contains(&true) {
                self.drawn.extend(self.draw.next(&mut stream));
            }
        }
        self.refine(view, &|place| &gathered[place * rows..(place + 1) * rows]);
        self.gathered = gathered;
        self.best
    }

    /// The codes of the feature that was drawn in this place of the last search.
    pub fn gathered(&self, place: usize, rows: usize) -> &[u8] {
        &self.gathered[place * rows..(place + 1) * rows]
    }

    fn start(&mut self) {
        self.best = None;
        self.hidden.clear();
        self.varying.clear();
    }

    /// Takes a cut if it is the best so far.
    #[inline]
    pub fn offer(&mut self, cut: Cut) {
        if self.best.is_none_or(|best| cut.beats(&best)) {
            self.best = Some(cut);
        }
    }

    /// The score that a cut has to reach.
    #[inline]
    pub fn to_beat(&self) -> f64 {
        self.best.map_or(f64::NEG_INFINITY, |best| best.score)
    }

    fn method(&self, view: &View) -> Method {
        let context = self.context;
        let params = context.params;
        // The short ways do not count rows apart from their weights.
        let rows_count = context.unit || params.min_samples_leaf <= 1;
        if params.criterion != Criterion::Gini || !rows_count {
            Method::Any
        } else if params.n_classes == 2 {
            Method::TwoClasses
        } else if params.n_classes <= LANES && !context.scaled && view.count <= i16::MAX as u32 {
            Method::SixteenClasses
        } else {
            Method::Any
        }
    }

    fn look_at(&mut self, view: &View, place: usize, feature: usize, codes: &[u8]) {
        let several = match self.method(view) {
            Method::TwoClasses => self.two_classes(view, place, feature, codes),
            Method::SixteenClasses => self.sixteen_classes(view, place, feature, codes),
            Method::Any => self.any_classes(view, place, feature, codes),
        };
        let varies = several
            || self.context.coded.has_ranges(feature) && {
                let value = |packed: u32| self.context.value(self.context.row(packed), feature);
                let first = value(view.wide.packed[0]);
                view.wide.packed.iter().any(|&p| value(p) != first)
            };
        self.varying.push(varies);
    }

    /// Scores a cut exactly, offers it where it is allowed, and returns what both sides add to
    /// the score. `rows` is the number of rows on the left where rows are counted apart from
    /// their weights.
    pub fn score(
        &mut self,
        view: &View,
        place: usize,
        feature: usize,
        code: u8,
        inside: Option<(f32, f32)>,
        left: &[u32],
        rows: Option<usize>,
    ) -> (f64, f64) {
        let context = self.context;
        let on_left = || left.iter().copied().enumerate();
        let on_right = || {
            let rest = view.wide.total.iter().zip(left).map(|(t, l)| t - l);
            rest.enumerate()
        };
        let sides = (context.side(on_left()), context.side(on_right()));
        let least = context.params.min_samples_leaf;
        let enough = match rows {
            Some(rows) => rows >= least && view.wide.rows() - rows >= least,
            None => {
                let count = left.iter().sum::<u32>();
                // Without row counts there is either one count a row or no limit.
                let least = if context.unit { least as u32 } else { 1 };
                count >= least && view.count - count >= least
            }
        };
        let light = context.params.min_weight_leaf;
        let heavy = light <= 0.0
            || context.weight(on_left()) >= light && context.weight(on_right()) >= light;
        let score = sides.0 + sides.1;
        if enough && heavy && score >= self.to_beat() {
            self.offer(Cut {
                score,
                rank: tie_rank(view.key, feature),
                feature,
                place,
                code,
                inside,
            });
        }
        sides
    }
}
