//! Column sums of groups of rows, as discrete naive Bayes needs them.
//!
//! Every loop adds in one fixed order without fused multiply-add, so that all tiers give the
//! same bits; a tier only widens the registers.

use crate::linear::Element;
use crate::tier::{Tier, detected};

/// Rows that [`add_rows`] takes at once: the sums are then read and written once for all.
pub const GROUP: usize = 4;

/// An element of the data: a float or an integer.
pub trait Value: Copy + Send + Sync + 'static {
    /// Where [`Value::sign`] and [`Value::wild`] give their answer.
    const TOP: u64;
    /// The value in double precision.
    fn widen(self) -> f64;
    /// Has the bit `TOP` for negative values, and perhaps for zeros with a sign.
    fn sign(self) -> u64;
    /// Has the bit `TOP` for NaN and infinities.
    fn wild(self) -> u64;
    /// `threshold` in the precision in which it is compared with the data.
    fn threshold(threshold: f64) -> f64 {
        threshold
    }
    /// Products of `row` with the rows of `w`, as long as `row`; `scratch` may be used.
    fn dots(tier: Tier, row: &[Self], w: &[f64], out: &mut [f64], scratch: &mut Vec<f64>) {
        scratch.clear();
        scratch.extend(row.iter().map(|v| v.widen()));
        float_dots(tier, scratch, w, out);
    }
}

fn float_dots<T: Element>(tier: Tier, row: &[T], w: &[f64], out: &mut [f64]) {
    let d = row.len();
    let of = |k: usize| &w[k * d..(k + 1) * d];
    let mut k = 0;
    while k + 4 <= out.len() {
        let sums = T::dot4(tier, row, [of(k), of(k + 1), of(k + 2), of(k + 3)]);
        out[k..k + 4].copy_from_slice(&sums);
        k += 4;
    }
    for (k, o) in out.iter_mut().enumerate().skip(k) {
        *o = T::dot(tier, row, of(k));
    }
}

impl Value for f64 {
    const TOP: u64 = 1 << 63;
    #[inline(always)]
    fn widen(self) -> f64 {
        self
    }
    #[inline(always)]
    fn sign(self) -> u64 {
        self.to_bits()
    }
    #[inline(always)]
    fn wild(self) -> u64 {
        // Only an exponent of ones carries into the sign.
        (self.to_bits() & !Self::TOP) + (1 << 52)
    }
    fn dots(tier: Tier, row: &[f64], w: &[f64], out: &mut [f64], _: &mut Vec<f64>) {
        float_dots(tier, row, w, out);
    }
}

impl Value for f32 {
    const TOP: u64 = 1 << 31;
    #[inline(always)]
    fn widen(self) -> f64 {
        f64::from(self)
    }
    #[inline(always)]
    fn sign(self) -> u64 {
        u64::from(self.to_bits())
    }
    #[inline(always)]
    fn wild(self) -> u64 {
        u64::from((self.to_bits() & 0x7fff_ffff) + (1 << 23))
    }
    fn threshold(threshold: f64) -> f64 {
        f64::from(threshold as f32)
    }
    fn dots(tier: Tier, row: &[f32], w: &[f64], out: &mut [f64], _: &mut Vec<f64>) {
        float_dots(tier, row, w, out);
    }
}

impl Value for i64 {
    const TOP: u64 = 1 << 63;
    #[inline(always)]
    fn widen(self) -> f64 {
        self as f64
    }
    #[inline(always)]
    fn sign(self) -> u64 {
        self as u64
    }
    #[inline(always)]
    fn wild(self) -> u64 {
        0
    }
}

impl Value for u8 {
    const TOP: u64 = 1 << 63;
    #[inline(always)]
    fn widen(self) -> f64 {
        f64::from(self)
    }
    #[inline(always)]
    fn sign(self) -> u64 {
        0
    }
    #[inline(always)]
    fn wild(self) -> u64 {
        0
    }
}

/// What is added up of each element.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Take {
    /// The value itself, of any sign.
    Any,
    /// The value itself, which should not be negative.
    NonNegative,
    /// One if the value is above the threshold, else zero.
    Above(f64),
}

#[inline(always)]
fn add_rows_body<T: Value, const SIGN: bool, const ABOVE: bool>(
    rows: [&[T]; GROUP],
    weights: [f64; GROUP],
    threshold: f64,
    out: &mut [f64],
) -> bool {
    let rows = rows.map(|row| &row[..out.len()]);
    let mut flags = 0u64;
    for (j, o) in out.iter_mut().enumerate() {
        let mut add = [0.0; GROUP];
        for r in 0..GROUP {
            let x = rows[r][j];
            flags |= x.wild();
            if SIGN {
                flags |= x.sign();
            }
            let v = x.widen();
            add[r] = if ABOVE {
                if v > threshold { weights[r] } else { 0.0 }
            } else {
                v * weights[r]
            };
        }
        *o += (add[0] + add[1]) + (add[2] + add[3]);
    }
    flags & T::TOP != 0
}

