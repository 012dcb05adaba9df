//! Registers of `f32` for the convolution loops, one trait for every tier.
//!
//! Comparisons follow SSE: `max(a, b)` is `a > b ? a : b`, so a NaN in `a` gives `b`.

/// A register of floats.
///
/// # Safety
/// The methods may be called only where the tier's instructions are available; pointers must
/// be valid for [`Simd::LANES`] elements, or for `n` where a method takes `n <= LANES`.
pub unsafe trait Simd: Copy {
    /// Numbers that choose one of four elements in each lane.
    type Which: Copy;
    /// Elements in one register.
    const LANES: usize;
    /// Patches whose products with two registers of filters fit into the register file.
    const ROWS: usize;
    /// The same in pooled cells of four patches.
    const CELLS: usize;
    /// Registers of one output channel's weights that fit beside the loads.
    const RUN: usize;
    /// All lanes equal to `x`.
    unsafe fn splat(x: f32) -> Self;
    /// The elements at `from`.
    unsafe fn load(from: *const f32) -> Self;
    /// The first `n` elements at `from`, zeros after them.
    unsafe fn load_part(from: *const f32, n: usize) -> Self;
    /// Writes the lanes to `to`.
    unsafe fn store(self, to: *mut f32);
    /// Writes the first `n` lanes to `to`.
    unsafe fn store_part(self, to: *mut f32, n: usize);
    /// `self * b + c`.
    unsafe fn mul_add(self, b: Self, c: Self) -> Self;
    /// `self + b`.
    unsafe fn add(self, b: Self) -> Self;
    /// `self * b`.
    unsafe fn mul(self, b: Self) -> Self;
    /// Lane by lane `self > b ? self : b`.
    unsafe fn max(self, b: Self) -> Self;
    /// Lane by lane `self < b ? x : y`.
    unsafe fn select_lt(self, b: Self, x: Self, y: Self) -> Self;
    /// Lane by lane NaN where `a` or `b` is NaN, else `self`.
    unsafe fn or_nan(self, a: Self, b: Self) -> Self;
    /// Sum of the lanes, in a fixed order.
    unsafe fn sum(self) -> f32;
    /// Writes the first `n` lanes, whole numbers below 256, as bytes.
    unsafe fn store_bytes(self, to: *mut u8, n: usize);
    /// `n` numbers below 4, zeros after them.
    unsafe fn which(from: *const u8, n: usize) -> Self::Which;
    /// In each lane the element of `four` that `which` names.
    unsafe fn pick(four: *const f32, which: Self::Which) -> Self;
    /// The channels whose gradient is not zero and whose largest pixel was `position`, among
    /// `n` at `g` and `argmax`: appends the gradients to `values` and `(first + lane) * step` to
    /// `places`, and returns how many there were. Both must have room for `n` more.
    #[inline(always)]
    unsafe fn gather_position(
        g: *const f32,
        argmax: *const u8,
        n: usize,
        position: u8,
        first: usize,
        step: usize,
        values: *mut f32,
        places: *mut u32,
    ) -> usize {
        let mut count = 0;
        for l in 0..n {
            // SAFETY: the caller gives n elements and room for as many.
            unsafe {
                let value = *g.add(l);
                *values.add(count) = value;
                *places.add(count) = ((first + l) * step) as u32;
                count += (value != 0.0 && *argmax.add(l) == position) as usize;
            }
        }
        count
    }
}

/// Lanes of [`Plain`]: NEON has registers for twice as many accumulators as SSE2.
const PLAIN: usize = if cfg!(target_arch = "aarch64") { 8 } else { 4 };

/// A short array that the compiler keeps in the target's baseline registers.
#[derive(Clone, Copy)]
pub struct Plain([f32; PLAIN]);

impl Plain {
    #[inline(always)]
    fn zip(mut self, b: Self, f: impl Fn(f32, f32) -> f32) -> Self {
        for l in 0..PLAIN {
            self.0[l] = f(self.0[l], b.0[l]);
        }
        self
    }
}

