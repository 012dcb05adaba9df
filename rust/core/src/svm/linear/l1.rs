//! Coordinate descent for the squared hinge loss with L1 penalty.
//!
//! One-variable Newton steps with a line search and shrinking: Yuan, Chang, Hsieh and Lin,
//! "A comparison of optimization methods and software for large-scale L1-regularized linear
//! classification", JMLR 2010, section 4; Fan, Chang, Hsieh, Wang and Lin, "LIBLINEAR", JMLR
//! 2008. Stops on a small duality gap.

use super::columns::Columns;
use super::design::Design;
use super::goal::Goals;
use super::l1_newton;
use super::newton::overflow;
use super::start::Begin;
use super::{Settings, Solution};
use crate::error::Result;
use crate::parallel::Control;
use crate::rng::Stream;
use ironlearn_kernels::tier;

/// Part of the predicted decrease that a step must reach.
const SUFFICIENT: f64 = 0.01;
/// Most halvings of one step.
const HALVINGS: usize = 20;
/// Passes before the first Newton steps.
const PATIENCE: usize = 10;
/// Most Newton steps in a row.
const STEPS: usize = 4;

pub(super) struct State<'a, M> {
    pub columns: &'a M,
    pub y: Vec<f64>,
    pub c: Vec<f64>,
    /// `1 - y w'x` of each row.
    pub slack: Vec<f64>,
    pub w: Vec<f64>,
}

impl<M: Columns> State<'_, M> {
    /// First and second derivative of the loss along feature `j`.
    fn derivatives(&self, j: usize) -> (f64, f64) {
        let (mut first, mut second) = (0.0, 0.0);
        self.columns.each(j, |i, v| {
            let s = self.slack[i];
            if s > 0.0 {
                let cv = self.c[i] * v;
                first -= cv * self.y[i] * s;
                second += cv * v;
            }
        });
        (2.0 * first, 2.0 * second)
    }

    fn move_by(&mut self, j: usize, step: f64) {
        let (slack, y) = (&mut self.slack, &self.y);
        self.columns.each(j, |i, v| slack[i] -= step * y[i] * v);
        self.w[j] += step;
    }

    /// By how much the loss grows when `w[j]` moves by `step`.
    fn growth(&self, j: usize, step: f64) -> f64 {
        let mut sum = 0.0;
        self.columns.each(j, |i, v| {
            let old = self.slack[i].max(0.0);
            let new = (self.slack[i] - step * self.y[i] * v).max(0.0);
            sum += self.c[i] * (new * new - old * old);
        });
        sum
    }

    /// Primal objective and that of a dual point in the feasible set.
    ///
    /// The dual point of the current weights exceeds the bound of some features. It is lowered
    /// on the rows of these features, which are few where the features are sparse, and only
    /// then scaled as a whole: scaling alone leaves a gap of the objective times the largest
    /// excess, far more than the distance from the optimum.
    fn objectives(&self, control: &Control) -> Result<(f64, f64)> {
        let penalty: f64 = self.w.iter().map(|w| w.abs()).sum();
        let mut loss = 0.0;
        let mut signed = vec![0.0; self.slack.len()];
        for (i, &s) in self.slack.iter().enumerate() {
            if s > 0.0 {
                loss += self.c[i] * s * s;
                signed[i] = 2.0 * self.c[i] * s * self.y[i];
            }
        }
        for j in 0..self.w.len() {
            control.check()?;
            let (mut up, mut down) = (0.0, 0.0);
            self.columns.each(j, |i, v| {
                let part = v * signed[i];
                up += part.max(0.0);
                down -= part.min(0.0);
            });
            let sign = if up > down { 1.0 } else { -1.0 };
            let (more, less) = if up > down { (up, down) } else { (down, up) };
            if more - less > 1.0 {
                let factor = (1.0 + less) / more;
                self.columns.each(j, |i, v| {
                    if sign * v * signed[i] > 0.0 {
                        signed[i] *= factor;
                    }
                });
            }
        }
        let mut largest = 0.0f64;
        for j in 0..self.w.len() {
            control.check()?;
            largest = largest.max(self.columns.dot(j, &signed).abs());
        }
        let (mut linear, mut square) = (0.0, 0.0);
        for (a, c) in signed.iter().zip(&self.c).filter(|(a, _)| **a != 0.0) {
            linear += a.abs();
            square += a * a / (4.0 * c);
        }
        let scale = if largest > 1.0 { 1.0 / largest } else { 1.0 };
        Ok((penalty + loss, scale * linear - scale * scale * square))
    }
}

