//! Dual coordinate descent with shrinking, for both hinge losses with L2 penalty.
//!
//! Hsieh, Chang, Lin, Keerthi and Sundararajan, "A dual coordinate descent method for
//! large-scale linear SVM", ICML 2008. The descent stops on a small duality gap, which bounds
//! the distance from the optimum; the published rule alone does not.

use super::augmented;
use super::design::Design;
use super::newton::overflow;
use super::smoothed_hinge::SmoothedHinge;
use super::{Labels, Settings, Solution};
use crate::error::Result;
use crate::parallel::Control;
use crate::rng::Stream;
use ironlearn_kernels::linear::Element;

/// Passes after which a loss that is not smooth is left to [`augmented`].
const PATIENCE: usize = 30;

struct Problem<'a, D> {
    control: &'a Control<'a>,
    x: &'a D,
    labels: &'a Labels<'a>,
    hinge: bool,
    rows: Vec<u32>,
}

impl<D: Design> Problem<'_, D> {
    /// Upper bound of a dual variable and what its loss adds to the diagonal.
    fn bounds(&self, c: f64) -> (f64, f64) {
        if self.hinge {
            (c, 0.0)
        } else {
            (f64::INFINITY, 0.5 / c)
        }
    }

    /// Primal and dual objective.
    fn objectives(&self, w: &[f64], alpha: &[f64]) -> Result<(f64, f64)> {
        let half = 0.5 * f64::dot(self.x.tier(), w, w);
        let (mut loss, mut gain) = (0.0, 0.0);
        for (at, &i) in self.rows.iter().enumerate() {
            if at % 1024 == 0 {
                self.control.check()?;
            }
            let (y, c) = self.labels.at(i as usize);
            let slack = (1.0 - y * self.x.dot(i as usize, w)).max(0.0);
            let a = alpha[i as usize];
            if self.hinge {
                loss += c * slack;
                gain += a;
            } else {
                loss += c * slack * slack;
                gain += a - a * a / (4.0 * c);
            }
        }
        Ok((half + loss, gain - half))
    }
}

/// When a duality gap is looked at: after ten passes, then every tenth to fifth of the run.
pub(super) fn next_check(pass: usize) -> usize {
    pass + (pass / 5).max(10)
}

/// Solves one class; `task` selects its random stream.
pub(super) fn solve<D: Design>(
    control: &Control,
    x: &D,
    labels: &Labels,
    settings: &Settings,
    hinge: bool,
    task: u64,
) -> Result<Solution> {
    let rows: Vec<u32> = (0..x.rows())
        .filter(|&i| labels.at(i).1 > 0.0)
        .map(|i| i as u32)
        .collect();
    let problem = Problem {
        control,
        x,
        labels,
        hinge,
        rows,
    };
    let mut order = problem.rows.clone();
    let squares: Vec<f64> = (0..x.rows()).map(|i| x.square(i)).collect();
    if squares.iter().any(|s| !s.is_finite()) {
        return Err(overflow());
    }
    let mut stream = Stream::new(settings.seed, task);
    let mut alpha = vec![0.0; x.rows()];
    let mut w = vec![0.0; x.width()];
    let mut best = w.clone();
    let mut best_objective = f64::INFINITY;
    let mut tolerance = settings.tol;
    let (mut upper, mut lower) = (f64::INFINITY, f64::NEG_INFINITY);
    let mut active = order.len();
    let mut check_at = next_check(0);
    let mut pass = 0;
    let mut converged = false;
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
            let (y, c) = labels.at(i);
            let (bound, diagonal) = problem.bounds(c);
            let a = alpha[i];
            let g = y * x.dot(i, &w) - 1.0 + diagonal * a;
            let projected = if a == 0.0 {
                if g > upper {
                    active -= 1;
                    order.swap(at, active);
                    continue;
                }
                g.min(0.0)
            } else if a == bound {
                if g < lower {
                    active -= 1;
                    order.swap(at, active);
                    continue;
                }
                g.max(0.0)
            } else {
                g
            };
            most = most.max(projected);
            least = least.min(projected);
            if projected.abs() > 1e-12 {
                let new = (a - g / (squares[i] + diagonal)).clamp(0.0, bound);
                alpha[i] = new;
                x.axpy(i, (new - a) * y, &mut w);
            }
            at += 1;
        }
        pass += 1;
        let settled = most - least <= tolerance;
        if pass >= check_at || pass == settings.max_iter || settled && active == order.len() {
            let (primal, dual) = problem.objectives(&w, &alpha)?;
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
        if hinge && pass >= PATIENCE && !converged && pass < settings.max_iter {
            let mut problem = SmoothedHinge::new(control, x, labels, alpha, w)?;
            return augmented::solve(x.tier(), &mut problem, settings, pass);
        }
        if settled && active < order.len() {
            // Settled on the shrunken problem: look at all variables again.
            active = order.len();
            (upper, lower) = (f64::INFINITY, f64::NEG_INFINITY);
            continue;
        }
        upper = if most > 0.0 { most } else { f64::INFINITY };
        lower = if least < 0.0 {
            least
        } else {
            f64::NEG_INFINITY
        };
    }
    if pass == 0 {
        best_objective = problem.objectives(&best, &alpha)?.0;
    }
    Ok(Solution {
        w: best,
        iterations: pass,
        converged,
        objective: best_objective,
    })
}
