//! Bindings of what fits k-means.

use crate::arrays::{FloatMatrix, expect_len, matrix, optional, slice};
use crate::errors::to_py;
use crate::gate;
use crate::rows::{Indices, mixed_indices};
use ironlearn_core::error::Error;
use ironlearn_core::kmeans::{self, Fit, Points, Rows, Settings, SparseRows, Start, mini_batch};
use ironlearn_core::parallel::Control;
use ironlearn_kernels::distance::Places;
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

/// (data, indices, indptr, n_features) of a CSR matrix of either float type.
#[derive(FromPyObject)]
pub struct Csr<'py>(
    pub FloatVector<'py>,
    pub Indices<'py>,
    pub Indices<'py>,
    pub usize,
);

/// Rows to cluster.
#[derive(FromPyObject)]
pub enum AnyRows<'py> {
    #[pyo3(transparent)]
    Dense(FloatMatrix<'py>),
    #[pyo3(transparent)]
    Sparse(Csr<'py>),
}

pub type AnyArray<'py> = Bound<'py, PyAny>;

/// Multiplications that fit into one elementary operation of the gate's measure.
pub const WIDE: usize = 8;

pub fn mixed(name: &'static str) -> PyErr {
    to_py(Error::InvalidParameter {
        name,
        given: "arrays of different float types".into(),
        expected: "the float type of X".into(),
    })
}

/// A float type with matrices of it.
trait Typed: Element {
    fn of<'a, 'py>(matrix: &'a FloatMatrix<'py>) -> Option<&'a PyReadonlyArray2<'py, Self>>;
}

impl Typed for f32 {
    fn of<'a, 'py>(matrix: &'a FloatMatrix<'py>) -> Option<&'a PyReadonlyArray2<'py, f32>> {
        match matrix {
            FloatMatrix::F32(m) => Some(m),
            FloatMatrix::F64(_) => None,
        }
    }
}

impl Typed for f64 {
    fn of<'a, 'py>(matrix: &'a FloatMatrix<'py>) -> Option<&'a PyReadonlyArray2<'py, f64>> {
        match matrix {
            FloatMatrix::F32(_) => None,
            FloatMatrix::F64(m) => Some(m),
        }
    }
}

/// Centres of the type and the width of the rows, and their number.
fn centres_of<'a, T: Typed>(
    centres: &'a FloatMatrix<'_>,
    features: usize,
) -> PyResult<(&'a [T], usize)> {
    let centres = T::of(centres).ok_or_else(|| mixed("init"))?;
    expect_len("init's second axis", centres.shape()[1], features)?;
    Ok((slice("init", centres)?, centres.shape()[0]))
}

fn zeros_like<T: Default + Clone>(_: &[T], count: usize) -> Vec<T> {
    vec![T::default(); count]
}

/// Column numbers and row starts of a CSR matrix.
pub fn places<'a>(
    indices: &'a Indices<'_>,
    indptr: &'a Indices<'_>,
) -> PyResult<(Places<'a>, Places<'a>)> {
    match (indices, indptr) {
        (Indices::I32(i), Indices::I32(p)) => Ok((
            Places::Narrow(slice("X.indices", i)?),
            Places::Narrow(slice("X.indptr", p)?),
        )),
        (Indices::I64(i), Indices::I64(p)) => Ok((
            Places::Wide(slice("X.indices", i)?),
            Places::Wide(slice("X.indptr", p)?),
        )),
        _ => mixed_indices(),
    }
}

/// Rows of a CSR matrix with these row starts.
pub fn count(indptr: Places) -> usize {
    let starts = match indptr {
        Places::Narrow(p) => p.len(),
        Places::Wide(p) => p.len(),
    };
    starts.saturating_sub(1)
}

/// An error unless the offset of sparse rows is zero: subtracting another would fill them.
fn expect_zero<T: Into<f64> + Copy>(offset: &[T]) -> PyResult<()> {
    if offset.iter().all(|&v| v.into() == 0.0) {
        return Ok(());
    }
    Err(to_py(Error::InvalidParameter {
        name: "offset",
        given: "other numbers".into(),
        expected: "zero for sparse rows".into(),
    }))
}

