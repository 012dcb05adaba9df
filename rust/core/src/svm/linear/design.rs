//! The data of a linear problem: dense or CSR rows, with the constant feature that stands
//! for the intercept.

use crate::error::{Error, Result, non_finite};
use crate::parallel::{Control, chunks, map_chunks};
use ironlearn_kernels::linear::Element;
use ironlearn_kernels::tier::{self, Tier};

use super::columns::{Columns, DenseColumns, SparseColumns};
use super::gram;

/// A matrix of rows, each extended by the constant feature where there is an intercept.
pub trait Design: Sync {
    /// Columns of this matrix, for coordinate descent.
    type Columns: Columns;
    /// Number of rows.
    fn rows(&self) -> usize;
    /// Number of features, the constant one included.
    fn width(&self) -> usize;
    /// Stored elements: what one pass over the data costs.
    fn stored(&self) -> usize;
    /// Product of row `i` with `w`.
    fn dot(&self, i: usize, w: &[f64]) -> f64;
    /// Products of row `i` with the rows of `w` (`width` elements each).
    fn dots(&self, i: usize, w: &[f64], out: &mut [f64]);
    /// Adds `a` times row `i` to `out`.
    fn axpy(&self, i: usize, a: f64, out: &mut [f64]);
    /// Products of row `i` with the weights of all classes, laid out as is best for that:
    /// see [`Design::by_class`].
    fn joint_dots(&self, i: usize, w: &[f64], out: &mut [f64]);
    /// Adds row `i`, times one factor a class, to weights as [`Design::joint_dots`] has them.
    fn joint_axpy(&self, i: usize, factors: &[f64], w: &mut [f64]);
    /// Weights as [`Design::joint_dots`] has them, class by class.
    fn by_class(&self, w: &[f64], classes: usize) -> Vec<f64>;
    /// Adds `a` times the squares of row `i` to `out`.
    fn add_squares(&self, i: usize, a: f64, out: &mut [f64]);
    /// Squared length of row `i`.
    fn square(&self, i: usize) -> f64;
    /// Adds `sum of weight * row * row'` over `rows` to the lower triangle of `out`.
    fn add_gram(&self, control: &Control, rows: &[(u32, f64)], out: &mut [f64]) -> Result<()>;
    /// Multiply-adds that [`Design::add_gram`] needs for all rows.
    fn gram_cost(&self) -> f64;
    /// A copy of the matrix by columns.
    fn columns(&self, control: &Control) -> Result<Self::Columns>;
    /// The SIMD tier in force.
    fn tier(&self) -> Tier;
}

/// Rows in C order.
pub struct Dense<'a, T> {
    x: &'a [T],
    rows: usize,
    features: usize,
    bias: Option<f64>,
    tier: Tier,
}

impl<'a, T: Element> Dense<'a, T> {
    /// Checks the shape and that all elements are finite.
    pub fn new(
        control: &Control,
        x: &'a [T],
        rows: usize,
        features: usize,
        bias: Option<f64>,
    ) -> Result<Self> {
        if rows.checked_mul(features) != Some(x.len()) {
            return Err(Error::Shape {
                name: "X",
                given: format!("{} elements", x.len()),
                expected: format!("{rows} x {features}"),
            });
        }
        limits(rows, features)?;
        check_finite(control, x)?;
        Ok(Dense {
            x,
            rows,
            features,
            bias,
            tier: tier::active(),
        })
    }

    fn row(&self, i: usize) -> &'a [T] {
        &self.x[i * self.features..(i + 1) * self.features]
    }
}

/// An error unless all of `x` is finite.
pub(super) fn check_finite<T: Element>(control: &Control, x: &[T]) -> Result<()> {
    let bad = map_chunks(control, x.len(), 1 << 18, |r| {
        let part = &x[r];
        Ok(if T::all_finite(part) {
            None
        } else {
            part.iter()
                .map(|v| v.widen())
                .find(|v| !v.is_finite())
                .map(f64::is_nan)
        })
    })?;
    match bad.into_iter().flatten().next() {
        Some(is_nan) => Err(non_finite("X", is_nan)),
        None => Ok(()),
    }
}

