//! Registers of single precision on each tier behind one trait.

use crate::tier::{Tier, detected};

/// A register of `f32`.
///
/// # Safety
/// The methods may be called only where the tier's instructions are available, and pointers
/// must be valid for [`Lanes::N`] numbers (or for the stated count).
pub(crate) unsafe trait Lanes: Copy {
    /// Numbers in one register.
    const N: usize;
    unsafe fn splat(x: f32) -> Self;
    unsafe fn load(from: *const f32) -> Self;
    unsafe fn store(self, to: *mut f32);
    /// The first `n <= N` numbers at `from`, zeros after them.
    unsafe fn load_some(from: *const f32, n: usize) -> Self;
    /// Writes the first `n <= N` lanes.
    unsafe fn store_some(self, to: *mut f32, n: usize);
    /// `self * b + c`.
    unsafe fn mul_add(self, b: Self, c: Self) -> Self;
    unsafe fn add(self, b: Self) -> Self;
    unsafe fn mul(self, b: Self) -> Self;
    /// Lane by lane `self > b ? self : b`, so a NaN in `self` gives `b`.
    unsafe fn max(self, b: Self) -> Self;
    /// Lane by lane `self < b ? self : b`, so a NaN in `b` gives `b`.
    unsafe fn min(self, b: Self) -> Self;
    /// Sum of the lanes, in a fixed order.
    unsafe fn sum(self) -> f32;
    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: the caller has checked the tier.
        unsafe { Self::splat(0.0) }
    }
}

/// One loop with its arguments, to be run with any registers.
pub(crate) trait Task {
    /// # Safety
    /// The tier of `V` is there, and the arguments are as the task demands.
    unsafe fn run<V: Lanes>(self);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn on_avx2<K: Task>(task: K) {
    // SAFETY: the caller's promise.
    unsafe { task.run::<Avx2>() }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512vl,avx512dq")]
unsafe fn on_avx512<K: Task>(task: K) {
    // SAFETY: the caller's promise.
    unsafe { task.run::<Avx512>() }
}

/// Runs `task` with the registers of `tier`, or of the widest tier below it that is there.
///
/// # Safety
/// The arguments are as the task demands.
#[inline]
pub(crate) unsafe fn dispatch<K: Task>(tier: Tier, task: K) {
    // SAFETY: `detected` has found the tier; the caller answers for the arguments.
    unsafe {
        match tier.min(detected()) {
            #[cfg(target_arch = "x86_64")]
            Tier::Avx512 => on_avx512(task),
            #[cfg(target_arch = "x86_64")]
            Tier::Avx2 => on_avx2(task),
            _ => task.run::<Plain>(),
        }
    }
}

/// Lanes of the baseline's registers.
const WIDTH: usize = 4;

/// Four floats; the compiler turns the loops into SSE2 or NEON instructions.
#[derive(Clone, Copy)]
pub(crate) struct Plain([f32; WIDTH]);

#[inline(always)]
fn fused(a: f32, b: f32, c: f32) -> f32 {
    // Without the instruction a fused operation is a library call.
    if cfg!(target_arch = "aarch64") {
        a.mul_add(b, c)
    } else {
        a * b + c
    }
}

// SAFETY: needs no instructions beyond the baseline; pointers are used as stated.
unsafe impl Lanes for Plain {
    const N: usize = WIDTH;
    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        Plain([x; WIDTH])
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller gives a pointer to N numbers.
        Plain(unsafe { from.cast::<[f32; WIDTH]>().read_unaligned() })
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller gives a pointer to N numbers.
        unsafe { to.cast::<[f32; WIDTH]>().write_unaligned(self.0) }
    }
    #[inline(always)]
    unsafe fn load_some(from: *const f32, n: usize) -> Self {
        let mut out = [0.0; WIDTH];
        for (l, lane) in out.iter_mut().enumerate().take(n) {
            // SAFETY: the caller gives a pointer to n numbers.
            *lane = unsafe { *from.add(l) };
        }
        Plain(out)
    }
    #[inline(always)]
    unsafe fn store_some(self, to: *mut f32, n: usize) {
        for (l, lane) in self.0.iter().enumerate().take(n) {
            // SAFETY: the caller gives a pointer to n numbers.
            unsafe { *to.add(l) = *lane };
        }
    }
    #[inline(always)]
    unsafe fn mul_add(self, b: Self, mut c: Self) -> Self {
        for l in 0..WIDTH {
            c.0[l] = fused(self.0[l], b.0[l], c.0[l]);
        }
        c
    }
    #[inline(always)]
    unsafe fn add(mut self, b: Self) -> Self {
        for l in 0..WIDTH {
            self.0[l] += b.0[l];
        }
        self
    }
    #[inline(always)]
    unsafe fn mul(mut self, b: Self) -> Self {
        for l in 0..WIDTH {
            self.0[l] *= b.0[l];
        }
        self
    }
    #[inline(always)]
    unsafe fn sum(self) -> f32 {
        (self.0[0] + self.0[2]) + (self.0[1] + self.0[3])
    }
    #[inline(always)]
    unsafe fn max(self, mut b: Self) -> Self {
        for l in 0..WIDTH {
            if self.0[l] > b.0[l] {
                b.0[l] = self.0[l];
            }
        }
        b
    }
    #[inline(always)]
    unsafe fn min(self, mut b: Self) -> Self {
        for l in 0..WIDTH {
            if self.0[l] < b.0[l] {
                b.0[l] = self.0[l];
            }
        }
        b
    }
}

#[cfg(target_arch = "x86_64")]
pub(crate) use x86::{Avx2, Avx512};

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::Lanes;
    use std::arch::x86_64::*;

