//! Blocks of kernel values by tiled products.

use super::points::{DEPTH, Points, check_finite};
use crate::error::{Error, Result};
use crate::parallel::{Control, each_mut};
use ironlearn_kernels::kernel_rows::{SPREAD, gather, gaussian, spread};
use ironlearn_kernels::linear::{LEFT, RIGHT, panel_product};
use ironlearn_kernels::tier;
use std::ops::Range;

/// Rows that one task computes.
pub(super) const TASK: usize = 128;
/// Multiply-adds of one task, about: between two looks at the cancel flag.
const WORK: usize = 1 << 27;
/// Columns whose partial sums are kept at a time.
const COLUMNS: usize = 4 * RIGHT;

/// Which kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `x'y`
    Linear,
    /// `(gamma x'y + coef0)^degree`
    Poly,
    /// `exp(-gamma |x - y|^2)`
    Rbf,
    /// `tanh(gamma x'y + coef0)`
    Sigmoid,
    /// Values that the caller computed.
    Precomputed,
}

/// A kernel with its parameters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Kernel {
    /// Which one.
    pub kind: Kind,
    /// Factor of the products or distances.
    pub gamma: f64,
    /// Constant of "poly" and "sigmoid".
    pub coef0: f64,
    /// Power of "poly".
    pub degree: u32,
}

impl Kernel {
    /// The kernel of that name, its parameters checked.
    pub fn new(name: &str, gamma: f64, coef0: f64, degree: u32) -> Result<Self> {
        let kind = match name {
            "linear" => Kind::Linear,
            "poly" => Kind::Poly,
            "rbf" => Kind::Rbf,
            "sigmoid" => Kind::Sigmoid,
            "precomputed" => Kind::Precomputed,
            _ => {
                return Err(Error::InvalidParameter {
                    name: "kernel",
                    given: format!("{name:?}"),
                    expected: "'linear', 'poly', 'rbf', 'sigmoid' or 'precomputed'".into(),
                });
            }
        };
        for (name, value, least) in [("gamma", gamma, 0.0), ("coef0", coef0, f64::MIN)] {
            if !(value.is_finite() && value >= least) {
                return Err(Error::InvalidParameter {
                    name,
                    given: value.to_string(),
                    expected: if least == 0.0 {
                        "a finite number of at least 0"
                    } else {
                        "a finite number"
                    }
                    .into(),
                });
            }
        }
        Ok(Kernel {
            kind,
            gamma,
            coef0,
            degree,
        })
    }

    /// Turns products of a row with others into kernel values.
    pub(super) fn apply(&self, products: &mut [f64], square: f64, squares: &[f64]) {
        match self.kind {
            Kind::Linear | Kind::Precomputed => {}
            Kind::Rbf => gaussian(tier::active(), products, square, squares, self.gamma),
            Kind::Sigmoid => {
                for p in products {
                    *p = (self.gamma * *p + self.coef0).tanh();
                }
            }
            Kind::Poly => {
                for p in products {
                    *p = power(self.gamma * *p + self.coef0, self.degree);
                }
            }
        }
    }
}

/// Repeated squaring in LIBSVM's order.
fn power(base: f64, mut times: u32) -> f64 {
    let (mut factor, mut answer) = (base, 1.0);
    while times > 0 {
        if times % 2 == 1 {
            answer *= factor;
        }
        factor *= factor;
        times /= 2;
    }
    answer
}

/// Elements in which kernel values are kept.
pub(super) trait Store: Copy + Send + Sync + Default {
    fn store(value: f64) -> Self;
}

impl Store for f32 {
    fn store(value: f64) -> Self {
        value as f32
    }
}

impl Store for f64 {
    fn store(value: f64) -> Self {
        value
    }
}

/// Columns that one task computes for [`TASK`] rows of `width` features.
fn task_columns(width: usize) -> usize {
    let most = (WORK / TASK / width.max(1)).clamp(4 * COLUMNS, 4096);
    most / COLUMNS * COLUMNS
}

/// Rows, columns and the place for their values.
type Task<'a, O> = (Range<usize>, Range<usize>, Vec<&'a mut [O]>);

