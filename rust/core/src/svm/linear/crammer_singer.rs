//! The multi-class SVM of Crammer and Singer (JMLR 2001) by sequential dual updates.
//!
//! Keerthi, Sundararajan, Chang, Hsieh and Lin, "A sequential dual method for large scale
//! multi-class linear SVMs", KDD 2008: rows in random order, the subproblem of one row solved
//! exactly, rows far outside the margin set aside. Stops on a small duality gap.

use super::augmented;
use super::design::Design;
use super::dual::next_check;
use super::newton::overflow;
use super::smoothed_joint::SmoothedJoint;
use super::start::Begin;
use super::{Settings, Solution};
use crate::error::Result;
use crate::parallel::Control;
use crate::rng::Stream;
use ironlearn_kernels::linear::Element;

/// Solves for all classes at once; the solution holds `classes` weight vectors.
pub(super) fn solve<D: Design>(
    control: &Control,
    x: &D,
    codes: &[u32],
    cost: &[f64],
    classes: usize,
    settings: &Settings,
    from: Begin,
) -> Result<Solution> {
    let squares: Vec<f64> = (0..x.rows()).map(|i| x.square(i)).collect();
    if squares.iter().any(|s| !s.is_finite()) {
        return Err(overflow());
    }
    // A row without any element cannot move a weight: its loss is constant.
    let mut order: Vec<u32> = (0..x.rows())
        .filter(|&i| cost[i] > 0.0 && squares[i] > 0.0)
        .map(|i| i as u32)
        .collect();
    let mut stream = Stream::new(settings.seed, 0);
    let (mut alpha, mut w) = begin(control, x, codes, cost, classes, from)?;
    let (mut best, mut best_objective) = (x.by_class(&w, classes), f64::INFINITY);
    let mut gradient = vec![0.0; classes];
    let mut new = vec![0.0; classes];
    let mut sorted = vec![0.0; classes];
    let mut active = order.len();
    let mut tolerance = settings.tol;
    let mut aside = f64::INFINITY;
    let mut check_at = next_check(0);
    let (mut pass, mut converged) = (0, false);
    let patience = patience(x, classes);
    while pass < settings.max_iter && !converged {
        let mut worst = 0.0f64;
        stream.shuffle(&mut order[..active]);
        let (mut at, mut seen) = (0, 0usize);
        while at < active {
            seen += 1;
            if seen % 256 == 0 {
                control.check()?;
            }
            let i = order[at] as usize;
            let (own, c) = (codes[i] as usize, cost[i]);
            let a = &mut alpha[i * classes..(i + 1) * classes];
            x.joint_dots(i, &w, &mut gradient);
            for (m, g) in gradient.iter_mut().enumerate() {
                *g += f64::from(u8::from(m != own));
            }
            let (mut low, mut high, mut other) =
                (f64::INFINITY, f64::NEG_INFINITY, f64::NEG_INFINITY);
            for (m, &g) in gradient.iter().enumerate() {
                high = high.max(g);
                if m != own {
                    other = other.max(g);
                }
                if a[m] < if m == own { c } else { 0.0 } {
                    low = low.min(g);
                }
            }
            if a[own] == 0.0 && other < gradient[own] - aside {
                active -= 1;
                order.swap(at, active);
                continue;
            }
            at += 1;
            let violation = high - low;
            if violation <= 1e-12 {
                continue;
            }
            worst = worst.max(violation);
            subproblem(&gradient, a, own, c, squares[i], &mut new, &mut sorted);
            let mut moved = false;
            for (new, a) in new.iter_mut().zip(a) {
                // From the new value to what it adds.
                let change = *new - *a;
                moved |= change != 0.0;
                *a = *new;
                *new = change;
            }
            if moved {
                x.joint_axpy(i, &new, &mut w);
            }
        }
        pass += 1;
        let settled = worst <= tolerance;
        let whole = active == order.len();
        if pass >= check_at || pass == settings.max_iter || settled && whole {
            let (primal, dual) = objectives(control, x, codes, cost, classes, &w, &alpha)?;
            if !primal.is_finite() {
                return Err(overflow());
            }
            if primal < best_objective {
                best_objective = primal;
                best = x.by_class(&w, classes);
            }
            check_at = next_check(pass);
            let gap = best_objective - dual;
            converged = gap <= 0.1 * settings.tol * best_objective
                || settled && whole && gap <= settings.tol * best_objective;
            if settled && whole {
                tolerance *= 0.1;
            }
        }
        if pass >= patience && !converged && pass < settings.max_iter {
            let problem = SmoothedJoint::new(
                control,
                x,
                codes,
                cost,
                classes,
                alpha,
                x.by_class(&w, classes),
            )?;
            return augmented::solve(x.tier(), problem, settings, pass);
        }
        if settled && !whole {
            active = order.len();
            aside = f64::INFINITY;
            continue;
        }
        aside = worst;
    }
    if pass == 0 {
        best_objective = objectives(control, x, codes, cost, classes, &w, &alpha)?.0;
    }
    Ok(Solution {
        w: best,
        duals: alpha,
        iterations: pass,
        converged,
        objective: best_objective,
    })
}

