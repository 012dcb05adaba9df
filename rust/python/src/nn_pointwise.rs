//! Bindings of elementwise operations: activations, biases, dropout.

use crate::arrays::{expect_len, slice, slice_mut};
use crate::errors::to_py;
use crate::gate;
use ironlearn_core::error::Error;
use ironlearn_core::nn::pointwise;
use ironlearn_kernels::pointwise::Unary;
use numpy::{IntoPyArray, PyArray1, PyReadonlyArrayDyn, PyReadwriteArrayDyn};
use pyo3::prelude::*;

/// The activation of that name.
pub fn unary(name: &str) -> PyResult<Unary> {
    Unary::from_name(name).ok_or_else(|| {
        let names: Vec<&str> = Unary::ALL.iter().map(|(_, name)| *name).collect();
        to_py(Error::InvalidParameter {
            name: "activation",
            given: format!("{name:?}"),
            expected: format!("one of {names:?}"),
        })
    })
}

/// Writes the activation of `x` to `y`.
#[pyfunction]
pub fn nn_activation(
    py: Python<'_>,
    x: PyReadonlyArrayDyn<'_, f32>,
    name: &str,
    mut y: PyReadwriteArrayDyn<'_, f32>,
    n_threads: usize,
) -> PyResult<()> {
    let kind = unary(name)?;
    let (x, y) = (slice("x", &x)?, slice_mut("y", &mut y)?);
    expect_len("y", y.len(), x.len())?;
    gate::sized(py, n_threads, 4 * x.len(), |control| {
        pointwise::activate(control, kind, x, y)
    })
}

/// Writes `gy` times the derivative of an activation to `out`; `source` is its output, or its
/// input where the derivative does not follow from the output.
#[pyfunction]
pub fn nn_activation_backward(
    py: Python<'_>,
    gy: PyReadonlyArrayDyn<'_, f32>,
    source: PyReadonlyArrayDyn<'_, f32>,
    name: &str,
    mut out: PyReadwriteArrayDyn<'_, f32>,
    n_threads: usize,
) -> PyResult<()> {
    let kind = unary(name)?;
    let (gy, source) = (slice("gy", &gy)?, slice("source", &source)?);
    let out = slice_mut("out", &mut out)?;
    expect_len("source", source.len(), gy.len())?;
    expect_len("out", out.len(), gy.len())?;
    gate::sized(py, n_threads, 4 * gy.len(), |control| {
        pointwise::activate_backward(control, kind, gy, source, out)
    })
}

/// Replaces each row z of `z` by the activation of z + `bias`.
#[pyfunction]
pub fn nn_bias_activation(
    py: Python<'_>,
    mut z: PyReadwriteArrayDyn<'_, f32>,
    bias: PyReadonlyArrayDyn<'_, f32>,
    name: &str,
    n_threads: usize,
) -> PyResult<()> {
    let kind = unary(name)?;
    let (z, bias) = (slice_mut("z", &mut z)?, slice("bias", &bias)?);
    expect_len("z", z.len(), z.len() / bias.len().max(1) * bias.len())?;
    gate::sized(py, n_threads, 4 * z.len(), |control| {
        pointwise::bias_activate(control, kind, z, bias)
    })
}

/// Writes the gradient of what an activation was taken of to `gz` and returns its sums over rows
/// of `width` numbers, the bias's gradient.
#[pyfunction]
pub fn nn_bias_activation_backward<'py>(
    py: Python<'py>,
    gy: PyReadonlyArrayDyn<'_, f32>,
    source: PyReadonlyArrayDyn<'_, f32>,
    name: &str,
    width: usize,
    mut gz: PyReadwriteArrayDyn<'_, f32>,
    n_threads: usize,
) -> PyResult<Bound<'py, PyArray1<f32>>> {
    let kind = unary(name)?;
    let (gy, source) = (slice("gy", &gy)?, slice("source", &source)?);
    let gz = slice_mut("gz", &mut gz)?;
    expect_len("source", source.len(), gy.len())?;
    expect_len("gz", gz.len(), gy.len())?;
    expect_len("gy", gy.len(), gy.len() / width.max(1) * width)?;
    let sums = gate::sized(py, n_threads, 4 * gy.len(), |control| {
        pointwise::bias_activate_backward(control, kind, gy, source, width, gz)
    })?;
    Ok(sums.into_pyarray(py))
}

/// Writes `x` with random zeros, the rest multiplied by 1 / (1 - rate): element n is kept where
/// number n of the stream (seed, task) is at least `rate`.
#[pyfunction]
pub fn nn_dropout(
    py: Python<'_>,
    seed: u64,
    task: u64,
    rate: f64,
    x: PyReadonlyArrayDyn<'_, f32>,
    mut y: PyReadwriteArrayDyn<'_, f32>,
    n_threads: usize,
) -> PyResult<()> {
    let (x, y) = (slice("x", &x)?, slice_mut("y", &mut y)?);
    expect_len("y", y.len(), x.len())?;
    gate::sized(py, n_threads, 4 * x.len(), |control| {
        pointwise::dropout(control, seed, task, rate, x, y)
    })
}
