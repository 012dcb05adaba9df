//! Assignment that proves most comparisons needless.
//!
//! Each row has an upper bound on the distance to its own centre and, for each group of
//! centres, a lower bound on the distance to every other centre in it (Ding et al., "Yinyang
//! k-means", ICML 2015; with one group, Hamerly's algorithm). Bounds are stored as they were
//! when computed; the ways of the centres since then are subtracted on reading. Rows whose
//! bounds fail are gathered into panels, group by group, for the same loop that compares all.
//!
//! Bounds hold for what the loop computes, rounding included: each carries the slack
//! `(2d + 128) eps (|x|^2 + |c|^2)`, so the labels are those of a full comparison, bit for bit.

use super::Rows;
use super::assign::{Chunk, Move, NONE, Scratch};
use super::groups::Groups;
use crate::error::Result;
use crate::parallel::{Control, each_mut};
use ironlearn_kernels::distance::{Packed, Real, pack_centres, pair};
use ironlearn_kernels::tier;

/// Bounds of the rows of one chunk.
struct Part<T> {
    upper: Vec<T>,
    /// Smallest of the row's lower bounds.
    lower: Vec<T>,
    /// Lower bounds, group after group.
    group_lower: Vec<T>,
    /// Squared norms.
    norms: Vec<T>,
}

/// Bounds of all rows, and the groups that they refer to.
pub struct Bounds<T> {
    groups: Groups<T>,
    parts: Vec<Part<T>>,
    eps: f64,
    fresh: bool,
}

/// What an assignment did.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    /// Rows whose label changed.
    pub moved: usize,
    /// Estimated time, as a share of what comparing all takes.
    pub cost: f64,
}

/// Cycles for reading a row's bounds. This and the other costs were measured with AVX-512;
/// only the choice between two ways to the same labels depends on them.
const LOOK: f64 = 15.0;

/// Cycles for the distance of a row to a centre, and for turning the row into a panel.
fn costs(features: usize) -> (f64, f64) {
    let d = features as f64;
    (d / 14.0 + 0.4, d / 3.0 + 5.0)
}

/// Whether bounds can pay at all: for few centres of few features, reading them takes about as
/// long as comparing.
pub fn can_pay(features: usize, clusters: usize) -> bool {
    let (distance, turn) = costs(features);
    LOOK < 0.75 * (clusters as f64 * distance + turn)
}

/// What was done in one chunk.
#[derive(Clone, Copy, Default)]
struct Work {
    moved: usize,
    /// Rows whose distance to their own centre was computed.
    tightened: usize,
    /// Rows that were compared with groups.
    opened: usize,
    /// Rows turned into panels, once for each time.
    turned: usize,
    /// Distances computed.
    distances: usize,
}

/// A row whose bounds failed, and the best centre found so far.
#[derive(Clone, Copy)]
struct Open<T> {
    row: u32,
    best: T,
    second: T,
    name: u32,
}

impl<T: Real> Bounds<T> {
    /// Bounds for `centres`, still empty: the first assignment compares all.
    pub fn new(rows: &Rows<T>, centres: &[T], chunks: &[Chunk]) -> Self {
        let groups = Groups::new(centres, rows.features);
        let parts = chunks.iter().map(|chunk| {
            let n = chunk.labels.len();
            Part {
                upper: vec![T::default(); n],
                lower: vec![T::default(); n],
                group_lower: vec![T::default(); n * groups.members.len()],
                norms: vec![T::default(); n],
            }
        });
        Bounds {
            parts: parts.collect(),
            groups,
            eps: T::EPSILON,
            fresh: true,
        }
    }

    /// Follows the centres; bounds that are worn out are built anew.
    pub fn follow(&mut self, centres: &[T], features: usize, shifts: &[f64]) {
        self.groups.follow(centres, features, shifts);
        if self.groups.worn_out() {
            self.groups = Groups::new(centres, features);
            self.fresh = true;
        }
    }

