//! Filters in panels, and the product of patches with one panel.
//!
//! A panel holds the bias and then, weight after weight of the patch, the numbers of
//! `2 * LANES` output channels; channels that are not there are zeros.

use super::simd::Simd;
use crate::gemm::Activation;

/// Registers of output channels in a panel.
pub(super) const WIDE: usize = 2;

/// Numbers in the panels of `patch` x `filters` weights, for registers of `lanes` floats.
pub(super) fn panels_len(lanes: usize, patch: usize, filters: usize) -> usize {
    let width = WIDE * lanes;
    filters.div_ceil(width) * (patch + 1) * width
}

/// Writes the panels of `weights`, rows of patch elements with a column for each filter.
pub(super) fn pack_panels(
    lanes: usize,
    patch: usize,
    filters: usize,
    weights: &[f32],
    bias: Option<&[f32]>,
    out: &mut [f32],
) {
    let width = WIDE * lanes;
    let size = (patch + 1) * width;
    assert_eq!(out.len(), panels_len(lanes, patch, filters));
    for (p, panel) in out.chunks_exact_mut(size).enumerate() {
        let first = p * width;
        let live = width.min(filters - first);
        let (top, rows) = panel.split_at_mut(width);
        match bias {
            Some(bias) => top[..live].copy_from_slice(&bias[first..first + live]),
            None => top[..live].fill(0.0),
        }
        top[live..].fill(0.0);
        for (row, weights) in rows
            .chunks_exact_mut(width)
            .zip(weights.chunks_exact(filters))
        {
            row[..live].copy_from_slice(&weights[first..first + live]);
            row[live..].fill(0.0);
        }
    }
}

/// What [`in_register`] leaves as it is: the activation is none, or applied to what was written.
pub(super) const AS_IT_IS: u8 = 0;
/// A rectifier.
pub(super) const RELU: u8 = 1;
/// A leaky rectifier.
pub(super) const LEAKY: u8 = 2;
/// A rectifier that ends at 6.
pub(super) const SIX: u8 = 3;

/// The activation of a register, where that is a matter of one or two instructions.
#[inline(always)]
pub(super) unsafe fn in_register<S: Simd, const KIND: u8>(x: S) -> S {
    // SAFETY: the tier is the caller's.
    unsafe {
        let zero = S::splat(0.0);
        match KIND {
            // In this order NaN stays NaN.
            RELU => zero.max(x),
            SIX => {
                let (six, x) = (S::splat(6.0), zero.max(x));
                six.select_lt(x, six, x)
            }
            LEAKY => x.select_lt(zero, x.mul(S::splat(Activation::LeakyRelu.slope(-1.0))), x),
            _ => x,
        }
    }
}

/// Products of `R` patches, `stride` numbers apart at `a`, with `V` registers of a panel.
///
/// # Safety
/// The tier is there, each patch has `patch` numbers and the panel `patch + 1` rows.
#[inline(always)]
pub(super) unsafe fn rows_tile<S: Simd, const R: usize, const V: usize>(
    a: *const f32,
    stride: usize,
    patch: usize,
    panel: *const f32,
) -> [[S; V]; R] {
    // SAFETY: as the caller's.
    unsafe {
        let width = WIDE * S::LANES;
        let mut acc = [[S::splat(0.0); V]; R];
        for v in 0..V {
            let bias = S::load(panel.add(v * S::LANES));
            for acc in &mut acc {
                acc[v] = bias;
            }
        }
        let mut w = panel.add(width);
        // Three rows share a pointer, because an address may hold a pointer and one multiple of
        // a register: twelve pointers would not fit into the general registers.
        let mut base = [a; R];
        for r in 0..R {
            base[r] = a.add(r / 3 * 3 * stride);
        }
        for k in 0..patch {
            let mut weights = [S::splat(0.0); V];
            for v in 0..V {
                weights[v] = S::load(w.add(v * S::LANES));
            }
            w = w.add(width);
            for r in 0..R {
                let x = S::splat(*base[r].add(r % 3 * stride).add(k));
                for v in 0..V {
                    acc[r][v] = x.mul_add(weights[v], acc[r][v]);
                }
            }
        }
        acc
    }
}

/// Products of `rows` patches with every panel, written to rows of `y`, `filters` wide.
///
/// # Safety
/// The tier is there; `a` holds `S::ROWS` patches of `patch` numbers (those past `rows` may be
/// anything), `panels` the panels of `filters` channels, and `y` has `rows` rows.
#[inline(always)]
pub(super) unsafe fn rows_by_panels<S: Simd>(
    a: *const f32,
    patch: usize,
    rows: usize,
    panels: *const f32,
    filters: usize,
    activation: Activation,
    y: *mut f32,
) {
    let width = WIDE * S::LANES;
    for p in 0..filters.div_ceil(width) {
        let live = width.min(filters - p * width);
        // SAFETY: as the caller's.
        unsafe {
            let panel = panels.add(p * (patch + 1) * width);
            let y = y.add(p * width);
            match (activation, live > S::LANES) {
                (Activation::Relu, true) => {
                    tile_out::<S, 2, RELU>(a, patch, rows, panel, live, y, filters);
                }
                (Activation::Relu, false) => {
                    tile_out::<S, 1, RELU>(a, patch, rows, panel, live, y, filters);
                }
                (Activation::LeakyRelu, true) => {
                    tile_out::<S, 2, LEAKY>(a, patch, rows, panel, live, y, filters);
                }
                (Activation::LeakyRelu, false) => {
                    tile_out::<S, 1, LEAKY>(a, patch, rows, panel, live, y, filters);
                }
                (Activation::Relu6, true) => {
                    tile_out::<S, 2, SIX>(a, patch, rows, panel, live, y, filters);
                }
                (Activation::Relu6, false) => {
                    tile_out::<S, 1, SIX>(a, patch, rows, panel, live, y, filters);
                }
                (_, true) => tile_out::<S, 2, AS_IT_IS>(a, patch, rows, panel, live, y, filters),
                (_, false) => tile_out::<S, 1, AS_IT_IS>(a, patch, rows, panel, live, y, filters),
            }
        }
    }
}

#[inline(always)]
unsafe fn tile_out<S: Simd, const V: usize, const KIND: u8>(
    a: *const f32,
    patch: usize,
    rows: usize,
    panel: *const f32,
    live: usize,
    y: *mut f32,
    filters: usize,
) {
    macro_rules! rows {
        ($r:literal) => {{
            // SAFETY: as the caller's.
            unsafe {
                let acc = rows_tile::<S, $r, V>(a, patch, patch, panel);
                for r in 0..$r {
                    // Not a bound of the loop: products stay in registers only where indices
                    // are known.
                    if r >= rows {
                        break;
                    }
                    for v in 0..V {
                        let out = in_register::<S, KIND>(acc[r][v]);
                        let to = y.add(r * filters + v * S::LANES);
                        let n = live - v * S::LANES;
                        if n >= S::LANES {
                            out.store(to);
                        } else {
                            out.store_part(to, n);
                        }
                    }
                }
            }
        }};
    }
    match S::ROWS {
        12 if rows > 6 => rows!(12),
        6 | 12 if rows > 4 => rows!(6),
        _ => rows!(4),
    }
}
