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
/// Conjugate gradient steps that a direction is expected to need, and the most.
const EXPECTED: usize = 25;
const CG_MOST: usize = 50;
/// Residual of such a direction relative to the gradient.
const FORCING: f64 = 0.1;
/// Added to the Hessian relative to its mean diagonal: it may be singular.
const RIDGE: f64 = 1e-9;

/// How a direction is found.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    /// Factor of a Hessian that is a product of dense matrices.
    Dense,
    /// Factor of a Hessian that is a sum over the elements of sparse rows.
    Sparse,
    /// Conjugate gradients.
    Inexact,
}

/// The cheapest way, and its cost in multiply-adds of a descent pass.
fn plan<M: Columns>(state: &State<M>) -> Option<(Way, f64)> {
    let (mut used, mut entries) = (0, 0);
    for (j, _) in state.w.iter().enumerate().filter(|(_, w)| **w != 0.0) {
        used += 1;
        entries += state.columns.count(j);
    }
    let inside = state.slack.iter().filter(|s| **s > 0.0).count();
    if used == 0 || inside == 0 {
        return None;
    }
    let (n, inside) = (used as f64, inside as f64);
    let factor = n * n * n / 48.0;
    // Rows are of different lengths, hence the factor, and additions are scattered.
    let each = entries as f64 / state.slack.len() as f64;
    let few = used <= MOST;
    let ways = [
        // The product of matrices does several elements an instruction, descent less than one.
        (
            Way::Dense,
            inside * n * n / 16.0 + factor,
            few && inside * n <= ELEMENTS as f64,
        ),
        (
            Way::Sparse,
            4.0 * inside * each * each + entries as f64 + factor,
            few && entries <= ELEMENTS,
        ),
        // Two multiply-adds an element and step, which is less than descent does.
        (
            Way::Inexact,
            (entries * EXPECTED) as f64,
            entries <= ELEMENTS,
        ),
    ];
    let fitting = ways.into_iter().filter(|(_, _, fits)| *fits);
    let best = fitting.min_by(|a, b| a.1.total_cmp(&b.1))?;
    Some((best.0, best.1))
}

/// Multiply-adds of a step in units of those of a descent pass, or `None` if there is nothing
/// to move.
pub(super) fn cost<M: Columns>(state: &State<M>) -> Option<f64> {
    plan(state).map(|(_, cost)| cost)
}

/// The columns in use without the rows outside the margin.
struct Inside {
    used: Vec<usize>,
    /// Second derivative of the loss of each row inside.
    weight: Vec<f64>,
    /// Rows inside and values of each column, and where the columns start.
    rows: Vec<u32>,
    values: Vec<f64>,
    starts: Vec<usize>,
    gradient: Vec<f64>,
    /// Of the Hessian, with the ridge.
    diagonal: Vec<f64>,
    ridge: f64,
}

impl Inside {
    fn new<M: Columns>(control: &Control, state: &State<M>) -> Result<Self> {
        let used: Vec<usize> = (0..state.w.len()).filter(|&j| state.w[j] != 0.0).collect();
        let mut place = vec![u32::MAX; state.slack.len()];
        let mut weight = Vec::new();
        for (i, (&s, &c)) in state.slack.iter().zip(&state.c).enumerate() {
            if s > 0.0 && c > 0.0 {
                place[i] = weight.len() as u32;
                weight.push(2.0 * c);
            }
        }
        let (mut rows, mut values, mut starts) = (Vec::new(), Vec::new(), vec![0]);
        let (mut gradient, mut diagonal) = (Vec::new(), Vec::new());
        for &j in &used {
            control.check()?;
            let (mut sum, mut square) = (0.0, 0.0);
            state.columns.each(j, |i, v| {
                if place[i] != u32::MAX {
                    rows.push(place[i]);
                    values.push(v);
                    let cv = 2.0 * state.c[i] * v;
                    sum -= cv * state.y[i] * state.slack[i];
                    square += cv * v;
                }
            });
            starts.push(rows.len());
            gradient.push(sum + state.w[j].signum());
            diagonal.push(square);
        }
        let mean = diagonal.iter().sum::<f64>() / used.len().max(1) as f64;
        let ridge = RIDGE * mean + f64::MIN_POSITIVE;
        for d in &mut diagonal {
            *d += ridge;
        }
        Ok(Inside {
            used,
            weight,
            rows,
            values,
            starts,
            gradient,
            diagonal,
            ridge,
        })
    }

    /// Rows and values of each column.
    fn columns(&self) -> impl Iterator<Item = (&[u32], &[f64])> {
        self.starts.windows(2).map(|ends| {
            let range = ends[0]..ends[1];
            (&self.rows[range.clone()], &self.values[range])
        })
    }