/// Dual variables that are allowed, and the weights that belong to them, from the end of an
/// earlier fit; weights alone are no start here.
fn begin<D: Design>(
    control: &Control,
    x: &D,
    codes: &[u32],
    cost: &[f64],
    classes: usize,
    from: Begin,
) -> Result<(Vec<f64>, Vec<f64>)> {
    let width = x.width();
    let mut alpha = from.duals.to_vec();
    alpha.resize(x.rows() * classes, 0.0);
    let mut w = vec![0.0; width * classes];
    let (mut gain, mut most) = (0.0, f64::INFINITY);
    for (i, row) in alpha.chunks_exact_mut(classes).enumerate() {
        if i % 256 == 0 {
            control.check()?;
        }
        // One number for the row's own class, as much of others taken off.
        let own = codes[i] as usize;
        let mut taken = 0.0;
        for (_, a) in row.iter_mut().enumerate().filter(|(m, _)| *m != own) {
            *a = a.min(0.0);
            taken -= *a;
        }
        let factor = if taken > cost[i] {
            cost[i] / taken
        } else {
            1.0
        };
        for a in row.iter_mut() {
            *a *= factor;
        }
        row[own] = -(0..classes)
            .filter(|&m| m != own)
            .map(|m| row[m])
            .sum::<f64>();
        if row[own] > 0.0 {
            gain += row[own];
            most = most.min(cost[i] / row[own]);
            x.joint_axpy(i, row, &mut w);
        }
    }
    let square = f64::dot(x.tier(), &w, &w);
    if !square.is_finite() {
        return Err(overflow());
    }
    // The best multiple, as in `start::begin`.
    let t = if square > 0.0 {
        (gain / square).clamp(0.0, most.max(1.0))
    } else {
        1.0
    };
    for value in alpha.iter_mut().chain(&mut w) {
        *value *= t;
    }
    Ok((alpha, w))
}

/// Passes after which the problem is left to [`augmented`]: about what a few of its steps cost.
fn patience<D: Design>(x: &D, classes: usize) -> usize {
    let weights = (x.width() * classes) as f64;
    let pass = 2.0 * (x.stored() * classes) as f64;
    let steps = 2.5 * weights.powi(3) / 6.0 / pass.max(1.0);
    (steps as usize).clamp(30, 300)
}

/// The exact minimiser over one row's variables: they sum to zero, none is above its bound
/// (`c` for the row's own class, zero for the others).
fn subproblem(
    gradient: &[f64],
    a: &[f64],
    own: usize,
    c: f64,
    square: f64,
    new: &mut [f64],
    sorted: &mut [f64],
) {
    for m in 0..a.len() {
        new[m] = gradient[m] - square * a[m];
        sorted[m] = new[m];
    }
    // The solution is min(bound, (beta - b) / square) where beta makes the sum zero.
    sorted[own] += square * c;
    sorted.sort_unstable_by(|p, q| q.total_cmp(p));
    let mut beta = sorted[0] - square * c;
    let mut count = 1;
    while count < sorted.len() && beta < count as f64 * sorted[count] {
        beta += sorted[count];
        count += 1;
    }
    beta /= count as f64;
    for (m, value) in new.iter_mut().enumerate() {
        let bound = if m == own { c } else { 0.0 };
        *value = bound.min((beta - *value) / square);
    }
}

/// Primal and dual objective.
fn objectives<D: Design>(
    control: &Control,
    x: &D,
    codes: &[u32],
    cost: &[f64],
    classes: usize,
    w: &[f64],
    alpha: &[f64],
) -> Result<(f64, f64)> {
    let half = 0.5 * f64::dot(x.tier(), w, w);
    let (mut loss, mut gain) = (0.0, 0.0);
    let mut scores = vec![0.0; classes];
    for i in 0..x.rows() {
        if i % 256 == 0 {
            control.check()?;
        }
        if cost[i] <= 0.0 {
            continue;
        }
        x.joint_dots(i, w, &mut scores);
        let own = codes[i] as usize;
        let mut worst = 0.0f64;
        for m in (0..classes).filter(|&m| m != own) {
            worst = worst.max(1.0 + scores[m] - scores[own]);
            gain -= alpha[i * classes + m];
        }
        loss += cost[i] * worst;
        if x.square(i) == 0.0 {
            // Its best dual point puts the whole cost on one other class.
            gain += cost[i];
        }
    }
    Ok((half + loss, gain - half))
}
