//! Rows of data as naive Bayes reads them: dense in C order, or CSR.

use crate::error::{Error, Result, non_finite};
use ironlearn_kernels::sums::Value;
use std::ops::Range;

/// A column number or a row's start in a CSR matrix.
pub trait Index: Copy + Send + Sync + 'static {
    /// The number; beyond every length if it is negative.
    fn place(self) -> usize;
}

impl Index for i32 {
    #[inline(always)]
    fn place(self) -> usize {
        self as usize
    }
}

impl Index for i64 {
    #[inline(always)]
    fn place(self) -> usize {
        usize::try_from(self).unwrap_or(usize::MAX)
    }
}

/// Rows in C order.
#[derive(Clone, Copy)]
pub struct Dense<'a, T> {
    pub(super) x: &'a [T],
    pub(super) features: usize,
}

impl<'a, T: Value> Dense<'a, T> {
    /// Rows of `features` elements.
    pub fn new(x: &'a [T], features: usize) -> Result<Self> {
        if features == 0 || !x.len().is_multiple_of(features) {
            return Err(Error::Shape {
                name: "X",
                given: format!("{} elements", x.len()),
                expected: format!("rows of {features} features"),
            });
        }
        Ok(Dense { x, features })
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.x.len() / self.features
    }

    /// Number of elements.
    pub fn stored(&self) -> usize {
        self.x.len()
    }

    pub(super) fn block(&self, rows: Range<usize>) -> &'a [T] {
        &self.x[rows.start * self.features..rows.end * self.features]
    }

    /// The error for the first element of `rows` that is not finite or, where that is
    /// forbidden, negative.
    pub(super) fn check(&self, rows: Range<usize>, non_negative: bool) -> Result<()> {
        let start = rows.start * self.features;
        for (i, v) in self.block(rows).iter().enumerate() {
            let place = start + i;
            check_value(
                *v,
                non_negative,
                place / self.features,
                place % self.features,
            )?;
        }
        Ok(())
    }
}

/// An error if `value` is not finite or, where that is forbidden, negative.
pub(super) fn check_value<T: Value>(
    value: T,
    non_negative: bool,
    row: usize,
    column: usize,
) -> Result<()> {
    let value = value.widen();
    if !value.is_finite() {
        return Err(non_finite("X", value.is_nan()));
    }
    if non_negative && value < 0.0 {
        return Err(Error::InvalidParameter {
            name: "X",
            given: format!("the negative value {value} in row {row}, column {column}"),
            expected: "non-negative".into(),
        });
    }
    Ok(())
}

/// Compressed rows. The order of a row's entries does not matter.
#[derive(Clone, Copy)]
pub struct Csr<'a, T, I> {
    data: &'a [T],
    indices: &'a [I],
    indptr: &'a [I],
    pub(super) features: usize,
}

fn csr_error(given: String, expected: String) -> Error {
    Error::Shape {
        name: "X (CSR)",
        given,
        expected,
    }
}

impl<'a, T: Value, I: Index> Csr<'a, T, I> {
    /// Checks the row starts; column numbers are checked where they are read.
    pub fn new(data: &'a [T], indices: &'a [I], indptr: &'a [I], features: usize) -> Result<Self> {
        let stored = data.len().min(indices.len());
        let mut last = 0;
        for (i, start) in indptr.iter().map(|p| p.place()).enumerate() {
            if start < last || start > stored || (i == 0 && start != 0) {
                return Err(csr_error(
                    format!("a wrong indptr at place {i}"),
                    format!("numbers that rise from 0 to at most {stored}"),
                ));
            }
            last = start;
        }
        if indptr.is_empty() || features == 0 {
            return Err(csr_error(
                format!("{} row starts, {features} features", indptr.len()),
                "at least one of each".into(),
            ));
        }
        Ok(Csr {
            data,
            indices,
            indptr,
            features,
        })
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.indptr.len() - 1
    }

    /// Number of stored elements.
    pub fn stored(&self) -> usize {
        self.data.len()
    }

    /// Columns and values of row `i`; columns are not checked.
    #[inline]
    pub(super) fn row(&self, i: usize) -> impl Iterator<Item = (usize, T)> + 'a {
        let range = self.indptr[i].place()..self.indptr[i + 1].place();
        self.indices[range.clone()]
            .iter()
            .zip(&self.data[range])
            .map(|(j, v)| (j.place(), *v))
    }

    /// The error for the first stored element of `rows` that has a wrong column, is not finite
    /// or, where that is forbidden, negative.
    pub(super) fn check(&self, rows: Range<usize>, non_negative: bool) -> Result<()> {
        for i in rows {
            for (column, value) in self.row(i) {
                if column >= self.features {
                    let given = match i64::try_from(column) {
                        Ok(column) => format!("the column index {column} in row {i}"),
                        Err(_) => format!("a negative column index in row {i}"),
                    };
                    return Err(csr_error(
                        given,
                        format!("indices from 0 to below n_features = {}", self.features),
                    ));
                }
                check_value(value, non_negative, i, column)?;
            }
        }
        Ok(())
    }
}

/// An error unless `y` has one class code below `classes` for each of `rows` rows, and
/// `weights` as many elements.
pub(super) fn check_codes(
    rows: usize,
    y: &[u32],
    weights: Option<&[f64]>,
    classes: usize,
) -> Result<()> {
    if y.len() != rows || weights.is_some_and(|w| w.len() != rows) || classes == 0 {
        return Err(Error::Shape {
            name: "y",
            given: format!("{} elements", y.len()),
            expected: format!("{rows}, with as many weights,"),
        });
    }
    if y.iter().any(|c| *c as usize >= classes) {
        return Err(Error::InvalidParameter {
            name: "y",
            given: "a code outside the classes".into(),
            expected: format!("codes below {classes}"),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_structures_are_refused() {
        assert!(Csr::<f64, i32>::new(&[1.0], &[0], &[0, 1], 3).is_ok());
        for indptr in [&[][..], &[1, 1], &[0, 2], &[0, -1], &[0, 1, 0]] {
            assert!(Csr::<f64, i32>::new(&[1.0], &[0], indptr, 3).is_err());
        }
        assert!(Csr::<f64, i64>::new(&[1.0], &[], &[0, 1], 3).is_err());
        assert!(Csr::<f64, i64>::new(&[], &[], &[0], 0).is_err());
        for bad in [-1i64, 3, i64::MAX] {
            let indices = [bad];
            let x = Csr::new(&[1.0f64], &indices, &[0, 1], 3).unwrap();
            let error = x.check(0..1, false).unwrap_err().to_string();
            assert!(error.contains("n_features = 3"), "{error}");
        }
        assert!(Dense::new(&[1.0f64; 5], 2).is_err());
        assert!(Dense::<f64>::new(&[], 0).is_err());
    }
}
