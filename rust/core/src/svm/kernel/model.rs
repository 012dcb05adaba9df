//! A fitted kernel machine.

use super::platt::{LEAST, couple, logistic};
use super::points::{Points, Values, check_finite};
use super::rows::{Kernel, Kind, block};
use crate::error::{Error, Result};
use crate::parallel::{Control, fill_chunks};
use ironlearn_kernels::linear::Element;
use ironlearn_kernels::tier;

/// Rows of a task of prediction.
const TASK: usize = 128;
/// Support vectors whose kernel values are held at a time.
const STRIP: usize = 1024;
/// Fewer rows than this are compared one by one, without packing.
const FEW: usize = 4;

/// Support vectors as the caller has them.
pub enum Vectors {
    /// Rows in C order.
    Dense(Vec<f64>),
    /// Elements, column indices and row pointers.
    Sparse(Vec<f64>, Vec<u32>, Vec<usize>),
    /// The kernel is precomputed.
    None,
}

/// Support vectors, coefficients and constants, in LIBSVM's layout. With one class it is a
/// regression.
#[derive(Clone, Debug)]
pub struct KernelModel {
    kernel: Kernel,
    points: Option<Points<'static>>,
    width: usize,
    support: Vec<i64>,
    n_support: Vec<i64>,
    dual_coef: Vec<f64>,
    intercept: Vec<f64>,
    /// First support vector of each class, and the end.
    starts: Vec<usize>,
}

fn fits(name: &'static str, given: usize, expected: usize) -> Result<()> {
    if given == expected {
        return Ok(());
    }
    Err(Error::Shape {
        name,
        given: format!("{given} elements"),
        expected: expected.to_string(),
    })
}

impl KernelModel {
    /// Checks that the parts fit together and are finite. `width` is the number of features,
    /// or of training rows where the kernel is precomputed.
    pub fn new(
        kernel: Kernel,
        vectors: Vectors,
        width: usize,
        support: Vec<i64>,
        n_support: Vec<i64>,
        dual_coef: Vec<f64>,
        intercept: Vec<f64>,
    ) -> Result<Self> {
        let control = Control::serial();
        let (count, classes) = (support.len(), n_support.len());
        let mut starts = vec![0usize];
        for &n in &n_support {
            let last = starts[starts.len() - 1];
            let next = usize::try_from(n).ok().and_then(|n| last.checked_add(n));
            starts.push(next.unwrap_or(usize::MAX).min(usize::MAX - 1));
        }
        fits("support", count, starts[classes])?;
        let (lines, constants) = match classes {
            0 => (usize::MAX, usize::MAX),
            1 => (1, 1),
            k => (k - 1, k * (k - 1) / 2),
        };
        fits("dual_coef", dual_coef.len(), lines.saturating_mul(count))?;
        fits("intercept", intercept.len(), constants)?;
        let precomputed = kernel.kind == Kind::Precomputed;
        let below = if precomputed { width as i64 } else { i64::MAX };
        if width == 0 || support.iter().any(|&s| s < 0 || s >= below) {
            return Err(Error::Shape {
                name: "support",
                given: "indices out of range".into(),
                expected: format!("indices of training rows ({width} columns)"),
            });
        }
        check_finite(&control, "dual_coef", &dual_coef)?;
        check_finite(&control, "intercept", &intercept)?;
        let points = match vectors {
            Vectors::Dense(x) => Some(Points::double(&control, x, count, width)?),
            Vectors::Sparse(data, indices, indptr) => {
                let points = Points::sparse(&control, data, indices, indptr, width)?;
                fits("support_vectors", points.rows(), count)?;
                Some(points)
            }
            Vectors::None => None,
        };
        if points.is_none() != precomputed {
            return Err(Error::Shape {
                name: "support_vectors",
                given: if precomputed { "rows" } else { "no rows" }.into(),
                expected: "rows for every kernel except a precomputed one".into(),
            });
        }
        Ok(KernelModel {
            kernel,
            points,
            width,
            support,
            n_support,
            dual_coef,
            intercept,
            starts,
        })
    }

    /// The kernel.
    pub fn kernel(&self) -> &Kernel {
        &self.kernel
    }

    /// Columns of the rows to predict.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Number of classes, one for a regression.
    pub fn classes(&self) -> usize {
        self.n_support.len()
    }