fn limits(rows: usize, features: usize) -> Result<()> {
    for (what, given) in [("n_samples", rows), ("n_features", features)] {
        if given >= u32::MAX as usize {
            return Err(Error::TooLarge {
                what,
                given: given.to_string(),
                limit: (u32::MAX - 1).to_string(),
            });
        }
    }
    Ok(())
}

impl<T: Element> Design for Dense<'_, T> {
    type Columns = DenseColumns<T>;

    fn rows(&self) -> usize {
        self.rows
    }
    fn width(&self) -> usize {
        self.features + usize::from(self.bias.is_some())
    }
    fn stored(&self) -> usize {
        self.rows * self.width()
    }
    #[inline]
    fn dot(&self, i: usize, w: &[f64]) -> f64 {
        let sum = T::dot(self.tier, self.row(i), &w[..self.features]);
        match self.bias {
            Some(bias) => sum + bias * w[self.features],
            None => sum,
        }
    }
    #[inline]
    fn dots(&self, i: usize, w: &[f64], out: &mut [f64]) {
        let (row, width, d) = (self.row(i), self.width(), self.features);
        let of = |k: usize| &w[k * width..(k + 1) * width];
        let mut k = 0;
        while k + 4 <= out.len() {
            let four = [of(k), of(k + 1), of(k + 2), of(k + 3)];
            let sums = T::dot4(self.tier, row, four.map(|w| &w[..d]));
            for (j, (sum, w)) in sums.into_iter().zip(four).enumerate() {
                out[k + j] = sum + self.bias.map_or(0.0, |bias| bias * w[d]);
            }
            k += 4;
        }
        for k in k..out.len() {
            out[k] = self.dot(i, of(k));
        }
    }
    #[inline]
    fn axpy(&self, i: usize, a: f64, out: &mut [f64]) {
        T::axpy(self.tier, a, self.row(i), &mut out[..self.features]);
        if let Some(bias) = self.bias {
            out[self.features] += a * bias;
        }
    }
    #[inline]
    fn joint_dots(&self, i: usize, w: &[f64], out: &mut [f64]) {
        self.dots(i, w, out);
    }
    #[inline]
    fn joint_axpy(&self, i: usize, factors: &[f64], w: &mut [f64]) {
        for (&a, w) in factors.iter().zip(w.chunks_exact_mut(self.width())) {
            if a != 0.0 {
                self.axpy(i, a, w);
            }
        }
    }
    fn by_class(&self, w: &[f64], _: usize) -> Vec<f64> {
        w.to_vec()
    }
    fn add_squares(&self, i: usize, a: f64, out: &mut [f64]) {
        for (o, v) in out.iter_mut().zip(self.row(i)) {
            *o += a * v.widen() * v.widen();
        }
        if let Some(bias) = self.bias {
            out[self.features] += a * bias * bias;
        }
    }
    fn square(&self, i: usize) -> f64 {
        let row = self.row(i);
        let sum: f64 = row.iter().map(|v| v.widen() * v.widen()).sum();
        sum + self.bias.map_or(0.0, |b| b * b)
    }
    fn add_gram(&self, control: &Control, rows: &[(u32, f64)], out: &mut [f64]) -> Result<()> {
        gram::add_dense(
            control,
            self.tier,
            |i| self.row(i),
            self.bias,
            self.features,
            rows,
            out,
        )
    }
    fn gram_cost(&self) -> f64 {
        self.rows as f64 * (self.width() as f64).powi(2) / 2.0
    }
    fn columns(&self, control: &Control) -> Result<DenseColumns<T>> {
        DenseColumns::new(
            control,
            self.x,
            self.rows,
            self.features,
            self.bias,
            self.tier,
        )
    }
    fn tier(&self) -> Tier {
        self.tier
    }
}

/// An index type of CSR matrices.
pub trait Index: Copy + Send + Sync + 'static {
    /// The index, or `None` if it is negative or does not fit.
    fn get(self) -> Option<usize>;
    /// The index after validation.
    fn known(self) -> usize;
}

macro_rules! index {
    ($($t:ty),*) => {$(
        impl Index for $t {
            #[inline]
            fn get(self) -> Option<usize> {
                usize::try_from(self).ok()
            }
            #[inline(always)]
            fn known(self) -> usize {
                self as usize
            }
        }
    )*};
}
index!(i32, i64);

