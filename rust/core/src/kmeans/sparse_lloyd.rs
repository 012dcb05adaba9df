//! Lloyd's iteration on sparse rows.

use super::assign::{Chunk, scan, states};
use super::check_centres;
use super::columns::{Columns, Shifts};
use super::lloyd::{Fit, Settings, labels};
use super::points::Points;
use super::sparse::SparseRows;
use crate::error::Result;
use crate::parallel::{Control, map_chunks};
use ironlearn_kernels::distance::Real;

/// Iterations after which the sums are built anew, so that rounding cannot pile up.
const REFRESH: usize = 32;

/// The sums of the clusters, and which rows are in them.
struct Clusters<'a, 'b, T> {
    rows: &'a SparseRows<'b, T>,
    columns: Columns,
    /// Rows of positive weight: tells an empty cluster from one whose weight was rounded.
    members: Vec<usize>,
    /// Rows that were lent to an empty cluster: row, its cluster, the empty one.
    lent: Vec<(usize, usize, usize)>,
    age: usize,
}

impl<T: Real> Clusters<'_, '_, T> {
    /// Moves the centres to the means of the rows that have their labels; returns the sum of
    /// their squared shifts, or infinity where it is not `wanted` or not known.
    fn step(
        &mut self,
        control: &Control,
        chunks: &[Chunk],
        moved: usize,
        wanted: bool,
    ) -> Result<f64> {
        let rows = self.rows;
        let k = self.members.len();
        self.age += 1;
        let anew = 2 * moved >= rows.count() || self.age >= REFRESH;
        let moves = || chunks.iter().flat_map(|chunk| &chunk.moves);
        if anew {
            self.members.fill(0);
            for chunk in chunks {
                for (i, &label) in chunk.labels.iter().enumerate() {
                    self.members[label as usize] += usize::from(rows.weight(chunk.start + i) > 0.0);
                }
            }
        } else {
            for m in moves().filter(|m| rows.weight(m.row as usize) > 0.0) {
                self.members[m.from as usize] -= 1;
                self.members[m.to as usize] += 1;
            }
        }
        // Distances to the centres before they move.
        let empty: Vec<usize> = (0..k).filter(|&c| self.members[c] == 0).collect();
        let far = self.farthest(control, chunks, empty.len())?;
        // A row that is lent moves a centre anywhere; other empty clusters stay out of it.
        let wanted = wanted && self.lent.is_empty() && far.is_empty();
        for (i, from, empty) in std::mem::take(&mut self.lent) {
            self.columns.clear_one(empty);
            self.columns.add(rows, i, rows.weight(i), from);
        }
        let mut total = f64::INFINITY;
        if anew {
            let before = wanted.then(|| self.columns.scaled());
            self.build(control, chunks)?;
            if let Some(before) = before {
                total = self.columns.shifts_from(&before);
            }
        } else {
            let mut shifts = Shifts::new(&self.columns);
            for m in moves().filter(|_| wanted) {
                let (i, weight) = (m.row as usize, rows.weight(m.row as usize));
                shifts.note(&self.columns, rows, i, -weight, m.from as usize);
                shifts.note(&self.columns, rows, i, weight, m.to as usize);
            }
            for m in moves() {
                let (i, weight) = (m.row as usize, rows.weight(m.row as usize));
                self.columns.add(rows, i, -weight, m.from as usize);
                self.columns.add(rows, i, weight, m.to as usize);
            }
            if wanted {
                total = shifts.total(&self.columns);
            }
        }
        for &c in &empty {
            self.columns.clear_one(c);
        }
        for (&c, (_, i, label)) in empty.iter().zip(far) {
            let weight = rows.weight(i);
            self.columns.add(rows, i, -weight, label);
            self.columns.add(rows, i, weight, c);
            self.lent.push((i, label, c));
        }
        for c in 0..k {
            self.columns.settle(c);
        }
        Ok(total)
    }

