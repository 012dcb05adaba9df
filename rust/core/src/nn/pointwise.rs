//! Elementwise operations over whole arrays.

use crate::error::Result;
use crate::nn::{ELEMENTS, sum_parts};
use crate::parallel::{Control, each_mut, fill_chunks};
use crate::rng::Stream;
use ironlearn_kernels::pointwise::{self as kernels, Unary};
use ironlearn_kernels::tier;

/// Writes the activation of each element of `x` to `y`.
pub fn activate(control: &Control, kind: Unary, x: &[f32], y: &mut [f32]) -> Result<()> {
    let tier = tier::active();
    fill_chunks(control, y, 1, ELEMENTS, |range, y| {
        kernels::activate(tier, kind, &x[range], y);
        Ok(())
    })
}

/// Writes `gy` times the derivative of the activation, see [`kernels::activate_backward`].
pub fn activate_backward(
    control: &Control,
    kind: Unary,
    gy: &[f32],
    from: &[f32],
    out: &mut [f32],
) -> Result<()> {
    let tier = tier::active();
    fill_chunks(control, out, 1, ELEMENTS, |range, out| {
        kernels::activate_backward(tier, kind, &gy[range.clone()], &from[range], out);
        Ok(())
    })
}

/// Replaces each row z of `z` by the activation of z + `bias`.
pub fn bias_activate(control: &Control, kind: Unary, z: &mut [f32], bias: &[f32]) -> Result<()> {
    let tier = tier::active();
    let width = bias.len();
    let rows = (ELEMENTS / width.max(1)).max(1);
    fill_chunks(control, z, width, rows, |_, z| {
        for row in z.chunks_exact_mut(width) {
            kernels::add_assign(tier, row, bias);
            if kind != Unary::Linear {
                kernels::activate_in_place(tier, kind, row);
            }
        }
        Ok(())
    })
}

/// Writes the gradient of what the activation was taken of to `gz` and returns its column sums,
/// the gradient of a bias.
pub fn bias_activate_backward(
    control: &Control,
    kind: Unary,
    gy: &[f32],
    from: &[f32],
    width: usize,
    gz: &mut [f32],
) -> Result<Vec<f32>> {
    let tier = tier::active();
    let rows = (ELEMENTS / width.max(1)).max(1);
    let size = (rows * width).max(1);
    let mut parts: Vec<_> = gz.chunks_mut(size).enumerate().collect();
    let sums = each_mut(control, &mut parts, |(i, gz)| {
        let mut sums = vec![0.0f32; width];
        let start = *i * size;
        for (k, row) in gz.chunks_exact_mut(width).enumerate() {
            let at = start + k * width..start + (k + 1) * width;
            kernels::activate_backward(tier, kind, &gy[at.clone()], &from[at], row);
            kernels::add_assign(tier, &mut sums, row);
        }
        Ok(sums)
    })?;
    Ok(sum_parts(&sums, width))
}

/// Writes `x` with the cells of the stream (`seed`, `task`) zeroed whose number is below `rate`,
/// the others multiplied by 1 / (1 - rate). `x` may be all ones, which gives the mask.
pub fn dropout(
    control: &Control,
    seed: u64,
    task: u64,
    rate: f64,
    x: &[f32],
    y: &mut [f32],
) -> Result<()> {
    let tier = tier::active();
    let key = Stream::new(seed, task).key();
    // A number is a multiple of 2^-53, so it is at least `rate` when its integer is this much.
    let least = (rate * (1u64 << 53) as f64).ceil() as u64;
    let scale = (1.0 / (1.0 - rate)) as f32;
    fill_chunks(control, y, 1, ELEMENTS, |range, y| {
        let first = range.start as u64;
        kernels::dropout(tier, key, first, least, scale, &x[range], y);
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dropped_cells_are_those_of_the_stream() {
        for rate in [0.1, 0.25, 0.5, 0.9] {
            let x: Vec<f32> = (0..10_000).map(|i| i as f32 + 1.0).collect();
            let mut y = vec![0.0; x.len()];
            dropout(&Control::serial(), 7, 9, rate, &x, &mut y).unwrap();
            let mut stream = Stream::new(7, 9);
            for (&y, &x) in y.iter().zip(&x) {
                let kept = stream.next_f64() >= rate;
                assert_eq!(
                    y,
                    if kept {
                        x * (1.0 / (1.0 - rate)) as f32
                    } else {
                        0.0
                    }
                );
            }
        }
    }

    #[test]
    fn bias_and_its_gradient() {
        let width = 5;
        let z: Vec<f32> = (0..40).map(|i| i as f32 / 7.0 - 3.0).collect();
        let bias = [0.5, -1.0, 0.0, 2.0, 0.25];
        for (kind, name) in Unary::ALL {
            let shifted: Vec<f32> = (0..40).map(|i| z[i] + bias[i % width]).collect();
            let mut want = vec![0.0; 40];
            activate(&Control::serial(), kind, &shifted, &mut want).unwrap();
            let mut over = z.clone();
            bias_activate(&Control::serial(), kind, &mut over, &bias).unwrap();
            assert_eq!(over, want, "{name}");
            let from = if kind.slope_from_output() {
                &over
            } else {
                &shifted
            };
            let (mut gz, mut plain) = (vec![0.0; 40], vec![0.0; 40]);
            let sums =
                bias_activate_backward(&Control::serial(), kind, &z, from, width, &mut gz).unwrap();
            activate_backward(&Control::serial(), kind, &z, from, &mut plain).unwrap();
            assert_eq!(gz, plain, "{name}");
            for (j, sum) in sums.iter().enumerate() {
                let want: f32 = (0..8).map(|i| plain[i * width + j]).sum();
                assert!((sum - want).abs() < 1e-4, "{name}");
            }
        }
    }
}