// SAFETY: no special instructions; pointers are used for exactly the stated elements.
unsafe impl Simd for Plain {
    type Which = [u8; PLAIN];
    const LANES: usize = PLAIN;
    const ROWS: usize = 4;
    const CELLS: usize = 1;
    const RUN: usize = 6;
    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        Plain([x; PLAIN])
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller gives a pointer to LANES elements.
        Plain(unsafe { from.cast::<[f32; PLAIN]>().read_unaligned() })
    }
    #[inline(always)]
    unsafe fn load_part(from: *const f32, n: usize) -> Self {
        let mut out = [0.0; PLAIN];
        for (l, out) in out.iter_mut().enumerate().take(n) {
            // SAFETY: the caller gives a pointer to n elements.
            *out = unsafe { *from.add(l) };
        }
        Plain(out)
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller gives a pointer to LANES elements.
        unsafe { to.cast::<[f32; PLAIN]>().write_unaligned(self.0) }
    }
    #[inline(always)]
    unsafe fn store_part(self, to: *mut f32, n: usize) {
        for (l, &value) in self.0.iter().enumerate().take(n) {
            // SAFETY: the caller gives a pointer to n elements.
            unsafe { *to.add(l) = value };
        }
    }
    #[inline(always)]
    unsafe fn mul_add(self, b: Self, mut c: Self) -> Self {
        for l in 0..PLAIN {
            // Fused only where the baseline has the instruction: elsewhere it is a library call.
            if cfg!(target_arch = "aarch64") {
                c.0[l] = self.0[l].mul_add(b.0[l], c.0[l]);
            } else {
                c.0[l] += self.0[l] * b.0[l];
            }
        }
        c
    }
    #[inline(always)]
    unsafe fn add(self, b: Self) -> Self {
        self.zip(b, |a, b| a + b)
    }
    #[inline(always)]
    unsafe fn mul(self, b: Self) -> Self {
        self.zip(b, |a, b| a * b)
    }
    #[inline(always)]
    unsafe fn max(self, b: Self) -> Self {
        self.zip(b, |a, b| if a > b { a } else { b })
    }
    #[inline(always)]
    unsafe fn select_lt(self, b: Self, x: Self, mut y: Self) -> Self {
        for l in 0..PLAIN {
            y.0[l] = if self.0[l] < b.0[l] { x.0[l] } else { y.0[l] };
        }
        y
    }
    #[inline(always)]
    unsafe fn or_nan(mut self, a: Self, b: Self) -> Self {
        for l in 0..PLAIN {
            let both = a.0[l] + b.0[l];
            self.0[l] = if a.0[l].is_nan() || b.0[l].is_nan() {
                both
            } else {
                self.0[l]
            };
        }
        self
    }
    #[inline(always)]
    unsafe fn sum(self) -> f32 {
        self.0.iter().sum()
    }
    #[inline(always)]
    unsafe fn store_bytes(self, to: *mut u8, n: usize) {
        for (l, &value) in self.0.iter().enumerate().take(n) {
            // SAFETY: the caller gives a pointer to n bytes.
            unsafe { *to.add(l) = value as u8 };
        }
    }
    #[inline(always)]
    unsafe fn which(from: *const u8, n: usize) -> [u8; PLAIN] {
        let mut out = [0; PLAIN];
        for (l, out) in out.iter_mut().enumerate().take(n) {
            // SAFETY: the caller gives a pointer to n bytes.
            *out = unsafe { *from.add(l) };
        }
        out
    }
    #[inline(always)]
    unsafe fn pick(four: *const f32, which: [u8; PLAIN]) -> Self {
        // SAFETY: the caller gives four elements and numbers below 4.
        Plain(which.map(|w| unsafe { *four.add((w & 3) as usize) }))
    }
}

