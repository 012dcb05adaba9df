//! The rows that a kernel compares: dense in either precision, or sparse.

use crate::error::{Error, Result, non_finite};
use crate::parallel::{Control, fill_chunks, map_chunks};
use ironlearn_kernels::kernel_rows::chain;
use ironlearn_kernels::linear::Element;
use ironlearn_kernels::tier;
use std::borrow::Cow;
use std::ops::Range;

/// Features whose products are added up before they join the sum of a pair of rows.
pub(super) const DEPTH: usize = 256;

/// Sparse rows: increasing indices, pointers to the rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Csr {
    pub(super) data: Vec<f64>,
    pub(super) indices: Vec<u32>,
    pub(super) indptr: Vec<usize>,
}

impl Csr {
    pub(super) fn row(&self, i: usize) -> (&[f64], &[u32]) {
        let range = self.indptr[i]..self.indptr[i + 1];
        (&self.data[range.clone()], &self.indices[range])
    }
}

#[derive(Clone, Debug)]
pub(super) enum Values<'a> {
    F32(&'a [f32]),
    F64(Cow<'a, [f64]>),
    Sparse(Csr),
}

/// Checked rows with their squared lengths.
#[derive(Clone, Debug)]
pub struct Points<'a> {
    pub(super) values: Values<'a>,
    pub(super) rows: usize,
    pub(super) width: usize,
    pub(super) squares: Vec<f64>,
}

/// An error unless all of `x` is finite.
pub(super) fn check_finite<T: Element>(
    control: &Control,
    name: &'static str,
    x: &[T],
) -> Result<()> {
    let bad = map_chunks(control, x.len(), 1 << 18, |r| {
        let part = &x[r];
        Ok(if T::all_finite(part) {
            None
        } else {
            let mut values = part.iter().map(|v| v.widen());
            values.find(|v| !v.is_finite()).map(f64::is_nan)
        })
    })?;
    match bad.into_iter().flatten().next() {
        Some(is_nan) => Err(non_finite(name, is_nan)),
        None => Ok(()),
    }
}

fn shape(given: usize, rows: usize, width: usize) -> Result<()> {
    if rows.checked_mul(width) != Some(given) {
        return Err(Error::Shape {
            name: "X",
            given: format!("{given} elements"),
            expected: format!("{rows} x {width}"),
        });
    }
    limit("n_samples", rows)
}

pub(super) fn limit(what: &'static str, given: usize) -> Result<()> {
    if given >= u32::MAX as usize / 2 {
        return Err(Error::TooLarge {
            what,
            given: given.to_string(),
            limit: (u32::MAX / 2 - 1).to_string(),
        });
    }
    Ok(())
}

impl<'a> Points<'a> {
    /// Dense rows in single precision.
    pub fn single(control: &Control, x: &'a [f32], rows: usize, width: usize) -> Result<Self> {
        shape(x.len(), rows, width)?;
        check_finite(control, "X", x)?;
        Points::with_squares(control, Values::F32(x), rows, width)
    }

    /// Dense rows in double precision.
    pub fn double(
        control: &Control,
        x: impl Into<Cow<'a, [f64]>>,
        rows: usize,
        width: usize,
    ) -> Result<Self> {
        let x = x.into();
        shape(x.len(), rows, width)?;
        check_finite(control, "X", &x)?;
        Points::with_squares(control, Values::F64(x), rows, width)
    }

    /// Sparse rows; each row's indices must increase.
    pub fn sparse(
        control: &Control,
        data: Vec<f64>,
        indices: Vec<u32>,
        indptr: Vec<usize>,
        width: usize,
    ) -> Result<Self> {
        let bad = |given: String, expected: &str| {
            Err(Error::Shape {
                name: "X (CSR)",
                given,
                expected: expected.into(),
            })
        };
        if indices.len() != data.len()
            || indptr.first() != Some(&0)
            || indptr.last() != Some(&data.len())
            || indptr.windows(2).any(|pair| pair[0] > pair[1])
        {
            return bad(
                "pointers that do not fit its elements".into(),
                "increasing indptr from 0 to the number of elements",
            );
        }
        let rows = indptr.len() - 1;
        limit("n_samples", rows)?;
        limit("n_features", width)?;
        for pair in indptr.windows(2) {
            let row = &indices[pair[0]..pair[1]];
            if row.windows(2).any(|two| two[0] >= two[1])
                || row.last().is_some_and(|&last| last as usize >= width)
            {
                return bad(
                    "column indices that repeat, decrease or are out of range".into(),
                    "increasing indices below the number of columns in each row",
                );
            }
        }
        check_finite(control, "X", &data)?;
        let csr = Csr {
            data,
            indices,
            indptr,
        };
        Points::with_squares(control, Values::Sparse(csr), rows, width)
    }

    fn with_squares(
        control: &Control,
        values: Values<'a>,
        rows: usize,
        width: usize,
    ) -> Result<Self> {
        let mut points = Points {
            values,
            rows,
            width,
            squares: Vec::new(),
        };
        let tier = tier::active();
        let mut squares = vec![0.0; rows];
        fill_chunks(control, &mut squares, 1, 256, |range, out| {
            let mut buffer = Vec::with_capacity(width.min(DEPTH));
            for (i, out) in range.zip(out) {
                *out = match &points.values {
                    Values::Sparse(csr) => chain(tier, csr.row(i).0),
                    Values::F64(x) => (x[i * width..(i + 1) * width].chunks(DEPTH))
                        .map(|part| chain(tier, part))
                        .sum(),
                    Values::F32(x) => (x[i * width..(i + 1) * width].chunks(DEPTH))
                        .map(|part| {
                            buffer.clear();
                            buffer.extend(part.iter().map(|&v| f64::from(v)));
                            chain(tier, &buffer)
                        })
                        .sum(),
                };
            }
            Ok(())
        })?;
        points.squares = squares;
        Ok(points)
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of features.
    pub fn width(&self) -> usize {
        self.width
    }

    /// The sparse rows, where they are sparse.
    pub(super) fn csr(&self) -> Option<&Csr> {
        match &self.values {
            Values::Sparse(csr) => Some(csr),
            _ => None,
        }
    }

    /// Features `depth` of row `i`, each `step` places apart in `out`.
    pub(super) fn scatter(&self, i: usize, depth: Range<usize>, step: usize, out: &mut [f64]) {
        let at = i * self.width;
        let places = out.iter_mut().step_by(step);
        match &self.values {
            Values::F32(x) => {
                for (o, &v) in places.zip(&x[at + depth.start..at + depth.end]) {
                    *o = f64::from(v);
                }
            }
            Values::F64(x) => {
                for (o, &v) in places.zip(&x[at + depth.start..at + depth.end]) {
                    *o = v;
                }
            }
            Values::Sparse(csr) => {
                let (data, indices) = csr.row(i);
                for (&v, &k) in data.iter().zip(indices) {
                    if depth.contains(&(k as usize)) {
                        out[(k as usize - depth.start) * step] = v;
                    }
                }
            }
        }
    }

    /// Product of row `i` with a dense row.
    pub(super) fn dot(&self, i: usize, dense: &[f64]) -> f64 {
        let (tier, at) = (tier::active(), i * self.width);
        match &self.values {
            Values::F32(x) => f32::dot(tier, &x[at..at + self.width], dense),
            Values::F64(x) => f64::dot(tier, &x[at..at + self.width], dense),
            Values::Sparse(csr) => {
                let (data, indices) = csr.row(i);
                (data.iter().zip(indices))
                    .map(|(&v, &k)| v * dense[k as usize])
                    .sum()
            }
        }
    }
}
