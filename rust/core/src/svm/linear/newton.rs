//! Primal Newton for the squared losses with L2 penalty.
//!
//! The objective `w'w/2 + sum of c * (distance of w'x from its goal)^2` is piecewise quadratic, so Newton's
//! method with an exact line search ends after finitely many steps (Mangasarian, "A finite
//! Newton method for classification", 2002; Keerthi and DeCoste, "A modified finite Newton
//! method for fast solution of large scale linear SVMs", JMLR 2005). One-versus-rest classes
//! move in step, so that each pass over the data serves all of them. Directions come from an
//! exact Hessian where the width is moderate ([`super::hessian`]), else from conjugate
//! gradients ([`super::newton_cg`]).

use super::design::Design;
use super::goal::Goals;
use super::hessian::Exact;
use super::newton_cg;
use super::start::Start;
use super::{Settings, Solution};
use crate::error::{Error, Result};
use crate::parallel::{Control, fill_chunks, map_chunks};
use ironlearn_kernels::linear::Element;

/// Memory that the Hessians of classes in flight may take, and the products of all rows.
const GROUP_BYTES: usize = 256 << 20;
/// Rows a chunk in loops over vectors of one element a row.
const LINE: usize = 16_384;
/// Widest problem that gets an exact Hessian.
const EXACT_WIDTH: usize = 2_048;

/// True where a Hessian costs less than the passes over the data that it saves.
pub(super) fn exact_pays<D: Design>(x: &D) -> bool {
    let (width, rows) = (x.width(), x.rows());
    // A pass costs two operations an element; conjugate gradients need tens to hundreds.
    width <= 64
        || (width <= EXACT_WIDTH && x.gram_cost() <= 1e3 * x.stored() as f64 && rows * 4 >= width)
}

struct Class<'a> {
    goals: &'a Goals<'a>,
    w: Vec<f64>,
    gradient: Vec<f64>,
    direction: Vec<f64>,
    objective: f64,
    /// Product of each row with `w`.
    z: Vec<f64>,
    exact: Exact,
    first_norm: f64,
    steps: usize,
    done: bool,
    converged: bool,
}

/// Solves every class of `goals`.
pub(super) fn solve<D: Design>(
    control: &Control,
    x: &D,
    goals: &[Goals],
    settings: &Settings,
    start: Start,
) -> Result<Vec<Solution>> {
    solve_by(control, x, goals, settings, start, exact_pays(x))
}

/// [`solve`] by conjugate gradients whatever the width: tests compare the two.
#[cfg(test)]
pub(super) fn solve_inexact<D: Design>(
    control: &Control,
    x: &D,
    goals: &[Goals],
    settings: &Settings,
) -> Result<Vec<Solution>> {
    solve_by(control, x, goals, settings, Start::default(), false)
}

