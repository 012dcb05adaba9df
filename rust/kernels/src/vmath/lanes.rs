//! Registers of `f32` of each tier behind one trait, so that every loop is written once.

/// A register of `f32`.
///
/// Comparisons follow SSE: `min(a, b)` is `a < b ? a : b`, so a NaN in `a` gives `b`, and a
/// comparison with a NaN is false.
///
/// # Safety
/// The methods may be called only where the tier's instructions are available (inside a
/// function that [`tiered!`](crate::tiered) makes), and pointers must be valid for
/// [`Lanes::WIDTH`] elements, or for the `count` of the partial forms.
// The conditions are the same for all methods and stand above.
#[allow(clippy::missing_safety_doc)]
pub unsafe trait Lanes: Copy {
    /// Elements in one register.
    const WIDTH: usize;
    /// Registers that loops may fill with sums: the rest holds operands.
    const SUMS: usize;
    /// All lanes equal to `x`.
    unsafe fn splat(x: f32) -> Self;
    /// The `WIDTH` elements at `from`.
    unsafe fn load(from: *const f32) -> Self;
    /// Writes the lanes to `to`.
    unsafe fn store(self, to: *mut f32);
    /// `self * b + c`, in one rounding where the tier can.
    unsafe fn mul_add(self, b: Self, c: Self) -> Self;
    /// `self + b`.
    unsafe fn add(self, b: Self) -> Self;
    /// `self - b`.
    unsafe fn sub(self, b: Self) -> Self;
    /// `self * b`.
    unsafe fn mul(self, b: Self) -> Self;
    /// `self / b`.
    unsafe fn div(self, b: Self) -> Self;
    /// Square root.
    unsafe fn sqrt(self) -> Self;
    /// `1 / self` within two ulp, for `self` whose reciprocal is a normal number.
    unsafe fn recip(self) -> Self;
    /// `self / b` within an ulp and at most 1 where `self < b`, under the conditions of
    /// [`Lanes::recip`]; faster than [`Lanes::div`] where division is slow.
    #[inline(always)]
    unsafe fn quotient(self, b: Self) -> Self {
        // SAFETY: the caller's promise.
        unsafe { self.div(b) }
    }
    /// Lane by lane `self < b ? self : b`.
    unsafe fn min(self, b: Self) -> Self;
    /// Lane by lane `self > b ? self : b`.
    unsafe fn max(self, b: Self) -> Self;
    /// Lane by lane `self < b ? x : y`.
    unsafe fn select_lt(self, b: Self, x: Self, y: Self) -> Self;
    /// The bits of `self` without the sign.
    unsafe fn abs(self) -> Self;
    /// The magnitude of `self` with the sign of `sign`.
    unsafe fn copy_sign(self, sign: Self) -> Self;
    /// The nearest whole number, for magnitudes below 2^22.
    unsafe fn round(self) -> Self;
    /// `self * 2^n` for whole `n` from -150 to 128.
    unsafe fn scale(self, n: Self) -> Self;
    /// `(e, m)` with `self = m * 2^e` and `m` from `sqrt(1/2)` to `sqrt(2)`, for positive
    /// normal numbers.
    unsafe fn split(self) -> (Self, Self);
    /// Sum of the lanes, in a fixed order.
    unsafe fn sum(self) -> f32;
    /// Largest lane.
    unsafe fn max_lane(self) -> f32;
    /// Turns the square of the first `WIDTH` registers: lane `j` of register `i` becomes lane
    /// `i` of register `j`.
    unsafe fn transpose(tile: &mut [Self; 16]);
    /// The first `count` elements at `from`, `count <= WIDTH`, and zeros.
    #[inline(always)]
    unsafe fn load_part(from: *const f32, count: usize) -> Self {
        let mut lanes = [0.0f32; 16];
        // SAFETY: the caller's promise; sixteen elements are at least WIDTH.
        unsafe {
            std::ptr::copy_nonoverlapping(from, lanes.as_mut_ptr(), count);
            Self::load(lanes.as_ptr())
        }
    }
    /// Writes the first `count` lanes to `to`, `count <= WIDTH`.
    #[inline(always)]
    unsafe fn store_part(self, to: *mut f32, count: usize) {
        let mut lanes = [0.0f32; 16];
        // SAFETY: as for `load_part`.
        unsafe {
            self.store(lanes.as_mut_ptr());
            std::ptr::copy_nonoverlapping(lanes.as_ptr(), to, count);
        }
    }
}

