//! The loops themselves, written once over [`Simd`].
//!
//! Points lie in the lanes: a panel holds feature after feature of up to two registers of
//! points, so that a product needs no horizontal step. Each product is one chain of fused
//! operations over the features, whatever the blocking, so a point's scores do not depend on
//! its place in a panel.

use super::packed::Packed;
use super::simd::Simd;

/// Features that are turned for all rows of a panel before the next ones are read.
const STRIP: usize = 64;

/// Writes `rows[p][j] - offset[j]` to `panel[j * width + p]` for `width` rows.
///
/// # Safety
/// The tier of `S` is there; `rows` are `width` pointers to as many elements as `offset` has,
/// `panel` holds their product, and `width` is a multiple of `S::TILE`.
#[inline(always)]
pub unsafe fn pack<S: Simd>(rows: &[*const S::Elem], offset: &[S::Elem], panel: &mut [S::Elem]) {
    let (width, d) = (rows.len(), offset.len());
    assert!(width.is_multiple_of(S::TILE) && panel.len() >= width * d);
    let whole = d / S::TILE * S::TILE;
    let out = panel.as_mut_ptr();
    let mut strip = 0;
    while strip < whole {
        let end = (strip + STRIP).min(whole);
        let mut p = 0;
        while p < width {
            // The rows' next strip: too many rows at once for the processor to foresee.
            for row in &rows[p..p + S::TILE] {
                let mut ahead = end;
                while ahead < (end + STRIP).min(d) {
                    S::prefetch(row.wrapping_add(ahead));
                    ahead += 64 / size_of::<S::Elem>();
                }
            }
            let mut j = strip;
            while j < end {
                // SAFETY: p + TILE <= width and j + TILE <= d.
                unsafe {
                    S::transpose(
                        rows.as_ptr().add(p),
                        j,
                        offset.as_ptr(),
                        out.add(j * width + p),
                        width,
                    );
                }
                j += S::TILE;
            }
            p += S::TILE;
        }
        strip = end;
    }
    for j in whole..d {
        for p in 0..width {
            // SAFETY: every row has d elements; the panel holds width * d.
            unsafe { *out.add(j * width + p) = *(*rows.get_unchecked(p)).add(j) - offset[j] };
        }
    }
}

/// What [`nearest`] finds for each point of a panel: lowest score, the lowest but one, and the
/// name of the centre with the lowest.
pub struct Best<'a, T> {
    /// Lowest scores.
    pub best: &'a mut [T],
    /// Second-lowest scores; meaningless unless asked for.
    pub second: &'a mut [T],
    /// Names of the best centres.
    pub name: &'a mut [T],
}

/// One block of centres against one panel; `state` is best, second and name of each register.
#[inline(always)]
unsafe fn block<S: Simd, const NV: usize, const CB: usize, const SECOND: bool>(
    panel: *const S::Elem,
    d: usize,
    centres: *const S::Elem,
    half: *const S::Elem,
    names: *const S::Elem,
    state: &mut [[S; 3]; NV],
) {
    // SAFETY: the caller's panel holds NV registers for each of d features, its centres CB
    // elements for each feature, and half and names CB elements.
    unsafe {
        let mut acc = [[S::splat(S::Elem::default()); NV]; CB];
        for j in 0..d {
            let mut x = [S::splat(S::Elem::default()); NV];
            for v in 0..NV {
                x[v] = S::load(panel.add((j * NV + v) * S::LANES));
            }
            for c in 0..CB {
                let y = S::splat(*centres.add(j * CB + c));
                for v in 0..NV {
                    acc[c][v] = x[v].mul_add(y, acc[c][v]);
                }
            }
        }
        for c in 0..CB {
            let h = S::splat(*half.add(c));
            let name = S::splat(*names.add(c));
            for v in 0..NV {
                let score = h.sub(acc[c][v]);
                let [best, second, who] = state[v];
                state[v] = [
                    score.min(best),
                    if SECOND {
                        score.max(best).min(second)
                    } else {
                        second
                    },
                    score.select_lt(best, name, who),
                ];
            }
        }
    }
}

