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

/// The elements of a sparse row. Loops take several rows at once: for a short one, finding out
/// which instructions there are takes as long as the row.
#[derive(Clone, Copy, Debug)]
pub struct SparseRow<'a, V> {
    /// The values.
    pub values: &'a [V],
    /// Their columns.
    pub places: Places<'a>,
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
    /// What the products with each column are multiplied by: -1 where it is a centre.
    factor: Vec<f64>,
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
        let mut turned = Turned::zeros(tier, features, halves);
        let width = turned.width;
        // Eight centres at once fill whole cache lines of what is written.
        for first in (0..count).step_by(8) {
            let some = (count - first).min(8);
            for (j, line) in turned.data.chunks_exact_mut(width).enumerate() {
                for (c, v) in line[first..first + some].iter_mut().enumerate() {
                    *v = centres[(first + c) * features + j].into();
                }
            }
        }
        turned
    }

    /// Centres at the origin, to be changed; `halves` are half the squared lengths that they
    /// will have.
    pub fn zeros(tier: Tier, features: usize, halves: Vec<f64>) -> Turned {
        let count = halves.len();
        let width = count.next_multiple_of(lanes::<f64>(tier)).max(1);
        let mut half = halves;
        half.resize(width, f64::INFINITY);
        Turned {
            features,
            count,
            width,
            data: vec![0.0; features * width],
            factor: vec![-1.0; width],
            half,
        }
    }

    /// Elements from one feature to the next.
    pub fn width(&self) -> usize {
        self.width
    }

    /// The elements, feature after feature.
    pub fn data(&self) -> &[f64] {
        &self.data
    }

    /// The elements, to be changed.
    pub fn data_mut(&mut self) -> &mut [f64] {
        &mut self.data
    }

    /// Says that column `c` is `scale` times smaller than its centre, whose squared length is
    /// `length`. A centre of infinite length is never the nearest.
    pub fn set_scale(&mut self, c: usize, scale: f64, length: f64) {
        assert!(c < self.count);
        self.factor[c] = -scale;
        self.half[c] = 0.5 * length;
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

/// What becomes of the scores of a row.
///
/// A trait instead of a closure, so that it is always inlined where the tier is known.
trait Take<S> {
    /// Takes the scores of the centres from number `first`.
    ///
    /// # Safety
    /// The tier of `S` is there.
    unsafe fn take(&mut self, first: usize, score: S);
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
    assert!(values.len() == places.len());
    // SAFETY: the row of a place below `features` lies inside the table, which is checked for
    // each place; registers from `first` stay inside that row and inside `half` and `factor`;
    // positions are below the length.
    unsafe {
        let table = turned.data.as_ptr().add(first);
        let (n, features, width) = (values.len(), turned.features, turned.width);
        macro_rules! step {
            ($acc:ident, $k:expr) => {
                let place = places.get_unchecked($k).at();
                assert!(place < features);
                let x = S::splat((*values.get_unchecked($k)).into());
                let row = table.add(place * width);
                for v in 0..NV {
                    $acc[v] = x.mul_add(S::load(row.add(v * S::LANES)), $acc[v]);
                }
            };
        }
        // Two chains, so that a product need not wait for the one before.
        let (mut even, mut odd) = ([S::splat(0.0); NV], [S::splat(0.0); NV]);
        let mut k = 0;
        while k + 2 <= n {
            step!(even, k);
            step!(odd, k + 1);
            k += 2;
        }
        if k < n {
            step!(even, k);
        }
        let (half, factor) = (turned.half.as_ptr(), turned.factor.as_ptr());
        for v in 0..NV {
            let at = first + v * S::LANES;
            let product = even[v].add(odd[v]);
            even[v] = product.mul_add(S::load(factor.add(at)), S::load(half.add(at)));
        }
        even
    }
}

/// Hands every register of scores to `take`.
///
/// # Safety
/// The tier of `S` is there.
#[inline(always)]
unsafe fn all_scores<S: Simd<Elem = f64>, V: Copy + Into<f64>, P: Place>(
    values: &[V],
    places: &[P],
    turned: &Turned,
    take: &mut impl Take<S>,
) {
    assert!(
        turned.width.is_multiple_of(S::LANES)
            && turned.half.len() == turned.width
            && turned.factor.len() == turned.width
            && turned.data.len() == turned.features * turned.width
    );
    let mut first = 0;
    macro_rules! pass {
        ($nv:literal) => {{
            // SAFETY: the tier is there, and so many registers are left.
            unsafe {
                let found = scores::<S, V, P, $nv>(values, places, turned, first);
                for v in 0..$nv {
                    take.take(first, found[v]);
                    first += S::LANES;
                }
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

/// Lowest scores, lane by lane, and where they were found.
struct Lowest<S> {
    best: S,
    first: S,
}
impl<S: Simd<Elem = f64>> Take<S> for Lowest<S> {
    #[inline(always)]
    unsafe fn take(&mut self, first: usize, score: S) {
        // SAFETY: the caller has checked the tier.
        unsafe {
            self.first = score.select_lt(self.best, S::splat(first as f64), self.first);
            self.best = score.min(self.best);
        }
    }
}

struct Nearest<'a, 'b, V> {
    rows: &'a [SparseRow<'a, V>],
    turned: &'a Turned,
    out: &'b mut [(f64, u32)],
}
impl<V: Copy + Into<f64>> Task<f64> for Nearest<'_, '_, V> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<S: Simd<Elem = f64>>(self) {
        for (row, out) in self.rows.iter().zip(self.out) {
            // SAFETY: the tier is there; the arrays hold the lanes of any register.
            unsafe {
                let mut found = Lowest {
                    best: S::splat(f64::INFINITY),
                    first: S::splat(0.0),
                };
                match row.places {
                    Places::Narrow(p) => all_scores(row.values, p, self.turned, &mut found),
                    Places::Wide(p) => all_scores(row.values, p, self.turned, &mut found),
                }
                let mut lowest = [f64::INFINITY; super::MOST_LANES];
                let mut firsts = [0.0; super::MOST_LANES];
                found.best.store(lowest.as_mut_ptr());
                found.first.store(firsts.as_mut_ptr());
                // Without branches: which lane wins cannot be foreseen.
                let (mut score, mut name) = (f64::INFINITY, f64::INFINITY);
                for lane in 0..S::LANES {
                    score = if lowest[lane] < score {
                        lowest[lane]
                    } else {
                        score
                    };
                }
                for lane in 0..S::LANES {
                    let this = firsts[lane] + lane as f64;
                    let wins = lowest[lane] == score && this < name;
                    name = if wins { this } else { name };
                }
                *out = (
                    score,
                    if score < f64::INFINITY {
                        name as u32
                    } else {
                        0
                    },
                );
            }
        }
    }
}

/// The lowest score `|c|^2 / 2 - x.c` of each sparse row `x`, and the first centre that has it.
///
/// NaN never wins: where all scores are NaN or infinite, the answer is infinity and 0.
///
/// # Panics
/// If a column is outside the centres.
#[inline]
pub fn sparse_nearest<V: Copy + Into<f64>>(
    tier: Tier,
    rows: &[SparseRow<V>],
    turned: &Turned,
    out: &mut [(f64, u32)],
) {
    dispatch::<f64, _>(tier, Nearest { rows, turned, out });
}

/// Writes squared distances.
struct Write<'a, S> {
    norm: S,
    out: &'a mut [f64],
}
impl<S: Simd<Elem = f64>> Take<S> for Write<'_, S> {
    #[inline(always)]
    unsafe fn take(&mut self, first: usize, score: S) {
        assert!(first + S::LANES <= self.out.len());
        // SAFETY: the caller has checked the tier; the register fits, as was just checked.
        unsafe {
            let square = score.mul_add(S::splat(2.0), self.norm);
            // Rounding may make the distance of equal points negative; NaN must stay.
            let zero = S::splat(0.0);
            let square = square.select_lt(zero, zero, square);
            square.store(self.out.as_mut_ptr().add(first));
        }
    }
}

struct Squares<'a, V> {
    rows: &'a [SparseRow<'a, V>],
    norms: Option<&'a [f64]>,
    turned: &'a Turned,
    out: &'a mut [f64],
}
impl<V: Copy + Into<f64>> Task<f64> for Squares<'_, V> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<S: Simd<Elem = f64>>(self) {
        let lines = self.out.chunks_exact_mut(self.turned.width);
        for (i, (row, out)) in self.rows.iter().zip(lines).enumerate() {
            // SAFETY: the tier is there.
            unsafe {
                let norm = match self.norms {
                    Some(norms) => norms[i],
                    None => norm_of::<S, V>(row.values),
                };
                let mut write = Write {
                    norm: S::splat(norm),
                    out,
                };
                match row.places {
                    Places::Narrow(p) => all_scores(row.values, p, self.turned, &mut write),
                    Places::Wide(p) => all_scores(row.values, p, self.turned, &mut write),
                }
            }
        }
    }
}

