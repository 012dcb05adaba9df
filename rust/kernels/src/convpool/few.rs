//! Convolutions with very few output channels: the numbers of a patch in the lanes.
//!
//! With channels in the lanes most lanes would be empty. Here a register holds part of a row
//! of a patch, so each output is a dot product, and each pixel adds its patch, times its
//! gradient, to the weights' gradient.

use super::patches::Source;
use super::pool_backward::{RowsOf, patches};
use super::simd::Simd;

/// Most output channels for which this pays.
pub(super) const FEW: usize = 4;

/// Pixels whose gradients are used together.
pub(super) const BLOCK: usize = 64;

/// Numbers in the packed weights: (filter, kernel row, run rounded up), then the bias.
pub(super) fn packed_len(lanes: usize, source: &Source, filters: usize) -> usize {
    filters * rows_len(lanes, source) + filters
}

/// Numbers of one filter's rows, each rounded up to whole registers.
pub(super) fn rows_len(lanes: usize, source: &Source) -> usize {
    source.kernel[0] * (source.kernel[1] * source.channels).next_multiple_of(lanes)
}

/// Writes the packed weights of `w` (patch, filters).
pub(super) fn pack(
    lanes: usize,
    source: &Source,
    filters: usize,
    w: &[f32],
    bias: Option<&[f32]>,
    packed: &mut [f32],
) {
    let run = source.kernel[1] * source.channels;
    let padded = run.next_multiple_of(lanes);
    let (rows, last) = packed.split_at_mut(filters * rows_len(lanes, source));
    for (i, row) in rows.chunks_exact_mut(padded).enumerate() {
        let (o, ky) = (i / source.kernel[0], i % source.kernel[0]);
        for (k, out) in row[..run].iter_mut().enumerate() {
            *out = w[(ky * run + k) * filters + o];
        }
        row[run..].fill(0.0);
    }
    match bias {
        Some(bias) => last.copy_from_slice(bias),
        None => last.fill(0.0),
    }
}

/// Outputs, before the activation, of every patch of the framed images `x`.
///
/// # Safety
/// The tier is there.
#[inline(always)]
pub(super) unsafe fn forward<S: Simd>(
    source: &Source,
    x: &[f32],
    packed: &[f32],
    filters: usize,
    y: &mut [f32],
) {
    macro_rules! dots {
        ($p:literal, $f:literal) => {{
            let count = y.len() / $f;
            let mut places = source.places(0);
            for first in (0..count).step_by($p) {
                let n = $p.min(count - first);
                let mut starts = [0; $p];
                for p in 0..$p {
                    // What a short last block lacks is its first pixel again.
                    starts[p] = if p < n { places.next() } else { starts[0] };
                }
                let y = &mut y[first * $f..(first + n) * $f];
                // SAFETY: as the caller's.
                unsafe { block::<S, $p, $f>(source, x, &starts, packed, y) };
            }
        }};
    }
    match filters {
        1 => dots!(8, 1),
        2 => dots!(4, 2),
        3 => dots!(2, 3),
        _ => dots!(2, 4),
    }
}

#[inline(always)]
unsafe fn block<S: Simd, const P: usize, const F: usize>(
    source: &Source,
    x: &[f32],
    starts: &[usize; P],
    packed: &[f32],
    y: &mut [f32],
) {
    let run = source.kernel[1] * source.channels;
    let padded = run.next_multiple_of(S::LANES);
    let (whole, tail) = (run / S::LANES, run % S::LANES);
    let size = source.kernel[0] * padded;
    let row = source.dilation[0] * source.row();
    let reach = (source.kernel[0] - 1) * row + run;
    assert!(packed.len() >= F * (size + 1));
    assert!(starts.iter().all(|&at| at + reach <= x.len()));
    // SAFETY: the tier is the caller's, sizes were just checked.
    unsafe {
        let mut acc = [[S::splat(0.0); F]; P];
        macro_rules! turn {
            ($ky:ident, $at:expr, $load:expr) => {
                let mut w = [S::splat(0.0); F];
                for f in 0..F {
                    w[f] = S::load(packed.as_ptr().add(f * size + $ky * padded + $at));
                }
                for p in 0..P {
                    let x: S = $load(x.as_ptr().add(starts[p] + $ky * row + $at));
                    for f in 0..F {
                        acc[p][f] = x.mul_add(w[f], acc[p][f]);
                    }
                }
            };
        }
        for ky in 0..source.kernel[0] {
            for v in 0..whole {
                turn!(ky, v * S::LANES, |at| S::load(at));
            }
            if tail > 0 {
                turn!(ky, whole * S::LANES, |at| S::load_part(at, tail));
            }
        }
        let bias = &packed[F * size..];
        for p in 0..P {
            for f in 0..F {
                let sum = acc[p][f].sum() + bias[f];
                if let Some(y) = y.get_mut(p * F + f) {
                    *y = sum;
                }
            }
        }
    }
}

/// Adds each patch of the framed images `x`, times its gradients in `g`, to `gw` (filter, kernel
/// row, run rounded up to whole registers).
///
/// # Safety
/// The tier is there.
#[inline(always)]
pub(super) unsafe fn weights<S: Simd>(
    source: &Source,
    x: &[f32],
    g: &[f32],
    filters: usize,
    gw: &mut [f32],
) {
    let size = rows_len(S::LANES, source);
    assert!(gw.len() >= filters * size);
    let run = source.kernel[1] * source.channels;
    let rows = RowsOf {
        row: source.dilation[0] * source.row(),
        rows: source.kernel[0],
        run,
        padded: run.next_multiple_of(S::LANES),
    };
    let count = g.len() / filters;
    let reach = (rows.rows - 1) * rows.row + run;
    let (mut places, mut values) = ([0u32; BLOCK], [0.0f32; BLOCK]);
    let mut steps = source.places(0);
    for first in (0..count).step_by(BLOCK) {
        let n = BLOCK.min(count - first);
        for place in &mut places[..n] {
            let at = steps.next();
            assert!(at + reach <= x.len());
            *place = at as u32;
        }
        for o in 0..filters {
            for (value, g) in values[..n]
                .iter_mut()
                .zip(g[first * filters..].chunks(filters))
            {
                *value = g[o];
            }
            let gw = gw[o * size..][..size].as_mut_ptr();
            // SAFETY: the tier is the caller's; patches lie inside x, as was just checked.
            unsafe { patches::<S>(x.as_ptr(), &places[..n], &values[..n], rows, gw) };
        }
    }
}