#[inline(always)]
unsafe fn nearest_in<S: Simd, const NV: usize, const SECOND: bool>(
    panel: &[S::Elem],
    packed: &Packed<S::Elem>,
    infinite: S::Elem,
    out: &mut Best<S::Elem>,
) {
    let d = packed.features;
    assert!(panel.len() >= d * NV * S::LANES);
    for part in [&out.best, &out.second, &out.name] {
        assert!(part.len() >= NV * S::LANES);
    }
    // SAFETY: sizes were just checked; a block of a `Packed` holds what its count says.
    unsafe {
        let mut state = [[
            S::splat(infinite),
            S::splat(infinite),
            S::splat(S::Elem::default()),
        ]; NV];
        let p = panel.as_ptr();
        for b in &packed.blocks {
            let c = packed.data.as_ptr().add(b.first * d);
            let h = packed.half.as_ptr().add(b.first);
            let n = packed.names.as_ptr().add(b.first);
            let s = &mut state;
            match b.count {
                1 => block::<S, NV, 1, SECOND>(p, d, c, h, n, s),
                2 => block::<S, NV, 2, SECOND>(p, d, c, h, n, s),
                3 => block::<S, NV, 3, SECOND>(p, d, c, h, n, s),
                4 => block::<S, NV, 4, SECOND>(p, d, c, h, n, s),
                5 => block::<S, NV, 5, SECOND>(p, d, c, h, n, s),
                6 => block::<S, NV, 6, SECOND>(p, d, c, h, n, s),
                7 => block::<S, NV, 7, SECOND>(p, d, c, h, n, s),
                8 => block::<S, NV, 8, SECOND>(p, d, c, h, n, s),
                9 => block::<S, NV, 9, SECOND>(p, d, c, h, n, s),
                10 => block::<S, NV, 10, SECOND>(p, d, c, h, n, s),
                11 => block::<S, NV, 11, SECOND>(p, d, c, h, n, s),
                _ => block::<S, NV, 12, SECOND>(p, d, c, h, n, s),
            }
        }
        for v in 0..NV {
            let [best, second, name] = state[v];
            best.store(out.best.as_mut_ptr().add(v * S::LANES));
            second.store(out.second.as_mut_ptr().add(v * S::LANES));
            name.store(out.name.as_mut_ptr().add(v * S::LANES));
        }
    }
}

/// Lowest `|c|^2 / 2 - x.c` over the centres for each point of a panel of one register
/// (`wide` false) or two.
///
/// # Safety
/// The tier of `S` is there.
#[inline(always)]
pub unsafe fn nearest<S: Simd>(
    panel: &[S::Elem],
    wide: bool,
    second: bool,
    packed: &Packed<S::Elem>,
    infinite: S::Elem,
    out: &mut Best<S::Elem>,
) {
    // SAFETY: as the caller's.
    unsafe {
        match (wide, second) {
            (true, true) => nearest_in::<S, 2, true>(panel, packed, infinite, out),
            (true, false) => nearest_in::<S, 2, false>(panel, packed, infinite, out),
            (false, true) => nearest_in::<S, 1, true>(panel, packed, infinite, out),
            (false, false) => nearest_in::<S, 1, false>(panel, packed, infinite, out),
        }
    }
}

#[inline(always)]
unsafe fn squares_block<S: Simd, const NV: usize, const CB: usize>(
    panel: *const S::Elem,
    d: usize,
    centres: *const S::Elem,
    out: *mut S::Elem,
) {
    // SAFETY: as in `block`; out holds CB * NV registers.
    unsafe {
        let mut acc = [[S::splat(S::Elem::default()); NV]; CB];
        for j in 0..d {
            let mut x = [S::splat(S::Elem::default()); NV];
            for v in 0..NV {
                x[v] = S::load(panel.add((j * NV + v) * S::LANES));
            }
            for c in 0..CB {
                let y = S::splat(*centres.add(j * CB + c));
                for v in 0..NV {
                    let t = x[v].sub(y);
                    acc[c][v] = t.mul_add(t, acc[c][v]);
                }
            }
        }
        for c in 0..CB {
            for v in 0..NV {
                acc[c][v].store(out.add((c * NV + v) * S::LANES));
            }
        }
    }
}

