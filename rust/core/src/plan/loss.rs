//! Losses of a plan: values and gradients of one chunk.

use super::layers::activation::softmax;
use crate::error::{Error, Result};

/// What is minimised: the weighted mean over the samples of a batch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Loss {
    /// Cross-entropy of the softmax of logits; targets are class numbers. With label smoothing
    /// s, targets are 1 - s for the class plus s / classes for all.
    SoftmaxCrossEntropy {
        /// s
        label_smoothing: f32,
    },
    /// Cross-entropy of the sigmoid of logits, mean over a sample's outputs.
    BinaryCrossEntropy {
        /// Targets move this share of the way to 1/2.
        label_smoothing: f32,
    },
    /// Mean of squared differences.
    MeanSquared,
    /// Mean of absolute differences.
    MeanAbsolute,
    /// Half the square up to `delta`, linear beyond (Huber, Ann. Math. Statist. 35, 1964).
    Huber {
        /// Where the square ends.
        delta: f32,
    },
}

/// The targets of some samples.
#[derive(Clone, Copy, Debug)]
pub enum Targets<'a> {
    /// Class numbers, one for each position of a sample (one if it has no positions).
    Classes(&'a [i64]),
    /// As many numbers as the network has outputs.
    Values(&'a [f32]),
}

impl Loss {
    /// The loss called `name` with its one number (label smoothing or delta).
    pub fn from_name(name: &str, number: f64) -> Result<Loss> {
        let wrong = |name, expected: &str| {
            Err(Error::InvalidParameter {
                name,
                given: number.to_string(),
                expected: expected.into(),
            })
        };
        let smoothing = (0.0..1.0).contains(&number);
        Ok(match name {
            "cross_entropy" | "binary_cross_entropy" if !smoothing => {
                return wrong("label_smoothing", "at least 0 and below 1");
            }
            "huber" if !(number > 0.0 && number.is_finite()) => {
                return wrong("delta", "a number above 0");
            }
            "cross_entropy" => Loss::SoftmaxCrossEntropy {
                label_smoothing: number as f32,
            },
            "binary_cross_entropy" => Loss::BinaryCrossEntropy {
                label_smoothing: number as f32,
            },
            "huber" => Loss::Huber {
                delta: number as f32,
            },
            "mse" => Loss::MeanSquared,
            "mae" => Loss::MeanAbsolute,
            _ => {
                return Err(Error::InvalidParameter {
                    name: "loss",
                    given: format!("{name:?}"),
                    expected: "cross_entropy, binary_cross_entropy, mse, mae or huber".into(),
                });
            }
        })
    }

    /// Whether targets are class numbers.
    pub fn wants_classes(self) -> bool {
        matches!(self, Loss::SoftmaxCrossEntropy { .. })
    }

    /// Targets of one sample when the network puts out `shape`.
    pub fn targets(self, shape: &[usize]) -> usize {
        match (self, shape) {
            (Loss::SoftmaxCrossEntropy { .. }, [before @ .., _]) => before.iter().product(),
            _ => shape.iter().product(),
        }
    }

    /// The loss of some samples and the share of their targets that are met (the largest logit is
    /// that of the class, or a logit is on the right side of 0), each times its weight.
    ///
    /// `outputs` has `width` numbers a sample, `classes` (its last axis) to a position; `gradient`
    /// becomes the derivative of the weighted sum.
    pub(super) fn evaluate(
        self,
        outputs: &[f32],
        width: usize,
        classes: usize,
        targets: Targets,
        weights: &[f32],
        gradient: &mut [f32],
    ) -> (f64, f64) {
        let (mut loss, mut right) = (0.0f64, 0.0f64);
        let rows = outputs
            .chunks_exact(width)
            .zip(gradient.chunks_exact_mut(width));
        for (i, ((z, g), &w)) in rows.zip(weights).enumerate() {
            match targets {
                Targets::Classes(all) => {
                    let positions = width / classes;
                    let own = &all[i * positions..(i + 1) * positions];
                    let share = w / positions as f32;
                    let mut hits = 0;
                    let cells = z.chunks_exact(classes).zip(g.chunks_exact_mut(classes));
                    for ((z, g), &class) in cells.zip(own) {
                        let (l, hit) = self.softmax_row(z, class as usize, share, g);
                        loss += l;
                        hits += usize::from(hit);
                    }
                    right += f64::from(share) * hits as f64;
                }
                Targets::Values(all) => {
                    let own = &all[i * width..(i + 1) * width];
                    let share = w / width as f32;
                    let mut sum = 0.0f64;
                    for ((g, &z), &t) in g.iter_mut().zip(z).zip(own) {
                        let (l, d) = self.cell(z, t);
                        sum += f64::from(l);
                        *g = d * share;
                    }
                    loss += sum * f64::from(share);
                    let binary = matches!(self, Loss::BinaryCrossEntropy { .. });
                    let hits = z
                        .iter()
                        .zip(own)
                        .filter(|(z, t)| (**z > 0.0) == (**t > 0.5));
                    if binary {
                        right += f64::from(share) * hits.count() as f64;
                    }
                }
            }
        }
        (loss, right)
    }

    fn softmax_row(self, z: &[f32], class: usize, share: f32, g: &mut [f32]) -> (f64, bool) {
        let Loss::SoftmaxCrossEntropy { label_smoothing: s } = self else {
            return (0.0, false);
        };
        let n = z.len() as f32;
        let top = z.iter().fold(f32::NEG_INFINITY, |m, &v| m.max(v));
        let mut sum = 0.0f32;
        for (g, &z) in g.iter_mut().zip(z) {
            *g = (z - top).exp();
            sum += *g;
        }
        let log = f64::from(sum.ln()) + f64::from(top);
        let mut loss = log - f64::from(1.0 - s) * f64::from(z[class]);
        if s > 0.0 {
            loss -= f64::from(s / n) * z.iter().map(|&v| f64::from(v)).sum::<f64>();
        }
        let inverse = 1.0 / sum;
        for g in g.iter_mut() {
            *g = (*g * inverse - s / n) * share;
        }
        g[class] -= (1.0 - s) * share;
        // The first of the largest is the answer.
        let hit = z.iter().position(|&v| v == top) == Some(class);
        (loss * f64::from(share), hit)
    }

    /// Loss and derivative of one output.
    #[inline]
    fn cell(self, z: f32, t: f32) -> (f32, f32) {
        let d = z - t;
        match self {
            Loss::BinaryCrossEntropy { label_smoothing: s } => {
                let t = t * (1.0 - s) + 0.5 * s;
                let e = (-z.abs()).exp();
                let p = if z >= 0.0 {
                    1.0 / (1.0 + e)
                } else {
                    e / (1.0 + e)
                };
                (z.max(0.0) - z * t + e.ln_1p(), p - t)
            }
            Loss::MeanAbsolute => (d.abs(), if d == 0.0 { 0.0 } else { d.signum() }),
            Loss::Huber { delta } if d.abs() > delta => {
                (delta * (d.abs() - 0.5 * delta), delta * d.signum())
            }
            Loss::Huber { .. } => (0.5 * d * d, d),
            _ => (d * d, 2.0 * d),
        }
    }
}

/// What is done to a network's last layer when it predicts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Output {
    /// Nothing.
    #[default]
    Linear,
    /// Softmax over the last axis.
    Softmax,
    /// Sigmoid.
    Sigmoid,
}

