//! Bindings of categorical naive Bayes.

use crate::arrays::{expect_len, frozen, matrix, optional, slice};
use crate::errors::to_py;
use crate::gate;
use ironlearn_core::error::Error;
use ironlearn_core::naive_bayes::categorical::{self, CategoricalModel as Core, Counts};
use numpy::{
    IntoPyArray, PyArray1, PyArray2, PyReadonlyArray1, PyReadonlyArray2, PyUntypedArrayMethods,
};
use pyo3::prelude::*;

/// A matrix of category codes.
#[derive(FromPyObject)]
pub enum CodeMatrix<'py> {
    /// int64
    I64(PyReadonlyArray2<'py, i64>),
    /// uint8
    U8(PyReadonlyArray2<'py, u8>),
    /// uint16
    U16(PyReadonlyArray2<'py, u16>),
    /// int32
    I32(PyReadonlyArray2<'py, i32>),
}

macro_rules! each_code {
    ($x:expr, $view:ident => $body:expr) => {
        match $x {
            CodeMatrix::I64($view) => $body,
            CodeMatrix::U8($view) => $body,
            CodeMatrix::U16($view) => $body,
            CodeMatrix::I32($view) => $body,
        }
    };
}

type CountArrays<'py> = (
    Bound<'py, PyArray1<f64>>,
    Bound<'py, PyArray1<i64>>,
    Bound<'py, PyArray1<f64>>,
);
type CountViews<'py> = (
    PyReadonlyArray1<'py, f64>,
    PyReadonlyArray1<'py, i64>,
    PyReadonlyArray1<'py, f64>,
);

fn count_arrays<'py>(py: Python<'py>, counts: &Counts) -> CountArrays<'py> {
    let categories: Vec<i64> = counts.categories.iter().map(|n| *n as i64).collect();
    (
        counts.class.clone().into_pyarray(py),
        categories.into_pyarray(py),
        counts.cells.clone().into_pyarray(py),
    )
}

fn read_counts(arrays: &CountViews<'_>) -> PyResult<Counts> {
    let categories = slice("n_categories", &arrays.1)?
        .iter()
        .map(|n| {
            usize::try_from(*n).map_err(|_| {
                to_py(Error::InvalidParameter {
                    name: "n_categories",
                    given: n.to_string(),
                    expected: "non-negative".into(),
                })
            })
        })
        .collect::<PyResult<Vec<usize>>>()?;
    Ok(Counts {
        class: slice("class_count", &arrays.0)?.to_vec(),
        categories,
        cells: slice("category_count", &arrays.2)?.to_vec(),
    })
}

/// Weighted counts of classes, numbers of categories, and counts of categories by feature
/// and class.
#[pyfunction]
#[pyo3(signature = (x, y, sample_weight, *, n_classes, min_categories, n_threads))]
pub fn categorical_nb_counts<'py>(
    py: Python<'py>,
    x: CodeMatrix<'py>,
    y: PyReadonlyArray1<'py, u32>,
    sample_weight: Option<PyReadonlyArray1<'py, f64>>,
    n_classes: usize,
    min_categories: Option<PyReadonlyArray1<'py, i64>>,
    n_threads: usize,
) -> PyResult<CountArrays<'py>> {
    let y = slice("y", &y)?;
    let weights = optional("sample_weight", sample_weight.as_ref(), y.len())?;
    each_code!(x, x => {
        let (rows, features) = (x.shape()[0], x.shape()[1]);
        expect_len("y", y.len(), rows)?;
        let least = optional("min_categories", min_categories.as_ref(), features)?;
        let x = slice("X", &x)?;
        let counts = gate::sized(py, n_threads, x.len() * 2, |control| {
            categorical::counts(control, x, features, y, weights, n_classes, least)
        })?;
        Ok(count_arrays(py, &counts))
    })
}

/// The counts of two disjoint sets of rows together.
#[pyfunction]
pub fn categorical_nb_merge<'py>(
    py: Python<'py>,
    a: CountViews<'py>,
    b: CountViews<'py>,
) -> PyResult<CountArrays<'py>> {
    let mut merged = read_counts(&a)?;
    merged.merge(&read_counts(&b)?).map_err(to_py)?;
    Ok(count_arrays(py, &merged))
}

/// A fitted categorical naive Bayes classifier.
#[pyclass(frozen, module = "ironlearn._core")]
pub struct CategoricalModel {
    core: Core,
}

type Parts<'py> = (CountArrays<'py>, Bound<'py, PyArray1<f64>>, f64);

#[pymethods]
impl CategoricalModel {
    /// Checks the arrays and copies them.
    #[staticmethod]
    fn from_arrays(
        counts: CountViews<'_>,
        log_prior: PyReadonlyArray1<'_, f64>,
        alpha: f64,
    ) -> PyResult<Self> {
        let core = Core::new(
            read_counts(&counts)?,
            slice("log_prior", &log_prior)?.to_vec(),
            alpha,
        )
        .map_err(to_py)?;
        Ok(CategoricalModel { core })
    }

    /// What `from_arrays` takes: read-only copies.
    fn arrays<'py>(&self, py: Python<'py>) -> Parts<'py> {
        let (class, categories, cells) = count_arrays(py, self.core.counts());
        (
            (frozen(class), frozen(categories), frozen(cells)),
            frozen(self.core.log_prior().to_vec().into_pyarray(py)),
            self.core.alpha(),
        )
    }

    /// Log-probabilities of the categories, laid out as their counts.
    fn log_prob<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<f64>> {
        frozen(self.core.log_prob().to_vec().into_pyarray(py))
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<(Bound<'py, PyAny>, Parts<'py>)> {
        let rebuild = slf.get_type().getattr("from_arrays")?;
        Ok((rebuild, slf.get().arrays(slf.py())))
    }

    /// `log P(class) + log P(row | class)`.
    #[pyo3(signature = (x, *, n_threads))]
    fn joint_log_likelihood<'py>(
        &self,
        py: Python<'py>,
        x: CodeMatrix<'py>,
        n_threads: usize,
    ) -> PyResult<Bound<'py, PyArray2<f64>>> {
        let classes = self.core.classes();
        each_code!(x, x => {
            let (rows, x) = (self.rows(&x)?, slice("X", &x)?);
            let out = gate::sized(py, n_threads, x.len() * classes, |control| {
                self.core.joint_log_likelihood(control, x)
            })?;
            matrix(py, out, rows, classes)
        })
    }

    /// The code of the likeliest class of each row.
    #[pyo3(signature = (x, *, n_threads))]
    fn predict_codes<'py>(
        &self,
        py: Python<'py>,
        x: CodeMatrix<'py>,
        n_threads: usize,
    ) -> PyResult<Bound<'py, PyArray1<i64>>> {
        each_code!(x, x => {
            self.rows(&x)?;
            let x = slice("X", &x)?;
            let cost = x.len() * self.core.classes();
            let out = gate::sized(py, n_threads, cost, |control| self.core.predict(control, x))?;
            Ok(out.into_pyarray(py))
        })
    }
}

impl CategoricalModel {
    fn rows<T: numpy::Element>(&self, x: &PyReadonlyArray2<'_, T>) -> PyResult<usize> {
        expect_len("X's second axis", x.shape()[1], self.core.features())?;
        Ok(x.shape()[0])
    }
}
