//! Bindings of affine maps and of the encoder blocks that are made of them.

use crate::arrays::{slice, slice_mut};
use crate::errors::to_py;
use crate::gate;
use crate::nn_attention::allowed;
use crate::nn_pointwise::unary;
use ironlearn_core::error::Error;
use ironlearn_core::nn::affine::Affine;
use ironlearn_core::nn::attention::Mask;
use ironlearn_core::nn::encoder::{self, Block, Norm, Settings};
use ironlearn_kernels::pointwise::Unary;
use numpy::{
    PyReadonlyArray1, PyReadonlyArray2, PyReadonlyArray4, PyReadonlyArrayDyn, PyReadwriteArray2,
    PyReadwriteArray3, PyUntypedArrayMethods,
};
use pyo3::prelude::*;

/// Multiplications that fit into one elementary operation of the gate's measure.
const WIDE: usize = 16;

/// Writes `activation(x w + b)` to `y`.
#[pyfunction]
pub fn nn_affine(
    py: Python<'_>,
    x: PyReadonlyArray2<'_, f32>,
    w: PyReadonlyArray2<'_, f32>,
    b: Option<PyReadonlyArray1<'_, f32>>,
    activation: &str,
    mut y: PyReadwriteArray2<'_, f32>,
    n_threads: usize,
) -> PyResult<()> {
    let (rows, inputs) = (x.shape()[0], x.shape()[1]);
    let outputs = w.shape()[1];
    if w.shape()[0] != inputs || y.shape() != [rows, outputs] {
        return Err(to_py(Error::Shape {
            name: "w and y",
            given: format!("shapes {:?} and {:?}", w.shape(), y.shape()),
            expected: format!("({inputs}, O) and ({rows}, O)"),
        }));
    }
    let map = Affine {
        kernel: slice("w", &w)?,
        bias: b.as_ref().map(|b| slice("b", b)).transpose()?,
        inputs,
        outputs,
        activation: unary(activation)?,
    };
    map.check().map_err(to_py)?;
    let x = slice("x", &x)?;
    let y = slice_mut("y", &mut y)?;
    let cost = rows * (map.cost() / WIDE + outputs);
    gate::sized(py, n_threads, cost, |control| map.run(control, rows, x, y))
}

/// Arrays of one block: kernel and bias of the attention, of its output, gain and offset of its
/// normalization, kernel and bias of both dense layers, gain and offset of their normalization.
const OF_BLOCK: usize = 12;

/// Replaces `x` (samples, steps, width) by what encoder blocks make of it; see `OF_BLOCK`.
#[pyfunction]
pub fn nn_encoder_blocks(
    py: Python<'_>,
    mut x: PyReadwriteArray3<'_, f32>,
    weights: Vec<PyReadonlyArrayDyn<'_, f32>>,
    heads: usize,
    activation: &str,
    norm_first: bool,
    causal: bool,
    eps: f32,
    mask: Option<PyReadonlyArray4<'_, bool>>,
    n_threads: usize,
) -> PyResult<()> {
    let activation = unary(activation)?;
    if !weights.len().is_multiple_of(OF_BLOCK) {
        return Err(to_py(Error::Shape {
            name: "weights",
            given: format!("{} arrays", weights.len()),
            expected: format!("{OF_BLOCK} for each block"),
        }));
    }
    let blocks = weights
        .chunks_exact(OF_BLOCK)
        .map(|arrays| block(arrays, activation))
        .collect::<PyResult<Vec<_>>>()?;
    let shape = x.shape();
    let s = Settings {
        samples: shape[0],
        steps: shape[1],
        width: shape[2],
        heads,
        eps,
        norm_first,
        mask: Mask {
            allowed: allowed(mask.as_ref())?,
            causal,
        },
    };
    let rows = s.samples * s.steps;
    let of_row: usize = weights.iter().map(|w| w.len()).sum();
    let cost = rows.saturating_mul(of_row / WIDE + blocks.len() * s.steps * s.width / WIDE);
    let x = slice_mut("x", &mut x)?;
    gate::sized(py, n_threads, cost, |control| {
        encoder::forward(control, s, &blocks, x)
    })
}

fn block<'a>(arrays: &'a [PyReadonlyArrayDyn<'_, f32>], activation: Unary) -> PyResult<Block<'a>> {
    let map = |i: usize, activation: Unary| -> PyResult<Affine<'a>> {
        let &[inputs, outputs] = arrays[i].shape() else {
            return Err(to_py(Error::Shape {
                name: "weights",
                given: format!(
                    "array {i} of a block with the shape {:?}",
                    arrays[i].shape()
                ),
                expected: "a matrix".into(),
            }));
        };
        Ok(Affine {
            kernel: slice("weights", &arrays[i])?,
            bias: Some(slice("weights", &arrays[i + 1])?),
            inputs,
            outputs,
            activation,
        })
    };
    let norm = |i: usize| -> PyResult<Norm<'a>> {
        Ok(Norm {
            gamma: slice("weights", &arrays[i])?,
            beta: slice("weights", &arrays[i + 1])?,
        })
    };
    Ok(Block {
        attention: map(0, Unary::Linear)?,
        output: map(2, Unary::Linear)?,
        attention_norm: norm(4)?,
        inner: map(6, activation)?,
        outer: map(8, Unary::Linear)?,
        outer_norm: norm(10)?,
    })
}
