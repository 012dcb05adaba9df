//! Dot products, scaled additions and the panel product of linear models.
//!
//! Data may be `f32` or `f64`; weights and sums are always `f64`.

use crate::tier::Tier;

/// Rows of the left panel of [`panel_product`].
pub const LEFT: usize = 4;
/// Columns of the right panel of [`panel_product`].
pub const RIGHT: usize = 12;

/// An element of the data: `f32` or `f64`.
pub trait Element: Copy + Send + Sync + 'static {
    /// The value in double precision (exact).
    fn widen(self) -> f64;
    /// Sum of `x[i] * w[i]`; the slices must be equally long.
    fn dot(tier: Tier, x: &[Self], w: &[f64]) -> f64;
    /// [`Element::dot`] of one `x` with four weight vectors at once.
    fn dot4(tier: Tier, x: &[Self], w: [&[f64]; 4]) -> [f64; 4];
    /// `out[i] += a * x[i]`; the slices must be equally long.
    fn axpy(tier: Tier, a: f64, x: &[Self], out: &mut [f64]);
    /// True if neither NaN nor infinity is in `x`.
    fn all_finite(x: &[Self]) -> bool;
}

fn dot_plain<T: Element>(x: &[T], w: &[f64]) -> f64 {
    assert_eq!(x.len(), w.len());
    let mut sums = [0.0f64; 8];
    let (xs, ws) = (x.chunks_exact(8), w.chunks_exact(8));
    let mut tail = 0.0;
    for (&a, &b) in xs.remainder().iter().zip(ws.remainder()) {
        tail += a.widen() * b;
    }
    for (a, b) in xs.zip(ws) {
        for lane in 0..8 {
            sums[lane] += a[lane].widen() * b[lane];
        }
    }
    let half = [0, 1, 2, 3].map(|i| sums[i] + sums[i + 4]);
    (half[0] + half[2]) + (half[1] + half[3]) + tail
}

fn axpy_plain<T: Element>(a: f64, x: &[T], out: &mut [f64]) {
    assert_eq!(x.len(), out.len());
    for (o, &v) in out.iter_mut().zip(x) {
        *o += a * v.widen();
    }
}

macro_rules! finite {
    ($x:expr) => {
        // Without a branch inside a chunk, so that the loop runs as fast as memory.
        $x.chunks(1024)
            .all(|part| part.iter().fold(true, |ok, v| ok & v.is_finite()))
    };
}

impl Element for f64 {
    #[inline(always)]
    fn widen(self) -> f64 {
        self
    }
    #[inline]
    fn dot(tier: Tier, x: &[f64], w: &[f64]) -> f64 {
        match tier {
            #[cfg(target_arch = "x86_64")]
            Tier::Avx2 | Tier::Avx512 => {
                assert_eq!(x.len(), w.len());
                // SAFETY: the tier is only in force where the processor has AVX2 and FMA; the
                // lengths are equal.
                unsafe { avx2::dot_f64(x, w) }
            }
            _ => dot_plain(x, w),
        }
    }
    #[inline]
    fn dot4(tier: Tier, x: &[f64], w: [&[f64]; 4]) -> [f64; 4] {
        match tier {
            #[cfg(target_arch = "x86_64")]
            Tier::Avx2 | Tier::Avx512 => {
                assert!(w.iter().all(|w| w.len() == x.len()));
                // SAFETY: as for `dot`; all lengths are equal.
                unsafe { avx2::dot4_f64(x, w) }
            }
            _ => w.map(|w| dot_plain(x, w)),
        }
    }
    #[inline]
    fn axpy(tier: Tier, a: f64, x: &[f64], out: &mut [f64]) {
        match tier {
            #[cfg(target_arch = "x86_64")]
            Tier::Avx2 | Tier::Avx512 => {
                assert_eq!(x.len(), out.len());
                // SAFETY: as for `dot`.
                unsafe { avx2::axpy_f64(a, x, out) }
            }
            _ => axpy_plain(a, x, out),
        }
    }
    fn all_finite(x: &[f64]) -> bool {
        finite!(x)
    }
}

