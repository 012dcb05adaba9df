//! Bindings of convolutions of batches of images (N, H, W, C).

use crate::arrays::{expect_len, slice};
use crate::errors::to_py;
use crate::gate;
use ironlearn_core::error::Error;
use ironlearn_core::nn::conv;
use ironlearn_core::nn::inverted::{self, InvertedResidual};
use ironlearn_kernels::conv::ConvShape;
use ironlearn_kernels::gemm::Activation;
use numpy::{
    Element, PyReadonlyArray1, PyReadonlyArray4, PyReadonlyArrayDyn, PyReadwriteArray,
    PyReadwriteArray1, PyReadwriteArray4, PyUntypedArrayMethods,
};
use pyo3::prelude::*;

/// Two sizes, along height and width.
pub type Pair = (usize, usize);

/// Multiplications that fit into one elementary operation of the gate's measure.
const WIDE: usize = 16;

/// The activation of that name.
pub fn activation_of(name: &str) -> PyResult<Activation> {
    Activation::from_name(name).ok_or_else(|| {
        let names: Vec<&str> = Activation::ALL.iter().map(|a| a.name()).collect();
        to_py(Error::InvalidParameter {
            name: "activation",
            given: format!("{name:?}"),
            expected: format!("one of {names:?}"),
        })
    })
}

/// The elements of an array to write to.
pub fn slice_mut<'a, T: Element, D: numpy::ndarray::Dimension>(
    name: &'static str,
    array: &'a mut PyReadwriteArray<'_, T, D>,
) -> PyResult<&'a mut [T]> {
    let error = to_py(Error::Shape {
        name,
        given: format!("strides {:?}", array.strides()),
        expected: "a C-contiguous array".into(),
    });
    if !array.is_c_contiguous() {
        return Err(error);
    }
    array.as_slice_mut().map_err(|_| error)
}

/// The convolution of images of shape `image` (N, H, W, C) with a kernel of shape `kernel`.
fn shape_of(
    image: &[usize],
    kernel: &[usize],
    stride: Pair,
    padding: (Pair, Pair),
    dilation: Pair,
    groups: usize,
) -> PyResult<ConvShape> {
    let shape = ConvShape {
        image: (image[1], image[2]),
        channels: image[3],
        filters: kernel[3],
        kernel: (kernel[0], kernel[1]),
        stride,
        padding,
        dilation,
        groups,
    };
    conv::check(&shape).map_err(to_py)?;
    if kernel[2] * groups != image[3] {
        return Err(to_py(Error::Shape {
            name: "w",
            given: format!("{} input channels for each of {groups} groups", kernel[2]),
            expected: format!("{} (of {} in all)", image[3] / groups, image[3]),
        }));
    }
    Ok(shape)
}

