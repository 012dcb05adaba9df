//! Sequential minimal optimisation in two levels.
//!
//! The outer level chooses a working set of rows that violate the optimality conditions most,
//! the inner one solves the problem of these rows on a local copy of their kernel values with
//! second-order pairs (Fan, Chen and Lin, 2005); kernel values of all rows are only needed for
//! rows whose weight changed, and are computed in blocks (Wen et al., "ThunderSVM", 2018).
//! Rows at their bounds that violate nothing are never looked at: what shrinking is for.

use super::cache::Rows;
use super::rows::Source;
use crate::error::{Error, Result};
use crate::parallel::{Control, fill_chunks};
use ironlearn_kernels::kernel_rows::{
    CURVATURE, LANES, add_difference, add_row, extremes, partner,
};
use ironlearn_kernels::tier;
use std::ops::Range;

/// Most variables of a working set.
const WORKING: usize = 512;
/// Problems of up to so many variables are solved in one piece.
const WHOLE: usize = 1024;
/// Steps between looks at the cancel flag.
const PATIENCE: usize = 1 << 14;

/// When to stop.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Largest violation of the optimality conditions.
    pub tol: f64,
    /// Most steps for each problem.
    pub max_iter: Option<usize>,
    /// Bytes of kernel values that are kept.
    pub cache_bytes: usize,
}

/// Minimise `b'Kb / 2 + sum of offset * b` where `b = sign * alpha` adds up to zero and
/// `0 <= alpha <= cost`. Variable `v` belongs to row `v % rows`: a regression has two for each.
pub(super) struct Problem {
    /// Classes whose rows take part, one after another.
    pub classes: Vec<usize>,
    pub sign: Vec<f64>,
    pub cost: Vec<f64>,
    /// Gradient at zero with respect to `b`.
    pub offset: Vec<f64>,
}

/// What solves a [`Problem`].
pub(super) struct Solution {
    /// `b` of each row.
    pub weights: Vec<f64>,
    /// Minus the constant of the decision function.
    pub rho: f64,
    pub objective: f64,
    pub iterations: usize,
    pub converged: bool,
}

struct Layout {
    rows: Vec<u32>,
    /// Class and place of each class's rows.
    segments: Vec<(usize, Range<usize>)>,
}

impl Layout {
    fn new(store: &Rows, classes: &[usize]) -> Self {
        let mut rows = Vec::new();
        let mut segments = Vec::new();
        for &class in classes {
            let start = rows.len();
            rows.extend_from_slice(&store.classes[class]);
            segments.push((class, start..rows.len()));
        }
        Layout { rows, segments }
    }
}

/// Membership of the set whose weight may grow: `b` upwards (`up`) or downwards.
fn may_move(alpha: f64, sign: f64, cost: f64, up: bool) -> bool {
    if (sign > 0.0) == up {
        alpha < cost
    } else {
        alpha > 0.0
    }
}

fn mask(member: bool) -> f64 {
    if member { 0.0 } else { f64::NEG_INFINITY }
}

/// The local problem of a working set.
struct Local {
    /// Variables in use; all slices are padded to a multiple of the lanes.
    size: usize,
    stride: usize,
    kernel: Vec<f32>,
    f: Vec<f64>,
    alpha: Vec<f64>,
    sign: Vec<f64>,
    cost: Vec<f64>,
    diagonal: Vec<f64>,
    up: Vec<f64>,
    low: Vec<f64>,
}

impl Local {
    fn new(size: usize) -> Self {
        let stride = size.div_ceil(LANES) * LANES;
        let (zero, out) = (vec![0.0; stride], vec![f64::NEG_INFINITY; stride]);
        Local {
            size,
            stride,
            kernel: vec![0.0; stride * size],
            f: zero.clone(),
            alpha: zero.clone(),
            sign: zero.clone(),
            cost: zero.clone(),
            diagonal: zero,
            up: out.clone(),
            low: out,
        }
    }

    fn set_masks(&mut self, k: usize) {
        let (alpha, sign, cost) = (self.alpha[k], self.sign[k], self.cost[k]);
        self.up[k] = mask(may_move(alpha, sign, cost, true));
        self.low[k] = mask(may_move(alpha, sign, cost, false));
    }

