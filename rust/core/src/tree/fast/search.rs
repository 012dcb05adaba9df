//! The best cut of a node with more rows than a block, by counting classes by code.

use super::Context;
use super::codes::CODES;
use super::wide::{Columns, Wide};
use crate::error::Result;
use crate::parallel::{Control, map_chunks};
use crate::rng::Stream;
use crate::tree::Criterion;
use crate::tree::sorted::tie_rank;
use ironlearn_kernels::split::{
    LANES, SquareSums, TwoClassScan, sixteen_class_scan, two_class_scan,
};

/// Relative error that single precision may leave in a screened cut.
const SCREEN: f32 = 4e-6;

/// Relative error that double precision may leave in a score.
pub(super) const ROUNDING: f64 = 1e-12;

/// Cells of a node that make a second thread worth while.
const PARALLEL: usize = 1 << 17;

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
    two: Box<[[u32; CODES]; 2]>,
    scan: Box<TwoClassScan>,
    sixteen: Box<[[u16; LANES]; 2 * CODES]>,
    sums: Box<[SquareSums; CODES]>,
    /// Counts by code and class, and rows by code.
    many: Vec<u32>,
    rows: Box<[u32; CODES]>,
    pub left: Vec<u32>,
    pub best: Option<Cut>,
    pub hidden: Vec<Hidden>,
    /// Which of the places looked at vary.
    pub varying: Vec<bool>,
    /// Codes of drawn features, one after another.
    gathered: Vec<u8>,
    drawn: Vec<usize>,
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
            sixteen: vec![[0; LANES]; 2 * CODES].try_into().expect("512 rows"),
            sums: Box::new([SquareSums::default(); CODES]),
            many: Vec::new(),
            rows: Box::new([0; CODES]),
            left: vec![0; classes],
            best: None,
            hidden: Vec::new(),
            varying: Vec::new(),
            gathered: Vec::new(),
            drawn: Vec::new(),
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
        let by_row =
            context.coded.has_rows() && (rows * 64 <= all || features <= 128 && rows * 4 <= all);
        let mut place = 0;
        while place < self.drawn.len() {
            let feature = self.drawn[place];
            if gathered.len() < self.drawn.len() * rows {
                gathered.resize(self.drawn.len() * rows, 0);
            }
            if !by_row {
                let column = context.coded.column(feature);
                let out = &mut gathered[place * rows..(place + 1) * rows];
                for (o, &packed) in out.iter_mut().zip(&view.wide.packed) {
                    *o = column[context.row(packed)];
                }
            } else if place == 0 || place >= context.params.max_features {
                let wanted = &self.drawn[place..];
                for (i, &packed) in view.wide.packed.iter().enumerate() {
                    let row = context.coded.row(context.row(packed));
                    for (j, &feature) in wanted.iter().enumerate() {
                        gathered[(place + j) * rows + i] = row[feature];
                    }
                }
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

    fn two_classes(&mut self, view: &View, place: usize, feature: usize, codes: &[u8]) -> bool {
        let context = self.context;
        for class in 0..2 {
            let range = view.class(class);
            let counts = view.counts.get(range.clone()).unwrap_or(&[]);
            count_codes(&codes[range], counts, &mut self.two[class]);
        }
        let scale = [0, 1].map(|class| context.scale[class] as f32);
        let ranges = context.coded.has_ranges(feature);
        let least = two_class_scan(context.tier, &self.two, scale, ranges, &mut self.scan);
        let varies = least < f32::INFINITY;
        let least = if context.limited() {
            self.least_allowed(view)
        } else {
            least
        };
        // Counts beyond 2^24 are rounded.
        let rounded = if view.count > 1 << 24 { 1e-7 } else { 1e-14 };
        let slack = (view.weight * rounded) as f32;
        let limit = |best: f64| {
            let expression = ((view.weight - best) / 2.0).max(0.0) as f32;
            expression * (1.0 + SCREEN) + slack
        };
        let screen = limit(self.to_beat()).min(least * (1.0 + SCREEN) + slack);
        for code in 0..CODES {
            if self.scan.cut[code] <= screen && self.two[0][code] | self.two[1][code] != 0 {
                let left = [self.scan.left[0][code], self.scan.left[1][code]];
                self.score(view, place, feature, code as u8, None, &left, None);
            }
        }
        if ranges {
            let screen = limit(self.to_beat());
            if context.limited() {
                self.bound_ends(view);
            }
            for code in 0..CODES {
                let inside = self.scan.inside[code];
                if inside <= screen {
                    let inside = f64::from(inside * (1.0 - SCREEN) - slack);
                    self.hidden.push(Hidden {
                        bound: view.weight - 2.0 * inside,
                        place,
                        feature,
                        code: code as u8,
                    });
                }
            }
        }
        self.two[0].fill(0);
        self.two[1].fill(0);
        varies
    }

    /// The least `cut` of the last scan of two classes that leaves both sides large enough.
    fn least_allowed(&self, view: &View) -> f32 {
        let params = self.context.params;
        let scale = self.context.scale;
        let mut least = f32::INFINITY;
        for code in 0..CODES {
            let left = [0, 1].map(|class| self.scan.left[class][code]);
            let right = [0, 1].map(|class| view.wide.total[class] - left[class]);
            let enough = |[a, b]: [u32; 2]| {
                let weight = f64::from(a) * scale[0] + f64::from(b) * scale[1];
                (a + b) as usize >= params.min_samples_leaf && weight >= params.min_weight_leaf
            };
            if enough(left) && enough(right) && self.scan.cut[code] < least {
                least = self.scan.cut[code];
            }
        }
        least
    }

    /// Lowers `inside` of the last scan of two classes to what the ends of each code reach:
    /// where the cuts there are not allowed, the best one says nothing about them.
    fn bound_ends(&mut self, view: &View) {
        let [a, b] = [0, 1].map(|c| (f64::from(view.wide.total[c]) * self.context.scale[c]) as f32);
        let uncut = a * b / (a + b);
        let mut before = uncut;
        for code in 0..CODES {
            let cut = self.scan.cut[code];
            let end = if cut.is_nan() { uncut } else { cut };
            if self.two[0][code] + self.two[1][code] >= 2 {
                self.scan.inside[code] = self.scan.inside[code].min(before).min(end);
            }
            before = end;
        }
    }

    fn sixteen_classes(&mut self, view: &View, place: usize, feature: usize, codes: &[u8]) -> bool {
        let context = self.context;
        let mut total = [0u16; LANES];
        for (t, &n) in total.iter_mut().zip(&view.wide.total) {
            *t = n as u16;
        }
        for class in 0..view.wide.total.len() {
            let range = view.class(class);
            let class = class % LANES;
            let (first, second) = self.sixteen.split_at_mut(CODES);
            let codes = &codes[range.clone()];
            if view.counts.is_empty() {
                let mut pairs = codes.chunks_exact(2);
                for pair in &mut pairs {
                    first[usize::from(pair[0])][class] += 1;
                    second[usize::from(pair[1])][class] += 1;
                }
                for &code in pairs.remainder() {
                    first[usize::from(code)][class] += 1;
                }
            } else {
                let counts = &view.counts[range];
                let mut pairs = codes.chunks_exact(2).zip(counts.chunks_exact(2));
                for (pair, counts) in &mut pairs {
                    first[usize::from(pair[0])][class] += counts[0] as u16;
                    second[usize::from(pair[1])][class] += counts[1] as u16;
                }
                if let (1, Some(&code), Some(&count)) =
                    (codes.len() % 2, codes.last(), counts.last())
                {
                    first[usize::from(code)][class] += count as u16;
                }
            }
        }
        let found = sixteen_class_scan(context.tier, &mut self.sixteen, &total, &mut self.sums);
        let mut best = self.to_beat();
        let all = f64::from(view.count);
        let least = context.params.min_samples_leaf as f64;
        let light = context.params.min_weight_leaf;
        let least = if context.unit {
            least.max(light)
        } else {
            light
        };
        for i in 0..found.saturating_sub(1) {
            let sums = self.sums[i];
            let (l, r) = (f64::from(sums.left), f64::from(sums.right));
            let left = f64::from(sums.count);
            let right = all - left;
            if l * right + r * left < best * (left * right) * (1.0 - ROUNDING) {
                continue;
            }
            if left < least || right < least {
                continue;
            }
            let cut = Cut {
                score: l / left + r / right,
                rank: tie_rank(view.key, feature),
                feature,
                place,
                code: sums.code as u8,
                inside: None,
            };
            self.offer(cut);
            best = self.to_beat();
        }
        if context.coded.has_ranges(feature) {
            let mut before = (0.0, 0.0);
            for i in 0..found {
                let sums = self.sums[i];
                let left = f64::from(sums.count);
                let (held, right) = (left - before.1, all - left);
                let rest = if right > 0.0 {
                    f64::from(sums.right) / right
                } else {
                    0.0
                };
                // The code's classes apart from both sides and from each other.
                let bound = before.0 + held + rest;
                if held >= 2.0 && bound >= best * (1.0 - ROUNDING) {
                    self.hidden.push(Hidden {
                        bound,
                        place,
                        feature,
                        code: sums.code as u8,
                    });
                }
                before = (f64::from(sums.left) / left, left);
            }
        }
        found >= 2
    }

    fn any_classes(&mut self, view: &View, place: usize, feature: usize, codes: &[u8]) -> bool {
        let context = self.context;
        let classes = view.wide.total.len();
        let mut many = std::mem::take(&mut self.many);
        many.resize(CODES * classes, 0);
        for class in 0..classes {
            for i in view.class(class) {
                let code = usize::from(codes[i]);
                many[code * classes + class] += view.counts.get(i).copied().unwrap_or(1);
                self.rows[code] += 1;
            }
        }
        let gini = context.params.criterion == Criterion::Gini;
        let ranges = context.coded.has_ranges(feature);
        let mut left = std::mem::take(&mut self.left);
        left.fill(0);
        let (mut seen, mut several, mut before) = (0u32, 0, 0.0);
        for code in 0..CODES {
            let rows = std::mem::take(&mut self.rows[code]);
            if rows == 0 {
                continue;
            }
            several += 1;
            seen += rows;
            let here = &many[code * classes..(code + 1) * classes];
            for (l, n) in left.iter_mut().zip(here) {
                *l += n;
            }
            let last = seen as usize == view.wide.rows();
            let mut sides = (0.0, 0.0);
            if !last {
                sides = self.score(
                    view,
                    place,
                    feature,
                    code as u8,
                    None,
                    &left,
                    Some(seen as usize),
                );
            }
            if ranges && rows >= 2 {
                let pure = if gini {
                    context.weight(here.iter().copied().enumerate())
                } else {
                    0.0
                };
                let bound = before + pure + sides.1;
                if bound >= self.to_beat() - self.to_beat().abs() * ROUNDING {
                    self.hidden.push(Hidden {
                        bound,
                        place,
                        feature,
                        code: code as u8,
                    });
                }
            }
            before = sides.0;
            many[code * classes..(code + 1) * classes].fill(0);
        }
        self.left = left;
        self.many = many;
        several >= 2
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

/// Adds each code's count; 1 where `counts` is empty.
fn count_codes(codes: &[u8], counts: &[u32], out: &mut [u32; CODES]) {
    if counts.is_empty() {
        for &code in codes {
            out[usize::from(code)] += 1;
        }
    } else {
        for (&code, &count) in codes.iter().zip(counts) {
            out[usize::from(code)] += count;
        }
    }
}