impl Element for f32 {
    #[inline(always)]
    fn widen(self) -> f64 {
        f64::from(self)
    }
    #[inline]
    fn dot(tier: Tier, x: &[f32], w: &[f64]) -> f64 {
        match tier {
            #[cfg(target_arch = "x86_64")]
            Tier::Avx2 | Tier::Avx512 => {
                assert_eq!(x.len(), w.len());
                // SAFETY: the tier is only in force where the processor has AVX2 and FMA; the
                // lengths are equal.
                unsafe { avx2::dot_f32(x, w) }
            }
            _ => dot_plain(x, w),
        }
    }
    #[inline]
    fn dot4(tier: Tier, x: &[f32], w: [&[f64]; 4]) -> [f64; 4] {
        match tier {
            #[cfg(target_arch = "x86_64")]
            Tier::Avx2 | Tier::Avx512 => {
                assert!(w.iter().all(|w| w.len() == x.len()));
                // SAFETY: as for `dot`; all lengths are equal.
                unsafe { avx2::dot4_f32(x, w) }
            }
            _ => w.map(|w| dot_plain(x, w)),
        }
    }
    #[inline]
    fn axpy(tier: Tier, a: f64, x: &[f32], out: &mut [f64]) {
        match tier {
            #[cfg(target_arch = "x86_64")]
            Tier::Avx2 | Tier::Avx512 => {
                assert_eq!(x.len(), out.len());
                // SAFETY: as for `dot`.
                unsafe { avx2::axpy_f32(a, x, out) }
            }
            _ => axpy_plain(a, x, out),
        }
    }
    fn all_finite(x: &[f32]) -> bool {
        finite!(x)
    }
}