#[inline(always)]
fn add_rows_taking<T: Value>(
    rows: [&[T]; GROUP],
    weights: [f64; GROUP],
    take: Take,
    out: &mut [f64],
) -> bool {
    match take {
        Take::Any => add_rows_body::<T, false, false>(rows, weights, 0.0, out),
        Take::NonNegative => add_rows_body::<T, true, false>(rows, weights, 0.0, out),
        Take::Above(t) => add_rows_body::<T, false, true>(rows, weights, T::threshold(t), out),
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn add_rows_avx2<T: Value>(
    rows: [&[T]; GROUP],
    weights: [f64; GROUP],
    take: Take,
    out: &mut [f64],
) -> bool {
    add_rows_taking(rows, weights, take, out)
}

/// Adds what `take` says of [`GROUP`] weighted rows to `out`.
///
/// True if there may be an element that `take` or finiteness forbids: the caller then looks
/// closer. False is certain.
#[inline]
pub fn add_rows<T: Value>(
    tier: Tier,
    rows: [&[T]; GROUP],
    weights: [f64; GROUP],
    take: Take,
    out: &mut [f64],
) -> bool {
    match tier {
        #[cfg(target_arch = "x86_64")]
        Tier::Avx2 | Tier::Avx512 if detected() >= Tier::Avx2 => {
            // SAFETY: the guard has just checked that the processor has AVX2.
            unsafe { add_rows_avx2(rows, weights, take, out) }
        }
        _ => add_rows_taking(rows, weights, take, out),
    }
}

#[inline(always)]
fn indicators_body<T: Value>(row: &[T], threshold: f64, out: &mut [f64]) -> bool {
    let mut flags = 0u64;
    for (o, x) in out.iter_mut().zip(row) {
        flags |= x.wild();
        *o = if x.widen() > threshold { 1.0 } else { 0.0 };
    }
    flags & T::TOP != 0
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn indicators_avx2<T: Value>(row: &[T], threshold: f64, out: &mut [f64]) -> bool {
    indicators_body(row, threshold, out)
}

/// Sets `out` to one where `row` is above `threshold`, else to zero; true if an element of
/// `row` is not finite.
#[inline]
pub fn indicators<T: Value>(tier: Tier, row: &[T], threshold: f64, out: &mut [f64]) -> bool {
    let threshold = T::threshold(threshold);
    match tier {
        #[cfg(target_arch = "x86_64")]
        Tier::Avx2 | Tier::Avx512 if detected() >= Tier::Avx2 => {
            // SAFETY: the guard has just checked that the processor has AVX2.
            unsafe { indicators_avx2(row, threshold, out) }
        }
        _ => indicators_body(row, threshold, out),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tier::supported;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn tiers_agree_to_the_bit(
            values in prop::collection::vec(-9.0f32..9.0, 4..200),
            w in prop::array::uniform4(0.0f64..3.0),
        ) {
            let d = values.len() / GROUP;
            let rows: [&[f32]; GROUP] = std::array::from_fn(|r| &values[r * d..(r + 1) * d]);
            for take in [Take::Any, Take::NonNegative, Take::Above(0.5)] {
                let negative = values[..4 * d].iter().any(|v| v.is_sign_negative());
                for tier in supported() {
                    let mut out = vec![0.25; d];
                    let flag = add_rows(tier, rows, w, take, &mut out);
                    prop_assert_eq!(flag, negative && take == Take::NonNegative);
                    for j in 0..d {
                        let of = |r: usize| match take {
                            Take::Above(t) if f64::from(rows[r][j]) > t => w[r],
                            Take::Above(_) => 0.0,
                            _ => f64::from(rows[r][j]) * w[r],
                        };
                        prop_assert_eq!(out[j], 0.25 + ((of(0) + of(1)) + (of(2) + of(3))));
                    }
                }
            }
            for tier in supported() {
                let mut out = vec![0.0; d];
                prop_assert!(!indicators(tier, rows[0], 0.5, &mut out));
                for (o, x) in out.iter().zip(rows[0]) {
                    prop_assert_eq!(*o, f64::from(u8::from(*x > 0.5)));
                }
            }
        }

        #[test]
        fn integers_give_the_products_of_floats(
            row in prop::collection::vec(-50i64..50, 0..40),
            k in 0usize..7,
        ) {
            let w: Vec<f64> = (0..row.len() * k).map(|i| (i % 7) as f64 - 3.0).collect();
            let floats: Vec<f64> = row.iter().map(|v| *v as f64).collect();
            for tier in supported() {
                let (mut a, mut b) = (vec![0.0; k], vec![0.0; k]);
                i64::dots(tier, &row, &w, &mut a, &mut Vec::new());
                f64::dots(tier, &floats, &w, &mut b, &mut Vec::new());
                prop_assert_eq!(a, b);
            }
        }
    }

    #[test]
    fn every_bad_place_is_flagged() {
        for tier in supported() {
            for bad in [
                f64::NAN,
                -f64::NAN,
                f64::INFINITY,
                f64::NEG_INFINITY,
                -1e-300,
            ] {
                for place in 0..13 {
                    let mut row = [1.0f64; 13];
                    row[place] = bad;
                    let good = [f64::MAX; 13];
                    for (take, wanted) in [
                        (Take::Any, !bad.is_finite()),
                        (Take::Above(0.0), !bad.is_finite()),
                        (Take::NonNegative, true),
                    ] {
                        let mut out = [0.0; 13];
                        let rows = [&good[..], &good[..], &row[..], &good[..]];
                        assert_eq!(add_rows(tier, rows, [0.0; 4], take, &mut out), wanted);
                        let single = row.map(|v| v as f32);
                        let one = [1.0f32; 13];
                        let rows = [&one[..], &single[..], &one[..], &one[..]];
                        assert_eq!(add_rows(tier, rows, [1.0; 4], take, &mut out), wanted);
                    }
                    assert_eq!(
                        indicators(tier, &row, 0.0, &mut [0.0; 13]),
                        !bad.is_finite()
                    );
                }
            }
            let mut out = [0.0; 2];
            let ints = [&[1i64, -1][..]; 4];
            assert!(add_rows(tier, ints, [1.0; 4], Take::NonNegative, &mut out));
            assert!(!add_rows(tier, ints, [1.0; 4], Take::Any, &mut out));
            let bytes = [&[1u8, 255][..]; 4];
            assert!(!add_rows(
                tier,
                bytes,
                [1.0; 4],
                Take::NonNegative,
                &mut out
            ));
        }
    }
}