    /// Moves `b` of variable `k` by `step` (at most `room` far), exactly onto a bound at the end.
    fn shift(&mut self, k: usize, step: f64, room: f64) {
        let grows = (self.sign[k] > 0.0) == (step > 0.0);
        self.alpha[k] = if step.abs() >= room {
            if grows { self.cost[k] } else { 0.0 }
        } else if grows {
            (self.alpha[k] + step.abs()).min(self.cost[k])
        } else {
            (self.alpha[k] - step.abs()).max(0.0)
        };
        self.set_masks(k);
    }

    fn room(&self, k: usize, up: bool) -> f64 {
        if (self.sign[k] > 0.0) == up {
            self.cost[k] - self.alpha[k]
        } else {
            self.alpha[k]
        }
    }

    /// Takes second-order steps until the violation is below `tol`; returns their number.
    fn solve(&mut self, control: &Control, tol: f64, most: usize) -> Result<usize> {
        let tier = tier::active();
        for steps in 0..most {
            if steps % PATIENCE == PATIENCE - 1 {
                control.check()?;
            }
            let (smallest, i, largest) = extremes(tier, &self.f, &self.up, &self.low);
            // NaN is no violation: it stops too.
            let violated = largest - smallest >= tol;
            if !violated || i >= self.size {
                return Ok(steps);
            }
            let row = i * self.stride..(i + 1) * self.stride;
            let own = self.diagonal[i];
            let (_, j) = partner(
                tier,
                &self.f,
                &self.low,
                &self.kernel[row.clone()],
                &self.diagonal,
                own,
                smallest,
            );
            if j >= self.size {
                return Ok(steps);
            }
            let curvature =
                own + self.diagonal[j] - 2.0 * f64::from(self.kernel[i * self.stride + j]);
            let wanted = (self.f[j] - smallest) / curvature.max(CURVATURE);
            let (room_i, room_j) = (self.room(i, true), self.room(j, false));
            let step = wanted.min(room_i).min(room_j);
            let moves = step > 0.0;
            if !moves {
                return Ok(steps);
            }
            self.shift(i, step, room_i);
            self.shift(j, -step, room_j);
            let other = j * self.stride..(j + 1) * self.stride;
            add_difference(
                tier,
                &mut self.f,
                step,
                &self.kernel[row],
                &self.kernel[other],
            );
        }
        Ok(most)
    }
}

struct State<'a> {
    store: &'a Rows<'a>,
    layout: Layout,
    problem: &'a Problem,
    alpha: Vec<f64>,
    /// `K b` for each row.
    products: Vec<f64>,
}

