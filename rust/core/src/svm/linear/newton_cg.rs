//! Newton directions by conjugate gradients, for wide or sparse data.
//!
//! Hessian-vector products need one pass over the rows inside the margin (Keerthi and DeCoste,
//! 2005; Lin, Weng and Keerthi, "Trust region Newton method for large-scale logistic
//! regression", JMLR 2008), preconditioned by the Hessian's diagonal.

use super::design::Design;
use super::goal::Goals;
use super::newton::{overflow, sum_chunk};
use crate::error::Result;
use crate::parallel::{Control, map_chunks};
use ironlearn_kernels::linear::Element;

/// Most conjugate gradient steps for one direction.
const MOST: usize = 250;

/// An approximate Newton direction; always one of descent.
pub(super) fn direction<D: Design>(
    control: &Control,
    x: &D,
    goals: &Goals,
    z: &[f64],
    gradient: &[f64],
    first_norm: f64,
) -> Result<Vec<f64>> {
    let inside: Vec<(u32, f64)> = (0..x.rows())
        .filter(|&i| goals.at(i).pulls(z[i]))
        .map(|i| (i as u32, 2.0 * goals.cost(i)))
        .collect();
    solve(control, x, &inside, gradient, first_norm)
}

/// Minus `gradient` times the inverse of `I + sum of weight * x x'` over `inside`, roughly
/// while the gradient is of the order of `first_norm`.
pub(super) fn solve<D: Design>(
    control: &Control,
    x: &D,
    inside: &[(u32, f64)],
    gradient: &[f64],
    first_norm: f64,
) -> Result<Vec<f64>> {
    let tier = x.tier();
    let width = x.width();
    let chunk = sum_chunk(x, 1);
    let sum = |start: &[f64], f: &(dyn Fn(usize, f64, &mut [f64]) + Sync)| -> Result<Vec<f64>> {
        let parts = map_chunks(control, inside.len(), chunk, |range| {
            let mut part = vec![0.0; width];
            for (at, &(i, weight)) in inside[range].iter().enumerate() {
                if at % 1024 == 0 {
                    control.check()?;
                }
                f(i as usize, weight, &mut part);
            }
            Ok(part)
        })?;
        let mut total = start.to_vec();
        for part in parts {
            f64::axpy(tier, 1.0, &part, &mut total);
        }
        Ok(total)
    };
    let diagonal = sum(&vec![1.0; width], &|i, weight, out| {
        x.add_squares(i, weight, out);
    })?;
    let precondition =
        |r: &[f64]| -> Vec<f64> { r.iter().zip(&diagonal).map(|(r, d)| r / d).collect() };

    let mut residual: Vec<f64> = gradient.iter().map(|g| -g).collect();
    let norm = f64::dot(tier, gradient, gradient).sqrt();
    let mut solution = vec![0.0; width];
    let mut scaled = precondition(&residual);
    let mut p = scaled.clone();
    let mut rho = f64::dot(tier, &residual, &scaled);
    // Looser far from the optimum, tighter near it: superlinear convergence.
    let forcing = (norm / first_norm.max(f64::MIN_POSITIVE)).sqrt().min(0.1);
    let target = rho * forcing * forcing;
    for _ in 0..MOST {
        if rho <= target || rho == 0.0 {
            break;
        }
        let hp = sum(&p, &|i, weight, out| {
            let product = x.dot(i, &p);
            x.axpy(i, weight * product, out);
        })?;
        let alpha = rho / f64::dot(tier, &p, &hp);
        if !alpha.is_finite() {
            return Err(overflow());
        }
        f64::axpy(tier, alpha, &p, &mut solution);
        f64::axpy(tier, -alpha, &hp, &mut residual);
        scaled = precondition(&residual);
        let next = f64::dot(tier, &residual, &scaled);
        let beta = next / rho;
        for (p, s) in p.iter_mut().zip(&scaled) {
            *p = s + beta * *p;
        }
        rho = next;
    }
    Ok(solution)
}
