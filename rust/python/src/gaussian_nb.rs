//! Bindings of Gaussian naive Bayes.

use crate::arrays::{FloatMatrix, expect_len, frozen, matrix, optional, slice};
use crate::errors::to_py;
use crate::gate;
use crate::rows::{SparseRows, on_sparse};
use ironlearn_core::naive_bayes::gaussian::{self, GaussianModel as Core, Moments};
use ironlearn_core::naive_bayes::gaussian_sparse::{SparseGaussian, sparse_moments};
use numpy::{
    IntoPyArray, PyArray1, PyArray2, PyReadonlyArray1, PyReadonlyArray2, PyUntypedArrayMethods,
};
use pyo3::prelude::*;
use std::sync::OnceLock;

/// A dense matrix of floats, or the parts of a CSR matrix.
#[derive(FromPyObject)]
pub enum FloatRows<'py> {
    #[pyo3(transparent)]
    Dense(FloatMatrix<'py>),
    #[pyo3(transparent)]
    Sparse(SparseRows<'py>),
}

type MomentArrays<'py> = (
    Bound<'py, PyArray1<f64>>,
    Bound<'py, PyArray2<f64>>,
    Bound<'py, PyArray2<f64>>,
);

fn moment_arrays(py: Python<'_>, m: Moments, features: usize) -> PyResult<MomentArrays<'_>> {
    let classes = m.count.len();
    Ok((
        m.count.into_pyarray(py),
        matrix(py, m.mean, classes, features)?,
        matrix(py, m.m2, classes, features)?,
    ))
}

/// Class counts, means and sums of squared deviations, and the largest feature variance.
#[pyfunction]
#[pyo3(signature = (x, y, sample_weight, *, n_classes, n_threads))]
pub fn gaussian_nb_moments<'py>(
    py: Python<'py>,
    x: FloatRows<'py>,
    y: PyReadonlyArray1<'py, u32>,
    sample_weight: Option<PyReadonlyArray1<'py, f64>>,
    n_classes: usize,
    n_threads: usize,
) -> PyResult<(MomentArrays<'py>, f64)> {
    let codes = slice("y", &y)?;
    let weights = optional("sample_weight", sample_weight.as_ref(), codes.len())?;
    macro_rules! moments {
        ($x:expr) => {{
            let (rows, features) = ($x.shape()[0], $x.shape()[1]);
            expect_len("y", codes.len(), rows)?;
            let x = slice("X", &$x)?;
            let (moments, largest) = gate::sized(py, n_threads, x.len() * 2, |control| {
                gaussian::moments(control, x, features, codes, weights, n_classes)
            })?;
            Ok((moment_arrays(py, moments, features)?, largest))
        }};
    }
    match x {
        FloatRows::Dense(FloatMatrix::F32(x)) => moments!(x),
        FloatRows::Dense(FloatMatrix::F64(x)) => moments!(x),
        FloatRows::Sparse(x) => {
            let features = x.3;
            let (moments, largest) = on_sparse!(&x, x => {
                gate::sized(py, n_threads, x.stored().saturating_mul(4), |control| {
                    sparse_moments(control, x, codes, weights, n_classes)
                })
            })?;
            Ok((moment_arrays(py, moments, features)?, largest))
        }
    }
}

/// The moments of two disjoint sets of rows together.
#[pyfunction]
pub fn gaussian_nb_merge<'py>(
    py: Python<'py>,
    a: (
        PyReadonlyArray1<'py, f64>,
        PyReadonlyArray2<'py, f64>,
        PyReadonlyArray2<'py, f64>,
    ),
    b: (
        PyReadonlyArray1<'py, f64>,
        PyReadonlyArray2<'py, f64>,
        PyReadonlyArray2<'py, f64>,
    ),
) -> PyResult<MomentArrays<'py>> {
    let features = a.1.shape()[1];
    let size = a.0.len() * features;
    for m in [&a.1, &a.2, &b.1, &b.2] {
        expect_len("moments", m.len(), size)?;
    }
    expect_len("moments", b.0.len(), a.0.len())?;
    let read = |m: &(
        PyReadonlyArray1<'py, f64>,
        PyReadonlyArray2<'py, f64>,
        PyReadonlyArray2<'py, f64>,
    )|
     -> PyResult<Moments> {
        Ok(Moments {
            count: slice("count", &m.0)?.to_vec(),
            mean: slice("mean", &m.1)?.to_vec(),
            m2: slice("m2", &m.2)?.to_vec(),
        })
    };
    let mut merged = read(&a)?;
    merged.merge(&read(&b)?);
    moment_arrays(py, merged, features)
}

