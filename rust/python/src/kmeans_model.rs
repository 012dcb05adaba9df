//! Binding of fitted k-means centres.

use crate::arrays::{FloatMatrix, expect_len, frozen, matrix, optional, slice};
use crate::errors::to_py;
use crate::gate;
use crate::kmeans::{AnyArray, AnyRows, FloatVector, WIDE, count, mixed, places};
use ironlearn_core::kmeans::{KMeansModel as Core, SparseRows};
use ironlearn_core::parallel::Control;
use numpy::{
    Element, IntoPyArray, PyArray1, PyReadonlyArray1, PyReadonlyArray2, PyUntypedArrayMethods,
};
use pyo3::prelude::*;

/// Which squared lengths of rows are needed.
enum Lengths {
    No,
    OfParts,
    All,
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

/// Runs `$dense` with the elements and the number of rows of X, or `$sparse` with a function
/// that makes its rows under given weights; `$cost` is an estimate of the work.
macro_rules! with_rows {
    (
        $self:expr, $x:expr, $core:ident, $rows:ident, $data:ident, $make:ident, $cost:ident =>
        $dense:expr, $sparse:expr
    ) => {{
        macro_rules! dense {
            ($model:expr, $m:expr) => {{
                let $core = $model;
                let ($rows, $data) = ($self.rows($m)?, slice("X", $m)?);
                let $cost = $data.len().saturating_mul($core.clusters()) / WIDE;
                $dense
            }};
        }
        macro_rules! sparse {
            ($model:expr, $csr:expr, $d:expr) => {{
                let $core = $model;
                let (indices, indptr) = places(&$csr.1, &$csr.2)?;
                let ($rows, data, features) = (count(indptr), slice("X.data", $d)?, $csr.3);
                expect_len("X's second axis", features, $core.features())?;
                let $cost = data.len().saturating_mul($core.clusters()) / WIDE;
                let $make = |control: &Control, weights, lengths: Lengths| {
                    let make = match lengths {
                        Lengths::No => SparseRows::unmeasured,
                        Lengths::OfParts => SparseRows::half_measured,
                        Lengths::All => SparseRows::new,
                    };
                    make(control, data, indices, indptr, features, weights)
                };
                $sparse
            }};
        }
        match (&$self.core, &$x) {
            (Either::F32(core), AnyRows::Dense(FloatMatrix::F32(x))) => dense!(core, x),
            (Either::F64(core), AnyRows::Dense(FloatMatrix::F64(x))) => dense!(core, x),
            (Either::F32(core), AnyRows::Sparse(csr)) => match &csr.0 {
                FloatVector::F32(d) => sparse!(core, csr, d),
                FloatVector::F64(_) => Err(mixed("X")),
            },
            (Either::F64(core), AnyRows::Sparse(csr)) => match &csr.0 {
                FloatVector::F64(d) => sparse!(core, csr, d),
                FloatVector::F32(_) => Err(mixed("X")),
            },
            _ => Err(mixed("X")),
        }
    }};
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
        x: AnyRows<'py>,
        n_threads: usize,
    ) -> PyResult<Bound<'py, PyArray1<i32>>> {
        let labels = with_rows!(self, x, core, _rows, data, make, cost =>
            gate::sized(py, n_threads, cost, |control| core.predict(control, data)),
            gate::sized(py, n_threads, cost, |control| {
                core.predict_sparse(control, &make(control, None, Lengths::No)?)
            })
        )?;
        Ok(labels.into_pyarray(py))
    }

    /// Distances from each row to each centre.
    #[pyo3(signature = (x, *, n_threads))]
    fn transform<'py>(
        &self,
        py: Python<'py>,
        x: AnyRows<'py>,
        n_threads: usize,
    ) -> PyResult<AnyArray<'py>> {
        with_rows!(self, x, core, rows, data, make, cost => {
            let out = gate::sized(py, n_threads, cost, |control| core.transform(control, data))?;
            Ok(matrix(py, out, rows, core.clusters())?.into_any())
        }, {
            let out = gate::sized(py, n_threads, cost, |control| {
                core.transform_sparse(control, &make(control, None, Lengths::OfParts)?)
            })?;
            Ok(matrix(py, out, rows, core.clusters())?.into_any())
        })
    }

    /// The nearest centre of each row, and the weighted sum of squared distances to them.
    #[pyo3(signature = (x, sample_weight, *, n_threads))]
    fn assign<'py>(
        &self,
        py: Python<'py>,
        x: AnyRows<'py>,
        sample_weight: Option<PyReadonlyArray1<'py, f64>>,
        n_threads: usize,
    ) -> PyResult<(Bound<'py, PyArray1<i32>>, f64)> {
        let (labels, inertia) = with_rows!(self, x, core, rows, data, make, cost => {
            let weights = optional("sample_weight", sample_weight.as_ref(), rows)?;
            gate::sized(py, n_threads, cost, |control| core.assign(control, data, weights))
        }, {
            let weights = optional("sample_weight", sample_weight.as_ref(), rows)?;
            gate::sized(py, n_threads, cost, |control| {
                core.assign_sparse(control, &make(control, weights, Lengths::All)?)
            })
        })?;
        Ok((labels.into_pyarray(py), inertia))
    }
}

impl KMeansModel {
    fn rows<T: Element>(&self, x: &PyReadonlyArray2<'_, T>) -> PyResult<usize> {
        let features = with_core!(self, core => core.features());
        expect_len("X's second axis", x.shape()[1], features)?;
        Ok(x.shape()[0])
    }
}
