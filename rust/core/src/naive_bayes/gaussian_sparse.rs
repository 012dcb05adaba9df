//! Gaussian naive Bayes over CSR rows: absent elements are zeros that nobody stores.
//!
//! The moments of the stored elements of a class, shifted by the first of them, are joined
//! with the known moments of the zeros. Prediction starts from the distances of an all-zero
//! row and corrects them by the stored elements; features whose own term is so large that
//! such a correction would cancel are added one by one.

use crate::error::{Error, Result};
use crate::naive_bayes::gaussian::{GaussianModel, Moments, argmax};
use crate::naive_bayes::rows::{Csr, Index, check_codes};
use crate::parallel::{Control, chunks, fill_chunks, map_chunks};
use ironlearn_kernels::sums::Value;
use std::ops::Range;

/// Largest term of an all-zero row that is corrected by subtraction.
const TAME: f64 = 16.0;

/// Moments of the stored elements of one feature in one class.
#[derive(Clone, Copy, Default)]
struct Cell {
    stored: u64,
    weight: f64,
    /// The first stored value, then the mean.
    centre: f64,
    /// Sum of deviations from `centre`.
    sum: f64,
    /// Sum of squared deviations.
    square: f64,
}

impl Cell {
    #[inline]
    fn add(&mut self, value: f64, weight: f64) {
        if self.stored == 0 {
            self.centre = value;
        }
        self.stored += 1;
        self.weight += weight;
        let deviation = value - self.centre;
        self.sum += weight * deviation;
        self.square += weight * deviation * deviation;
    }

    fn centred(mut self) -> Cell {
        if self.weight > 0.0 {
            let mean = self.sum / self.weight;
            self.centre += mean;
            self.square = (self.square - self.sum * mean).max(0.0);
        }
        self.sum = 0.0;
        self
    }

    /// Joins two centred cells.
    fn merge(&mut self, other: &Cell) {
        if other.stored == 0 {
            return;
        }
        let stored = self.stored + other.stored;
        let weight = self.weight + other.weight;
        let delta = other.centre - self.centre;
        *self = Cell {
            stored,
            weight,
            centre: self.centre + delta * (other.weight / weight),
            sum: 0.0,
            square: self.square
                + other.square
                + delta * delta * (self.weight * other.weight / weight),
        };
    }
}

struct Partial {
    /// Rows and weight of each class; rows without weight are left out.
    rows: Vec<u64>,
    weight: Vec<f64>,
    cells: Vec<Cell>,
}

/// As [`super::gaussian::moments`], of CSR rows without elements stored twice.
pub fn sparse_moments<T: Value, I: Index>(
    control: &Control,
    x: Csr<'_, T, I>,
    y: &[u32],
    weights: Option<&[f64]>,
    classes: usize,
) -> Result<(Moments, f64)> {
    check_codes(x.rows(), y, weights, classes)?;
    let total = class_moments(control, x, |i| y[i] as usize, weights, classes)?;
    let mut all = Moments::init(1, x.features);
    if weights.is_some() {
        all = class_moments(control, x, |_| 0, None, 1)?;
    } else {
        for c in 0..classes {
            let span = c * x.features..(c + 1) * x.features;
            all.merge(&Moments {
                count: vec![total.count[c]],
                mean: total.mean[span.clone()].to_vec(),
                m2: total.m2[span].to_vec(),
            });
        }
    }
    let largest = all.m2.iter().copied().fold(0.0, f64::max) / all.count[0].max(1.0);
    Ok((total, largest))
}

