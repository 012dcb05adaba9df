//! Gaussian naive Bayes: class moments in one pass, merged over chunks.
//!
//! Moments are merged by the pairwise update of Chan, Golub and LeVeque ("Updating formulae
//! and a pairwise algorithm for computing sample variances", 1979). Inside a chunk each
//! class is shifted by its first row, which keeps the sums of squares free of cancellation.

use crate::error::{Error, Result, non_finite};
use crate::float::Float;
use crate::parallel::{Control, fill_chunks, map_chunks};
use ironlearn_kernels::moments::{ROWS, Widen, add_row, scaled_distances};
use ironlearn_kernels::tier;

/// Weighted count, mean and sum of squared deviations of every feature in every class.
#[derive(Clone, Debug, PartialEq)]
pub struct Moments {
    /// Sum of weights, one per class.
    pub count: Vec<f64>,
    /// Means, `classes x features`.
    pub mean: Vec<f64>,
    /// Sums of weighted squared deviations from the mean, `classes x features`.
    pub m2: Vec<f64>,
}

impl Moments {
    /// The moments of no rows.
    pub fn init(classes: usize, features: usize) -> Moments {
        Moments {
            count: vec![0.0; classes],
            mean: vec![0.0; classes * features],
            m2: vec![0.0; classes * features],
        }
    }

    /// Adds the moments `other` of further rows.
    pub fn merge(&mut self, other: &Moments) {
        let classes = self.count.len();
        let features = self.mean.len().checked_div(classes).unwrap_or(0);
        for c in 0..classes {
            let (a, b) = (self.count[c], other.count[c]);
            if b == 0.0 {
                continue;
            }
            let n = a + b;
            for j in c * features..(c + 1) * features {
                let delta = other.mean[j] - self.mean[j];
                self.mean[j] += delta * (b / n);
                self.m2[j] += other.m2[j] + delta * delta * (a * b / n);
            }
            self.count[c] = n;
        }
    }
}

struct Partial {
    classes: Moments,
    all: Option<Moments>,
}

