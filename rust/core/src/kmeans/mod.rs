//! k-means: starts, Lloyd's iteration, and the fitted model.
//!
//! X is never copied: wherever dense rows are read, the column means are subtracted, which
//! keeps distances accurate for data far from the origin; sparse rows are visited where they
//! store elements. Every answer depends on the data's shape
//! and the seed alone: rows are handled in fixed chunks and sums run in a fixed order.

mod assign;
mod bisecting;
mod bounds;
mod columns;
mod groups;
mod init;
mod lloyd;
pub mod mini_batch;
mod model;
mod points;
mod sparse;
mod sparse_lloyd;
mod store;
#[cfg(test)]
mod tests;
mod update;

use crate::error::{Error, Result};
use crate::float::Float;
use crate::naive_bayes::gaussian;
use crate::parallel::Control;
pub use bisecting::{BisectingTree, Fork};
pub use init::{Start, start};
use ironlearn_kernels::distance::{MOST_CENTRES, Real};
use ironlearn_kernels::moments::Widen;
pub use lloyd::{Fit, Settings, run};
pub use model::KMeansModel;
pub use points::Points;
pub use sparse::SparseRows;
pub use sparse_lloyd::run_sparse;

/// Rows to cluster, `offset` subtracted from each, and their weights.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a, T> {
    x: &'a [T],
    features: usize,
    count: usize,
    offset: &'a [T],
    weights: Option<&'a [f64]>,
}

impl<'a, T: Real> Rows<'a, T> {
    /// Checks that the parts fit together. `x` must be finite.
    pub fn new(x: &'a [T], offset: &'a [T], weights: Option<&'a [f64]>) -> Result<Self> {
        let features = offset.len();
        if features == 0 || x.is_empty() || !x.len().is_multiple_of(features) {
            return Err(Error::Shape {
                name: "X",
                given: format!("{} elements", x.len()),
                expected: format!("rows of {features} features, and at least one of each"),
            });
        }
        let count = x.len() / features;
        if count > u32::MAX as usize {
            return Err(Error::TooLarge {
                what: "the number of rows",
                given: count.to_string(),
                limit: u32::MAX.to_string(),
            });
        }
        check_weights(weights, count)?;
        Ok(Rows {
            x,
            features,
            count,
            offset,
            weights,
        })
    }

    fn row(&self, i: usize) -> &'a [T] {
        &self.x[i * self.features..(i + 1) * self.features]
    }

    /// The row less the offset.
    fn shifted(&self, i: usize) -> impl Iterator<Item = T> + 'a {
        self.row(i).iter().zip(self.offset).map(|(&x, &o)| x - o)
    }
}

fn check_weights(weights: Option<&[f64]>, count: usize) -> Result<()> {
    if let Some(w) = weights
        && (w.len() != count
            || w.iter().any(|w| !(*w >= 0.0 && w.is_finite()))
            || !w.iter().any(|w| *w > 0.0))
    {
        return Err(Error::InvalidParameter {
            name: "sample_weight",
            given: format!("{} weights", w.len()),
            expected: format!("{count} finite, non-negative weights, one of them positive"),
        });
    }
    Ok(())
}

fn check_clusters(k: usize, count: usize) -> Result<()> {
    if k == 0 || k > count {
        return Err(Error::InvalidParameter {
            name: "n_clusters",
            given: k.to_string(),
            expected: format!("between 1 and n_samples={count}"),
        });
    }
    if k > MOST_CENTRES {
        return Err(Error::TooLarge {
            what: "n_clusters",
            given: k.to_string(),
            limit: MOST_CENTRES.to_string(),
        });
    }
    Ok(())
}

/// The number of `centres`, which must be finite and of the width of `rows`.
fn check_centres<T: Real>(centres: &[T], features: usize, count: usize) -> Result<usize> {
    if centres.is_empty() || !centres.len().is_multiple_of(features) {
        return Err(Error::Shape {
            name: "init",
            given: format!("{} elements", centres.len()),
            expected: format!("centres of {features} features"),
        });
    }
    if let Some(bad) = centres.iter().find(|v| !v.finite()) {
        let bad: f64 = (*bad).into();
        return Err(crate::error::non_finite("init", bad.is_nan()));
    }
    let k = centres.len() / features;
    check_clusters(k, count)?;
    Ok(k)
}

/// The mean of each column, and the mean over columns of their variances.
pub fn moments<T: Real + Float + Widen>(
    control: &Control,
    x: &[T],
    features: usize,
) -> Result<(Vec<T>, f64)> {
    let rows = x.len().checked_div(features).unwrap_or(0);
    let codes = vec![0u32; rows];
    let (moments, _) = gaussian::moments(control, x, features, &codes, None, 1)?;
    let offset = moments.mean.iter().map(|&m| Real::from_f64(m)).collect();
    let variance = moments.m2.iter().sum::<f64>() / (rows.max(1) * features.max(1)) as f64;
    Ok((offset, variance))
}
