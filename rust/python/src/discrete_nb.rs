//! Bindings of multinomial, complement and Bernoulli naive Bayes.

use crate::arrays::{expect_len, frozen, matrix, optional, slice};
use crate::errors::to_py;
use crate::gate;
use crate::rows::{Rows, on_rows};
use ironlearn_core::naive_bayes::discrete::{dense_counts, sparse_counts};
use ironlearn_core::naive_bayes::discrete_model::DiscreteModel as Core;
use ironlearn_kernels::sums::Take;
use numpy::{
    IntoPyArray, PyArray1, PyArray2, PyReadonlyArray1, PyReadonlyArray2, PyUntypedArrayMethods,
};
use pyo3::prelude::*;

/// Sums of weights, and of weighted features, by class.
///
/// With `threshold`, what is summed is whether a feature is above it; else the feature
/// itself, which must not be negative if `non_negative`.
#[pyfunction]
#[pyo3(signature = (x, y, sample_weight, *, n_classes, threshold, non_negative, n_threads))]
#[allow(clippy::too_many_arguments)]
pub fn discrete_nb_counts<'py>(
    py: Python<'py>,
    x: Rows<'py>,
    y: PyReadonlyArray1<'py, u32>,
    sample_weight: Option<PyReadonlyArray1<'py, f64>>,
    n_classes: usize,
    threshold: Option<f64>,
    non_negative: bool,
    n_threads: usize,
) -> PyResult<(Bound<'py, PyArray1<f64>>, Bound<'py, PyArray2<f64>>)> {
    let y = slice("y", &y)?;
    let weights = optional("sample_weight", sample_weight.as_ref(), y.len())?;
    let take = match threshold {
        Some(t) => Take::Above(t),
        None if non_negative => Take::NonNegative,
        None => Take::Any,
    };
    let counts = on_rows!(&x, x => gate::sized(py, n_threads, x.stored(), |control| {
        dense_counts(control, x, y, weights, n_classes, take)
    }), gate::sized(py, n_threads, x.stored().saturating_mul(2), |control| {
        sparse_counts(control, x, y, weights, n_classes, take)
    }))?;
    let features = counts.feature.len() / n_classes.max(1);
    Ok((
        counts.class.into_pyarray(py),
        matrix(py, counts.feature, n_classes, features)?,
    ))
}

/// A fitted discrete naive Bayes classifier.
#[pyclass(frozen, module = "ironlearn._core")]
pub struct DiscreteModel {
    core: Core,
}

type Arrays<'py> = (
    Bound<'py, PyArray2<f64>>,
    Option<Bound<'py, PyArray2<f64>>>,
    Bound<'py, PyArray1<f64>>,
    Option<f64>,
);

#[pymethods]
impl DiscreteModel {
    /// Checks the arrays and copies them: what a present and, if there is such a thing, an
    /// absent feature adds to each class, logarithms of priors, and the threshold above which
    /// a feature is present.
    #[staticmethod]
    fn from_arrays(
        present: PyReadonlyArray2<'_, f64>,
        absent: Option<PyReadonlyArray2<'_, f64>>,
        log_prior: PyReadonlyArray1<'_, f64>,
        threshold: Option<f64>,
    ) -> PyResult<Self> {
        if let Some(absent) = &absent {
            expect_len(
                "absent's second axis",
                absent.shape()[1],
                present.shape()[1],
            )?;
        }
        let core = Core::new(
            present.shape()[0],
            present.shape()[1],
            slice("present", &present)?.to_vec(),
            absent
                .as_ref()
                .map(|a| slice("absent", a).map(<[f64]>::to_vec))
                .transpose()?,
            slice("log_prior", &log_prior)?.to_vec(),
            threshold,
        )
        .map_err(to_py)?;
        Ok(DiscreteModel { core })
    }

    /// What `from_arrays` takes; arrays are read-only copies.
    fn arrays<'py>(&self, py: Python<'py>) -> PyResult<Arrays<'py>> {
        let (k, d) = (self.core.classes(), self.core.features());
        let absent = match self.core.absent() {
            Some(absent) => Some(frozen(matrix(py, absent.to_vec(), k, d)?)),
            None => None,
        };
        Ok((
            frozen(matrix(py, self.core.present().to_vec(), k, d)?),
            absent,
            frozen(self.core.log_prior().to_vec().into_pyarray(py)),
            self.core.threshold(),
        ))
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<(Bound<'py, PyAny>, Arrays<'py>)> {
        let rebuild = slf.get_type().getattr("from_arrays")?;
        Ok((rebuild, slf.get().arrays(slf.py())?))
    }

    /// `log P(class) + log P(row | class)`.
    #[pyo3(signature = (x, *, n_threads))]
    fn joint_log_likelihood<'py>(
        &self,
        py: Python<'py>,
        x: Rows<'py>,
        n_threads: usize,
    ) -> PyResult<Bound<'py, PyArray2<f64>>> {
        let k = self.core.classes();
        let out = on_rows!(&x, x => {
            let cost = x.stored().saturating_mul(k) / 4;
            gate::sized(py, n_threads, cost, |control| self.core.dense_joint(control, x))
        }, {
            let cost = x.stored().saturating_mul(k);
            gate::sized(py, n_threads, cost, |control| self.core.sparse_joint(control, x))
        })?;
        let rows = out.len() / k;
        matrix(py, out, rows, k)
    }

    /// The code of the likeliest class of each row.
    #[pyo3(signature = (x, *, n_threads))]
    fn predict_codes<'py>(
        &self,
        py: Python<'py>,
        x: Rows<'py>,
        n_threads: usize,
    ) -> PyResult<Bound<'py, PyArray1<i64>>> {
        let k = self.core.classes();
        let out = on_rows!(&x, x => {
            let cost = x.stored().saturating_mul(k) / 4;
            gate::sized(py, n_threads, cost, |control| self.core.dense_predict(control, x))
        }, {
            let cost = x.stored().saturating_mul(k);
            gate::sized(py, n_threads, cost, |control| self.core.sparse_predict(control, x))
        })?;
        Ok(out.into_pyarray(py))
    }
}