    /// Training rows of the support vectors.
    pub fn support(&self) -> &[i64] {
        &self.support
    }

    /// Support vectors of each class.
    pub fn n_support(&self) -> &[i64] {
        &self.n_support
    }

    /// Coefficients.
    pub fn dual_coef(&self) -> &[f64] {
        &self.dual_coef
    }

    /// Constants of the problems.
    pub fn intercept(&self) -> &[f64] {
        &self.intercept
    }

    /// Dense support vectors.
    pub fn dense(&self) -> Option<&[f64]> {
        match &self.points.as_ref()?.values {
            Values::F64(x) => Some(x),
            _ => None,
        }
    }

    /// Elements, indices and pointers of sparse support vectors.
    pub fn sparse(&self) -> Option<(&[f64], &[u32], &[usize])> {
        let csr = self.points.as_ref()?.csr()?;
        Some((&csr.data, &csr.indices, &csr.indptr))
    }

    /// Columns of [`KernelModel::decision`].
    pub fn outputs(&self, one_versus_rest: bool) -> usize {
        match self.classes() {
            k if k > 2 && one_versus_rest => k,
            _ => self.intercept.len(),
        }
    }

    fn check(&self, x: &Points) -> Result<()> {
        if x.width() == self.width {
            return Ok(());
        }
        Err(Error::Shape {
            name: "X",
            given: format!("{} features", x.width()),
            expected: self.width.to_string(),
        })
    }

    /// Scores of the problems for each row, as LIBSVM's: above zero for the first class of a
    /// pair. `write` turns those of a row into `outputs` answers.
    fn evaluate<T: Send + Clone>(
        &self,
        control: &Control,
        x: &Points,
        empty: T,
        outputs: usize,
        write: impl Fn(&[f64], &mut [T]) + Sync,
    ) -> Result<Vec<T>> {
        self.check(x)?;
        let (classes, tier) = (self.classes(), tier::active());
        let lines = classes.saturating_sub(1).max(1);
        let count = self.support.len();
        let mut out = vec![empty; x.rows() * outputs];
        let few = x.rows() < FEW;
        fill_chunks(control, &mut out, outputs, TASK, |range, out| {
            let rows: Vec<u32> = range.map(|i| i as u32).collect();
            // Sums over the support vectors of each class, for each line of coefficients.
            let mut sums = vec![0.0; rows.len() * classes * lines];
            let mut values = vec![0.0; rows.len() * STRIP.min(count)];
            for start in (0..count).step_by(STRIP) {
                control.check()?;
                let strip = start..(start + STRIP).min(count);
                let width = strip.len();
                let values = &mut values[..rows.len() * width];
                self.values(&control.single(), x, &rows, strip.clone(), few, values)?;
                for (row, sums) in
                    (values.chunks_exact(width)).zip(sums.chunks_exact_mut(classes * lines))
                {
                    for class in 0..classes {
                        let from = self.starts[class].max(strip.start);
                        let to = self.starts[class + 1].min(strip.end);
                        if from >= to {
                            continue;
                        }
                        let part = &row[from - strip.start..to - strip.start];
                        for line in 0..lines {
                            let coef = &self.dual_coef[line * count + from..line * count + to];
                            sums[class * lines + line] += f64::dot(tier, coef, part);
                        }
                    }
                }
            }
            let mut scores = vec![0.0; self.intercept.len()];
            for (sums, out) in
                (sums.chunks_exact(classes * lines)).zip(out.chunks_exact_mut(outputs))
            {
                if classes == 1 {
                    scores[0] = sums[0] + self.intercept[0];
                } else {
                    let mut at = 0;
                    for i in 0..classes {
                        for j in i + 1..classes {
                            let sum = sums[i * lines + j - 1] + sums[j * lines + i];
                            scores[at] = sum + self.intercept[at];
                            at += 1;
                        }
                    }
                }
                write(&scores, out);
            }
            Ok(())
        })?;
        Ok(out)
    }

