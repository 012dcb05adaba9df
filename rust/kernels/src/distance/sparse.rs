//! Sparse rows against centres.
//!
//! Centres are turned: feature after feature, centres in the lanes, so that one element of a
//! row meets all centres in one contiguous read. Products are in double precision for rows of
//! either type, since squared distances come from them by subtraction.

use super::simd::Simd;
use super::{Task, dispatch, lanes};
use crate::tier::Tier;

/// Column numbers of a sparse row.
#[derive(Clone, Copy, Debug)]
pub enum Places<'a> {
    /// 32 bits.
    Narrow(&'a [i32]),
    /// 64 bits.
    Wide(&'a [i64]),
}

/// A column number of either width.
trait Place: Copy {
    /// The number; beyond every width if it is negative.
    fn at(self) -> usize;
}

impl Place for i32 {
    #[inline(always)]
    fn at(self) -> usize {
        self as u32 as usize
    }
}

impl Place for i64 {
    #[inline(always)]
    fn at(self) -> usize {
        usize::try_from(self).unwrap_or(usize::MAX)
    }
}

/// Centres, feature after feature, in whole registers.
#[derive(Clone, Debug)]
pub struct Turned {
    features: usize,
    count: usize,
    width: usize,
    data: Vec<f64>,
    /// `|c|^2 / 2`; infinite where a register is not filled.
    half: Vec<f64>,
}

impl Turned {
    /// Turns `halves.len()` centres given one after another; `halves` are half their squared
    /// lengths.
    ///
    /// # Panics
    /// If there are not as many centres.
    pub fn new<T: Copy + Into<f64>>(
        tier: Tier,
        centres: &[T],
        features: usize,
        halves: Vec<f64>,
    ) -> Turned {
        let count = halves.len();
        assert_eq!(centres.len(), count * features);
        let width = count.next_multiple_of(lanes::<f64>(tier)).max(1);
        let mut data = vec![0.0; features * width];
        // Eight centres at once fill whole cache lines of what is written.
        for first in (0..count).step_by(8) {
            let some = (count - first).min(8);
            for j in 0..features {
                for c in first..first + some {
                    data[j * width + c] = centres[c * features + j].into();
                }
            }
        }
        let mut half = halves;
        half.resize(width, f64::INFINITY);
        Turned {
            features,
            count,
            width,
            data,
            half,
        }
    }

    /// Number of centres.
    pub fn len(&self) -> usize {
        self.count
    }

    /// True without centres.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Number of features.
    pub fn features(&self) -> usize {
        self.features
    }
}

/// `|c|^2 / 2 - x.c` for `NV` registers of centres from the column `first`.
///
/// # Safety
/// The tier of `S` is there, and `first + NV * LANES` is at most the table's width.
#[inline(always)]
unsafe fn scores<S: Simd<Elem = f64>, V: Copy + Into<f64>, P: Place, const NV: usize>(
    values: &[V],
    places: &[P],
    turned: &Turned,
    first: usize,
) -> [S; NV] {
    // SAFETY: the row of a place below `features` lies inside the table, which is checked for
    // each place; registers from `first` stay inside that row and inside `half`.
    unsafe {
        let mut acc = [S::splat(0.0); NV];
        let table = turned.data.as_ptr();
        for (&value, &place) in values.iter().zip(places) {
            let place = place.at();
            assert!(place < turned.features);
            let x = S::splat(value.into());
            let row = table.add(place * turned.width + first);
            for v in 0..NV {
                acc[v] = x.mul_add(S::load(row.add(v * S::LANES)), acc[v]);
            }
        }
        let half = turned.half.as_ptr().add(first);
        for v in 0..NV {
            acc[v] = S::load(half.add(v * S::LANES)).sub(acc[v]);
        }
        acc
    }
}

/// Hands every register of scores to `take`, with the number of its first centre.
///
/// # Safety
/// The tier of `S` is there.
#[inline(always)]
unsafe fn all_scores<S: Simd<Elem = f64>, V: Copy + Into<f64>, P: Place>(
    values: &[V],
    places: &[P],
    turned: &Turned,
    mut take: impl FnMut(usize, S),
) {
    assert!(
        turned.width.is_multiple_of(S::LANES)
            && turned.half.len() == turned.width
            && turned.data.len() == turned.features * turned.width
    );
    let mut first = 0;
    macro_rules! pass {
        ($nv:literal) => {{
            // SAFETY: the tier is there, and so many registers are left.
            let found = unsafe { scores::<S, V, P, $nv>(values, places, turned, first) };
            for score in found {
                take(first, score);
                first += S::LANES;
            }
        }};
    }
    while first < turned.width {
        match (turned.width - first) / S::LANES {
            1 => pass!(1),
            2 => pass!(2),
            3 => pass!(3),
            _ => pass!(4),
        }
    }
}

struct Nearest<'a, V> {
    values: &'a [V],
    places: Places<'a>,
    turned: &'a Turned,
}
impl<V: Copy + Into<f64>> Task<f64> for Nearest<'_, V> {
    type Out = (f64, u32);
    #[inline(always)]
    unsafe fn run<S: Simd<Elem = f64>>(self) -> (f64, u32) {
        // SAFETY: the tier is there; the arrays hold the lanes of any register.
        unsafe {
            let mut best = S::splat(f64::INFINITY);
            let mut name = S::splat(0.0);
            let take = |first: usize, score: S| {
                name = score.select_lt(best, S::splat(first as f64), name);
                best = score.min(best);
            };
            match self.places {
                Places::Narrow(places) => all_scores(self.values, places, self.turned, take),
                Places::Wide(places) => all_scores(self.values, places, self.turned, take),
            }
            let mut lowest = [f64::INFINITY; super::MOST_LANES];
            let mut firsts = [0.0; super::MOST_LANES];
            best.store(lowest.as_mut_ptr());
            name.store(firsts.as_mut_ptr());
            let (mut score, mut found) = (f64::INFINITY, 0);
            for lane in 0..S::LANES {
                let this = firsts[lane] as u32 + lane as u32;
                if lowest[lane] < score || (lowest[lane] == score && this < found) {
                    (score, found) = (lowest[lane], this);
                }
            }
            (score, if score < f64::INFINITY { found } else { 0 })
        }
    }
}