fn solve_by<D: Design>(
    control: &Control,
    x: &D,
    goals: &[Goals],
    settings: &Settings,
    start: Start,
    exact: bool,
) -> Result<Vec<Solution>> {
    let width = x.width();
    let hessian = if exact { width * width * 8 } else { 0 };
    let each = hessian + 16 * x.rows() + 24 * width;
    let group = (GROUP_BYTES / each.max(1)).clamp(1, goals.len().max(1));
    let shared = if exact {
        Exact::shared(control, x, goals)?
    } else {
        None
    };
    let mut solutions = Vec::with_capacity(goals.len());
    for (at, part) in goals.chunks(group).enumerate() {
        let mut classes: Vec<Class> = part
            .iter()
            .map(|goals| Class {
                goals,
                w: vec![0.0; width],
                gradient: Vec::new(),
                direction: Vec::new(),
                objective: 0.0,
                z: vec![0.0; x.rows()],
                exact: Exact::default(),
                first_norm: 0.0,
                steps: 0,
                done: false,
                converged: false,
            })
            .collect();
        if !start.weights.is_empty() {
            for (k, class) in classes.iter_mut().enumerate() {
                let from = start.of(at * group + k, goals.len());
                class.w.copy_from_slice(from.weights);
            }
            let w: Vec<f64> = classes.iter().flat_map(|c| c.w.iter().copied()).collect();
            let count = classes.len();
            let parts = products(control, x, &w, count)?;
            for (k, class) in classes.iter_mut().enumerate() {
                class.z = column(&parts, k, count, x.rows());
            }
        }
        for step in 0..=settings.max_iter {
            gradients(control, x, &mut classes)?;
            for class in classes.iter_mut().filter(|class| !class.done) {
                judge(class, settings, step, exact)?;
            }
            if step == settings.max_iter || classes.iter().all(|class| class.done) {
                break;
            }
            fill_chunks(control, &mut classes, 1, 1, |_, class| {
                let class = &mut class[0];
                if class.done {
                    return Ok(());
                }
                class.direction = if exact {
                    let (z, gradient) = (&class.z, &class.gradient);
                    class
                        .exact
                        .direction(control, x, class.goals, z, gradient, shared.as_ref())?
                } else {
                    newton_cg::direction(
                        control,
                        x,
                        class.goals,
                        &class.z,
                        &class.gradient,
                        class.first_norm,
                    )?
                };
                Ok(())
            })?;
            advance(control, x, &mut classes)?;
        }
        solutions.extend(classes.into_iter().map(|class| Solution {
            w: class.w,
            duals: Vec::new(),
            iterations: class.steps,
            converged: class.converged,
            objective: class.objective,
        }));
    }
    Ok(solutions)
}

/// Chunks of rows for sums of `count` vectors of `width` elements: few, because each chunk
/// has sums of its own.
pub(super) fn sum_chunk<D: Design>(x: &D, count: usize) -> usize {
    let most = ((64 << 20) / (8 * x.width() * count).max(1)).clamp(1, 16);
    let wanted = x.stored().saturating_mul(count) >> 17;
    x.rows().div_ceil(wanted.clamp(1, most)).max(1)
}

/// Chunks of rows where each row has an answer of its own.
pub(super) fn row_chunk<D: Design>(x: &D) -> usize {
    (x.rows().saturating_mul(1 << 16) / x.stored().max(1)).clamp(16, LINE)
}

/// Objective and gradient of each class that is not done, in one pass over the data.
fn gradients<D: Design>(control: &Control, x: &D, classes: &mut [Class]) -> Result<()> {
    let active: Vec<usize> = (0..classes.len()).filter(|&k| !classes[k].done).collect();
    if active.is_empty() {
        return Ok(());
    }
    let width = x.width();
    let parts = map_chunks(control, x.rows(), sum_chunk(x, active.len()), |rows| {
        let mut sums = vec![0.0; width * active.len()];
        let mut losses = vec![0.0; active.len()];
        for i in rows {
            if i % 1024 == 0 {
                control.check()?;
            }
            for (slot, &k) in active.iter().enumerate() {
                let class = &classes[k];
                let goal = class.goals.at(i);
                let miss = goal.miss(class.z[i]);
                if miss != 0.0 && goal.cost > 0.0 {
                    let force = goal.cost * miss;
                    losses[slot] += force * miss;
                    x.axpy(i, -2.0 * force, &mut sums[slot * width..][..width]);
                }
            }
        }
        Ok((sums, losses))
    })?;
    for (slot, &k) in active.iter().enumerate() {
        let class = &mut classes[k];
        class.gradient = class.w.clone();
        class.objective = 0.5 * f64::dot(x.tier(), &class.w, &class.w);
        for (sums, losses) in &parts {
            class.objective += losses[slot];
            for (g, v) in class.gradient.iter_mut().zip(&sums[slot * width..]) {
                *g += v;
            }
        }
    }
    Ok(())
}

/// Ends a class that is close enough to its optimum.
fn judge(class: &mut Class, settings: &Settings, step: usize, exact: bool) -> Result<()> {
    class.steps = step;
    let square: f64 = class.gradient.iter().map(|g| g * g).sum();
    if !square.is_finite() || !class.objective.is_finite() {
        return Err(overflow());
    }
    if step == 0 {
        class.first_norm = square.sqrt();
    }
    // The objective is strongly convex with constant one, so half the squared gradient bounds
    // its distance from the optimum. Exact steps end in a jump to the optimum, hence the
    // sharper bound there.
    let scale = if exact { 0.01 * settings.tol } else { 0.05 };
    if 0.5 * square <= settings.tol * scale * class.objective {
        class.converged = true;
        class.done = true;
    }
    Ok(())
}