    /// Kernel values of rows of `x` with a strip of the support vectors.
    fn values(
        &self,
        control: &Control,
        x: &Points,
        rows: &[u32],
        strip: std::ops::Range<usize>,
        few: bool,
        out: &mut [f64],
    ) -> Result<()> {
        let Some(points) = &self.points else {
            let mut row = vec![0.0; self.width];
            for (out, &i) in out.chunks_exact_mut(strip.len()).zip(rows) {
                row.fill(0.0);
                x.scatter(i as usize, 0..self.width, 1, &mut row);
                for (o, &s) in out.iter_mut().zip(&self.support[strip.clone()]) {
                    *o = row[s as usize];
                }
            }
            return Ok(());
        };
        if few {
            let mut row = vec![0.0; self.width];
            for (out, &i) in out.chunks_exact_mut(strip.len()).zip(rows) {
                row.fill(0.0);
                x.scatter(i as usize, 0..self.width, 1, &mut row);
                for (o, j) in out.iter_mut().zip(strip.clone()) {
                    *o = points.dot(j, &row);
                }
                let squares = &points.squares[strip.clone()];
                self.kernel.apply(out, x.squares[i as usize], squares);
            }
            return Ok(());
        }
        let columns: Vec<u32> = strip.map(|j| j as u32).collect();
        let mut out: Vec<&mut [f64]> = out.chunks_exact_mut(columns.len()).collect();
        block(
            control,
            &self.kernel,
            (x, rows),
            (points, &columns),
            &mut out,
        )
    }

    /// Scores: of a regression the answers; for two classes above zero for the second one;
    /// else one column a class or, as LIBSVM has them, one a pair.
    pub fn decision(
        &self,
        control: &Control,
        x: &Points,
        one_versus_rest: bool,
    ) -> Result<Vec<f64>> {
        let k = self.classes();
        let outputs = self.outputs(one_versus_rest);
        self.evaluate(control, x, 0.0, outputs, |scores, out| match k {
            1 => out[0] = scores[0],
            2 => out[0] = -scores[0],
            _ if one_versus_rest => combine(k, scores, out),
            _ => out.copy_from_slice(scores),
        })
    }

    /// Code of each row's class: most votes, or (`break_ties`) the largest combined score;
    /// the first among equals.
    pub fn predict(&self, control: &Control, x: &Points, break_ties: bool) -> Result<Vec<i64>> {
        let k = self.classes();
        self.evaluate(control, x, 0i64, 1, |scores, out| {
            let mut votes = vec![0.0; k];
            if break_ties && k > 2 {
                combine(k, scores, &mut votes);
            } else {
                let mut scores = scores.iter();
                for i in 0..k {
                    for j in i + 1..k {
                        let first = scores.next().is_some_and(|&s| s > 0.0);
                        votes[if first { i } else { j }] += 1.0;
                    }
                }
            }
            let mut best = 0;
            for class in 1..k {
                if votes[class] > votes[best] {
                    best = class;
                }
            }
            out[0] = best as i64;
        })
    }

    /// Probabilities of the classes, given the slope and constant of each pair.
    pub fn probabilities(
        &self,
        control: &Control,
        x: &Points,
        slopes: &[f64],
        constants: &[f64],
    ) -> Result<Vec<f64>> {
        let k = self.classes();
        for (name, values) in [("prob_a", slopes), ("prob_b", constants)] {
            fits(name, values.len(), self.intercept.len())?;
            check_finite(&Control::serial(), name, values)?;
        }
        self.evaluate(control, x, 0.0, k, |scores, out| {
            let sigmoids = slopes.iter().zip(constants);
            let pairs: Vec<f64> = (scores.iter().zip(sigmoids))
                .map(|(&score, (&a, &b))| logistic(score, a, b).clamp(LEAST, 1.0 - LEAST))
                .collect();
            couple(&pairs, out);
        })
    }
}

/// Votes of the pairs, plus sums of their scores squeezed below a third as tie-breakers.
fn combine(k: usize, scores: &[f64], out: &mut [f64]) {
    let mut sums = vec![0.0; k];
    out.fill(0.0);
    let mut scores = scores.iter();
    for i in 0..k {
        for j in i + 1..k {
            let Some(&score) = scores.next() else { return };
            sums[i] += score;
            sums[j] -= score;
            out[if score < 0.0 { j } else { i }] += 1.0;
        }
    }
    for (o, &sum) in out.iter_mut().zip(&sums) {
        *o += sum / (3.0 * (f64::abs(sum) + 1.0));
    }
}
