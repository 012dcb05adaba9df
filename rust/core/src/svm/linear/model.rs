//! A fitted linear classifier.

use super::Design;
use crate::error::{Error, Result, non_finite};
use crate::parallel::{Control, fill_chunks};

/// Weights and intercepts: one pair for two classes, else one pair a class.
#[derive(Clone, Debug, PartialEq)]
pub struct LinearModel {
    coef: Vec<f64>,
    intercept: Vec<f64>,
    features: usize,
}

impl LinearModel {
    /// Checks that `coef` holds a row of `features` finite weights for each intercept.
    pub fn new(coef: Vec<f64>, intercept: Vec<f64>, features: usize) -> Result<Self> {
        let expected = intercept.len().checked_mul(features);
        if intercept.is_empty() || features == 0 || expected != Some(coef.len()) {
            return Err(Error::Shape {
                name: "coef",
                given: format!("{} elements", coef.len()),
                expected: format!("{} x {features}, both at least 1", intercept.len()),
            });
        }
        for (name, values) in [("coef", &coef), ("intercept", &intercept)] {
            if let Some(value) = values.iter().find(|v| !v.is_finite()) {
                return Err(non_finite(name, value.is_nan()));
            }
        }
        Ok(LinearModel {
            coef,
            intercept,
            features,
        })
    }

    /// Scores a row: one for two classes, else one a class.
    pub fn outputs(&self) -> usize {
        self.intercept.len()
    }

    /// Number of features.
    pub fn features(&self) -> usize {
        self.features
    }

    /// Weights, a row an output.
    pub fn coef(&self) -> &[f64] {
        &self.coef
    }

    /// Intercepts.
    pub fn intercept(&self) -> &[f64] {
        &self.intercept
    }

    fn check<D: Design>(&self, x: &D) -> Result<()> {
        if x.width() == self.features {
            Ok(())
        } else {
            Err(Error::Shape {
                name: "X",
                given: format!("{} features", x.width()),
                expected: format!("{}", self.features),
            })
        }
    }

    /// Rows a chunk when scores are computed.
    fn chunk<D: Design>(&self, x: &D) -> usize {
        let each = x.stored() / x.rows().max(1) * self.outputs();
        ((1 << 17) / each.max(1)).clamp(8, 8192)
    }

    /// Scores of each row, without a constant feature in `x`.
    pub fn decision<D: Design>(&self, control: &Control, x: &D) -> Result<Vec<f64>> {
        self.check(x)?;
        let k = self.outputs();
        let mut out = vec![0.0; x.rows() * k];
        fill_chunks(control, &mut out, k, self.chunk(x), |rows, part| {
            for (i, scores) in rows.zip(part.chunks_exact_mut(k)) {
                self.scores(x, i, scores);
            }
            Ok(())
        })?;
        Ok(out)
    }

    /// Code of the class with the highest score for each row, the first among equals.
    pub fn predict<D: Design>(&self, control: &Control, x: &D) -> Result<Vec<i64>> {
        self.check(x)?;
        let k = self.outputs();
        let mut out = vec![0; x.rows()];
        fill_chunks(control, &mut out, 1, self.chunk(x), |rows, part| {
            let mut scores = vec![0.0; k];
            for (i, code) in rows.zip(part) {
                self.scores(x, i, &mut scores);
                *code = if k == 1 {
                    i64::from(scores[0] > 0.0)
                } else {
                    let mut best = 0;
                    for m in 1..k {
                        if scores[m] > scores[best] {
                            best = m;
                        }
                    }
                    best as i64
                };
            }
            Ok(())
        })?;
        Ok(out)
    }

    fn scores<D: Design>(&self, x: &D, i: usize, scores: &mut [f64]) {
        x.dots(i, &self.coef, scores);
        for (score, intercept) in scores.iter_mut().zip(&self.intercept) {
            *score += intercept;
        }
    }
}