    /// The Newton direction by a factor of the Hessian.
    fn exact(&self, control: &Control, tier: Tier, dense: bool) -> Result<Vec<f64>> {
        let n = self.used.len();
        let mut matrix = vec![0.0; n * n];
        if dense {
            let mut rows = vec![0.0; self.weight.len() * n];
            for (s, (places, values)) in self.columns().enumerate() {
                for (&i, &v) in places.iter().zip(values) {
                    rows[i as usize * n + s] = v;
                }
            }
            let row = |i: usize| &rows[i * n..(i + 1) * n];
            let weights: Vec<(u32, f64)> = (0..).zip(self.weight.iter().copied()).collect();
            gram::add_dense(control, tier, row, None, n, &weights, &mut matrix)?;
        } else {
            self.add_outer_products(control, &mut matrix)?;
        }
        for value in matrix.iter_mut().step_by(n + 1) {
            *value += self.ridge;
        }
        let factor = hessian::factored(control, tier, &matrix, n)?;
        let mut direction: Vec<f64> = self.gradient.iter().map(|g| -g).collect();
        cholesky::solve(tier, &factor, n, &mut direction);
        Ok(direction)
    }

    /// Adds the Hessian to the lower triangle of `matrix`, row by row.
    fn add_outer_products(&self, control: &Control, matrix: &mut [f64]) -> Result<()> {
        let n = self.used.len();
        let mut starts = vec![0usize; self.weight.len() + 1];
        for &i in &self.rows {
            starts[i as usize + 1] += 1;
        }
        for i in 0..self.weight.len() {
            starts[i + 1] += starts[i];
        }
        let mut next = starts.clone();
        let mut elements = vec![(0u32, 0.0); self.rows.len()];
        for (s, (places, values)) in self.columns().enumerate() {
            for (&i, &v) in places.iter().zip(values) {
                elements[next[i as usize]] = (s as u32, v);
                next[i as usize] += 1;
            }
        }
        for (i, (ends, weight)) in starts.windows(2).zip(&self.weight).enumerate() {
            if i % 256 == 0 {
                control.check()?;
            }
            let row = &elements[ends[0]..ends[1]];
            for (at, &(s, v)) in row.iter().enumerate() {
                let target = &mut matrix[s as usize * n..(s as usize + 1) * n];
                for &(t, u) in &row[..=at] {
                    target[t as usize] += weight * v * u;
                }
            }
        }
        Ok(())
    }

    /// An approximate Newton direction by conjugate gradients with the Hessian's diagonal.
    fn inexact(&self, control: &Control, tier: Tier) -> Result<Vec<f64>> {
        let n = self.used.len();
        let mut residual: Vec<f64> = self.gradient.iter().map(|g| -g).collect();
        let mut direction = vec![0.0; n];
        let pairs = residual.iter().zip(&self.diagonal);
        let mut p: Vec<f64> = pairs.map(|(r, d)| r / d).collect();
        let mut rho = f64::dot(tier, &residual, &p);
        let target = rho * FORCING * FORCING;
        let mut products = vec![0.0; self.weight.len()];
        let mut hp = vec![0.0; n];
        for _ in 0..CG_MOST {
            if rho <= target || rho == 0.0 {
                break;
            }
            control.check()?;
            products.fill(0.0);
            for ((places, values), &p) in self.columns().zip(&p) {
                for (&i, &v) in places.iter().zip(values) {
                    products[i as usize] += p * v;
                }
            }
            for (v, weight) in products.iter_mut().zip(&self.weight) {
                *v *= weight;
            }
            for (((places, values), &p), out) in self.columns().zip(&p).zip(&mut hp) {
                let pairs = places.iter().zip(values);
                let sum: f64 = pairs.map(|(&i, &v)| products[i as usize] * v).sum();
                *out = sum + self.ridge * p;
            }
            let alpha = rho / f64::dot(tier, &p, &hp);
            if !alpha.is_finite() {
                return Err(overflow());
            }
            f64::axpy(tier, alpha, &p, &mut direction);
            f64::axpy(tier, -alpha, &hp, &mut residual);
            let pairs = residual.iter().zip(&self.diagonal);
            let next: f64 = pairs.map(|(r, d)| r * r / d).sum();
            let beta = next / rho;
            for ((p, r), d) in p.iter_mut().zip(&residual).zip(&self.diagonal) {
                *p = r / d + beta * *p;
            }
            rho = next;
        }
        Ok(direction)
    }
}

/// One step; false if it gains nothing.
pub(super) fn step<M: Columns>(
    control: &Control,
    state: &mut State<M>,
    tier: Tier,
) -> Result<bool> {
    let Some((way, _)) = plan(state) else {
        return Ok(false);
    };
    let inside = Inside::new(control, state)?;
    let direction = match way {
        Way::Dense => inside.exact(control, tier, true)?,
        Way::Sparse => inside.exact(control, tier, false)?,
        Way::Inexact => inside.inexact(control, tier)?,
    };
    let Inside { used, gradient, .. } = inside;
    let slope = f64::dot(tier, &gradient, &direction);
    if !slope.is_finite() {
        return Err(overflow());
    }
    let objective: f64 = state.w.iter().map(|w| w.abs()).sum::<f64>()
        + (state.slack.iter().zip(&state.c))
            .map(|(s, c)| c * s.max(0.0).powi(2))
            .sum::<f64>();
    if -slope <= 1e-13 * objective {
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
