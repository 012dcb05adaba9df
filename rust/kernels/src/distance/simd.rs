//! Registers of each tier behind one trait, so that every loop is written once.
//!
//! Comparisons follow SSE: `min(a, b)` is `a < b ? a : b`, so a NaN in `a` gives `b`.

/// A register of floats.
///
/// # Safety
/// The methods may be called only where the tier's instructions are available, and pointers
/// must be valid for [`Simd::LANES`] elements.
pub unsafe trait Simd: Copy {
    /// The element type.
    type Elem: Copy
        + Default
        + std::ops::Add<Output = Self::Elem>
        + std::ops::Sub<Output = Self::Elem>
        + std::ops::Mul<Output = Self::Elem>;
    /// Elements in one register.
    const LANES: usize;
    /// Centres whose products with two registers of points fit into the register file.
    const BLOCK: usize;
    /// Rows and columns of the square that [`Simd::transpose`] turns.
    const TILE: usize;
    /// All lanes equal to `x`.
    unsafe fn splat(x: Self::Elem) -> Self;
    /// The `LANES` elements at `from`.
    unsafe fn load(from: *const Self::Elem) -> Self;
    /// Writes the lanes to `to`.
    unsafe fn store(self, to: *mut Self::Elem);
    /// `self * b + c`.
    unsafe fn mul_add(self, b: Self, c: Self) -> Self;
    /// `self + b`.
    unsafe fn add(self, b: Self) -> Self;
    /// `self - b`.
    unsafe fn sub(self, b: Self) -> Self;
    /// Lane by lane `self < b ? self : b`.
    unsafe fn min(self, b: Self) -> Self;
    /// Lane by lane `self > b ? self : b`.
    unsafe fn max(self, b: Self) -> Self;
    /// Lane by lane `self < b ? x : y`.
    unsafe fn select_lt(self, b: Self, x: Self, y: Self) -> Self;
    /// Sum of the lanes, in a fixed order.
    unsafe fn sum(self) -> Self::Elem;
    /// Asks for the cache line at `at` ahead of its use; any address will do.
    #[inline(always)]
    fn prefetch(at: *const Self::Elem) {
        let _ = at;
    }
    /// Writes `rows[r][c] - offset[c]` to `out[c * stride + r]` for a tile of
    /// `TILE` x `TILE`; each row and `offset` must hold `TILE` elements.
    unsafe fn transpose(
        rows: *const *const Self::Elem,
        at: usize,
        offset: *const Self::Elem,
        out: *mut Self::Elem,
        stride: usize,
    );
}