/// Evaluates `$body` for the rows in `$x`: `$make` makes them under a `Control`, `$size` is
/// the number of rows, features and stored elements.
macro_rules! on_points {
    ($x:expr, $offset:expr, $weights:expr, $make:ident, $size:ident => $body:expr) => {{
        macro_rules! dense {
            ($m:expr, $o:expr) => {{
                let $size = ($m.shape()[0], $m.shape()[1], $m.len());
                let weights = optional("sample_weight", $weights.as_ref(), $size.0)?;
                let (x, offset) = (slice("X", $m)?, slice("offset", $o)?);
                expect_len("offset", offset.len(), $size.1)?;
                let $make = move |_: &Control| Rows::new(x, offset, weights);
                $body
            }};
        }
        macro_rules! sparse {
            ($csr:expr, $d:expr, $o:expr) => {{
                let (indices, indptr) = places(&$csr.1, &$csr.2)?;
                let data = slice("X.data", $d)?;
                let $size = (count(indptr), $csr.3, data.len());
                let weights = optional("sample_weight", $weights.as_ref(), $size.0)?;
                let offset = slice("offset", $o)?;
                expect_len("offset", offset.len(), $size.1)?;
                expect_zero(offset)?;
                let features = $size.1;
                let $make = move |control: &Control| {
                    SparseRows::new(control, data, indices, indptr, features, weights)
                };
                $body
            }};
        }
        match (&$x, &$offset) {
            (AnyRows::Dense(FloatMatrix::F32(m)), FloatVector::F32(o)) => dense!(m, o),
            (AnyRows::Dense(FloatMatrix::F64(m)), FloatVector::F64(o)) => dense!(m, o),
            (AnyRows::Sparse(csr), _) => match (&csr.0, &$offset) {
                (FloatVector::F32(d), FloatVector::F32(o)) => sparse!(csr, d, o),
                (FloatVector::F64(d), FloatVector::F64(o)) => sparse!(csr, d, o),
                _ => Err(mixed("offset")),
            },
            _ => Err(mixed("offset")),
        }
    }};
}

/// What is subtracted from X (column means of dense rows, in their own type; zeros for sparse
/// ones), and the mean of the columns' variances.
#[pyfunction]
#[pyo3(signature = (x, *, n_threads))]
pub fn kmeans_moments<'py>(
    py: Python<'py>,
    x: AnyRows<'py>,
    n_threads: usize,
) -> PyResult<(AnyArray<'py>, f64)> {
    macro_rules! dense {
        ($x:expr) => {{
            let (x, features) = (slice("X", &$x)?, $x.shape()[1]);
            let (offset, variance) = gate::sized(py, n_threads, x.len() * 2, |control| {
                kmeans::moments(control, x, features)
            })?;
            Ok((offset.into_pyarray(py).into_any(), variance))
        }};
    }
    macro_rules! sparse {
        ($csr:expr, $d:expr) => {{
            let (indices, indptr) = places(&$csr.1, &$csr.2)?;
            let (data, features) = (slice("X.data", $d)?, $csr.3);
            let variance = gate::sized(py, n_threads, data.len() * 4, |control| {
                SparseRows::unmeasured(control, data, indices, indptr, features, None)?
                    .variance(control)
            })?;
            Ok((
                zeros_like(data, features).into_pyarray(py).into_any(),
                variance,
            ))
        }};
    }
    match &x {
        AnyRows::Dense(FloatMatrix::F32(x)) => dense!(x),
        AnyRows::Dense(FloatMatrix::F64(x)) => dense!(x),
        AnyRows::Sparse(csr) => match &csr.0 {
            FloatVector::F32(d) => sparse!(csr, d),
            FloatVector::F64(d) => sparse!(csr, d),
        },
    }
}

/// Starting centres, less the offset.
#[pyfunction]
#[pyo3(signature = (x, offset, sample_weight, *, n_clusters, method, seed, n_threads))]
pub fn kmeans_init<'py>(
    py: Python<'py>,
    x: AnyRows<'py>,
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
    on_points!(x, offset, sample_weight, make, size => {
        let cost = size.2.saturating_mul(n_clusters) / WIDE;
        let centres = gate::sized(py, n_threads, cost, |control| {
            kmeans::start(control, &make(control)?, n_clusters, start, seed)
        })?;
        Ok(matrix(py, centres, n_clusters, size.1)?.into_any())
    })
}

type FitArrays<'py> = (
    AnyArray<'py>,
    Bound<'py, PyArray1<i32>>,
    f64,
    usize,
    Bound<'py, PyArray1<f64>>,
    bool,
    f64,
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
        fit.settled,
        fit.shift,
    ))
}

/// Lloyd's iteration from the given centres: centres, labels, inertia, iterations, the inertia
/// of each iteration where it is asked for, whether the last one changed no label, and the
/// centres' squared shifts in it.
#[pyfunction]
#[pyo3(signature = (x, offset, sample_weight, centres, *, max_iter, tol, algorithm, history, n_threads))]
pub fn kmeans_run<'py>(
    py: Python<'py>,
    x: AnyRows<'py>,
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
    on_points!(x, offset, sample_weight, make, size => {
        let (centres, clusters) = centres_of(&centres, size.1)?;
        // Few runs end before ten iterations.
        let cost = size.2.saturating_mul(clusters.saturating_mul(10) / WIDE + 1);
        let fit = gate::sized(py, n_threads, cost, |control| {
            make(control)?.lloyd(control, centres, settings)
        })?;
        fit_arrays(py, fit, clusters, size.1)
    })
}

