//! Distances between points and centres, and which centre is nearest.
//!
//! Points are turned into panels (feature after feature, points in the lanes); centres are
//! broadcast, and the comparison follows in the same registers.

mod body;
mod packed;
mod simd;
mod sparse;
#[cfg(test)]
mod tests;

use crate::tier::{Tier, detected};
pub use body::Best;
pub use packed::Packed;
use simd::Simd;
pub use sparse::{Places, SparseRow, Turned, sparse_nearest, sparse_norms, sparse_squares, survey};

/// An element type with registers on every tier.
pub trait Real:
    Copy
    + Default
    + PartialOrd
    + Send
    + Sync
    + std::ops::Add<Output = Self>
    + std::ops::Sub<Output = Self>
    + std::ops::Mul<Output = Self>
    + Into<f64>
    + 'static
{
    /// The baseline's registers.
    type Plain: Simd<Elem = Self>;
    /// AVX2 registers.
    type Avx2: Simd<Elem = Self>;
    /// AVX-512 registers.
    type Avx512: Simd<Elem = Self>;
    /// Positive infinity.
    const INFINITY: Self;
    /// Distance from 1 to the next number.
    const EPSILON: f64;
    /// The nearest number of this type.
    fn from_f64(value: f64) -> Self;
    /// A number that stands for a centre; exact below [`MOST_CENTRES`].
    fn from_name(name: u32) -> Self;
    /// The centre that a number stands for.
    fn to_name(self) -> u32;
    /// True for neither NaN nor infinity.
    fn finite(self) -> bool;
}

/// Names of centres are below this, so that every float type holds them exactly.
pub const MOST_CENTRES: usize = 1 << 24;

macro_rules! real {
    ($t:ty, $plain:ident, $avx2:ident, $avx512:ident) => {
        impl Real for $t {
            type Plain = simd::$plain;
            #[cfg(target_arch = "x86_64")]
            type Avx2 = simd::$avx2;
            #[cfg(target_arch = "x86_64")]
            type Avx512 = simd::$avx512;
            #[cfg(not(target_arch = "x86_64"))]
            type Avx2 = simd::$plain;
            #[cfg(not(target_arch = "x86_64"))]
            type Avx512 = simd::$plain;
            const INFINITY: Self = <$t>::INFINITY;
            const EPSILON: f64 = <$t>::EPSILON as f64;
            fn from_f64(value: f64) -> Self {
                value as $t
            }
            fn from_name(name: u32) -> Self {
                name as $t
            }
            fn to_name(self) -> u32 {
                self as u32
            }
            fn finite(self) -> bool {
                self.is_finite()
            }
        }
    };
}
real!(f32, Plain32, Avx2F32, Avx512F32);
real!(f64, Plain64, Avx2F64, Avx512F64);

/// One loop with its arguments, to be run with any registers.
trait Task<T: Real> {
    type Out;
    /// # Safety
    /// The tier of `S` is there.
    unsafe fn run<S: Simd<Elem = T>>(self) -> Self::Out;
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn on_avx2<T: Real, K: Task<T>>(task: K) -> K::Out {
    // SAFETY: the caller has checked the tier.
    unsafe { task.run::<T::Avx2>() }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512vl,avx512dq")]
unsafe fn on_avx512<T: Real, K: Task<T>>(task: K) -> K::Out {
    // SAFETY: the caller has checked the tier.
    unsafe { task.run::<T::Avx512>() }
}

#[inline]
fn dispatch<T: Real, K: Task<T>>(tier: Tier, task: K) -> K::Out {
    match tier {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the guard has just checked that the processor has the tier.
        Tier::Avx512 if detected() >= Tier::Avx512 => unsafe { on_avx512(task) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the guard has just checked that the processor has the tier.
        Tier::Avx2 | Tier::Avx512 if detected() >= Tier::Avx2 => unsafe { on_avx2(task) },
        // SAFETY: plain registers need nothing.
        _ => unsafe { task.run::<T::Plain>() },
    }
}

struct Lanes;
impl<T: Real> Task<T> for Lanes {
    type Out = (usize, usize);
    #[inline(always)]
    unsafe fn run<S: Simd<Elem = T>>(self) -> (usize, usize) {
        (S::LANES, S::BLOCK)
    }
}

/// Points in a narrow panel; a wide one holds twice as many.
pub fn lanes<T: Real>(tier: Tier) -> usize {
    dispatch::<T, _>(tier, Lanes).0
}

struct Pack<'a, T> {
    x: &'a [T],
    rows: &'a [u32],
    offset: &'a [T],
    panel: &'a mut [T],
}
impl<T: Real> Task<T> for Pack<'_, T> {
    type Out = bool;
    #[inline(always)]
    unsafe fn run<S: Simd<Elem = T>>(self) -> bool {
        let d = self.offset.len();
        let wide = self.rows.len() > S::LANES;
        let width = if wide { 2 * S::LANES } else { S::LANES };
        assert!(!self.rows.is_empty() && self.rows.len() <= width);
        let mut from = [std::ptr::null(); 2 * MOST_LANES];
        for p in 0..width {
            // A panel that is not full repeats its last row.
            let row = self.rows[p.min(self.rows.len() - 1)] as usize;
            from[p] = self.x[row * d..(row + 1) * d].as_ptr();
        }
        // SAFETY: the tier is there; each pointer is to a row of d elements.
        unsafe { body::pack::<S>(&from[..width], self.offset, self.panel) };
        wide
    }
}

/// Most lanes of any register.
pub const MOST_LANES: usize = 16;

/// Turns rows of `x`, less `offset`, into a panel; returns whether it is wide.
///
/// `rows` are at most `2 * lanes` row numbers; a panel needs `2 * lanes` elements a feature.
///
/// # Panics
/// If a row is outside `x`, or there are none or too many rows.
#[inline]
pub fn pack<T: Real>(tier: Tier, x: &[T], rows: &[u32], offset: &[T], panel: &mut [T]) -> bool {
    dispatch(
        tier,
        Pack {
            x,
            rows,
            offset,
            panel,
        },
    )
}

struct Nearest<'a, 'b, T> {
    panel: &'a [T],
    wide: bool,
    second: bool,
    packed: &'a Packed<T>,
    out: Best<'b, T>,
}
impl<T: Real> Task<T> for Nearest<'_, '_, T> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<S: Simd<Elem = T>>(mut self) {
        // SAFETY: the tier is there.
        unsafe {
            body::nearest::<S>(
                self.panel,
                self.wide,
                self.second,
                self.packed,
                T::INFINITY,
                &mut self.out,
            );
        }
    }
}

