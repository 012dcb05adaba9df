//! Sparse rows.
//!
//! They are not shifted: subtracting a mean would fill them. Squared distances are
//! `|x|^2 - 2 x.c + |c|^2` in double precision for either type of element, so that only the
//! stored elements are visited.

use super::check_weights;
use super::lloyd::{Fit, Settings};
use super::points::Points;
use super::sparse_lloyd::run_sparse;
use super::store::SparseMeans;
use crate::error::{Error, Result, non_finite};
use crate::parallel::{Control, chunks, map_chunks};
use ironlearn_kernels::distance::{
    Places, Real, SparseRow, Turned, sparse_nearest, sparse_norms, sparse_squares, survey,
};
use ironlearn_kernels::tier;
use std::ops::Range;

/// Rows whose distances are computed together: a row of the table of distances to few centres
/// then fills whole cache lines.
pub(super) const WIDTH: usize = 16;

/// Checked compressed rows, their squared lengths, and their weights.
#[derive(Clone, Debug)]
pub struct SparseRows<'a, T> {
    data: &'a [T],
    indices: Places<'a>,
    indptr: Places<'a>,
    features: usize,
    count: usize,
    norms: Vec<f64>,
    weights: Option<&'a [f64]>,
}

fn len(places: Places) -> usize {
    match places {
        Places::Narrow(p) => p.len(),
        Places::Wide(p) => p.len(),
    }
}

/// The number at `i`, or `None` if it is negative.
fn at(places: Places, i: usize) -> Option<usize> {
    match places {
        Places::Narrow(p) => usize::try_from(p[i]).ok(),
        Places::Wide(p) => usize::try_from(p[i]).ok(),
    }
}

fn part(places: Places, range: Range<usize>) -> Places {
    match places {
        Places::Narrow(p) => Places::Narrow(&p[range]),
        Places::Wide(p) => Places::Wide(&p[range]),
    }
}

/// Runs `$body` for each value of a row and its column.
macro_rules! each {
    ($values:expr, $places:expr, |$v:ident, $j:ident| $body:expr) => {
        match $places {
            Places::Narrow(places) => {
                for (&$v, &$j) in $values.iter().zip(places) {
                    let $j = $j as usize;
                    $body
                }
            }
            Places::Wide(places) => {
                for (&$v, &$j) in $values.iter().zip(places) {
                    let $j = $j as usize;
                    $body
                }
            }
        }
    };
}

fn malformed(given: String, expected: String) -> Error {
    Error::Shape {
        name: "X (CSR)",
        given,
        expected,
    }
}

impl<'a, T: Real> SparseRows<'a, T> {
    /// Checks the structure and the elements, which may be in any order and stored in parts,
    /// and measures the rows.
    pub fn new(
        control: &Control,
        data: &'a [T],
        indices: Places<'a>,
        indptr: Places<'a>,
        features: usize,
        weights: Option<&'a [f64]>,
    ) -> Result<Self> {
        let rows = SparseRows::checked(control, data, indices, indptr, features, weights)?;
        let (mut rows, falls) = rows;
        rows.norms = rows.measure(control, falls)?;
        Ok(rows)
    }

    /// Checks as [`SparseRows::new`] does, but does not measure the rows: enough to find nearest
    /// centres.
    pub fn unmeasured(
        control: &Control,
        data: &'a [T],
        indices: Places<'a>,
        indptr: Places<'a>,
        features: usize,
        weights: Option<&'a [f64]>,
    ) -> Result<Self> {
        let rows = SparseRows::checked(control, data, indices, indptr, features, weights)?;
        Ok(rows.0)
    }

    /// Checks as [`SparseRows::new`] does, but measures the rows only if they may store elements
    /// in parts: enough to compare them with a table.
    pub fn half_measured(
        control: &Control,
        data: &'a [T],
        indices: Places<'a>,
        indptr: Places<'a>,
        features: usize,
        weights: Option<&'a [f64]>,
    ) -> Result<Self> {
        let rows = SparseRows::checked(control, data, indices, indptr, features, weights)?;
        let (mut rows, falls) = rows;
        if falls {
            rows.norms = rows.measure(control, true)?;
        }
        Ok(rows)
    }

