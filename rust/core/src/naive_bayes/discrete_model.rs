//! The fitted model of multinomial, complement and Bernoulli naive Bayes.

use crate::error::{Error, Result};
use crate::naive_bayes::gaussian::argmax;
use crate::naive_bayes::rows::{Csr, Dense, Index};
use crate::parallel::{Control, fill_chunks};
use ironlearn_kernels::sums::{Value, indicators};
use ironlearn_kernels::tier;
use std::ops::Range;
use std::sync::OnceLock;

/// A fitted classifier: immutable, checked, ready to predict.
///
/// The joint log-likelihood is linear in the row: each class has a bias and a weight for each
/// feature. Where probabilities are zero, weights are infinite; then a feature that is zero
/// counts as absent (0 times infinity is 0), and a class that needs a feature which is absent
/// is impossible.
#[derive(Clone, Debug)]
pub struct DiscreteModel {
    classes: usize,
    features: usize,
    present: Vec<f64>,
    absent: Option<Vec<f64>>,
    log_prior: Vec<f64>,
    threshold: Option<f64>,
    /// `present - absent`, where the model knows what absence means.
    contrast: Option<Vec<f64>>,
    bias: Vec<f64>,
    /// The number of features that each class cannot be without.
    needed: Vec<usize>,
    infinite: bool,
    /// The weights by feature, `features x classes`, made for the first sparse rows.
    by_feature: OnceLock<Vec<f64>>,
}

impl DiscreteModel {
    /// Checks the arrays and packs them: `classes x features` logarithms for a present and,
    /// in a Bernoulli model, an absent feature, and the logarithms of the priors. Rows are
    /// compared with `threshold`, if there is one.
    pub fn new(
        classes: usize,
        features: usize,
        present: Vec<f64>,
        absent: Option<Vec<f64>>,
        log_prior: Vec<f64>,
        threshold: Option<f64>,
    ) -> Result<DiscreteModel> {
        let size = classes.checked_mul(features);
        if classes == 0
            || features == 0
            || size != Some(present.len())
            || absent.as_ref().is_some_and(|a| size != Some(a.len()))
            || log_prior.len() != classes
        {
            return Err(Error::Shape {
                name: "present, absent and log_prior",
                given: format!(
                    "{}, {} and {} elements",
                    present.len(),
                    absent.as_ref().map_or(0, Vec::len),
                    log_prior.len()
                ),
                expected: format!("{classes} classes x {features} features"),
            });
        }
        // Folds without a branch: there may be millions of logarithms.
        let any =
            |values: &[f64], is: fn(&f64) -> bool| values.iter().fold(false, |f, v| f | is(v));
        let nan: fn(&f64) -> bool = |v| v.is_nan();
        let none: &[f64] = &[];
        let absences = absent.as_deref().unwrap_or(none);
        if any(&present, nan) || any(absences, nan) || any(&log_prior, nan) {
            return Err(Error::NonFinite {
                name: "present, absent or log_prior",
                what: "NaN",
            });
        }
        let positive: fn(&f64) -> bool = |v| *v > 1e-6;
        if log_prior.contains(&f64::INFINITY)
            || absent.is_some() && (any(absences, positive) || any(&present, positive))
        {
            return Err(Error::InvalidParameter {
                name: "present, absent and log_prior",
                given: "a positive number".into(),
                expected: "logarithms of probabilities".into(),
            });
        }
        if threshold.is_some_and(|t| !t.is_finite() || t < 0.0) {
            return Err(Error::InvalidParameter {
                name: "binarize",
                given: format!("{}", threshold.unwrap_or(f64::NAN)),
                expected: "finite and not negative".into(),
            });
        }
        let mut bias = log_prior.clone();
        let mut needed = vec![0; classes];
        let contrast = absent.as_ref().map(|absent| {
            for (c, row) in absent.chunks_exact(features).enumerate() {
                let mut sum = 0.0;
                for v in row {
                    sum += if v.is_finite() { *v } else { 0.0 };
                    needed[c] += usize::from(v.is_infinite());
                }
                bias[c] += sum;
            }
            let pairs = present.iter().zip(absent);
            pairs
                .map(|(p, a)| if a.is_finite() { p - a } else { *p })
                .collect()
        });
        let infinite = any(&present, |v| v.is_infinite()) || needed.iter().any(|n| *n > 0);
        Ok(DiscreteModel {
            classes,
            features,
            present,
            absent,
            log_prior,
            threshold,
            contrast,
            bias,
            needed,
            infinite,
            by_feature: OnceLock::new(),
        })
    }