    /// Finds the nearest centre of each row.
    pub fn assign(
        &mut self,
        control: &Control,
        rows: &Rows<T>,
        centres: &[T],
        chunks: &mut [Chunk],
    ) -> Result<Outcome> {
        let pass = Pass {
            rows,
            centres,
            groups: &self.groups,
            slack: (2 * rows.features + 128) as f64 * self.eps,
            eps: 4.0 * self.eps,
            fresh: self.fresh,
        };
        let mut both: Vec<_> = chunks.iter_mut().zip(&mut self.parts).collect();
        let counts = each_mut(control, &mut both, |(chunk, part)| {
            pass.chunk(control, chunk, part)
        })?;
        self.fresh = false;
        let sum = |part: fn(&Work) -> usize| counts.iter().map(part).sum::<usize>();
        let d = rows.features as f64;
        let n = rows.count as f64;
        let (distance, turn) = costs(rows.features);
        let all = n * (self.groups.of.len() as f64 * distance + turn);
        let done = n * LOOK
            + sum(|w| w.tightened) as f64 * (50.0 + d / 5.0)
            + sum(|w| w.opened) as f64 * (60.0 + 20.0 * self.groups.members.len() as f64)
            + sum(|w| w.turned) as f64 * (turn + 20.0)
            + sum(|w| w.distances) as f64 * distance;
        Ok(Outcome {
            moved: sum(|w| w.moved),
            cost: done / all,
        })
    }
}

struct Pass<'a, T> {
    rows: &'a Rows<'a, T>,
    centres: &'a [T],
    groups: &'a Groups<T>,
    slack: f64,
    eps: f64,
    fresh: bool,
}

