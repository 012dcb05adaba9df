//! Bindings of k-means.

use crate::arrays::{FloatMatrix, expect_len, frozen, matrix, optional, slice};
use crate::errors::to_py;
use crate::gate;
use ironlearn_core::error::Error;
use ironlearn_core::kmeans::{self, Fit, KMeansModel as Core, Rows, Settings, Start};
use numpy::{
    Element, IntoPyArray, PyArray1, PyReadonlyArray1, PyReadonlyArray2, PyUntypedArrayMethods,
};
use pyo3::prelude::*;

/// A vector of either float type.
#[derive(FromPyObject)]
pub enum FloatVector<'py> {
    /// float32
    F32(PyReadonlyArray1<'py, f32>),
    /// float64
    F64(PyReadonlyArray1<'py, f64>),
}

type AnyArray<'py> = Bound<'py, PyAny>;

/// Multiplications that fit into one elementary operation of the gate's measure.
const WIDE: usize = 8;

fn mixed(name: &'static str) -> PyErr {
    to_py(Error::InvalidParameter {
        name,
        given: "arrays of different float types".into(),
        expected: "the float type of X".into(),
    })
}

/// Column means of X in its own type, and the mean of the columns' variances.
#[pyfunction]
#[pyo3(signature = (x, *, n_threads))]
pub fn kmeans_moments<'py>(
    py: Python<'py>,
    x: FloatMatrix<'py>,
    n_threads: usize,
) -> PyResult<(AnyArray<'py>, f64)> {
    macro_rules! moments {
        ($x:expr) => {{
            let (x, features) = (slice("X", &$x)?, $x.shape()[1]);
            let (offset, variance) = gate::sized(py, n_threads, x.len() * 2, |control| {
                kmeans::moments(control, x, features)
            })?;
            Ok((offset.into_pyarray(py).into_any(), variance))
        }};
    }
    match x {
        FloatMatrix::F32(x) => moments!(x),
        FloatMatrix::F64(x) => moments!(x),
    }
}

/// Starting centres, less the offset.
#[pyfunction]
#[pyo3(signature = (x, offset, sample_weight, *, n_clusters, method, seed, n_threads))]
pub fn kmeans_init<'py>(
    py: Python<'py>,
    x: FloatMatrix<'py>,
    offset: FloatVector<'py>,
    sample_weight: Option<PyReadonlyArray1<'py, f64>>,
    n_clusters: usize,
    method: &str,
    seed: u64,
    n_threads: usize,
) -> PyResult<AnyArray<'py>> {
    let start = Start::from_name(method).ok_or_else(|| {
        to_py(Error::InvalidParameter {
            name: "init",
            given: method.into(),
            expected: "'k-means++', 'k-means||' or 'random'".into(),
        })
    })?;
    macro_rules! init {
        ($x:expr, $offset:expr) => {{
            let (count, features) = ($x.shape()[0], $x.shape()[1]);
            let weights = optional("sample_weight", sample_weight.as_ref(), count)?;
            let (x, offset) = (slice("X", &$x)?, slice("offset", &$offset)?);
            expect_len("offset", offset.len(), features)?;
            let cost = x.len().saturating_mul(n_clusters) / WIDE;
            let centres = gate::sized(py, n_threads, cost, |control| {
                let rows = Rows::new(x, offset, weights)?;
                kmeans::start(control, &rows, n_clusters, start, seed)
            })?;
            Ok(matrix(py, centres, n_clusters, features)?.into_any())
        }};
    }
    match (x, offset) {
        (FloatMatrix::F32(x), FloatVector::F32(offset)) => init!(x, offset),
        (FloatMatrix::F64(x), FloatVector::F64(offset)) => init!(x, offset),
        _ => Err(mixed("offset")),
    }
}

type FitArrays<'py> = (
    AnyArray<'py>,
    Bound<'py, PyArray1<i32>>,
    f64,
    usize,
    Bound<'py, PyArray1<f64>>,
);

