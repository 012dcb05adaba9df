//! Fitted centres: immutable, checked, ready to predict.

use super::assign::{Scratch, panels};
use super::points::Points;
use super::sparse::{SparseRows, WIDTH, halves};
use crate::error::{Error, Result, non_finite};
use crate::parallel::{Control, chunks, fill_chunks, map_chunks};
use ironlearn_kernels::distance::{
    MOST_CENTRES, Packed, Real, Turned, dots, lanes, pack, pack_centres, pair,
};
use ironlearn_kernels::tier::{self, Tier};
use std::sync::OnceLock;

/// Up to so many rows are compared with centres that are turned beforehand.
const FEW: usize = 8;

/// Centres, and an offset that is subtracted from every row before it is compared.
#[derive(Clone, Debug)]
pub struct KMeansModel<T> {
    features: usize,
    centres: Vec<T>,
    offset: Vec<T>,
    tier: Tier,
    // Each form is made when rows of its kind first come.
    dense: OnceLock<Dense<T>>,
    sparse: OnceLock<Sparse<T>>,
}

/// Centres as dense rows are compared with them.
#[derive(Clone, Debug)]
struct Dense<T> {
    packed: Packed<T>,
    /// Panels of turned centres.
    turned: Vec<T>,
    width: usize,
}

/// Centres as sparse rows are compared with them, offset included.
#[derive(Clone, Debug)]
struct Sparse<T> {
    centres: Vec<T>,
    turned: Turned,
}

impl<T: Real> Dense<T> {
    fn new(tier: Tier, centres: &[T], features: usize) -> Dense<T> {
        let names: Vec<u32> = (0..(centres.len() / features) as u32).collect();
        let width = 2 * lanes::<T>(tier);
        let zeros = vec![T::default(); features];
        let mut turned = vec![T::default(); names.len().div_ceil(width) * width * features];
        for (group, panel) in names.chunks(width).zip(turned.chunks_mut(width * features)) {
            // A group that fills half a panel is repeated, so that all panels are wide.
            let mut group = group.to_vec();
            group.resize(width, group[0]);
            pack(tier, centres, &group, &zeros, panel);
        }
        Dense {
            packed: pack_centres(tier, centres, features, &names),
            turned,
            width,
        }
    }
}

impl<T: Real> KMeansModel<T> {
    /// Checks the arrays and packs them. `centres` are less the offset.
    pub fn new(centres: Vec<T>, offset: Vec<T>) -> Result<Self> {
        let features = offset.len();
        let k = centres.len().checked_div(features).unwrap_or(0);
        if k == 0 || k >= MOST_CENTRES || centres.len() != k * features {
            return Err(Error::Shape {
                name: "centres",
                given: format!("{} elements", centres.len()),
                expected: format!("1 to {MOST_CENTRES} centres of {features} features"),
            });
        }
        if !centres.iter().chain(&offset).all(|v| v.finite()) {
            return Err(Error::NonFinite {
                name: "centres",
                what: "NaN or infinity",
            });
        }
        Ok(KMeansModel {
            features,
            centres,
            offset,
            tier: tier::active(),
            dense: OnceLock::new(),
            sparse: OnceLock::new(),
        })
    }

    fn dense(&self) -> &Dense<T> {
        let make = || Dense::new(self.tier, &self.centres, self.features);
        self.dense.get_or_init(make)
    }

    fn sparse(&self) -> &Sparse<T> {
        self.sparse.get_or_init(|| {
            let d = self.features;
            let shifted = self.centres.iter().zip(self.offset.iter().cycle());
            let centres: Vec<T> = shifted.map(|(&c, &o)| c + o).collect();
            let halves = halves(&centres, d);
            Sparse {
                turned: Turned::new(self.tier, &centres, d, halves),
                centres,
            }
        })
    }

    /// Number of centres.
    pub fn clusters(&self) -> usize {
        self.centres.len() / self.features
    }
    /// Number of features.
    pub fn features(&self) -> usize {
        self.features
    }
    /// The centres less the offset.
    pub fn centres(&self) -> &[T] {
        &self.centres
    }
    /// What is subtracted from every row.
    pub fn offset(&self) -> &[T] {
        &self.offset
    }

