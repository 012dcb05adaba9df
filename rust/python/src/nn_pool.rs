//! Bindings of pooling of batches of images (N, H, W, C).

use crate::arrays::slice;
use crate::errors::to_py;
use crate::gate;
use crate::nn_conv::{Pair, slice_mut};
use ironlearn_core::error::Error;
use ironlearn_core::nn::pool;
use ironlearn_kernels::pool::PoolShape;
use numpy::{PyReadonlyArray4, PyReadwriteArray4, PyUntypedArrayMethods};
use pyo3::prelude::*;

fn shape_of(
    image: &[usize],
    size: Pair,
    stride: Pair,
    padding: (Pair, Pair),
    answer: (&'static str, &[usize]),
) -> PyResult<PoolShape> {
    let shape = PoolShape {
        image: (image[1], image[2]),
        channels: image[3],
        size,
        stride,
        padding,
    };
    pool::check(&shape).map_err(to_py)?;
    let (rows, columns) = shape.out();
    let expected = [image[0], rows, columns, image[3]];
    if answer.1 == expected {
        Ok(shape)
    } else {
        Err(to_py(Error::Shape {
            name: answer.0,
            given: format!("shape {:?}", answer.1),
            expected: format!("{expected:?}"),
        }))
    }
}

/// Writes each window's maximum to `y` and its place to `argmax`.
#[pyfunction]
#[pyo3(signature = (x, y, argmax, *, size, stride, padding, n_threads))]
pub fn max_pool2d(
    py: Python<'_>,
    x: PyReadonlyArray4<'_, f32>,
    mut y: PyReadwriteArray4<'_, f32>,
    mut argmax: PyReadwriteArray4<'_, i32>,
    size: Pair,
    stride: Pair,
    padding: (Pair, Pair),
    n_threads: usize,
) -> PyResult<()> {
    let shape = shape_of(x.shape(), size, stride, padding, ("y", y.shape()))?;
    let images = x.shape()[0];
    let x = slice("x", &x)?;
    let (y, argmax) = (slice_mut("y", &mut y)?, slice_mut("argmax", &mut argmax)?);
    let cost = y.len().saturating_mul(size.0 * size.1) / 2;
    gate::sized(py, n_threads, cost, |control| {
        pool::max_pool2d(control, &shape, images, x, y, argmax)
    })
}

/// Writes the gradient of `max_pool2d`'s input to `gx`.
#[pyfunction]
#[pyo3(signature = (gy, argmax, gx, *, n_threads))]
pub fn max_pool2d_backward(
    py: Python<'_>,
    gy: PyReadonlyArray4<'_, f32>,
    argmax: PyReadonlyArray4<'_, i32>,
    mut gx: PyReadwriteArray4<'_, f32>,
    n_threads: usize,
) -> PyResult<()> {
    let (images, pixels, channels) = {
        let s = gx.shape();
        (s[0], s[1] * s[2], s[3])
    };
    if gy.shape()[3] != channels || gy.shape()[0] != images || argmax.shape() != gy.shape() {
        return Err(to_py(Error::Shape {
            name: "gy",
            given: format!("shape {:?} (argmax {:?})", gy.shape(), argmax.shape()),
            expected: format!("{images} images of {channels} channels"),
        }));
    }
    let (gy, argmax) = (slice("gy", &gy)?, slice("argmax", &argmax)?);
    let gx = slice_mut("gx", &mut gx)?;
    gate::sized(py, n_threads, gx.len() / 4 + gy.len() * 2, |control| {
        pool::max_pool2d_backward(control, images, pixels, channels, gy, argmax, gx)
    })
}

/// Writes each window's mean to `y`.
#[pyfunction]
#[pyo3(signature = (x, y, *, size, stride, padding, n_threads))]
pub fn avg_pool2d(
    py: Python<'_>,
    x: PyReadonlyArray4<'_, f32>,
    mut y: PyReadwriteArray4<'_, f32>,
    size: Pair,
    stride: Pair,
    padding: (Pair, Pair),
    n_threads: usize,
) -> PyResult<()> {
    let shape = shape_of(x.shape(), size, stride, padding, ("y", y.shape()))?;
    let images = x.shape()[0];
    let x = slice("x", &x)?;
    let y = slice_mut("y", &mut y)?;
    let cost = y.len().saturating_mul(size.0 * size.1) / 4;
    gate::sized(py, n_threads, cost, |control| {
        pool::avg_pool2d(control, &shape, images, x, y)
    })
}

/// Writes the gradient of `avg_pool2d`'s input to `gx`.
#[pyfunction]
#[pyo3(signature = (gy, gx, *, size, stride, padding, n_threads))]
pub fn avg_pool2d_backward(
    py: Python<'_>,
    gy: PyReadonlyArray4<'_, f32>,
    mut gx: PyReadwriteArray4<'_, f32>,
    size: Pair,
    stride: Pair,
    padding: (Pair, Pair),
    n_threads: usize,
) -> PyResult<()> {
    let shape = shape_of(gx.shape(), size, stride, padding, ("gy", gy.shape()))?;
    let images = gx.shape()[0];
    let gy = slice("gy", &gy)?;
    let gx = slice_mut("gx", &mut gx)?;
    let cost = gy.len().saturating_mul(size.0 * size.1) / 4;
    gate::sized(py, n_threads, cost, |control| {
        pool::avg_pool2d_backward(control, &shape, images, gy, gx)
    })
}