/// Compressed sparse rows.
pub struct Csr<'a, T, I> {
    data: &'a [T],
    indices: &'a [I],
    indptr: &'a [I],
    features: usize,
    bias: Option<f64>,
    tier: Tier,
    squares: f64,
}

fn csr_error(given: String, expected: &str) -> Error {
    Error::Shape {
        name: "X (CSR)",
        given,
        expected: expected.into(),
    }
}

impl<'a, T: Element, I: Index> Csr<'a, T, I> {
    /// Checks the structure completely: pointers that never fall, indices in range and none
    /// twice in a row (in any order), finite elements.
    pub fn new(
        control: &Control,
        data: &'a [T],
        indices: &'a [I],
        indptr: &'a [I],
        features: usize,
        bias: Option<f64>,
    ) -> Result<Self> {
        let rows = indptr
            .len()
            .checked_sub(1)
            .ok_or_else(|| csr_error("an empty indptr".into(), "n_samples + 1 pointers"))?;
        limits(rows, features)?;
        if data.len() != indices.len() {
            return Err(csr_error(
                format!("{} elements and {} indices", data.len(), indices.len()),
                "as many of one as of the other",
            ));
        }
        if indptr[0].get() != Some(0) || indptr[rows].get() != Some(data.len()) {
            return Err(csr_error(
                "an indptr with other ends".into(),
                "an indptr from 0 to the number of stored elements",
            ));
        }
        check_finite(control, data)?;
        // Last row in which a column was seen, for rows that are not sorted.
        let mut seen: Vec<u32> = Vec::new();
        let mut squares = 0.0;
        for i in 0..rows {
            if i % 4096 == 0 {
                control.check()?;
            }
            let (Some(from), Some(to)) = (indptr[i].get(), indptr[i + 1].get()) else {
                return Err(csr_error("a negative pointer".into(), "pointers that rise"));
            };
            if from > to || to > data.len() {
                return Err(csr_error(
                    format!("pointers {from} and {to} at row {i}"),
                    "pointers that rise up to the number of stored elements",
                ));
            }
            squares += ((to - from + 1) as f64).powi(2);
            let mut last = None;
            let mut sorted = true;
            for &j in &indices[from..to] {
                let Some(j) = j.get().filter(|&j| j < features) else {
                    return Err(csr_error(
                        format!("a column index out of range in row {i}"),
                        &format!("indices from 0 to below n_features = {features}"),
                    ));
                };
                sorted &= last.is_none_or(|last| last < j);
                last = Some(j);
            }
            if !sorted {
                seen.resize(features, u32::MAX);
                for &j in &indices[from..to] {
                    if std::mem::replace(&mut seen[j.known()], i as u32) == i as u32 {
                        return Err(csr_error(
                            format!("column {} twice in row {i}", j.known()),
                            "each column once (call sum_duplicates)",
                        ));
                    }
                }
            }
        }
        Ok(Csr {
            data,
            indices,
            indptr,
            features,
            bias,
            tier: tier::active(),
            squares,
        })
    }

    #[inline]
    fn row(&self, i: usize) -> impl Iterator<Item = (usize, f64)> + Clone + '_ {
        let range = self.indptr[i].known()..self.indptr[i + 1].known();
        self.indices[range.clone()]
            .iter()
            .zip(&self.data[range])
            .map(|(j, v)| (j.known(), v.widen()))
    }
}