/// Kernel values of the rows `rows` of `left` with the rows `columns` of `right`, one slice of
/// `out` for each row. The bits do not depend on what else is in the block.
pub(super) fn block<O: Store>(
    control: &Control,
    kernel: &Kernel,
    (left, rows): (&Points, &[u32]),
    (right, columns): (&Points, &[u32]),
    out: &mut [&mut [O]],
) -> Result<()> {
    debug_assert_eq!(left.width, right.width);
    debug_assert_eq!(out.len(), rows.len());
    let sparse = left.csr().is_some() || right.csr().is_some();
    let step = task_columns(if sparse { 256 } else { left.width });
    let mut tasks: Vec<Task<O>> = Vec::new();
    for (number, group) in out.chunks_mut(TASK).enumerate() {
        let range = number * TASK..number * TASK + group.len();
        let first = tasks.len();
        for start in (0..columns.len()).step_by(step) {
            let part = start..(start + step).min(columns.len());
            tasks.push((range.clone(), part, Vec::with_capacity(group.len())));
        }
        for row in group {
            for (task, part) in tasks[first..].iter_mut().zip(row.chunks_mut(step)) {
                task.2.push(part);
            }
        }
    }
    each_mut(control, &mut tasks, |(range, part, out)| {
        let (rows, columns) = (&rows[range.clone()], &columns[part.clone()]);
        if !sparse {
            dense(kernel, (left, rows), (right, columns), out);
        } else if right.csr().is_some() {
            sparse_columns(kernel, (left, rows), (right, columns), out);
        } else {
            sparse_rows(kernel, (left, rows), (right, columns), out);
        }
        Ok(())
    })?;
    Ok(())
}

fn dense<O: Store>(
    kernel: &Kernel,
    (left, rows): (&Points, &[u32]),
    (right, columns): (&Points, &[u32]),
    out: &mut [&mut [O]],
) {
    let (tier, width) = (tier::active(), left.width);
    let panels = rows.len().div_ceil(LEFT);
    let mut packed = vec![0.0; panels * LEFT * width];
    for start in (0..width).step_by(DEPTH) {
        let depth = start..(start + DEPTH).min(width);
        let at = start * panels * LEFT;
        for (r, &i) in rows.iter().enumerate() {
            let from = at + r / LEFT * LEFT * depth.len() + r % LEFT;
            let to = at + (r / LEFT + 1) * LEFT * depth.len();
            left.scatter(i as usize, depth.clone(), LEFT, &mut packed[from..to]);
        }
    }
    let mut other = vec![0.0; COLUMNS * DEPTH.min(width)];
    let mut sums = vec![0.0; panels * LEFT * COLUMNS];
    let mut tile = [0.0; LEFT * RIGHT];
    let mut squares = Vec::with_capacity(COLUMNS);
    for (number, part) in columns.chunks(COLUMNS).enumerate() {
        sums.fill(0.0);
        for start in (0..width).step_by(DEPTH) {
            let depth = start..(start + DEPTH).min(width);
            let steps = depth.len();
            for (c, &j) in part.iter().enumerate() {
                let from = c / RIGHT * RIGHT * steps + c % RIGHT;
                let to = (c / RIGHT + 1) * RIGHT * steps;
                right.scatter(j as usize, depth.clone(), RIGHT, &mut other[from..to]);
            }
            for p in 0..part.len().div_ceil(RIGHT) {
                let b = &other[p * RIGHT * steps..(p + 1) * RIGHT * steps];
                for l in 0..panels {
                    let at = (start * panels + l * steps) * LEFT;
                    panel_product(tier, &packed[at..at + LEFT * steps], b, &mut tile);
                    for r in 0..LEFT {
                        let at = (l * LEFT + r) * COLUMNS + p * RIGHT;
                        for (s, &t) in sums[at..at + RIGHT].iter_mut().zip(&tile[r * RIGHT..]) {
                            *s += t;
                        }
                    }
                }
            }
        }
        squares.clear();
        squares.extend(part.iter().map(|&j| right.squares[j as usize]));
        for (r, &i) in rows.iter().enumerate() {
            let values = &mut sums[r * COLUMNS..r * COLUMNS + part.len()];
            kernel.apply(values, left.squares[i as usize], &squares);
            for (o, &v) in out[r][number * COLUMNS..].iter_mut().zip(values.iter()) {
                *o = O::store(v);
            }
        }
    }
}

/// Dense rows ready to be compared with single others.
pub(super) struct Packed {
    panels: Vec<f64>,
    squares: Vec<f64>,
}

impl Packed {
    pub fn new(points: &Points, rows: &[u32]) -> Self {
        let (width, count) = (points.width, rows.len().div_ceil(RIGHT));
        let mut panels = vec![0.0; count * RIGHT * width];
        for start in (0..width).step_by(DEPTH) {
            let depth = start..(start + DEPTH).min(width);
            let steps = depth.len();
            let part = &mut panels[start * count * RIGHT..];
            for (c, &j) in rows.iter().enumerate() {
                let from = c / RIGHT * RIGHT * steps + c % RIGHT;
                let to = (c / RIGHT + 1) * RIGHT * steps;
                points.scatter(j as usize, depth.clone(), RIGHT, &mut part[from..to]);
            }
        }
        let squares = rows.iter().map(|&j| points.squares[j as usize]).collect();
        Packed { panels, squares }
    }

