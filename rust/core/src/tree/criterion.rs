//! Impurity of a node and the score of a split.
//!
//! The score is the part of the impurity decrease that depends on the split; the best split
//! has the largest. Class weights are sums of at most 2^53 where weights are integers, so
//! their sums are exact and independent of order.

use crate::error::{Error, Result};

/// Impurity measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Criterion {
    /// 1 - sum of squared class shares.
    Gini,
    /// - sum of p log2 p over the class shares.
    Entropy,
}

/// What a tree of numbers lowers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// Squared distance to the mean.
    Squared,
    /// Distance to the median.
    Absolute,
    /// Half the Poisson deviance from the mean; targets are not negative.
    Poisson,
}

impl Loss {
    /// Checks that the loss is defined for these targets.
    pub(crate) fn validate(self, values: &[f64]) -> Result<()> {
        if self != Loss::Poisson {
            return Ok(());
        }
        let refuse = |given: String, expected: &str| {
            Err(Error::InvalidParameter {
                name: "y",
                given,
                expected: expected.into(),
            })
        };
        if let Some(bad) = values.iter().find(|v| **v < 0.0) {
            return refuse(bad.to_string(), "not negative with criterion='poisson'");
        }
        if values.iter().all(|&v| v == 0.0) {
            return refuse(
                "only zeros".into(),
                "a positive sum with criterion='poisson'",
            );
        }
        Ok(())
    }
}

/// x log2 x, continued by 0 at 0.
#[inline]
pub(crate) fn xlog2x(x: f64) -> f64 {
    if x > 0.0 { x * x.log2() } else { 0.0 }
}

impl Criterion {
    /// The mean, over outputs of `classes` classes each, of the impurity of a node with these
    /// class weights, which add up to `total` in each output.
    pub(crate) fn mean_impurity(self, counts: &[f64], classes: usize, total: f64) -> f64 {
        let outputs = counts.len() / classes;
        let sum: f64 = counts
            .chunks_exact(classes)
            .map(|counts| self.impurity(counts, total))
            .sum();
        sum / outputs as f64
    }

    /// What one side with these class weights adds to the score of a split, over all outputs.
    #[inline]
    pub(crate) fn sides(self, counts: &[f64], classes: usize, total: f64) -> f64 {
        counts
            .chunks_exact(classes)
            .map(|counts| self.side(counts, total))
            .sum()
    }

    /// Impurity of a node with these class weights, which add up to `total`.
    pub(crate) fn impurity(self, counts: &[f64], total: f64) -> f64 {
        match self {
            Criterion::Gini => {
                let squares: f64 = counts.iter().map(|c| c * c).sum();
                1.0 - squares / (total * total)
            }
            Criterion::Entropy => {
                let sum: f64 = counts
                    .iter()
                    .map(|&c| {
                        let p = c / total;
                        if p > 0.0 { p * p.log2() } else { 0.0 }
                    })
                    .sum();
                0.0 - sum
            }
        }
    }

    /// What one side adds to the score of a split.
    #[inline]
    pub(crate) fn side(self, counts: &[f64], total: f64) -> f64 {
        match self {
            Criterion::Gini => counts.iter().map(|c| c * c).sum::<f64>() / total,
            Criterion::Entropy => counts.iter().map(|&c| xlog2x(c)).sum::<f64>() - xlog2x(total),
        }
    }
}