type StateArrays<'py> = (AnyArray<'py>, Bound<'py, PyArray1<f64>>, usize);

fn state_arrays<'py, T: Element>(
    py: Python<'py>,
    state: mini_batch::State<T>,
    features: usize,
) -> PyResult<StateArrays<'py>> {
    let clusters = state.counts.len();
    Ok((
        matrix(py, state.centres, clusters, features)?.into_any(),
        state.counts.into_pyarray(py),
        state.since,
    ))
}

type History = Vec<(f64, f64, usize)>;

fn told(step: &mini_batch::Step) -> (f64, f64, usize) {
    (step.inertia, step.smoothed, step.reassigned)
}

/// Steps of mini-batch k-means on batches drawn from X: the state (centres, their weights, and
/// rows since the last search for unused centres), the number of steps, why they ended, the
/// smoothed inertia, and (inertia, smoothed inertia, reassigned centres) of each step where
/// that is asked for.
#[pyfunction]
#[pyo3(signature = (
    x, offset, sample_weight, centres, counts, *, since, batch_size, n_steps, tol,
    max_no_improvement, reassignment_ratio, seed, history, n_threads
))]
pub fn mini_batch_run<'py>(
    py: Python<'py>,
    x: AnyRows<'py>,
    offset: FloatVector<'py>,
    sample_weight: Option<PyReadonlyArray1<'py, f64>>,
    centres: FloatMatrix<'py>,
    counts: PyReadonlyArray1<'py, f64>,
    since: usize,
    batch_size: usize,
    n_steps: usize,
    tol: f64,
    max_no_improvement: Option<usize>,
    reassignment_ratio: f64,
    seed: u64,
    history: bool,
    n_threads: usize,
) -> PyResult<(StateArrays<'py>, usize, &'static str, f64, History)> {
    let settings = mini_batch::Settings {
        batch: batch_size,
        steps: n_steps,
        tol,
        patience: max_no_improvement,
        ratio: reassignment_ratio,
        history,
    };
    let counts = slice("counts", &counts)?;
    on_points!(x, offset, sample_weight, make, size => {
        let (centres, _) = centres_of(&centres, size.1)?;
        // Few runs end before ten steps.
        let row = size.2.saturating_mul(counts.len()) / size.0.max(1) / WIDE + 1;
        let cost = row.saturating_mul(batch_size.saturating_mul(n_steps.min(10)));
        let fit = gate::sized(py, n_threads, cost, |control| {
            let state = mini_batch::State {
                centres: centres.to_vec(),
                counts: counts.to_vec(),
                since,
            };
            mini_batch::run(control, &make(control)?, &state, settings, seed)
        })?;
        let end = match fit.end {
            mini_batch::End::Steps => "steps",
            mini_batch::End::Still => "still",
            mini_batch::End::NoImprovement => "no improvement",
        };
        let told = fit.history.iter().map(told).collect();
        Ok((state_arrays(py, fit.state, size.1)?, fit.steps, end, fit.smoothed, told))
    })
}

/// One step of mini-batch k-means on all rows of X with their weights: the state, and
/// (inertia, inertia by row, reassigned centres).
#[pyfunction]
#[pyo3(signature = (
    x, offset, sample_weight, centres, counts, *, since, reassignment_ratio, seed, step, n_threads
))]
pub fn mini_batch_step<'py>(
    py: Python<'py>,
    x: AnyRows<'py>,
    offset: FloatVector<'py>,
    sample_weight: Option<PyReadonlyArray1<'py, f64>>,
    centres: FloatMatrix<'py>,
    counts: PyReadonlyArray1<'py, f64>,
    since: usize,
    reassignment_ratio: f64,
    seed: u64,
    step: u64,
    n_threads: usize,
) -> PyResult<(StateArrays<'py>, (f64, f64, usize))> {
    let counts = slice("counts", &counts)?;
    on_points!(x, offset, sample_weight, make, size => {
        let (centres, _) = centres_of(&centres, size.1)?;
        let cost = size.2.saturating_mul(counts.len() / WIDE + 2);
        let (state, step) = gate::sized(py, n_threads, cost, |control| {
            let state = mini_batch::State {
                centres: centres.to_vec(),
                counts: counts.to_vec(),
                since,
            };
            mini_batch::step(control, &make(control)?, &state, reassignment_ratio, seed, step)
        })?;
        Ok((state_arrays(py, state, size.1)?, told(&step)))
    })
}
