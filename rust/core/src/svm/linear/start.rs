//! Where a solver begins: at zero, or where a fit of a similar problem ended.
//!
//! Primal solvers go on from the weights. For the dual ones Chu, Ho, Tsai, Lin and Lin, "Warm
//! start for parameter selection of linear classifiers", KDD 2015, scale the dual variables by
//! the ratio of the costs; here the factor is the best one, which costs nothing more.

use super::design::Design;
use super::dual::Problem;
use super::newton::overflow;
use crate::error::{Error, Result, non_finite};
use ironlearn_kernels::linear::Element;

/// The end of an earlier fit. Empty slices tell nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Start<'a> {
    /// Weights as [`super::Fit::weights`] holds them.
    pub weights: &'a [f64],
    /// Dual variables as [`super::Fit::duals`] holds them.
    pub duals: &'a [f64],
}

/// The part of a [`Start`] that belongs to one problem.
#[derive(Clone, Copy, Default)]
pub(super) struct Begin<'a> {
    pub weights: &'a [f64],
    pub duals: &'a [f64],
}

impl<'a> Start<'a> {
    /// An error unless what there is has the right size and is finite.
    pub(super) fn check(&self, weights: usize, duals: usize) -> Result<()> {
        for (name, values, expected) in [
            ("the weights of warm_start", self.weights, weights),
            ("the dual variables of warm_start", self.duals, duals),
        ] {
            if !values.is_empty() && values.len() != expected {
                return Err(Error::Shape {
                    name,
                    given: format!("{} elements", values.len()),
                    expected: expected.to_string(),
                });
            }
            if let Some(value) = values.iter().find(|v| !v.is_finite()) {
                return Err(non_finite(name, value.is_nan()));
            }
        }
        Ok(())
    }

    /// The part of problem `k` out of `count`.
    pub(super) fn of(&self, k: usize, count: usize) -> Begin<'a> {
        let part = |v: &'a [f64]| {
            let each = v.len() / count.max(1);
            &v[k * each..(k + 1) * each]
        };
        Begin {
            weights: part(self.weights),
            duals: part(self.duals),
        }
    }
}

/// Dual variables that are allowed, and the weights that belong to them.
pub(super) fn begin<D: Design>(problem: &Problem<D>, from: Begin) -> Result<(Vec<f64>, Vec<f64>)> {
    let x = problem.x;
    let mut beta = vec![0.0; x.rows()];
    let mut w = vec![0.0; x.width()];
    if from.weights.is_empty() && from.duals.is_empty() {
        return Ok((beta, w));
    }
    let (mut gain, mut quadratic, mut most) = (0.0, 0.0, f64::INFINITY);
    for (i, b) in beta.iter_mut().enumerate() {
        if i % 1024 == 0 {
            problem.control.check()?;
        }
        let goal = problem.goals.at(i);
        if goal.cost <= 0.0 {
            continue;
        }
        let (bound, _) = problem.bounds(goal.cost);
        let wanted = if !from.duals.is_empty() {
            from.duals[i]
        } else {
            // What the optimality conditions say at these weights.
            let miss = goal.miss(x.dot(i, from.weights));
            match (problem.plain, miss == 0.0) {
                (_, true) => 0.0,
                (true, _) => goal.cost.copysign(miss),
                (false, _) => 2.0 * goal.cost * miss,
            }
        };
        *b = goal.allowed(wanted, bound);
        if *b != 0.0 {
            x.axpy(i, *b, &mut w);
            gain += goal.gain(*b);
            if problem.plain {
                most = most.min(bound / b.abs());
            } else {
                quadratic += *b * *b / (4.0 * goal.cost);
            }
        }
    }
    let square = f64::dot(x.tier(), &w, &w) + 2.0 * quadratic;
    if !square.is_finite() {
        return Err(overflow());
    }
    // The dual objective of `t` times these variables is `t * gain - t * t * square / 2`.
    let t = if square > 0.0 {
        (gain / square).clamp(0.0, most)
    } else {
        1.0
    };
    for (i, b) in beta.iter_mut().enumerate() {
        let (bound, _) = problem.bounds(problem.goals.cost(i));
        *b = (*b * t).clamp(-bound, bound);
    }
    for v in &mut w {
        *v *= t;
    }
    Ok((beta, w))
}
