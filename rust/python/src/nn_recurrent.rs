//! Bindings of recurrent layers over whole sequences.

use crate::arrays::{expect_len, slice};
use crate::errors::to_py;
use crate::gate;
use ironlearn_core::error::Error;
use ironlearn_core::nn::recurrent::{
    self, Batch, Cell, Layer, OutputGradients, Outputs, Shape, Tape,
};
use ironlearn_kernels::tier;
use numpy::{
    PyArray, PyArray1, PyArrayMethods, PyReadonlyArray1, PyReadonlyArray2, PyReadonlyArray3,
    PyUntypedArrayMethods,
};
use pyo3::prelude::*;

/// What a forward pass keeps for its backward pass.
#[pyclass(frozen, module = "ironlearn._core")]
pub struct RecurrentTape(Tape);

type Array<'py, D> = Bound<'py, PyArray<f32, D>>;
type Matrix<'py> = Array<'py, numpy::Ix2>;
type Vector<'py> = Array<'py, numpy::Ix1>;
type Cube<'py> = Array<'py, numpy::Ix3>;

fn cell(name: &str) -> PyResult<Cell> {
    match name {
        "lstm" => Ok(Cell::Lstm),
        "gru" => Ok(Cell::Gru),
        "tanh" => Ok(Cell::Tanh),
        "relu" => Ok(Cell::Relu),
        _ => Err(to_py(Error::InvalidParameter {
            name: "cell",
            given: format!("{name:?}"),
            expected: "one of lstm, gru, tanh, relu".into(),
        })),
    }
}

/// The arrays of a call, borrowed.
struct Inputs<'py> {
    cell: Cell,
    x: PyReadonlyArray3<'py, f32>,
    w: PyReadonlyArray2<'py, f32>,
    u: PyReadonlyArray2<'py, f32>,
    b: PyReadonlyArray1<'py, f32>,
    bu: Option<PyReadonlyArray1<'py, f32>>,
    h0: PyReadonlyArray2<'py, f32>,
    c0: Option<PyReadonlyArray2<'py, f32>>,
    mask: Option<PyReadonlyArray2<'py, u8>>,
    reverse: bool,
}

impl Inputs<'_> {
    fn view(&self) -> PyResult<(Layer<'_>, Batch<'_>)> {
        let [samples, steps, features] = *self.x.shape() else {
            unreachable!("three axes")
        };
        let units = self.u.shape()[0];
        expect_len("w's first axis", self.w.shape()[0], features)?;
        let shape = Shape {
            cell: self.cell,
            features,
            units,
        };
        let layer = Layer {
            shape,
            w: slice("w", &self.w)?,
            u: slice("u", &self.u)?,
            b: slice("b", &self.b)?,
            bu: self.bu.as_ref().map(|bu| slice("bu", bu)).transpose()?,
        };
        let batch = Batch {
            samples,
            steps,
            x: slice("x", &self.x)?,
            mask: self
                .mask
                .as_ref()
                .map(|mask| slice("mask", mask))
                .transpose()?,
            reverse: self.reverse,
            h0: slice("h0", &self.h0)?,
            c0: match &self.c0 {
                Some(c0) => slice("c0", c0)?,
                None => &[],
            },
        };
        Ok((layer, batch))
    }
}

/// The gate's measure of a pass: eight multiplications fit into an elementary operation.
fn cost(layer: &Layer, batch: &Batch) -> usize {
    let cells = batch.samples.saturating_mul(batch.steps);
    cells.saturating_mul(layer.shape.weights()) / 8
}