/// Added to and taken from a number below 2^22, this leaves the nearest whole number.
const ROUND: f32 = 12_582_912.0;
/// The bits of `sqrt(1/2)`.
const HALF_ROOT: u32 = 0x3f35_04f3;

/// Four elements that the compiler keeps in a baseline register (SSE2, NEON).
#[derive(Clone, Copy)]
#[repr(align(16))]
pub struct Plain([f32; 4]);

impl Plain {
    #[inline(always)]
    fn map(self, f: impl Fn(f32) -> f32) -> Self {
        let a = self.0;
        Plain([f(a[0]), f(a[1]), f(a[2]), f(a[3])])
    }

    #[inline(always)]
    fn zip(self, b: Self, f: impl Fn(f32, f32) -> f32) -> Self {
        let (a, b) = (self.0, b.0);
        Plain([f(a[0], b[0]), f(a[1], b[1]), f(a[2], b[2]), f(a[3], b[3])])
    }
}

/// `2^n` for whole `n` from -126 to 127.
#[inline(always)]
fn power_of_two(n: f32) -> f32 {
    f32::from_bits(((n as i32 + 127) as u32) << 23)
}

// SAFETY: no special instructions; pointers are used for exactly the stated elements.
unsafe impl Lanes for Plain {
    const WIDTH: usize = 4;
    const SUMS: usize = if cfg!(target_arch = "aarch64") {
        24
    } else {
        12
    };
    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        Plain([x; 4])
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller gives a pointer to WIDTH elements.
        Plain(unsafe { from.cast::<[f32; 4]>().read_unaligned() })
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller gives a pointer to WIDTH elements.
        unsafe { to.cast::<[f32; 4]>().write_unaligned(self.0) }
    }
    #[inline(always)]
    unsafe fn mul_add(self, b: Self, c: Self) -> Self {
        // SAFETY: no special instructions. On x86-64 a fused operation would be a library call.
        unsafe {
            if cfg!(target_arch = "aarch64") {
                let (a, b, c) = (self.0, b.0, c.0);
                Plain([
                    a[0].mul_add(b[0], c[0]),
                    a[1].mul_add(b[1], c[1]),
                    a[2].mul_add(b[2], c[2]),
                    a[3].mul_add(b[3], c[3]),
                ])
            } else {
                self.mul(b).add(c)
            }
        }
    }
    #[inline(always)]
    unsafe fn add(self, b: Self) -> Self {
        self.zip(b, |a, b| a + b)
    }
    #[inline(always)]
    unsafe fn sub(self, b: Self) -> Self {
        self.zip(b, |a, b| a - b)
    }
    #[inline(always)]
    unsafe fn mul(self, b: Self) -> Self {
        self.zip(b, |a, b| a * b)
    }
    #[inline(always)]
    unsafe fn div(self, b: Self) -> Self {
        self.zip(b, |a, b| a / b)
    }
    #[inline(always)]
    unsafe fn sqrt(self) -> Self {
        self.map(f32::sqrt)
    }
    #[inline(always)]
    unsafe fn recip(self) -> Self {
        self.map(|a| 1.0 / a)
    }
    #[inline(always)]
    unsafe fn min(self, b: Self) -> Self {
        self.zip(b, |a, b| if a < b { a } else { b })
    }
    #[inline(always)]
    unsafe fn max(self, b: Self) -> Self {
        self.zip(b, |a, b| if a > b { a } else { b })
    }
    #[inline(always)]
    unsafe fn select_lt(self, b: Self, x: Self, y: Self) -> Self {
        let mut out = y;
        for l in 0..4 {
            out.0[l] = if self.0[l] < b.0[l] { x.0[l] } else { y.0[l] };
        }
        out
    }
    #[inline(always)]
    unsafe fn abs(self) -> Self {
        self.map(f32::abs)
    }
    #[inline(always)]
    unsafe fn copy_sign(self, sign: Self) -> Self {
        self.zip(sign, f32::copysign)
    }
    #[inline(always)]
    unsafe fn round(self) -> Self {
        self.map(|a| (a + ROUND) - ROUND)
    }
    #[inline(always)]
    unsafe fn scale(self, n: Self) -> Self {
        // In two steps, so that neither factor leaves the normal numbers.
        let half = n.map(|n| ((n * 0.5) + ROUND) - ROUND);
        let scaled = self.zip(half, |a, h| a * power_of_two(h));
        scaled.zip(n.zip(half, |n, h| n - h), |a, h| a * power_of_two(h))
    }
    #[inline(always)]
    unsafe fn split(self) -> (Self, Self) {
        let exponent = |a: f32| (a.to_bits().wrapping_sub(HALF_ROOT) as i32) >> 23;
        (
            self.map(|a| exponent(a) as f32),
            self.map(|a| f32::from_bits(a.to_bits().wrapping_sub((exponent(a) << 23) as u32))),
        )
    }
    #[inline(always)]
    unsafe fn sum(self) -> f32 {
        let a = self.0;
        (a[0] + a[2]) + (a[1] + a[3])
    }
    #[inline(always)]
    unsafe fn max_lane(self) -> f32 {
        let max = |a: f32, b: f32| if a > b { a } else { b };
        let a = self.0;
        max(max(a[0], a[2]), max(a[1], a[3]))
    }
    #[inline(always)]
    unsafe fn transpose(tile: &mut [Self; 16]) {
        let old = [tile[0].0, tile[1].0, tile[2].0, tile[3].0];
        for j in 0..4 {
            tile[j] = Plain([old[0][j], old[1][j], old[2][j], old[3][j]]);
        }
    }
}

