//! Multinomial, complement and Bernoulli naive Bayes: column sums by class in one pass.
//!
//! Rows are cut into chunks by the shape of X; inside a chunk the rows of a class are summed
//! four at a time, and the sums of the chunks are added in chunk order. Signs and finiteness
//! are checked in the same pass.

use crate::error::{Error, Result};
use crate::naive_bayes::rows::{Csr, Dense, Index, check_codes};
use crate::parallel::{Control, chunks, map_chunks};
use ironlearn_kernels::sums::{GROUP, Take, Value, add_rows};
use ironlearn_kernels::tier;
use std::ops::Range;

/// Most sums of one model: 2 GB of `f64`.
const MOST_SUMS: usize = 1 << 28;

/// Weighted sums by class.
#[derive(Clone, Debug, PartialEq)]
pub struct Counts {
    /// Sum of weights, one per class.
    pub class: Vec<f64>,
    /// Weighted sums of every feature, `classes x features`.
    pub feature: Vec<f64>,
}

impl Counts {
    /// The sums of no rows.
    pub fn init(classes: usize, features: usize) -> Result<Counts> {
        let size = classes
            .checked_mul(features)
            .filter(|size| *size <= MOST_SUMS)
            .ok_or_else(|| Error::TooLarge {
                what: "the number of classes times features",
                given: format!("{classes} x {features}"),
                limit: MOST_SUMS.to_string(),
            })?;
        Ok(Counts {
            class: vec![0.0; classes],
            feature: vec![0.0; size],
        })
    }

    /// Adds the sums `other` of further rows; both have the same shape.
    pub fn merge(&mut self, other: &Counts) {
        let add = |to: &mut [f64], from: &[f64]| {
            for (a, b) in to.iter_mut().zip(from) {
                *a += b;
            }
        };
        add(&mut self.class, &other.class);
        add(&mut self.feature, &other.feature);
    }

    fn merged(parts: Vec<Counts>, classes: usize, features: usize) -> Result<Counts> {
        let mut parts = parts.into_iter();
        let mut total = match parts.next() {
            Some(first) => first,
            None => Counts::init(classes, features)?,
        };
        for part in parts {
            total.merge(&part);
        }
        let sums = total.class.iter().chain(&total.feature);
        if let Some(bad) = sums.copied().find(|v| !v.is_finite()) {
            return Err(Error::InvalidParameter {
                name: "X",
                given: format!("sums of a class that reach {bad}"),
                expected: "small enough that its sums are finite".into(),
            });
        }
        Ok(total)
    }
}

/// Column sums of dense rows `x` by the class codes `y`.
pub fn dense_counts<T: Value>(
    control: &Control,
    x: Dense<'_, T>,
    y: &[u32],
    weights: Option<&[f64]>,
    classes: usize,
    take: Take,
) -> Result<Counts> {
    check_codes(x.rows(), y, weights, classes)?;
    let features = x.features;
    let size = Counts::init(classes, features)?.feature.len();
    // Few enough chunks that their sums stay small beside X.
    let most = ((1 << 22) / size).clamp(1, 64);
    let chunk = x.rows().div_ceil(most).max(512);
    let parts = map_chunks(control, x.rows(), chunk, |rows| {
        dense_chunk(control, x, rows, y, weights, classes, take)
    })?;
    Counts::merged(parts, classes, features)
}

fn dense_chunk<T: Value>(
    control: &Control,
    x: Dense<'_, T>,
    rows: Range<usize>,
    y: &[u32],
    weights: Option<&[f64]>,
    classes: usize,
    take: Take,
) -> Result<Counts> {
    let (tier, d) = (tier::active(), x.features);
    let mut out = Counts::init(classes, d)?;
    let mut waiting: Vec<([usize; GROUP], usize)> = vec![([0; GROUP], 0); classes];
    let mut flagged = false;
    let mut add = |out: &mut Counts, class: usize, group: &[usize]| {
        // A short last group repeats its first row without weight.
        let of = |r: usize| group.get(r).copied().unwrap_or(group[0]);
        let members: [&[T]; GROUP] = std::array::from_fn(|r| x.block(of(r)..of(r) + 1));
        let w: [f64; GROUP] = std::array::from_fn(|r| match weights {
            _ if r >= group.len() => 0.0,
            Some(weights) => weights[group[r]],
            None => 1.0,
        });
        out.class[class] += (w[0] + w[1]) + (w[2] + w[3]);
        let sums = &mut out.feature[class * d..(class + 1) * d];
        flagged |= add_rows(tier, members, w, take, sums);
    };
    let every = ((1 << 18) / d).max(1);
    for part in chunks(rows.len(), every) {
        control.check()?;
        for i in rows.start + part.start..rows.start + part.end {
            let class = y[i] as usize;
            let (group, n) = &mut waiting[class];
            group[*n] = i;
            *n += 1;
            if *n == GROUP {
                *n = 0;
                let group = *group;
                add(&mut out, class, &group);
            }
        }
    }
    for (class, (group, n)) in waiting.iter().enumerate() {
        if *n > 0 {
            add(&mut out, class, &group[..*n]);
        }
    }
    if flagged {
        x.check(rows, take == Take::NonNegative)?;
    }
    Ok(out)
}

