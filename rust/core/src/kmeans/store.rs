//! Centres that move a little with every batch.
//!
//! Each is the mean of all rows that it was ever given, kept as a sum and a weight, so that a
//! step costs one addition of each row.

use super::Rows;
use super::columns::{Columns, Shifts};
use super::points::Points;
use super::sparse::SparseRows;
use crate::error::Result;
use crate::parallel::{Control, each_mut};
use ironlearn_kernels::distance::{Packed, Real, Turned};

/// A batch by cluster.
pub struct Sorted {
    /// The rows, those of one cluster in their order in the batch.
    pub order: Vec<u32>,
    /// Where each cluster begins, and the last one ends.
    pub starts: Vec<usize>,
    /// Rows count by their weights, or all the same.
    pub weighted: bool,
}

impl Sorted {
    /// Sorts a batch of rows and their labels.
    pub fn sort(&mut self, batch: impl Iterator<Item = (u32, u32)> + Clone) {
        self.starts.fill(0);
        for (_, label) in batch.clone() {
            self.starts[label as usize + 1] += 1;
        }
        for c in 1..self.starts.len() {
            self.starts[c] += self.starts[c - 1];
        }
        for (row, label) in batch {
            let next = &mut self.starts[label as usize];
            self.order[*next] = row;
            *next += 1;
        }
        // Each start has moved to where the next cluster's was.
        self.starts.rotate_right(1);
        self.starts[0] = 0;
    }

    fn rows_of(&self, c: usize) -> &[u32] {
        &self.order[self.starts[c]..self.starts[c + 1]]
    }
}

/// The weight of a row, or one.
pub fn weight_of<T: Real>(rows: &impl Points<T>, row: u32, weighted: bool) -> f64 {
    if weighted {
        rows.weight(row as usize)
    } else {
        1.0
    }
}

/// Centres, and the weight of the rows that each was given.
pub trait Store<T: Real, P: Points<T> + ?Sized>: Sync {
    /// Centres that were given rows of so much weight.
    fn new(rows: &P, centres: &[T], counts: &[f64]) -> Self;
    /// Brings the table up to date.
    fn prepare(&mut self, rows: &P);
    /// The centres as rows are compared with them.
    fn table(&self) -> &P::Table;
    /// Squared distance from row `i` to centre `c`.
    fn distance(&self, rows: &P, i: usize, c: usize) -> f64;
    /// Gives the rows of a batch to their centres; returns the sum of the squared shifts,
    /// which may be infinite unless it is `wanted`.
    fn absorb(&mut self, control: &Control, rows: &P, batch: &Sorted, wanted: bool) -> Result<f64>;
    /// Puts centre `c` on row `i`, as if it had been given rows of weight `count`.
    fn put(&mut self, rows: &P, i: usize, c: usize, count: f64);
    /// The weight of the rows that each centre was given.
    fn counts(&self) -> &[f64];
    /// The centres, one after another.
    fn centres(&self) -> Vec<T>;
}

/// The store of dense rows.
pub struct Means<T> {
    features: usize,
    centres: Vec<T>,
    sums: Vec<f64>,
    counts: Vec<f64>,
    table: Packed<T>,
}

