//! Row-wise loops of Gaussian statistics.
//!
//! Every loop keeps a fixed number of lanes and no fused multiply-add, so that all tiers
//! give the same bits; a tier only widens the registers.

use crate::tier::{Tier, detected};

/// An element that widens exactly to `f64`.
pub trait Widen: Copy {
    /// The value as `f64`.
    fn widen(self) -> f64;
}
impl Widen for f32 {
    #[inline(always)]
    fn widen(self) -> f64 {
        f64::from(self)
    }
}
impl Widen for f64 {
    #[inline(always)]
    fn widen(self) -> f64 {
        self
    }
}

#[inline(always)]
fn add_row_body<T: Widen>(row: &[T], weight: f64, shift: &[f64], sum: &mut [f64], sq: &mut [f64]) {
    for (((x, s), a), b) in row.iter().zip(shift).zip(sum).zip(sq) {
        let d = x.widen() - s;
        let wd = weight * d;
        *a += wd;
        *b += wd * d;
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn add_row_avx2<T: Widen>(row: &[T], weight: f64, shift: &[f64], sum: &mut [f64], sq: &mut [f64]) {
    add_row_body(row, weight, shift, sum, sq);
}

/// Adds `weight * (x - shift)` to `sum` and `weight * (x - shift)^2` to `sq`, element by element.
#[inline]
pub fn add_row<T: Widen>(
    tier: Tier,
    row: &[T],
    weight: f64,
    shift: &[f64],
    sum: &mut [f64],
    sq: &mut [f64],
) {
    match tier {
        #[cfg(target_arch = "x86_64")]
        Tier::Avx2 | Tier::Avx512 if detected() >= Tier::Avx2 => {
            // SAFETY: the guard has just checked that the processor has AVX2.
            unsafe { add_row_avx2(row, weight, shift, sum, sq) }
        }
        _ => add_row_body(row, weight, shift, sum, sq),
    }
}

/// Rows that [`scaled_distances`] takes at once.
pub const ROWS: usize = 4;
const LANES: usize = 4;

#[inline(always)]
fn scaled_distances_body<T: Widen>(
    rows: [&[T]; ROWS],
    centre: &[f64],
    scale: &[f64],
) -> [f64; ROWS] {
    let d = centre.len();
    let rows = rows.map(|row| &row[..d]);
    let scale = &scale[..d];
    let mut acc = [[0.0f64; LANES]; ROWS];
    let whole = d / LANES * LANES;
    let mut j = 0;
    while j < whole {
        for r in 0..ROWS {
            for l in 0..LANES {
                let t = rows[r][j + l].widen() - centre[j + l];
                acc[r][l] += t * t * scale[j + l];
            }
        }
        j += LANES;
    }
    let mut out = [0.0; ROWS];
    for r in 0..ROWS {
        let mut tail = 0.0;
        for j in whole..d {
            let t = rows[r][j].widen() - centre[j];
            tail += t * t * scale[j];
        }
        out[r] = (acc[r][0] + acc[r][1]) + (acc[r][2] + acc[r][3]) + tail;
    }
    out
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn scaled_distances_avx2<T: Widen>(
    rows: [&[T]; ROWS],
    centre: &[f64],
    scale: &[f64],
) -> [f64; ROWS] {
    scaled_distances_body(rows, centre, scale)
}

/// For each of [`ROWS`] rows, the sum over features of `(x - centre)^2 * scale`.
#[inline]
pub fn scaled_distances<T: Widen>(
    tier: Tier,
    rows: [&[T]; ROWS],
    centre: &[f64],
    scale: &[f64],
) -> [f64; ROWS] {
    match tier {
        #[cfg(target_arch = "x86_64")]
        Tier::Avx2 | Tier::Avx512 if detected() >= Tier::Avx2 => {
            // SAFETY: the guard has just checked that the processor has AVX2.
            unsafe { scaled_distances_avx2(rows, centre, scale) }
        }
        _ => scaled_distances_body(rows, centre, scale),
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
            row in prop::collection::vec(-1e3f32..1e3, 0..70),
            weight in 0.0f64..3.0,
        ) {
            let d = row.len();
            let shift: Vec<f64> = row.iter().map(|x| f64::from(*x) * 0.3 + 1.0).collect();
            let scale: Vec<f64> = row.iter().map(|x| 1.0 / (1.0 + f64::from(x.abs()))).collect();
            let mut first = None;
            for tier in supported() {
                let (mut sum, mut sq) = (vec![0.5; d], vec![0.25; d]);
                add_row(tier, &row, weight, &shift, &mut sum, &mut sq);
                for j in 0..d {
                    let t = f64::from(row[j]) - shift[j];
                    prop_assert_eq!(sum[j], 0.5 + weight * t);
                    prop_assert_eq!(sq[j], 0.25 + weight * t * t);
                }
                let distances = scaled_distances(tier, [&row; ROWS], &shift, &scale);
                let plain: f64 = (0..d).map(|j| (f64::from(row[j]) - shift[j]).powi(2) * scale[j]).sum();
                prop_assert!((distances[0] - plain).abs() <= 1e-12 * plain);
                let bits = distances.map(f64::to_bits);
                prop_assert_eq!(*first.get_or_insert(bits), bits);
            }
        }
    }
}
