//! Linear support vector classification with the objectives of LIBLINEAR.
//!
//! The intercept is the weight of one more feature of constant value, and penalised like the
//! others. Sums are in `f64` whatever the type of the data.

mod augmented;
mod cholesky;
mod columns;
mod crammer_singer;
mod design;
mod dual;
mod gram;
mod hessian;
mod l1;
mod l1_newton;
mod model;
mod newton;
mod newton_cg;
mod smoothed_hinge;
mod smoothed_joint;

pub use design::{Csr, Dense, Design, Index};
pub use model::LinearModel;

use crate::error::{Error, Result};
use crate::parallel::{Control, map_chunks};

/// Which objective is minimised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Objective {
    /// `w'w / 2 + sum of c * max(0, 1 - y w'x)^2` for each class against the rest; `dual` is
    /// used where the data is too wide for an exact Hessian.
    SquaredHinge {
        /// Prefer dual coordinate descent to conjugate gradients.
        dual: bool,
    },
    /// `w'w / 2 + sum of c * max(0, 1 - y w'x)` for each class against the rest.
    Hinge,
    /// `sum of |w| + sum of c * max(0, 1 - y w'x)^2` for each class against the rest.
    L1SquaredHinge,
    /// The joint objective of Crammer and Singer.
    CrammerSinger,
}

/// When to stop and which random numbers to use.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Relative accuracy of the objective.
    pub tol: f64,
    /// Most steps or passes.
    pub max_iter: usize,
    /// Seed of the order in which coordinates are visited.
    pub seed: u64,
}

/// One class against the rest.
#[derive(Clone, Copy)]
pub(crate) struct Labels<'a> {
    codes: &'a [u32],
    /// Cost of each row before the class weights.
    sample: &'a [f64],
    class: u32,
    positive: f64,
    negative: f64,
}

impl Labels<'_> {
    /// Label (1 or -1) and cost of row `i`.
    #[inline(always)]
    fn at(&self, i: usize) -> (f64, f64) {
        if self.codes[i] == self.class {
            (1.0, self.sample[i] * self.positive)
        } else {
            (-1.0, self.sample[i] * self.negative)
        }
    }

    /// True if the costs are those that all classes share.
    fn common(&self) -> bool {
        self.positive == 1.0 && self.negative == 1.0
    }
}

/// Weights of one class (or of all, for Crammer and Singer).
#[derive(Clone, Debug)]
pub(crate) struct Solution {
    w: Vec<f64>,
    iterations: usize,
    converged: bool,
    objective: f64,
}

/// A fitted linear classifier: what the bindings turn into Python objects.
#[derive(Clone, Debug, PartialEq)]
pub struct Fit {
    /// One weight vector a class (one in all for two classes one against the other), each of
    /// the design's width: the last element belongs to the constant feature.
    pub weights: Vec<f64>,
    /// Steps or passes of each solved problem.
    pub iterations: Vec<usize>,
    /// Objective of each solved problem.
    pub objectives: Vec<f64>,
    /// False if any problem stopped at `max_iter`.
    pub converged: bool,
}

fn invalid(name: &'static str, given: impl ToString, expected: &str) -> Error {
    Error::InvalidParameter {
        name,
        given: given.to_string(),
        expected: expected.into(),
    }
}

/// Fits the weights.
///
/// `codes` are class numbers below `class_weight.len()`; `sample_cost` is C times the sample
/// weight of each row.
pub fn fit<D: Design>(
    control: &Control,
    x: &D,
    codes: &[u32],
    sample_cost: &[f64],
    class_weight: &[f64],
    objective: Objective,
    settings: &Settings,
) -> Result<Fit> {
    let classes = class_weight.len();
    for (name, len) in [("y", codes.len()), ("sample_weight", sample_cost.len())] {
        if len != x.rows() {
            return Err(Error::Shape {
                name,
                given: format!("{len} elements"),
                expected: format!("one for each of the {} rows of X", x.rows()),
            });
        }
    }
    if classes < 2 {
        return Err(invalid(
            "y",
            format!("{classes} class"),
            "labels of at least 2 classes",
        ));
    }
    if let Some(&code) = codes.iter().find(|&&code| code as usize >= classes) {
        return Err(invalid(
            "y",
            code,
            &format!("class numbers below {classes}"),
        ));
    }
    for (name, values) in [
        ("C times sample_weight", sample_cost),
        ("class_weight", class_weight),
    ] {
        if let Some(value) = values.iter().find(|v| !v.is_finite() || **v < 0.0) {
            return Err(invalid(name, value, "finite and not negative"));
        }
    }
    if !(settings.tol.is_finite() && settings.tol > 0.0) {
        return Err(invalid("tol", settings.tol, "a finite number above 0"));
    }
    let alone = classes.checked_mul(x.width().max(x.rows()));
    if alone.is_none_or(|n| n > isize::MAX as usize / 64) {
        return Err(Error::TooLarge {
            what: "n_classes times the larger of n_samples and n_features",
            given: format!("{classes} x {}", x.width().max(x.rows())),
            limit: (isize::MAX as usize / 64).to_string(),
        });
    }
    if objective == Objective::CrammerSinger {
        let cost: Vec<f64> = codes
            .iter()
            .zip(sample_cost)
            .map(|(&code, c)| c * class_weight[code as usize])
            .collect();
        let solution = crammer_singer::solve(control, x, codes, &cost, classes, settings)?;
        return Ok(collect(vec![solution]));
    }
    // Two classes: one problem, the second class positive. Otherwise the weight of a class
    // applies where it is the positive one, as in LIBLINEAR.
    let labels: Vec<Labels> = if classes == 2 {
        vec![Labels {
            codes,
            sample: sample_cost,
            class: 1,
            positive: class_weight[1],
            negative: class_weight[0],
        }]
    } else {
        (0..classes)
            .map(|k| Labels {
                codes,
                sample: sample_cost,
                class: k as u32,
                positive: class_weight[k],
                negative: 1.0,
            })
            .collect()
    };
    let each = |f: &(dyn Fn(usize) -> Result<Solution> + Sync)| {
        map_chunks(control, labels.len(), 1, |k| f(k.start))
    };
    let solutions = match objective {
        Objective::SquaredHinge { dual: true } if !newton::exact_pays(x) => {
            each(&|k| dual::solve(control, x, &labels[k], settings, false, k as u64))?
        }
        Objective::SquaredHinge { .. } => newton::solve(control, x, &labels, settings)?,
        Objective::Hinge => {
            each(&|k| dual::solve(control, x, &labels[k], settings, true, k as u64))?
        }
        _ => {
            let columns = x.columns(control)?;
            let (rows, width) = (x.rows(), x.width());
            each(&|k| {
                l1::solve(
                    control, &columns, rows, width, &labels[k], settings, k as u64,
                )
            })?
        }
    };
    Ok(collect(solutions))
}

fn collect(solutions: Vec<Solution>) -> Fit {
    Fit {
        iterations: solutions.iter().map(|s| s.iterations).collect(),
        objectives: solutions.iter().map(|s| s.objective).collect(),
        converged: solutions.iter().all(|s| s.converged),
        weights: solutions.into_iter().flat_map(|s| s.w).collect(),
    }
}

#[cfg(test)]
mod tests;
