//! What a fused activation does to a gradient on its way back.

use crate::gemm::Activation;
use crate::tier::{Tier, detected};

/// Places that are summed side by side at least.
const WIDTH: usize = 64;
/// Most channels that share the places.
const MOST: usize = 2 * WIDTH;

#[inline(always)]
fn body(activation: Activation, gy: &[f32], y: &[f32], gz: &mut [f32], sums: &mut [f32]) {
    /// Each loop has one activation, so that it becomes vector instructions.
    #[inline(always)]
    fn over(gy: &[f32], y: &[f32], gz: &mut [f32], sums: &mut [f32], f: impl Fn(f32) -> f32) {
        let width = sums.len();
        let rows = gz.chunks_mut(width);
        for ((gz, gy), y) in rows.zip(gy.chunks(width)).zip(y.chunks(width)) {
            let n = gz.len().min(sums.len());
            let (gz, gy, y, sums) = (&mut gz[..n], &gy[..n], &y[..n], &mut sums[..n]);
            for c in 0..n {
                gz[c] = gy[c] * f(y[c]);
                sums[c] += gz[c];
            }
        }
    }
    match activation {
        Activation::Linear => over(gy, y, gz, sums, |y| Activation::Linear.slope(y)),
        Activation::Relu => over(gy, y, gz, sums, |y| Activation::Relu.slope(y)),
        Activation::LeakyRelu => over(gy, y, gz, sums, |y| Activation::LeakyRelu.slope(y)),
        Activation::Sigmoid => over(gy, y, gz, sums, |y| Activation::Sigmoid.slope(y)),
        Activation::Tanh => over(gy, y, gz, sums, |y| Activation::Tanh.slope(y)),
        Activation::Elu => over(gy, y, gz, sums, |y| Activation::Elu.slope(y)),
        Activation::Relu6 => over(gy, y, gz, sums, |y| Activation::Relu6.slope(y)),
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn avx2(activation: Activation, gy: &[f32], y: &[f32], gz: &mut [f32], sums: &mut [f32]) {
    body(activation, gy, y, gz, sums);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512vl,avx512dq")]
fn avx512(activation: Activation, gy: &[f32], y: &[f32], gz: &mut [f32], sums: &mut [f32]) {
    body(activation, gy, y, gz, sums);
}

/// `gy` times the activation's slope where its output is `y`, into `gz`; `sums` (one number a
/// channel) becomes the sum of `gz` over all but the channels.
///
/// # Panics
/// If the lengths differ, or are not whole pixels.
pub fn slopes(
    tier: Tier,
    activation: Activation,
    gy: &[f32],
    y: &[f32],
    gz: &mut [f32],
    sums: &mut [f32],
) {
    let channels = sums.len();
    assert!(gy.len() == gz.len() && y.len() == gz.len() && channels > 0);
    assert!(gz.len().is_multiple_of(channels), "whole pixels");
    let run = |sums: &mut [f32], gz: &mut [f32]| match tier.min(detected()) {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the processor has the tier.
        Tier::Avx512 => unsafe { avx512(activation, gy, y, gz, sums) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the processor has the tier.
        Tier::Avx2 => unsafe { avx2(activation, gy, y, gz, sums) },
        _ => body(activation, gy, y, gz, sums),
    };
    if channels >= WIDTH {
        sums.fill(0.0);
        run(sums, gz);
        return;
    }
    // With few channels several pixels stand side by side.
    let mut wide = [0.0; MOST];
    let width = channels * WIDTH.div_ceil(channels);
    let wide = &mut wide[..width];
    run(wide, gz);
    for (c, sum) in sums.iter_mut().enumerate() {
        *sum = wide.iter().skip(c).step_by(channels).sum();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tier::supported;

    #[test]
    fn as_the_plain_loop() {
        for channels in [1, 3, 32, 63, 64, 70] {
            for pixels in [0, 1, 7, 90] {
                let n = channels * pixels;
                let number = |i: usize| ((i * 7919) % 200) as f32 / 100.0 - 1.0;
                let gy: Vec<f32> = (0..n).map(number).collect();
                let y: Vec<f32> = (0..n).map(|i| number(i + 31)).collect();
                for tier in supported() {
                    for activation in Activation::ALL {
                        let mut gz = vec![f32::NAN; n];
                        let mut sums = vec![f32::NAN; channels];
                        slopes(tier, activation, &gy, &y, &mut gz, &mut sums);
                        let mut expected = vec![0.0f64; channels];
                        for i in 0..n {
                            assert_eq!(gz[i], gy[i] * activation.slope(y[i]));
                            expected[i % channels] += f64::from(gz[i]);
                        }
                        for (sum, expected) in sums.iter().zip(expected) {
                            assert!((f64::from(*sum) - expected).abs() < 1e-4);
                        }
                    }
                }
            }
        }
    }
}
