//! Layer, batch and group normalization.
//!
//! Sums over many rows are made in single precision within chunks of rows, whose bounds depend on
//! the shape alone, and in double precision over the chunks.

use crate::error::Result;
use crate::nn::{ELEMENTS, sum_parts, sum_parts_f64};
use crate::parallel::{Control, each_mut, map_chunks};
use ironlearn_kernels::norm::{self as kernels, Channels};
use ironlearn_kernels::pointwise::{self, Unary};
use ironlearn_kernels::tier::{self, Tier};

fn rows_of(width: usize) -> usize {
    (ELEMENTS / width.max(1)).max(1)
}

/// Normalizes each row of `x`, or of `x + residual`, whose sum is then written to `total`.
pub fn layer_norm(
    control: &Control,
    x: &[f32],
    residual: Option<(&[f32], &mut [f32])>,
    gamma: &[f32],
    beta: &[f32],
    eps: f32,
    y: &mut [f32],
    mean: &mut [f32],
    rstd: &mut [f32],
) -> Result<()> {
    let tier = tier::active();
    let width = gamma.len();
    let rows = rows_of(width);
    let size = rows * width;
    let (residual, total) = residual.map_or((None, None), |(r, t)| (Some(r), Some(t)));
    let mut totals = total.map(|t| t.chunks_mut(size));
    let mut parts: Vec<_> = y
        .chunks_mut(size)
        .zip(mean.chunks_mut(rows).zip(rstd.chunks_mut(rows)))
        .enumerate()
        .map(|(i, part)| (i, part, totals.as_mut().and_then(Iterator::next)))
        .collect();
    each_mut(control, &mut parts, |(i, (y, (mean, rstd)), total)| {
        let first = *i * rows;
        for (k, y) in y.chunks_exact_mut(width).enumerate() {
            let at = (first + k) * width..(first + k + 1) * width;
            let own = k * width..(k + 1) * width;
            let row: &[f32] = match (residual, total.as_mut()) {
                (Some(residual), Some(total)) => {
                    let sum = &mut total[own];
                    pointwise::add(tier, &x[at.clone()], &residual[at], sum);
                    sum
                }
                _ => &x[at],
            };
            (mean[k], rstd[k]) = kernels::layer_norm(tier, row, gamma, beta, eps, y);
        }
        Ok(())
    })?;
    Ok(())
}

/// Writes the gradient of [`layer_norm`]'s input, plus `extra`, and returns those of gain and
/// offset.
pub fn layer_norm_backward(
    control: &Control,
    gy: &[f32],
    extra: Option<&[f32]>,
    x: &[f32],
    gamma: &[f32],
    mean: &[f32],
    rstd: &[f32],
    gx: &mut [f32],
) -> Result<(Vec<f32>, Vec<f32>)> {
    let tier = tier::active();
    let width = gamma.len();
    let rows = rows_of(width);
    let mut parts: Vec<_> = gx.chunks_mut(rows * width).enumerate().collect();
    let sums = each_mut(control, &mut parts, |(i, gx)| {
        let (mut ggamma, mut gbeta) = (vec![0.0f32; width], vec![0.0f32; width]);
        let first = *i * rows;
        for (k, gx) in gx.chunks_exact_mut(width).enumerate() {
            let row = first + k;
            let at = row * width..(row + 1) * width;
            kernels::layer_norm_backward(
                tier,
                &gy[at.clone()],
                &x[at.clone()],
                gamma,
                (mean[row], rstd[row]),
                gx,
                &mut ggamma,
                &mut gbeta,
            );
            if let Some(extra) = extra {
                pointwise::add_assign(tier, gx, &extra[at]);
            }
        }
        Ok((ggamma, gbeta))
    })?;
    let (gains, offsets): (Vec<_>, Vec<_>) = sums.into_iter().unzip();
    Ok((sum_parts(&gains, width), sum_parts(&offsets, width)))
}

/// Column sums of `f` over the chunks of rows of an array of `len` numbers.
fn column_parts(
    control: &Control,
    len: usize,
    width: usize,
    f: impl Fn(std::ops::Range<usize>, &mut [f32]) + Sync,
) -> Result<Vec<f64>> {
    let parts = map_chunks(control, len / width, rows_of(width), |rows| {
        let mut sums = vec![0.0f32; width];
        f(rows.start * width..rows.end * width, &mut sums);
        Ok(sums)
    })?;
    Ok(sum_parts_f64(&parts, width))
}

fn single(values: &[f64]) -> Vec<f32> {
    values.iter().map(|&v| v as f32).collect()
}

/// Writes `activation((x - mean) factor + beta)` column by column.
fn apply(
    control: &Control,
    x: &[f32],
    mean: &[f32],
    factor: &[f32],
    beta: &[f32],
    kind: Unary,
    y: &mut [f32],
) -> Result<()> {
    let tier = tier::active();
    let width = mean.len();
    let size = rows_of(width) * width;
    let mut parts: Vec<_> = y.chunks_mut(size).enumerate().collect();
    each_mut(control, &mut parts, |(i, y)| {
        let start = *i * size;
        let x = &x[start..start + y.len()];
        kernels::columns_apply(tier, x, mean, factor, beta, y);
        if kind != Unary::Linear {
            pointwise::activate_in_place(tier, kind, y);
        }
        Ok(())
    })?;
    Ok(())
}

