//! Bindings of convolutions with a maximum over 2 x 2 pixels behind them.

use crate::arrays::{expect_len, slice, slice_mut};
use crate::errors::to_py;
use crate::gate;
use crate::nn_conv::activation_of;
use ironlearn_core::error::Error;
use ironlearn_core::nn::convpool::Layer;
use ironlearn_kernels::convpool::Shape;
use numpy::{
    PyReadonlyArray1, PyReadonlyArray4, PyReadwriteArray1, PyReadwriteArray4, PyUntypedArrayMethods,
};
use pyo3::prelude::*;

type Padding = ((usize, usize), (usize, usize));

/// Multiplications that fit into one elementary operation of the gate's measure.
const WIDE: usize = 16;

fn expect(name: &'static str, given: &[usize], expected: &[usize]) -> PyResult<()> {
    if given == expected {
        Ok(())
    } else {
        Err(to_py(Error::Shape {
            name,
            given: format!("shape {given:?}"),
            expected: format!("{expected:?}"),
        }))
    }
}

/// The layer for images of shape `x` and a kernel of shape `w`, the shape of its answer, and
/// what it costs.
fn layer_of(
    x: &[usize],
    w: &[usize],
    padding: Padding,
    activation: &str,
) -> PyResult<(Layer, [usize; 4], usize)> {
    let ((top, bottom), (left, right)) = padding;
    let shape = Shape {
        padding: [[top, bottom], [left, right]],
        ..Shape::valid([x[1], x[2], x[3]], [w[0], w[1]], w[3])
    };
    if w[2] != x[3] {
        return Err(to_py(Error::Shape {
            name: "w",
            given: format!("{} input channels", w[2]),
            expected: x[3].to_string(),
        }));
    }
    let layer = Layer::new(shape, activation_of(activation)?).map_err(to_py)?;
    let [rows, columns] = layer.pooled();
    let pixels = x[0].saturating_mul(shape.out_pixels());
    let cost = pixels.saturating_mul(shape.weights_len()) / WIDE;
    Ok((layer, [x[0], rows, columns, w[3]], cost))
}

/// Writes the maxima of `activation(x * w + b)` to `y` and their places to `argmax`.
#[pyfunction]
#[pyo3(signature = (x, w, b, y, argmax, *, padding, activation, n_threads))]
pub fn conv2d_max_pool(
    py: Python<'_>,
    x: PyReadonlyArray4<'_, f32>,
    w: PyReadonlyArray4<'_, f32>,
    b: Option<PyReadonlyArray1<'_, f32>>,
    mut y: PyReadwriteArray4<'_, f32>,
    mut argmax: PyReadwriteArray4<'_, i32>,
    padding: Padding,
    activation: &str,
    n_threads: usize,
) -> PyResult<()> {
    let (layer, answer, cost) = layer_of(x.shape(), w.shape(), padding, activation)?;
    expect("y", y.shape(), &answer)?;
    expect("argmax", argmax.shape(), &answer)?;
    let (x, w) = (slice("x", &x)?, slice("w", &w)?);
    let b = b.as_ref().map(|b| slice("b", b)).transpose()?;
    if let Some(b) = b {
        expect_len("b", b.len(), answer[3])?;
    }
    let (y, argmax) = (slice_mut("y", &mut y)?, slice_mut("argmax", &mut argmax)?);
    gate::sized(py, n_threads, cost, |control| {
        layer.forward(control, x, w, b, y, argmax)
    })
}

/// Writes the gradients of `conv2d_max_pool`'s input, kernel and bias to `gx`, `gw` and `gb`.
#[pyfunction]
#[pyo3(signature = (gy, y, argmax, x, w, gx, gw, gb, *, padding, activation, n_threads))]
pub fn conv2d_max_pool_backward(
    py: Python<'_>,
    gy: PyReadonlyArray4<'_, f32>,
    y: PyReadonlyArray4<'_, f32>,
    argmax: PyReadonlyArray4<'_, i32>,
    x: PyReadonlyArray4<'_, f32>,
    w: PyReadonlyArray4<'_, f32>,
    mut gx: Option<PyReadwriteArray4<'_, f32>>,
    mut gw: PyReadwriteArray4<'_, f32>,
    mut gb: PyReadwriteArray1<'_, f32>,
    padding: Padding,
    activation: &str,
    n_threads: usize,
) -> PyResult<()> {
    let (layer, answer, cost) = layer_of(x.shape(), w.shape(), padding, activation)?;
    expect("gy", gy.shape(), &answer)?;
    expect("y", y.shape(), &answer)?;
    expect("argmax", argmax.shape(), &answer)?;
    expect("gw", gw.shape(), w.shape())?;
    if let Some(gx) = &gx {
        expect("gx", gx.shape(), x.shape())?;
    }
    expect_len("gb", gb.shape()[0], answer[3])?;
    let (gy, y, argmax) = (
        slice("gy", &gy)?,
        slice("y", &y)?,
        slice("argmax", &argmax)?,
    );
    let (x, w) = (slice("x", &x)?, slice("w", &w)?);
    let (gw, gb) = (slice_mut("gw", &mut gw)?, slice_mut("gb", &mut gb)?);
    let gx = gx.as_mut().map(|gx| slice_mut("gx", gx)).transpose()?;
    gate::sized(py, n_threads, cost, |control| {
        layer.backward(control, x, w, y, argmax, gy, gw, gb, gx)
    })
}
