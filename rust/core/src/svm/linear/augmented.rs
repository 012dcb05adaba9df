//! Augmented Lagrangian with semismooth Newton steps, for the losses that are not smooth.
//!
//! Dual coordinate descent crawls where more rows than features lie on the margin. Replacing
//! each row's loss by its Moreau envelope around its dual variables (Rockafellar, "Augmented
//! Lagrangians and applications of the proximal point algorithm in convex programming", 1976)
//! leaves a smooth, piecewise quadratic problem whose Hessian holds only the rows on the
//! margin; few Newton steps solve it, and few updates of the dual variables reach the optimum
//! (Yan and Li, "An efficient augmented Lagrangian method for support vector machine",
//! Optimization Methods and Software 2020).

use super::newton::overflow;
use super::{Settings, Solution};
use crate::error::Result;
use ironlearn_kernels::linear::Element;
use ironlearn_kernels::tier::Tier;

/// Inverse width of the smoothed part of the loss at the start, in units of what rows miss.
pub(super) const SHARPNESS: f64 = 4.0;
/// By how much the smoothed part shrinks at each update of the dual variables.
const GROWTH: f64 = 4.0;
/// From this times as sharp as at the start on, the Hessian is too ill-conditioned to gain
/// anything.
const SHARPEST: f64 = 2.5e9;

/// A line search may end once the slope has fallen to this part of that at its start.
const LOOSE: f64 = 0.02;

/// What one look at all rows tells about the current weights.
pub(super) struct View {
    /// Gradient of the smoothed objective.
    pub gradient: Vec<f64>,
    /// The true objective.
    pub primal: f64,
    /// Dual objective at the variables that belong to the weights.
    pub dual: f64,
    /// Part of the gap between both that an exact solution of the subproblem leaves.
    pub left: f64,
}

/// A smoothed problem at some weights.
pub(super) trait Smoothed {
    fn weights(&self) -> &[f64];
    /// The sharpness in force.
    fn sharpness(&self) -> f64;
    fn view(&self) -> Result<View>;
    /// An approximate Newton direction, always one of descent.
    fn direction(&self, gradient: &[f64], first_norm: f64) -> Result<Vec<f64>>;
    /// Products of the rows with a direction.
    fn products(&self, direction: &[f64]) -> Result<Vec<f64>>;
    /// First and second derivative of the smoothed losses after a step of length `t`.
    fn along(&self, products: &[f64], t: f64) -> Result<(f64, f64)>;
    fn advance(&mut self, t: f64, direction: &[f64], products: &[f64]);
    /// Moves the envelopes to the current dual variables and sharpens them.
    fn recentre(&mut self, sharpness: f64);
    /// The dual variables at the weights, as the coordinate descent of the loss has them.
    fn into_duals(self) -> Vec<f64>;
}

/// Solves `problem`, of which `spent` of the allowed iterations are used up.
pub(super) fn solve<P: Smoothed>(
    tier: Tier,
    mut problem: P,
    settings: &Settings,
    spent: usize,
) -> Result<Solution> {
    let mut best = problem.weights().to_vec();
    let (mut objective, mut dual) = (f64::INFINITY, f64::NEG_INFINITY);
    let mut sharpness = problem.sharpness();
    let sharpest = SHARPEST * sharpness;
    let mut first_norm = None;
    let mut steps = spent;
    let converged = loop {
        let view = problem.view()?;
        if !view.primal.is_finite() {
            return Err(overflow());
        }
        if view.primal < objective {
            objective = view.primal;
            best.copy_from_slice(problem.weights());
        }
        dual = dual.max(view.dual);
        if objective - dual <= 0.1 * settings.tol * objective {
            break true;
        }
        if steps == settings.max_iter {
            break false;
        }
        let square = f64::dot(tier, &view.gradient, &view.gradient);
        let mut moved = false;
        if 0.5 * square > 0.1 * view.left {
            let norm = *first_norm.get_or_insert(square.sqrt());
            let direction = problem.direction(&view.gradient, norm)?;
            moved = step(tier, &mut problem, &view, &direction)?;
            steps += 1;
        }
        if !moved {
            // Solved well enough for the next update of the dual variables.
            if sharpness >= sharpest {
                break objective - dual <= settings.tol * objective;
            }
            sharpness *= GROWTH;
            problem.recentre(sharpness);
            first_norm = None;
        }
    };
    Ok(Solution {
        w: best,
        duals: problem.into_duals(),
        iterations: steps,
        converged,
        objective,
    })
}

/// Moves to the lowest point along a direction: the root of an increasing, piecewise linear
/// function, by Newton's method inside a bracket. False if it gains nothing.
fn step<P: Smoothed>(tier: Tier, problem: &mut P, view: &View, direction: &[f64]) -> Result<bool> {
    let slope = f64::dot(tier, &view.gradient, direction);
    if -slope <= 1e-15 * view.primal {
        return Ok(false);
    }
    let products = problem.products(direction)?;
    let wd = f64::dot(tier, problem.weights(), direction);
    let dd = f64::dot(tier, direction, direction);
    let (mut low, mut high, mut t) = (0.0, f64::INFINITY, 1.0);
    for _ in 0..60 {
        let (first, second) = problem.along(&products, t)?;
        let (first, second) = (first + wd + t * dd, second + dd);
        if !first.is_finite() {
            return Err(overflow());
        }
        if first.abs() <= LOOSE * slope.abs() {
            break;
        }
        if first < 0.0 {
            low = t;
        } else {
            high = t;
        }
        let next = t - first / second;
        t = if next > low && next < high {
            next
        } else if high.is_finite() {
            0.5 * (low + high)
        } else {
            2.0 * t
        };
    }
    problem.advance(t, direction, &products);
    Ok(true)
}
