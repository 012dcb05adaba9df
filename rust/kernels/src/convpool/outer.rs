//! Weight gradients as a sum of outer products over pixels.

use super::simd::Simd;

/// Adds `a^T g` to `out`: `a` has `pixels` rows of `patch` numbers, `g` as many of `filters`,
/// `out` is (patch, filters).
///
/// # Safety
/// The tier is there.
#[inline(always)]
pub(super) unsafe fn add_outer<S: Simd>(
    a: &[f32],
    g: &[f32],
    pixels: usize,
    patch: usize,
    filters: usize,
    out: &mut [f32],
) {
    assert!(a.len() >= pixels * patch && g.len() >= pixels * filters);
    assert!(out.len() >= patch * filters);
    let mut o = 0;
    while o < filters {
        let live = (filters - o).min(2 * S::LANES);
        for k in (0..patch).step_by(S::ROWS) {
            let rows = (patch - k).min(S::ROWS);
            // SAFETY: sizes were checked; the tile begins at (k, o) and stays inside.
            unsafe {
                let (a, g) = (a.as_ptr().add(k), g.as_ptr().add(o));
                let out = out.as_mut_ptr().add(k * filters + o);
                macro_rules! tile {
                    ($r:literal) => {
                        if live == 2 * S::LANES {
                            tile::<S, $r, 2, false>(a, patch, g, filters, pixels, live, out)
                        } else if live > S::LANES {
                            tile::<S, $r, 2, true>(a, patch, g, filters, pixels, live, out)
                        } else if live == S::LANES {
                            tile::<S, $r, 1, false>(a, patch, g, filters, pixels, live, out)
                        } else {
                            tile::<S, $r, 1, true>(a, patch, g, filters, pixels, live, out)
                        }
                    };
                }
                match rows {
                    1 => tile!(1),
                    2 => tile!(2),
                    3 => tile!(3),
                    4 => tile!(4),
                    5 if S::ROWS > 4 => tile!(5),
                    6 if S::ROWS > 4 => tile!(6),
                    7 if S::ROWS > 6 => tile!(7),
                    8 if S::ROWS > 6 => tile!(8),
                    9 if S::ROWS > 6 => tile!(9),
                    10 if S::ROWS > 6 => tile!(10),
                    11 if S::ROWS > 6 => tile!(11),
                    _ if S::ROWS > 6 => tile!(12),
                    _ => unreachable!("a tile has at most ROWS rows"),
                }
            }
        }
        o += live;
    }
}

#[inline(always)]
unsafe fn tile<S: Simd, const R: usize, const V: usize, const TAIL: bool>(
    mut a: *const f32,
    patch: usize,
    mut g: *const f32,
    filters: usize,
    pixels: usize,
    live: usize,
    out: *mut f32,
) {
    // SAFETY: the caller gives R x live numbers of `out`, and `pixels` rows of a and g.
    unsafe {
        let tail = live - (V - 1) * S::LANES;
        let load = |at: *const f32, v: usize| {
            if TAIL && v + 1 == V {
                S::load_part(at.add(v * S::LANES), tail)
            } else {
                S::load(at.add(v * S::LANES))
            }
        };
        let mut acc = [[S::splat(0.0); V]; R];
        for _ in 0..pixels {
            let mut right = [S::splat(0.0); V];
            for v in 0..V {
                right[v] = load(g, v);
            }
            for r in 0..R {
                let x = S::splat(*a.add(r));
                for v in 0..V {
                    acc[r][v] = x.mul_add(right[v], acc[r][v]);
                }
            }
            // The last step leads past the end, so it must not claim to stay inside.
            a = a.wrapping_add(patch);
            g = g.wrapping_add(filters);
        }
        for r in 0..R {
            let out = out.add(r * filters);
            for v in 0..V {
                let sum = load(out, v).add(acc[r][v]);
                if TAIL && v + 1 == V {
                    sum.store_part(out.add(v * S::LANES), tail);
                } else {
                    sum.store(out.add(v * S::LANES));
                }
            }
        }
    }
}

/// Adds the columns' sums of rows of `g` to `out`.
#[inline(always)]
pub(super) fn add_columns(g: &[f32], out: &mut [f32]) {
    for g in g.chunks_exact(out.len()) {
        for (out, g) in out.iter_mut().zip(g) {
            *out += g;
        }
    }
}