#[cfg(target_arch = "x86_64")]
pub use x86::{Avx2, Avx512};

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{HALF_ROOT, Lanes};
    use std::arch::x86_64::*;

    /// Eight elements.
    #[derive(Clone, Copy)]
    pub struct Avx2(pub __m256);

    /// Sixteen elements.
    #[derive(Clone, Copy)]
    pub struct Avx512(pub __m512);

    // SAFETY: AVX2 and FMA instructions only; pointers are used for exactly the stated
    // elements.
    unsafe impl Lanes for Avx2 {
        const WIDTH: usize = 8;
        const SUMS: usize = 12;
        #[inline(always)]
        unsafe fn splat(x: f32) -> Self {
            // SAFETY: the caller runs where AVX2 is available, here and below.
            Avx2(unsafe { _mm256_set1_ps(x) })
        }
        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            // SAFETY: as above; the caller gives a pointer to WIDTH elements.
            Avx2(unsafe { _mm256_loadu_ps(from) })
        }
        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            // SAFETY: as above; the caller gives a pointer to WIDTH elements.
            unsafe { _mm256_storeu_ps(to, self.0) }
        }
        #[inline(always)]
        unsafe fn mul_add(self, b: Self, c: Self) -> Self {
            // SAFETY: as above.
            Avx2(unsafe { _mm256_fmadd_ps(self.0, b.0, c.0) })
        }
        #[inline(always)]
        unsafe fn add(self, b: Self) -> Self {
            // SAFETY: as above.
            Avx2(unsafe { _mm256_add_ps(self.0, b.0) })
        }
        #[inline(always)]
        unsafe fn sub(self, b: Self) -> Self {
            // SAFETY: as above.
            Avx2(unsafe { _mm256_sub_ps(self.0, b.0) })
        }
        #[inline(always)]
        unsafe fn mul(self, b: Self) -> Self {
            // SAFETY: as above.
            Avx2(unsafe { _mm256_mul_ps(self.0, b.0) })
        }
        #[inline(always)]
        unsafe fn div(self, b: Self) -> Self {
            // SAFETY: as above.
            Avx2(unsafe { _mm256_div_ps(self.0, b.0) })
        }
        #[inline(always)]
        unsafe fn sqrt(self) -> Self {
            // SAFETY: as above.
            Avx2(unsafe { _mm256_sqrt_ps(self.0) })
        }
        #[inline(always)]
        unsafe fn recip(self) -> Self {
            // The estimate has 12 bits, so that one Newton step would leave a few ulp.
            // SAFETY: as above.
            unsafe { Self::splat(1.0).div(self) }
        }
        #[inline(always)]
        unsafe fn min(self, b: Self) -> Self {
            // SAFETY: as above.
            Avx2(unsafe { _mm256_min_ps(self.0, b.0) })
        }
        #[inline(always)]
        unsafe fn max(self, b: Self) -> Self {
            // SAFETY: as above.
            Avx2(unsafe { _mm256_max_ps(self.0, b.0) })
        }
        #[inline(always)]
        unsafe fn select_lt(self, b: Self, x: Self, y: Self) -> Self {
            // SAFETY: as above.
            Avx2(unsafe { _mm256_blendv_ps(y.0, x.0, _mm256_cmp_ps::<_CMP_LT_OQ>(self.0, b.0)) })
        }
        #[inline(always)]
        unsafe fn abs(self) -> Self {
            // SAFETY: as above.
            Avx2(unsafe { _mm256_andnot_ps(_mm256_set1_ps(-0.0), self.0) })
        }
        #[inline(always)]
        unsafe fn copy_sign(self, sign: Self) -> Self {
            // SAFETY: as above.
            Avx2(unsafe {
                let bit = _mm256_set1_ps(-0.0);
                _mm256_or_ps(_mm256_andnot_ps(bit, self.0), _mm256_and_ps(bit, sign.0))
            })
        }
        #[inline(always)]
        unsafe fn round(self) -> Self {
            // SAFETY: as above.
            Avx2(unsafe {
                _mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(self.0)
            })
        }
        #[inline(always)]
        unsafe fn scale(self, n: Self) -> Self {
            // In two steps, so that neither factor leaves the normal numbers.
            // SAFETY: as above.
            Avx2(unsafe {
                let n = _mm256_cvtps_epi32(n.0);
                let half = _mm256_srai_epi32::<1>(n);
                let bias = _mm256_set1_epi32(127);
                let power =
                    |n| _mm256_castsi256_ps(_mm256_slli_epi32::<23>(_mm256_add_epi32(n, bias)));
                let scaled = _mm256_mul_ps(self.0, power(half));
                _mm256_mul_ps(scaled, power(_mm256_sub_epi32(n, half)))
            })
        }
        #[inline(always)]
        unsafe fn split(self) -> (Self, Self) {
            // SAFETY: as above.
            unsafe {
                let bits = _mm256_castps_si256(self.0);
                let above = _mm256_sub_epi32(bits, _mm256_set1_epi32(HALF_ROOT as i32));
                let exponent = _mm256_srai_epi32::<23>(above);
                let mantissa = _mm256_sub_epi32(bits, _mm256_slli_epi32::<23>(exponent));
                (
                    Avx2(_mm256_cvtepi32_ps(exponent)),
                    Avx2(_mm256_castsi256_ps(mantissa)),
                )
            }
        }
        #[inline(always)]
        unsafe fn sum(self) -> f32 {
            // SAFETY: as above.
            unsafe {
                let half = _mm_add_ps(
                    _mm256_castps256_ps128(self.0),
                    _mm256_extractf128_ps::<1>(self.0),
                );
                let pair = _mm_add_ps(half, _mm_movehl_ps(half, half));
                _mm_cvtss_f32(_mm_add_ss(pair, _mm_shuffle_ps::<1>(pair, pair)))
            }
        }
        #[inline(always)]
        unsafe fn max_lane(self) -> f32 {
            // SAFETY: as above.
            unsafe {
                let half = _mm_max_ps(
                    _mm256_castps256_ps128(self.0),
                    _mm256_extractf128_ps::<1>(self.0),
                );
                let pair = _mm_max_ps(half, _mm_movehl_ps(half, half));
                _mm_cvtss_f32(_mm_max_ss(pair, _mm_shuffle_ps::<1>(pair, pair)))
            }
        }
        #[inline(always)]
        unsafe fn transpose(tile: &mut [Self; 16]) {
            // SAFETY: as above.
            unsafe {
                let mut pairs = [tile[0].0; 8];
                for i in 0..4 {
                    let (a, b) = (tile[2 * i].0, tile[2 * i + 1].0);
                    pairs[2 * i] = _mm256_unpacklo_ps(a, b);
                    pairs[2 * i + 1] = _mm256_unpackhi_ps(a, b);
                }
                let mut fours = [tile[0].0; 8];
                for i in 0..2 {
                    for j in 0..2 {
                        let (a, b) = (pairs[4 * i + j], pairs[4 * i + j + 2]);
                        fours[4 * i + 2 * j] = _mm256_shuffle_ps::<0b01_00_01_00>(a, b);
                        fours[4 * i + 2 * j + 1] = _mm256_shuffle_ps::<0b11_10_11_10>(a, b);
                    }
                }
                for j in 0..4 {
                    let (a, b) = (fours[j], fours[j + 4]);
                    tile[j] = Avx2(_mm256_permute2f128_ps::<0x20>(a, b));
                    tile[j + 4] = Avx2(_mm256_permute2f128_ps::<0x31>(a, b));
                }
            }
        }
        #[inline(always)]
        unsafe fn load_part(from: *const f32, count: usize) -> Self {
            // SAFETY: as above; lanes beyond the mask are not read.
            Avx2(unsafe { _mm256_maskload_ps(from, first(count)) })
        }
        #[inline(always)]
        unsafe fn store_part(self, to: *mut f32, count: usize) {
            // SAFETY: as above; lanes beyond the mask are not written.
            unsafe { _mm256_maskstore_ps(to, first(count), self.0) }
        }
    }

    /// All bits of the first `count` of eight lanes.
    ///
    /// # Safety
    /// The processor must have AVX2.
    #[inline(always)]
    unsafe fn first(count: usize) -> __m256i {
        // SAFETY: the caller's promise.
        unsafe {
            let number = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
            _mm256_cmpgt_epi32(_mm256_set1_epi32(count as i32), number)
        }
    }

    // SAFETY: AVX-512 F and DQ instructions only; pointers are used for exactly the stated
    // elements.
    unsafe impl Lanes for Avx512 {
        const WIDTH: usize = 16;
        const SUMS: usize = 24;
        #[inline(always)]
        unsafe fn splat(x: f32) -> Self {
            // SAFETY: the caller runs where AVX-512 is available, here and below.
            Avx512(unsafe { _mm512_set1_ps(x) })
        }
        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            // SAFETY: as above; the caller gives a pointer to WIDTH elements.
            Avx512(unsafe { _mm512_loadu_ps(from) })
        }
        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            // SAFETY: as above; the caller gives a pointer to WIDTH elements.
            unsafe { _mm512_storeu_ps(to, self.0) }
        }
        #[inline(always)]
        unsafe fn mul_add(self, b: Self, c: Self) -> Self {
            // SAFETY: as above.
            Avx512(unsafe { _mm512_fmadd_ps(self.0, b.0, c.0) })
        }
        #[inline(always)]
        unsafe fn add(self, b: Self) -> Self {
            // SAFETY: as above.
            Avx512(unsafe { _mm512_add_ps(self.0, b.0) })
        }
        #[inline(always)]
        unsafe fn sub(self, b: Self) -> Self {
            // SAFETY: as above.
            Avx512(unsafe { _mm512_sub_ps(self.0, b.0) })
        }
        #[inline(always)]
        unsafe fn mul(self, b: Self) -> Self {
            // SAFETY: as above.
            Avx512(unsafe { _mm512_mul_ps(self.0, b.0) })
        }
        #[inline(always)]
        unsafe fn div(self, b: Self) -> Self {
            // SAFETY: as above.
            Avx512(unsafe { _mm512_div_ps(self.0, b.0) })
        }
        #[inline(always)]
        unsafe fn sqrt(self) -> Self {
            // SAFETY: as above.
            Avx512(unsafe { _mm512_sqrt_ps(self.0) })
        }
        #[inline(always)]
        unsafe fn recip(self) -> Self {
            // The estimate has 14 bits; one Newton step doubles them.
            // SAFETY: as above.
            Avx512(unsafe {
                let guess = _mm512_rcp14_ps(self.0);
                let error = _mm512_fnmadd_ps(self.0, guess, _mm512_set1_ps(1.0));
                _mm512_fmadd_ps(guess, error, guess)
            })
        }
        #[inline(always)]
        unsafe fn quotient(self, b: Self) -> Self {
            // SAFETY: as above.
            Avx512(unsafe {
                let recip = b.recip().0;
                let guess = _mm512_mul_ps(self.0, recip);
                let rest = _mm512_fnmadd_ps(guess, b.0, self.0);
                _mm512_fmadd_ps(rest, recip, guess)
            })
        }
        #[inline(always)]
        unsafe fn min(self, b: Self) -> Self {
            // SAFETY: as above.
            Avx512(unsafe { _mm512_min_ps(self.0, b.0) })
        }
        #[inline(always)]
        unsafe fn max(self, b: Self) -> Self {
            // SAFETY: as above.
            Avx512(unsafe { _mm512_max_ps(self.0, b.0) })
        }
        #[inline(always)]
        unsafe fn select_lt(self, b: Self, x: Self, y: Self) -> Self {
            // SAFETY: as above.
            Avx512(unsafe {
                _mm512_mask_blend_ps(_mm512_cmp_ps_mask::<_CMP_LT_OQ>(self.0, b.0), y.0, x.0)
            })
        }
        #[inline(always)]
        unsafe fn abs(self) -> Self {
            // SAFETY: as above.
            Avx512(unsafe { _mm512_abs_ps(self.0) })
        }
        #[inline(always)]
        unsafe fn copy_sign(self, sign: Self) -> Self {
            // SAFETY: as above.
            Avx512(unsafe {
                let bit = _mm512_set1_ps(-0.0);
                _mm512_or_ps(_mm512_andnot_ps(bit, self.0), _mm512_and_ps(bit, sign.0))
            })
        }
        #[inline(always)]
        unsafe fn round(self) -> Self {
            // SAFETY: as above.
            Avx512(unsafe { _mm512_roundscale_ps::<0>(self.0) })
        }
        #[inline(always)]
        unsafe fn scale(self, n: Self) -> Self {
            // SAFETY: as above.
            Avx512(unsafe { _mm512_scalef_ps(self.0, n.0) })
        }
        #[inline(always)]
        unsafe fn split(self) -> (Self, Self) {
            // SAFETY: as above.
            unsafe {
                let bits = _mm512_castps_si512(self.0);
                let above = _mm512_sub_epi32(bits, _mm512_set1_epi32(HALF_ROOT as i32));
                let exponent = _mm512_srai_epi32::<23>(above);
                let mantissa = _mm512_sub_epi32(bits, _mm512_slli_epi32::<23>(exponent));
                (
                    Avx512(_mm512_cvtepi32_ps(exponent)),
                    Avx512(_mm512_castsi512_ps(mantissa)),
                )
            }
        }
        #[inline(always)]
        unsafe fn sum(self) -> f32 {
            // SAFETY: as above.
            unsafe {
                let low = _mm512_castps512_ps256(self.0);
                let high = _mm512_extractf32x8_ps::<1>(self.0);
                Avx2(_mm256_add_ps(low, high)).sum()
            }
        }
        #[inline(always)]
        unsafe fn max_lane(self) -> f32 {
            // SAFETY: as above.
            unsafe {
                let low = _mm512_castps512_ps256(self.0);
                let high = _mm512_extractf32x8_ps::<1>(self.0);
                Avx2(_mm256_max_ps(low, high)).max_lane()
            }
        }
        #[inline(always)]
        unsafe fn transpose(tile: &mut [Self; 16]) {
            // SAFETY: as above.
            unsafe {
                let mut pairs = [tile[0].0; 16];
                for i in 0..8 {
                    let (a, b) = (tile[2 * i].0, tile[2 * i + 1].0);
                    pairs[2 * i] = _mm512_unpacklo_ps(a, b);
                    pairs[2 * i + 1] = _mm512_unpackhi_ps(a, b);
                }
                // Of rows 4i to 4i + 3: register 4i + k has their columns k, k + 4, k + 8, k + 12.
                let mut fours = [tile[0].0; 16];
                for i in 0..4 {
                    for j in 0..2 {
                        let (a, b) = (pairs[4 * i + j], pairs[4 * i + j + 2]);
                        fours[4 * i + 2 * j] = _mm512_shuffle_ps::<0b01_00_01_00>(a, b);
                        fours[4 * i + 2 * j + 1] = _mm512_shuffle_ps::<0b11_10_11_10>(a, b);
                    }
                }
                for k in 0..4 {
                    let (a, b) = (fours[k], fours[k + 4]);
                    let (c, d) = (fours[k + 8], fours[k + 12]);
                    let even = _mm512_shuffle_f32x4::<0b10_00_10_00>(a, b);
                    let odd = _mm512_shuffle_f32x4::<0b11_01_11_01>(a, b);
                    let even_low = _mm512_shuffle_f32x4::<0b10_00_10_00>(c, d);
                    let odd_low = _mm512_shuffle_f32x4::<0b11_01_11_01>(c, d);
                    tile[k] = Avx512(_mm512_shuffle_f32x4::<0b10_00_10_00>(even, even_low));
                    tile[k + 4] = Avx512(_mm512_shuffle_f32x4::<0b10_00_10_00>(odd, odd_low));
                    tile[k + 8] = Avx512(_mm512_shuffle_f32x4::<0b11_01_11_01>(even, even_low));
                    tile[k + 12] = Avx512(_mm512_shuffle_f32x4::<0b11_01_11_01>(odd, odd_low));
                }
            }
        }
        #[inline(always)]
        unsafe fn load_part(from: *const f32, count: usize) -> Self {
            // SAFETY: as above; lanes beyond the mask are not read.
            Avx512(unsafe { _mm512_maskz_loadu_ps(part(count), from) })
        }
        #[inline(always)]
        unsafe fn store_part(self, to: *mut f32, count: usize) {
            // SAFETY: as above; lanes beyond the mask are not written.
            unsafe { _mm512_mask_storeu_ps(to, part(count), self.0) }
        }
    }

    /// The mask of the first `count` of sixteen lanes.
    #[inline(always)]
    fn part(count: usize) -> __mmask16 {
        ((1u32 << count) - 1) as __mmask16
    }
}