macro_rules! plain {
    ($name:ident, $t:ty, $lanes:literal) => {
        /// A short array that the compiler keeps in the target's baseline registers.
        #[derive(Clone, Copy)]
        pub struct $name([$t; $lanes]);

        // SAFETY: no special instructions; pointers are used for exactly the stated elements.
        unsafe impl Simd for $name {
            type Elem = $t;
            const LANES: usize = $lanes;
            const BLOCK: usize = 4;
            const TILE: usize = $lanes;
            #[inline(always)]
            unsafe fn splat(x: $t) -> Self {
                $name([x; $lanes])
            }
            #[inline(always)]
            unsafe fn load(from: *const $t) -> Self {
                // SAFETY: the caller gives a pointer to LANES elements.
                $name(unsafe { from.cast::<[$t; $lanes]>().read_unaligned() })
            }
            #[inline(always)]
            unsafe fn store(self, to: *mut $t) {
                // SAFETY: the caller gives a pointer to LANES elements.
                unsafe { to.cast::<[$t; $lanes]>().write_unaligned(self.0) }
            }
            #[inline(always)]
            unsafe fn mul_add(self, b: Self, mut c: Self) -> Self {
                // Not fused: without the instruction a fused operation is a library call.
                for l in 0..$lanes {
                    c.0[l] += self.0[l] * b.0[l];
                }
                c
            }
            #[inline(always)]
            unsafe fn add(mut self, b: Self) -> Self {
                for l in 0..$lanes {
                    self.0[l] += b.0[l];
                }
                self
            }
            #[inline(always)]
            unsafe fn sub(mut self, b: Self) -> Self {
                for l in 0..$lanes {
                    self.0[l] -= b.0[l];
                }
                self
            }
            #[inline(always)]
            unsafe fn min(self, mut b: Self) -> Self {
                for l in 0..$lanes {
                    b.0[l] = if self.0[l] < b.0[l] {
                        self.0[l]
                    } else {
                        b.0[l]
                    };
                }
                b
            }
            #[inline(always)]
            unsafe fn max(self, mut b: Self) -> Self {
                for l in 0..$lanes {
                    b.0[l] = if self.0[l] > b.0[l] {
                        self.0[l]
                    } else {
                        b.0[l]
                    };
                }
                b
            }
            #[inline(always)]
            unsafe fn select_lt(self, b: Self, x: Self, mut y: Self) -> Self {
                for l in 0..$lanes {
                    y.0[l] = if self.0[l] < b.0[l] { x.0[l] } else { y.0[l] };
                }
                y
            }
            #[inline(always)]
            unsafe fn sum(self) -> $t {
                self.0.iter().sum()
            }
            #[inline(always)]
            unsafe fn transpose(
                rows: *const *const $t,
                at: usize,
                offset: *const $t,
                out: *mut $t,
                stride: usize,
            ) {
                for r in 0..Self::TILE {
                    for c in 0..Self::TILE {
                        // SAFETY: the caller gives TILE rows, each with TILE elements from `at`.
                        unsafe {
                            *out.add(c * stride + r) =
                                *(*rows.add(r)).add(at + c) - *offset.add(at + c);
                        }
                    }
                }
            }
        }
    };
}

plain!(Plain32, f32, 4);
plain!(Plain64, f64, 2);