impl<T: Real> Store<T, Rows<'_, T>> for Means<T> {
    fn new(rows: &Rows<T>, centres: &[T], counts: &[f64]) -> Self {
        let d = rows.features;
        let scaled = centres.iter().enumerate().map(|(at, &v)| {
            let v: f64 = v.into();
            counts[at / d] * v
        });
        Means {
            features: d,
            sums: scaled.collect(),
            centres: centres.to_vec(),
            counts: counts.to_vec(),
            table: rows.table(&[]),
        }
    }

    fn prepare(&mut self, rows: &Rows<T>) {
        self.table = rows.table(&self.centres);
    }

    fn table(&self) -> &Packed<T> {
        &self.table
    }

    fn distance(&self, rows: &Rows<T>, i: usize, c: usize) -> f64 {
        let d = self.features;
        rows.square(i, &self.centres[c * d..(c + 1) * d], 0.0)
    }

    fn absorb(
        &mut self,
        control: &Control,
        rows: &Rows<T>,
        batch: &Sorted,
        _: bool,
    ) -> Result<f64> {
        let d = self.features;
        let parts = self.centres.chunks_exact_mut(d);
        let parts = parts
            .zip(self.sums.chunks_exact_mut(d))
            .zip(&mut self.counts);
        let mut clusters: Vec<_> = (parts.enumerate())
            .filter(|(c, _)| !batch.rows_of(*c).is_empty())
            .collect();
        let shifts = each_mut(control, &mut clusters, |(c, ((centre, sum), count))| {
            for &row in batch.rows_of(*c) {
                let weight = weight_of(rows, row, batch.weighted);
                rows.add(row as usize, weight, sum);
                **count += weight;
            }
            let mut shift = 0.0;
            if **count > 0.0 {
                for (v, &s) in centre.iter_mut().zip(sum.iter()) {
                    let old: f64 = (*v).into();
                    *v = T::from_f64(s / **count);
                    let new: f64 = (*v).into();
                    shift += (new - old) * (new - old);
                }
            }
            Ok(shift)
        })?;
        Ok(shifts.iter().sum())
    }

    fn put(&mut self, rows: &Rows<T>, i: usize, c: usize, count: f64) {
        let d = self.features;
        let centre = self.centres[c * d..(c + 1) * d].iter_mut();
        let sum = self.sums[c * d..(c + 1) * d].iter_mut();
        for ((v, s), x) in centre.zip(sum).zip(rows.shifted(i)) {
            *v = x;
            let x: f64 = x.into();
            *s = count * x;
        }
        self.counts[c] = count;
    }

    fn counts(&self) -> &[f64] {
        &self.counts
    }

    fn centres(&self) -> Vec<T> {
        self.centres.clone()
    }
}

/// The store of sparse rows.
pub struct SparseMeans {
    /// A centre that was not yet given rows stands here with weight one.
    columns: Columns,
    counts: Vec<f64>,
}

impl<T: Real> Store<T, SparseRows<'_, T>> for SparseMeans {
    fn new(rows: &SparseRows<T>, centres: &[T], counts: &[f64]) -> Self {
        let weights: Vec<f64> = counts
            .iter()
            .map(|&c| if c > 0.0 { c } else { 1.0 })
            .collect();
        SparseMeans {
            columns: Columns::new(centres, rows.features(), &weights),
            counts: counts.to_vec(),
        }
    }

    fn prepare(&mut self, _: &SparseRows<T>) {}

    fn table(&self) -> &Turned {
        &self.columns.table
    }

    fn distance(&self, rows: &SparseRows<T>, i: usize, c: usize) -> f64 {
        self.columns.distance(rows, i, c)
    }

    fn absorb(
        &mut self,
        control: &Control,
        rows: &SparseRows<T>,
        batch: &Sorted,
        wanted: bool,
    ) -> Result<f64> {
        control.check()?;
        let weight = |row: u32| weight_of(rows, row, batch.weighted);
        let mut shifts = Shifts::new(&self.columns);
        let mut first = false;
        for c in 0..self.counts.len() {
            let given: f64 = batch.rows_of(c).iter().map(|&row| weight(row)).sum();
            if given <= 0.0 {
                continue;
            }
            if self.counts[c] == 0.0 {
                self.columns.clear_one(c);
                first = true;
            } else if wanted {
                for &row in batch.rows_of(c) {
                    shifts.note(&self.columns, rows, row as usize, weight(row), c);
                }
            }
            for &row in batch.rows_of(c) {
                self.columns.add(rows, row as usize, weight(row), c);
            }
            self.counts[c] += given;
            self.columns.settle(c);
        }
        // A centre that got its first rows went anywhere.
        Ok(if wanted && !first {
            shifts.total(&self.columns)
        } else {
            f64::INFINITY
        })
    }

    fn put(&mut self, rows: &SparseRows<T>, i: usize, c: usize, count: f64) {
        self.columns.clear_one(c);
        let weight = if count > 0.0 { count } else { 1.0 };
        self.columns.add(rows, i, weight, c);
        self.columns.settle(c);
        self.counts[c] = count;
    }

    fn counts(&self) -> &[f64] {
        &self.counts
    }

    fn centres(&self) -> Vec<T> {
        self.columns.centres()
    }
}
