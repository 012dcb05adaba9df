//! Newton steps over the features in use, between passes of coordinate descent with L1 penalty.
//!
//! Where features are correlated, coordinate descent finds the features in use soon but their
//! weights late. Over those features the objective is piecewise quadratic but for a kink where
//! a weight changes sign, so a Newton direction with an exact line search over the kinks is
//! cheap and never goes up; descent over all features then corrects the choice (Yuan, Ho and
//! Lin, "An improved GLMNET for L1-regularized logistic regression", JMLR 2012, combine the
//! two likewise).

use super::columns::Columns;
use super::l1::State;
use super::newton::overflow;
use super::{cholesky, gram, hessian};
use crate::error::Result;
use crate::parallel::Control;
use ironlearn_kernels::linear::Element;
use ironlearn_kernels::tier::Tier;

/// Most features for which a Hessian is formed.
const MOST: usize = 1_024;
/// Most elements of the rows inside the margin that are copied.
const ELEMENTS: usize = 1 << 24;
/// Added to the Hessian relative to its mean diagonal: it may be singular.
const RIDGE: f64 = 1e-9;

/// Multiply-adds of a step in units of those of a descent pass, or `None` if it needs too much
/// memory.
pub(super) fn cost<M: Columns>(state: &State<M>) -> Option<f64> {
    let used = state.w.iter().filter(|w| **w != 0.0).count();
    let inside = state.slack.iter().filter(|s| **s > 0.0).count();
    let fits = (1..=MOST).contains(&used) && inside.checked_mul(used)? <= ELEMENTS;
    // The product of matrices does several elements an instruction, descent less than one.
    fits.then(|| (inside * used * used / 16 + used * used * used / 48) as f64)
}

/// One step; false if it gains nothing.
pub(super) fn step<M: Columns>(
    control: &Control,
    state: &mut State<M>,
    tier: Tier,
) -> Result<bool> {
    let used: Vec<usize> = (0..state.w.len()).filter(|&j| state.w[j] != 0.0).collect();
    let n = used.len();
    let mut place = vec![u32::MAX; state.slack.len()];
    let mut inside = Vec::new();
    for (i, (&s, &c)) in state.slack.iter().zip(&state.c).enumerate() {
        if s > 0.0 && c > 0.0 {
            place[i] = inside.len() as u32;
            inside.push((inside.len() as u32, 2.0 * c));
        }
    }
    let mut rows = vec![0.0; inside.len() * n];
    let mut gradient = vec![0.0; n];
    for (s, &j) in used.iter().enumerate() {
        control.check()?;
        let mut sum = 0.0;
        state.columns.each(j, |i, v| {
            if place[i] != u32::MAX {
                rows[place[i] as usize * n + s] = v;
                sum -= 2.0 * state.c[i] * state.y[i] * state.slack[i] * v;
            }
        });
        gradient[s] = sum + state.w[j].signum();
    }
    let mut matrix = vec![0.0; n * n];
    let row = |i: usize| &rows[i * n..(i + 1) * n];
    gram::add_dense(control, tier, row, None, n, &inside, &mut matrix)?;
    let trace: f64 = matrix.iter().step_by(n + 1).sum();
    for value in matrix.iter_mut().step_by(n + 1) {
        *value += RIDGE * trace / n as f64 + f64::MIN_POSITIVE;
    }
    let factor = hessian::factored(control, tier, &matrix, n)?;
    let mut direction: Vec<f64> = gradient.iter().map(|g| -g).collect();
    cholesky::solve(tier, &factor, n, &mut direction);
    let slope = f64::dot(tier, &gradient, &direction);
    if !slope.is_finite() {
        return Err(overflow());
    }
    let objective: f64 = state.w.iter().map(|w| w.abs()).sum::<f64>()
        + (state.slack.iter().zip(&state.c))
            .map(|(s, c)| c * s.max(0.0).powi(2))
            .sum::<f64>();
    if -slope <= 1e-15 * objective {
        return Ok(false);
    }
    let mut products = vec![0.0; state.slack.len()];
    for (&j, &d) in used.iter().zip(&direction) {
        state.columns.axpy(j, d, &mut products);
    }
    for (v, y) in products.iter_mut().zip(&state.y) {
        *v *= y;
    }
    control.check()?;
    let weights: Vec<f64> = used.iter().map(|&j| state.w[j]).collect();
    let t = lowest(&weights, &direction, slope, |t| {
        let (mut first, mut second) = (0.0, 0.0);
        for ((s, v), c) in state.slack.iter().zip(&products).zip(&state.c) {
            let s = s - t * v;
            if s > 0.0 {
                first -= 2.0 * c * v * s;
                second += 2.0 * c * v * v;
            }
        }
        (first, second)
    });
    if !t.is_finite() {
        return Err(overflow());
    }
    for (s, v) in state.slack.iter_mut().zip(&products) {
        *s -= t * v;
    }
    for (&j, &d) in used.iter().zip(&direction) {
        let w = state.w[j];
        // Exactly at its kink a weight is zero, whatever rounding says.
        state.w[j] = if kink(w, d) == Some(t) {
            0.0
        } else {
            w + t * d
        };
    }
    Ok(true)
}

/// Where a weight changes sign along the direction.
fn kink(w: f64, d: f64) -> Option<f64> {
    (w * d < 0.0).then(|| -w / d)
}

/// The lowest point along a direction: `loss` gives both derivatives of the loss, and `slope`
/// is the derivative of the objective at zero, which must be negative.
fn lowest(w: &[f64], d: &[f64], slope: f64, loss: impl Fn(f64) -> (f64, f64)) -> f64 {
    let mut kinks: Vec<(f64, f64)> = w
        .iter()
        .zip(d)
        .filter_map(|(&w, &d)| kink(w, d).map(|t| (t, 2.0 * d.abs())))
        .collect();
    kinks.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    // Slope of the penalty before each kink and after the last.
    let mut penalty = vec![w.iter().zip(d).map(|(w, d)| w.signum() * d).sum::<f64>()];
    for &(_, jump) in &kinks {
        penalty.push(penalty[penalty.len() - 1] + jump);
    }
    let at = first_not(kinks.len(), |k| loss(kinks[k].0).0 + penalty[k + 1] < 0.0);
    let mut high = f64::INFINITY;
    if at < kinks.len() {
        high = kinks[at].0;
        if loss(high).0 + penalty[at] < 0.0 {
            return high;
        }
    }
    // Smooth between two kinks: Newton's method inside the bracket.
    let mut low = if at > 0 { kinks[at - 1].0 } else { 0.0 };
    let mut t = if low < 1.0 && 1.0 < high {
        1.0
    } else if high.is_finite() {
        0.5 * (low + high)
    } else {
        2.0 * low
    };
    for _ in 0..60 {
        let (first, second) = loss(t);
        let first = first + penalty[at];
        if first.abs() <= 1e-9 * slope.abs() {
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
    t
}

/// The first index below `n` for which `before` is false.
fn first_not(n: usize, before: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut high) = (0, n);
    while low < high {
        let middle = (low + high) / 2;
        if before(middle) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low
}