fn fit_arrays<'py, T: Element>(
    py: Python<'py>,
    fit: Fit<T>,
    clusters: usize,
    features: usize,
) -> PyResult<FitArrays<'py>> {
    Ok((
        matrix(py, fit.centres, clusters, features)?.into_any(),
        fit.labels.into_pyarray(py),
        fit.inertia,
        fit.n_iter,
        fit.history.into_pyarray(py),
    ))
}

/// Lloyd's iteration from the given centres: centres, labels, inertia, iterations, and the
/// inertia of each iteration where it is asked for.
#[pyfunction]
#[pyo3(signature = (x, offset, sample_weight, centres, *, max_iter, tol, algorithm, history, n_threads))]
pub fn kmeans_run<'py>(
    py: Python<'py>,
    x: FloatMatrix<'py>,
    offset: FloatVector<'py>,
    sample_weight: Option<PyReadonlyArray1<'py, f64>>,
    centres: FloatMatrix<'py>,
    max_iter: usize,
    tol: f64,
    algorithm: &str,
    history: bool,
    n_threads: usize,
) -> PyResult<FitArrays<'py>> {
    let bounds = match algorithm {
        "lloyd" => false,
        "elkan" => true,
        _ => {
            return Err(to_py(Error::InvalidParameter {
                name: "algorithm",
                given: algorithm.into(),
                expected: "'lloyd' or 'elkan'".into(),
            }));
        }
    };
    let settings = Settings {
        max_iter,
        tol,
        bounds,
        history,
    };
    macro_rules! run {
        ($x:expr, $offset:expr, $centres:expr) => {{
            let (count, features) = ($x.shape()[0], $x.shape()[1]);
            let clusters = $centres.shape()[0];
            let weights = optional("sample_weight", sample_weight.as_ref(), count)?;
            let (x, offset) = (slice("X", &$x)?, slice("offset", &$offset)?);
            expect_len("offset", offset.len(), features)?;
            expect_len("init's second axis", $centres.shape()[1], features)?;
            let centres = slice("init", &$centres)?;
            // Few runs end before ten iterations.
            let cost = x
                .len()
                .saturating_mul(clusters.saturating_mul(10) / WIDE + 1);
            let fit = gate::sized(py, n_threads, cost, |control| {
                let rows = Rows::new(x, offset, weights)?;
                kmeans::run(control, &rows, centres, settings)
            })?;
            fit_arrays(py, fit, clusters, features)
        }};
    }
    match (x, offset, centres) {
        (FloatMatrix::F32(x), FloatVector::F32(o), FloatMatrix::F32(c)) => run!(x, o, c),
        (FloatMatrix::F64(x), FloatVector::F64(o), FloatMatrix::F64(c)) => run!(x, o, c),
        _ => Err(mixed("init")),
    }
}

enum Either {
    F32(Core<f32>),
    F64(Core<f64>),
}

/// Fitted centres.
#[pyclass(frozen, module = "ironlearn._core")]
pub struct KMeansModel {
    core: Either,
}

macro_rules! with_core {
    ($self:expr, $core:ident => $body:expr) => {
        match &$self.core {
            Either::F32($core) => $body,
            Either::F64($core) => $body,
        }
    };
}

/// Runs `$body` with X, of the type of the model.
macro_rules! with_rows {
    ($self:expr, $x:expr, $core:ident, $rows:ident, $data:ident => $body:expr) => {
        match (&$self.core, &$x) {
            (Either::F32($core), FloatMatrix::F32(x)) => {
                let ($rows, $data) = ($self.rows(x)?, slice("X", x)?);
                $body
            }
            (Either::F64($core), FloatMatrix::F64(x)) => {
                let ($rows, $data) = ($self.rows(x)?, slice("X", x)?);
                $body
            }
            _ => Err(mixed("X")),
        }
    };
}

