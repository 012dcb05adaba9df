//! Bindings of layer, batch and group normalization.

use crate::arrays::{expect_len, slice, slice_mut};
use crate::errors::to_py;
use crate::gate;
use crate::nn_pointwise::unary;
use ironlearn_core::error::Error;
use ironlearn_core::nn::norm::{self, Groups};
use numpy::{
    IntoPyArray, PyArray1, PyReadonlyArray1, PyReadonlyArrayDyn, PyReadwriteArrayDyn,
    PyUntypedArrayMethods,
};
use pyo3::prelude::*;

type Vectors<'py> = (Bound<'py, PyArray1<f32>>, Bound<'py, PyArray1<f32>>);

fn vectors(py: Python<'_>, (a, b): (Vec<f32>, Vec<f32>)) -> Vectors<'_> {
    (a.into_pyarray(py), b.into_pyarray(py))
}

/// An error unless vectors of `width` numbers make up `len`.
fn expect_rows(name: &'static str, len: usize, width: usize) -> PyResult<usize> {
    if width > 0 && len.is_multiple_of(width) {
        return Ok(len / width);
    }
    Err(to_py(Error::Shape {
        name,
        given: format!("{len} elements"),
        expected: format!("a multiple of {width}"),
    }))
}

/// Writes `layer_norm` of `x`, or of `x + residual`, which is then written to `total`.
#[pyfunction]
pub fn nn_layer_norm(
    py: Python<'_>,
    x: PyReadonlyArrayDyn<'_, f32>,
    residual: Option<PyReadonlyArrayDyn<'_, f32>>,
    gamma: PyReadonlyArray1<'_, f32>,
    beta: PyReadonlyArray1<'_, f32>,
    eps: f32,
    total: Option<PyReadwriteArrayDyn<'_, f32>>,
    mut y: PyReadwriteArrayDyn<'_, f32>,
    mut mean: PyReadwriteArrayDyn<'_, f32>,
    mut rstd: PyReadwriteArrayDyn<'_, f32>,
    n_threads: usize,
) -> PyResult<()> {
    let (x, gamma, beta) = (
        slice("x", &x)?,
        slice("gamma", &gamma)?,
        slice("beta", &beta)?,
    );
    let rows = expect_rows("x", x.len(), gamma.len())?;
    let (y, mean) = (slice_mut("y", &mut y)?, slice_mut("mean", &mut mean)?);
    let rstd = slice_mut("rstd", &mut rstd)?;
    expect_len("beta", beta.len(), gamma.len())?;
    expect_len("y", y.len(), x.len())?;
    expect_len("mean", mean.len(), rows)?;
    expect_len("rstd", rstd.len(), rows)?;
    let mut total = total;
    let both = match (&residual, total.as_mut()) {
        (Some(residual), Some(total)) => {
            let (r, t) = (slice("residual", residual)?, slice_mut("total", total)?);
            expect_len("residual", r.len(), x.len())?;
            expect_len("total", t.len(), x.len())?;
            Some((r, t))
        }
        _ => None,
    };
    gate::sized(py, n_threads, 4 * x.len(), |control| {
        norm::layer_norm(control, x, both, gamma, beta, eps, y, mean, rstd)
    })
}

/// Writes the gradient of the input, plus `extra`; returns those of gain and offset.
#[pyfunction]
pub fn nn_layer_norm_backward<'py>(
    py: Python<'py>,
    gy: PyReadonlyArrayDyn<'_, f32>,
    extra: Option<PyReadonlyArrayDyn<'_, f32>>,
    x: PyReadonlyArrayDyn<'_, f32>,
    gamma: PyReadonlyArray1<'_, f32>,
    mean: PyReadonlyArrayDyn<'_, f32>,
    rstd: PyReadonlyArrayDyn<'_, f32>,
    mut gx: PyReadwriteArrayDyn<'_, f32>,
    n_threads: usize,
) -> PyResult<Vectors<'py>> {
    let (gy, x, gamma) = (slice("gy", &gy)?, slice("x", &x)?, slice("gamma", &gamma)?);
    let (mean, rstd) = (slice("mean", &mean)?, slice("rstd", &rstd)?);
    let rows = expect_rows("x", x.len(), gamma.len())?;
    let gx = slice_mut("gx", &mut gx)?;
    expect_len("gy", gy.len(), x.len())?;
    expect_len("gx", gx.len(), x.len())?;
    expect_len("mean", mean.len(), rows)?;
    expect_len("rstd", rstd.len(), rows)?;
    let extra = extra.as_ref().map(|e| slice("extra", e)).transpose()?;
    if let Some(extra) = extra {
        expect_len("extra", extra.len(), x.len())?;
    }
    let answer = gate::sized(py, n_threads, 8 * x.len(), |control| {
        norm::layer_norm_backward(control, gy, extra, x, gamma, mean, rstd, gx)
    })?;
    Ok(vectors(py, answer))
}

