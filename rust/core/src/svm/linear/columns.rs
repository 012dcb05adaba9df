//! The data by columns, for coordinate descent over features.

use crate::error::Result;
use crate::parallel::{Control, fill_chunks};
use ironlearn_kernels::linear::Element;
use ironlearn_kernels::tier::Tier;

/// A matrix whose columns can be walked.
pub trait Columns: Sync {
    /// Calls `f(row, value)` for each stored element of column `j`.
    fn each(&self, j: usize, f: impl FnMut(usize, f64));
    /// Stored elements: what one pass over all columns costs.
    fn stored(&self) -> usize;
    /// Stored elements of column `j`.
    fn count(&self, j: usize) -> usize;
    /// Product of column `j` with `r`.
    fn dot(&self, j: usize, r: &[f64]) -> f64;
    /// Adds `a` times column `j` to `out`.
    fn axpy(&self, j: usize, a: f64, out: &mut [f64]);
}

/// A dense matrix, transposed.
pub struct DenseColumns<T> {
    x: Vec<T>,
    rows: usize,
    features: usize,
    bias: f64,
    tier: Tier,
}

impl<T: Element> DenseColumns<T> {
    pub(super) fn new(
        control: &Control,
        x: &[T],
        rows: usize,
        features: usize,
        bias: Option<f64>,
        tier: Tier,
    ) -> Result<Self> {
        let mut out = x.to_vec();
        if rows > 0 {
            // Sixteen columns at a time: one cache line of each row is read once.
            fill_chunks(control, &mut out, rows, 16, |columns, part| {
                for (i, row) in x.chunks_exact(features.max(1)).enumerate() {
                    if i % 65_536 == 0 {
                        control.check()?;
                    }
                    for (j, value) in row[columns.clone()].iter().enumerate() {
                        part[j * rows + i] = *value;
                    }
                }
                Ok(())
            })?;
        }
        Ok(DenseColumns {
            x: out,
            rows,
            features,
            bias: bias.unwrap_or(0.0),
            tier,
        })
    }

    fn column(&self, j: usize) -> &[T] {
        &self.x[j * self.rows..(j + 1) * self.rows]
    }
}

impl<T: Element> Columns for DenseColumns<T> {
    #[inline]
    fn each(&self, j: usize, mut f: impl FnMut(usize, f64)) {
        if j < self.features {
            for (i, v) in self.column(j).iter().enumerate() {
                f(i, v.widen());
            }
        } else {
            for i in 0..self.rows {
                f(i, self.bias);
            }
        }
    }
    fn stored(&self) -> usize {
        self.x.len() + self.rows
    }
    fn count(&self, _: usize) -> usize {
        self.rows
    }
    fn dot(&self, j: usize, r: &[f64]) -> f64 {
        if j < self.features {
            T::dot(self.tier, self.column(j), r)
        } else {
            self.bias * r.iter().sum::<f64>()
        }
    }
    fn axpy(&self, j: usize, a: f64, out: &mut [f64]) {
        if j < self.features {
            T::axpy(self.tier, a, self.column(j), out);
        } else {
            for o in out {
                *o += a * self.bias;
            }
        }
    }
}

/// Compressed sparse columns.
pub struct SparseColumns {
    values: Vec<f64>,
    rows: Vec<u32>,
    starts: Vec<usize>,
    n_rows: usize,
    features: usize,
    bias: f64,
}

impl SparseColumns {
    pub(super) fn new(
        control: &Control,
        rows: impl Iterator<Item = impl Iterator<Item = (usize, f64)>> + Clone,
        stored: usize,
        n_rows: usize,
        features: usize,
        bias: Option<f64>,
    ) -> Result<Self> {
        let mut starts = vec![0usize; features + 1];
        for row in rows.clone() {
            for (j, _) in row {
                starts[j + 1] += 1;
            }
        }
        control.check()?;
        for j in 0..features {
            starts[j + 1] += starts[j];
        }
        let mut next = starts.clone();
        let mut values = vec![0.0; stored];
        let mut places = vec![0u32; stored];
        for (i, row) in rows.enumerate() {
            if i % 4096 == 0 {
                control.check()?;
            }
            for (j, v) in row {
                values[next[j]] = v;
                places[next[j]] = i as u32;
                next[j] += 1;
            }
        }
        Ok(SparseColumns {
            values,
            rows: places,
            starts,
            n_rows,
            features,
            bias: bias.unwrap_or(0.0),
        })
    }
}

impl Columns for SparseColumns {
    #[inline]
    fn each(&self, j: usize, mut f: impl FnMut(usize, f64)) {
        if j < self.features {
            let range = self.starts[j]..self.starts[j + 1];
            for (&i, &v) in self.rows[range.clone()].iter().zip(&self.values[range]) {
                f(i as usize, v);
            }
        } else {
            for i in 0..self.n_rows {
                f(i, self.bias);
            }
        }
    }
    fn stored(&self) -> usize {
        self.values.len() + self.n_rows
    }
    fn count(&self, j: usize) -> usize {
        if j < self.features {
            self.starts[j + 1] - self.starts[j]
        } else {
            self.n_rows
        }
    }
    fn dot(&self, j: usize, r: &[f64]) -> f64 {
        let mut sum = 0.0;
        self.each(j, |i, v| sum += v * r[i]);
        sum
    }
    fn axpy(&self, j: usize, a: f64, out: &mut [f64]) {
        self.each(j, |i, v| out[i] += a * v);
    }
}
