//! Sequential minimal optimisation in two levels.
//!
//! The outer level chooses a working set of rows that violate the optimality conditions most,
//! the inner one solves the problem of these rows on a local copy of their kernel values with
//! second-order pairs (Fan, Chen and Lin, 2005); kernel values of all rows are only needed for
//! rows whose weight changed, and are computed in blocks (Wen et al., "ThunderSVM", 2018).

use super::cache::{Rows, Segment, Set};
use super::local::{Local, may_move};
use super::rows::Source;
use super::shrink::Shrunk;
use crate::error::{Error, Result};
use crate::parallel::{Control, fill_chunks};
use ironlearn_kernels::kernel_rows::add_row;
use ironlearn_kernels::tier;
use std::ops::Range;

/// Most variables of a working set.
const WORKING: usize = 512;
/// Problems of up to so many variables are solved in one piece.
const WHOLE: usize = 1024;
/// Working sets between attempts to shrink.
const ROUNDS: usize = 4;

/// When to stop.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Largest violation of the optimality conditions.
    pub tol: f64,
    /// Most steps for each problem.
    pub max_iter: Option<usize>,
    /// Bytes of kernel values that are kept.
    pub cache_bytes: usize,
    /// Leave idle rows out of problems that the cache cannot hold.
    pub shrinking: bool,
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
    /// Gradient of each variable with respect to `b`, but for its offset: `K b` of its row.
    pub products: Vec<f64>,
    /// Minus the constant of the decision function.
    pub rho: f64,
    pub objective: f64,
    pub iterations: usize,
    pub converged: bool,
}

pub(super) struct Layout {
    pub rows: Vec<u32>,
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

pub(super) struct State<'a> {
    pub store: &'a Rows<'a>,
    pub layout: Layout,
    problem: &'a Problem,
    pub alpha: Vec<f64>,
    /// `K b` for each row; of rows that were left out, an old one.
    pub products: Vec<f64>,
    /// The places that are looked at, in order.
    pub places: Vec<u32>,
    /// Set where these are not all.
    pub shrunk: Option<Shrunk>,
}