/// Writes `batch_norm` of `x` and returns mean and biased variance.
#[pyfunction]
pub fn nn_batch_norm<'py>(
    py: Python<'py>,
    x: PyReadonlyArrayDyn<'_, f32>,
    gamma: PyReadonlyArray1<'_, f32>,
    beta: PyReadonlyArray1<'_, f32>,
    eps: f32,
    activation: &str,
    mut y: PyReadwriteArrayDyn<'_, f32>,
    n_threads: usize,
) -> PyResult<Vectors<'py>> {
    let kind = unary(activation)?;
    let (x, gamma, beta) = (
        slice("x", &x)?,
        slice("gamma", &gamma)?,
        slice("beta", &beta)?,
    );
    expect_rows("x", x.len(), gamma.len())?;
    let y = slice_mut("y", &mut y)?;
    expect_len("beta", beta.len(), gamma.len())?;
    expect_len("y", y.len(), x.len())?;
    let answer = gate::sized(py, n_threads, 6 * x.len(), |control| {
        norm::batch_norm(control, x, gamma, beta, eps, kind, y)
    })?;
    Ok(vectors(py, answer))
}

/// Writes the gradient of the input of `nn_batch_norm`; returns those of gain and offset.
#[pyfunction]
pub fn nn_batch_norm_backward<'py>(
    py: Python<'py>,
    gy: PyReadonlyArrayDyn<'_, f32>,
    x: PyReadonlyArrayDyn<'_, f32>,
    y: PyReadonlyArrayDyn<'_, f32>,
    gamma: PyReadonlyArray1<'_, f32>,
    mean: PyReadonlyArray1<'_, f32>,
    var: PyReadonlyArray1<'_, f32>,
    eps: f32,
    activation: &str,
    mut gx: PyReadwriteArrayDyn<'_, f32>,
    n_threads: usize,
) -> PyResult<Vectors<'py>> {
    let kind = unary(activation)?;
    let (gy, x, y) = (slice("gy", &gy)?, slice("x", &x)?, slice("y", &y)?);
    let (gamma, mean, var) = (
        slice("gamma", &gamma)?,
        slice("mean", &mean)?,
        slice("var", &var)?,
    );
    expect_rows("x", x.len(), gamma.len())?;
    let gx = slice_mut("gx", &mut gx)?;
    for (name, len) in [("gy", gy.len()), ("y", y.len()), ("gx", gx.len())] {
        expect_len(name, len, x.len())?;
    }
    expect_len("mean", mean.len(), gamma.len())?;
    expect_len("var", var.len(), gamma.len())?;
    let answer = gate::sized(py, n_threads, 6 * x.len(), |control| {
        norm::batch_norm_backward(control, gy, x, y, gamma, mean, var, eps, kind, gx)
    })?;
    Ok(vectors(py, answer))
}

/// Writes `batch_norm` of `x` with the given mean and variance.
#[pyfunction]
pub fn nn_batch_norm_inference(
    py: Python<'_>,
    x: PyReadonlyArrayDyn<'_, f32>,
    gamma: PyReadonlyArray1<'_, f32>,
    beta: PyReadonlyArray1<'_, f32>,
    mean: PyReadonlyArray1<'_, f32>,
    var: PyReadonlyArray1<'_, f32>,
    eps: f32,
    activation: &str,
    mut y: PyReadwriteArrayDyn<'_, f32>,
    n_threads: usize,
) -> PyResult<()> {
    let kind = unary(activation)?;
    let (x, gamma, beta) = (
        slice("x", &x)?,
        slice("gamma", &gamma)?,
        slice("beta", &beta)?,
    );
    let (mean, var) = (slice("mean", &mean)?, slice("var", &var)?);
    expect_rows("x", x.len(), gamma.len())?;
    let y = slice_mut("y", &mut y)?;
    for (name, len) in [
        ("beta", beta.len()),
        ("mean", mean.len()),
        ("var", var.len()),
    ] {
        expect_len(name, len, gamma.len())?;
    }
    expect_len("y", y.len(), x.len())?;
    gate::sized(py, n_threads, 2 * x.len(), |control| {
        norm::batch_norm_inference(control, x, gamma, beta, mean, var, eps, kind, y)
    })
}