    /// Number of classes.
    pub fn classes(&self) -> usize {
        self.classes
    }
    /// Number of features.
    pub fn features(&self) -> usize {
        self.features
    }
    /// What a present feature adds, `classes x features`.
    pub fn present(&self) -> &[f64] {
        &self.present
    }
    /// What an absent feature adds, `classes x features`.
    pub fn absent(&self) -> Option<&[f64]> {
        self.absent.as_deref()
    }
    /// Logarithms of the class priors.
    pub fn log_prior(&self) -> &[f64] {
        &self.log_prior
    }
    /// The threshold above which a feature is present.
    pub fn threshold(&self) -> Option<f64> {
        self.threshold
    }

    fn weights(&self) -> &[f64] {
        self.contrast.as_deref().unwrap_or(&self.present)
    }

    fn check_width(&self, features: usize) -> Result<()> {
        if features == self.features {
            Ok(())
        } else {
            Err(Error::Shape {
                name: "X",
                given: format!("{features} features"),
                expected: format!("{}", self.features),
            })
        }
    }

    /// `log P(class) + log P(row | class)` of dense rows, `rows x classes`.
    pub fn dense_joint<T: Value>(&self, control: &Control, x: Dense<'_, T>) -> Result<Vec<f64>> {
        self.check_width(x.features)?;
        self.joint(control, x.rows(), self.chunk(), |rows, out| {
            self.dense_block(x, rows, out)
        })
    }

    /// The index of the likeliest class of each dense row (the first among equals).
    pub fn dense_predict<T: Value>(&self, control: &Control, x: Dense<'_, T>) -> Result<Vec<i64>> {
        self.check_width(x.features)?;
        self.codes(control, x.rows(), self.chunk(), |rows, out| {
            self.dense_block(x, rows, out)
        })
    }

    /// As [`DiscreteModel::dense_joint`], of CSR rows.
    pub fn sparse_joint<T: Value, I: Index>(
        &self,
        control: &Control,
        x: Csr<'_, T, I>,
    ) -> Result<Vec<f64>> {
        self.check_width(x.features)?;
        self.joint(control, x.rows(), 256, |rows, out| {
            self.sparse_block(x, rows, out)
        })
    }

    /// As [`DiscreteModel::dense_predict`], of CSR rows.
    pub fn sparse_predict<T: Value, I: Index>(
        &self,
        control: &Control,
        x: Csr<'_, T, I>,
    ) -> Result<Vec<i64>> {
        self.check_width(x.features)?;
        self.codes(control, x.rows(), 256, |rows, out| {
            self.sparse_block(x, rows, out)
        })
    }

    /// Rows in one chunk: enough work to hand out, few enough to stay in cache.
    fn chunk(&self) -> usize {
        ((1 << 16) / self.features).clamp(16, 1024)
    }

    fn joint(
        &self,
        control: &Control,
        rows: usize,
        chunk: usize,
        block: impl Fn(Range<usize>, &mut [f64]) -> Result<()> + Sync,
    ) -> Result<Vec<f64>> {
        let mut out = vec![0.0; rows * self.classes];
        fill_chunks(control, &mut out, self.classes, chunk, block)?;
        Ok(out)
    }

    fn codes(
        &self,
        control: &Control,
        rows: usize,
        chunk: usize,
        block: impl Fn(Range<usize>, &mut [f64]) -> Result<()> + Sync,
    ) -> Result<Vec<i64>> {
        let mut out = vec![0i64; rows];
        fill_chunks(control, &mut out, 1, chunk, |rows, part| {
            let mut joint = vec![0.0; part.len() * self.classes];
            block(rows, &mut joint)?;
            for (code, row) in part.iter_mut().zip(joint.chunks_exact(self.classes)) {
                *code = argmax(row) as i64;
            }
            Ok(())
        })?;
        Ok(out)
    }