impl State<'_> {
    fn gradient(&self, v: usize) -> f64 {
        self.products[v % self.products.len()] + self.problem.offset[v]
    }

    fn member(&self, v: usize, up: bool) -> bool {
        may_move(
            self.alpha[v],
            self.problem.sign[v],
            self.problem.cost[v],
            up,
        )
    }

    fn free(&self, v: usize) -> bool {
        self.alpha[v] > 0.0 && self.alpha[v] < self.problem.cost[v]
    }

    /// Smallest gradient of those that may grow, largest of those that may fall.
    fn violation(&self) -> (f64, f64) {
        let (mut smallest, mut largest) = (f64::INFINITY, f64::NEG_INFINITY);
        for v in 0..self.alpha.len() {
            let f = self.gradient(v);
            if self.member(v, true) && f < smallest {
                smallest = f;
            }
            if self.member(v, false) && f > largest {
                largest = f;
            }
        }
        (smallest, largest)
    }

    /// Chooses the next working set: half of the last one, free variables first, and those
    /// that violate most from both sides.
    fn choose(&self, last: &[u32], most: usize, smallest: f64, largest: f64) -> Vec<u32> {
        let mut up: Vec<(f64, u32)> = Vec::new();
        let mut low: Vec<(f64, u32)> = Vec::new();
        for v in 0..self.alpha.len() {
            let f = self.gradient(v);
            if self.member(v, true) && f < largest {
                up.push((f, v as u32));
            }
            if self.member(v, false) && f > smallest {
                low.push((-f, v as u32));
            }
        }
        let order = |a: &(f64, u32), b: &(f64, u32)| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1));
        for side in [&mut up, &mut low] {
            if side.len() > 2 * most {
                side.select_nth_unstable_by(2 * most, order);
                side.truncate(2 * most);
            }
            side.sort_unstable_by(order);
        }
        let mut chosen = Vec::with_capacity(most);
        let mut taken = vec![false; self.alpha.len()];
        let mut take = |v: u32, chosen: &mut Vec<u32>| {
            if !std::mem::replace(&mut taken[v as usize], true) {
                chosen.push(v);
            }
        };
        // The most violating pair comes first: each round must make progress.
        for side in [&up, &low] {
            if let Some(&(_, v)) = side.first() {
                take(v, &mut chosen);
            }
        }
        for wanted in [true, false] {
            for &v in last.iter().rev() {
                if chosen.len() < most / 2 && self.free(v as usize) == wanted {
                    take(v, &mut chosen);
                }
            }
        }
        let (mut up, mut low) = (up.into_iter(), low.into_iter());
        while chosen.len() < most {
            let pair = (up.next(), low.next());
            if let Some((_, v)) = pair.0 {
                take(v, &mut chosen);
            }
            if let Some((_, v)) = pair.1
                && chosen.len() < most
            {
                take(v, &mut chosen);
            }
            if pair.0.is_none() && pair.1.is_none() {
                break;
            }
        }
        chosen
    }

    fn local(&self, control: &Control, chosen: &[u32], whole: bool) -> Result<Local> {
        let mut local = Local::new(chosen.len());
        let n = self.products.len();
        let places: Vec<usize> = chosen.iter().map(|&v| v as usize % n).collect();
        for (k, &v) in chosen.iter().enumerate() {
            let v = v as usize;
            local.f[k] = self.gradient(v);
            local.alpha[k] = self.alpha[v];
            local.sign[k] = self.problem.sign[v];
            local.cost[k] = self.problem.cost[v];
            local.diagonal[k] = self.store.diagonal[self.layout.rows[v % n] as usize];
            local.set_masks(k);
        }
        if whole {
            // Every row is needed against every other one: worth keeping for other problems.
            let (stride, rows) = (local.stride, &self.layout.rows);
            for (class, range) in &self.layout.segments {
                for (group, rows) in rows.chunks(256).enumerate() {
                    let segments = self.store.segments(control, rows, *class)?;
                    for (r, segment) in segments.iter().enumerate() {
                        let row = group * 256 + r;
                        for start in (0..chosen.len()).step_by(n) {
                            let at = (start + row) * stride;
                            for columns in (0..chosen.len()).step_by(n) {
                                let at = at + columns + range.start;
                                local.kernel[at..at + range.len()].copy_from_slice(segment);
                            }
                        }
                    }
                }
            }
            return Ok(local);
        }
        let mut missing = Vec::new();
        'rows: for (k, &place) in places.iter().enumerate() {
            let out = &mut local.kernel[k * local.stride..][..chosen.len()];
            for (class, range) in &self.layout.segments {
                let Some(segment) = self.store.find(self.layout.rows[place], *class) else {
                    missing.push(k);
                    continue 'rows;
                };
                for (o, &column) in out.iter_mut().zip(&places) {
                    if range.contains(&column) {
                        *o = segment[column - range.start];
                    }
                }
            }
        }
        let global = |k: &usize| self.layout.rows[places[*k]];
        let rows: Vec<u32> = missing.iter().map(global).collect();
        let columns: Vec<u32> = (0..chosen.len()).map(|k| global(&k)).collect();
        let mut values = vec![0.0; rows.len() * columns.len()];
        self.store
            .source
            .block(control, &rows, &columns, &mut values)?;
        for (k, values) in missing.iter().zip(values.chunks_exact(columns.len())) {
            local.kernel[k * local.stride..][..columns.len()].copy_from_slice(values);
        }
        Ok(local)
    }

    /// Takes over the local weights and brings the products of all rows up to date.
    fn update(&mut self, control: &Control, chosen: &[u32], local: &Local) -> Result<()> {
        let n = self.products.len();
        let mut changed: Vec<(usize, f64)> = Vec::new();
        for (k, &v) in chosen.iter().enumerate() {
            let v = v as usize;
            let change = self.problem.sign[v] * (local.alpha[k] - self.alpha[v]);
            if change != 0.0 {
                self.alpha[v] = local.alpha[k];
                changed.push((v % n, change));
            }
        }
        // The groups depend on the problem alone, and so does the order of the additions.
        let group = (self.store.capacity() / 16 / n.max(1)).clamp(8, 256);
        let tier = tier::active();
        for changed in changed.chunks(group) {
            let rows: Vec<u32> = (changed.iter())
                .map(|&(place, _)| self.layout.rows[place])
                .collect();
            for (class, range) in &self.layout.segments {
                let segments = self.store.segments(control, &rows, *class)?;
                let out = &mut self.products[range.clone()];
                fill_chunks(control, out, 1, 2048, |part, out| {
                    for (segment, &(_, change)) in segments.iter().zip(changed) {
                        add_row(tier, out, change, &segment[part.clone()]);
                    }
                    Ok(())
                })?;
            }
        }
        Ok(())
    }

    /// The constant: the mean gradient of free variables, or the middle of its bounds.
    fn rho(&self) -> f64 {
        let (mut sum, mut count) = (0.0, 0usize);
        for v in (0..self.alpha.len()).filter(|&v| self.free(v)) {
            sum += self.gradient(v);
            count += 1;
        }
        if count > 0 {
            return sum / count as f64;
        }
        let (smallest, largest) = self.violation();
        match (smallest.is_finite(), largest.is_finite()) {
            (true, true) => (smallest + largest) / 2.0,
            (true, false) => smallest,
            (false, true) => largest,
            (false, false) => 0.0,
        }
    }
}

