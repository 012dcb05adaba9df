//! Softmax and cross-entropies of the rows of a matrix.

use crate::error::{Error, Result};
use crate::nn::ELEMENTS;
use crate::parallel::{Control, each_mut, fill_chunks};
use ironlearn_kernels::softmax as kernels;
use ironlearn_kernels::tier::{self, Tier};

fn rows_of(width: usize) -> usize {
    (ELEMENTS / 4 / width.max(1)).max(1)
}

/// Calls `f` with each row of `x` and that of `y`.
fn each_row(
    control: &Control,
    width: usize,
    x: &[f32],
    y: &mut [f32],
    f: impl Fn(Tier, &[f32], &mut [f32]) + Sync,
) -> Result<()> {
    let tier = tier::active();
    fill_chunks(control, y, width, rows_of(width), |range, y| {
        let x = &x[range.start * width..range.end * width];
        for (x, y) in x.chunks_exact(width).zip(y.chunks_exact_mut(width)) {
            f(tier, x, y);
        }
        Ok(())
    })
}

/// Calls `f` with each row of `a`, `b` and `y`.
fn each_pair(
    control: &Control,
    width: usize,
    a: &[f32],
    b: &[f32],
    y: &mut [f32],
    f: impl Fn(Tier, &[f32], &[f32], &mut [f32]) + Sync,
) -> Result<()> {
    let tier = tier::active();
    fill_chunks(control, y, width, rows_of(width), |range, y| {
        let at = range.start * width..range.end * width;
        let (a, b) = (&a[at.clone()], &b[at]);
        for ((a, b), y) in a
            .chunks_exact(width)
            .zip(b.chunks_exact(width))
            .zip(y.chunks_exact_mut(width))
        {
            f(tier, a, b, y);
        }
        Ok(())
    })
}

/// Writes the softmax of each row.
pub fn softmax(control: &Control, width: usize, x: &[f32], y: &mut [f32]) -> Result<()> {
    each_row(control, width, x, y, |tier, x, y| {
        kernels::softmax(tier, x, y);
    })
}

/// Writes the gradient of [`softmax`]'s input from its output.
pub fn softmax_backward(
    control: &Control,
    width: usize,
    gy: &[f32],
    y: &[f32],
    gx: &mut [f32],
) -> Result<()> {
    each_pair(control, width, gy, y, gx, kernels::softmax_backward)
}

/// Writes the logarithm of the softmax of each row.
pub fn log_softmax(control: &Control, width: usize, x: &[f32], y: &mut [f32]) -> Result<()> {
    each_row(control, width, x, y, kernels::log_softmax)
}

/// Writes the gradient of [`log_softmax`]'s input from its output.
pub fn log_softmax_backward(
    control: &Control,
    width: usize,
    gy: &[f32],
    y: &[f32],
    gx: &mut [f32],
) -> Result<()> {
    each_pair(control, width, gy, y, gx, kernels::log_softmax_backward)
}

fn check_targets(targets: &[i64], classes: usize) -> Result<()> {
    match targets.iter().find(|&&t| t < 0 || t as usize >= classes) {
        Some(target) => Err(Error::InvalidParameter {
            name: "targets",
            given: target.to_string(),
            expected: format!("classes from 0 to {}", classes as i64 - 1),
        }),
        None => Ok(()),
    }
}

/// Writes the probabilities and the cross-entropy of each row of logits; see
/// [`kernels::cross_entropy`].
pub fn cross_entropy(
    control: &Control,
    width: usize,
    logits: &[f32],
    targets: &[i64],
    smoothing: f32,
    losses: &mut [f32],
    probabilities: &mut [f32],
) -> Result<()> {
    check_targets(targets, width)?;
    let tier = tier::active();
    let rows = rows_of(width);
    let mut parts: Vec<_> = losses
        .chunks_mut(rows)
        .zip(probabilities.chunks_mut((rows * width).max(1)))
        .enumerate()
        .collect();
    each_mut(control, &mut parts, |(i, (losses, probabilities))| {
        let first = *i * rows;
        for (k, (loss, p)) in losses
            .iter_mut()
            .zip(probabilities.chunks_exact_mut(width))
            .enumerate()
        {
            let row = first + k;
            let x = &logits[row * width..(row + 1) * width];
            *loss = kernels::cross_entropy(tier, x, targets[row] as usize, smoothing, p);
        }
        Ok(())
    })?;
    Ok(())
}

/// Writes the gradient of [`cross_entropy`]'s logits, given that of each loss.
pub fn cross_entropy_backward(
    control: &Control,
    width: usize,
    probabilities: &[f32],
    targets: &[i64],
    glosses: &[f32],
    smoothing: f32,
    out: &mut [f32],
) -> Result<()> {
    check_targets(targets, width)?;
    let tier = tier::active();
    fill_chunks(control, out, width, rows_of(width), |range, out| {
        for (row, out) in range.zip(out.chunks_exact_mut(width)) {
            let p = &probabilities[row * width..(row + 1) * width];
            let target = targets[row] as usize;
            kernels::cross_entropy_backward(tier, p, target, smoothing, glosses[row], out);
        }
        Ok(())
    })
}

/// Writes the cross-entropy of sigmoid(logit) and target of each element.
pub fn binary_cross_entropy(
    control: &Control,
    logits: &[f32],
    targets: &[f32],
    out: &mut [f32],
) -> Result<()> {
    let tier = tier::active();
    fill_chunks(control, out, 1, ELEMENTS, |range, out| {
        kernels::binary_cross_entropy(tier, &logits[range.clone()], &targets[range], out);
        Ok(())
    })
}

/// Writes the gradient of [`binary_cross_entropy`]'s logits.
pub fn binary_cross_entropy_backward(
    control: &Control,
    logits: &[f32],
    targets: &[f32],
    g: &[f32],
    out: &mut [f32],
) -> Result<()> {
    let tier = tier::active();
    fill_chunks(control, out, 1, ELEMENTS, |range, out| {
        let (z, t) = (&logits[range.clone()], &targets[range.clone()]);
        kernels::binary_cross_entropy_backward(tier, z, t, &g[range], out);
        Ok(())
    })
}
