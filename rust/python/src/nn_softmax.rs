//! Bindings of softmax and the cross-entropies.

use crate::arrays::{expect_len, slice, slice_mut};
use crate::errors::to_py;
use crate::gate;
use ironlearn_core::error::Error;
use ironlearn_core::nn::softmax;
use numpy::{
    PyReadonlyArray1, PyReadonlyArray2, PyReadonlyArrayDyn, PyReadwriteArray1, PyReadwriteArray2,
    PyReadwriteArrayDyn, PyUntypedArrayMethods,
};
use pyo3::prelude::*;

/// The length of the last axis.
fn width_of(name: &'static str, shape: &[usize]) -> PyResult<usize> {
    match shape.last() {
        Some(&width) if width > 0 => Ok(width),
        _ => Err(to_py(Error::Shape {
            name,
            given: format!("shape {shape:?}"),
            expected: "a last axis that is not empty".into(),
        })),
    }
}

/// Writes the softmax (or, if `log`, its logarithm) over the last axis of `x` to `y`.
#[pyfunction]
pub fn nn_softmax(
    py: Python<'_>,
    x: PyReadonlyArrayDyn<'_, f32>,
    log: bool,
    mut y: PyReadwriteArrayDyn<'_, f32>,
    n_threads: usize,
) -> PyResult<()> {
    let width = width_of("x", x.shape())?;
    let (x, y) = (slice("x", &x)?, slice_mut("y", &mut y)?);
    expect_len("y", y.len(), x.len())?;
    gate::sized(py, n_threads, 6 * x.len(), |control| {
        if log {
            softmax::log_softmax(control, width, x, y)
        } else {
            softmax::softmax(control, width, x, y)
        }
    })
}

/// Writes the gradient of the input of `nn_softmax` to `gx`, given its output.
#[pyfunction]
pub fn nn_softmax_backward(
    py: Python<'_>,
    gy: PyReadonlyArrayDyn<'_, f32>,
    y: PyReadonlyArrayDyn<'_, f32>,
    log: bool,
    mut gx: PyReadwriteArrayDyn<'_, f32>,
    n_threads: usize,
) -> PyResult<()> {
    let width = width_of("y", y.shape())?;
    let (gy, y) = (slice("gy", &gy)?, slice("y", &y)?);
    let gx = slice_mut("gx", &mut gx)?;
    expect_len("gy", gy.len(), y.len())?;
    expect_len("gx", gx.len(), y.len())?;
    gate::sized(py, n_threads, 4 * y.len(), |control| {
        if log {
            softmax::log_softmax_backward(control, width, gy, y, gx)
        } else {
            softmax::softmax_backward(control, width, gy, y, gx)
        }
    })
}

/// Writes each row's cross-entropy and probabilities.
#[pyfunction]
pub fn nn_softmax_cross_entropy(
    py: Python<'_>,
    logits: PyReadonlyArray2<'_, f32>,
    targets: PyReadonlyArray1<'_, i64>,
    label_smoothing: f32,
    mut losses: PyReadwriteArray1<'_, f32>,
    mut probabilities: PyReadwriteArray2<'_, f32>,
    n_threads: usize,
) -> PyResult<()> {
    let (rows, width) = (logits.shape()[0], width_of("logits", logits.shape())?);
    let (logits, targets) = (slice("logits", &logits)?, slice("targets", &targets)?);
    let losses = slice_mut("losses", &mut losses)?;
    let probabilities = slice_mut("probabilities", &mut probabilities)?;
    expect_len("targets", targets.len(), rows)?;
    expect_len("losses", losses.len(), rows)?;
    expect_len("probabilities", probabilities.len(), logits.len())?;
    gate::sized(py, n_threads, 6 * logits.len(), |control| {
        let s = label_smoothing;
        softmax::cross_entropy(control, width, logits, targets, s, losses, probabilities)
    })
}

/// Writes the gradient of the logits, given that of each row's loss.
#[pyfunction]
pub fn nn_softmax_cross_entropy_backward(
    py: Python<'_>,
    probabilities: PyReadonlyArray2<'_, f32>,
    targets: PyReadonlyArray1<'_, i64>,
    glosses: PyReadonlyArray1<'_, f32>,
    label_smoothing: f32,
    mut out: PyReadwriteArray2<'_, f32>,
    n_threads: usize,
) -> PyResult<()> {
    let shape = probabilities.shape();
    let (rows, width) = (shape[0], width_of("probabilities", shape)?);
    let (p, targets) = (
        slice("probabilities", &probabilities)?,
        slice("targets", &targets)?,
    );
    let (glosses, out) = (slice("glosses", &glosses)?, slice_mut("out", &mut out)?);
    expect_len("targets", targets.len(), rows)?;
    expect_len("glosses", glosses.len(), rows)?;
    expect_len("out", out.len(), p.len())?;
    gate::sized(py, n_threads, 2 * p.len(), |control| {
        let s = label_smoothing;
        softmax::cross_entropy_backward(control, width, p, targets, glosses, s, out)
    })
}

/// Writes the binary cross-entropy of each logit and target.
#[pyfunction]
pub fn nn_sigmoid_cross_entropy(
    py: Python<'_>,
    logits: PyReadonlyArrayDyn<'_, f32>,
    targets: PyReadonlyArrayDyn<'_, f32>,
    mut out: PyReadwriteArrayDyn<'_, f32>,
    n_threads: usize,
) -> PyResult<()> {
    let (z, t) = (slice("logits", &logits)?, slice("targets", &targets)?);
    let out = slice_mut("out", &mut out)?;
    expect_len("targets", t.len(), z.len())?;
    expect_len("out", out.len(), z.len())?;
    gate::sized(py, n_threads, 8 * z.len(), |control| {
        softmax::binary_cross_entropy(control, z, t, out)
    })
}

/// Writes the gradient of the logits of `nn_sigmoid_cross_entropy`.
#[pyfunction]
pub fn nn_sigmoid_cross_entropy_backward(
    py: Python<'_>,
    logits: PyReadonlyArrayDyn<'_, f32>,
    targets: PyReadonlyArrayDyn<'_, f32>,
    g: PyReadonlyArrayDyn<'_, f32>,
    mut out: PyReadwriteArrayDyn<'_, f32>,
    n_threads: usize,
) -> PyResult<()> {
    let (z, t) = (slice("logits", &logits)?, slice("targets", &targets)?);
    let (g, out) = (slice("g", &g)?, slice_mut("out", &mut out)?);
    expect_len("targets", t.len(), z.len())?;
    expect_len("g", g.len(), z.len())?;
    expect_len("out", out.len(), z.len())?;
    gate::sized(py, n_threads, 6 * z.len(), |control| {
        softmax::binary_cross_entropy_backward(control, z, t, g, out)
    })
}