/// Squared distances of sparse rows to the centres; `out` holds [`Turned::width`] elements for
/// each row. The rows' squared lengths are `norms`, which rows that store elements in parts
/// need; for others [`sparse_norms`] finds the same.
///
/// The distance to a centre that is the same row is exactly zero if its half is half the
/// length that [`sparse_norms`] finds.
///
/// # Panics
/// If a column is outside the centres.
#[inline]
pub fn sparse_squares<V: Copy + Into<f64>>(
    tier: Tier,
    rows: &[SparseRow<V>],
    norms: Option<&[f64]>,
    turned: &Turned,
    out: &mut [f64],
) {
    dispatch::<f64, _>(
        tier,
        Squares {
            rows,
            norms,
            turned,
            out,
        },
    );
}

struct Norms<'a, 'b, V> {
    rows: &'a [SparseRow<'a, V>],
    out: &'b mut [f64],
}
impl<V: Copy + Into<f64>> Task<f64> for Norms<'_, '_, V> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<S: Simd<Elem = f64>>(self) {
        for (row, out) in self.rows.iter().zip(self.out) {
            // SAFETY: the tier is there.
            *out = unsafe { norm_of::<S, V>(row.values) };
        }
    }
}

/// The squared length of a row, in the two chains of [`scores`].
///
/// # Safety
/// The tier of `S` is there.
#[inline(always)]
unsafe fn norm_of<S: Simd<Elem = f64>, V: Copy + Into<f64>>(values: &[V]) -> f64 {
    // SAFETY: the tier is there; the array holds the lanes of any register.
    unsafe {
        let (mut even, mut odd) = (S::splat(0.0), S::splat(0.0));
        let pairs = values.chunks_exact(2);
        let rest = pairs.remainder();
        for pair in pairs {
            let (a, b) = (S::splat(pair[0].into()), S::splat(pair[1].into()));
            even = a.mul_add(a, even);
            odd = b.mul_add(b, odd);
        }
        for &value in rest {
            let x = S::splat(value.into());
            even = x.mul_add(x, even);
        }
        let mut sums = [0.0; super::MOST_LANES];
        even.add(odd).store(sums.as_mut_ptr());
        sums[0]
    }
}