/// Column sums of CSR rows `x` by the class codes `y`; absent elements count as zeros.
///
/// With [`Take::Above`] the threshold must not be negative, and no element may be stored in
/// parts.
pub fn sparse_counts<T: Value, I: Index>(
    control: &Control,
    x: Csr<'_, T, I>,
    y: &[u32],
    weights: Option<&[f64]>,
    classes: usize,
    take: Take,
) -> Result<Counts> {
    check_codes(x.rows(), y, weights, classes)?;
    if let Take::Above(t) = take
        && (t < 0.0 || t.is_nan())
    {
        return Err(Error::InvalidParameter {
            name: "binarize",
            given: t.to_string(),
            expected: "non-negative for sparse X".into(),
        });
    }
    let features = x.features;
    let size = Counts::init(classes, features)?.feature.len();
    let most = (x.stored() / (2 * size)).clamp(1, 16);
    let chunk = x.rows().div_ceil(most).max(256);
    let parts = map_chunks(control, x.rows(), chunk, |rows| {
        let mut out = Counts::init(classes, features)?;
        let mut flagged = false;
        for part in chunks(rows.len(), 256) {
            control.check()?;
            for i in rows.start + part.start..rows.start + part.end {
                let class = y[i] as usize;
                let weight = weights.map_or(1.0, |w| w[i]);
                out.class[class] += weight;
                let sums = &mut out.feature[class * features..(class + 1) * features];
                flagged |= add_sparse(x.row(i), weight, take, sums);
            }
        }
        if flagged {
            x.check(rows, take == Take::NonNegative)?;
        }
        Ok(out)
    })?;
    Counts::merged(parts, classes, features)
}

/// Adds a row to `sums`; true if it may hold a forbidden value or column.
#[inline]
fn add_sparse<T: Value>(
    row: impl Iterator<Item = (usize, T)>,
    weight: f64,
    take: Take,
    sums: &mut [f64],
) -> bool {
    let (mut flags, mut outside) = (0, false);
    let signs = if take == Take::NonNegative {
        u64::MAX
    } else {
        0
    };
    for (j, x) in row {
        flags |= x.wild() | (x.sign() & signs);
        let value = match take {
            Take::Above(t) => f64::from(u8::from(x.widen() > T::threshold(t))),
            _ => x.widen(),
        };
        match sums.get_mut(j) {
            Some(sum) => *sum += value * weight,
            None => outside = true,
        }
    }
    outside || flags & T::TOP != 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn dense_and_sparse_sums_are_the_plain_ones(
            values in prop::collection::vec(0u8..5, 3..4000),
            threshold in 0.0f64..4.0,
            weighted in any::<bool>(),
        ) {
            let rows = values.len() / 3;
            let x: Vec<f64> = values[..rows * 3].iter().map(|v| f64::from(*v)).collect();
            let y: Vec<u32> = (0..rows).map(|i| (i * i % 3) as u32).collect();
            let w: Vec<f64> = (0..rows).map(|i| if weighted { (i % 4) as f64 } else { 1.0 }).collect();
            let weights = weighted.then_some(&w[..]);
            let (mut data, mut indices, mut indptr) = (vec![], vec![], vec![0i32]);
            for row in x.chunks(3) {
                for (j, v) in row.iter().enumerate().filter(|(_, v)| **v != 0.0) {
                    data.push(*v as f32);
                    indices.push(j as i32);
                }
                indptr.push(data.len() as i32);
            }
            let control = Control::serial();
            for take in [Take::Any, Take::NonNegative, Take::Above(threshold)] {
                let mut plain = Counts::init(3, 3).unwrap();
                for i in 0..rows {
                    plain.class[y[i] as usize] += w[i];
                    for j in 0..3 {
                        let v = x[i * 3 + j];
                        let v = if let Take::Above(t) = take { f64::from(v > t) } else { v };
                        plain.feature[y[i] as usize * 3 + j] += w[i] * v;
                    }
                }
                let dense = Dense::new(&x, 3).unwrap();
                prop_assert_eq!(&dense_counts(&control, dense, &y, weights, 3, take).unwrap(), &plain);
                let sparse = Csr::new(&data, &indices, &indptr, 3).unwrap();
                prop_assert_eq!(&sparse_counts(&control, sparse, &y, weights, 3, take).unwrap(), &plain);
            }
        }
    }

    #[test]
    fn bad_values_are_named_with_their_place() {
        let control = Control::serial();
        for (bad, words) in [
            (-2.5, "negative value -2.5 in row 1, column 0"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "infinity"),
        ] {
            let x = [1.0, 2.0, bad, 0.0];
            let dense = Dense::new(&x, 2).unwrap();
            let error = dense_counts(&control, dense, &[0, 0], None, 1, Take::NonNegative);
            assert!(error.unwrap_err().to_string().contains(words));
            let data = [1.0, bad];
            let sparse = Csr::new(&data, &[0i64, 0], &[0, 1, 2], 2).unwrap();
            let error = sparse_counts(&control, sparse, &[0, 0], None, 1, Take::NonNegative);
            assert!(error.unwrap_err().to_string().contains(words));
        }
        let x = [f64::MAX; 4];
        let dense = Dense::new(&x, 2).unwrap();
        let error = dense_counts(&control, dense, &[0, 0], None, 1, Take::Any).unwrap_err();
        assert!(error.to_string().contains("sums are finite"));
        let x = [-0.0, 0.0];
        let dense = Dense::new(&x, 2).unwrap();
        assert!(dense_counts(&control, dense, &[0], None, 1, Take::NonNegative).is_ok());
        let sparse = Csr::new(&[1.0], &[7i32], &[0, 1], 2).unwrap();
        assert!(sparse_counts(&control, sparse, &[0], None, 1, Take::Any).is_err());
        assert!(sparse_counts(&control, sparse, &[1], None, 1, Take::Any).is_err());
        assert!(sparse_counts(&control, sparse, &[0], None, 1, Take::Above(-1.0)).is_err());
        assert!(Counts::init(usize::MAX, 2).is_err());
    }
}