/// Sizes of `x` (N, ..., C) in `groups`, if they fit.
fn groups_of(shape: &[usize], width: usize, groups: usize) -> PyResult<Groups> {
    let sample: usize = shape.iter().skip(1).product();
    if shape.len() < 2
        || shape.last() != Some(&width)
        || groups == 0
        || !width.is_multiple_of(groups)
    {
        return Err(to_py(Error::Shape {
            name: "x",
            given: format!("shape {shape:?}"),
            expected: format!("(N, ..., {width}), of which {groups} groups divide the last axis,"),
        }));
    }
    Ok(Groups {
        samples: shape[0],
        cells: sample / width.max(1),
        width,
        groups,
    })
}

/// Writes `group_norm` of `x`.
#[pyfunction]
pub fn nn_group_norm(
    py: Python<'_>,
    x: PyReadonlyArrayDyn<'_, f32>,
    gamma: PyReadonlyArray1<'_, f32>,
    beta: PyReadonlyArray1<'_, f32>,
    groups: usize,
    eps: f32,
    mut y: PyReadwriteArrayDyn<'_, f32>,
    mut mean: PyReadwriteArrayDyn<'_, f32>,
    mut rstd: PyReadwriteArrayDyn<'_, f32>,
    n_threads: usize,
) -> PyResult<()> {
    let (gamma, beta) = (slice("gamma", &gamma)?, slice("beta", &beta)?);
    let sizes = groups_of(x.shape(), gamma.len(), groups)?;
    let (x, y) = (slice("x", &x)?, slice_mut("y", &mut y)?);
    let (mean, rstd) = (slice_mut("mean", &mut mean)?, slice_mut("rstd", &mut rstd)?);
    expect_len("beta", beta.len(), gamma.len())?;
    expect_len("y", y.len(), x.len())?;
    expect_len("mean", mean.len(), sizes.samples * groups)?;
    expect_len("rstd", rstd.len(), sizes.samples * groups)?;
    gate::sized(py, n_threads, 4 * x.len(), |control| {
        norm::group_norm(control, sizes, x, gamma, beta, eps, y, mean, rstd)
    })
}

/// Writes the gradient of the input of `nn_group_norm`; returns those of gain and offset.
#[pyfunction]
pub fn nn_group_norm_backward<'py>(
    py: Python<'py>,
    gy: PyReadonlyArrayDyn<'_, f32>,
    x: PyReadonlyArrayDyn<'_, f32>,
    gamma: PyReadonlyArray1<'_, f32>,
    mean: PyReadonlyArrayDyn<'_, f32>,
    rstd: PyReadonlyArrayDyn<'_, f32>,
    groups: usize,
    mut gx: PyReadwriteArrayDyn<'_, f32>,
    n_threads: usize,
) -> PyResult<Vectors<'py>> {
    let gamma = slice("gamma", &gamma)?;
    let sizes = groups_of(x.shape(), gamma.len(), groups)?;
    let (gy, x) = (slice("gy", &gy)?, slice("x", &x)?);
    let (mean, rstd) = (slice("mean", &mean)?, slice("rstd", &rstd)?);
    let gx = slice_mut("gx", &mut gx)?;
    expect_len("gy", gy.len(), x.len())?;
    expect_len("gx", gx.len(), x.len())?;
    expect_len("mean", mean.len(), sizes.samples * groups)?;
    expect_len("rstd", rstd.len(), sizes.samples * groups)?;
    let answer = gate::sized(py, n_threads, 6 * x.len(), |control| {
        norm::group_norm_backward(control, sizes, gy, x, gamma, mean, rstd, gx)
    })?;
    Ok(vectors(py, answer))
}
