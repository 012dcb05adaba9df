//! Gradients through a pooled convolution.
//!
//! Of the four pixels of a cell only one, for each channel another, has a gradient. So nothing
//! is spread out to the unpooled image: the weights of a channel receive `g * patch(argmax)`,
//! and the input receives `g * weights(channel)` at the patch of the argmax. Zero gradients
//! (half of them behind a rectifier) are dropped from the lists at once.

use super::pool_forward::Reach;
use super::simd::Simd;

/// Cells whose lists are made and used together, so that they and their patches stay in the
/// first-level cache.
pub(super) const BLOCK: usize = 32;

/// Longest row of a patch, in numbers, for which output channels are laid in the lanes instead
/// of the row.
pub(super) const SHORT_RUN: usize = 12;

/// Elements of a patch with one accumulator each in [`short_weights`].
const SHORT: usize = 9;

/// Adds `g * patch(argmax)` to the gradient of the weights, (channel, row, run rounded up to
/// whole registers), for one block of cells.
///
/// # Safety
/// The tier is there; patches lie inside `x`; `g` and `argmax` hold `cells.len()` rows of
/// `filters`; `values` and `places` have room for that many numbers; `shifts[p]` is the way from
/// a cell's first patch to that of pixel `p`.
#[inline(always)]
pub(super) unsafe fn weights<S: Simd>(
    x: *const f32,
    cells: &[u32],
    shifts: [u32; 4],
    reach: Reach,
    filters: usize,
    g: &[f32],
    argmax: &[u8],
    gw: &mut [f32],
    values: &mut [f32],
    places: &mut [u32],
) {
    let padded = reach.run.next_multiple_of(S::LANES);
    let rows = RowsOf {
        row: reach.row,
        rows: reach.rows,
        run: reach.run,
        padded,
    };
    let (values, places) = (&mut values[..cells.len()], &mut places[..cells.len()]);
    let (g, argmax) = (
        &g[..cells.len() * filters],
        &argmax[..cells.len() * filters],
    );
    for o in 0..filters {
        let mut count = 0;
        for (c, &cell) in cells.iter().enumerate() {
            // SAFETY: c counts cells and o filters, whose product is the length of g and
            // argmax; count is at most c, below the length of values and places.
            unsafe {
                let value = *g.get_unchecked(c * filters + o);
                let which = *argmax.get_unchecked(c * filters + o);
                *values.get_unchecked_mut(count) = value;
                *places.get_unchecked_mut(count) = cell + shifts[(which & 3) as usize];
                // Without a branch: whether a gradient is zero cannot be predicted.
                count += (value != 0.0) as usize;
            }
        }
        let gw = gw[o * reach.rows * padded..][..reach.rows * padded].as_mut_ptr();
        // SAFETY: as the caller's.
        unsafe { patches::<S>(x, &places[..count], &values[..count], rows, gw) }
    }
}

/// How the rows of a patch lie in the image and in the gradient.
#[derive(Clone, Copy)]
pub(super) struct RowsOf {
    /// From one row of the patch to the next, in the image.
    pub row: usize,
    /// Rows of a patch.
    pub rows: usize,
    /// Numbers in a row.
    pub run: usize,
    /// From one row to the next in the gradient: the run in whole registers.
    pub padded: usize,
}

/// Adds the patches at `places`, each times its value, to `gw`.
///
/// # Safety
/// The tier is there; patches lie inside the memory at `x`; `gw` holds `rows * padded` numbers.
#[inline(always)]
pub(super) unsafe fn patches<S: Simd>(
    x: *const f32,
    places: &[u32],
    values: &[f32],
    reach: RowsOf,
    gw: *mut f32,
) {
    let padded = reach.padded;
    let vectors = padded / S::LANES;
    let tail = reach.run % S::LANES;
    // SAFETY: as the caller's; whole registers and a tail of `tail` numbers make up a run.
    unsafe {
        // All rows of a patch at once where the registers suffice: fewer turns of the loop.
        if reach.rows == 3 && tail == 0 && S::RUN >= 18 && vectors.is_multiple_of(6) {
            for v in (0..vectors).step_by(6) {
                let at = v * S::LANES;
                sum_patches::<S, 3, 6>(x.add(at), places, values, reach.row, padded, gw.add(at), 0);
            }
            return;
        }
        for r in 0..reach.rows {
            let (x, gw) = (x.add(r * reach.row), gw.add(r * padded));
            let mut v = 0;
            while v < vectors {
                let at = v * S::LANES;
                let (x, gw) = (x.add(at), gw.add(at));
                let step = (vectors - v).min(6);
                let tail = if v + step == vectors { tail } else { 0 };
                macro_rules! run {
                    ($n:literal) => {
                        sum_patches::<S, 1, $n>(x, places, values, 0, padded, gw, tail)
                    };
                }
                match step {
                    1 => run!(1),
                    2 => run!(2),
                    3 => run!(3),
                    4 => run!(4),
                    5 => run!(5),
                    _ => run!(6),
                }
                v += step;
            }
        }
    }
}