    /// Checked rows without lengths, and whether columns fall somewhere in a row.
    fn checked(
        control: &Control,
        data: &'a [T],
        indices: Places<'a>,
        indptr: Places<'a>,
        features: usize,
        weights: Option<&'a [f64]>,
    ) -> Result<(Self, bool)> {
        let stored = data.len().min(len(indices));
        let count = len(indptr).saturating_sub(1);
        if count == 0 || features == 0 {
            return Err(malformed(
                format!("{count} rows of {features} features"),
                "at least one of each".into(),
            ));
        }
        if count > u32::MAX as usize {
            return Err(Error::TooLarge {
                what: "the number of rows",
                given: count.to_string(),
                limit: u32::MAX.to_string(),
            });
        }
        let mut last = 0;
        for i in 0..=count {
            match at(indptr, i) {
                Some(start) if start >= last && start <= stored && (i > 0 || start == 0) => {
                    last = start;
                }
                _ => {
                    return Err(malformed(
                        format!("a wrong indptr at place {i}"),
                        format!("numbers that rise from 0 to at most {stored}"),
                    ));
                }
            }
        }
        check_weights(weights, count)?;
        let rows = SparseRows {
            data,
            indices,
            indptr,
            features,
            count,
            norms: Vec::new(),
            weights,
        };
        let falls = map_chunks(control, count, 1 << 13, |range| rows.check(range))?;
        Ok((rows, falls.contains(&true)))
    }

    fn row(&self, i: usize) -> (&'a [T], Places<'a>) {
        // The row starts were checked: none is negative.
        let start = at(self.indptr, i).unwrap_or(0);
        let end = at(self.indptr, i + 1).unwrap_or(start);
        (&self.data[start..end], part(self.indices, start..end))
    }

    /// The elements of some rows.
    fn span(&self, rows: &Range<usize>) -> Range<usize> {
        let start = |i: usize| at(self.indptr, i).unwrap_or(0);
        start(rows.start)..start(rows.end)
    }

    /// An error for the first element of some rows that is not finite or in no column; else
    /// whether columns fall somewhere in a row.
    fn check(&self, rows: Range<usize>) -> Result<bool> {
        let span = self.span(&rows);
        let places = part(self.indices, span.clone());
        let found = survey(tier::active(), &self.data[span.clone()], places);
        if (found.top >= self.features || !found.finite)
            && let Some(bad) = rows.clone().find_map(|i| self.fault(i))
        {
            return Err(bad);
        }
        // From one row to the next, columns may fall.
        let mut falls = found.falls;
        for i in rows.start + 1..rows.end {
            let (before, border) = (self.span(&(i - 1..i)).start, self.span(&(i..i)).start);
            if before < border && border < span.end {
                let (last, next) = (border - 1 - span.start, border - span.start);
                falls -= usize::from(at(places, last) >= at(places, next));
            }
        }
        Ok(falls > 0)
    }

    /// The squared lengths of all rows.
    fn measure(&self, control: &Control, falls: bool) -> Result<Vec<f64>> {
        let tier = tier::active();
        let parts = map_chunks(control, self.count, 1 << 13, |rows| {
            let mut norms = vec![0.0; rows.len()];
            for (numbers, norms) in chunks(rows.len(), WIDTH).zip(norms.chunks_mut(WIDTH)) {
                let (some, count) = self.some(numbers.map(|p| rows.start + p));
                sparse_norms(tier, &some[..count], norms);
            }
            if falls {
                self.join_parts(rows, &mut norms);
            }
            Ok(norms)
        })?;
        Ok(parts.concat())
    }

    /// Corrects the squared lengths of rows that store elements in parts.
    fn join_parts(&self, range: Range<usize>, norms: &mut [f64]) {
        // The row that last had an element in each column.
        let mut seen = vec![u32::MAX; self.features];
        for (i, norm) in range.zip(norms) {
            let (values, places) = self.row(i);
            let mut twice = false;
            each!(values, places, |_v, j| {
                twice |= seen[j] == i as u32;
                seen[j] = i as u32;
            });
            if !twice {
                continue;
            }
            let mut elements = Vec::with_capacity(values.len());
            each!(values, places, |v, j| elements.push((j, v.into())));
            elements.sort_by_key(|element: &(usize, f64)| element.0);
            let parts = elements.chunk_by(|a, b| a.0 == b.0);
            let whole = parts.map(|parts| parts.iter().map(|part| part.1).sum::<f64>());
            *norm = whole.map(|v| v * v).sum();
        }
    }