impl<T: Real> Pass<'_, T> {
    fn chunk(&self, control: &Control, chunk: &mut Chunk, part: &mut Part<T>) -> Result<Work> {
        let mut scratch = Scratch::new(self.rows.features);
        let count = self.groups.members.len();
        let mut work = Work::default();
        let mut open = Vec::new();
        let mut whole: Vec<u32> = Vec::new();
        let mut lists: Vec<Vec<u32>> = vec![Vec::new(); count];
        if self.fresh {
            self.measure(control, chunk.start, &mut part.norms, &mut scratch)?;
            open.extend((0..chunk.labels.len()).map(|i| self.open(chunk.start + i)));
            whole.extend(0..open.len() as u32);
        } else {
            work.tightened = self.sift(chunk, part, &mut open, &mut whole, &mut lists);
        }
        work.opened = open.len();
        work.turned = whole.len() + lists.iter().map(Vec::len).sum::<usize>();
        work.distances = whole.len() * self.groups.of.len();
        for some in whole.chunks(scratch.width) {
            control.check()?;
            self.load(some, &open, &mut scratch);
            for g in 0..count {
                scratch.nearest(&self.groups.packed[g], true);
                self.settle(g, some, &mut open, chunk.start, part, &scratch);
            }
        }
        for (g, list) in lists.iter().enumerate() {
            work.distances += list.len() * self.groups.members[g].len();
            for some in list.chunks(scratch.width) {
                control.check()?;
                self.load(some, &open, &mut scratch);
                scratch.nearest(&self.groups.packed[g], true);
                self.settle(g, some, &mut open, chunk.start, part, &scratch);
            }
        }
        self.close(chunk, part, &open);
        work.moved = chunk.moves.len();
        Ok(work)
    }

    fn open(&self, row: usize) -> Open<T> {
        Open {
            row: row as u32,
            best: T::INFINITY,
            second: T::INFINITY,
            name: NONE,
        }
    }

    fn load(&self, some: &[u32], open: &[Open<T>], scratch: &mut Scratch<T>) {
        let mut numbers = [0; 2 * ironlearn_kernels::distance::MOST_LANES];
        for (number, &at) in numbers.iter_mut().zip(some) {
            *number = open[at as usize].row;
        }
        scratch.load(self.rows.x, &numbers[..some.len()], self.rows.offset);
    }

    /// Squared norms of the rows from `start`.
    fn measure(
        &self,
        control: &Control,
        start: usize,
        norms: &mut [T],
        scratch: &mut Scratch<T>,
    ) -> Result<()> {
        let d = self.rows.features;
        let origin: Packed<T> = pack_centres(tier::active(), &vec![T::default(); d], d, &[0]);
        let mut squares = vec![T::default(); scratch.width];
        for (first, numbers) in super::assign::panels(start, start + norms.len(), scratch.width) {
            control.check()?;
            scratch.load(self.rows.x, &numbers, self.rows.offset);
            scratch.squares(&origin, &mut squares);
            norms[first - start..][..numbers.len()].copy_from_slice(&squares[..numbers.len()]);
        }
        Ok(())
    }

    /// The rounding that a squared distance of this row may carry.
    fn error(&self, norm: T) -> f64 {
        self.slack * (norm.into() + self.groups.largest)
    }

    fn up(&self, v: f64) -> T {
        T::from_f64(v + v.abs() * self.eps)
    }

    fn down(&self, v: f64) -> T {
        T::from_f64(v - v.abs() * self.eps)
    }

    /// Finds the rows whose bounds fail, and the groups to compare them with; returns for how
    /// many it computed the distance to their own centre.
    fn sift(
        &self,
        chunk: &Chunk,
        part: &mut Part<T>,
        open: &mut Vec<Open<T>>,
        whole: &mut Vec<u32>,
        lists: &mut [Vec<u32>],
    ) -> usize {
        let mut tightened = 0;
        let d = self.rows.features;
        let tier = tier::active();
        let (n, count) = (chunk.labels.len(), lists.len());
        let mut failing = Vec::with_capacity(count);
        for i in 0..n {
            let label = chunk.labels[i] as usize;
            let error = self.error(part.norms[i]);
            let holds =
                |square: f64, lower: f64| lower > 0.0 && square + 2.0 * error < lower * lower;
            let upper = part.upper[i].into() + self.groups.way[label];
            let lower = part.lower[i].into() - self.groups.all_way;
            if holds(upper * upper, lower) {
                continue;
            }
            tightened += 1;
            let row = chunk.start + i;
            let own = &self.centres[label * d..(label + 1) * d];
            let near: f64 = pair(tier, self.rows.row(row), self.rows.offset, own).into();
            let square = near + error;
            part.upper[i] = self.up(square.sqrt() - self.groups.way[label]);
            if holds(square, lower) {
                continue;
            }
            failing.clear();
            let home = self.groups.of[label];
            let mut smallest = f64::INFINITY;
            for g in 0..count {
                let lower = part.group_lower[g * n + i].into() - self.groups.group_way[g];
                smallest = smallest.min(lower);
                if !holds(square, lower) || g as u32 == home {
                    failing.push(g);
                }
            }
            if holds(square, smallest) {
                // The groups' bounds together are sharper than the row's one.
                part.lower[i] = self.down(smallest + self.groups.all_way);
                continue;
            }
            let at = open.len() as u32;
            open.push(self.open(row));
            // Turning a row once for all groups beats turning it for most of them.
            if 4 * failing.len() > 3 * count {
                whole.push(at);
            } else {
                for &g in &failing {
                    lists[g].push(at);
                }
            }
        }
        tightened
    }

    /// Takes in what a panel's comparison with group `g` found.
    fn settle(
        &self,
        g: usize,
        some: &[u32],
        open: &mut [Open<T>],
        start: usize,
        part: &mut Part<T>,
        scratch: &Scratch<T>,
    ) {
        let n = part.norms.len();
        let way = self.groups.group_way[g];
        for (p, &at) in some.iter().enumerate() {
            let found = &mut open[at as usize];
            let i = found.row as usize - start;
            let best = scratch.best[p];
            part.group_lower[g * n + i] = self.lower(part.norms[i], best, way);
            let name = scratch.name[p].to_name();
            if best < found.best || (best == found.best && name < found.name) {
                (found.best, found.second, found.name) = (best, scratch.second[p], name);
            }
        }
    }

    /// The lower bound that a score stands for, as it is stored.
    fn lower(&self, norm: T, score: T, way: f64) -> T {
        let square = norm.into() + 2.0 * score.into() - self.error(norm);
        self.down(square.max(0.0).sqrt() + way)
    }

    /// Writes labels and bounds of the rows that were compared.
    fn close(&self, chunk: &mut Chunk, part: &mut Part<T>, open: &[Open<T>]) {
        chunk.moves.clear();
        let (n, count) = (chunk.labels.len(), self.groups.members.len());
        for found in open {
            let i = found.row as usize - chunk.start;
            // Scores that overflowed name no centre: the first then, as in a full comparison.
            let to = if found.name == NONE { 0 } else { found.name };
            let (norm, home) = (part.norms[i], self.groups.of[to as usize] as usize);
            part.group_lower[home * n + i] =
                self.lower(norm, found.second, self.groups.group_way[home]);
            let square = norm.into() + 2.0 * found.best.into() + self.error(norm);
            part.upper[i] = self.up(square.max(0.0).sqrt() - self.groups.way[to as usize]);
            let mut smallest = f64::INFINITY;
            for g in 0..count {
                let lower = part.group_lower[g * n + i].into() - self.groups.group_way[g];
                smallest = smallest.min(lower);
            }
            part.lower[i] = self.down(smallest + self.groups.all_way);
            let from = chunk.labels[i];
            if from != to {
                chunk.labels[i] = to;
                chunk.moves.push(Move {
                    row: found.row,
                    from,
                    to,
                });
            }
        }
    }
}