    /// Adds all rows to empty sums.
    fn build(&mut self, control: &Control, chunks: &[Chunk]) -> Result<()> {
        self.columns.clear();
        self.age = 0;
        for chunk in chunks {
            control.check()?;
            for (i, &label) in chunk.labels.iter().enumerate() {
                let i = chunk.start + i;
                let weight = self.rows.weight(i);
                self.columns.add(self.rows, i, weight, label as usize);
            }
        }
        Ok(())
    }

    /// The `count` rows of positive weight that are farthest from their centres, with their
    /// labels; fewer where rows lie on their centres.
    fn farthest(
        &self,
        control: &Control,
        chunks: &[Chunk],
        count: usize,
    ) -> Result<Vec<(f64, usize, usize)>> {
        if count == 0 {
            return Ok(Vec::new());
        }
        let order = |a: &(f64, usize, usize), b: &(f64, usize, usize)| {
            b.0.total_cmp(&a.0).then(a.1.cmp(&b.1))
        };
        let lists = map_chunks(control, chunks.len(), 1, |range| {
            let chunk = &chunks[range.start];
            let mut list = Vec::new();
            for (i, &label) in chunk.labels.iter().enumerate() {
                let (i, c) = (chunk.start + i, label as usize);
                let square = self.columns.distance(self.rows, i, c);
                // A distance made by rounding is none.
                let apart = square > 1e-13 * self.rows.norm(i);
                if apart && self.rows.weight(i) > 0.0 {
                    list.push((square, i, c));
                }
            }
            list.sort_unstable_by(order);
            list.truncate(count);
            Ok(list)
        })?;
        let mut all = lists.concat();
        all.sort_unstable_by(order);
        all.truncate(count);
        Ok(all)
    }
}

fn inertia<T: Real>(
    control: &Control,
    rows: &SparseRows<T>,
    chunks: &[Chunk],
    distance: impl Fn(usize, usize) -> f64 + Sync,
) -> Result<f64> {
    let parts = map_chunks(control, chunks.len(), 1, |range| {
        let chunk = &chunks[range.start];
        let labels = chunk.labels.iter().enumerate();
        let squares = labels.map(|(i, &label)| {
            let i = chunk.start + i;
            rows.weight(i) * distance(i, label as usize)
        });
        Ok(squares.sum::<f64>())
    })?;
    Ok(parts.iter().sum())
}

/// Runs Lloyd's iteration from `centres` until no label changes, the centres hardly move, or
/// `max_iter`.
pub fn run_sparse<T: Real>(
    control: &Control,
    rows: &SparseRows<T>,
    centres: &[T],
    settings: Settings,
) -> Result<Fit<T>> {
    let d = rows.features();
    let k = check_centres(centres, d, rows.count())?;
    let mut chunks = states(rows);
    let mut clusters = Clusters {
        rows,
        columns: Columns::new(centres, d, &vec![1.0; k]),
        members: vec![0; k],
        lent: Vec::new(),
        age: 0,
    };
    let mut history = Vec::new();
    let (mut n_iter, mut settled, mut shift) = (0, false, f64::INFINITY);
    while n_iter < settings.max_iter {
        n_iter += 1;
        let moved = scan(control, rows, &clusters.columns.table, &mut chunks)?;
        if settings.history {
            let columns = &clusters.columns;
            history.push(inertia(control, rows, &chunks, |i, c| {
                columns.distance(rows, i, c)
            })?);
        }
        settled = moved == 0;
        if settled {
            break;
        }
        let wanted = settings.tol > 0.0 && n_iter < settings.max_iter;
        shift = clusters.step(control, &chunks, moved, wanted)?;
        if wanted && shift <= settings.tol {
            break;
        }
    }
    let centres: Vec<T> = clusters.columns.centres();
    // Compared as the model will compare them, so that prediction repeats the labels.
    let table = rows.table(&centres);
    scan(control, rows, &table, &mut chunks)?;
    let lengths = rows.lengths(&centres);
    let inertia = inertia(control, rows, &chunks, |i, c| {
        rows.square(i, &centres[c * d..(c + 1) * d], lengths[c])
    })?;
    Ok(Fit {
        labels: labels(&chunks),
        centres,
        inertia,
        n_iter,
        history,
        settled,
        shift,
    })
}