    /// Bytes of [`Packed::new`] for `rows` rows.
    pub fn bytes(rows: usize, width: usize) -> usize {
        rows.next_multiple_of(RIGHT)
            .saturating_mul(width)
            .saturating_mul(8)
    }

    /// Kernel values of row `i` of `left` with all rows, the same bits as from [`block`].
    pub fn row<O: Store>(&self, kernel: &Kernel, left: &Points, i: usize, out: &mut [O]) {
        let (tier, width) = (tier::active(), left.width);
        let count = self.squares.len().div_ceil(RIGHT);
        let mut own = vec![0.0; LEFT * width];
        left.scatter(i, 0..width, LEFT, &mut own);
        let mut tile = [0.0; LEFT * RIGHT];
        let mut values = vec![0.0; count * RIGHT];
        for start in (0..width).step_by(DEPTH) {
            let steps = (width - start).min(DEPTH);
            let own = &own[start * LEFT..(start + steps) * LEFT];
            let part = &self.panels[start * count * RIGHT..(start + steps) * count * RIGHT];
            for (panel, values) in
                (part.chunks_exact(steps * RIGHT)).zip(values.chunks_exact_mut(RIGHT))
            {
                panel_product(tier, own, panel, &mut tile);
                for (v, &t) in values.iter_mut().zip(&tile) {
                    *v += t;
                }
            }
        }
        values.truncate(self.squares.len());
        kernel.apply(&mut values, left.squares[i], &self.squares);
        for (o, &v) in out.iter_mut().zip(&values) {
            *o = O::store(v);
        }
    }
}

/// The dense copy of up to [`SPREAD`] rows, feature by feature.
struct Spread {
    block: Vec<f64>,
}

impl Spread {
    fn new(width: usize) -> Self {
        Spread {
            block: vec![0.0; width * SPREAD],
        }
    }

    fn fill(&mut self, points: &Points, rows: &[u32]) {
        for (lane, &i) in rows.iter().enumerate() {
            points.scatter(i as usize, 0..points.width, SPREAD, &mut self.block[lane..]);
        }
    }

    /// Undoes [`Spread::fill`]: of sparse rows only the elements, since the block is wide.
    fn clear(&mut self, points: &Points, rows: &[u32]) {
        let Some(csr) = points.csr() else {
            return self.block.fill(0.0);
        };
        for (lane, &i) in rows.iter().enumerate() {
            for &k in csr.row(i as usize).1 {
                self.block[k as usize * SPREAD + lane] = 0.0;
            }
        }
    }
}

fn sparse_columns<O: Store>(
    kernel: &Kernel,
    (left, rows): (&Points, &[u32]),
    (right, columns): (&Points, &[u32]),
    out: &mut [&mut [O]],
) {
    let Some(csr) = right.csr() else { return };
    let tier = tier::active();
    if let [i] = *rows {
        return sparse_row(kernel, (left, i as usize), (right, columns), out[0]);
    }
    let mut dense = Spread::new(left.width);
    let mut sums = [0.0; SPREAD];
    let squares: Vec<f64> = columns.iter().map(|&j| right.squares[j as usize]).collect();
    let mut values = vec![0.0; SPREAD * columns.len()];
    for (number, group) in rows.chunks(SPREAD).enumerate() {
        dense.fill(left, group);
        for (c, &j) in columns.iter().enumerate() {
            let (data, indices) = csr.row(j as usize);
            spread(tier, data, indices, &dense.block, &mut sums);
            for (lane, &sum) in sums.iter().enumerate().take(group.len()) {
                values[lane * columns.len() + c] = sum;
            }
        }
        for (lane, (&i, values)) in (group.iter())
            .zip(values.chunks_exact_mut(columns.len()))
            .enumerate()
        {
            kernel.apply(values, left.squares[i as usize], &squares);
            let out = out[number * SPREAD + lane].iter_mut();
            for (o, &v) in out.zip(values.iter()) {
                *o = O::store(v);
            }
        }
        dense.clear(left, group);
    }
}