#[inline(always)]
unsafe fn squares_in<S: Simd, const NV: usize>(
    panel: &[S::Elem],
    packed: &Packed<S::Elem>,
    out: &mut [S::Elem],
) {
    let d = packed.features;
    let width = NV * S::LANES;
    assert!(panel.len() >= d * width && out.len() >= packed.len() * width);
    let p = panel.as_ptr();
    for b in &packed.blocks {
        // SAFETY: sizes were just checked; a block of a `Packed` holds what its count says.
        unsafe {
            let c = packed.data.as_ptr().add(b.first * d);
            let o = out.as_mut_ptr().add(b.first * width);
            match b.count {
                1 => squares_block::<S, NV, 1>(p, d, c, o),
                2 => squares_block::<S, NV, 2>(p, d, c, o),
                3 => squares_block::<S, NV, 3>(p, d, c, o),
                4 => squares_block::<S, NV, 4>(p, d, c, o),
                5 => squares_block::<S, NV, 5>(p, d, c, o),
                6 => squares_block::<S, NV, 6>(p, d, c, o),
                7 => squares_block::<S, NV, 7>(p, d, c, o),
                8 => squares_block::<S, NV, 8>(p, d, c, o),
                9 => squares_block::<S, NV, 9>(p, d, c, o),
                10 => squares_block::<S, NV, 10>(p, d, c, o),
                11 => squares_block::<S, NV, 11>(p, d, c, o),
                _ => squares_block::<S, NV, 12>(p, d, c, o),
            }
        }
    }
}

/// `|x - c|^2` by differences, centre after centre, for the points of a panel.
///
/// # Safety
/// The tier of `S` is there.
#[inline(always)]
pub unsafe fn squares<S: Simd>(
    panel: &[S::Elem],
    wide: bool,
    packed: &Packed<S::Elem>,
    out: &mut [S::Elem],
) {
    // SAFETY: as the caller's.
    unsafe {
        if wide {
            squares_in::<S, 2>(panel, packed, out);
        } else {
            squares_in::<S, 1>(panel, packed, out);
        }
    }
}

/// `|x - offset - c|^2` of one row and one centre, in four chains.
///
/// # Safety
/// The tier of `S` is there.
#[inline(always)]
pub unsafe fn pair<S: Simd>(x: &[S::Elem], offset: &[S::Elem], c: &[S::Elem]) -> S::Elem {
    let d = x.len();
    assert!(offset.len() == d && c.len() == d);
    // SAFETY: every index is below d.
    unsafe {
        let step = |j: usize, acc: S| {
            let t = S::load(x.as_ptr().add(j))
                .sub(S::load(offset.as_ptr().add(j)))
                .sub(S::load(c.as_ptr().add(j)));
            t.mul_add(t, acc)
        };
        let mut acc = [S::splat(S::Elem::default()); 4];
        let mut j = 0;
        while j + 4 * S::LANES <= d {
            for v in 0..4 {
                acc[v] = step(j + v * S::LANES, acc[v]);
            }
            j += 4 * S::LANES;
        }
        while j + S::LANES <= d {
            acc[0] = step(j, acc[0]);
            j += S::LANES;
        }
        let mut sum = (acc[0].add(acc[1])).add(acc[2].add(acc[3])).sum();
        while j < d {
            let t = x[j] - offset[j] - c[j];
            sum = sum + t * t;
            j += 1;
        }
        sum
    }
}

/// Adds `weight * (x - offset)` to `sum`, in double precision; the difference is rounded to
/// the element type first, as everywhere else.
#[inline(always)]
pub fn add_row<T: Copy + std::ops::Sub<Output = T> + Into<f64>>(
    x: &[T],
    offset: &[T],
    weight: f64,
    sum: &mut [f64],
) {
    for ((s, &x), &o) in sum.iter_mut().zip(x).zip(offset) {
        let t: f64 = (x - o).into();
        *s += weight * t;
    }
}

#[inline(always)]
unsafe fn dots_in<S: Simd, const NV: usize>(panel: &[S::Elem], x: &[S::Elem], out: &mut [S::Elem]) {
    let width = NV * S::LANES;
    assert!(panel.len() >= x.len() * width && out.len() >= width);
    // SAFETY: sizes were just checked.
    unsafe {
        let mut acc = [S::splat(S::Elem::default()); NV];
        for (j, &x) in x.iter().enumerate() {
            let y = S::splat(x);
            for v in 0..NV {
                acc[v] = S::load(panel.as_ptr().add((j * NV + v) * S::LANES)).mul_add(y, acc[v]);
            }
        }
        for v in 0..NV {
            acc[v].store(out.as_mut_ptr().add(v * S::LANES));
        }
    }
}

/// Products of one row with the points of a panel.
///
/// # Safety
/// The tier of `S` is there.
#[inline(always)]
pub unsafe fn dots<S: Simd>(panel: &[S::Elem], wide: bool, x: &[S::Elem], out: &mut [S::Elem]) {
    // SAFETY: as the caller's.
    unsafe {
        if wide {
            dots_in::<S, 2>(panel, x, out);
        } else {
            dots_in::<S, 1>(panel, x, out);
        }
    }
}