    fn dense_block<T: Value>(
        &self,
        x: Dense<'_, T>,
        rows: Range<usize>,
        out: &mut [f64],
    ) -> Result<()> {
        let tier = tier::active();
        let mut scratch = Vec::new();
        let mut ones = vec![0.0; self.threshold.map_or(0, |_| self.features)];
        let mut flagged = false;
        let block = x.block(rows.clone()).chunks_exact(self.features);
        for (row, answer) in block.zip(out.chunks_exact_mut(self.classes)) {
            if let Some(threshold) = self.threshold {
                flagged |= indicators(tier, row, threshold, &mut ones);
            }
            if self.infinite {
                let values = row.iter().map(|v| v.widen()).enumerate();
                match self.threshold {
                    Some(_) => self.with_infinities(ones.iter().copied().enumerate(), answer),
                    None => self.with_infinities(values, answer),
                }
                continue;
            }
            match self.threshold {
                Some(_) => f64::dots(tier, &ones, self.weights(), answer, &mut scratch),
                None => T::dots(tier, row, self.weights(), answer, &mut scratch),
            }
            for (a, bias) in answer.iter_mut().zip(&self.bias) {
                *a += bias;
            }
        }
        if flagged || !out.iter().all(|v| v.is_finite()) {
            x.check(rows, false)?;
        }
        Ok(())
    }

    fn sparse_block<T: Value, I: Index>(
        &self,
        x: Csr<'_, T, I>,
        rows: Range<usize>,
        out: &mut [f64],
    ) -> Result<()> {
        let k = self.classes;
        let threshold = self.threshold.map(T::threshold);
        let taken = |v: T| match threshold {
            Some(t) => f64::from(u8::from(v.widen() > t)),
            None => v.widen(),
        };
        // A few rows are not worth a copy of the weights.
        let by_feature = match self.by_feature.get() {
            Some(weights) => Some(weights),
            None if x.stored() * 4 < self.features => None,
            None => Some(self.by_feature.get_or_init(|| {
                let (weights, d) = (self.weights(), self.features);
                let mut out = vec![0.0; k * d];
                for (c, row) in weights.chunks_exact(d).enumerate() {
                    for (v, o) in row.iter().zip(out[c..].iter_mut().step_by(k)) {
                        *o = *v;
                    }
                }
                out
            })),
        };
        let mut flagged = false;
        for (i, answer) in rows.clone().zip(out.chunks_exact_mut(k)) {
            if let (Some(weights), false) = (by_feature, self.infinite) {
                answer.copy_from_slice(&self.bias);
                let row = x.row(i).map(|(j, v)| (j, taken(v), v.wild()));
                let wild = match k {
                    2 => add_few::<2>(row, weights, answer),
                    3 => add_few::<3>(row, weights, answer),
                    4 => add_few::<4>(row, weights, answer),
                    5 => add_few::<5>(row, weights, answer),
                    6 => add_few::<6>(row, weights, answer),
                    _ => add_many(row, weights, answer),
                };
                flagged |= wild & T::TOP != 0;
                continue;
            }
            let row = || {
                x.row(i)
                    .filter(|(j, _)| *j < self.features)
                    .map(|(j, v)| (j, taken(v)))
            };
            flagged |= x.row(i).fold(false, |bad, (j, v)| {
                bad | (j >= self.features) | (v.wild() & T::TOP != 0)
            });
            if self.infinite {
                self.with_infinities(row(), answer);
                continue;
            }
            answer.copy_from_slice(&self.bias);
            let models = self.weights().chunks_exact(self.features);
            for (a, mine) in answer.iter_mut().zip(models) {
                for (j, v) in row() {
                    *a += v * mine[j];
                }
            }
        }
        if flagged {
            x.check(rows, false)?;
        }
        Ok(())
    }

    /// The joint log-likelihood of one row where weights are infinite.
    fn with_infinities(&self, row: impl Iterator<Item = (usize, f64)>, answer: &mut [f64]) {
        let mut found = vec![0; self.classes];
        answer.copy_from_slice(&self.bias);
        for (j, v) in row.filter(|(_, v)| *v != 0.0) {
            for (c, a) in answer.iter_mut().enumerate() {
                let place = c * self.features + j;
                *a += v * self.weights()[place];
                found[c] += usize::from(self.absent().is_some_and(|a| a[place].is_infinite()));
            }
        }
        for (c, a) in answer.iter_mut().enumerate() {
            if found[c] < self.needed[c] {
                *a = f64::NEG_INFINITY;
            }
        }
    }
}

