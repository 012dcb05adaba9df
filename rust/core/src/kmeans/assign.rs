//! Which centre is nearest to each row.

use super::points::Points;
use crate::error::Result;
use crate::parallel::{Control, chunks, each_mut};
use ironlearn_kernels::distance::{Best, Packed, Real, lanes, nearest, pack};
use ironlearn_kernels::tier::{self, Tier};

/// No centre yet.
pub const NONE: u32 = u32::MAX;

/// A row that went from one centre to another.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Move {
    /// The row.
    pub row: u32,
    /// Its former centre, or [`NONE`].
    pub from: u32,
    /// Its centre now.
    pub to: u32,
}

/// What is known of a range of rows.
pub struct Chunk {
    /// The first row.
    pub start: usize,
    /// The centre of each row.
    pub labels: Vec<u32>,
    /// The moves of the last assignment, in row order.
    pub moves: Vec<Move>,
}

/// Empty states of the fixed chunks of `rows`.
pub fn states<T: Real>(rows: &impl Points<T>) -> Vec<Chunk> {
    chunks(rows.count(), rows.chunk())
        .map(|range| Chunk {
            start: range.start,
            labels: vec![NONE; range.len()],
            moves: Vec::new(),
        })
        .collect()
}

/// A panel of points and what [`nearest`] finds for them.
pub struct Scratch<T> {
    /// The instructions in use.
    pub tier: Tier,
    /// Points in a wide panel.
    pub width: usize,
    /// The turned points.
    pub panel: Vec<T>,
    /// Lowest scores.
    pub best: Vec<T>,
    /// Second-lowest scores.
    pub second: Vec<T>,
    /// Names of the best centres.
    pub name: Vec<T>,
    wide: bool,
}

impl<T: Real> Scratch<T> {
    /// Buffers for rows of `features` elements.
    pub fn new(features: usize) -> Self {
        let tier = tier::active();
        let width = 2 * lanes::<T>(tier);
        let line = vec![T::default(); width];
        Scratch {
            tier,
            width,
            panel: vec![T::default(); width * features],
            best: line.clone(),
            second: line.clone(),
            name: line,
            wide: false,
        }
    }

    /// Turns up to `width` rows of `x`, less `offset`; returns the stride of the panel.
    pub fn load(&mut self, x: &[T], numbers: &[u32], offset: &[T]) -> usize {
        self.wide = pack(self.tier, x, numbers, offset, &mut self.panel);
        if self.wide {
            self.width
        } else {
            self.width / 2
        }
    }

    /// Finds the nearest of the packed centres for each point of the panel.
    pub fn nearest(&mut self, packed: &Packed<T>, second: bool) {
        nearest(
            self.tier,
            &self.panel,
            self.wide,
            second,
            packed,
            Best {
                best: &mut self.best,
                second: &mut self.second,
                name: &mut self.name,
            },
        );
    }

    /// Squared distances to the packed centres, centre after centre.
    pub fn squares(&mut self, packed: &Packed<T>, out: &mut [T]) {
        ironlearn_kernels::distance::squares(self.tier, &self.panel, self.wide, packed, out);
    }
}

/// The row numbers `from..to` in groups of at most `width`.
pub fn panels(from: usize, to: usize, width: usize) -> impl Iterator<Item = (usize, Vec<u32>)> {
    (from..to)
        .step_by(width)
        .map(move |i| (i, (i..to.min(i + width)).map(|r| r as u32).collect()))
}

/// Compares every row with every centre; returns how many rows moved.
pub fn scan<T: Real, P: Points<T>>(
    control: &Control,
    rows: &P,
    table: &P::Table,
    chunks: &mut [Chunk],
) -> Result<usize> {
    let counts = each_mut(control, chunks, |chunk| {
        let mut desk = rows.desk();
        let width = rows.width(&desk);
        let mut found = vec![NONE; width];
        chunk.moves.clear();
        let (start, end) = (chunk.start, chunk.start + chunk.labels.len());
        for (first, numbers) in panels(start, end, width) {
            control.check()?;
            rows.nearest(&mut desk, table, &numbers, &mut found);
            let labels = &mut chunk.labels[first - start..][..numbers.len()];
            for (p, label) in labels.iter_mut().enumerate() {
                let to = found[p];
                if to != *label {
                    chunk.moves.push(Move {
                        row: numbers[p],
                        from: *label,
                        to,
                    });
                    *label = to;
                }
            }
        }
        Ok(chunk.moves.len())
    })?;
    Ok(counts.iter().sum())
}
