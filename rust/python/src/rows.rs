//! Dense and CSR rows as naive Bayes takes them, and the structure of CSR matrices.

use crate::arrays::slice;
use crate::errors::to_py;
use crate::gate;
use ironlearn_core::csr::is_whole;
use ironlearn_core::error::Error;
use ironlearn_core::naive_bayes::rows::{Csr, Dense, Index};
use ironlearn_kernels::sums::Value;
use numpy::{PyReadonlyArray1, PyReadonlyArray2, PyUntypedArrayMethods};
use pyo3::prelude::*;

/// Elements of a CSR matrix.
#[derive(FromPyObject)]
pub enum Values<'py> {
    F64(PyReadonlyArray1<'py, f64>),
    F32(PyReadonlyArray1<'py, f32>),
    I64(PyReadonlyArray1<'py, i64>),
}

/// Column numbers or row starts of a CSR matrix.
#[derive(FromPyObject)]
pub enum Indices<'py> {
    I32(PyReadonlyArray1<'py, i32>),
    I64(PyReadonlyArray1<'py, i64>),
}

/// (data, indices, indptr, n_features) of a CSR matrix.
#[derive(FromPyObject)]
pub struct SparseRows<'py>(
    pub Values<'py>,
    pub Indices<'py>,
    pub Indices<'py>,
    pub usize,
);

/// A dense matrix of numbers.
#[derive(FromPyObject)]
pub enum DenseRows<'py> {
    F64(PyReadonlyArray2<'py, f64>),
    F32(PyReadonlyArray2<'py, f32>),
    I64(PyReadonlyArray2<'py, i64>),
    U8(PyReadonlyArray2<'py, u8>),
}

/// A dense matrix, or the parts of a CSR matrix.
#[derive(FromPyObject)]
pub enum Rows<'py> {
    #[pyo3(transparent)]
    Dense(DenseRows<'py>),
    #[pyo3(transparent)]
    Sparse(SparseRows<'py>),
}

pub fn dense<'a, T: Value + numpy::Element>(
    x: &'a PyReadonlyArray2<'_, T>,
) -> PyResult<Dense<'a, T>> {
    Dense::new(slice("X", x)?, x.shape()[1]).map_err(to_py)
}

pub fn csr<'a, T: Value + numpy::Element, I: Index + numpy::Element>(
    data: &'a PyReadonlyArray1<'_, T>,
    indices: &'a PyReadonlyArray1<'_, I>,
    indptr: &'a PyReadonlyArray1<'_, I>,
    features: usize,
) -> PyResult<Csr<'a, T, I>> {
    let data = slice("X.data", data)?;
    let indices = slice("X.indices", indices)?;
    Csr::new(data, indices, slice("X.indptr", indptr)?, features).map_err(to_py)
}

pub fn mixed_indices<T>() -> PyResult<T> {
    Err(to_py(Error::Shape {
        name: "X (CSR)",
        given: "indices and indptr of different dtypes".into(),
        expected: "one dtype, int32 or int64,".into(),
    }))
}

/// Evaluates `$body` with `$x` bound to the typed CSR rows.
macro_rules! on_sparse {
    ($rows:expr, $x:ident => $body:expr) => {{
        use $crate::rows::{Indices, SparseRows, Values, csr, mixed_indices};
        let SparseRows(data, indices, indptr, features) = $rows;
        macro_rules! with {
            ($d:expr, $i:expr, $p:expr) => {{
                let $x = csr($d, $i, $p, *features)?;
                $body
            }};
        }
        match (data, indices, indptr) {
            (Values::F64(d), Indices::I32(i), Indices::I32(p)) => with!(d, i, p),
            (Values::F64(d), Indices::I64(i), Indices::I64(p)) => with!(d, i, p),
            (Values::F32(d), Indices::I32(i), Indices::I32(p)) => with!(d, i, p),
            (Values::F32(d), Indices::I64(i), Indices::I64(p)) => with!(d, i, p),
            (Values::I64(d), Indices::I32(i), Indices::I32(p)) => with!(d, i, p),
            (Values::I64(d), Indices::I64(i), Indices::I64(p)) => with!(d, i, p),
            _ => mixed_indices(),
        }
    }};
}

/// Evaluates `$dense` or `$sparse` with `$x` bound to the typed rows.
macro_rules! on_rows {
    ($rows:expr, $x:ident => $dense:expr, $sparse:expr) => {{
        use $crate::rows::{DenseRows, Rows, dense, on_sparse};
        macro_rules! with {
            ($a:expr) => {{
                let $x = dense($a)?;
                $dense
            }};
        }
        match $rows {
            Rows::Dense(DenseRows::F64(a)) => with!(a),
            Rows::Dense(DenseRows::F32(a)) => with!(a),
            Rows::Dense(DenseRows::I64(a)) => with!(a),
            Rows::Dense(DenseRows::U8(a)) => with!(a),
            Rows::Sparse(parts) => on_sparse!(parts, $x => $sparse),
        }
    }};
}

pub(crate) use {on_rows, on_sparse};

/// Whether no element of a CSR matrix is stored in parts, or `None` if its structure is broken.
#[pyfunction]
pub fn csr_is_whole(
    py: Python<'_>,
    indices: Indices<'_>,
    indptr: Indices<'_>,
    n_features: usize,
) -> PyResult<Option<bool>> {
    macro_rules! check {
        ($indices:expr, $indptr:expr) => {{
            let (indices, indptr) = (slice("indices", $indices)?, slice("indptr", $indptr)?);
            let cost = indices.len() + indptr.len();
            gate::sized(py, 1, cost, |control| {
                is_whole(control, indices, indptr, n_features)
            })
        }};
    }
    match (&indices, &indptr) {
        (Indices::I32(i), Indices::I32(p)) => check!(i, p),
        (Indices::I64(i), Indices::I64(p)) => check!(i, p),
        _ => Err(to_py(Error::Shape {
            name: "X (CSR)",
            given: "indices and indptr of different dtypes".into(),
            expected: "one dtype, int32 or int64,".into(),
        })),
    }
}
