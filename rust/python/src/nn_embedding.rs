//! Bindings of embeddings.

use crate::arrays::{expect_len, slice, slice_mut};
use crate::gate;
use ironlearn_core::nn::embedding;
use numpy::{PyReadonlyArray1, PyReadonlyArray2, PyReadwriteArray2, PyUntypedArrayMethods};
use pyo3::prelude::*;

/// Writes row `ids[i]` of `table` to row `i` of `out`.
#[pyfunction]
pub fn nn_embedding(
    py: Python<'_>,
    ids: PyReadonlyArray1<'_, i64>,
    table: PyReadonlyArray2<'_, f32>,
    mut out: PyReadwriteArray2<'_, f32>,
    n_threads: usize,
) -> PyResult<()> {
    let width = table.shape()[1].max(1);
    let (ids, table) = (slice("ids", &ids)?, slice("table", &table)?);
    let out = slice_mut("out", &mut out)?;
    expect_len("out", out.len(), ids.len() * width)?;
    gate::sized(py, n_threads, out.len(), |control| {
        embedding::gather(control, ids, table, width, out)
    })
}

/// Writes to row `r` of `out` the sum of the rows `i` of `g` with `ids[i] == r`, in their order.
#[pyfunction]
pub fn nn_embedding_backward(
    py: Python<'_>,
    g: PyReadonlyArray2<'_, f32>,
    ids: PyReadonlyArray1<'_, i64>,
    mut out: PyReadwriteArray2<'_, f32>,
    n_threads: usize,
) -> PyResult<()> {
    let width = g.shape()[1].max(1);
    let (g, ids) = (slice("g", &g)?, slice("ids", &ids)?);
    let columns = out.shape()[1];
    expect_len("out's rows", columns, width)?;
    let out = slice_mut("out", &mut out)?;
    expect_len("g", g.len(), ids.len() * width)?;
    gate::sized(py, n_threads, g.len() + out.len(), |control| {
        embedding::scatter(control, g, ids, width, out)
    })
}
