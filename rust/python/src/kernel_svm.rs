//! Bindings of support vector machines with kernels.

use crate::arrays::{FloatMatrix, frozen, matrix, slice};
use crate::errors::to_py;
use crate::gate;
use crate::linear_svm::{Indices, Rows, Values};
use ironlearn_core::error::{Error, Result};
use ironlearn_core::parallel::Control;
use ironlearn_core::svm::kernel::{
    self, Fit, Kernel, KernelModel as Core, Kind, Matrix, Points, Settings, Source, Vectors,
};
use numpy::{IntoPyArray, PyArray1, PyArray2, PyReadonlyArray1, PyUntypedArrayMethods};
use pyo3::prelude::*;

/// Rows borrowed from Python, before they are checked.
enum Borrowed<'a> {
    Single(&'a [f32], usize, usize),
    Double(&'a [f64], usize, usize),
    Sparse(Vec<f64>, Vec<u32>, Vec<usize>, usize),
}

fn out_of_range() -> PyErr {
    to_py(Error::Shape {
        name: "X (CSR)",
        given: "indices or pointers that are negative or too large".into(),
        expected: "indices from 0 to 2^32 - 1".into(),
    })
}

fn numbers<T: TryFrom<i64>>(name: &'static str, values: &Indices) -> PyResult<Vec<T>> {
    let read = |v: i64| T::try_from(v).map_err(|_| out_of_range());
    match values {
        Indices::I32(x) => slice(name, x)?.iter().map(|&v| read(v.into())).collect(),
        Indices::I64(x) => slice(name, x)?.iter().map(|&v| read(v)).collect(),
    }
}

fn borrow<'a>(x: &'a Rows) -> PyResult<Borrowed<'a>> {
    Ok(match x {
        Rows::Dense(FloatMatrix::F32(x)) => {
            Borrowed::Single(slice("X", x)?, x.shape()[0], x.shape()[1])
        }
        Rows::Dense(FloatMatrix::F64(x)) => {
            Borrowed::Double(slice("X", x)?, x.shape()[0], x.shape()[1])
        }
        Rows::Sparse(data, indices, indptr, width) => {
            let data = match data {
                Values::F32(x) => slice("X.data", x)?.iter().map(|&v| f64::from(v)).collect(),
                Values::F64(x) => slice("X.data", x)?.to_vec(),
            };
            let indices = numbers("X.indices", indices)?;
            Borrowed::Sparse(data, indices, numbers("X.indptr", indptr)?, *width)
        }
    })
}

impl<'a> Borrowed<'a> {
    fn rows(&self) -> usize {
        match self {
            Borrowed::Single(_, rows, _) | Borrowed::Double(_, rows, _) => *rows,
            Borrowed::Sparse(_, _, indptr, _) => indptr.len().saturating_sub(1),
        }
    }

    /// Multiply-adds of one row with another.
    fn cost(&self) -> usize {
        match self {
            Borrowed::Single(_, _, width) | Borrowed::Double(_, _, width) => *width,
            Borrowed::Sparse(data, ..) => data.len() / self.rows().max(1),
        }
        .saturating_add(8)
    }

    fn points(self, control: &Control) -> Result<Points<'a>> {
        match self {
            Borrowed::Single(x, rows, width) => Points::single(control, x, rows, width),
            Borrowed::Double(x, rows, width) => Points::double(control, x, rows, width),
            Borrowed::Sparse(data, indices, indptr, width) => {
                Points::sparse(control, data, indices, indptr, width)
            }
        }
    }

    fn source(self, control: &Control, kernel: Kernel) -> Result<Source<'a>> {
        if kernel.kind != Kind::Precomputed {
            return Ok(Source::Points(self.points(control)?, kernel));
        }
        match self {
            Borrowed::Single(x, rows, _) => Source::matrix(control, Matrix::F32(x), rows),
            Borrowed::Double(x, rows, _) => Source::matrix(control, Matrix::F64(x), rows),
            Borrowed::Sparse(..) => Err(Error::Shape {
                name: "X",
                given: "sparse rows".into(),
                expected: "a dense precomputed matrix".into(),
            }),
        }
    }
}