/// Normalizes each column of `x` and returns mean and biased variance.
pub fn batch_norm(
    control: &Control,
    x: &[f32],
    gamma: &[f32],
    beta: &[f32],
    eps: f32,
    kind: Unary,
    y: &mut [f32],
) -> Result<(Vec<f32>, Vec<f32>)> {
    let tier = tier::active();
    let width = gamma.len();
    let count = (x.len() / width) as f64;
    let sums = column_parts(control, x.len(), width, |at, sums| {
        kernels::column_sums(tier, &x[at], sums);
    })?;
    let mean = single(&sums.iter().map(|s| s / count).collect::<Vec<_>>());
    let squares = column_parts(control, x.len(), width, |at, sums| {
        kernels::column_squares(tier, &x[at], &mean, sums);
    })?;
    let var = single(&squares.iter().map(|s| s / count).collect::<Vec<_>>());
    let factor: Vec<f32> = (0..width)
        .map(|c| gamma[c] / (var[c] + eps).sqrt())
        .collect();
    apply(control, x, &mean, &factor, beta, kind, y)?;
    Ok((mean, var))
}

/// Writes what [`batch_norm`] would with the given mean and variance.
pub fn batch_norm_inference(
    control: &Control,
    x: &[f32],
    gamma: &[f32],
    beta: &[f32],
    mean: &[f32],
    var: &[f32],
    eps: f32,
    kind: Unary,
    y: &mut [f32],
) -> Result<()> {
    let factor: Vec<f32> = (0..gamma.len())
        .map(|c| gamma[c] / (var[c] + eps).sqrt())
        .collect();
    apply(control, x, mean, &factor, beta, kind, y)
}

/// Writes the gradient of [`batch_norm`]'s input and returns those of gain and offset. `y` is its
/// output, needed unless the activation is linear.
pub fn batch_norm_backward(
    control: &Control,
    gy: &[f32],
    x: &[f32],
    y: &[f32],
    gamma: &[f32],
    mean: &[f32],
    var: &[f32],
    eps: f32,
    kind: Unary,
    gx: &mut [f32],
) -> Result<(Vec<f32>, Vec<f32>)> {
    let tier = tier::active();
    let width = gamma.len();
    let count = (x.len() / width) as f64;
    let rstd: Vec<f32> = var.iter().map(|v| 1.0 / (v + eps).sqrt()).collect();
    let size = rows_of(width) * width;
    let mut parts: Vec<_> = gx.chunks_mut(size).enumerate().collect();
    // The first pass leaves the gradient before the activation in `gx`.
    let sums = each_mut(control, &mut parts, |(i, gx)| {
        let at = *i * size..*i * size + gx.len();
        let g: &[f32] = if kind == Unary::Linear {
            &gy[at.clone()]
        } else {
            pointwise::activate_backward(tier, kind, &gy[at.clone()], &y[at.clone()], gx);
            gx
        };
        let (mut ggamma, mut gbeta) = (vec![0.0f32; width], vec![0.0f32; width]);
        kernels::columns_gain(tier, g, &x[at], mean, &rstd, &mut ggamma, &mut gbeta);
        Ok((ggamma, gbeta))
    })?;
    let (gains, offsets): (Vec<_>, Vec<_>) = sums.into_iter().unzip();
    let (gains, offsets) = (sum_parts_f64(&gains, width), sum_parts_f64(&offsets, width));
    let factor: Vec<f32> = (0..width).map(|c| gamma[c] * rstd[c]).collect();
    let each = |sums: &[f64]| -> Vec<f32> {
        (0..width)
            .map(|c| (f64::from(factor[c]) * sums[c] / count) as f32)
            .collect()
    };
    let (constant, along) = (each(&offsets), each(&gains));
    let channels = Channels {
        mean,
        rstd: &rstd,
        factor: &factor,
        constant: &constant,
        along: &along,
    };
    let mut parts: Vec<_> = gx.chunks_mut(size).enumerate().collect();
    each_mut(control, &mut parts, |(i, gx)| {
        let at = *i * size..*i * size + gx.len();
        if kind == Unary::Linear {
            kernels::columns_backward(tier, &gy[at.clone()], &x[at], channels, gx);
        } else {
            kernels::columns_backward_in_place(tier, &x[at], channels, gx);
        }
        Ok(())
    })?;
    Ok((single(&gains), single(&offsets)))
}

/// Sizes of group normalization: `samples` of `cells` rows of `width` channels in `groups`.
#[derive(Clone, Copy, Debug)]
pub struct Groups {
    /// Samples.
    pub samples: usize,
    /// Rows of a sample.
    pub cells: usize,
    /// Channels.
    pub width: usize,
    /// Groups of channels; a divisor of `width`.
    pub groups: usize,
}

