//! Loops of kernel machines: exponentials of squared distances, products of sparse rows with
//! a block of dense ones, and the scans of sequential minimal optimisation.
//!
//! Each loop is plain code over independent lanes, compiled once for the baseline and once
//! for AVX2 with FMA (the scans of pairs are written out for it). The order of the operations within a lane and the rule for ties (the
//! first position wins) are the same for both.

use crate::tier::Tier;

/// Lanes of the scans; the slices that they take have a multiple of this length.
pub const LANES: usize = 8;

/// Dense rows side by side in the block that [`spread`] takes.
pub const SPREAD: usize = 16;

/// Lower bound of a pair's curvature, as in LIBSVM.
pub const CURVATURE: f64 = 1e-12;

macro_rules! tiered {
    ($(#[$doc:meta])* $name:ident = $body:ident($($arg:ident: $t:ty),*) $(-> $r:ty)?) => {
        $(#[$doc])*
        pub fn $name(tier: Tier, $($arg: $t),*) $(-> $r)? {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx2,fma")]
                fn wide($($arg: $t),*) $(-> $r)? {
                    $body::<true>($($arg),*)
                }
                if tier >= Tier::Avx2 {
                    // SAFETY: such a tier is only in force where the processor has AVX2 and FMA.
                    return unsafe { wide($($arg),*) };
                }
            }
            let _ = tier;
            $body::<false>($($arg),*)
        }
    };
}

#[inline(always)]
fn fma<const FUSED: bool>(a: f64, b: f64, c: f64) -> f64 {
    if FUSED { a.mul_add(b, c) } else { a * b + c }
}

/// `1 / k!` for `k` from 13 down to 0.
const INVERSE_FACTORIALS: [f64; 14] = [
    1.0 / 6_227_020_800.0,
    1.0 / 479_001_600.0,
    1.0 / 39_916_800.0,
    1.0 / 3_628_800.0,
    1.0 / 362_880.0,
    1.0 / 40_320.0,
    1.0 / 5_040.0,
    1.0 / 720.0,
    1.0 / 120.0,
    1.0 / 24.0,
    1.0 / 6.0,
    0.5,
    1.0,
    1.0,
];

/// `exp(x)` for `x <= 0`, never below the smallest normal number; NaN stays NaN.
#[inline(always)]
fn exp_lane<const FUSED: bool>(x: f64) -> f64 {
    // Adding this number leaves the nearest integer in the lowest bits of the sum.
    const ROUND: f64 = 6_755_399_441_055_744.0;
    const LN2_HIGH: f64 = 6.931_471_803_691_238e-1;
    const LN2_LOW: f64 = 1.908_214_929_270_587_7e-10;
    let x = if x < -708.0 { -708.0 } else { x };
    let shifted = fma::<FUSED>(x, std::f64::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    let r = fma::<FUSED>(n, -LN2_HIGH, x);
    let r = fma::<FUSED>(n, -LN2_LOW, r);
    let mut p = INVERSE_FACTORIALS[0];
    for &c in &INVERSE_FACTORIALS[1..] {
        p = fma::<FUSED>(p, r, c);
    }
    p * f64::from_bits((shifted.to_bits() << 52).wrapping_add(1.0f64.to_bits()))
}

#[inline(always)]
fn gaussian_body<const FUSED: bool>(
    products: &mut [f64],
    square: f64,
    squares: &[f64],
    gamma: f64,
) {
    for (p, &s) in products.iter_mut().zip(squares) {
        let distance = (square + s) - 2.0 * *p;
        // Rounding may make the distance of equal rows negative; NaN must stay.
        let distance = if distance < 0.0 { 0.0 } else { distance };
        *p = exp_lane::<FUSED>(-gamma * distance);
    }
}

tiered! {
    /// Turns products of a row with others into `exp(-gamma * squared distance)`, given the
    /// squared lengths of the row and of the others.
    gaussian = gaussian_body(products: &mut [f64], square: f64, squares: &[f64], gamma: f64)
}

#[inline(always)]
fn chain_body<const FUSED: bool>(x: &[f64]) -> f64 {
    x.iter().fold(0.0, |sum, &v| fma::<FUSED>(v, v, sum))
}

tiered! {
    /// Sum of squares in the order in which panel products add, so that the distance of a row
    /// to itself is exactly zero.
    chain = chain_body(x: &[f64]) -> f64
}

#[inline(always)]
fn spread_body<const FUSED: bool>(
    values: &[f64],
    indices: &[u32],
    block: &[f64],
    out: &mut [f64; SPREAD],
) {
    let mut sums = [0.0; SPREAD];
    for (&v, &i) in values.iter().zip(indices) {
        let at = i as usize * SPREAD;
        let row = &block[at..at + SPREAD];
        for lane in 0..SPREAD {
            sums[lane] = fma::<FUSED>(v, row[lane], sums[lane]);
        }
    }
    *out = sums;
}

tiered! {
    /// Products of a sparse row with the [`SPREAD`] dense rows that `block` holds feature by
    /// feature.
    spread = spread_body(values: &[f64], indices: &[u32], block: &[f64], out: &mut [f64; SPREAD])
}

#[inline(always)]
fn gather_body<const FUSED: bool>(values: &[f64], indices: &[u32], dense: &[f64]) -> f64 {
    let pairs = values.iter().zip(indices);
    pairs.fold(0.0, |sum, (&v, &i)| fma::<FUSED>(v, dense[i as usize], sum))
}

tiered! {
    /// Product of a sparse row with a dense one, in the order of [`spread`]: the same bits.
    gather = gather_body(values: &[f64], indices: &[u32], dense: &[f64]) -> f64
}

#[inline(always)]
fn add_row_body<const FUSED: bool>(out: &mut [f64], a: f64, row: &[f32]) {
    for (o, &v) in out.iter_mut().zip(row) {
        *o = fma::<FUSED>(a, f64::from(v), *o);
    }
}

tiered! {
    /// `out[i] += a * row[i]`.
    add_row = add_row_body(out: &mut [f64], a: f64, row: &[f32])
}

#[inline(always)]
fn add_difference_body<const FUSED: bool>(out: &mut [f64], a: f64, plus: &[f32], minus: &[f32]) {
    for ((o, &p), &m) in out.iter_mut().zip(plus).zip(minus) {
        *o = fma::<FUSED>(a, f64::from(p) - f64::from(m), *o);
    }
}

tiered! {
    /// `out[i] += a * (plus[i] - minus[i])`.
    add_difference = add_difference_body(out: &mut [f64], a: f64, plus: &[f32], minus: &[f32])
}

/// The largest of the lanes' values and its position, the first among equals; the lanes hold
/// the number of the chunk where they found theirs.
#[inline(always)]
fn reduce(best: &[f64; LANES], chunk: &[f64; LANES]) -> (f64, usize) {
    let value = largest(best);
    if value == f64::NEG_INFINITY {
        return (value, usize::MAX);
    }
    // Without a branch: of few rows this is a good part of the work.
    let mut first = f64::INFINITY;
    for lane in 0..LANES {
        let at = chunk[lane] * LANES as f64 + lane as f64;
        let better = (best[lane] == value) & (at < first);
        first = if better { at } else { first };
    }
    (value, first as usize)
}

#[inline(always)]
fn largest(lanes: &[f64; LANES]) -> f64 {
    let mut value = f64::NEG_INFINITY;
    for &lane in lanes {
        value = if lane > value { lane } else { value };
    }
    value
}

fn extremes_plain(f: &[f64], up: &[f64], low: &[f64]) -> (f64, usize, f64) {
    let mut best = [f64::NEG_INFINITY; LANES];
    let mut chunk = [0.0f64; LANES];
    let mut top = [f64::NEG_INFINITY; LANES];
    let parts = f
        .chunks_exact(LANES)
        .zip(up.chunks_exact(LANES))
        .zip(low.chunks_exact(LANES));
    let mut number = 0.0;
    for ((f, up), low) in parts {
        for lane in 0..LANES {
            let value = up[lane] - f[lane];
            let better = value > best[lane];
            best[lane] = if better { value } else { best[lane] };
            chunk[lane] = if better { number } else { chunk[lane] };
            let value = low[lane] + f[lane];
            top[lane] = if value > top[lane] { value } else { top[lane] };
        }
        number += 1.0;
    }
    let (value, at) = reduce(&best, &chunk);
    (-value, at, largest(&top))
}

/// The smallest `f[i] - up[i]` with its position, and the largest `f[i] + low[i]`. `up` and
/// `low` are zero for members of those sets and minus infinity for others.
pub fn extremes(tier: Tier, f: &[f64], up: &[f64], low: &[f64]) -> (f64, usize, f64) {
    assert!(f.len() == up.len() && f.len() == low.len());
    match tier {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the tier is only in force where the processor has AVX2 and FMA; the lengths
        // are equal.
        Tier::Avx2 | Tier::Avx512 => unsafe { avx2::extremes(f, up, low) },
        _ => extremes_plain(f, up, low),
    }
}

fn partner_plain(
    f: &[f64],
    low: &[f64],
    row: &[f32],
    diagonal: &[f64],
    own: f64,
    smallest: f64,
) -> (f64, usize) {
    let mut best = [f64::NEG_INFINITY; LANES];
    let mut chunk = [0.0f64; LANES];
    let parts = f
        .chunks_exact(LANES)
        .zip(low.chunks_exact(LANES))
        .zip(row.chunks_exact(LANES))
        .zip(diagonal.chunks_exact(LANES));
    let mut number = 0.0;
    for (((f, low), row), diagonal) in parts {
        for lane in 0..LANES {
            let violation = (f[lane] + low[lane]) - smallest;
            let curvature = own + diagonal[lane] - 2.0 * f64::from(row[lane]);
            let curvature = if curvature > CURVATURE {
                curvature
            } else {
                CURVATURE
            };
            let gain = violation * violation / curvature;
            let better = (violation > 0.0) & (gain > best[lane]);
            best[lane] = if better { gain } else { best[lane] };
            chunk[lane] = if better { number } else { chunk[lane] };
        }
        number += 1.0;
    }
    reduce(&best, &chunk)
}

/// The position with the largest second-order gain, and that gain: the square of
/// `f[i] + low[i] - smallest`, where it is positive, over the curvature
/// `own + diagonal[i] - 2 * row[i]`.
pub fn partner(
    tier: Tier,
    f: &[f64],
    low: &[f64],
    row: &[f32],
    diagonal: &[f64],
    own: f64,
    smallest: f64,
) -> (f64, usize) {
    assert!(f.len() == low.len() && f.len() == row.len() && f.len() == diagonal.len());
    match tier {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as for `extremes`.
        Tier::Avx2 | Tier::Avx512 => unsafe { avx2::partner(f, low, row, diagonal, own, smallest) },
        _ => partner_plain(f, low, row, diagonal, own, smallest),
    }
}

/// The scans by hand: compilers keep their comparisons scalar, which takes three times as long.
#[cfg(target_arch = "x86_64")]
mod avx2 {
    use super::{CURVATURE, LANES, largest, reduce};
    use std::arch::x86_64::*;

    /// # Safety
    /// The processor must have AVX2 and FMA.
    #[target_feature(enable = "avx2,fma")]
    unsafe fn lanes(low: __m256d, high: __m256d) -> [f64; LANES] {
        let mut out = [0.0; LANES];
        // SAFETY: there is room for eight elements.
        unsafe {
            _mm256_storeu_pd(out.as_mut_ptr(), low);
            _mm256_storeu_pd(out.as_mut_ptr().add(4), high);
        }
        out
    }

    /// # Safety
    /// The processor must have AVX2 and FMA, and the slices one length.
    #[target_feature(enable = "avx2,fma")]
    pub unsafe fn extremes(f: &[f64], up: &[f64], low: &[f64]) -> (f64, usize, f64) {
        let none = _mm256_set1_pd(f64::NEG_INFINITY);
        let (mut best, mut top) = ([none; 2], [none; 2]);
        let mut chunk = [_mm256_setzero_pd(); 2];
        let mut number = _mm256_setzero_pd();
        for at in (0..f.len() / LANES * LANES).step_by(LANES) {
            for half in 0..2 {
                let i = at + 4 * half;
                // SAFETY: four elements from `i` are inside of slices of one length.
                let (f, up, low) = unsafe {
                    (
                        _mm256_loadu_pd(f.as_ptr().add(i)),
                        _mm256_loadu_pd(up.as_ptr().add(i)),
                        _mm256_loadu_pd(low.as_ptr().add(i)),
                    )
                };
                let value = _mm256_sub_pd(up, f);
                let better = _mm256_cmp_pd::<_CMP_GT_OQ>(value, best[half]);
                best[half] = _mm256_blendv_pd(best[half], value, better);
                chunk[half] = _mm256_blendv_pd(chunk[half], number, better);
                // The second operand where one is NaN, as in the plain loop.
                top[half] = _mm256_max_pd(_mm256_add_pd(low, f), top[half]);
            }
            number = _mm256_add_pd(number, _mm256_set1_pd(1.0));
        }
        // SAFETY: the caller's promise.
        let (best, chunk, top) = unsafe {
            (
                lanes(best[0], best[1]),
                lanes(chunk[0], chunk[1]),
                lanes(top[0], top[1]),
            )
        };
        let (value, at) = reduce(&best, &chunk);
        (-value, at, largest(&top))
    }

    /// # Safety
    /// As [`extremes`].
    #[target_feature(enable = "avx2,fma")]
    pub unsafe fn partner(
        f: &[f64],
        low: &[f64],
        row: &[f32],
        diagonal: &[f64],
        own: f64,
        smallest: f64,
    ) -> (f64, usize) {
        let mut best = [_mm256_set1_pd(f64::NEG_INFINITY); 2];
        let mut chunk = [_mm256_setzero_pd(); 2];
        let mut number = _mm256_setzero_pd();
        let (own, smallest) = (_mm256_set1_pd(own), _mm256_set1_pd(smallest));
        let (zero, least) = (_mm256_setzero_pd(), _mm256_set1_pd(CURVATURE));
        for at in (0..f.len() / LANES * LANES).step_by(LANES) {
            for half in 0..2 {
                let i = at + 4 * half;
                // SAFETY: four elements from `i` are inside of slices of one length.
                let (f, low, row, diagonal) = unsafe {
                    (
                        _mm256_loadu_pd(f.as_ptr().add(i)),
                        _mm256_loadu_pd(low.as_ptr().add(i)),
                        _mm256_cvtps_pd(_mm_loadu_ps(row.as_ptr().add(i))),
                        _mm256_loadu_pd(diagonal.as_ptr().add(i)),
                    )
                };
                let violation = _mm256_sub_pd(_mm256_add_pd(f, low), smallest);
                let curvature =
                    _mm256_sub_pd(_mm256_add_pd(own, diagonal), _mm256_add_pd(row, row));
                let curvature = _mm256_max_pd(curvature, least);
                let gain = _mm256_div_pd(_mm256_mul_pd(violation, violation), curvature);
                let better = _mm256_and_pd(
                    _mm256_cmp_pd::<_CMP_GT_OQ>(violation, zero),
                    _mm256_cmp_pd::<_CMP_GT_OQ>(gain, best[half]),
                );
                best[half] = _mm256_blendv_pd(best[half], gain, better);
                chunk[half] = _mm256_blendv_pd(chunk[half], number, better);
            }
            number = _mm256_add_pd(number, _mm256_set1_pd(1.0));
        }
        // SAFETY: the caller's promise.
        let (best, chunk) = unsafe { (lanes(best[0], best[1]), lanes(chunk[0], chunk[1])) };
        reduce(&best, &chunk)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tier;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn gaussian_is_exp(rows in prop::collection::vec((0.0f64..900.0, 0.0f64..900.0), 1..40)) {
            for tier in tier::supported() {
                let mut out: Vec<f64> = rows.iter().map(|r| r.0 / 2.0).collect();
                let squares: Vec<f64> = rows.iter().map(|r| r.1).collect();
                gaussian(tier, &mut out, 3.0, &squares, 0.7);
                for (got, r) in out.iter().zip(&rows) {
                    let want = (-0.7 * (3.0 + r.1 - r.0).max(0.0)).exp();
                    prop_assert!((got - want).abs() <= 1e-15 * want.max(1e-292), "{got} {want}");
                }
            }
        }

        #[test]
        fn scans_find_what_a_loop_finds(
            cells in prop::collection::vec((-9i8..9, any::<bool>(), any::<bool>(), -3i8..3), 1..70),
        ) {
            let n = cells.len().div_ceil(LANES) * LANES;
            let mut f = vec![0.0; n];
            let (mut up, mut low) = (vec![f64::NEG_INFINITY; n], vec![f64::NEG_INFINITY; n]);
            let (mut row, diagonal) = (vec![0.0f32; n], vec![4.0; n]);
            for (i, c) in cells.iter().enumerate() {
                f[i] = f64::from(c.0);
                if c.1 { up[i] = 0.0 }
                if c.2 { low[i] = 0.0 }
                row[i] = f32::from(c.3);
            }
            let first = (0..n).filter(|&i| up[i] == 0.0).min_by(|&a, &b| f[a].total_cmp(&f[b]));
            let top = (0..n).filter(|&i| low[i] == 0.0).map(|i| f[i]).fold(f64::NEG_INFINITY, f64::max);
            for tier in tier::supported() {
                let (value, at, largest) = extremes(tier, &f, &up, &low);
                prop_assert_eq!(largest, top);
                let Some(i) = first else { continue };
                prop_assert_eq!((value, at), (f[i], i));
                let gain = |j: usize| (f[j] - f[i]).powi(2) / (8.0 - 2.0 * f64::from(row[j]));
                let mut best = (f64::NEG_INFINITY, usize::MAX);
                for j in 0..n {
                    if low[j] == 0.0 && f[j] > f[i] && gain(j) > best.0 {
                        best = (gain(j), j);
                    }
                }
                let found = partner(tier, &f, &low, &row, &diagonal, 4.0, f[i]);
                prop_assert_eq!(found.0, best.0);
                if best.1 < n {
                    prop_assert_eq!(found.1, best.1);
                }
            }
        }

        #[test]
        fn rows_are_added_and_spread(values in prop::collection::vec(-8i8..8, 1..50)) {
            let row: Vec<f32> = values.iter().map(|&v| f32::from(v)).collect();
            let wide: Vec<f64> = values.iter().map(|&v| f64::from(v)).collect();
            let indices: Vec<u32> = (0..values.len() as u32).rev().collect();
            let block: Vec<f64> = (0..values.len() * SPREAD).map(|i| (i % 7) as f64).collect();
            for tier in tier::supported() {
                let mut out = vec![1.0; row.len()];
                add_row(tier, &mut out, 2.0, &row);
                add_difference(tier, &mut out, 3.0, &row, &vec![1.0; row.len()]);
                for (o, v) in out.iter().zip(&wide) {
                    prop_assert_eq!(*o, 1.0 + 2.0 * v + 3.0 * (v - 1.0));
                }
                prop_assert_eq!(chain(tier, &wide), wide.iter().map(|v| v * v).sum::<f64>());
                let mut sums = [0.0; SPREAD];
                spread(tier, &wide, &indices, &block, &mut sums);
                let first: Vec<f64> = block.iter().step_by(SPREAD).copied().collect();
                prop_assert_eq!(gather(tier, &wide, &indices, &first), sums[0]);
                for (lane, sum) in sums.iter().enumerate() {
                    let want: f64 = wide.iter().zip(&indices)
                        .map(|(v, &i)| v * block[i as usize * SPREAD + lane]).sum();
                    prop_assert_eq!(*sum, want);
                }
            }
        }
    }

    #[test]
    fn far_rows_and_nan() {
        for tier in tier::supported() {
            let mut out = [0.0, f64::NAN, 0.0];
            gaussian(tier, &mut out, 0.0, &[1e9, 1.0, 0.0], 1.0);
            assert!(out[0] < 1e-300 && out[1].is_nan() && out[2] == 1.0);
        }
    }
}