    fn check(&self, x: &[T]) -> Result<usize> {
        if x.len().is_multiple_of(self.features) {
            Ok(x.len() / self.features)
        } else {
            Err(Error::Shape {
                name: "X",
                given: format!("{} elements", x.len()),
                expected: format!("rows of {} features", self.features),
            })
        }
    }

    fn chunk(&self) -> usize {
        ((1 << 17) / self.features).clamp(64, 4096) / 64 * 64
    }

    /// The nearest centre of each row, the first among equals.
    pub fn predict(&self, control: &Control, x: &[T]) -> Result<Vec<i32>> {
        let rows = self.check(x)?;
        let dense = self.dense();
        let mut out = vec![0; rows];
        if rows <= FEW {
            let mut shifted = vec![T::default(); self.features];
            for (label, row) in out.iter_mut().zip(x.chunks_exact(self.features)) {
                *label = self.predict_row(row, &mut shifted)?;
            }
            return Ok(out);
        }
        fill_chunks(control, &mut out, 1, self.chunk(), |range, labels| {
            let mut scratch = Scratch::new(self.features);
            let start = range.start;
            for (first, numbers) in panels(range.start, range.end, scratch.width) {
                control.check()?;
                scratch.load(x, &numbers, &self.offset);
                scratch.nearest(&dense.packed, false);
                let labels = &mut labels[first - start..][..numbers.len()];
                for (p, label) in labels.iter_mut().enumerate() {
                    *label = scratch.name[p].to_name() as i32;
                    if !scratch.best[p].finite() {
                        self.check_row(x, first + p)?;
                    }
                }
            }
            Ok(())
        })?;
        Ok(out)
    }

    fn predict_row(&self, row: &[T], shifted: &mut [T]) -> Result<i32> {
        for ((s, &x), &o) in shifted.iter_mut().zip(row).zip(&self.offset) {
            *s = x - o;
        }
        let dense = self.dense();
        let mut products = [T::default(); 2 * ironlearn_kernels::distance::MOST_LANES];
        let (mut best, mut label) = (T::INFINITY, 0);
        let (width, halves) = (dense.width, dense.packed.half_norms());
        let panels = dense.turned.chunks_exact(width * self.features);
        for (i, (panel, half)) in panels.zip(halves.chunks(width)).enumerate() {
            dots(self.tier, panel, true, shifted, &mut products);
            for (p, (&half, &product)) in half.iter().zip(&products).enumerate() {
                let score = half - product;
                if score < best {
                    (best, label) = (score, i * width + p);
                }
            }
        }
        if !best.finite() {
            self.check_row(row, 0)?;
        }
        Ok(label as i32)
    }

    fn check_row(&self, x: &[T], row: usize) -> Result<()> {
        let row = &x[row * self.features..(row + 1) * self.features];
        match row.iter().find(|v| !v.finite()) {
            Some(&bad) => {
                let bad: f64 = bad.into();
                Err(non_finite("X", bad.is_nan()))
            }
            None => Ok(()),
        }
    }

    /// Distances from each row to each centre, `rows x clusters`.
    pub fn transform(&self, control: &Control, x: &[T]) -> Result<Vec<T>> {
        let rows = self.check(x)?;
        let (k, dense) = (self.clusters(), self.dense());
        let mut out = vec![T::default(); rows * k];
        fill_chunks(control, &mut out, k, self.chunk(), |range, part| {
            let mut scratch = Scratch::new(self.features);
            let mut squares = vec![T::default(); k * scratch.width];
            let start = range.start;
            for (first, numbers) in panels(range.start, range.end, scratch.width) {
                control.check()?;
                let stride = scratch.load(x, &numbers, &self.offset);
                scratch.squares(&dense.packed, &mut squares);
                for p in 0..numbers.len() {
                    let line = &mut part[(first - start + p) * k..][..k];
                    for (c, out) in line.iter_mut().enumerate() {
                        let square: f64 = squares[c * stride + p].into();
                        *out = T::from_f64(square.sqrt());
                    }
                    if !line[0].finite() {
                        self.check_row(x, first + p)?;
                    }
                }
            }
            Ok(())
        })?;
        Ok(out)
    }

