//! Counting the classes of a feature's codes, and screening the cuts between them.

use super::codes::CODES;
use super::search::{Cut, Hidden, ROUNDING, Search, View};
use crate::tree::Criterion;
use crate::tree::sorted::tie_rank;
use ironlearn_kernels::classes::{ClassCounts, LANES, sixteen_class_scan};
use ironlearn_kernels::split::two_class_scan;

/// Relative error that single precision may leave in a screened cut.
const SCREEN: f32 = 4e-6;

impl Search<'_> {
    pub(super) fn two_classes(
        &mut self,
        view: &View,
        place: usize,
        feature: usize,
        codes: &[u8],
    ) -> bool {
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

    pub(super) fn sixteen_classes(
        &mut self,
        view: &View,
        place: usize,
        feature: usize,
        codes: &[u8],
    ) -> bool {
        let context = self.context;
        let mut total = [0u16; LANES];
        for (t, &n) in total.iter_mut().zip(&view.wide.total) {
            *t = n as u16;
        }
        for class in 0..view.wide.total.len() {
            let range = view.class(class);
            let counts = view.counts.get(range.clone()).unwrap_or(&[]);
            count_class(&codes[range], counts, class % LANES, &mut self.sixteen);
        }
        let params = context.params;
        let least = if context.unit {
            (params.min_samples_leaf as f64).max(params.min_weight_leaf)
        } else {
            params.min_weight_leaf
        };
        // Counts are integers, and no larger than this.
        let least = least.ceil().min(f64::from(i16::MAX)) as i32;
        let (counts, cuts) = (&mut self.sixteen, &mut self.cuts);
        let most = sixteen_class_scan(context.tier, codes, counts, &total, least, cuts);
        let found = self.cuts.found;
        let all = f64::from(view.count);
        let screen = |best: f64| (best * (1.0 - f64::from(SCREEN))) as f32;
        let rank = tie_rank(view.key, feature);
        if most > 0.0 && most >= screen(self.to_beat()) {
            let screen = screen(self.to_beat().max(f64::from(most)));
            for i in 0..found - 1 {
                if self.cuts.score[i] < screen {
                    continue;
                }
                let left = f64::from(self.cuts.count[i]);
                let (l, r) = (self.cuts.left[i], self.cuts.right[i]);
                self.offer(Cut {
                    score: f64::from(l) / left + f64::from(r) / (all - left),
                    rank,
                    feature,
                    place,
                    code: self.cuts.code[i],
                    inside: None,
                });
            }
        }
        if context.coded.has_ranges(feature) {
            let best = self.to_beat();
            let mut before = (0.0, 0.0);
            for i in 0..found {
                let left = f64::from(self.cuts.count[i]);
                let (held, right) = (left - before.1, all - left);
                let rest = if right > 0.0 {
                    f64::from(self.cuts.right[i]) / right
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
                        code: self.cuts.code[i],
                    });
                }
                before = (f64::from(self.cuts.left[i]) / left, left);
            }
        }
        found >= 2
    }

    pub(super) fn any_classes(
        &mut self,
        view: &View,
        place: usize,
        feature: usize,
        codes: &[u8],
    ) -> bool {
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
}

/// Adds each code's count in this class; 1 where `counts` is empty.
fn count_class(codes: &[u8], counts: &[u32], class: usize, out: &mut ClassCounts) {
    let [first, second] = out;
    let pairs = codes.chunks_exact(2);
    let last = pairs.remainder().first();
    if counts.is_empty() {
        for pair in pairs {
            first[usize::from(pair[0])][class] += 1;
            second[usize::from(pair[1])][class] += 1;
        }
        if let Some(&code) = last {
            first[usize::from(code)][class] += 1;
        }
    } else {
        for (pair, counts) in pairs.zip(counts.chunks_exact(2)) {
            first[usize::from(pair[0])][class] += counts[0] as u16;
            second[usize::from(pair[1])][class] += counts[1] as u16;
        }
        if let (Some(&code), Some(&count)) = (last, counts.last()) {
            first[usize::from(code)][class] += count as u16;
        }
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