    /// What is wrong with row `i`, if anything.
    fn fault(&self, i: usize) -> Option<Error> {
        let (values, places) = self.row(i);
        for k in 0..values.len() {
            let given = match at(places, k) {
                Some(column) if column < self.features => continue,
                Some(column) => format!("the column index {column} in row {i}"),
                None => format!("a negative column index in row {i}"),
            };
            return Some(malformed(
                given,
                format!("indices from 0 to below n_features = {}", self.features),
            ));
        }
        let bad: f64 = (*values.iter().find(|v| !v.finite())?).into();
        Some(non_finite("X", bad.is_nan()))
    }

    /// The mean over columns of their variances, zeros that are not stored included.
    pub fn variance(&self, control: &Control) -> Result<f64> {
        let n = self.count as f64;
        let (mut sums, mut stored) = (vec![0.0; self.features], vec![0u32; self.features]);
        for i in 0..self.count {
            let (values, places) = self.row(i);
            each!(values, places, |v, j| {
                let v: f64 = v.into();
                sums[j] += v;
                stored[j] += 1;
            });
        }
        control.check()?;
        let mut total = 0.0;
        for (sum, &stored) in sums.iter_mut().zip(&stored) {
            *sum /= n;
            total += (n - f64::from(stored)).max(0.0) * *sum * *sum;
        }
        let parts = map_chunks(control, self.count, 1 << 13, |range| {
            let mut part = 0.0;
            for i in range {
                let (values, places) = self.row(i);
                each!(values, places, |v, j| {
                    let v: f64 = v.into();
                    part += (v - sums[j]) * (v - sums[j]);
                });
            }
            Ok(part)
        })?;
        total += parts.iter().sum::<f64>();
        Ok(total / n / self.features as f64)
    }

    /// Up to [`WIDTH`] rows side by side.
    fn some(&self, numbers: impl Iterator<Item = usize>) -> ([SparseRow<'a, T>; WIDTH], usize) {
        let none = SparseRow {
            values: &[][..],
            places: Places::Narrow(&[]),
        };
        let (mut rows, mut count) = ([none; WIDTH], 0);
        for (row, i) in rows.iter_mut().zip(numbers) {
            (row.values, row.places) = self.row(i);
            count += 1;
        }
        (rows, count)
    }

    /// The nearest centres of up to [`WIDTH`] rows.
    pub(super) fn nearest_to(
        &self,
        numbers: impl Iterator<Item = usize>,
        table: &Turned,
        mut take: impl FnMut(usize, u32),
    ) {
        let (rows, count) = self.some(numbers);
        let mut found = [(0.0, 0); WIDTH];
        sparse_nearest(tier::active(), &rows[..count], table, &mut found);
        for (p, &(_, name)) in found[..count].iter().enumerate() {
            take(p, name);
        }
    }

    /// Squared distances from up to [`WIDTH`] rows to all centres, row after row, each with as
    /// many elements as the table's width.
    pub(super) fn squares_to(
        &self,
        numbers: impl Iterator<Item = usize> + Clone,
        table: &Turned,
        out: &mut Vec<f64>,
    ) {
        let (rows, count) = self.some(numbers.clone());
        let mut norms = [0.0; WIDTH];
        let measured = !self.norms.is_empty();
        for (norm, i) in norms.iter_mut().zip(numbers).filter(|_| measured) {
            *norm = self.norms[i];
        }
        let norms = measured.then_some(&norms[..]);
        out.resize(count * table.width(), 0.0);
        sparse_squares(tier::active(), &rows[..count], norms, table, out);
    }

    /// The squared length of row `i`.
    pub(super) fn norm(&self, i: usize) -> f64 {
        self.norms[i]
    }

    /// Adds `weight` times row `i` to column `c` of a table. Returns the products of the added
    /// row with twice the column before and itself: by how much the column's square grew.
    pub(super) fn add_to_column(&self, i: usize, weight: f64, table: &mut Turned, c: usize) -> f64 {
        let (values, places) = self.row(i);
        let width = table.width();
        let (data, mut grown) = (table.data_mut(), 0.0);
        each!(values, places, |v, j| {
            let v: f64 = v.into();
            let (s, step) = (&mut data[j * width + c], weight * v);
            grown += step * (*s + *s + step);
            *s += step;
        });
        grown
    }

    /// The product of row `i` with column `c` of a table.
    pub(super) fn column_product(&self, i: usize, table: &Turned, c: usize) -> f64 {
        let (values, places) = self.row(i);
        let (data, width) = (table.data(), table.width());
        let mut sum = 0.0;
        each!(values, places, |v, j| {
            let v: f64 = v.into();
            sum += v * data[j * width + c];
        });
        sum
    }

    /// The product of row `i` with a vector.
    pub(super) fn product(&self, i: usize, with: &[f64]) -> f64 {
        let (values, places) = self.row(i);
        let mut sum = 0.0;
        each!(values, places, |v, j| {
            let v: f64 = v.into();
            sum += v * with[j];
        });
        sum
    }
}

/// Halves of the squared lengths of centres.
pub(super) fn halves<T: Real>(centres: &[T], features: usize) -> Vec<f64> {
    let half = |c: &[T]| 0.5 * square_length(c);
    centres.chunks_exact(features).map(half).collect()
}

fn square_length<T: Real>(c: &[T]) -> f64 {
    // Eight sums, so that an addition need not wait for the one before.
    let mut sums = [0.0; 8];
    for part in c.chunks(8) {
        for (sum, &v) in sums.iter_mut().zip(part) {
            let v: f64 = v.into();
            *sum += v * v;
        }
    }
    sums.iter().sum()
}

impl<T: Real> Points<T> for SparseRows<'_, T> {
    type Table = Turned;
    type Desk = Vec<f64>;
    type Store = SparseMeans;

