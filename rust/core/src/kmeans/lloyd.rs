//! Lloyd's iteration (Lloyd, "Least squares quantization in PCM", 1982).

use super::assign::{Chunk, scan, states};
use super::bounds::{Bounds, can_pay};
use super::points::Points;
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
    /// The last iteration changed no label.
    pub settled: bool,
    /// The centres' squared shifts in the last iteration, infinite where they are not known.
    pub shift: f64,
}

/// Runs Lloyd's iteration from `centres` (offset subtracted) until no label changes, the
/// centres hardly move, or `max_iter`.
pub fn run<T: Real>(
    control: &Control,
    rows: &Rows<T>,
    centres: &[T],
    settings: Settings,
) -> Result<Fit<T>> {
    let d = rows.features;
    let k = check_centres(centres, d, rows.count)?;
    let mut centres = centres.to_vec();
    let mut sums = Sums::new(k, d);
    let mut chunks = states(rows);
    let mut steps = Steps {
        bounds: None,
        always: settings.bounds,
        share: 1.0,
        few: FEW_MOVES,
    };
    let mut history = Vec::new();
    let (mut n_iter, mut settled, mut shift) = (0, false, f64::INFINITY);
    while n_iter < settings.max_iter {
        n_iter += 1;
        let moved = steps.assign(control, rows, &centres, &mut chunks)?;
        sums.follow(control, rows, &chunks, moved)?;
        let new = sums.centres(control, rows, &chunks, &centres)?;
        if settings.history {
            history.push(inertia(control, rows, &chunks, &centres)?);
        }
        let shifts = shifts(&centres, &new, d);
        centres = new;
        if let Some(bounds) = &mut steps.bounds {
            bounds.follow(&centres, d, &shifts);
        }
        settled = moved == 0;
        shift = shifts.iter().map(|s| s * s).sum();
        if settled || shift <= settings.tol {
            break;
        }
    }
    if !settled {
        steps.assign(control, rows, &centres, &mut chunks)?;
    }
    let inertia = inertia(control, rows, &chunks, &centres)?;
    Ok(Fit {
        labels: labels(&chunks),
        centres,
        inertia,
        n_iter,
        history,
        settled,
        shift,
    })
}

/// Share of rows that move in an iteration, below which bounds are tried.
const FEW_MOVES: f64 = 0.2;
/// Share of the cost of comparing all, above which bounds do not pay.
const DEAR: f64 = 0.9;

/// The assignment of each iteration, with bounds or without.
struct Steps<T> {
    bounds: Option<Bounds<T>>,
    always: bool,
    /// Share of rows that moved in the last full comparison.
    share: f64,
    /// Bounds are tried below this share; it is halved when they do not pay.
    few: f64,
}

impl<T: Real> Steps<T> {
    /// Finds the nearest centre of each row; returns how many rows moved.
    fn assign(
        &mut self,
        control: &Control,
        rows: &Rows<T>,
        centres: &[T],
        chunks: &mut [Chunk],
    ) -> Result<usize> {
        let few = self.share < self.few && can_pay(rows.features, centres.len() / rows.features);
        if self.bounds.is_none() && (self.always || few) {
            self.bounds = Some(Bounds::new(rows, centres, chunks));
            let bounds = self.bounds.as_mut().expect("just made");
            return Ok(bounds.assign(control, rows, centres, chunks)?.moved);
        }
        let Some(bounds) = &mut self.bounds else {
            let moved = scan(control, rows, &rows.table(centres), chunks)?;
            self.share = moved as f64 / rows.count as f64;
            return Ok(moved);
        };
        let outcome = bounds.assign(control, rows, centres, chunks)?;
        if !self.always && outcome.cost > DEAR {
            self.bounds = None;
            self.share = 1.0;
            self.few *= 0.5;
        }
        Ok(outcome.moved)
    }
}

pub(super) fn labels(chunks: &[Chunk]) -> Vec<i32> {
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