/// [`sparse_columns`] for one row, which needs no lanes.
fn sparse_row<O: Store>(
    kernel: &Kernel,
    (left, i): (&Points, usize),
    (right, columns): (&Points, &[u32]),
    out: &mut [O],
) {
    let Some(csr) = right.csr() else { return };
    let tier = tier::active();
    let mut dense = vec![0.0; left.width];
    left.scatter(i, 0..left.width, 1, &mut dense);
    let squares: Vec<f64> = columns.iter().map(|&j| right.squares[j as usize]).collect();
    let mut values: Vec<f64> = (columns.iter())
        .map(|&j| {
            let (data, indices) = csr.row(j as usize);
            gather(tier, data, indices, &dense)
        })
        .collect();
    kernel.apply(&mut values, left.squares[i], &squares);
    for (o, &v) in out.iter_mut().zip(&values) {
        *o = O::store(v);
    }
}

fn sparse_rows<O: Store>(
    kernel: &Kernel,
    (left, rows): (&Points, &[u32]),
    (right, columns): (&Points, &[u32]),
    out: &mut [&mut [O]],
) {
    let Some(csr) = left.csr() else { return };
    let tier = tier::active();
    let mut dense = Spread::new(left.width);
    let mut sums = [0.0; SPREAD];
    for (number, group) in columns.chunks(SPREAD).enumerate() {
        dense.fill(right, group);
        let squares: Vec<f64> = group.iter().map(|&j| right.squares[j as usize]).collect();
        for (r, &i) in rows.iter().enumerate() {
            let (data, indices) = csr.row(i as usize);
            spread(tier, data, indices, &dense.block, &mut sums);
            let values = &mut sums[..group.len()];
            kernel.apply(values, left.squares[i as usize], &squares);
            let out = out[r][number * SPREAD..].iter_mut();
            for (o, &v) in out.zip(values.iter()) {
                *o = O::store(v);
            }
        }
        dense.clear(right, group);
    }
}

/// A square matrix of kernel values.
pub enum Matrix<'a> {
    /// float32
    F32(&'a [f32]),
    /// float64
    F64(&'a [f64]),
}

/// Where kernel values of the training rows come from.
pub enum Source<'a> {
    /// From rows.
    Points(Points<'a>, Kernel),
    /// From the caller.
    Matrix(Matrix<'a>, usize),
}

impl<'a> Source<'a> {
    /// A matrix of `n` rows and columns, checked.
    pub fn matrix(control: &Control, matrix: Matrix<'a>, n: usize) -> Result<Self> {
        let length = match &matrix {
            Matrix::F32(x) => x.len(),
            Matrix::F64(x) => x.len(),
        };
        if n.checked_mul(n) != Some(length) {
            return Err(Error::Shape {
                name: "X",
                given: format!("{length} elements"),
                expected: format!("a square precomputed matrix of {n} rows"),
            });
        }
        match &matrix {
            Matrix::F32(x) => check_finite(control, "X", x)?,
            Matrix::F64(x) => check_finite(control, "X", x)?,
        }
        Ok(Source::Matrix(matrix, n))
    }

    /// Number of training rows.
    pub fn rows(&self) -> usize {
        match self {
            Source::Points(points, _) => points.rows,
            Source::Matrix(_, n) => *n,
        }
    }

    /// Kernel values of `rows` with `columns`, one slice of `out` for each row.
    pub(super) fn block(
        &self,
        control: &Control,
        rows: &[u32],
        columns: &[u32],
        out: &mut [&mut [f32]],
    ) -> Result<()> {
        match self {
            Source::Points(points, kernel) => {
                block(control, kernel, (points, rows), (points, columns), out)
            }
            Source::Matrix(matrix, n) => {
                for (out, &i) in out.iter_mut().zip(rows) {
                    let at = i as usize * n;
                    for (o, &j) in out.iter_mut().zip(columns) {
                        *o = match matrix {
                            Matrix::F32(x) => x[at + j as usize],
                            Matrix::F64(x) => x[at + j as usize] as f32,
                        };
                    }
                }
                Ok(())
            }
        }
    }

    /// The kernel of each row with itself.
    pub(super) fn diagonal(&self) -> Vec<f64> {
        match self {
            Source::Points(points, kernel) => (points.squares.iter())
                .map(|&square| {
                    let mut value = [square];
                    kernel.apply(&mut value, square, &[square]);
                    value[0]
                })
                .collect(),
            Source::Matrix(matrix, n) => (0..*n)
                .map(|i| match matrix {
                    Matrix::F32(x) => f64::from(x[i * n + i]),
                    Matrix::F64(x) => x[i * n + i],
                })
                .collect(),
        }
    }
}