/// Solves one class; `task` selects its random stream.
pub(super) fn solve<D: Design, M: Columns>(
    control: &Control,
    x: &D,
    columns: &M,
    goals: &Goals,
    settings: &Settings,
    task: u64,
    from: Begin,
) -> Result<Solution> {
    let (rows, width) = (x.rows(), x.width());
    let side = |i: usize| {
        if goals.at(i).low.is_finite() {
            1.0
        } else {
            -1.0
        }
    };
    let mut state = State {
        columns,
        y: (0..rows).map(side).collect(),
        c: (0..rows).map(|i| goals.cost(i)).collect(),
        slack: vec![1.0; rows],
        w: vec![0.0; width],
    };
    if !from.weights.is_empty() {
        state.w.copy_from_slice(from.weights);
        for i in 0..rows {
            state.slack[i] = 1.0 - state.y[i] * x.dot(i, &state.w);
        }
    }
    // Bound of the second derivative along each feature, wherever the point.
    let mut curvature = vec![0.0; width];
    for (j, out) in curvature.iter_mut().enumerate() {
        control.check()?;
        columns.each(j, |i, v| *out += state.c[i] * v * v);
    }
    if curvature.iter().any(|c| !c.is_finite()) {
        return Err(overflow());
    }
    let mut order: Vec<u32> = (0..width as u32).collect();
    let mut stream = Stream::new(settings.seed, task);
    let count = |sign: f64| {
        let n = (0..rows).filter(|&i| state.c[i] > 0.0 && state.y[i] == sign);
        n.count().max(1)
    };
    let (positive, negative) = (count(1.0), count(-1.0));
    let total = (positive + negative) as f64;
    let mut tolerance = settings.tol * positive.min(negative) as f64 / total;
    let mut active = width;
    let mut largest_before = f64::INFINITY;
    let mut first_norm = None;
    let mut check_at = 10;
    let mut pass = 0;
    let mut converged = false;
    // Work of descent that no Newton step has used up: neither gets more than the other.
    let mut idle = 0.0;
    let mut objective = state.c.iter().sum();
    while pass < settings.max_iter && !converged {
        let (mut largest, mut norm) = (0.0f64, 0.0);
        stream.shuffle(&mut order[..active]);
        let mut at = 0;
        while at < active {
            control.check()?;
            let j = order[at] as usize;
            idle += 2.0 * columns.count(j) as f64;
            let (g, mut h) = state.derivatives(j);
            h = h.max(1e-12);
            let (up, down) = (g + 1.0, g - 1.0);
            let w = state.w[j];
            let violation = if w == 0.0 {
                if up < 0.0 {
                    -up
                } else if down > 0.0 {
                    down
                } else {
                    let margin = largest_before / total;
                    if up > margin && down < -margin {
                        active -= 1;
                        order.swap(at, active);
                        continue;
                    }
                    0.0
                }
            } else if w > 0.0 {
                up.abs()
            } else {
                down.abs()
            };
            largest = largest.max(violation);
            norm += violation;
            let step = if up < h * w {
                -up / h
            } else if down > h * w {
                -down / h
            } else {
                -w
            };
            if step.abs() >= 1e-12 {
                take(&mut state, j, g, step, curvature[j]);
            }
            at += 1;
        }
        pass += 1;
        let reference = *first_norm.get_or_insert(norm);
        let settled = norm <= tolerance * reference;
        let whole = active == width;
        if pass >= check_at || pass == settings.max_iter || settled && whole {
            let (primal, dual) = state.objectives(control)?;
            if !primal.is_finite() {
                return Err(overflow());
            }
            objective = primal;
            check_at = pass + (pass / 5).max(5);
            let gap = primal - dual;
            // The gap falls with the violations, the distance from the optimum with their squares:
            // there is no need for a margin.
            converged = gap <= settings.tol * primal;
            if settled && whole {
                tolerance *= 0.1;
            }
        }
        if pass >= PATIENCE && pass < settings.max_iter && !converged {
            for _ in 0..STEPS {
                match l1_newton::cost(&state).filter(|cost| *cost <= idle) {
                    Some(cost) => idle -= cost,
                    None => break,
                }
                if !l1_newton::step(control, &mut state, tier::active())? {
                    break;
                }
            }
        }
        if settled && !whole {
            active = width;
            largest_before = f64::INFINITY;
            continue;
        }
        largest_before = largest;
    }
    Ok(Solution {
        w: state.w,
        duals: Vec::new(),
        iterations: pass,
        converged,
        objective,
    })
}

/// Moves along feature `j` by the largest of `step`, `step / 2`, ... that lowers the objective
/// enough.
fn take<M: Columns>(state: &mut State<M>, j: usize, g: f64, step: f64, curvature: f64) {
    let w = state.w[j];
    let mut step = step;
    for _ in 0..HALVINGS {
        let penalty = (w + step).abs() - w.abs();
        let wanted = SUFFICIENT * (g * step + penalty);
        // The bound costs nothing; the loss itself costs a pass over the column.
        if penalty + g * step + curvature * step * step <= wanted
            || penalty + state.growth(j, step) <= wanted
        {
            state.move_by(j, step);
            if w == -step {
                state.w[j] = 0.0;
            }
            return;
        }
        step *= 0.5;
    }
}