fn class_moments<T: Value, I: Index>(
    control: &Control,
    x: Csr<'_, T, I>,
    class: impl Fn(usize) -> usize + Sync,
    weights: Option<&[f64]>,
    classes: usize,
) -> Result<Moments> {
    let d = x.features;
    let size = classes
        .checked_mul(d)
        .filter(|size| *size <= 1 << 26)
        .ok_or_else(|| Error::TooLarge {
            what: "the number of classes times features",
            given: format!("{classes} x {d}"),
            limit: (1 << 26).to_string(),
        })?;
    // Few enough chunks that their statistics stay small beside X.
    let most = (x.stored() / (2 * size)).clamp(1, 16);
    let chunk = x.rows().div_ceil(most).max(256);
    let parts = map_chunks(control, x.rows(), chunk, |range| {
        let mut part = Partial {
            rows: vec![0; classes],
            weight: vec![0.0; classes],
            cells: vec![Cell::default(); size],
        };
        for block in chunks(range.len(), 256) {
            control.check()?;
            let block = range.start + block.start..range.start + block.end;
            x.check(block.clone(), false)?;
            for i in block {
                let weight = weights.map_or(1.0, |w| w[i]);
                if weight > 0.0 {
                    let c = class(i);
                    part.rows[c] += 1;
                    part.weight[c] += weight;
                    for (j, v) in x.row(i) {
                        part.cells[c * d + j].add(v.widen(), weight);
                    }
                }
            }
        }
        for cell in &mut part.cells {
            *cell = cell.centred();
        }
        Ok(part)
    })?;
    let mut parts = parts.into_iter();
    let mut total = parts.next().unwrap_or(Partial {
        rows: vec![0; classes],
        weight: vec![0.0; classes],
        cells: vec![Cell::default(); size],
    });
    for part in parts {
        for c in 0..classes {
            total.rows[c] += part.rows[c];
            total.weight[c] += part.weight[c];
        }
        for (cell, other) in total.cells.iter_mut().zip(&part.cells) {
            cell.merge(other);
        }
    }
    let mut out = Moments::init(classes, d);
    for (i, cell) in total.cells.iter().enumerate() {
        let c = i / d;
        // Compared by rows: a difference of weights would leave a rest of rounding.
        if cell.stored == total.rows[c] {
            out.mean[i] = cell.centre;
            out.m2[i] = cell.square;
        } else if cell.stored > 0 {
            let share = cell.weight / total.weight[c];
            out.mean[i] = cell.centre * share;
            let zeros = (total.weight[c] - cell.weight).max(0.0);
            out.m2[i] = cell.square + cell.centre * cell.centre * share * zeros;
        }
    }
    out.count = total.weight;
    Ok(out)
}

/// What prediction of CSR rows needs besides the model.
#[derive(Debug)]
pub struct SparseGaussian {
    classes: usize,
    features: usize,
    /// Joint log-likelihood of an all-zero row, without the wild features.
    start: Vec<f64>,
    /// Precision and twice the mean by feature, `features x classes`; both zero where wild.
    tame: Vec<(f64, f64)>,
    /// For each class the features whose term in an all-zero row is large: column, mean,
    /// precision.
    wild: Vec<Vec<(usize, f64, f64)>>,
}

impl SparseGaussian {
    /// Packs `model`.
    pub fn new(model: &GaussianModel) -> SparseGaussian {
        let (k, d) = (model.classes(), model.features());
        let mut out = SparseGaussian {
            classes: k,
            features: d,
            start: model.constant().to_vec(),
            tame: vec![(0.0, 0.0); k * d],
            wild: vec![Vec::new(); k],
        };
        for c in 0..k {
            let mut sum = 0.0;
            for j in 0..d {
                let (mean, var) = (model.theta()[c * d + j], model.var()[c * d + j]);
                let precision = 1.0 / var;
                let term = mean * mean * precision;
                if term <= TAME && precision.is_finite() {
                    sum += term;
                    out.tame[j * k + c] = (precision, 2.0 * mean);
                } else {
                    out.wild[c].push((j, mean, precision));
                }
            }
            out.start[c] -= 0.5 * sum;
        }
        out
    }

    /// `log P(class) + log P(row | class)`, `rows x classes`.
    pub fn joint_log_likelihood<T: Value, I: Index>(
        &self,
        control: &Control,
        x: Csr<'_, T, I>,
    ) -> Result<Vec<f64>> {
        self.check_width(x.features)?;
        let mut out = vec![0.0; x.rows() * self.classes];
        fill_chunks(control, &mut out, self.classes, 256, |rows, part| {
            self.block(control, x, rows, part)
        })?;
        Ok(out)
    }

    /// The index of the likeliest class of each row (the first among equals).
    pub fn predict<T: Value, I: Index>(
        &self,
        control: &Control,
        x: Csr<'_, T, I>,
    ) -> Result<Vec<i64>> {
        self.check_width(x.features)?;
        let mut out = vec![0i64; x.rows()];
        fill_chunks(control, &mut out, 1, 256, |rows, part| {
            let mut joint = vec![0.0; part.len() * self.classes];
            self.block(control, x, rows, &mut joint)?;
            for (code, row) in part.iter_mut().zip(joint.chunks_exact(self.classes)) {
                *code = argmax(row) as i64;
            }
            Ok(())
        })?;
        Ok(out)
    }

    fn check_width(&self, features: usize) -> Result<()> {
        if features == self.features {
            return Ok(());
        }
        Err(Error::Shape {
            name: "X",
            given: format!("{features} features"),
            expected: format!("{}", self.features),
        })
    }