/// A fitted Gaussian naive Bayes classifier.
#[pyclass(frozen, module = "ironlearn._core")]
pub struct GaussianModel {
    core: Core,
    /// Made for the first CSR rows.
    sparse: OnceLock<SparseGaussian>,
}

#[pymethods]
impl GaussianModel {
    /// Checks the arrays and copies them.
    #[staticmethod]
    fn from_arrays(
        theta: PyReadonlyArray2<'_, f64>,
        var: PyReadonlyArray2<'_, f64>,
        log_prior: PyReadonlyArray1<'_, f64>,
    ) -> PyResult<Self> {
        let (classes, features) = (theta.shape()[0], theta.shape()[1]);
        let core = Core::new(
            classes,
            features,
            slice("theta", &theta)?.to_vec(),
            slice("var", &var)?.to_vec(),
            slice("log_prior", &log_prior)?.to_vec(),
        )
        .map_err(to_py)?;
        Ok(GaussianModel {
            core,
            sparse: OnceLock::new(),
        })
    }

    /// The arrays that `from_arrays` takes, read-only copies.
    fn arrays<'py>(&self, py: Python<'py>) -> PyResult<MomentTriple<'py>> {
        let (k, d) = (self.core.classes(), self.core.features());
        Ok((
            frozen(matrix(py, self.core.theta().to_vec(), k, d)?),
            frozen(matrix(py, self.core.var().to_vec(), k, d)?),
            frozen(self.core.log_prior().to_vec().into_pyarray(py)),
        ))
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<(Bound<'py, PyAny>, MomentTriple<'py>)> {
        let rebuild = slf.get_type().getattr("from_arrays")?;
        Ok((rebuild, slf.get().arrays(slf.py())?))
    }

    /// `log P(class) + log P(row | class)`.
    #[pyo3(signature = (x, *, n_threads))]
    fn joint_log_likelihood<'py>(
        &self,
        py: Python<'py>,
        x: FloatRows<'py>,
        n_threads: usize,
    ) -> PyResult<Bound<'py, PyArray2<f64>>> {
        macro_rules! joint {
            ($x:expr) => {{
                let (rows, x) = (self.rows(&$x)?, slice("X", &$x)?);
                let out = gate::sized(py, n_threads, x.len() * self.core.classes(), |control| {
                    self.core.joint_log_likelihood(control, x)
                })?;
                matrix(py, out, rows, self.core.classes())
            }};
        }
        match x {
            FloatRows::Dense(FloatMatrix::F32(x)) => joint!(x),
            FloatRows::Dense(FloatMatrix::F64(x)) => joint!(x),
            FloatRows::Sparse(x) => {
                let k = self.core.classes();
                let out = on_sparse!(&x, x => {
                    let cost = x.stored().saturating_mul(k);
                    gate::sized(py, n_threads, cost, |control| {
                        self.sparse().joint_log_likelihood(control, x)
                    })
                })?;
                let rows = out.len() / k;
                matrix(py, out, rows, k)
            }
        }
    }

    /// The code of the likeliest class of each row.
    #[pyo3(signature = (x, *, n_threads))]
    fn predict_codes<'py>(
        &self,
        py: Python<'py>,
        x: FloatRows<'py>,
        n_threads: usize,
    ) -> PyResult<Bound<'py, PyArray1<i64>>> {
        macro_rules! predict {
            ($x:expr) => {{
                self.rows(&$x)?;
                let x = slice("X", &$x)?;
                let out = gate::sized(py, n_threads, x.len() * self.core.classes(), |control| {
                    self.core.predict(control, x)
                })?;
                Ok(out.into_pyarray(py))
            }};
        }
        match x {
            FloatRows::Dense(FloatMatrix::F32(x)) => predict!(x),
            FloatRows::Dense(FloatMatrix::F64(x)) => predict!(x),
            FloatRows::Sparse(x) => {
                let out = on_sparse!(&x, x => {
                    let cost = x.stored().saturating_mul(self.core.classes());
                    gate::sized(py, n_threads, cost, |control| self.sparse().predict(control, x))
                })?;
                Ok(out.into_pyarray(py))
            }
        }
    }
}

type MomentTriple<'py> = (
    Bound<'py, PyArray2<f64>>,
    Bound<'py, PyArray2<f64>>,
    Bound<'py, PyArray1<f64>>,
);

impl GaussianModel {
    fn sparse(&self) -> &SparseGaussian {
        self.sparse.get_or_init(|| SparseGaussian::new(&self.core))
    }

    fn rows<T: numpy::Element>(&self, x: &PyReadonlyArray2<'_, T>) -> PyResult<usize> {
        expect_len("X's second axis", x.shape()[1], self.core.features())?;
        Ok(x.shape()[0])
    }
}