#[cfg(target_arch = "x86_64")]
pub use x86::{Avx2F32, Avx2F64, Avx512F32, Avx512F64};

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::Simd;
    use std::arch::x86_64::*;

    /// 16 floats of AVX-512.
    #[derive(Clone, Copy)]
    pub struct Avx512F32(__m512);
    /// 8 doubles of AVX-512.
    #[derive(Clone, Copy)]
    pub struct Avx512F64(__m512d);
    /// 8 floats of AVX2.
    #[derive(Clone, Copy)]
    pub struct Avx2F32(__m256);
    /// 4 doubles of AVX2.
    #[derive(Clone, Copy)]
    pub struct Avx2F64(__m256d);

    macro_rules! register {
        ($name:ident, $t:ty, $lanes:literal, $block:literal, $tile:literal, $set:ident, $load:ident,
         $store:ident, $fma:ident, $add:ident, $sub:ident, $min:ident, $max:ident,
         $select:expr, $sum:expr, $transpose:ident) => {
            // SAFETY: every intrinsic is of the tier that the caller has checked, and pointers
            // are used for exactly the stated elements.
            unsafe impl Simd for $name {
                type Elem = $t;
                const LANES: usize = $lanes;
                const BLOCK: usize = $block;
                const TILE: usize = $tile;
                #[inline(always)]
                fn prefetch(at: *const $t) {
                    // SAFETY: the instruction is of the baseline and never faults.
                    unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) }
                }
                #[inline(always)]
                unsafe fn splat(x: $t) -> Self {
                    // SAFETY: the caller has checked the tier.
                    $name(unsafe { $set(x) })
                }
                #[inline(always)]
                unsafe fn load(from: *const $t) -> Self {
                    // SAFETY: the caller has checked the tier and the pointer.
                    $name(unsafe { $load(from) })
                }
                #[inline(always)]
                unsafe fn store(self, to: *mut $t) {
                    // SAFETY: the caller has checked the tier and the pointer.
                    unsafe { $store(to, self.0) }
                }
                #[inline(always)]
                unsafe fn mul_add(self, b: Self, c: Self) -> Self {
                    // SAFETY: the caller has checked the tier.
                    $name(unsafe { $fma(self.0, b.0, c.0) })
                }
                #[inline(always)]
                unsafe fn add(self, b: Self) -> Self {
                    // SAFETY: the caller has checked the tier.
                    $name(unsafe { $add(self.0, b.0) })
                }
                #[inline(always)]
                unsafe fn sub(self, b: Self) -> Self {
                    // SAFETY: the caller has checked the tier.
                    $name(unsafe { $sub(self.0, b.0) })
                }
                #[inline(always)]
                unsafe fn min(self, b: Self) -> Self {
                    // SAFETY: the caller has checked the tier.
                    $name(unsafe { $min(self.0, b.0) })
                }
                #[inline(always)]
                unsafe fn max(self, b: Self) -> Self {
                    // SAFETY: the caller has checked the tier.
                    $name(unsafe { $max(self.0, b.0) })
                }
                #[inline(always)]
                unsafe fn select_lt(self, b: Self, x: Self, y: Self) -> Self {
                    // SAFETY: the caller has checked the tier.
                    $name(unsafe { $select(self.0, b.0, x.0, y.0) })
                }
                #[inline(always)]
                unsafe fn sum(self) -> $t {
                    // SAFETY: the caller has checked the tier.
                    unsafe { $sum(self.0) }
                }
                #[inline(always)]
                unsafe fn transpose(
                    rows: *const *const $t,
                    at: usize,
                    offset: *const $t,
                    out: *mut $t,
                    stride: usize,
                ) {
                    // SAFETY: as the caller's.
                    unsafe { $transpose(rows, at, offset, out, stride) }
                }
            }
        };
    }

    register!(
        Avx512F32,
        f32,
        16,
        12,
        8,
        _mm512_set1_ps,
        _mm512_loadu_ps,
        _mm512_storeu_ps,
        _mm512_fmadd_ps,
        _mm512_add_ps,
        _mm512_sub_ps,
        _mm512_min_ps,
        _mm512_max_ps,
        |a, b, x, y| _mm512_mask_blend_ps(_mm512_cmp_ps_mask::<_CMP_LT_OQ>(a, b), y, x),
        |a| _mm512_reduce_add_ps(a),
        transpose8
    );
    register!(
        Avx512F64,
        f64,
        8,
        12,
        4,
        _mm512_set1_pd,
        _mm512_loadu_pd,
        _mm512_storeu_pd,
        _mm512_fmadd_pd,
        _mm512_add_pd,
        _mm512_sub_pd,
        _mm512_min_pd,
        _mm512_max_pd,
        |a, b, x, y| _mm512_mask_blend_pd(_mm512_cmp_pd_mask::<_CMP_LT_OQ>(a, b), y, x),
        |a| _mm512_reduce_add_pd(a),
        transpose4
    );
    register!(
        Avx2F32,
        f32,
        8,
        6,
        8,
        _mm256_set1_ps,
        _mm256_loadu_ps,
        _mm256_storeu_ps,
        _mm256_fmadd_ps,
        _mm256_add_ps,
        _mm256_sub_ps,
        _mm256_min_ps,
        _mm256_max_ps,
        |a, b, x, y| _mm256_blendv_ps(y, x, _mm256_cmp_ps::<_CMP_LT_OQ>(a, b)),
        sum8,
        transpose8
    );
    register!(
        Avx2F64,
        f64,
        4,
        6,
        4,
        _mm256_set1_pd,
        _mm256_loadu_pd,
        _mm256_storeu_pd,
        _mm256_fmadd_pd,
        _mm256_add_pd,
        _mm256_sub_pd,
        _mm256_min_pd,
        _mm256_max_pd,
        |a, b, x, y| _mm256_blendv_pd(y, x, _mm256_cmp_pd::<_CMP_LT_OQ>(a, b)),
        sum4,
        transpose4
    );

    #[inline(always)]
    unsafe fn sum8(a: __m256) -> f32 {
        let mut lanes = [0.0; 8];
        // SAFETY: the caller has checked the tier; `lanes` holds 8 floats.
        unsafe { _mm256_storeu_ps(lanes.as_mut_ptr(), a) };
        let half = [0, 1, 2, 3].map(|i| lanes[i] + lanes[i + 4]);
        (half[0] + half[2]) + (half[1] + half[3])
    }

    #[inline(always)]
    unsafe fn sum4(a: __m256d) -> f64 {
        let mut lanes = [0.0; 4];
        // SAFETY: the caller has checked the tier; `lanes` holds 4 doubles.
        unsafe { _mm256_storeu_pd(lanes.as_mut_ptr(), a) };
        (lanes[0] + lanes[2]) + (lanes[1] + lanes[3])
    }

    #[inline(always)]
    unsafe fn transpose8(
        rows: *const *const f32,
        at: usize,
        offset: *const f32,
        out: *mut f32,
        stride: usize,
    ) {
        // SAFETY: the caller has checked the tier and gives 8 rows with 8 elements from `at`,
        // as many offsets, and 8 stretches of 8 elements at `out`.
        unsafe {
            let m = _mm256_loadu_ps(offset.add(at));
            let row = |r: usize| _mm256_sub_ps(_mm256_loadu_ps((*rows.add(r)).add(at)), m);
            let (a, b, c, d) = (row(0), row(1), row(2), row(3));
            let (e, f, g, h) = (row(4), row(5), row(6), row(7));
            let (ab, ab2) = (_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
            let (cd, cd2) = (_mm256_unpacklo_ps(c, d), _mm256_unpackhi_ps(c, d));
            let (ef, ef2) = (_mm256_unpacklo_ps(e, f), _mm256_unpackhi_ps(e, f));
            let (gh, gh2) = (_mm256_unpacklo_ps(g, h), _mm256_unpackhi_ps(g, h));
            let pairs = [
                (
                    _mm256_shuffle_ps::<0x44>(ab, cd),
                    _mm256_shuffle_ps::<0x44>(ef, gh),
                ),
                (
                    _mm256_shuffle_ps::<0xee>(ab, cd),
                    _mm256_shuffle_ps::<0xee>(ef, gh),
                ),
                (
                    _mm256_shuffle_ps::<0x44>(ab2, cd2),
                    _mm256_shuffle_ps::<0x44>(ef2, gh2),
                ),
                (
                    _mm256_shuffle_ps::<0xee>(ab2, cd2),
                    _mm256_shuffle_ps::<0xee>(ef2, gh2),
                ),
            ];
            for (i, (low, high)) in pairs.into_iter().enumerate() {
                let first = _mm256_permute2f128_ps::<0x20>(low, high);
                let second = _mm256_permute2f128_ps::<0x31>(low, high);
                _mm256_storeu_ps(out.add(i * stride), first);
                _mm256_storeu_ps(out.add((i + 4) * stride), second);
            }
        }
    }

    #[inline(always)]
    unsafe fn transpose4(
        rows: *const *const f64,
        at: usize,
        offset: *const f64,
        out: *mut f64,
        stride: usize,
    ) {
        // SAFETY: the caller has checked the tier and gives 4 rows with 4 elements from `at`,
        // as many offsets, and 4 stretches of 4 elements at `out`.
        unsafe {
            let m = _mm256_loadu_pd(offset.add(at));
            let row = |r: usize| _mm256_sub_pd(_mm256_loadu_pd((*rows.add(r)).add(at)), m);
            let (a, b, c, d) = (row(0), row(1), row(2), row(3));
            let (ab, ab2) = (_mm256_unpacklo_pd(a, b), _mm256_unpackhi_pd(a, b));
            let (cd, cd2) = (_mm256_unpacklo_pd(c, d), _mm256_unpackhi_pd(c, d));
            _mm256_storeu_pd(out, _mm256_permute2f128_pd::<0x20>(ab, cd));
            _mm256_storeu_pd(out.add(stride), _mm256_permute2f128_pd::<0x20>(ab2, cd2));
            _mm256_storeu_pd(out.add(2 * stride), _mm256_permute2f128_pd::<0x31>(ab, cd));
            _mm256_storeu_pd(
                out.add(3 * stride),
                _mm256_permute2f128_pd::<0x31>(ab2, cd2),
            );
        }
    }
}