impl Output {
    /// The transformation of that name.
    pub fn from_name(name: &str) -> Result<Output> {
        Ok(match name {
            "linear" => Output::Linear,
            "softmax" => Output::Softmax,
            "sigmoid" => Output::Sigmoid,
            _ => {
                return Err(Error::InvalidParameter {
                    name: "output",
                    given: format!("{name:?}"),
                    expected: "linear, softmax or sigmoid".into(),
                });
            }
        })
    }

    pub(super) fn apply(self, values: &mut [f32], classes: usize) {
        match self {
            Output::Linear => {}
            Output::Softmax => softmax(values, classes),
            Output::Sigmoid => {
                for v in values {
                    *v = 1.0 / (1.0 + (-*v).exp());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(loss: Loss, z: &[f64], t: Targets, weights: &[f64], classes: usize) -> f64 {
        let width = z.len() / weights.len();
        weights
            .iter()
            .enumerate()
            .map(|(i, w)| {
                let z = &z[i * width..(i + 1) * width];
                let l: f64 = match (loss, t) {
                    (Loss::SoftmaxCrossEntropy { label_smoothing: s }, Targets::Classes(t)) => {
                        let (s, positions) = (f64::from(s), width / classes);
                        z.chunks(classes)
                            .zip(&t[i * positions..])
                            .map(|(z, &t)| {
                                let log = z.iter().map(|v| v.exp()).sum::<f64>().ln();
                                z.iter()
                                    .enumerate()
                                    .map(|(k, v)| {
                                        let hit = if k == t as usize { 1.0 - s } else { 0.0 };
                                        (hit + s / classes as f64) * (log - v)
                                    })
                                    .sum::<f64>()
                            })
                            .sum::<f64>()
                            / positions as f64
                    }
                    (_, Targets::Values(t)) => {
                        z.iter()
                            .zip(&t[i * width..])
                            .map(|(&z, &t)| {
                                let t = f64::from(t);
                                let d: f64 = z - t;
                                match loss {
                                    Loss::BinaryCrossEntropy { label_smoothing } => {
                                        let s = f64::from(label_smoothing);
                                        let t = t * (1.0 - s) + 0.5 * s;
                                        let p = 1.0 / (1.0 + (-z).exp());
                                        -(t * p.ln() + (1.0 - t) * (1.0 - p).ln())
                                    }
                                    Loss::MeanAbsolute => d.abs(),
                                    Loss::Huber { delta } => {
                                        let delta = f64::from(delta);
                                        if d.abs() > delta {
                                            delta * (d.abs() - 0.5 * delta)
                                        } else {
                                            0.5 * d * d
                                        }
                                    }
                                    _ => d * d,
                                }
                            })
                            .sum::<f64>()
                            / width as f64
                    }
                    _ => unreachable!(),
                };
                w * l
            })
            .sum()
    }

    #[test]
    fn values_and_gradients_agree_with_naive_code() {
        let z: Vec<f32> = (0..24).map(|i| ((i * 7 % 13) as f32 - 6.1) / 3.0).collect();
        let t: Vec<f32> = (0..24).map(|i| f32::from(i % 5 == 0)).collect();
        let classes: Vec<i64> = (0..8).map(|i| i * 5 % 3).collect();
        let weights = [0.5f32, 0.125, 0.25, 0.125];
        let cases = [
            Loss::SoftmaxCrossEntropy {
                label_smoothing: 0.0,
            },
            Loss::SoftmaxCrossEntropy {
                label_smoothing: 0.25,
            },
            Loss::BinaryCrossEntropy {
                label_smoothing: 0.0,
            },
            Loss::BinaryCrossEntropy {
                label_smoothing: 0.25,
            },
            Loss::MeanSquared,
            Loss::MeanAbsolute,
            Loss::Huber { delta: 0.75 },
        ];
        for loss in cases {
            let targets = if loss.wants_classes() {
                Targets::Classes(&classes)
            } else {
                Targets::Values(&t)
            };
            let mut gradient = vec![f32::NAN; 24];
            let (got, _) = loss.evaluate(&z, 6, 3, targets, &weights, &mut gradient);
            let z64: Vec<f64> = z.iter().map(|&v| f64::from(v)).collect();
            let w64 = weights.map(f64::from);
            let want = value(loss, &z64, targets, &w64, 3);
            assert!((got - want).abs() < 1e-6, "{loss:?}: {got} {want}");
            for i in 0..24 {
                let at = |by: f64| {
                    let mut z = z64.clone();
                    z[i] += by;
                    value(loss, &z, targets, &w64, 3)
                };
                let slope = (at(1e-6) - at(-1e-6)) / 2e-6;
                assert!(
                    (f64::from(gradient[i]) - slope).abs() < 1e-5,
                    "{loss:?} {i}"
                );
            }
        }
    }

    #[test]
    fn hits_are_counted() {
        let loss = Loss::SoftmaxCrossEntropy {
            label_smoothing: 0.0,
        };
        let z = [1.0, 2.0, 2.0, 0.0, 3.0, 1.0];
        let mut g = [0.0; 6];
        let count = |t: &[i64], g: &mut [f32]| {
            loss.evaluate(&z, 3, 3, Targets::Classes(t), &[0.5, 0.5], g)
                .1
        };
        assert_eq!(count(&[1, 1], &mut g), 1.0);
        assert_eq!(count(&[2, 1], &mut g), 0.5);
        let loss = Loss::BinaryCrossEntropy {
            label_smoothing: 0.0,
        };
        let t = Targets::Values(&[1.0, 0.0]);
        assert_eq!(
            loss.evaluate(&[0.5, 0.5], 1, 1, t, &[0.5, 0.5], &mut g).1,
            0.5
        );
    }

    #[test]
    fn names_and_numbers_are_checked() {
        assert!(Loss::from_name("cross_entropy", 1.0).is_err());
        assert!(Loss::from_name("huber", 0.0).is_err());
        assert!(Loss::from_name("hinge", 0.0).is_err());
        assert_eq!(Loss::from_name("mse", 0.0), Ok(Loss::MeanSquared));
        assert!(Output::from_name("softmin").is_err());
    }
}