    fn block<T: Value, I: Index>(
        &self,
        control: &Control,
        x: Csr<'_, T, I>,
        rows: Range<usize>,
        out: &mut [f64],
    ) -> Result<()> {
        let k = self.classes;
        x.check(rows.clone(), false)?;
        let any_wild = self.wild.iter().any(|wild| !wild.is_empty());
        let mut dense = vec![0.0; if any_wild { self.features } else { 0 }];
        let mut distance = vec![0.0; k];
        for (i, answer) in rows.zip(out.chunks_exact_mut(k)) {
            distance.fill(0.0);
            for (j, v) in x.row(i) {
                let v = v.widen();
                for (sum, (precision, twice)) in
                    distance.iter_mut().zip(&self.tame[j * k..(j + 1) * k])
                {
                    *sum += precision * v * (v - twice);
                }
            }
            if any_wild {
                control.check()?;
                for (j, v) in x.row(i) {
                    dense[j] = v.widen();
                }
                for (sum, wild) in distance.iter_mut().zip(&self.wild) {
                    for (j, mean, precision) in wild {
                        let t = dense[*j] - mean;
                        *sum += t * t * precision;
                    }
                }
                for (j, _) in x.row(i) {
                    dense[j] = 0.0;
                }
            }
            for ((a, start), sum) in answer.iter_mut().zip(&self.start).zip(&distance) {
                *a = start - 0.5 * sum;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::naive_bayes::gaussian::moments;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn sparse_rows_give_the_dense_answers(
            values in prop::collection::vec(0u8..8, 6..3000),
            offset in prop::sample::select(vec![0.0, 1e4]),
            weighted in any::<bool>(),
        ) {
            let rows = values.len() / 3;
            // Column 2 has no zeros; half of the others are zeros.
            let x: Vec<f64> = values[..rows * 3].iter().enumerate().map(|(i, v)| {
                if i % 3 == 2 { f64::from(*v) * 0.7 + 1.0 + offset }
                else if *v < 4 { 0.0 } else { f64::from(*v) - 5.5 }
            }).collect();
            let y: Vec<u32> = (0..rows).map(|i| (i % 2) as u32).collect();
            let w: Vec<f64> = (0..rows).map(|i| (i % 5) as f64 * 0.3).collect();
            let weights = (weighted && rows > 5).then_some(&w[..]);
            let (mut data, mut indices, mut indptr) = (vec![], vec![], vec![0i32]);
            for row in x.chunks(3) {
                for (j, v) in row.iter().enumerate().filter(|(_, v)| **v != 0.0) {
                    data.push(*v);
                    indices.push(j as i32);
                }
                indptr.push(data.len() as i32);
            }
            let control = Control::serial();
            let (dense, largest) = moments(&control, &x, 3, &y, weights, 2).unwrap();
            let csr = Csr::new(&data, &indices, &indptr, 3).unwrap();
            let (sparse, also) = sparse_moments(&control, csr, &y, weights, 2).unwrap();
            let close = |a: f64, b: f64, scale: f64| (a - b).abs() <= 1e-10 * (scale + a.abs());
            prop_assert!(close(largest, also, 1.0));
            for i in 0..6 {
                prop_assert!(close(dense.count[i / 3], sparse.count[i / 3], 0.0));
                prop_assert!(close(dense.mean[i], sparse.mean[i], 1.0));
                prop_assert!((dense.m2[i] - sparse.m2[i]).abs() <= 1e-9 * (1.0 + dense.m2[i]));
            }
            let var = (0..6).map(|i| sparse.m2[i] / sparse.count[i / 3].max(1.0) + 1e-3).collect();
            let model = GaussianModel::new(2, 3, sparse.mean.clone(), var, vec![-0.7; 2]).unwrap();
            let wanted = model.joint_log_likelihood(&control, &x).unwrap();
            let packed = SparseGaussian::new(&model);
            prop_assert_eq!(
                model.predict(&control, &x).unwrap(), packed.predict(&control, csr).unwrap()
            );
            for (a, b) in wanted.iter().zip(packed.joint_log_likelihood(&control, csr).unwrap()) {
                prop_assert!(close(*a, b, 1.0));
            }
        }
    }

    #[test]
    fn bad_values_are_reported() {
        let control = Control::serial();
        for bad in [f64::NAN, f64::INFINITY] {
            let data = [bad];
            let csr = Csr::new(&data, &[1i64], &[0, 1], 2).unwrap();
            assert!(sparse_moments(&control, csr, &[0], None, 1).is_err());
        }
        let outside = Csr::new(&[1.0], &[2i64], &[0, 1], 2).unwrap();
        assert!(sparse_moments(&control, outside, &[0], None, 1).is_err());
    }
}
