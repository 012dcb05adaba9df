//! Impurity of a node and the score of a split.
//!
//! The score is the part of the impurity decrease that depends on the split; the best split
//! has the largest. Class weights are sums of at most 2^53 where weights are integers, so
//! their sums are exact and independent of order.

/// Impurity measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Criterion {
    /// 1 - sum of squared class shares.
    Gini,
    /// - sum of p log2 p over the class shares.
    Entropy,
}

/// x log2 x, continued by 0 at 0.
#[inline]
pub(crate) fn xlog2x(x: f64) -> f64 {
    if x > 0.0 { x * x.log2() } else { 0.0 }
}

impl Criterion {
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