type FitAnswer<'py> = (
    Bound<'py, PyArray1<i64>>,
    Bound<'py, PyArray1<i64>>,
    Bound<'py, PyArray2<f64>>,
    Bound<'py, PyArray1<f64>>,
    Bound<'py, PyArray1<i64>>,
    Bound<'py, PyArray1<f64>>,
    bool,
    Bound<'py, PyArray1<f64>>,
    Bound<'py, PyArray1<f64>>,
);

fn answer<'py>(py: Python<'py>, fit: Fit) -> PyResult<FitAnswer<'py>> {
    let lines = fit.n_support.len().saturating_sub(1).max(1);
    let columns = fit.support.len();
    let (slopes, constants): (Vec<f64>, Vec<f64>) = fit.sigmoids.into_iter().unzip();
    Ok((
        fit.support.into_pyarray(py),
        fit.n_support.into_pyarray(py),
        matrix(py, fit.dual_coef, lines, columns)?,
        fit.intercept.into_pyarray(py),
        fit.iterations.into_pyarray(py),
        fit.objectives.into_pyarray(py),
        fit.converged,
        slopes.into_pyarray(py),
        constants.into_pyarray(py),
    ))
}

fn settings(tol: f64, max_iter: i64, cache_size: f64, shrinking: bool) -> Settings {
    Settings {
        tol,
        max_iter: usize::try_from(max_iter).ok(),
        // A cast of a float saturates.
        cache_bytes: (cache_size * (1u64 << 20) as f64) as usize,
        shrinking,
    }
}

/// Support vectors, their numbers by class, coefficients, constants, steps and objectives of
/// the problems of each class against each other one, whether all converged, and slopes and
/// constants of the probabilities of the pairs, if `folds` gives a seed for their folds.
#[pyfunction]
#[pyo3(signature = (x, y, cost, *, n_classes, kernel, gamma, coef0, degree, tol, max_iter,
                    cache_size, shrinking, folds, n_threads))]
pub fn kernel_svc_fit<'py>(
    py: Python<'py>,
    x: Rows<'py>,
    y: PyReadonlyArray1<'py, u32>,
    cost: PyReadonlyArray1<'py, f64>,
    n_classes: usize,
    kernel: &str,
    gamma: f64,
    coef0: f64,
    degree: u32,
    tol: f64,
    max_iter: i64,
    cache_size: f64,
    shrinking: bool,
    folds: Option<u32>,
    n_threads: usize,
) -> PyResult<FitAnswer<'py>> {
    let kernel = Kernel::new(kernel, gamma, coef0, degree).map_err(to_py)?;
    let (x, codes, cost) = (borrow(&x)?, slice("y", &y)?, slice("cost", &cost)?);
    let settings = settings(tol, max_iter, cache_size, shrinking);
    let work = x.rows().saturating_mul(x.rows()).saturating_mul(x.cost());
    let fit = gate::sized(py, n_threads, work, |control| {
        let source = x.source(control, kernel)?;
        kernel::classify(control, &source, codes, cost, n_classes, folds, &settings)
    })?;
    answer(py, fit)
}

/// As [`kernel_svc_fit`], for a regression with the tolerated deviation `epsilon`.
#[pyfunction]
#[pyo3(signature = (x, y, cost, *, epsilon, kernel, gamma, coef0, degree, tol, max_iter,
                    cache_size, shrinking, n_threads))]
