//! Dual coordinate descent with shrinking, for all losses with L2 penalty.
//!
//! Hsieh, Chang, Lin, Keerthi and Sundararajan, "A dual coordinate descent method for
//! large-scale linear SVM", ICML 2008; for regression Ho and Lin, "Large-scale linear support
//! vector regression", JMLR 2012. The descent stops on a small duality gap, which bounds the
//! distance from the optimum; the published rules alone do not.

use super::augmented;
use super::design::Design;
use super::goal::{Goal, Goals};
use super::newton::{self, exact_pays, overflow};
use super::smoothed_hinge::SmoothedHinge;
use super::start::{Begin, Start, begin};
use super::{Settings, Solution};
use crate::error::Result;
use crate::parallel::Control;
use crate::rng::Stream;
use ironlearn_kernels::linear::Element;

/// Passes after which a loss that is not smooth is left to [`augmented`], where that has an
/// exact Hessian.
const PATIENCE: usize = 30;
/// The same where it has none and each of its steps costs tens of passes; and after which the
/// squared losses are left to Newton's method.
const LONG_PATIENCE: usize = 300;

/// One problem: the distances from the goals, or their squares.
pub(super) struct Problem<'a, D> {
    pub control: &'a Control<'a>,
    pub x: &'a D,
    pub goals: &'a Goals<'a>,
    /// Distances as they are, not squared.
    pub plain: bool,
}

impl<D: Design> Problem<'_, D> {
    /// Largest size of a dual variable and what its loss adds to the diagonal.
    #[inline(always)]
    pub(super) fn bounds(&self, cost: f64) -> (f64, f64) {
        if self.plain {
            (cost, 0.0)
        } else {
            (f64::INFINITY, 0.5 / cost)
        }
    }

    /// Primal and dual objective.
    fn objectives(&self, w: &[f64], beta: &[f64]) -> Result<(f64, f64)> {
        let half = 0.5 * f64::dot(self.x.tier(), w, w);
        let (mut loss, mut gain) = (0.0, 0.0);
        for (i, &b) in beta.iter().enumerate() {
            if i % 1024 == 0 {
                self.control.check()?;
            }
            let goal = self.goals.at(i);
            if goal.cost <= 0.0 {
                continue;
            }
            let miss = goal.miss(self.x.dot(i, w)).abs();
            gain += goal.gain(b);
            if self.plain {
                loss += goal.cost * miss;
            } else {
                loss += goal.cost * miss * miss;
                gain -= b * b / (4.0 * goal.cost);
            }
        }
        Ok((half + loss, gain - half))
    }
}

/// When a duality gap is looked at: after ten passes, then every tenth to fifth of the run.
pub(super) fn next_check(pass: usize) -> usize {
    pass + (pass / 5).max(10)
}

/// How far the objective falls with a dual variable: its slopes to the right and to the left.
#[derive(Clone, Copy)]
struct Slopes {
    right: f64,
    left: f64,
}

impl Slopes {
    #[inline(always)]
    fn new(goal: &Goal, slope: f64) -> Self {
        Slopes {
            right: slope - goal.low,
            left: slope - goal.high,
        }
    }

    /// The slope away from zero, at `b`.
    #[inline(always)]
    fn outward(&self, b: f64) -> f64 {
        if b > 0.0 {
            self.right
        } else if b < 0.0 {
            -self.left
        } else {
            self.right.min(-self.left)
        }
    }

    /// Where the objective is lowest along the variable, of `curvature`.
    #[inline(always)]
    fn lowest(&self, b: f64, curvature: f64) -> f64 {
        if self.right < curvature * b {
            b - self.right / curvature
        } else if self.left > curvature * b {
            b - self.left / curvature
        } else {
            0.0
        }
    }
}

/// Goes on from weights `w` by Newton's method, `spent` of the allowed iterations used up.
fn finish<D: Design>(
    control: &Control,
    x: &D,
    goals: &Goals,
    settings: &Settings,
    w: &[f64],
    spent: usize,
) -> Result<Solution> {
    let left = Settings {
        max_iter: settings.max_iter - spent,
        ..*settings
    };
    let start = Start {
        weights: w,
        duals: &[],
    };
    let mut solutions = newton::solve(control, x, std::slice::from_ref(goals), &left, start)?;
    let mut solution = solutions.swap_remove(0);
    solution.iterations += spent;
    // A later fit may go on from dual variables: those that belong to the weights.
    solution.duals = Vec::with_capacity(x.rows());
    for i in 0..x.rows() {
        let goal = goals.at(i);
        let miss = goal.miss(x.dot(i, &solution.w));
        solution.duals.push(2.0 * goal.cost * miss);
    }
    Ok(solution)
}