/// The lowest score `|c|^2 / 2 - x.c` of a sparse row `x`, and the first centre that has it.
///
/// NaN never wins: where all scores are NaN or infinite, the answer is infinity and 0.
///
/// # Panics
/// If a column is outside the centres.
#[inline]
pub fn sparse_nearest<V: Copy + Into<f64>>(
    tier: Tier,
    values: &[V],
    places: Places,
    turned: &Turned,
) -> (f64, u32) {
    dispatch::<f64, _>(
        tier,
        Nearest {
            values,
            places,
            turned,
        },
    )
}

struct Squares<'a, V> {
    values: &'a [V],
    places: Places<'a>,
    norm: f64,
    turned: &'a Turned,
    out: &'a mut [f64],
}
impl<V: Copy + Into<f64>> Task<f64> for Squares<'_, V> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<S: Simd<Elem = f64>>(self) {
        let out = &mut self.out[..self.turned.width];
        // SAFETY: the tier is there; every register of scores lies below the table's width.
        unsafe {
            let (zero, two, norm) = (S::splat(0.0), S::splat(2.0), S::splat(self.norm));
            let take = |first: usize, score: S| {
                let square = score.mul_add(two, norm);
                // Rounding may make the distance of equal points negative; NaN must stay.
                let square = square.select_lt(zero, zero, square);
                square.store(out.as_mut_ptr().add(first));
            };
            match self.places {
                Places::Narrow(places) => all_scores(self.values, places, self.turned, take),
                Places::Wide(places) => all_scores(self.values, places, self.turned, take),
            }
        }
    }
}

/// Squared distances of a sparse row, whose squared length is `norm`, to the centres; `out`
/// holds as many elements as [`sparse_width`] says.
///
/// The distance to a centre that is the same row is exactly zero if its half is
/// `0.5 * sparse_norm(row)`.
///
/// # Panics
/// If a column is outside the centres, or `out` is too short.
#[inline]
pub fn sparse_squares<V: Copy + Into<f64>>(
    tier: Tier,
    values: &[V],
    places: Places,
    norm: f64,
    turned: &Turned,
    out: &mut [f64],
) {
    dispatch::<f64, _>(
        tier,
        Squares {
            values,
            places,
            norm,
            turned,
            out,
        },
    );
}

/// Elements that [`sparse_squares`] writes for each row.
pub fn sparse_width(turned: &Turned) -> usize {
    turned.width
}

struct Norm<'a, V>(&'a [V]);
impl<V: Copy + Into<f64>> Task<f64> for Norm<'_, V> {
    type Out = f64;
    #[inline(always)]
    unsafe fn run<S: Simd<Elem = f64>>(self) -> f64 {
        // SAFETY: the tier is there; the array holds the lanes of any register.
        unsafe {
            let mut acc = S::splat(0.0);
            for &value in self.0 {
                let x = S::splat(value.into());
                acc = x.mul_add(x, acc);
            }
            let mut sums = [0.0; super::MOST_LANES];
            acc.store(sums.as_mut_ptr());
            sums[0]
        }
    }
}

/// Squared length of a sparse row, added up as products with centres are.
#[inline]
pub fn sparse_norm<V: Copy + Into<f64>>(tier: Tier, values: &[V]) -> f64 {
    dispatch::<f64, _>(tier, Norm(values))
}