    /// 16 floats of AVX-512.
    #[derive(Clone, Copy)]
    pub(crate) struct Avx512(__m512);
    /// 8 floats of AVX2.
    #[derive(Clone, Copy)]
    pub(crate) struct Avx2(__m256);

    /// A mask of the first `n` of 16 lanes.
    #[inline(always)]
    fn first(n: usize) -> __mmask16 {
        ((1u32 << n) - 1) as __mmask16
    }

    // SAFETY: every intrinsic is of the tier that the caller has checked, and pointers are used
    // for exactly the stated numbers (a masked-out lane is not touched).
    unsafe impl Lanes for Avx512 {
        const N: usize = 16;
        #[inline(always)]
        unsafe fn splat(x: f32) -> Self {
            // SAFETY: the caller has checked the tier.
            Avx512(unsafe { _mm512_set1_ps(x) })
        }
        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            // SAFETY: the caller has checked the tier and the pointer.
            Avx512(unsafe { _mm512_loadu_ps(from) })
        }
        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            // SAFETY: the caller has checked the tier and the pointer.
            unsafe { _mm512_storeu_ps(to, self.0) }
        }
        #[inline(always)]
        unsafe fn load_some(from: *const f32, n: usize) -> Self {
            // SAFETY: the caller has checked the tier; only n numbers are touched.
            Avx512(unsafe { _mm512_maskz_loadu_ps(first(n), from) })
        }
        #[inline(always)]
        unsafe fn store_some(self, to: *mut f32, n: usize) {
            // SAFETY: the caller has checked the tier; only n numbers are touched.
            unsafe { _mm512_mask_storeu_ps(to, first(n), self.0) }
        }
        #[inline(always)]
        unsafe fn mul_add(self, b: Self, c: Self) -> Self {
            // SAFETY: the caller has checked the tier.
            Avx512(unsafe { _mm512_fmadd_ps(self.0, b.0, c.0) })
        }
        #[inline(always)]
        unsafe fn add(self, b: Self) -> Self {
            // SAFETY: the caller has checked the tier.
            Avx512(unsafe { _mm512_add_ps(self.0, b.0) })
        }
        #[inline(always)]
        unsafe fn mul(self, b: Self) -> Self {
            // SAFETY: the caller has checked the tier.
            Avx512(unsafe { _mm512_mul_ps(self.0, b.0) })
        }
        #[inline(always)]
        unsafe fn sum(self) -> f32 {
            // SAFETY: the caller has checked the tier.
            unsafe { _mm512_reduce_add_ps(self.0) }
        }
        #[inline(always)]
        unsafe fn max(self, b: Self) -> Self {
            // SAFETY: the caller has checked the tier.
            Avx512(unsafe { _mm512_max_ps(self.0, b.0) })
        }
        #[inline(always)]
        unsafe fn min(self, b: Self) -> Self {
            // SAFETY: the caller has checked the tier.
            Avx512(unsafe { _mm512_min_ps(self.0, b.0) })
        }
    }

    // SAFETY: every intrinsic is of the tier that the caller has checked, and pointers are used
    // for exactly the stated numbers.
    unsafe impl Lanes for Avx2 {
        const N: usize = 8;
        #[inline(always)]
        unsafe fn splat(x: f32) -> Self {
            // SAFETY: the caller has checked the tier.
            Avx2(unsafe { _mm256_set1_ps(x) })
        }
        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            // SAFETY: the caller has checked the tier and the pointer.
            Avx2(unsafe { _mm256_loadu_ps(from) })
        }
        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            // SAFETY: the caller has checked the tier and the pointer.
            unsafe { _mm256_storeu_ps(to, self.0) }
        }
        #[inline(always)]
        unsafe fn load_some(from: *const f32, n: usize) -> Self {
            let mut lanes = [0.0f32; 8];
            // SAFETY: the caller gives a pointer to n <= 8 numbers and has checked the tier.
            unsafe {
                std::ptr::copy_nonoverlapping(from, lanes.as_mut_ptr(), n);
                Avx2(_mm256_loadu_ps(lanes.as_ptr()))
            }
        }
        #[inline(always)]
        unsafe fn store_some(self, to: *mut f32, n: usize) {
            let mut lanes = [0.0f32; 8];
            // SAFETY: the caller gives a pointer to n <= 8 numbers and has checked the tier.
            unsafe {
                _mm256_storeu_ps(lanes.as_mut_ptr(), self.0);
                std::ptr::copy_nonoverlapping(lanes.as_ptr(), to, n);
            }
        }
        #[inline(always)]
        unsafe fn mul_add(self, b: Self, c: Self) -> Self {
            // SAFETY: the caller has checked the tier.
            Avx2(unsafe { _mm256_fmadd_ps(self.0, b.0, c.0) })
        }
        #[inline(always)]
        unsafe fn add(self, b: Self) -> Self {
            // SAFETY: the caller has checked the tier.
            Avx2(unsafe { _mm256_add_ps(self.0, b.0) })
        }
        #[inline(always)]
        unsafe fn mul(self, b: Self) -> Self {
            // SAFETY: the caller has checked the tier.
            Avx2(unsafe { _mm256_mul_ps(self.0, b.0) })
        }
        #[inline(always)]
        unsafe fn sum(self) -> f32 {
            // SAFETY: the caller has checked the tier.
            unsafe {
                let (low, high) = (
                    _mm256_castps256_ps128(self.0),
                    _mm256_extractf128_ps::<1>(self.0),
                );
                let four = _mm_add_ps(low, high);
                let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
                _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps::<1>(two, two)))
            }
        }
        #[inline(always)]
        unsafe fn max(self, b: Self) -> Self {
            // SAFETY: the caller has checked the tier.
            Avx2(unsafe { _mm256_max_ps(self.0, b.0) })
        }
        #[inline(always)]
        unsafe fn min(self, b: Self) -> Self {
            // SAFETY: the caller has checked the tier.
            Avx2(unsafe { _mm256_min_ps(self.0, b.0) })
        }
    }
}