pub fn kernel_svr_fit<'py>(
    py: Python<'py>,
    x: Rows<'py>,
    y: PyReadonlyArray1<'py, f64>,
    cost: PyReadonlyArray1<'py, f64>,
    epsilon: f64,
    kernel: &str,
    gamma: f64,
    coef0: f64,
    degree: u32,
    tol: f64,
    max_iter: i64,
    cache_size: f64,
    shrinking: bool,
    n_threads: usize,
) -> PyResult<FitAnswer<'py>> {
    let kernel = Kernel::new(kernel, gamma, coef0, degree).map_err(to_py)?;
    let (x, target, cost) = (borrow(&x)?, slice("y", &y)?, slice("cost", &cost)?);
    let settings = settings(tol, max_iter, cache_size, shrinking);
    let work = x.rows().saturating_mul(x.rows()).saturating_mul(x.cost());
    let fit = gate::sized(py, n_threads, work, |control| {
        let source = x.source(control, kernel)?;
        kernel::regress(control, &source, target, cost, epsilon, &settings)
    })?;
    answer(py, fit)
}

/// A fitted kernel machine, classifier or regression.
#[pyclass(frozen, module = "ironlearn._core")]
pub struct KernelModel {
    core: Core,
}

type Parts<'py> = (
    Py<PyAny>,
    Bound<'py, PyArray1<i64>>,
    Bound<'py, PyArray1<i64>>,
    Bound<'py, PyArray2<f64>>,
    Bound<'py, PyArray1<f64>>,
    &'static str,
    f64,
    f64,
    u32,
    usize,
);

#[pymethods]
impl KernelModel {
    /// Checks the arrays and copies them. `vectors` is `None` for a precomputed kernel;
    /// `width` is the number of features, or then of training rows.
    #[staticmethod]
    fn from_arrays(
        vectors: Option<Rows<'_>>,
        support: PyReadonlyArray1<'_, i64>,
        n_support: PyReadonlyArray1<'_, i64>,
        dual_coef: numpy::PyReadonlyArray2<'_, f64>,
        intercept: PyReadonlyArray1<'_, f64>,
        kernel: &str,
        gamma: f64,
        coef0: f64,
        degree: u32,
        width: usize,
    ) -> PyResult<Self> {
        let kernel = Kernel::new(kernel, gamma, coef0, degree).map_err(to_py)?;
        let mut given = width;
        let vectors = match &vectors {
            None => Vectors::None,
            Some(rows) => match borrow(rows)? {
                Borrowed::Single(x, _, columns) => {
                    given = columns;
                    Vectors::Dense(x.iter().map(|&v| f64::from(v)).collect())
                }
                Borrowed::Double(x, _, columns) => {
                    given = columns;
                    Vectors::Dense(x.to_vec())
                }
                Borrowed::Sparse(data, indices, indptr, columns) => {
                    given = columns;
                    Vectors::Sparse(data, indices, indptr)
                }
            },
        };
        crate::arrays::expect_len("support_vectors (columns)", given, width)?;
        let core = Core::new(
            kernel,
            vectors,
            width,
            slice("support", &support)?.to_vec(),
            slice("n_support", &n_support)?.to_vec(),
            slice("dual_coef", &dual_coef)?.to_vec(),
            slice("intercept", &intercept)?.to_vec(),
        )
        .map_err(to_py)?;
        Ok(KernelModel { core })
    }