pub(super) fn solve(
    control: &Control,
    store: &Rows,
    problem: &Problem,
    settings: &Settings,
) -> Result<Solution> {
    let layout = Layout::new(store, &problem.classes);
    let (variables, n) = (problem.sign.len(), layout.rows.len());
    let mut state = State {
        store,
        layout,
        problem,
        alpha: vec![0.0; variables],
        products: vec![0.0; n],
    };
    let limit = settings.max_iter.unwrap_or(usize::MAX);
    let fits = variables * variables * 4 <= settings.cache_bytes;
    let whole = variables <= WHOLE && fits;
    let working = if whole { variables } else { WORKING };
    let (mut iterations, mut converged) = (0, false);
    let mut last: Vec<u32> = Vec::new();
    loop {
        control.check()?;
        let (smallest, largest) = state.violation();
        if !state.products.iter().all(|p| p.is_finite()) {
            let matrix = matches!(store.source, Source::Matrix(..));
            return Err(Error::NonFinite {
                name: if matrix {
                    "X (as float32, in which kernel values are kept)"
                } else {
                    "kernel (of the given X and parameters; X may need to be scaled)"
                },
                what: "infinity or a value too large",
            });
        }
        let violated = largest - smallest >= settings.tol;
        if !violated {
            converged = true;
            break;
        }
        if iterations >= limit {
            break;
        }
        let chosen = if whole {
            (0..variables as u32).collect()
        } else {
            state.choose(&last, working.min(variables), smallest, largest)
        };
        let mut local = state.local(control, &chosen, whole)?;
        let tol = if whole {
            settings.tol
        } else {
            settings.tol.max(0.1 * (largest - smallest))
        };
        let steps = local.solve(control, tol, limit - iterations)?;
        iterations += steps;
        if whole {
            for v in 0..variables {
                state.alpha[v] = local.alpha[v];
            }
            for v in 0..n {
                state.products[v] = local.f[v] - problem.offset[v];
            }
            converged = iterations < limit;
            if state.products.iter().all(|p| p.is_finite()) {
                break;
            }
            continue;
        }
        if steps == 0 {
            // Rounding leaves no pair to improve.
            converged = true;
            break;
        }
        state.update(control, &chosen, &local)?;
        last = chosen;
    }
    let weight = |v: usize| problem.sign[v] * state.alpha[v];
    let objective = (0..variables)
        .map(|v| weight(v) * (state.gradient(v) + problem.offset[v]))
        .sum::<f64>()
        / 2.0;
    let mut weights = vec![0.0; n];
    for v in 0..variables {
        weights[v % n] += weight(v);
    }
    Ok(Solution {
        weights,
        rho: state.rho(),
        objective,
        iterations,
        converged,
    })
}
