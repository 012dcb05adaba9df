//! Convolution, bias, activation and 2 x 2 maximum in one loop over NHWC rows.
//!
//! A tile is a few pooled cells, each of four overlapping patches, by two registers of output
//! channels. A row of a patch is contiguous in an NHWC image, so patches are read where they
//! are; what is written is the maximum and which of the four pixels had it.

use super::panels::{AS_IT_IS, LEAKY, RELU, SIX, WIDE, in_register};
use super::simd::Simd;
use crate::gemm::Activation;

/// Where the patches of a layer lie, in numbers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reach {
    /// From one row of the image to the next.
    pub row: usize,
    /// From one pixel to the next.
    pub pixel: usize,
    /// Rows of a patch.
    pub rows: usize,
    /// Numbers in a row of a patch.
    pub run: usize,
}

/// The four products of each of `C` cells with `V` registers of a panel; a cell's pointer is to
/// its first patch.
///
/// # Safety
/// The tier is there, the patches lie inside the image, the panel has `rows * run + 1` rows.
#[inline(always)]
unsafe fn cells_tile<S: Simd, const C: usize, const V: usize>(
    cells: &[*const f32; C],
    reach: Reach,
    panel: *const f32,
) -> [[[S; V]; 4]; C] {
    // SAFETY: as the caller's; pointers that the last step leads past the image are not used.
    unsafe {
        let width = WIDE * S::LANES;
        let mut acc = [[[S::splat(0.0); V]; 4]; C];
        for c in 0..C {
            for p in 0..4 {
                for v in 0..V {
                    acc[c][p][v] = S::load(panel.add(v * S::LANES));
                }
            }
        }
        let mut w = panel.add(width);
        let mut left = *cells;
        let mut right = *cells;
        for c in 0..C {
            right[c] = right[c].wrapping_add(reach.pixel);
        }
        for _ in 0..reach.rows {
            for _ in 0..reach.run {
                let mut weights = [S::splat(0.0); V];
                for v in 0..V {
                    weights[v] = S::load(w.add(v * S::LANES));
                }
                w = w.add(width);
                for c in 0..C {
                    for p in 0..4 {
                        let top = if p % 2 == 0 { left[c] } else { right[c] };
                        let x = S::splat(*top.add(p / 2 * reach.row));
                        for v in 0..V {
                            acc[c][p][v] = x.mul_add(weights[v], acc[c][p][v]);
                        }
                    }
                }
                for c in 0..C {
                    left[c] = left[c].wrapping_add(1);
                    right[c] = right[c].wrapping_add(1);
                }
            }
            for c in 0..C {
                left[c] = left[c].wrapping_add(reach.row - reach.run);
                right[c] = right[c].wrapping_add(reach.row - reach.run);
            }
        }
        acc
    }
}

/// One tile: maximum and its position for `count` cells, written at `y` and `argmax`.
///
/// # Safety
/// As [`cells_tile`]; `y` and `argmax` hold `count` rows of `filters`, of which `live` channels
/// from the pointer on belong to the panel.
#[inline(always)]
unsafe fn tile_out<S: Simd, const C: usize, const V: usize, const KIND: u8>(
    cells: &[*const f32; C],
    count: usize,
    reach: Reach,
    panel: *const f32,
    live: usize,
    y: *mut f32,
    argmax: *mut u8,
    filters: usize,
) {
    // SAFETY: as the caller's.
    unsafe {
        let acc = cells_tile::<S, C, V>(cells, reach, panel);
        for c in 0..C {
            // Not a bound of the loop: products stay in registers only where indices are known.
            if c >= count {
                break;
            }
            for v in 0..V {
                // Activations never fall, so the maximum may be taken before them; a rectifier
                // comes first all the same, because its zeros are ties that the first pixel
                // wins.
                let mut four = [S::splat(0.0); 4];
                for p in 0..4 {
                    four[p] = acc[c][p][v];
                    // Of numbers that a rectifier makes equal the first one counts.
                    if KIND == RELU || KIND == SIX {
                        four[p] = in_register::<S, KIND>(four[p]);
                    }
                }
                let mut best = four[0];
                let mut which = S::splat(0.0);
                for p in 1..4 {
                    which = best.select_lt(four[p], S::splat(p as f32), which);
                    best = four[p].max(best);
                }
                // A comparison with NaN is false, so NaN would be lost.
                best = best.or_nan(four[0], four[1]).or_nan(four[2], four[3]);
                if KIND == LEAKY {
                    best = in_register::<S, KIND>(best);
                }
                let at = c * filters + v * S::LANES;
                let n = live - v * S::LANES;
                if n >= S::LANES {
                    best.store(y.add(at));
                } else {
                    best.store_part(y.add(at), n);
                }
                which.store_bytes(argmax.add(at), n.min(S::LANES));
            }
        }
    }
}

/// Cells at `offsets` of the images `x` with all panels.
///
/// # Safety
/// The tier is there; the four patches of every cell lie inside `x`; `panels` are those of
/// `filters` channels; `y` and `argmax` hold a row of `filters` for each cell.
#[inline(always)]
pub(super) unsafe fn forward<S: Simd>(
    x: &[f32],
    offsets: &[u32],
    reach: Reach,
    panels: &[f32],
    filters: usize,
    activation: Activation,
    y: &mut [f32],
    argmax: &mut [u8],
) {
    // SAFETY: as the caller's.
    unsafe {
        match activation {
            Activation::Relu => {
                all::<S, RELU>(x, offsets, reach, panels, filters, y, argmax);
            }
            Activation::LeakyRelu => {
                all::<S, LEAKY>(x, offsets, reach, panels, filters, y, argmax);
            }
            Activation::Relu6 => {
                all::<S, SIX>(x, offsets, reach, panels, filters, y, argmax);
            }
            _ => all::<S, AS_IT_IS>(x, offsets, reach, panels, filters, y, argmax),
        }
    }
}

#[inline(always)]
unsafe fn all<S: Simd, const KIND: u8>(
    x: &[f32],
    offsets: &[u32],
    reach: Reach,
    panels: &[f32],
    filters: usize,
    y: &mut [f32],
    argmax: &mut [u8],
) {
    let width = WIDE * S::LANES;
    for p in 0..filters.div_ceil(width) {
        let live = width.min(filters - p * width);
        let panel = panels[p * (reach.rows * reach.run + 1) * width..].as_ptr();
        macro_rules! cells {
            ($c:literal, $v:literal) => {
                for first in (0..offsets.len()).step_by($c) {
                    let count = $c.min(offsets.len() - first);
                    let mut cells = [x.as_ptr(); $c];
                    // SAFETY: offsets lie inside the image, a tile that is not full repeats its
                    // last cell; the rest is the caller's promise.
                    unsafe {
                        for (c, cell) in cells.iter_mut().enumerate() {
                            let at = offsets[first + c.min(count - 1)];
                            *cell = cell.add(at as usize);
                        }
                        let out = first * filters + p * width;
                        tile_out::<S, $c, $v, KIND>(
                            &cells,
                            count,
                            reach,
                            panel,
                            live,
                            y.as_mut_ptr().add(out),
                            argmax.as_mut_ptr().add(out),
                            filters,
                        );
                    }
                }
            };
        }
        match (S::CELLS, live > S::LANES) {
            (3, true) => cells!(3usize, 2),
            (3, false) => cells!(3usize, 1),
            (_, true) => cells!(1usize, 2),
            (_, false) => cells!(1usize, 1),
        }
    }
}