/// Adds what the elements of a row (column, value, bits that tell whether it is finite) bring
/// to `K` classes, of weights by feature; the bits of all, or all bits for a wrong column.
#[inline]
fn add_few<const K: usize>(
    row: impl Iterator<Item = (usize, f64, u64)>,
    weights: &[f64],
    answer: &mut [f64],
) -> u64 {
    // In registers: the row's elements wait for one another else.
    let mut sums: [f64; K] = std::array::from_fn(|c| answer[c]);
    let mut bits = 0;
    let (models, _) = weights.as_chunks::<K>();
    for (j, v, wild) in row {
        bits |= wild;
        match models.get(j) {
            Some(mine) => {
                for c in 0..K {
                    sums[c] += v * mine[c];
                }
            }
            None => bits = u64::MAX,
        }
    }
    answer.copy_from_slice(&sums);
    bits
}

/// [`add_few`] for any number of classes.
fn add_many(
    row: impl Iterator<Item = (usize, f64, u64)>,
    weights: &[f64],
    answer: &mut [f64],
) -> u64 {
    let k = answer.len();
    let mut bits = 0;
    for (j, v, wild) in row {
        bits |= wild;
        match j.checked_mul(k).and_then(|at| weights.get(at..at + k)) {
            Some(mine) => {
                for (a, w) in answer.iter_mut().zip(mine) {
                    *a += v * w;
                }
            }
            None => bits = u64::MAX,
        }
    }
    bits
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEVER: f64 = f64::NEG_INFINITY;

    #[test]
    fn a_model_checks_its_arrays() {
        let new = |present: &[f64], absent: Option<&[f64]>, prior: &[f64], t| {
            let absent = absent.map(<[f64]>::to_vec);
            DiscreteModel::new(2, 1, present.to_vec(), absent, prior.to_vec(), t)
        };
        assert!(new(&[-1.0; 2], Some(&[-1.0; 2]), &[-0.7; 2], Some(0.0)).is_ok());
        assert!(new(&[3.0; 2], None, &[-0.7; 2], None).is_ok());
        assert!(new(&[3.0; 3], None, &[-0.7; 2], None).is_err());
        assert!(new(&[-1.0; 2], Some(&[-1.0; 3]), &[-0.7; 2], None).is_err());
        assert!(new(&[-1.0; 2], Some(&[1.0; 2]), &[-0.7; 2], None).is_err());
        assert!(new(&[f64::NAN; 2], None, &[-0.7; 2], None).is_err());
        assert!(new(&[-1.0; 2], None, &[f64::INFINITY; 2], None).is_err());
        assert!(new(&[-1.0; 2], None, &[-0.7; 2], Some(-1.0)).is_err());
        assert!(DiscreteModel::new(usize::MAX, 2, vec![], None, vec![], None).is_err());
    }

    #[test]
    fn impossible_features_make_a_class_impossible() {
        // Class 0 never has feature 0 and always feature 1.
        let model = DiscreteModel::new(
            2,
            2,
            vec![NEVER, 0.0, -0.5, -0.5],
            Some(vec![0.0, NEVER, -1.0, -1.0]),
            vec![-0.5, -1.0],
            Some(0.0),
        )
        .unwrap();
        let x = [0.0, 1.0, 1.0, 1.0, 0.0, 0.0];
        let control = Control::serial();
        let dense = model.dense_joint(&control, Dense::new(&x, 2).unwrap());
        let wanted = [-0.5, -2.5, NEVER, -2.0, NEVER, -3.0];
        assert_eq!(dense.unwrap(), wanted);
        let csr = Csr::new(&[1.0f32; 3], &[1i32, 0, 1], &[0, 1, 3, 3], 2).unwrap();
        assert_eq!(model.sparse_joint(&control, csr).unwrap(), wanted);
        assert_eq!(model.sparse_predict(&control, csr).unwrap(), [0, 1, 1]);
    }

    #[test]
    fn bad_rows_are_reported() {
        let control = Control::serial();
        for threshold in [None, Some(0.5)] {
            let model =
                DiscreteModel::new(1, 2, vec![-1.0; 2], None, vec![0.0], threshold).unwrap();
            for bad in [f64::NAN, f64::INFINITY] {
                let x = [1.0, bad];
                assert!(
                    model
                        .dense_predict(&control, Dense::new(&x, 2).unwrap())
                        .is_err()
                );
                let csr = Csr::new(&x, &[0i64, 1], &[0, 2], 2).unwrap();
                assert!(model.sparse_predict(&control, csr).is_err());
            }
            let outside = Csr::new(&[1.0f64], &[2i32], &[0, 1], 2).unwrap();
            assert!(model.sparse_predict(&control, outside).is_err());
            assert!(
                model
                    .dense_joint(&control, Dense::new(&[1.0f64], 1).unwrap())
                    .is_err()
            );
        }
    }
}