/// Product of two packed panels: `out[r * RIGHT + c]` becomes the sum over `k` of
/// `left[k * LEFT + r] * right[k * RIGHT + c]`.
#[inline]
pub fn panel_product(tier: Tier, left: &[f64], right: &[f64], out: &mut [f64; LEFT * RIGHT]) {
    assert_eq!(left.len() / LEFT, right.len() / RIGHT);
    match tier {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the tier is only in force where the processor has AVX2 and FMA; both panels
        // hold the same number of steps, checked above.
        Tier::Avx2 | Tier::Avx512 => unsafe { avx2::panel_product(left, right, out) },
        _ => {
            *out = [0.0; LEFT * RIGHT];
            for (l, r) in left.chunks_exact(LEFT).zip(right.chunks_exact(RIGHT)) {
                for (row, &value) in out.chunks_exact_mut(RIGHT).zip(l) {
                    for (o, &v) in row.iter_mut().zip(r) {
                        *o += value * v;
                    }
                }
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use super::{LEFT, RIGHT};
    use std::arch::x86_64::*;

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn total(a: __m256d, b: __m256d, c: __m256d, d: __m256d) -> f64 {
        let sum = _mm256_add_pd(_mm256_add_pd(a, b), _mm256_add_pd(c, d));
        let pair = _mm_add_pd(_mm256_castpd256_pd128(sum), _mm256_extractf128_pd(sum, 1));
        _mm_cvtsd_f64(_mm_add_sd(pair, _mm_unpackhi_pd(pair, pair)))
    }

    /// # Safety
    /// The processor must have AVX2 and FMA; `p` must be readable for four elements.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn load_f64(p: *const f64) -> __m256d {
        // SAFETY: the caller's promise.
        unsafe { _mm256_loadu_pd(p) }
    }

    /// # Safety
    /// As [`load_f64`].
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn load_f32(p: *const f32) -> __m256d {
        // SAFETY: the caller's promise.
        _mm256_cvtps_pd(unsafe { _mm_loadu_ps(p) })
    }

    macro_rules! kernels {
        ($t:ty, $load:ident, $dot:ident, $dot4:ident, $axpy:ident) => {
            /// # Safety
            /// The processor must have AVX2 and FMA; `w` must be at least as long as `x`.
            #[target_feature(enable = "avx2,fma")]
            pub unsafe fn $dot(x: &[$t], w: &[f64]) -> f64 {
                let n = x.len();
                let (px, pw) = (x.as_ptr(), w.as_ptr());
                let mut s = [_mm256_setzero_pd(); 4];
                let mut i = 0;
                // SAFETY: every read is at an index below `n`.
                unsafe {
                    while i + 16 <= n {
                        for j in 0..4 {
                            let at = i + 4 * j;
                            s[j] = _mm256_fmadd_pd($load(px.add(at)), load_f64(pw.add(at)), s[j]);
                        }
                        i += 16;
                    }
                    while i + 4 <= n {
                        s[0] = _mm256_fmadd_pd($load(px.add(i)), load_f64(pw.add(i)), s[0]);
                        i += 4;
                    }
                    let mut sum = total(s[0], s[1], s[2], s[3]);
                    while i < n {
                        sum += f64::from(*px.add(i)) * *pw.add(i);
                        i += 1;
                    }
                    sum
                }
            }

            /// # Safety
            /// The processor must have AVX2 and FMA; each `w` must be at least as long as `x`.
            #[target_feature(enable = "avx2,fma")]
            pub unsafe fn $dot4(x: &[$t], w: [&[f64]; 4]) -> [f64; 4] {
                let n = x.len();
                let px = x.as_ptr();
                let pw = w.map(|w| w.as_ptr());
                let mut s = [[_mm256_setzero_pd(); 2]; 4];
                let mut i = 0;
                // SAFETY: every read is at an index below `n`.
                unsafe {
                    while i + 8 <= n {
                        let (a, b) = ($load(px.add(i)), $load(px.add(i + 4)));
                        for j in 0..4 {
                            s[j][0] = _mm256_fmadd_pd(a, load_f64(pw[j].add(i)), s[j][0]);
                            s[j][1] = _mm256_fmadd_pd(b, load_f64(pw[j].add(i + 4)), s[j][1]);
                        }
                        i += 8;
                    }
                    let zero = _mm256_setzero_pd();
                    let mut out = s.map(|s| total(s[0], s[1], zero, zero));
                    while i < n {
                        for j in 0..4 {
                            out[j] += f64::from(*px.add(i)) * *pw[j].add(i);
                        }
                        i += 1;
                    }
                    out
                }
            }

            /// # Safety
            /// The processor must have AVX2 and FMA; `out` must be at least as long as `x`.
            #[target_feature(enable = "avx2,fma")]
            pub unsafe fn $axpy(a: f64, x: &[$t], out: &mut [f64]) {
                let n = x.len();
                let (px, po) = (x.as_ptr(), out.as_mut_ptr());
                let va = _mm256_set1_pd(a);
                let mut i = 0;
                // SAFETY: every access is at an index below `n`.
                unsafe {
                    while i + 4 <= n {
                        let sum = _mm256_fmadd_pd(va, $load(px.add(i)), load_f64(po.add(i)));
                        _mm256_storeu_pd(po.add(i), sum);
                        i += 4;
                    }
                    while i < n {
                        *po.add(i) = a.mul_add(f64::from(*px.add(i)), *po.add(i));
                        i += 1;
                    }
                }
            }
        };
    }
    kernels!(f64, load_f64, dot_f64, dot4_f64, axpy_f64);
    kernels!(f32, load_f32, dot_f32, dot4_f32, axpy_f32);

    /// # Safety
    /// The processor must have AVX2 and FMA; `right` must hold `left.len() / LEFT` steps.
    #[target_feature(enable = "avx2,fma")]
    pub unsafe fn panel_product(left: &[f64], right: &[f64], out: &mut [f64; LEFT * RIGHT]) {
        let steps = left.len() / LEFT;
        let (mut l, mut r) = (left.as_ptr(), right.as_ptr());
        let mut s = [[_mm256_setzero_pd(); RIGHT / 4]; LEFT];
        // SAFETY: each of the `steps` rounds reads LEFT and RIGHT elements, which both panels
        // hold; `out` has LEFT * RIGHT elements.
        unsafe {
            for _ in 0..steps {
                let b = [load_f64(r), load_f64(r.add(4)), load_f64(r.add(8))];
                for i in 0..LEFT {
                    let a = _mm256_set1_pd(*l.add(i));
                    for j in 0..RIGHT / 4 {
                        s[i][j] = _mm256_fmadd_pd(a, b[j], s[i][j]);
                    }
                }
                l = l.add(LEFT);
                r = r.add(RIGHT);
            }
            for i in 0..LEFT {
                for j in 0..RIGHT / 4 {
                    _mm256_storeu_pd(out.as_mut_ptr().add(i * RIGHT + 4 * j), s[i][j]);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tier;
    use proptest::prelude::*;

    fn check<T: Element>(x: &[T], w: &[f64]) {
        let want: f64 = x.iter().zip(w).map(|(&a, &b)| a.widen() * b).sum();
        let scale: f64 = x.iter().zip(w).map(|(&a, &b)| (a.widen() * b).abs()).sum();
        for tier in tier::supported() {
            let close = |got: f64| (got - want).abs() <= 1e-14 * scale;
            assert!(close(T::dot(tier, x, w)), "{tier:?}");
            assert!(T::dot4(tier, x, [w; 4]).into_iter().all(close), "{tier:?}");
            let mut out = w.to_vec();
            T::axpy(tier, 0.75, x, &mut out);
            for ((&o, &a), &b) in out.iter().zip(x).zip(w) {
                let want = b + 0.75 * a.widen();
                assert!(
                    (o - want).abs() <= 1e-15 * (b.abs() + a.widen().abs()),
                    "{tier:?}"
                );
            }
        }
    }

    proptest! {
        #[test]
        fn vectors_agree_on_every_tier(pairs in prop::collection::vec((-1e3f64..1e3, -1e3f64..1e3), 0..70)) {
            let (x, w): (Vec<f64>, Vec<f64>) = pairs.into_iter().unzip();
            check(&x, &w);
            check(&x.iter().map(|&v| v as f32).collect::<Vec<_>>(), &w);
        }

        #[test]
        fn panels_agree_on_every_tier(steps in 0usize..40, seed in 0u64..1000) {
            let value = |i: usize| (((i as u64 * 7919 + seed) % 1009) as f64 - 504.0) / 64.0;
            let left: Vec<f64> = (0..steps * LEFT).map(value).collect();
            let right: Vec<f64> = (0..steps * RIGHT).map(|i| value(i + 31)).collect();
            for tier in tier::supported() {
                let mut out = [1.0; LEFT * RIGHT];
                panel_product(tier, &left, &right, &mut out);
                for r in 0..LEFT {
                    for c in 0..RIGHT {
                        let want: f64 = (0..steps).map(|k| left[k * LEFT + r] * right[k * RIGHT + c]).sum();
                        prop_assert!((out[r * RIGHT + c] - want).abs() <= 1e-9);
                    }
                }
            }
        }
    }

    #[test]
    fn finiteness() {
        assert!(f64::all_finite(&[0.0, 1e308, -1e308]));
        assert!(f32::all_finite(&[]));
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let mut x = vec![1.0; 9000];
            x[8500] = bad;
            assert!(!f64::all_finite(&x));
            assert!(!f32::all_finite(
                &x.iter().map(|&v| v as f32).collect::<Vec<_>>()
            ));
        }
    }
}
