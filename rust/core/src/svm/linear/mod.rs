//! Linear support vector classification and regression with the objectives of LIBLINEAR.
//!
//! The intercept is the weight of one more feature of constant value, and penalised like the
//! others. Sums are in `f64` whatever the type of the data.

mod augmented;
mod cholesky;
mod columns;
mod crammer_singer;
mod design;
mod dual;
mod goal;
mod gram;
mod hessian;
mod l1;
mod l1_newton;
mod model;
mod newton;
mod newton_cg;
mod regression;
mod simplex;
mod smoothed_hinge;
mod smoothed_joint;
mod start;

pub use design::{Csr, Dense, Design, Index};
pub use model::LinearModel;
pub use regression::{Deviation, fit_targets};
pub use start::Start;

use crate::error::{Error, Result};
use crate::parallel::{Control, map_chunks};
use goal::Goals;

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

/// Weights of one class (or of all, for Crammer and Singer).
#[derive(Clone, Debug)]
pub(crate) struct Solution {
    w: Vec<f64>,
    /// Dual variables of the rows (and classes) where the solver has them, else empty.
    duals: Vec<f64>,
    iterations: usize,
    converged: bool,
    objective: f64,
}

/// A fitted linear model: what the bindings turn into Python objects.
#[derive(Clone, Debug, PartialEq)]
pub struct Fit {
    /// One weight vector a class (one in all for two classes one against the other), each of
    /// the design's width: the last element belongs to the constant feature.
    pub weights: Vec<f64>,
    /// Dual variables of each problem and row (and class, for Crammer and Singer), or empty
    /// where the solver has none.
    pub duals: Vec<f64>,
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
/// weight of each row. A `start` changes the way to the optimum, not the optimum.
pub fn fit<D: Design>(
    control: &Control,
    x: &D,
    codes: &[u32],
    sample_cost: &[f64],
    class_weight: &[f64],
    objective: Objective,
    settings: &Settings,
    start: Start,
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
    // Two classes: one problem, the second class positive. Otherwise the weight of a class
    // applies where it is the positive one, as in LIBLINEAR.
    let joint = objective == Objective::CrammerSinger;
    let problems = if joint || classes == 2 { 1 } else { classes };
    let vectors = if joint { classes } else { problems };
    start.check(vectors * x.width(), vectors * x.rows())?;
    if joint {
        let cost: Vec<f64> = codes
            .iter()
            .zip(sample_cost)
            .map(|(&code, c)| c * class_weight[code as usize])
            .collect();
        let from = start.of(0, 1);
        let solution = crammer_singer::solve(control, x, codes, &cost, classes, settings, from)?;
        return Ok(collect(vec![solution]));
    }
    let goals: Vec<Goals> = (0..problems)
        .map(|k| if problems == 1 { 1 } else { k })
        .map(|class| Goals::Class {
            codes,
            sample: sample_cost,
            class: class as u32,
            positive: class_weight[class],
            negative: if problems == 1 { class_weight[0] } else { 1.0 },
        })
        .collect();
    if objective == Objective::L1SquaredHinge {
        let columns = x.columns(control)?;
        let solutions = map_chunks(control, problems, 1, |at| {
            let k = at.start;
            l1::solve(
                control,
                x,
                &columns,
                &goals[k],
                settings,
                k as u64,
                start.of(k, problems),
            )
        })?;
        return Ok(collect(solutions));
    }
    let plain = objective == Objective::Hinge;
    let dual = objective == Objective::SquaredHinge { dual: true };
    solve_goals(control, x, &goals, plain, dual, settings, start)
}

/// Minimises `w'w / 2` plus the costs times the distances from the goals (`plain`) or their
/// squares, for each problem.
fn solve_goals<D: Design>(
    control: &Control,
    x: &D,
    goals: &[Goals],
    plain: bool,
    dual: bool,
    settings: &Settings,
    start: Start,
) -> Result<Fit> {
    let solutions = if plain || dual && !newton::exact_pays(x) {
        map_chunks(control, goals.len(), 1, |at| {
            let k = at.start;
            let from = start.of(k, goals.len());
            dual::solve(control, x, &goals[k], settings, plain, k as u64, from)
        })?
    } else {
        newton::solve(control, x, goals, settings, start)?
    };
    Ok(collect(solutions))
}

fn collect(mut solutions: Vec<Solution>) -> Fit {
    Fit {
        iterations: solutions.iter().map(|s| s.iterations).collect(),
        objectives: solutions.iter().map(|s| s.objective).collect(),
        converged: solutions.iter().all(|s| s.converged),
        duals: solutions
            .iter_mut()
            .flat_map(|s| std::mem::take(&mut s.duals))
            .collect(),
        weights: solutions.into_iter().flat_map(|s| s.w).collect(),
    }
}

#[cfg(test)]
mod tests;