    fn count(&self) -> usize {
        self.count
    }
    fn features(&self) -> usize {
        self.features
    }
    fn weights(&self) -> Option<&[f64]> {
        self.weights
    }
    fn row_cost(&self) -> usize {
        self.data.len() / self.count + 1
    }
    fn table(&self, centres: &[T]) -> Turned {
        let halves = halves(centres, self.features);
        Turned::new(tier::active(), centres, self.features, halves)
    }
    fn table_of(&self, chosen: &[usize]) -> Turned {
        // The rows' own lengths, so that the distance of a row to itself is zero.
        let halves = chosen.iter().map(|&i| 0.5 * self.norms[i]).collect();
        let mut table = Turned::zeros(tier::active(), self.features, halves);
        for (c, &i) in chosen.iter().enumerate() {
            self.add_to_column(i, 1.0, &mut table, c);
        }
        table
    }
    fn desk(&self) -> Vec<f64> {
        Vec::new()
    }
    fn width(&self, _: &Vec<f64>) -> usize {
        WIDTH
    }
    fn nearest(&self, _: &mut Vec<f64>, table: &Turned, numbers: &[u32], labels: &mut [u32]) {
        let rows = numbers.iter().map(|&i| i as usize);
        self.nearest_to(rows, table, |p, name| labels[p] = name);
    }
    fn squares(
        &self,
        desk: &mut Vec<f64>,
        table: &Turned,
        numbers: &[u32],
        out: &mut [T],
    ) -> usize {
        self.squares_to(numbers.iter().map(|&i| i as usize), table, desk);
        for (p, line) in desk.chunks_exact(table.width()).enumerate() {
            for c in 0..table.len() {
                out[c * WIDTH + p] = T::from_f64(line[c]);
            }
        }
        WIDTH
    }
    fn lengths(&self, centres: &[T]) -> Vec<f64> {
        let lengths = centres.chunks_exact(self.features).map(square_length);
        lengths.collect()
    }
    fn square(&self, i: usize, centre: &[T], length: f64) -> f64 {
        let (values, places) = self.row(i);
        let mut product = 0.0;
        each!(values, places, |v, j| {
            let (v, c): (f64, f64) = (v.into(), centre[j].into());
            product += v * c;
        });
        (length + self.norms[i] - 2.0 * product).max(0.0)
    }
    fn add(&self, i: usize, weight: f64, sum: &mut [f64]) {
        let (values, places) = self.row(i);
        each!(values, places, |v, j| {
            let v: f64 = v.into();
            sum[j] += weight * v;
        });
    }
    fn lloyd(&self, control: &Control, centres: &[T], settings: Settings) -> Result<Fit<T>> {
        run_sparse(control, self, centres, settings)
    }
    fn append(&self, i: usize, out: &mut Vec<T>) {
        let start = out.len();
        out.resize(start + self.features, T::default());
        let (values, places) = self.row(i);
        each!(values, places, |v, j| out[start + j] = out[start + j] + v);
    }
}