impl Groups {
    /// Numbers of a group of a sample.
    fn count(&self) -> f64 {
        (self.cells * (self.width / self.groups)) as f64
    }

    /// Sums of the channels of each group, of `columns` times `by`.
    fn gather(&self, columns: &[f32], by: Option<&[f32]>) -> Vec<f64> {
        let size = self.width / self.groups;
        (0..self.groups)
            .map(|g| {
                (g * size..(g + 1) * size)
                    .map(|c| f64::from(columns[c]) * by.map_or(1.0, |by| f64::from(by[c])))
                    .sum()
            })
            .collect()
    }

    /// A number for each channel out of one for each group.
    fn spread(&self, groups: impl Fn(usize) -> f32) -> Vec<f32> {
        let size = self.width / self.groups;
        (0..self.width).map(|c| groups(c / size)).collect()
    }
}

/// Normalizes each group of channels of each sample.
pub fn group_norm(
    control: &Control,
    sizes: Groups,
    x: &[f32],
    gamma: &[f32],
    beta: &[f32],
    eps: f32,
    y: &mut [f32],
    mean: &mut [f32],
    rstd: &mut [f32],
) -> Result<()> {
    let tier = tier::active();
    let sample = sizes.cells * sizes.width;
    let mut parts: Vec<_> = y
        .chunks_mut(sample)
        .zip(mean.chunks_mut(sizes.groups))
        .zip(rstd.chunks_mut(sizes.groups))
        .enumerate()
        .collect();
    each_mut(control, &mut parts, |(i, ((y, mean), rstd))| {
        let x = &x[*i * sample..(*i + 1) * sample];
        let mut sums = vec![0.0f32; sizes.width];
        kernels::column_sums(tier, x, &mut sums);
        for (mean, sum) in mean.iter_mut().zip(sizes.gather(&sums, None)) {
            *mean = (sum / sizes.count()) as f32;
        }
        let means = sizes.spread(|g| mean[g]);
        sums.fill(0.0);
        kernels::column_squares(tier, x, &means, &mut sums);
        for (rstd, sum) in rstd.iter_mut().zip(sizes.gather(&sums, None)) {
            *rstd = 1.0 / ((sum / sizes.count()) as f32 + eps).sqrt();
        }
        let mut factor = sizes.spread(|g| rstd[g]);
        for (f, gamma) in factor.iter_mut().zip(gamma) {
            *f *= gamma;
        }
        kernels::columns_apply(tier, x, &means, &factor, beta, y);
        Ok(())
    })?;
    Ok(())
}

/// Writes the gradient of [`group_norm`]'s input and returns those of gain and offset.
pub fn group_norm_backward(
    control: &Control,
    sizes: Groups,
    gy: &[f32],
    x: &[f32],
    gamma: &[f32],
    mean: &[f32],
    rstd: &[f32],
    gx: &mut [f32],
) -> Result<(Vec<f32>, Vec<f32>)> {
    let tier = tier::active();
    let (sample, width) = (sizes.cells * sizes.width, sizes.width);
    let mut parts: Vec<_> = gx.chunks_mut(sample).enumerate().collect();
    let sums = each_mut(control, &mut parts, |(i, gx)| {
        group_backward(tier, sizes, *i, gy, x, gamma, mean, rstd, gx)
    })?;
    let (gains, offsets): (Vec<_>, Vec<_>) = sums.into_iter().unzip();
    Ok((sum_parts(&gains, width), sum_parts(&offsets, width)))
}

/// [`group_norm_backward`] of sample `i`.
fn group_backward(
    tier: Tier,
    sizes: Groups,
    i: usize,
    gy: &[f32],
    x: &[f32],
    gamma: &[f32],
    mean: &[f32],
    rstd: &[f32],
    gx: &mut [f32],
) -> Result<(Vec<f32>, Vec<f32>)> {
    let sample = gx.len();
    let width = sizes.width;
    let (gy, x) = (&gy[i * sample..][..sample], &x[i * sample..][..sample]);
    let (mean, rstd) = (
        &mean[i * sizes.groups..][..sizes.groups],
        &rstd[i * sizes.groups..][..sizes.groups],
    );
    let (means, rstds) = (sizes.spread(|g| mean[g]), sizes.spread(|g| rstd[g]));
    let (mut ggamma, mut gbeta) = (vec![0.0f32; width], vec![0.0f32; width]);
    kernels::columns_gain(tier, gy, x, &means, &rstds, &mut ggamma, &mut gbeta);
    let constant = sizes.gather(&gbeta, Some(gamma));
    let along = sizes.gather(&ggamma, Some(gamma));
    let factor: Vec<f32> = (0..width).map(|c| gamma[c] * rstds[c]).collect();
    let count = sizes.count();
    let each = |sums: &[f64]| sizes.spread(|g| (f64::from(rstd[g]) * sums[g] / count) as f32);
    let channels = Channels {
        mean: &means,
        rstd: &rstds,
        factor: &factor,
        constant: &each(&constant),
        along: &each(&along),
    };
    kernels::columns_backward(tier, gy, x, channels, gx);
    Ok((ggamma, gbeta))
}