impl<T: Element, I: Index> Design for Csr<'_, T, I> {
    type Columns = SparseColumns;

    fn rows(&self) -> usize {
        self.indptr.len() - 1
    }
    fn width(&self) -> usize {
        self.features + usize::from(self.bias.is_some())
    }
    fn stored(&self) -> usize {
        self.data.len() + self.rows() * usize::from(self.bias.is_some())
    }
    #[inline]
    fn dot(&self, i: usize, w: &[f64]) -> f64 {
        let sum: f64 = self.row(i).map(|(j, v)| v * w[j]).sum();
        match self.bias {
            Some(bias) => sum + bias * w[self.features],
            None => sum,
        }
    }
    fn dots(&self, i: usize, w: &[f64], out: &mut [f64]) {
        for (o, w) in out.iter_mut().zip(w.chunks_exact(self.width().max(1))) {
            *o = self.dot(i, w);
        }
    }
    #[inline]
    fn axpy(&self, i: usize, a: f64, out: &mut [f64]) {
        for (j, v) in self.row(i) {
            out[j] += a * v;
        }
        if let Some(bias) = self.bias {
            out[self.features] += a * bias;
        }
    }
    fn joint_dots(&self, i: usize, w: &[f64], out: &mut [f64]) {
        // The weights of a feature lie side by side: one look-up serves all classes.
        let k = out.len();
        let weights = |j: usize| &w[j * k..(j + 1) * k];
        match self.bias {
            Some(bias) => {
                for (o, w) in out.iter_mut().zip(weights(self.features)) {
                    *o = bias * w;
                }
            }
            None => out.fill(0.0),
        }
        for (j, v) in self.row(i) {
            for (o, w) in out.iter_mut().zip(weights(j)) {
                *o += v * w;
            }
        }
    }
    fn joint_axpy(&self, i: usize, factors: &[f64], w: &mut [f64]) {
        let k = factors.len();
        let mut add = |j: usize, v: f64| {
            for (w, a) in w[j * k..(j + 1) * k].iter_mut().zip(factors) {
                *w += a * v;
            }
        };
        for (j, v) in self.row(i) {
            add(j, v);
        }
        if let Some(bias) = self.bias {
            add(self.features, bias);
        }
    }
    fn by_class(&self, w: &[f64], classes: usize) -> Vec<f64> {
        (0..classes)
            .flat_map(|m| w.iter().skip(m).step_by(classes).copied())
            .collect()
    }
    fn add_squares(&self, i: usize, a: f64, out: &mut [f64]) {
        for (j, v) in self.row(i) {
            out[j] += a * v * v;
        }
        if let Some(bias) = self.bias {
            out[self.features] += a * bias * bias;
        }
    }
    fn square(&self, i: usize) -> f64 {
        let sum: f64 = self.row(i).map(|(_, v)| v * v).sum();
        sum + self.bias.map_or(0.0, |b| b * b)
    }
    fn add_gram(&self, control: &Control, rows: &[(u32, f64)], out: &mut [f64]) -> Result<()> {
        let width = self.width();
        // Few slabs: each has a square matrix of its own.
        let work = self.squares / self.rows().max(1) as f64 * rows.len() as f64;
        let most = ((32 << 20) / (8 * width * width).max(1)).clamp(1, 16);
        let slabs = ((work / 2e6) as usize).clamp(1, most);
        if slabs == 1 {
            return self.add_slab(control, rows, out);
        }
        let parts = map_chunks(control, rows.len(), rows.len().div_ceil(slabs), |r| {
            let mut part = vec![0.0; width * width];
            self.add_slab(control, &rows[r], &mut part)?;
            Ok(part)
        })?;
        for part in parts {
            for (o, v) in out.iter_mut().zip(part) {
                *o += v;
            }
        }
        Ok(())
    }
    fn gram_cost(&self) -> f64 {
        // A scattered addition costs several times one of the dense product.
        self.squares * 4.0
    }
    fn columns(&self, control: &Control) -> Result<SparseColumns> {
        let rows = (0..self.rows()).map(|i| self.row(i));
        SparseColumns::new(
            control,
            rows,
            self.data.len(),
            self.rows(),
            self.features,
            self.bias,
        )
    }
    fn tier(&self) -> Tier {
        self.tier
    }
}

impl<T: Element, I: Index> Csr<'_, T, I> {
    fn add_slab(&self, control: &Control, rows: &[(u32, f64)], out: &mut [f64]) -> Result<()> {
        let width = self.width();
        for range in chunks(rows.len(), 256) {
            control.check()?;
            for &(i, weight) in &rows[range] {
                let row = self.row(i as usize);
                for (j, v) in row.clone() {
                    let target = &mut out[j * width..(j + 1) * width];
                    for (l, u) in row.clone().filter(|(l, _)| *l <= j) {
                        target[l] += weight * v * u;
                    }
                }
                if let Some(bias) = self.bias {
                    let target = &mut out[self.features * width..];
                    for (l, u) in row {
                        target[l] += weight * bias * u;
                    }
                    target[self.features] += weight * bias * bias;
                }
            }
        }
        Ok(())
    }
}