impl State<'_> {
    pub fn gradient(&self, v: usize) -> f64 {
        self.products[v % self.products.len()] + self.problem.offset[v]
    }

    pub fn member(&self, v: usize, up: bool) -> bool {
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

    /// The variables of the places that are looked at.
    fn variables(&self) -> impl Iterator<Item = usize> {
        (0..self.alpha.len())
            .step_by(self.products.len().max(1))
            .flat_map(|start| self.places.iter().map(move |&p| start + p as usize))
    }

    /// `b` of each row.
    pub fn weights(&self) -> Vec<f64> {
        let n = self.products.len();
        let mut weights = vec![0.0; n];
        for v in 0..self.alpha.len() {
            weights[v % n] += self.problem.sign[v] * self.alpha[v];
        }
        weights
    }

    /// Smallest gradient of those that may grow, largest of those that may fall.
    fn violation(&self) -> (f64, f64) {
        let (mut smallest, mut largest) = (f64::INFINITY, f64::NEG_INFINITY);
        for v in self.variables() {
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
        for v in self.variables() {
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
        let lazy = whole && self.store.single_is_cheap();
        let mut local = Local::new(chosen.len(), !lazy);
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
        if lazy {
            return Ok(local);
        }
        if whole {
            let (stride, rows) = (local.stride, &self.layout.rows);
            for (class, range) in &self.layout.segments {
                let columns = &self.store.classes[*class];
                for (group, rows) in rows.chunks(256).enumerate() {
                    let segments = (self.store).segments(control, rows, *class as Set, columns)?;
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
        // Where each chosen variable stands in the segments of its row.
        let at: Vec<usize> = (places.iter())
            .map(|&place| match &self.shrunk {
                Some(_) => self.places.partition_point(|&p| (p as usize) < place),
                None => place,
            })
            .collect();
        let mut missing = Vec::new();
        for (k, &place) in places.iter().enumerate() {
            let Some(parts) = self.kept(self.layout.rows[place]) else {
                missing.push(k);
                continue;
            };
            let out = &mut local.kernel[k * local.stride..][..chosen.len()];
            for (segment, range) in &parts {
                for (o, &column) in out.iter_mut().zip(&at) {
                    if range.contains(&column) {
                        *o = segment[column - range.start];
                    }
                }
            }
        }
        let global = |k: &usize| self.layout.rows[places[*k]];
        let rows: Vec<u32> = missing.iter().map(global).collect();
        let columns: Vec<u32> = (0..chosen.len()).map(|k| global(&k)).collect();
        let mut lines = local.kernel.chunks_exact_mut(local.stride).enumerate();
        let mut wanted = missing.iter();
        let mut next = wanted.next();
        let mut out: Vec<&mut [f32]> = Vec::with_capacity(missing.len());
        while let (Some(&k), Some((number, line))) = (next, lines.next()) {
            if number == k {
                out.push(&mut line[..chosen.len()]);
                next = wanted.next();
            }
        }
        self.store
            .source
            .block(control, &rows, &columns, &mut out)?;
        Ok(local)
    }

    /// Kernel values of a variable with all variables, by class, so that other problems of
    /// the class find them kept.
    fn fetch(&self, control: &Control, variable: usize, out: &mut [f32]) -> Result<()> {
        let n = self.products.len();
        let row = self.layout.rows[variable % n];
        for (class, range) in &self.layout.segments {
            let segment = self.store.segment(control, row, *class)?;
            for out in out.chunks_exact_mut(n) {
                out[range.clone()].copy_from_slice(&segment);
            }
        }
        Ok(())
    }

    /// The kept kernel values of a row with all places that are looked at, in parts.
    fn kept(&self, row: u32) -> Option<Vec<(Segment, Range<usize>)>> {
        if let Some(shrunk) = &self.shrunk {
            let segment = self.store.find(row, shrunk.set)?;
            return Some(vec![(segment, 0..self.places.len())]);
        }
        (self.layout.segments.iter())
            .map(|(class, range)| Some((self.store.find(row, *class as Set)?, range.clone())))
            .collect()
    }

    /// Takes over the local weights and brings the products up to date.
    fn update(&mut self, control: &Control, chosen: &[u32], local: &Local) -> Result<()> {
        let n = self.products.len();
        let mut changed: Vec<(u32, f64)> = Vec::new();
        for (k, &v) in chosen.iter().enumerate() {
            let v = v as usize;
            let change = self.problem.sign[v] * (local.alpha[k] - self.alpha[v]);
            if change != 0.0 {
                self.alpha[v] = local.alpha[k];
                changed.push((self.layout.rows[v % n], change));
            }
        }
        let Some(shrunk) = &self.shrunk else {
            for (class, range) in &self.layout.segments {
                let out = &mut self.products[range.clone()];
                let columns = &self.store.classes[*class];
                add(control, self.store, *class as Set, columns, &changed, out)?;
            }
            return Ok(());
        };
        let places = self.places.iter().map(|&p| p as usize);
        let mut out: Vec<f64> = places.clone().map(|p| self.products[p]).collect();
        self.widen(&changed, shrunk);
        add(
            control,
            self.store,
            shrunk.set,
            &shrunk.rows,
            &changed,
            &mut out,
        )?;
        for (place, product) in places.zip(out) {
            self.products[place] = product;
        }
        Ok(())
    }

    /// Takes kernel values for a shrunk problem out of those of whole classes, where those are
    /// still kept.
    fn widen(&self, changed: &[(u32, f64)], shrunk: &Shrunk) {
        for &(row, _) in changed {
            if self.store.find(row, shrunk.set).is_some() {
                continue;
            }
            let parts: Option<Vec<Segment>> = (self.layout.segments.iter())
                .map(|(class, _)| self.store.find(row, *class as Set))
                .collect();
            let Some(parts) = parts else { continue };
            let mut segment = Vec::with_capacity(self.places.len());
            for ((_, range), part) in self.layout.segments.iter().zip(&parts) {
                let from = self.places.partition_point(|&p| (p as usize) < range.start);
                let to = self.places.partition_point(|&p| (p as usize) < range.end);
                let places = &self.places[from..to];
                segment.extend(places.iter().map(|&p| part[p as usize - range.start]));
            }
            self.store.keep(row, shrunk.set, &segment.into());
        }
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

/// `out += sum of change * K[row, columns]`, in the order of the changes: neither the groups
/// nor what is kept has an influence on the bits.
fn add(
    control: &Control,
    store: &Rows,
    set: Set,
    columns: &[u32],
    changed: &[(u32, f64)],
    out: &mut [f64],
) -> Result<()> {
    let tier = tier::active();
    for changed in changed.chunks(store.group(columns.len())) {
        let rows: Vec<u32> = changed.iter().map(|change| change.0).collect();
        let segments = store.segments(control, &rows, set, columns)?;
        fill_chunks(control, out, 1, 2048, |part, out| {
            for (segment, &(_, change)) in segments.iter().zip(changed) {
                add_row(tier, out, change, &segment[part.clone()]);
            }
            Ok(())
        })?;
    }
    Ok(())
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
        places: (0..n as u32).collect(),
        shrunk: None,
    };
    let limit = settings.max_iter.unwrap_or(usize::MAX);
    let fits = variables.saturating_mul(variables).saturating_mul(4) <= settings.cache_bytes;
    let whole = variables <= WHOLE && fits;
    let working = if whole { variables } else { WORKING };
    let pays = settings.shrinking && n.saturating_mul(n).saturating_mul(4) > store.capacity();
    let (mut iterations, mut rounds) = (0, 0usize);
    let converged;
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
        if !violated || iterations >= limit {
            if state.shrunk.is_some() {
                state.unshrink(control)?;
                continue;
            }
            converged = !violated;
            break;
        }
        rounds += 1;
        if pays && rounds % ROUNDS == 0 {
            state.shrink(smallest, largest);
            last.retain(|&v| state.places.binary_search(&(v % n as u32)).is_ok());
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
        let mut fetch = |k: usize, out: &mut [f32]| state.fetch(control, k, out);
        let most = limit - iterations;
        let steps = local.solve(control, tol, most, settings.shrinking, &mut fetch)?;
        iterations += steps;
        if whole {
            for v in 0..variables {
                state.alpha[v] = local.alpha[v];
            }
            for v in 0..n {
                state.products[v] = local.f[v] - problem.offset[v];
            }
            if state.products.iter().all(|p| p.is_finite()) {
                converged = iterations < limit;
                break;
            }
            continue;
        }
        if steps == 0 {
            // Rounding leaves no pair to improve.
            if state.shrunk.is_some() {
                state.unshrink(control)?;
                continue;
            }
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
    Ok(Solution {
        weights: state.weights(),
        rho: state.rho(),
        objective,
        iterations,
        converged,
        products: state.products,
    })
}