#[inline(always)]
unsafe fn sum_patches<S: Simd, const R: usize, const V: usize>(
    x: *const f32,
    places: &[u32],
    values: &[f32],
    row: usize,
    padded: usize,
    gw: *mut f32,
    tail: usize,
) {
    // SAFETY: as the caller's.
    unsafe {
        let mut acc = [[S::splat(0.0); V]; R];
        for r in 0..R {
            for v in 0..V {
                acc[r][v] = S::load(gw.add(r * padded + v * S::LANES));
            }
        }
        macro_rules! turn {
            ($last:expr) => {
                for (&place, &value) in places.iter().zip(values) {
                    let x = x.add(place as usize);
                    let value = S::splat(value);
                    for r in 0..R {
                        for v in 0..V {
                            let at = x.add(r * row + v * S::LANES);
                            let x = if v + 1 == V { $last(at) } else { S::load(at) };
                            acc[r][v] = x.mul_add(value, acc[r][v]);
                        }
                    }
                }
            };
        }
        if tail == 0 {
            turn!(|at| S::load(at));
        } else {
            turn!(|at| S::load_part(at, tail));
        }
        for r in 0..R {
            for v in 0..V {
                acc[r][v].store(gw.add(r * padded + v * S::LANES));
            }
        }
    }
}

/// The same for short rows, as those of an image with one channel: output channels in the
/// lanes, the right one of four pixels picked by a permutation. Adds to `gw` as it is (patch,
/// filters).
///
/// # Safety
/// As [`weights`]; `fours` holds `4 * patch * cells.len()` numbers.
#[inline(always)]
pub(super) unsafe fn short_weights<S: Simd>(
    x: *const f32,
    cells: &[u32],
    reach: Reach,
    filters: usize,
    g: &[f32],
    argmax: &[u8],
    gw: &mut [f32],
    fours: &mut [f32],
) {
    let patch = reach.rows * reach.run;
    let fours = &mut fours[..4 * patch * cells.len()];
    let mut to = fours.as_mut_ptr();
    for &cell in cells {
        for r in 0..reach.rows {
            for k in 0..reach.run {
                // SAFETY: the four patches of a cell lie inside the image, and fours holds four
                // numbers for each of `patch` elements of each cell.
                unsafe {
                    let top = x.add(cell as usize + r * reach.row + k);
                    let bottom = top.add(reach.row);
                    if reach.pixel == 1 {
                        let pair = top.cast::<[f32; 2]>().read_unaligned();
                        to.cast::<[f32; 2]>().write_unaligned(pair);
                        let pair = bottom.cast::<[f32; 2]>().read_unaligned();
                        to.add(2).cast::<[f32; 2]>().write_unaligned(pair);
                    } else {
                        *to = *top;
                        *to.add(1) = *top.add(reach.pixel);
                        *to.add(2) = *bottom;
                        *to.add(3) = *bottom.add(reach.pixel);
                    }
                    to = to.add(4);
                }
            }
        }
    }
    let lanes = S::LANES;
    for o in (0..filters).step_by(lanes) {
        let n = lanes.min(filters - o);
        for k in (0..patch).step_by(SHORT) {
            let (g, argmax) = (&g[o..], &argmax[o..]);
            let (gw, fours) = (&mut gw[k * filters + o..], &fours[4 * k..]);
            macro_rules! pass {
                ($k:literal) => {
                    // SAFETY: as the caller's, at channel `o` and patch element `k`.
                    unsafe {
                        short_pass::<S, $k>(
                            cells.len(),
                            4 * patch,
                            filters,
                            n,
                            g.as_ptr(),
                            argmax.as_ptr(),
                            gw.as_mut_ptr(),
                            fours.as_ptr(),
                        )
                    }
                };
            }
            match patch - k {
                1 => pass!(1),
                2 => pass!(2),
                3 => pass!(3),
                4 => pass!(4),
                5 => pass!(5),
                6 => pass!(6),
                7 => pass!(7),
                8 => pass!(8),
                _ => pass!(9),
            }
        }
    }
}