#[pymethods]
impl KMeansModel {
    /// Checks the arrays and copies them; `centres` are less the offset.
    #[staticmethod]
    fn from_arrays(centres: FloatMatrix<'_>, offset: FloatVector<'_>) -> PyResult<Self> {
        macro_rules! build {
            ($centres:expr, $offset:expr, $kind:ident) => {{
                expect_len("offset", $offset.len(), $centres.shape()[1])?;
                let centres = slice("centres", &$centres)?.to_vec();
                let core = Core::new(centres, slice("offset", &$offset)?.to_vec());
                Ok(KMeansModel {
                    core: Either::$kind(core.map_err(to_py)?),
                })
            }};
        }
        match (centres, offset) {
            (FloatMatrix::F32(c), FloatVector::F32(o)) => build!(c, o, F32),
            (FloatMatrix::F64(c), FloatVector::F64(o)) => build!(c, o, F64),
            _ => Err(mixed("offset")),
        }
    }

    /// The arrays that `from_arrays` takes, read-only copies.
    fn arrays<'py>(&self, py: Python<'py>) -> PyResult<(AnyArray<'py>, AnyArray<'py>)> {
        with_core!(self, core => {
            let (k, d) = (core.clusters(), core.features());
            let centres = frozen(matrix(py, core.centres().to_vec(), k, d)?);
            let offset = frozen(core.offset().to_vec().into_pyarray(py));
            Ok((centres.into_any(), offset.into_any()))
        })
    }

    fn __reduce__<'py>(
        slf: &Bound<'py, Self>,
    ) -> PyResult<(AnyArray<'py>, (AnyArray<'py>, AnyArray<'py>))> {
        let rebuild = slf.get_type().getattr("from_arrays")?;
        Ok((rebuild, slf.get().arrays(slf.py())?))
    }

    /// The nearest centre of each row, the first among equals.
    #[pyo3(signature = (x, *, n_threads))]
    fn predict<'py>(
        &self,
        py: Python<'py>,
        x: FloatMatrix<'py>,
        n_threads: usize,
    ) -> PyResult<Bound<'py, PyArray1<i32>>> {
        with_rows!(self, x, core, _rows, data => {
            let cost = data.len().saturating_mul(core.clusters()) / WIDE;
            let labels = gate::sized(py, n_threads, cost, |control| core.predict(control, data))?;
            Ok(labels.into_pyarray(py))
        })
    }

    /// Distances from each row to each centre.
    #[pyo3(signature = (x, *, n_threads))]
    fn transform<'py>(
        &self,
        py: Python<'py>,
        x: FloatMatrix<'py>,
        n_threads: usize,
    ) -> PyResult<AnyArray<'py>> {
        with_rows!(self, x, core, rows, data => {
            let cost = data.len().saturating_mul(core.clusters()) / WIDE;
            let out = gate::sized(py, n_threads, cost, |control| core.transform(control, data))?;
            Ok(matrix(py, out, rows, core.clusters())?.into_any())
        })
    }

    /// Weighted sum of squared distances to the nearest centres.
    #[pyo3(signature = (x, sample_weight, *, n_threads))]
    fn inertia<'py>(
        &self,
        py: Python<'py>,
        x: FloatMatrix<'py>,
        sample_weight: Option<PyReadonlyArray1<'py, f64>>,
        n_threads: usize,
    ) -> PyResult<f64> {
        with_rows!(self, x, core, rows, data => {
            let weights = optional("sample_weight", sample_weight.as_ref(), rows)?;
            let cost = data.len().saturating_mul(core.clusters()) / WIDE;
            gate::sized(py, n_threads, cost, |control| core.inertia(control, data, weights))
        })
    }
}

impl KMeansModel {
    fn rows<T: Element>(&self, x: &PyReadonlyArray2<'_, T>) -> PyResult<usize> {
        let features = with_core!(self, core => core.features());
        expect_len("X's second axis", x.shape()[1], features)?;
        Ok(x.shape()[0])
    }
}