#[cfg(target_arch = "x86_64")]
pub use x86::{Avx2, Avx512};

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::Simd;
    use std::arch::x86_64::*;

    /// 16 floats of AVX-512.
    #[derive(Clone, Copy)]
    pub struct Avx512(__m512);
    /// 8 floats of AVX2.
    #[derive(Clone, Copy)]
    pub struct Avx2(__m256);

    #[inline(always)]
    fn low(n: usize) -> __mmask16 {
        ((1u32 << n) - 1) as __mmask16
    }

    // SAFETY: every intrinsic is of the tier that the caller has checked, masks keep accesses
    // to the stated elements.
    unsafe impl Simd for Avx512 {
        type Which = __m512i;
        const LANES: usize = 16;
        const ROWS: usize = 12;
        const CELLS: usize = 3;
        const RUN: usize = 18;
        #[inline(always)]
        unsafe fn splat(x: f32) -> Self {
            // SAFETY: as above.
            Avx512(unsafe { _mm512_set1_ps(x) })
        }
        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            // SAFETY: as above.
            Avx512(unsafe { _mm512_loadu_ps(from) })
        }
        #[inline(always)]
        unsafe fn load_part(from: *const f32, n: usize) -> Self {
            // SAFETY: as above.
            Avx512(unsafe { _mm512_maskz_loadu_ps(low(n), from) })
        }
        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            // SAFETY: as above.
            unsafe { _mm512_storeu_ps(to, self.0) }
        }
        #[inline(always)]
        unsafe fn store_part(self, to: *mut f32, n: usize) {
            // SAFETY: as above.
            unsafe { _mm512_mask_storeu_ps(to, low(n), self.0) }
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
        unsafe fn mul(self, b: Self) -> Self {
            // SAFETY: as above.
            Avx512(unsafe { _mm512_mul_ps(self.0, b.0) })
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
        unsafe fn or_nan(self, a: Self, b: Self) -> Self {
            // SAFETY: as above.
            Avx512(unsafe {
                let mask = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(a.0, b.0);
                _mm512_mask_add_ps(self.0, mask, a.0, b.0)
            })
        }
        #[inline(always)]
        unsafe fn sum(self) -> f32 {
            // SAFETY: as above.
            unsafe { _mm512_reduce_add_ps(self.0) }
        }
        #[inline(always)]
        unsafe fn store_bytes(self, to: *mut u8, n: usize) {
            // SAFETY: as above.
            unsafe {
                let bytes = _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(self.0));
                _mm_mask_storeu_epi8(to.cast(), low(n), bytes);
            }
        }
        #[inline(always)]
        unsafe fn which(from: *const u8, n: usize) -> __m512i {
            // SAFETY: as above.
            unsafe { _mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(low(n), from.cast())) }
        }
        #[inline(always)]
        unsafe fn pick(four: *const f32, which: __m512i) -> Self {
            // SAFETY: as above.
            Avx512(unsafe {
                _mm512_permutevar_ps(_mm512_broadcast_f32x4(_mm_loadu_ps(four)), which)
            })
        }
        #[inline(always)]
        unsafe fn gather_position(
            g: *const f32,
            argmax: *const u8,
            n: usize,
            position: u8,
            first: usize,
            step: usize,
            values: *mut f32,
            places: *mut u32,
        ) -> usize {
            // SAFETY: as above; at most n elements are stored, since the mask has no more.
            unsafe {
                let value = _mm512_maskz_loadu_ps(low(n), g);
                let argmax = _mm_maskz_loadu_epi8(low(n), argmax.cast());
                let mask = _mm512_cmp_ps_mask::<_CMP_NEQ_UQ>(value, _mm512_setzero_ps())
                    & _mm_cmpeq_epi8_mask(argmax, _mm_set1_epi8(position as i8));
                let lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
                let place = _mm512_mullo_epi32(
                    _mm512_add_epi32(lanes, _mm512_set1_epi32(first as i32)),
                    _mm512_set1_epi32(step as i32),
                );
                let count = mask.count_ones() as usize;
                // Compressing in a register and a masked store: storing while compressing is
                // microcoded on some processors.
                let value = _mm512_maskz_compress_ps(mask, value);
                let place = _mm512_maskz_compress_epi32(mask, place);
                _mm512_mask_storeu_ps(values, low(count), value);
                _mm512_mask_storeu_epi32(places.cast(), low(count), place);
                count
            }
        }
    }

    /// The first `n` of eight lanes.
    #[inline(always)]
    unsafe fn mask8(n: usize) -> __m256i {
        // SAFETY: AVX2, as the caller's.
        unsafe {
            _mm256_cmpgt_epi32(
                _mm256_set1_epi32(n as i32),
                _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7),
            )
        }
    }

    // SAFETY: every intrinsic is of the tier that the caller has checked, masks keep accesses
    // to the stated elements.
    unsafe impl Simd for Avx2 {
        type Which = __m256i;
        const LANES: usize = 8;
        const ROWS: usize = 6;
        const CELLS: usize = 1;
        const RUN: usize = 9;
        #[inline(always)]
        unsafe fn splat(x: f32) -> Self {
            // SAFETY: as above.
            Avx2(unsafe { _mm256_set1_ps(x) })
        }
        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            // SAFETY: as above.
            Avx2(unsafe { _mm256_loadu_ps(from) })
        }
        #[inline(always)]
        unsafe fn load_part(from: *const f32, n: usize) -> Self {
            // SAFETY: as above.
            Avx2(unsafe { _mm256_maskload_ps(from, mask8(n)) })
        }
        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            // SAFETY: as above.
            unsafe { _mm256_storeu_ps(to, self.0) }
        }
        #[inline(always)]
        unsafe fn store_part(self, to: *mut f32, n: usize) {
            // SAFETY: as above.
            unsafe { _mm256_maskstore_ps(to, mask8(n), self.0) }
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
        unsafe fn mul(self, b: Self) -> Self {
            // SAFETY: as above.
            Avx2(unsafe { _mm256_mul_ps(self.0, b.0) })
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
        unsafe fn or_nan(self, a: Self, b: Self) -> Self {
            // SAFETY: as above.
            Avx2(unsafe {
                let mask = _mm256_cmp_ps::<_CMP_UNORD_Q>(a.0, b.0);
                _mm256_blendv_ps(self.0, _mm256_add_ps(a.0, b.0), mask)
            })
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
                _mm_cvtss_f32(_mm_add_ss(pair, _mm_movehdup_ps(pair)))
            }
        }
        #[inline(always)]
        unsafe fn store_bytes(self, to: *mut u8, n: usize) {
            let mut bytes = [0u8; 8];
            // SAFETY: as above; n is at most 8.
            unsafe {
                let whole = _mm256_cvtps_epi32(self.0);
                let words = _mm_packus_epi32(
                    _mm256_castsi256_si128(whole),
                    _mm256_extracti128_si256::<1>(whole),
                );
                _mm_storel_epi64(bytes.as_mut_ptr().cast(), _mm_packus_epi16(words, words));
                std::ptr::copy_nonoverlapping(bytes.as_ptr(), to, n);
            }
        }
        #[inline(always)]
        unsafe fn which(from: *const u8, n: usize) -> __m256i {
            let mut bytes = [0u8; 8];
            // SAFETY: as above; n is at most 8.
            unsafe {
                std::ptr::copy_nonoverlapping(from, bytes.as_mut_ptr(), n);
                _mm256_cvtepu8_epi32(_mm_loadl_epi64(bytes.as_ptr().cast()))
            }
        }
        #[inline(always)]
        unsafe fn pick(four: *const f32, which: __m256i) -> Self {
            // SAFETY: as above.
            Avx2(unsafe { _mm256_permutevar_ps(_mm256_broadcast_ps(&_mm_loadu_ps(four)), which) })
        }
    }
}