/// Squared lengths of sparse rows, added up as products with centres are.
#[inline]
pub fn sparse_norms<V: Copy + Into<f64>>(tier: Tier, rows: &[SparseRow<V>], out: &mut [f64]) {
    dispatch::<f64, _>(tier, Norms { rows, out });
}

struct Survey<'a, V> {
    values: &'a [V],
    places: Places<'a>,
}
impl<V: Copy + Into<f64>> Task<f64> for Survey<'_, V> {
    type Out = Found;
    #[inline(always)]
    unsafe fn run<S: Simd<Elem = f64>>(self) -> Found {
        // A product with zero is NaN for what is not finite; eight sums for wide registers.
        let mut zeros = [0.0; 8];
        let whole = self.values.chunks_exact(8);
        let rest = whole.remainder();
        for part in whole {
            for (zero, &v) in zeros.iter_mut().zip(part) {
                let v: f64 = v.into();
                *zero += v * 0.0;
            }
        }
        for (zero, &v) in zeros.iter_mut().zip(rest) {
            let v: f64 = v.into();
            *zero += v * 0.0;
        }
        let (top, falls) = match self.places {
            Places::Narrow(places) => (
                // Negative ones become large.
                places.iter().fold(0, |top, &p| top.max(p as u32)) as usize,
                falls(places),
            ),
            Places::Wide(places) => (
                usize::try_from(places.iter().fold(0, |top, &p| top.max(p as u64)))
                    .unwrap_or(usize::MAX),
                falls(places),
            ),
        };
        Found {
            finite: zeros.iter().sum::<f64>() == 0.0,
            top,
            falls,
        }
    }
}

#[inline(always)]
fn falls<P: PartialOrd>(places: &[P]) -> usize {
    let mut falls = 0;
    for (place, next) in places.iter().zip(places.iter().skip(1)) {
        falls += usize::from(*place >= *next);
    }
    falls
}

/// What [`survey`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// All values are finite.
    pub finite: bool,
    /// The highest column number; beyond every width if one is negative.
    pub top: usize,
    /// How often a column is not above the one before it.
    pub falls: usize,
}

/// Looks over values and columns of many rows.
pub fn survey<V: Copy + Into<f64>>(tier: Tier, values: &[V], places: Places) -> Found {
    dispatch::<f64, _>(tier, Survey { values, places })
}