pub(super) fn overflow() -> Error {
    Error::NonFinite {
        name: "X",
        what: "values so large that their products overflow; standardise it",
    }
}

/// Products of the rows with `count` vectors, by chunks of rows.
fn products<D: Design>(
    control: &Control,
    x: &D,
    vectors: &[f64],
    count: usize,
) -> Result<Vec<Vec<f64>>> {
    map_chunks(control, x.rows(), row_chunk(x), |rows| {
        let mut out = vec![0.0; rows.len() * count];
        for (i, out) in rows.zip(out.chunks_exact_mut(count)) {
            x.dots(i, vectors, out);
        }
        Ok(out)
    })
}

/// The products with vector `k` of those that [`products`] returned.
fn column(parts: &[Vec<f64>], k: usize, count: usize, rows: usize) -> Vec<f64> {
    let mut column = Vec::with_capacity(rows);
    for part in parts {
        column.extend(part.iter().skip(k).step_by(count));
    }
    column
}

/// Moves each class along its direction to the lowest point.
fn advance<D: Design>(control: &Control, x: &D, classes: &mut [Class]) -> Result<()> {
    let active: Vec<usize> = (0..classes.len()).filter(|&k| !classes[k].done).collect();
    let width = x.width();
    let mut directions = Vec::with_capacity(active.len() * width);
    for &k in &active {
        directions.extend_from_slice(&classes[k].direction);
    }
    let parts = products(control, x, &directions, active.len())?;
    fill_chunks(control, classes, 1, 1, |at, class| {
        let Ok(slot) = active.binary_search(&at.start) else {
            return Ok(());
        };
        let class = &mut class[0];
        let u = column(&parts, slot, active.len(), x.rows());
        let slope = f64::dot(x.tier(), &class.gradient, &class.direction);
        // What a step can still gain is below rounding error: as good as optimal.
        if -slope <= 1e-15 * class.objective {
            class.converged = true;
            class.done = true;
            return Ok(());
        }
        let t = line_search(control, x, class, &u)?;
        for (w, d) in class.w.iter_mut().zip(&class.direction) {
            *w += t * d;
        }
        for (z, u) in class.z.iter_mut().zip(&u) {
            *z += t * u;
        }
        Ok(())
    })
}

/// The exact minimiser along the direction: the root of an increasing piecewise linear
/// function, by Newton's method inside a bracket.
fn line_search<D: Design>(control: &Control, x: &D, class: &Class, u: &[f64]) -> Result<f64> {
    let (w, d) = (&class.w, &class.direction);
    let wd = f64::dot(x.tier(), w, d);
    let dd = f64::dot(x.tier(), d, d);
    let derivatives = |t: f64| -> Result<(f64, f64)> {
        let parts = map_chunks(control, x.rows(), LINE, |rows| {
            let (mut first, mut second) = (0.0, 0.0);
            for i in rows {
                let goal = class.goals.at(i);
                let miss = goal.miss(class.z[i] + t * u[i]);
                let inside = if miss != 0.0 { goal.cost * u[i] } else { 0.0 };
                first -= miss * inside;
                second += inside * u[i];
            }
            Ok((first, second))
        })?;
        let (mut first, mut second) = (wd + t * dd, dd);
        for (a, b) in parts {
            first += 2.0 * a;
            second += 2.0 * b;
        }
        Ok((first, second))
    };
    let start = f64::dot(x.tier(), &class.gradient, d).abs();
    let (mut low, mut high) = (0.0, f64::INFINITY);
    let mut t = 1.0;
    for _ in 0..40 {
        let (first, second) = derivatives(t)?;
        if !first.is_finite() {
            return Err(overflow());
        }
        if first.abs() <= 1e-6 * start {
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
    Ok(t)
}