/// An error unless an array of shape `given` holds `images` answers of `shape`.
fn expect_answer(
    name: &'static str,
    given: &[usize],
    images: usize,
    shape: &ConvShape,
) -> PyResult<()> {
    let (rows, columns) = shape.out();
    let expected = [images, rows, columns, shape.filters];
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

/// Writes `activation(x * w + b)` to `y`.
#[pyfunction]
#[pyo3(signature = (x, w, b, y, *, stride, padding, dilation, groups, activation, n_threads))]
pub fn conv2d(
    py: Python<'_>,
    x: PyReadonlyArray4<'_, f32>,
    w: PyReadonlyArray4<'_, f32>,
    b: Option<PyReadonlyArray1<'_, f32>>,
    mut y: PyReadwriteArray4<'_, f32>,
    stride: Pair,
    padding: (Pair, Pair),
    dilation: Pair,
    groups: usize,
    activation: &str,
    n_threads: usize,
) -> PyResult<()> {
    let shape = shape_of(x.shape(), w.shape(), stride, padding, dilation, groups)?;
    let images = x.shape()[0];
    expect_answer("y", y.shape(), images, &shape)?;
    let activation = activation_of(activation)?;
    let (x, w) = (slice("x", &x)?, slice("w", &w)?);
    let b = b.as_ref().map(|b| slice("b", b)).transpose()?;
    let y = slice_mut("y", &mut y)?;
    let cost = (images * shape.cost()) / WIDE + y.len() / 4;
    gate::sized(py, n_threads, cost, |control| {
        conv::conv2d(control, &shape, images, x, w, b, activation, y)
    })
}

/// Arrays of one inverted residual: kernel and bias of the widening (or none of them), of the
/// depthwise convolution and of the narrowing.
const OF_BLOCK: usize = 6;

/// Writes to `y` what inverted residuals, one after the other, make of `x`; see `OF_BLOCK`.
///
/// `geometry` holds stride and padding of each block's depthwise convolution.
#[pyfunction]
#[pyo3(signature = (x, weights, geometry, y, *, activation, n_threads))]
pub fn nn_inverted_residuals(
    py: Python<'_>,
    x: PyReadonlyArray4<'_, f32>,
    weights: Vec<Option<PyReadonlyArrayDyn<'_, f32>>>,
    geometry: Vec<(Pair, (Pair, Pair))>,
    mut y: PyReadwriteArray4<'_, f32>,
    activation: &str,
    n_threads: usize,
) -> PyResult<()> {
    let activation = activation_of(activation)?;
    let bad = |given: String, expected: String| {
        to_py(Error::Shape {
            name: "weights",
            given,
            expected,
        })
    };
    if weights.len() != OF_BLOCK * geometry.len() {
        let want = format!("{OF_BLOCK} for each of {} blocks", geometry.len());
        return Err(bad(format!("{} arrays", weights.len()), want));
    }
    let images = x.shape()[0];
    let mut size = (x.shape()[1], x.shape()[2]);
    let mut blocks = Vec::with_capacity(geometry.len());
    for (arrays, &(stride, padding)) in weights.chunks_exact(OF_BLOCK).zip(&geometry) {
        let pair = |i: usize| -> PyResult<Option<(&[f32], &[f32])>> {
            match (&arrays[i], &arrays[i + 1]) {
                (Some(w), Some(b)) => Ok(Some((slice("weights", w)?, slice("weights", b)?))),
                _ => Ok(None),
            }
        };
        let kernels = [0, 2, 4].map(|i| arrays[i].as_ref().map(|w| w.shape()));
        let (Some(depthwise), Some(project)) = (pair(2)?, pair(4)?) else {
            return Err(bad("none".into(), "a kernel and a bias".into()));
        };
        let (Some(&[kh, kw, 1, wide]), Some(&[1, 1, _, filters])) = (kernels[1], kernels[2]) else {
            let want = "a depthwise kernel and one of 1 x 1 pixels".into();
            return Err(bad(format!("kernels of shapes {kernels:?}"), want));
        };
        let channels = match kernels[0] {
            None => wide,
            Some(&[1, 1, channels, _]) => channels,
            Some(shape) => {
                return Err(bad(format!("shape {shape:?}"), "(1, 1, C, wide)".into()));
            }
        };
        let middle = shape_of(
            &[images, size.0, size.1, wide],
            &[kh, kw, 1, wide],
            stride,
            padding,
            (1, 1),
            wide,
        )?;
        size = middle.out();
        blocks.push(InvertedResidual {
            middle,
            channels,
            filters,
            expand: pair(0)?,
            depthwise,
            project,
            activation,
        });
    }
    let expected = [
        images,
        size.0,
        size.1,
        blocks.last().map_or(0, |b| b.filters),
    ];
    if y.shape() != expected || blocks.first().is_none_or(|b| b.channels != x.shape()[3]) {
        return Err(bad(
            format!("those for x {:?} and y {:?}", x.shape(), y.shape()),
            format!("y of shape {expected:?}, and the channels of x"),
        ));
    }
    let (x, y) = (slice("x", &x)?, slice_mut("y", &mut y)?);
    let of_image: usize = blocks.iter().map(InvertedResidual::cost).sum();
    gate::sized(py, n_threads, images * (of_image / WIDE), |control| {
        inverted::forward(control, images, &blocks, x, y)
    })
}

/// Writes the gradient of `conv2d`'s input to `gx`.
#[pyfunction]
#[pyo3(signature = (gy, w, gx, *, stride, padding, dilation, groups, n_threads))]
pub fn conv2d_grad_input(
    py: Python<'_>,
    gy: PyReadonlyArray4<'_, f32>,
    w: PyReadonlyArray4<'_, f32>,
    mut gx: PyReadwriteArray4<'_, f32>,
    stride: Pair,
    padding: (Pair, Pair),
    dilation: Pair,
    groups: usize,
    n_threads: usize,
) -> PyResult<()> {
    let shape = shape_of(gx.shape(), w.shape(), stride, padding, dilation, groups)?;
    let images = gx.shape()[0];
    expect_answer("gy", gy.shape(), images, &shape)?;
    let (gy, w) = (slice("gy", &gy)?, slice("w", &w)?);
    let gx = slice_mut("gx", &mut gx)?;
    let cost = (images * shape.cost()) / WIDE + gx.len() / 4;
    gate::sized(py, n_threads, cost, |control| {
        conv::conv2d_grad_input(control, &shape, images, gy, w, gx)
    })
}

/// Writes the gradient of `conv2d`'s kernel to `gw`.
#[pyfunction]
#[pyo3(signature = (x, gy, gw, *, stride, padding, dilation, groups, n_threads))]
pub fn conv2d_grad_weight(
    py: Python<'_>,
    x: PyReadonlyArray4<'_, f32>,
    gy: PyReadonlyArray4<'_, f32>,
    mut gw: PyReadwriteArray4<'_, f32>,
    stride: Pair,
    padding: (Pair, Pair),
    dilation: Pair,
    groups: usize,
    n_threads: usize,
) -> PyResult<()> {
    let shape = shape_of(x.shape(), gw.shape(), stride, padding, dilation, groups)?;
    let images = x.shape()[0];
    expect_answer("gy", gy.shape(), images, &shape)?;
    let (x, gy) = (slice("x", &x)?, slice("gy", &gy)?);
    let gw = slice_mut("gw", &mut gw)?;
    let cost = (images * shape.cost()) / WIDE + gw.len() / 4;
    gate::sized(py, n_threads, cost, |control| {
        conv::conv2d_grad_weight(control, &shape, images, x, gy, gw)
    })
}

/// Writes `gy` times the activation's slope at `y` to `gz`, and its sums by channel to `gb`.
///
/// The channels are the last axis; the arrays are given flat.
#[pyfunction]
#[pyo3(signature = (gy, y, gz, gb, *, activation, n_threads))]
pub fn activation_backward_sums(
    py: Python<'_>,
    gy: PyReadonlyArray1<'_, f32>,
    y: PyReadonlyArray1<'_, f32>,
    mut gz: PyReadwriteArray1<'_, f32>,
    mut gb: PyReadwriteArray1<'_, f32>,
    activation: &str,
    n_threads: usize,
) -> PyResult<()> {
    let activation = activation_of(activation)?;
    let (gy, y) = (slice("gy", &gy)?, slice("y", &y)?);
    let (gz, gb) = (slice_mut("gz", &mut gz)?, slice_mut("gb", &mut gb)?);
    let whole = gy.len().checked_rem(gb.len()).unwrap_or(gy.len());
    expect_len("gy", gy.len(), gy.len() - whole)?;
    gate::sized(py, n_threads, gy.len() / 2, |control| {
        conv::activation_backward(control, gb.len(), gy, y, activation, gz, gb)
    })
}