/// Class moments of `x` (row-major, `features` columns), and the largest variance of any
/// feature over all rows, unweighted.
pub fn moments<T: Float + Widen>(
    control: &Control,
    x: &[T],
    features: usize,
    codes: &[u32],
    weights: Option<&[f64]>,
    classes: usize,
) -> Result<(Moments, f64)> {
    let rows = codes.len();
    if x.len() != rows.saturating_mul(features) || classes == 0 {
        return Err(Error::Shape {
            name: "X",
            given: format!("{} elements", x.len()),
            expected: format!("{rows} x {features}"),
        });
    }
    if codes.iter().any(|c| *c as usize >= classes) {
        return Err(Error::InvalidParameter {
            name: "y",
            given: "a code outside the classes".into(),
            expected: format!("codes below {classes}"),
        });
    }
    // Few enough chunks that their statistics stay small beside X.
    let most = ((1 << 22) / (classes * features).max(1)).clamp(1, 64);
    let chunk = rows.div_ceil(most).max(512);
    let parts = map_chunks(control, rows, chunk, |range| {
        let part = |by_class: bool| {
            let k = if by_class { classes } else { 1 };
            let block = &x[range.start * features..range.end * features];
            chunk_moments(
                control,
                block,
                features,
                if by_class {
                    Some(&codes[range.clone()])
                } else {
                    None
                },
                if by_class {
                    weights.map(|w| &w[range.clone()])
                } else {
                    None
                },
                k,
            )
        };
        Ok(Partial {
            classes: part(true)?,
            all: if weights.is_some() {
                Some(part(false)?)
            } else {
                None
            },
        })
    })?;
    let mut total = Moments::init(classes, features);
    let mut all = Moments::init(1, features);
    for part in &parts {
        total.merge(&part.classes);
        if let Some(part) = &part.all {
            all.merge(part);
        }
    }
    if weights.is_none() {
        for c in 0..classes {
            let span = c * features..(c + 1) * features;
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

fn chunk_moments<T: Float + Widen>(
    control: &Control,
    block: &[T],
    features: usize,
    codes: Option<&[u32]>,
    weights: Option<&[f64]>,
    classes: usize,
) -> Result<Moments> {
    let tier = tier::active();
    let mut shift = vec![0.0; classes * features];
    let mut seen = vec![false; classes];
    let mut out = Moments::init(classes, features);
    let every = ((1 << 18) / features.max(1)).max(1);
    for (i, row) in block.chunks_exact(features.max(1)).enumerate() {
        if i % every == every - 1 {
            control.check()?;
        }
        let weight = weights.map_or(1.0, |w| w[i]);
        let c = codes.map_or(0, |codes| codes[i] as usize);
        let span = c * features..(c + 1) * features;
        if !seen[c] {
            seen[c] = true;
            for (s, x) in shift[span.clone()].iter_mut().zip(row) {
                let value = x.to_f64();
                *s = if value.is_finite() { value } else { 0.0 };
            }
        }
        out.count[c] += weight;
        add_row(
            tier,
            row,
            weight,
            &shift[span.clone()],
            &mut out.mean[span.clone()],
            &mut out.m2[span],
        );
    }
    // A NaN or an infinity anywhere in the block has reached a sum (0 * inf is NaN too).
    if !out.mean.iter().all(|s| s.is_finite())
        && let Some(bad) = block.iter().find(|x| !x.to_f64().is_finite())
    {
        return Err(non_finite("X", bad.to_f64().is_nan()));
    }
    for c in 0..classes {
        let n = out.count[c];
        for j in c * features..(c + 1) * features {
            if n > 0.0 {
                let sum = out.mean[j];
                let mean = sum / n;
                out.mean[j] = shift[j] + mean;
                out.m2[j] = (out.m2[j] - sum * mean).max(0.0);
            } else {
                out.mean[j] = 0.0;
                out.m2[j] = 0.0;
            }
        }
    }
    Ok(out)
}

/// A fitted classifier: immutable, checked, ready to predict.
#[derive(Clone, Debug, PartialEq)]
pub struct GaussianModel {
    classes: usize,
    features: usize,
    theta: Vec<f64>,
    var: Vec<f64>,
    log_prior: Vec<f64>,
    /// 1 / variance.
    precision: Vec<f64>,
    /// Everything in the joint log-likelihood that does not depend on the row.
    constant: Vec<f64>,
}

impl GaussianModel {
    /// Checks the arrays and packs them.
    pub fn new(
        classes: usize,
        features: usize,
        theta: Vec<f64>,
        var: Vec<f64>,
        log_prior: Vec<f64>,
    ) -> Result<GaussianModel> {
        let size = classes.checked_mul(features);
        if classes == 0
            || features == 0
            || size != Some(theta.len())
            || size != Some(var.len())
            || log_prior.len() != classes
        {
            return Err(Error::Shape {
                name: "theta, var and log_prior",
                given: format!(
                    "{}, {} and {} elements",
                    theta.len(),
                    var.len(),
                    log_prior.len()
                ),
                expected: format!("{classes} classes x {features} features"),
            });
        }
        if theta.iter().any(|v| !v.is_finite()) {
            return Err(Error::NonFinite {
                name: "theta",
                what: "NaN or infinity",
            });
        }
        if var.iter().any(|v| v.is_nan() || *v < 0.0) {
            return Err(Error::InvalidParameter {
                name: "var",
                given: "NaN or a negative variance".into(),
                expected: "non-negative".into(),
            });
        }
        if log_prior.iter().any(|v| v.is_nan() || *v > 1e-6) {
            return Err(Error::InvalidParameter {
                name: "log_prior",
                given: "NaN or a positive number".into(),
                expected: "logarithms of probabilities".into(),
            });
        }
        let precision = var.iter().map(|v| 1.0 / v).collect();
        let constant = (0..classes)
            .map(|c| {
                let logs: f64 = var[c * features..(c + 1) * features]
                    .iter()
                    .map(|v| (2.0 * std::f64::consts::PI * v).ln())
                    .sum();
                log_prior[c] - 0.5 * logs
            })
            .collect();
        Ok(GaussianModel {
            classes,
            features,
            theta,
            var,
            log_prior,
            precision,
            constant,
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
    /// Means, `classes x features`.
    pub fn theta(&self) -> &[f64] {
        &self.theta
    }
    /// Variances, `classes x features`.
    pub fn var(&self) -> &[f64] {
        &self.var
    }
    /// Logarithms of the class priors.
    pub fn log_prior(&self) -> &[f64] {
        &self.log_prior
    }

    /// What does not depend on the row.
    pub(super) fn constant(&self) -> &[f64] {
        &self.constant
    }

    /// `log P(class) + log P(row | class)`, `rows x classes`.
    pub fn joint_log_likelihood<T: Float + Widen>(
        &self,
        control: &Control,
        x: &[T],
    ) -> Result<Vec<f64>> {
        self.check_width(x.len())?;
        let mut out = vec![0.0; x.len() / self.features * self.classes];
        fill_chunks(
            control,
            &mut out,
            self.classes,
            self.chunk(),
            |range, part| {
                self.joint_block(
                    &x[range.start * self.features..range.end * self.features],
                    part,
                )
            },
        )?;
        Ok(out)
    }

    /// The index of the likeliest class of each row (the first among equals).
    pub fn predict<T: Float + Widen>(&self, control: &Control, x: &[T]) -> Result<Vec<i64>> {
        self.check_width(x.len())?;
        let mut out = vec![0i64; x.len() / self.features];
        fill_chunks(control, &mut out, 1, self.chunk(), |range, part| {
            let mut joint = vec![0.0; part.len() * self.classes];
            self.joint_block(
                &x[range.start * self.features..range.end * self.features],
                &mut joint,
            )?;
            for (code, row) in part.iter_mut().zip(joint.chunks_exact(self.classes)) {
                *code = argmax(row) as i64;
            }
            Ok(())
        })?;
        Ok(out)
    }

    /// Rows in one chunk: enough work to hand out, few enough to stay in cache.
    fn chunk(&self) -> usize {
        ((1 << 16) / self.features).clamp(16, 1024) / ROWS * ROWS
    }

    fn check_width(&self, elements: usize) -> Result<()> {
        if elements.is_multiple_of(self.features) {
            Ok(())
        } else {
            Err(Error::Shape {
                name: "X",
                given: format!("{elements} elements"),
                expected: format!("rows of {} features", self.features),
            })
        }
    }

    fn joint_block<T: Float + Widen>(&self, block: &[T], out: &mut [f64]) -> Result<()> {
        let tier = tier::active();
        let d = self.features;
        for (rows, answers) in block
            .chunks(ROWS * d)
            .zip(out.chunks_mut(ROWS * self.classes))
        {
            let n = rows.len() / d;
            // A short last group repeats its last row; the extra answers are dropped.
            let group: [&[T]; ROWS] = std::array::from_fn(|r| {
                let r = r.min(n - 1);
                &rows[r * d..(r + 1) * d]
            });
            for c in 0..self.classes {
                let span = c * d..(c + 1) * d;
                let distance = scaled_distances(
                    tier,
                    group,
                    &self.theta[span.clone()],
                    &self.precision[span],
                );
                for r in 0..n {
                    answers[r * self.classes + c] = self.constant[c] - 0.5 * distance[r];
                }
            }
        }
        if !out.iter().all(|v| v.is_finite())
            && let Some(bad) = block.iter().find(|x| !x.to_f64().is_finite())
        {
            return Err(non_finite("X", bad.to_f64().is_nan()));
        }
        Ok(())
    }
}

/// The index of the largest value, the first among equals.
pub fn argmax(row: &[f64]) -> usize {
    let mut best = 0;
    for (i, v) in row.iter().enumerate() {
        if *v > row[best] {
            best = i;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn merged_chunks_equal_two_passes(
            values in prop::collection::vec(-1e3f64..1e3, 3..3000),
            offset in prop::sample::select(vec![0.0, 1e6]),
        ) {
            let rows = values.len() / 3;
            let x: Vec<f64> = values[..rows * 3].iter().map(|v| v + offset).collect();
            let codes: Vec<u32> = (0..rows).map(|i| (i % 2) as u32).collect();
            let (m, largest) = moments(&Control::serial(), &x, 3, &codes, None, 2).unwrap();
            for c in 0..2usize.min(rows) {
                for j in 0..3 {
                    let column: Vec<f64> =
                        (0..rows).filter(|i| i % 2 == c).map(|i| x[i * 3 + j]).collect();
                    let n = column.len() as f64;
                    let mean = column.iter().sum::<f64>() / n;
                    let m2: f64 = column.iter().map(|v| (v - mean).powi(2)).sum();
                    prop_assert!((m.mean[c * 3 + j] - mean).abs() <= 1e-9 * (1.0 + mean.abs()));
                    prop_assert!((m.m2[c * 3 + j] - m2).abs() <= 1e-8 * (1.0 + m2));
                }
            }
            prop_assert!(largest >= 0.0);
        }
    }

    #[test]
    fn bad_values_are_reported() {
        let bad = [1.0, f64::NAN, 2.0, 3.0];
        let error = moments(&Control::serial(), &bad, 2, &[0, 1], None, 2).unwrap_err();
        assert_eq!(error, non_finite("X", true));
        let bad = [1.0, f64::INFINITY, 2.0, 3.0];
        let error = moments(&Control::serial(), &bad, 2, &[0, 1], None, 2).unwrap_err();
        assert_eq!(error, non_finite("X", false));
    }

    #[test]
    fn a_model_checks_its_arrays() {
        assert!(GaussianModel::new(2, 1, vec![0.0; 2], vec![1.0; 2], vec![-0.7; 2]).is_ok());
        assert!(GaussianModel::new(2, 1, vec![0.0; 3], vec![1.0; 2], vec![-0.7; 2]).is_err());
        assert!(GaussianModel::new(2, 1, vec![0.0; 2], vec![-1.0; 2], vec![-0.7; 2]).is_err());
        assert!(GaussianModel::new(2, 1, vec![f64::NAN; 2], vec![1.0; 2], vec![-0.7; 2]).is_err());
        assert!(GaussianModel::new(usize::MAX, 2, vec![], vec![], vec![]).is_err());
    }
}