    /// What `from_arrays` takes, arrays as read-only copies.
    fn parts<'py>(&self, py: Python<'py>) -> PyResult<Parts<'py>> {
        let core = &self.core;
        let count = core.support().len();
        let vectors = match (core.dense(), core.sparse()) {
            (Some(x), _) => frozen(matrix(py, x.to_vec(), count, core.width())?)
                .into_any()
                .unbind(),
            (None, Some((data, indices, indptr))) => {
                let indices: Vec<i64> = indices.iter().map(|&i| i.into()).collect();
                let indptr: Vec<i64> = indptr.iter().map(|&i| i as i64).collect();
                (
                    frozen(data.to_vec().into_pyarray(py)),
                    frozen(indices.into_pyarray(py)),
                    frozen(indptr.into_pyarray(py)),
                    core.width(),
                )
                    .into_pyobject(py)?
                    .into_any()
                    .unbind()
            }
            (None, None) => py.None(),
        };
        let kernel = core.kernel();
        let name = match kernel.kind {
            Kind::Linear => "linear",
            Kind::Poly => "poly",
            Kind::Rbf => "rbf",
            Kind::Sigmoid => "sigmoid",
            Kind::Precomputed => "precomputed",
        };
        let lines = core.classes().saturating_sub(1).max(1);
        Ok((
            vectors,
            frozen(core.support().to_vec().into_pyarray(py)),
            frozen(core.n_support().to_vec().into_pyarray(py)),
            frozen(matrix(py, core.dual_coef().to_vec(), lines, count)?),
            frozen(core.intercept().to_vec().into_pyarray(py)),
            name,
            kernel.gamma,
            kernel.coef0,
            kernel.degree,
            core.width(),
        ))
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<(Bound<'py, PyAny>, Parts<'py>)> {
        let rebuild = slf.get_type().getattr("from_arrays")?;
        Ok((rebuild, slf.get().parts(slf.py())?))
    }

    /// Scores of each row: one column for a regression or two classes (above zero for the
    /// second one), else one a class or, without `one_versus_rest`, one a pair.
    #[pyo3(signature = (x, *, one_versus_rest, n_threads))]
    fn decision_function<'py>(
        &self,
        py: Python<'py>,
        x: Rows<'py>,
        one_versus_rest: bool,
        n_threads: usize,
    ) -> PyResult<Bound<'py, PyArray2<f64>>> {
        let x = borrow(&x)?;
        let (rows, cost) = (x.rows(), self.cost(&x));
        let out = gate::sized(py, n_threads, cost, |control| {
            let x = x.points(control)?;
            self.core.decision(control, &x, one_versus_rest)
        })?;
        matrix(py, out, rows, self.core.outputs(one_versus_rest))
    }

    /// Code of the class of each row: most votes, or the largest combined score.
    #[pyo3(signature = (x, *, break_ties, n_threads))]
    fn predict_codes<'py>(
        &self,
        py: Python<'py>,
        x: Rows<'py>,
        break_ties: bool,
        n_threads: usize,
    ) -> PyResult<Bound<'py, PyArray1<i64>>> {
        let x = borrow(&x)?;
        let cost = self.cost(&x);
        let out = gate::sized(py, n_threads, cost, |control| {
            let x = x.points(control)?;
            self.core.predict(control, &x, break_ties)
        })?;
        Ok(out.into_pyarray(py))
    }

    /// Probabilities of the classes, given slope and constant of the sigmoid of each pair.
    #[pyo3(signature = (x, prob_a, prob_b, *, n_threads))]
    fn predict_proba<'py>(
        &self,
        py: Python<'py>,
        x: Rows<'py>,
        prob_a: PyReadonlyArray1<'py, f64>,
        prob_b: PyReadonlyArray1<'py, f64>,
        n_threads: usize,
    ) -> PyResult<Bound<'py, PyArray2<f64>>> {
        let x = borrow(&x)?;
        let (slopes, constants) = (slice("prob_a", &prob_a)?, slice("prob_b", &prob_b)?);
        let (rows, cost) = (x.rows(), self.cost(&x));
        let out = gate::sized(py, n_threads, cost, |control| {
            let x = x.points(control)?;
            self.core.probabilities(control, &x, slopes, constants)
        })?;
        matrix(py, out, rows, self.core.classes())
    }
}

impl KernelModel {
    /// Elementary operations to score `x`, one per multiply-add of eight lanes.
    fn cost(&self, x: &Borrowed) -> usize {
        let each = x.cost().saturating_mul(self.core.support().len());
        x.rows().saturating_mul(each) / 8
    }
}
