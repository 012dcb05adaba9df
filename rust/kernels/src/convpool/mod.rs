//! Convolution of NHWC images in single precision, forward and backward, for a few images on
//! one thread.
//!
//! [`ConvPool`] is a convolution with stride 1 whose output goes through bias, activation and a
//! 2 x 2 maximum in the same loop, and whose gradients use that three of four pixels have none.
//! [`Conv`] is any other convolution: patches are copied into a tile that stays in the cache.
//!
//! Both pack the weights once for many calls, work in memory that the caller brings, and add to
//! the gradients of the weights, so that a caller may hand over one chunk of images after
//! another. Buffers that begin on a cache line make them faster.

mod conv;
mod conv_pool;
mod few;
mod outer;
mod panels;
mod patches;
mod pool_backward;
mod pool_forward;
mod shape;
mod simd;
#[cfg(test)]
mod tests;

use crate::gemm::Activation;
use crate::tier::{Tier, detected};
pub use conv::Conv;
pub use conv_pool::ConvPool;
pub use shape::Shape;
use simd::Simd;

/// Cuts `len` numbers off the front of `scratch`, so that what follows begins on a cache line
/// if `scratch` does.
fn cut<'a>(scratch: &mut &'a mut [f32], len: usize) -> &'a mut [f32] {
    let (front, rest) = std::mem::take(scratch).split_at_mut(room(len));
    *scratch = rest;
    &mut front[..len]
}

/// What [`cut`] takes for `len` numbers.
fn room(len: usize) -> usize {
    len.next_multiple_of(16)
}

/// The same memory as whole numbers.
fn words(x: &mut [f32]) -> &mut [u32] {
    // SAFETY: u32 has the size and alignment of f32, and any bits are values of both.
    unsafe { std::slice::from_raw_parts_mut(x.as_mut_ptr().cast(), x.len()) }
}

/// One loop with its arguments, to be run with any registers.
trait Task {
    type Out;
    /// # Safety
    /// The tier of `S` is there.
    unsafe fn run<S: Simd>(self) -> Self::Out;
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn on_avx2<K: Task>(task: K) -> K::Out {
    // SAFETY: the caller has checked the tier.
    unsafe { task.run::<simd::Avx2>() }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,popcnt,avx512f,avx512bw,avx512vl,avx512dq")]
unsafe fn on_avx512<K: Task>(task: K) -> K::Out {
    // SAFETY: the caller has checked the tier.
    unsafe { task.run::<simd::Avx512>() }
}

#[inline]
fn dispatch<K: Task>(tier: Tier, task: K) -> K::Out {
    match tier {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the guard has just checked that the processor has the tier.
        Tier::Avx512 if detected() >= Tier::Avx512 => unsafe { on_avx512(task) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the guard has just checked that the processor has the tier.
        Tier::Avx2 | Tier::Avx512 if detected() >= Tier::Avx2 => unsafe { on_avx2(task) },
        // SAFETY: plain registers need nothing.
        _ => unsafe { task.run::<simd::Plain>() },
    }
}

struct Lanes;
impl Task for Lanes {
    type Out = (usize, usize);
    #[inline(always)]
    unsafe fn run<S: Simd>(self) -> (usize, usize) {
        (S::LANES, S::ROWS)
    }
}

/// `g *= slope(y)`.
#[inline(always)]
fn before_activation(activation: Activation, g: &mut [f32], y: &[f32]) {
    // One loop for each activation, so that the compiler sees the formula and vectorises.
    macro_rules! each {
        ($($name:ident)*) => {
            match activation {
                Activation::Linear => {}
                Activation::Relu => {
                    for (g, y) in g.iter_mut().zip(y) {
                        *g = if *y > 0.0 { *g } else { 0.0 };
                    }
                }
                $(Activation::$name => {
                    for (g, y) in g.iter_mut().zip(y) {
                        *g *= Activation::$name.slope(*y);
                    }
                })*
            }
        };
    }
    each!(LeakyRelu Sigmoid Tanh Elu Relu6);
}