#[inline(always)]
unsafe fn short_pass<S: Simd, const K: usize>(
    cells: usize,
    step: usize,
    filters: usize,
    n: usize,
    g: *const f32,
    argmax: *const u8,
    gw: *mut f32,
    fours: *const f32,
) {
    // SAFETY: as the caller's.
    unsafe {
        let mut acc = [S::splat(0.0); K];
        for k in 0..K {
            acc[k] = S::load_part(gw.add(k * filters), n);
        }
        for c in 0..cells {
            let value = S::load_part(g.add(c * filters), n);
            let which = S::which(argmax.add(c * filters), n);
            let fours = fours.add(c * step);
            for k in 0..K {
                acc[k] = S::pick(fours.add(4 * k), which).mul_add(value, acc[k]);
            }
        }
        for k in 0..K {
            acc[k].store_part(gw.add(k * filters), n);
        }
    }
}

/// Adds `g * weights(channel)` at the patch of the argmax to the gradient of the input, for one
/// block of cells. `turned` are the weights as (row, channel, run rounded up to whole registers).
///
/// # Safety
/// The tier is there; patches lie inside `gx`; the other sizes as in [`weights`], but `values`
/// and `places` have room for `4 * cells.len() * filters` numbers.
#[inline(always)]
pub(super) unsafe fn input<S: Simd>(
    gx: *mut f32,
    cells: &[u32],
    shifts: [u32; 4],
    reach: Reach,
    filters: usize,
    g: &[f32],
    argmax: &[u8],
    turned: &[f32],
    values: &mut [f32],
    places: &mut [u32],
) {
    let padded = reach.run.next_multiple_of(S::LANES);
    let vectors = padded / S::LANES;
    let tail = reach.run % S::LANES;
    let mut counts = [[0u32; 4]; BLOCK];
    for c in 0..cells.len() {
        for p in 0..4 {
            let base = (4 * c + p) * filters;
            let mut count = 0;
            for o in (0..filters).step_by(S::LANES) {
                let n = S::LANES.min(filters - o);
                let at = c * filters + o;
                // SAFETY: each list has room for `filters` numbers.
                count += unsafe {
                    S::gather_position(
                        g[at..at + n].as_ptr(),
                        argmax[at..at + n].as_ptr(),
                        n,
                        p as u8,
                        o,
                        padded,
                        values[base + count..base + filters].as_mut_ptr(),
                        places[base + count..base + filters].as_mut_ptr(),
                    )
                };
            }
            counts[c][p] = count as u32;
        }
    }
    for r in 0..reach.rows {
        let turned = turned[r * filters * padded..][..filters * padded].as_ptr();
        let mut v = 0;
        while v < vectors {
            let step = (vectors - v).min(6);
            let tail = if v + step == vectors { tail } else { 0 };
            macro_rules! run {
                ($n:literal) => {
                    for (c, &cell) in cells.iter().enumerate() {
                        for p in 0..4 {
                            let base = (4 * c + p) * filters;
                            let count = counts[c][p] as usize;
                            // SAFETY: as the caller's.
                            unsafe {
                                let at = (cell + shifts[p]) as usize + r * reach.row + v * S::LANES;
                                spread::<S, $n>(
                                    &values[base..base + count],
                                    &places[base..base + count],
                                    turned.add(v * S::LANES),
                                    gx.add(at),
                                    tail,
                                );
                            }
                        }
                    }
                };
            }
            match step {
                1 => run!(1),
                2 => run!(2),
                3 => run!(3),
                4 => run!(4),
                5 => run!(5),
                _ => run!(6),
            }
            v += step;
        }
    }
}

/// Adds the weights at `places`, each times its value, to `V` registers at `gx`.
#[inline(always)]
unsafe fn spread<S: Simd, const V: usize>(
    values: &[f32],
    places: &[u32],
    turned: *const f32,
    gx: *mut f32,
    tail: usize,
) {
    if values.is_empty() {
        return;
    }
    // SAFETY: as the caller's.
    unsafe {
        let mut acc = [S::splat(0.0); V];
        for (&value, &place) in values.iter().zip(places) {
            let value = S::splat(value);
            let w = turned.add(place as usize);
            for v in 0..V {
                acc[v] = S::load(w.add(v * S::LANES)).mul_add(value, acc[v]);
            }
        }
        for v in 0..V {
            let at = gx.add(v * S::LANES);
            if tail > 0 && v + 1 == V {
                S::load_part(at, tail).add(acc[v]).store_part(at, tail);
            } else {
                S::load(at).add(acc[v]).store(at);
            }
        }
    }
}