/// Solves one problem; `task` selects its random stream.
pub(super) fn solve<D: Design>(
    control: &Control,
    x: &D,
    goals: &Goals,
    settings: &Settings,
    plain: bool,
    task: u64,
    from: Begin,
) -> Result<Solution> {
    let problem = Problem {
        control,
        x,
        goals,
        plain,
    };
    let mut order: Vec<u32> = (0..x.rows())
        .filter(|&i| goals.cost(i) > 0.0)
        .map(|i| i as u32)
        .collect();
    let squares: Vec<f64> = (0..x.rows()).map(|i| x.square(i)).collect();
    if squares.iter().any(|s| !s.is_finite()) {
        return Err(overflow());
    }
    let mut stream = Stream::new(settings.seed, task);
    let (mut beta, mut w) = begin(&problem, from)?;
    let warm = beta.iter().any(|b| *b != 0.0);
    let mut best = w.clone();
    let mut best_objective = f64::INFINITY;
    let unit = goals.unit();
    let mut tolerance = settings.tol * unit;
    // The steepest slopes of the last pass that moved a variable towards zero and away from it.
    let (mut inward, mut outward) = (f64::INFINITY, f64::NEG_INFINITY);
    let (mut known, mut bound, mut diagonal) = (f64::NAN, 0.0, 0.0);
    let mut active = order.len();
    let mut check_at = next_check(0);
    let mut pass = 0;
    let mut converged = false;
    let patience = if plain && exact_pays(x) {
        // A good start leaves descent little to do.
        if warm { PATIENCE / 5 } else { PATIENCE }
    } else {
        LONG_PATIENCE
    };
    while pass < settings.max_iter && !converged {
        let (mut most, mut least) = (f64::NEG_INFINITY, f64::INFINITY);
        stream.shuffle(&mut order[..active]);
        let mut at = 0;
        let mut seen = 0usize;
        while at < active {
            seen += 1;
            if seen.is_multiple_of(1024) {
                control.check()?;
            }
            let i = order[at] as usize;
            let goal = goals.at(i);
            if goal.cost != known {
                // A division a row would be dear, and most costs are the same.
                known = goal.cost;
                (bound, diagonal) = problem.bounds(known);
            }
            let b = beta[i];
            let slopes = Slopes::new(&goal, x.dot(i, &w) + diagonal * b);
            let slope = slopes.outward(b);
            let projected = if b == 0.0 {
                if slope > inward {
                    active -= 1;
                    order.swap(at, active);
                    continue;
                }
                slope.min(0.0)
            } else if b.abs() == bound {
                if slope < outward {
                    active -= 1;
                    order.swap(at, active);
                    continue;
                }
                slope.max(0.0)
            } else {
                slope
            };
            most = most.max(projected);
            least = least.min(projected);
            if projected.abs() > 1e-12 * unit {
                let new = slopes.lowest(b, squares[i] + diagonal);
                let new = new.clamp(-bound, bound);
                beta[i] = new;
                x.axpy(i, new - b, &mut w);
            }
            at += 1;
        }
        pass += 1;
        let settled = most - least <= tolerance;
        if pass >= check_at || pass == settings.max_iter || settled && active == order.len() {
            let (primal, dual) = problem.objectives(&w, &beta)?;
            if !primal.is_finite() {
                return Err(overflow());
            }
            if primal < best_objective {
                best_objective = primal;
                best.copy_from_slice(&w);
            }
            check_at = next_check(pass);
            let gap = best_objective - dual;
            converged = gap <= 0.1 * settings.tol * best_objective
                || settled && active == order.len() && gap <= settings.tol * best_objective;
            if settled && active == order.len() {
                tolerance *= 0.1;
            }
        }
        if pass >= patience && !converged && pass < settings.max_iter {
            if plain {
                let problem = SmoothedHinge::new(control, x, goals, beta, w)?;
                return augmented::solve(x.tier(), problem, settings, pass);
            }
            return finish(control, x, goals, settings, &best, pass);
        }
        if settled && active < order.len() {
            // Settled on the shrunken problem: look at all variables again.
            active = order.len();
            (inward, outward) = (f64::INFINITY, f64::NEG_INFINITY);
            continue;
        }
        inward = if most > 0.0 { most } else { f64::INFINITY };
        outward = if least < 0.0 {
            least
        } else {
            f64::NEG_INFINITY
        };
    }
    if pass == 0 {
        best_objective = problem.objectives(&best, &beta)?.0;
    }
    Ok(Solution {
        w: best,
        duals: beta,
        iterations: pass,
        converged,
        objective: best_objective,
    })
}
