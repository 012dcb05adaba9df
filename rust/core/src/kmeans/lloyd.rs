//! Lloyd's iteration (Lloyd, "Least squares quantization in PCM", 1982).

use super::assign::{Chunk, scan, states};
use super::bounds::Bounds;
use super::points::Points;
use super::sparse::SparseRows;
use super::update::{Sums, inertia};
use super::{Rows, check_centres};
use crate::error::Result;
use crate::parallel::Control;
use ironlearn_kernels::distance::Real;

/// When to stop, and how to go.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Most iterations.
    pub max_iter: usize,
    /// Stop when the centres' squared shifts add up to no more than this.
    pub tol: f64,
    /// Keep bounds from the first iteration on, instead of when they begin to pay.
    pub bounds: bool,
    /// Compute the inertia of each iteration.
    pub history: bool,
}

/// What a run found.
#[derive(Clone, Debug, PartialEq)]
pub struct Fit<T> {
    /// Centres, less the offset.
    pub centres: Vec<T>,
    /// The nearest centre of each row.
    pub labels: Vec<i32>,
    /// Weighted sum of squared distances.
    pub inertia: f64,
    /// Iterations run.
    pub n_iter: usize,
    /// The inertia of each iteration, where it was asked for.
    pub history: Vec<f64>,
}

/// Runs Lloyd's iteration from `centres` (offset subtracted) until no label changes, the
/// centres hardly move, or `max_iter`.
pub fn run<T: Real, P: Assign<T>>(
    control: &Control,
    rows: &P,
    centres: &[T],
    settings: Settings,
) -> Result<Fit<T>> {
    let d = rows.features();
    let k = check_centres(centres, d, rows.count())?;
    let mut centres = centres.to_vec();
    let mut sums = Sums::new(k, d);
    let mut chunks = states(rows);
    let mut steps = P::steps(settings);
    let mut history = Vec::new();
    let (mut n_iter, mut settled) = (0, false);
    while n_iter < settings.max_iter {
        n_iter += 1;
        let moved = rows.assign(control, &mut steps, &centres, &mut chunks)?;
        sums.follow(control, rows, &chunks, moved)?;
        let new = sums.centres(control, rows, &chunks, &centres)?;
        if settings.history {
            history.push(inertia(control, rows, &chunks, &centres)?);
        }
        let shifts = shifts(&centres, &new, d);
        centres = new;
        rows.follow(&mut steps, &centres, &shifts);
        settled = moved == 0;
        if settled || shifts.iter().map(|s| s * s).sum::<f64>() <= settings.tol {
            break;
        }
    }
    if !settled {
        rows.assign(control, &mut steps, &centres, &mut chunks)?;
    }
    let inertia = inertia(control, rows, &chunks, &centres)?;
    Ok(Fit {
        labels: labels(&chunks),
        centres,
        inertia,
        n_iter,
        history,
    })
}

/// Share of rows that move in an iteration, below which bounds are tried.
const FEW_MOVES: f64 = 0.2;
/// Share of the cost of comparing all, above which bounds do not pay.
const DEAR: f64 = 0.9;

/// How Lloyd's iteration compares rows with centres.
pub trait Assign<T: Real>: Points<T> {
    /// What it remembers from one iteration to the next.
    type Steps;
    /// The state before the first iteration.
    fn steps(settings: Settings) -> Self::Steps;
    /// Finds the nearest centre of each row; returns how many rows moved.
    fn assign(
        &self,
        control: &Control,
        steps: &mut Self::Steps,
        centres: &[T],
        chunks: &mut [Chunk],
    ) -> Result<usize>;
    /// Takes in that the centres went by `shifts`.
    fn follow(&self, steps: &mut Self::Steps, centres: &[T], shifts: &[f64]);
}

impl<T: Real> Assign<T> for SparseRows<'_, T> {
    // Bounds would cost more than products of the few elements of a row.
    type Steps = ();
    fn steps(_: Settings) {}
    fn assign(
        &self,
        control: &Control,
        (): &mut (),
        centres: &[T],
        chunks: &mut [Chunk],
    ) -> Result<usize> {
        scan(control, self, &self.table(centres), chunks)
    }
    fn follow(&self, (): &mut (), _: &[T], _: &[f64]) {}
}

/// The assignment of dense rows, with bounds or without.
pub struct Steps<T> {
    bounds: Option<Bounds<T>>,
    always: bool,
    /// Share of rows that moved in the last full comparison.
    share: f64,
    /// Bounds are tried below this share; it is halved when they do not pay.
    few: f64,
}

impl<T: Real> Assign<T> for Rows<'_, T> {
    type Steps = Steps<T>;
    fn steps(settings: Settings) -> Steps<T> {
        Steps {
            bounds: None,
            always: settings.bounds,
            share: 1.0,
            few: FEW_MOVES,
        }
    }
    fn assign(
        &self,
        control: &Control,
        steps: &mut Steps<T>,
        centres: &[T],
        chunks: &mut [Chunk],
    ) -> Result<usize> {
        let fresh = steps.bounds.is_none() && (steps.always || steps.share < steps.few);
        if fresh {
            steps.bounds = Some(Bounds::new(self, centres, chunks));
        }
        let Some(bounds) = &mut steps.bounds else {
            let moved = scan(control, self, &self.table(centres), chunks)?;
            steps.share = moved as f64 / self.count as f64;
            return Ok(moved);
        };
        let outcome = bounds.assign(control, self, centres, chunks)?;
        if !steps.always && !fresh && outcome.cost > DEAR {
            steps.bounds = None;
            steps.share = 1.0;
            steps.few *= 0.5;
        }
        Ok(outcome.moved)
    }
    fn follow(&self, steps: &mut Steps<T>, centres: &[T], shifts: &[f64]) {
        if let Some(bounds) = &mut steps.bounds {
            bounds.follow(centres, self.features, shifts);
        }
    }
}

fn labels(chunks: &[Chunk]) -> Vec<i32> {
    let all = chunks.iter().flat_map(|chunk| &chunk.labels);
    all.map(|&label| label as i32).collect()
}

/// How far each centre went.
fn shifts<T: Real>(old: &[T], new: &[T], d: usize) -> Vec<f64> {
    old.chunks_exact(d)
        .zip(new.chunks_exact(d))
        .map(|(a, b)| {
            let squares = a.iter().zip(b).map(|(&a, &b)| {
                let t: f64 = b.into() - a.into();
                t * t
            });
            squares.sum::<f64>().sqrt()
        })
        .collect()
}
