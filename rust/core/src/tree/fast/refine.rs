//! Cuts between the values of one code.

use super::search::{Hidden, ROUNDING, Search, View};
use crate::tree::Criterion;
use ironlearn_kernels::bytes::{count_below, rows_equal};
use ironlearn_kernels::gather::ask;

/// Classes of a code whose corners are all tried.
const CORNERS: usize = 5;

/// A float's bits, in an order that is the floats'.
#[inline]
fn ordered(value: f32) -> u32 {
    let bits = value.to_bits();
    bits ^ if bits >> 31 == 1 { u32::MAX } else { 1 << 31 }
}

impl Search<'_> {
    /// Looks inside the codes that may hide a cut at least as good as the best one.
    pub(super) fn refine<'n>(&mut self, view: &View, column: &dyn Fn(usize) -> &'n [u8]) {
        let mut hidden = std::mem::take(&mut self.hidden);
        hidden.sort_unstable_by(|a, b| b.bound.total_cmp(&a.bound));
        let mut rows = Vec::new();
        let mut members = Vec::new();
        for entry in &hidden {
            let best = self.to_beat();
            if entry.bound < best - best.abs() * ROUNDING {
                break;
            }
            self.look_inside(view, entry, column(entry.place), &mut rows, &mut members);
        }
        self.hidden = hidden;
    }

    fn look_inside(
        &mut self,
        view: &View,
        entry: &Hidden,
        codes: &[u8],
        rows: &mut Vec<u64>,
        members: &mut Vec<(u32, u32)>,
    ) {
        let context = self.context;
        let classes = view.wide.total.len();
        let mut left = std::mem::take(&mut self.left);
        left.fill(0);
        // What lies before the code.
        let mut rows_left = 0;
        for (class, left) in left.iter_mut().enumerate() {
            let range = view.class(class);
            let part = &codes[range.clone()];
            let below = count_below(part, entry.code);
            rows_left += below;
            *left = if view.counts.is_empty() {
                below as u32
            } else {
                let counts = part.iter().zip(&view.counts[range]);
                counts
                    .map(|(&c, &n)| if c < entry.code { n } else { 0 })
                    .sum()
            };
        }
        rows_equal(codes, entry.code, rows);
        members.clear();
        for (block, &word) in rows.iter().enumerate() {
            let mut word = word;
            while word != 0 {
                let i = block * 64 + word.trailing_zeros() as usize;
                let cell = context.cell(context.row(view.wide.packed[i]), entry.feature);
                // The values are far apart: all are asked for before the first is read.
                ask(context.data.x, cell);
                members.push((0, i as u32));
                word &= word - 1;
            }
        }
        for (value, i) in members.iter_mut() {
            let row = context.row(view.wide.packed[*i as usize]);
            // Turns -0.0 into 0.0, as the codes do.
            *value = ordered(context.value(row, entry.feature) + 0.0);
        }
        if self.corners_reach(view, &left, members) {
            members.sort_unstable();
            for at in 0..members.len().saturating_sub(1) {
                let i = members[at].1 as usize;
                let class = view.wide.offsets[1..classes].partition_point(|&o| o as usize <= i);
                left[class] += view.counts.get(i).copied().unwrap_or(1);
                rows_left += 1;
                if members[at].0 < members[at + 1].0 {
                    let value = |at: usize| {
                        let packed = view.wide.packed[members[at].1 as usize];
                        context.value(context.row(packed), entry.feature)
                    };
                    let inside = Some((value(at), value(at + 1)));
                    self.score(
                        view,
                        entry.place,
                        entry.feature,
                        entry.code,
                        inside,
                        &left,
                        Some(rows_left),
                    );
                }
            }
        }
        self.left = left;
    }

    /// Whether a cut inside may be as good as the best: the score is convex in the class
    /// counts on the left, so it is largest where each class of the code lies on one side.
    /// Where all of them lie on one side the cut is between codes, and was scored; but only
    /// where every cut is allowed does that bound the best one.
    fn corners_reach(&self, view: &View, left: &[u32], members: &[(u32, u32)]) -> bool {
        let context = self.context;
        let classes = view.wide.total.len();
        if classes == 2 && context.params.criterion == Criterion::Gini {
            // The bound was already taken over the corners.
            return true;
        }
        let mut present: Vec<(usize, u32)> = Vec::new();
        let mut sorted: Vec<u32> = members.iter().map(|m| m.1).collect();
        sorted.sort_unstable();
        for i in sorted {
            let class =
                view.wide.offsets[1..classes].partition_point(|&o| o as usize <= i as usize);
            let count = view.counts.get(i as usize).copied().unwrap_or(1);
            match present.last_mut() {
                Some((last, n)) if *last == class => *n += count,
                _ => present.push((class, count)),
            }
        }
        if present.len() > CORNERS || context.limited() {
            return true;
        }
        if present.len() < 2 {
            return false;
        }
        let best = self.to_beat();
        let mut corner = left.to_vec();
        (1..(1u32 << present.len()) - 1).any(|subset| {
            corner.copy_from_slice(left);
            for (bit, &(class, n)) in present.iter().enumerate() {
                if subset >> bit & 1 == 1 {
                    corner[class] += n;
                }
            }
            let on_left = corner.iter().copied().enumerate();
            let rest = view.wide.total.iter().zip(&corner).map(|(t, l)| t - l);
            let score = context.side(on_left) + context.side(rest.enumerate());
            score >= best - best.abs() * ROUNDING
        })
    }
}
