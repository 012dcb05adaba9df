//! Centres of sparse rows while they move.
//!
//! The table that rows are compared with holds the weighted sum of each cluster's rows instead
//! of the centre; a factor for each column and the squared lengths, which are kept up to date,
//! do the rest. So a row that joins or leaves a cluster costs as much as it has elements,
//! and nothing is ever done for all features of all centres.

use super::sparse::SparseRows;
use ironlearn_kernels::distance::{Real, Turned};
use ironlearn_kernels::tier;

/// A square that fell below this share of what it was has lost so many digits.
const WORN: f64 = 1e-3;

/// Sums of rows by cluster, in the form of a table of centres.
pub struct Columns {
    pub table: Turned,
    /// Weight of the rows in each sum; one for a centre that stands for itself.
    pub weights: Vec<f64>,
    /// Squared length of each sum.
    squares: Vec<f64>,
    /// The largest square since it was last computed anew.
    peaks: Vec<f64>,
}

impl Columns {
    /// Centres, each as a sum of the given weight.
    pub fn new<T: Real>(centres: &[T], features: usize, weights: &[f64]) -> Columns {
        let k = weights.len();
        let mut columns = Columns {
            table: Turned::new(tier::active(), centres, features, vec![0.0; k]),
            weights: weights.to_vec(),
            squares: vec![0.0; k],
            peaks: vec![0.0; k],
        };
        let width = columns.table.width();
        for line in columns.table.data_mut().chunks_exact_mut(width) {
            for (v, weight) in line.iter_mut().zip(weights) {
                *v *= weight;
            }
        }
        for c in 0..k {
            columns.renew(c);
            columns.settle(c);
        }
        columns
    }

    /// Forgets all rows.
    pub fn clear(&mut self) {
        self.table.data_mut().fill(0.0);
        for part in [&mut self.weights, &mut self.squares, &mut self.peaks] {
            part.fill(0.0);
        }
    }

    /// Forgets the rows of cluster `c`.
    pub fn clear_one(&mut self, c: usize) {
        let width = self.table.width();
        for v in self.table.data_mut()[c..].iter_mut().step_by(width) {
            *v = 0.0;
        }
        (self.weights[c], self.squares[c], self.peaks[c]) = (0.0, 0.0, 0.0);
    }

    /// Adds row `i` to cluster `c`, or takes it off where `weight` is negative.
    pub fn add<T: Real>(&mut self, rows: &SparseRows<T>, i: usize, weight: f64, c: usize) {
        self.squares[c] += rows.add_to_column(i, weight, &mut self.table, c);
        self.peaks[c] = self.peaks[c].max(self.squares[c]);
        self.weights[c] += weight;
    }

    /// Computes the square of cluster `c` from its sum.
    fn renew(&mut self, c: usize) {
        let width = self.table.width();
        let column = self.table.data()[c..].iter().step_by(width);
        self.squares[c] = column.map(|v| v * v).sum();
        self.peaks[c] = self.squares[c];
    }

    /// Makes the table compare rows with the centre of cluster `c` as it is now. A cluster of
    /// no weight is nearest to no row.
    pub fn settle(&mut self, c: usize) {
        if self.squares[c] < WORN * self.peaks[c] {
            self.renew(c);
        }
        if self.weights[c] > 0.0 {
            let scale = 1.0 / self.weights[c];
            self.table.set_scale(c, scale, self.length(c));
        } else {
            self.table.set_scale(c, 0.0, f64::INFINITY);
        }
    }

    /// The squared length of centre `c`.
    pub fn length(&self, c: usize) -> f64 {
        self.squares[c] / (self.weights[c] * self.weights[c])
    }

    /// The product of row `i` with the sum of cluster `c`.
    pub fn product<T: Real>(&self, rows: &SparseRows<T>, i: usize, c: usize) -> f64 {
        rows.column_product(i, &self.table, c)
    }

    /// The table of the centres themselves, in its own order.
    pub fn scaled(&self) -> Vec<f64> {
        let mut out = self.table.data().to_vec();
        for line in out.chunks_exact_mut(self.table.width()) {
            for (v, weight) in line.iter_mut().zip(&self.weights) {
                *v /= weight;
            }
        }
        out
    }

    /// The sum of the squared shifts of the centres that had rows and have some, from a table
    /// that [`Columns::scaled`] made.
    pub fn shifts_from(&self, before: &[f64]) -> f64 {
        let width = self.table.width();
        let lines = before
            .chunks_exact(width)
            .zip(self.table.data().chunks_exact(width));
        let mut totals = vec![0.0; self.weights.len()];
        for (old, new) in lines {
            for (c, total) in totals.iter_mut().enumerate() {
                let shift = new[c] / self.weights[c] - old[c];
                if shift.is_finite() {
                    *total += shift * shift;
                }
            }
        }
        totals.iter().sum()
    }

    /// Squared distance from row `i` to centre `c`.
    pub fn distance<T: Real>(&self, rows: &SparseRows<T>, i: usize, c: usize) -> f64 {
        let product = self.product(rows, i, c) / self.weights[c];
        (rows.norm(i) + self.length(c) - 2.0 * product).max(0.0)
    }

    /// The centres, one after another; clusters without rows get that of the heaviest.
    pub fn centres<T: Real>(&self) -> Vec<T> {
        let (k, width, d) = (self.table.len(), self.table.width(), self.table.features());
        let heaviest = (0..k).fold(0, |a, b| {
            if self.weights[b] > self.weights[a] {
                b
            } else {
                a
            }
        });
        let mut out = Vec::with_capacity(k * d);
        for c in 0..k {
            let from = if self.weights[c] > 0.0 { c } else { heaviest };
            let column = self.table.data()[from..].iter().step_by(width);
            out.extend(column.map(|v| T::from_f64(v / self.weights[from])));
        }
        out
    }
}

/// The changes of centres that follow from rows joining and leaving sums: first
/// [`Shifts::note`] all of them, then add the rows, then ask.
pub struct Shifts {
    /// What each sum was: its weight, its square, and its product with what is added.
    before: Vec<(f64, f64, f64)>,
}

impl Shifts {
    /// Remembers the sums as they are.
    pub fn new(columns: &Columns) -> Shifts {
        let pairs = columns.weights.iter().zip(&columns.squares);
        Shifts {
            before: pairs.map(|(&w, &s)| (w, s, 0.0)).collect(),
        }
    }

    /// Takes in that row `i` will join cluster `c` with this weight.
    pub fn note<T: Real>(
        &mut self,
        columns: &Columns,
        rows: &SparseRows<T>,
        i: usize,
        weight: f64,
        c: usize,
    ) {
        self.before[c].2 += weight * columns.product(rows, i, c);
    }

    /// The sum of the squared shifts of the centres that had rows and have some.
    pub fn total(&self, columns: &Columns) -> f64 {
        let mut total = 0.0;
        for (c, &(weight, square, product)) in self.before.iter().enumerate() {
            let now = columns.weights[c];
            if now == weight && product == 0.0 && columns.squares[c] == square {
                continue;
            }
            if !(now > 0.0 && weight > 0.0) {
                continue;
            }
            let cross = (square + product) / (weight * now);
            let shift = columns.length(c) + square / (weight * weight) - 2.0 * cross;
            total += shift.max(0.0);
        }
        total
    }
}