    /// The nearest centre of each row, and the weighted sum of squared distances to them.
    pub fn assign(
        &self,
        control: &Control,
        x: &[T],
        weights: Option<&[f64]>,
    ) -> Result<(Vec<i32>, f64)> {
        let labels = self.predict(control, x)?;
        let d = self.features;
        let parts = map_chunks(control, labels.len(), self.chunk(), |range| {
            let mut sum = 0.0;
            for i in range {
                let c = labels[i] as usize;
                let near = pair(
                    self.tier,
                    &x[i * d..(i + 1) * d],
                    &self.offset,
                    &self.centres[c * d..(c + 1) * d],
                );
                sum += weights.map_or(1.0, |w| w[i]) * near.into();
            }
            Ok(sum)
        })?;
        Ok((labels, parts.iter().sum()))
    }

    fn check_sparse(&self, rows: &SparseRows<T>) -> Result<usize> {
        if rows.features() == self.features {
            Ok((1 << 17) / rows.row_cost() + 64)
        } else {
            Err(Error::Shape {
                name: "X",
                given: format!("{} features", rows.features()),
                expected: format!("{}", self.features),
            })
        }
    }

    /// The nearest centre of each sparse row, the first among equals.
    pub fn predict_sparse(&self, control: &Control, rows: &SparseRows<T>) -> Result<Vec<i32>> {
        let (chunk, table) = (self.check_sparse(rows)?, &self.sparse().turned);
        let mut out = vec![0; rows.count()];
        fill_chunks(control, &mut out, 1, chunk, |range, labels| {
            for (some, labels) in chunks(range.len(), WIDTH).zip(labels.chunks_mut(WIDTH)) {
                control.check()?;
                let some = some.map(|p| range.start + p);
                rows.nearest_to(some, table, |p, name| labels[p] = name as i32);
            }
            Ok(())
        })?;
        Ok(out)
    }

    /// Distances from each sparse row to each centre, `rows x clusters`.
    pub fn transform_sparse(&self, control: &Control, rows: &SparseRows<T>) -> Result<Vec<T>> {
        let (chunk, table) = (self.check_sparse(rows)?, &self.sparse().turned);
        let k = self.clusters();
        let mut out = vec![T::default(); rows.count() * k];
        fill_chunks(control, &mut out, k, chunk, |range, part| {
            let mut squares = Vec::new();
            for (some, part) in chunks(range.len(), WIDTH).zip(part.chunks_mut(WIDTH * k)) {
                control.check()?;
                rows.squares_to(some.map(|p| range.start + p), table, &mut squares);
                // All at once, as many registers hold.
                for square in &mut squares {
                    *square = square.sqrt();
                }
                let lines = squares.chunks_exact(table.width());
                for (line, roots) in part.chunks_exact_mut(k).zip(lines) {
                    for (out, &root) in line.iter_mut().zip(roots) {
                        *out = T::from_f64(root);
                    }
                }
            }
            Ok(())
        })?;
        Ok(out)
    }

    /// The nearest centre of each sparse row, and the weighted sum of squared distances.
    pub fn assign_sparse(
        &self,
        control: &Control,
        rows: &SparseRows<T>,
    ) -> Result<(Vec<i32>, f64)> {
        let labels = self.predict_sparse(control, rows)?;
        let (d, centres) = (self.features, &self.sparse().centres);
        let lengths = rows.lengths(centres);
        let parts = map_chunks(control, labels.len(), self.check_sparse(rows)?, |range| {
            let sum = range.map(|i| {
                let c = labels[i] as usize;
                rows.weight(i) * rows.square(i, &centres[c * d..(c + 1) * d], lengths[c])
            });
            Ok(sum.sum::<f64>())
        })?;
        Ok((labels, parts.iter().sum()))
    }
}