/// All states, the last state, the last cell state (LSTM), and the tape if `keep`.
#[pyfunction]
#[pyo3(signature = (kind, x, w, u, b, bu, h0, c0, *, mask, reverse, keep, n_threads))]
pub fn nn_recurrent<'py>(
    py: Python<'py>,
    kind: &str,
    x: PyReadonlyArray3<'py, f32>,
    w: PyReadonlyArray2<'py, f32>,
    u: PyReadonlyArray2<'py, f32>,
    b: PyReadonlyArray1<'py, f32>,
    bu: Option<PyReadonlyArray1<'py, f32>>,
    h0: PyReadonlyArray2<'py, f32>,
    c0: Option<PyReadonlyArray2<'py, f32>>,
    mask: Option<PyReadonlyArray2<'py, u8>>,
    reverse: bool,
    keep: bool,
    n_threads: usize,
) -> PyResult<(
    Cube<'py>,
    Matrix<'py>,
    Option<Matrix<'py>>,
    Option<RecurrentTape>,
)> {
    let inputs = Inputs {
        cell: cell(kind)?,
        x,
        w,
        u,
        b,
        bu,
        h0,
        c0,
        mask,
        reverse,
    };
    let (layer, batch) = inputs.view()?;
    let (n, steps, h) = (batch.samples, batch.steps, layer.shape.units);
    let lstm = layer.shape.cell == Cell::Lstm;
    let tier = tier::active();
    let outputs = gate::sized(py, n_threads, cost(&layer, &batch), |control| {
        recurrent::forward(control, tier, &layer, &batch, keep)
    })?;
    let Outputs {
        y,
        h: last,
        c,
        tape,
    } = outputs;
    let matrix = |values: Vec<f32>| PyArray1::from_vec(py, values).reshape([n, h]);
    Ok((
        PyArray1::from_vec(py, y).reshape([n, steps, h])?,
        matrix(last)?,
        if lstm { Some(matrix(c)?) } else { None },
        tape.map(RecurrentTape),
    ))
}

/// Gradients of x (if `needs_x`), w, u, b, bu (GRU), h0 and c0 (LSTM).
#[pyfunction]
#[pyo3(signature = (
    kind, gy, gh, gc, x, w, u, b, bu, h0, c0, tape, *, mask, reverse, needs_x, n_threads
))]
pub fn nn_recurrent_backward<'py>(
    py: Python<'py>,
    kind: &str,
    gy: Option<PyReadonlyArray3<'py, f32>>,
    gh: Option<PyReadonlyArray2<'py, f32>>,
    gc: Option<PyReadonlyArray2<'py, f32>>,
    x: PyReadonlyArray3<'py, f32>,
    w: PyReadonlyArray2<'py, f32>,
    u: PyReadonlyArray2<'py, f32>,
    b: PyReadonlyArray1<'py, f32>,
    bu: Option<PyReadonlyArray1<'py, f32>>,
    h0: PyReadonlyArray2<'py, f32>,
    c0: Option<PyReadonlyArray2<'py, f32>>,
    tape: &Bound<'py, RecurrentTape>,
    mask: Option<PyReadonlyArray2<'py, u8>>,
    reverse: bool,
    needs_x: bool,
    n_threads: usize,
) -> PyResult<(
    Option<Cube<'py>>,
    Matrix<'py>,
    Matrix<'py>,
    Vector<'py>,
    Option<Vector<'py>>,
    Matrix<'py>,
    Option<Matrix<'py>>,
)> {
    let inputs = Inputs {
        cell: cell(kind)?,
        x,
        w,
        u,
        b,
        bu,
        h0,
        c0,
        mask,
        reverse,
    };
    let (layer, batch) = inputs.view()?;
    let (n, steps) = (batch.samples, batch.steps);
    let Shape {
        cell,
        features,
        units,
    } = layer.shape;
    let gradients = OutputGradients {
        y: gy.as_ref().map(|g| slice("gy", g)).transpose()?,
        h: gh.as_ref().map(|g| slice("gh", g)).transpose()?,
        c: gc.as_ref().map(|g| slice("gc", g)).transpose()?,
    };
    let tier = tier::active();
    let tape = &tape.get().0;
    let out = gate::sized(
        py,
        n_threads,
        cost(&layer, &batch).saturating_mul(2),
        |control| recurrent::backward(control, tier, &layer, &batch, tape, gradients, needs_x),
    )?;
    let columns = layer.shape.columns();
    let matrix = |values: Vec<f32>, rows: usize, columns: usize| {
        PyArray1::from_vec(py, values).reshape([rows, columns])
    };
    Ok((
        match out.x {
            Some(gx) => Some(PyArray1::from_vec(py, gx).reshape([n, steps, features])?),
            None => None,
        },
        matrix(out.w, features, columns)?,
        matrix(out.u, units, columns)?,
        PyArray1::from_vec(py, out.b),
        (cell == Cell::Gru).then(|| PyArray1::from_vec(py, out.bu)),
        matrix(out.h0, n, units)?,
        if cell == Cell::Lstm {
            Some(matrix(out.c0, n, units)?)
        } else {
            None
        },
    ))
}