/// For each point of the panel the lowest score `|c|^2 / 2 - x.c`, the lowest but one (if
/// `second`), and the name of the first centre with the lowest.
///
/// NaN never wins: where all scores are NaN, the lowest is infinite.
#[inline]
pub fn nearest<T: Real>(
    tier: Tier,
    panel: &[T],
    wide: bool,
    second: bool,
    packed: &Packed<T>,
    out: Best<T>,
) {
    dispatch(
        tier,
        Nearest {
            panel,
            wide,
            second,
            packed,
            out,
        },
    );
}

struct Squares<'a, T> {
    panel: &'a [T],
    wide: bool,
    packed: &'a Packed<T>,
    out: &'a mut [T],
}
impl<T: Real> Task<T> for Squares<'_, T> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<S: Simd<Elem = T>>(self) {
        // SAFETY: the tier is there.
        unsafe { body::squares::<S>(self.panel, self.wide, self.packed, self.out) }
    }
}

/// `|x - c|^2` for each packed centre (in packing order) and each point of the panel.
#[inline]
pub fn squares<T: Real>(tier: Tier, panel: &[T], wide: bool, packed: &Packed<T>, out: &mut [T]) {
    dispatch(
        tier,
        Squares {
            panel,
            wide,
            packed,
            out,
        },
    );
}

struct Pair<'a, T> {
    x: &'a [T],
    offset: &'a [T],
    centre: &'a [T],
}
impl<T: Real> Task<T> for Pair<'_, T> {
    type Out = T;
    #[inline(always)]
    unsafe fn run<S: Simd<Elem = T>>(self) -> T {
        // SAFETY: the tier is there.
        unsafe { body::pair::<S>(self.x, self.offset, self.centre) }
    }
}

/// `|x - offset - centre|^2`.
#[inline]
pub fn pair<T: Real>(tier: Tier, x: &[T], offset: &[T], centre: &[T]) -> T {
    dispatch(tier, Pair { x, offset, centre })
}

struct AddRow<'a, T> {
    x: &'a [T],
    offset: &'a [T],
    weight: f64,
    sum: &'a mut [f64],
}
impl<T: Real> Task<T> for AddRow<'_, T> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<S: Simd<Elem = T>>(self) {
        body::add_row(self.x, self.offset, self.weight, self.sum);
    }
}

/// Adds `weight * (x - offset)` to `sum`; the same bits on every tier.
#[inline]
pub fn add_row<T: Real>(tier: Tier, x: &[T], offset: &[T], weight: f64, sum: &mut [f64]) {
    dispatch(
        tier,
        AddRow {
            x,
            offset,
            weight,
            sum,
        },
    );
}

/// Packs the centres of the given `names`: rows of `centres`, which has `features` columns.
pub fn pack_centres<T: Real>(
    tier: Tier,
    centres: &[T],
    features: usize,
    names: &[u32],
) -> Packed<T> {
    let most = dispatch::<T, _>(tier, Lanes).1;
    Packed::build(centres, features, names, most, T::from_name, |c| {
        T::from_f64(0.5 * c.iter().map(|&v| v.into() * v.into()).sum::<f64>())
    })
}

struct Dots<'a, T> {
    panel: &'a [T],
    wide: bool,
    x: &'a [T],
    out: &'a mut [T],
}
impl<T: Real> Task<T> for Dots<'_, T> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<S: Simd<Elem = T>>(self) {
        // SAFETY: the tier is there.
        unsafe { body::dots::<S>(self.panel, self.wide, self.x, self.out) }
    }
}

/// Products of `x` with each point of the panel: the same bits as in [`nearest`], with points
/// and centres in each other's place. For a few rows against centres that are already turned.
#[inline]
pub fn dots<T: Real>(tier: Tier, panel: &[T], wide: bool, x: &[T], out: &mut [T]) {
    dispatch(
        tier,
        Dots {
            panel,
            wide,
            x,
            out,
        },
    );
}
