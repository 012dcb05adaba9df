//! Binding of lowered networks.

use crate::arrays::{slice, slice_mut};
use crate::errors::to_py;
use crate::gate;
use crate::nn_optimizer::{borrow, hyper, rule};
use ironlearn_core::error::Error;
use ironlearn_core::plan::{Loss, Output, Plan as Core, Rows, State, Targets, Training, Value};
use numpy::{
    IntoPyArray, PyArray1, PyArrayDyn, PyArrayMethods, PyReadonlyArray1, PyReadonlyArrayDyn,
    PyUntypedArrayMethods,
};
use pyo3::prelude::*;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

/// One option of a step. Booleans come first: in Python they are integers too.
#[derive(FromPyObject)]
enum Option_ {
    Flag(bool),
    Int(i64),
    Float(f64),
    Text(String),
    Ints(Vec<i64>),
}

impl From<Option_> for Value {
    fn from(option: Option_) -> Value {
        match option {
            Option_::Flag(v) => Value::Flag(v),
            Option_::Int(v) => Value::Int(v),
            Option_::Float(v) => Value::Float(v),
            Option_::Text(v) => Value::Text(v),
            Option_::Ints(v) => Value::Ints(v),
        }
    }
}

/// Samples of any type that a plan takes.
#[derive(FromPyObject)]
enum Samples<'py> {
    Floats(PyReadonlyArrayDyn<'py, f32>),
    Ids(PyReadonlyArrayDyn<'py, i32>),
}

impl Samples<'_> {
    fn shape(&self) -> &[usize] {
        match self {
            Samples::Floats(x) => x.shape(),
            Samples::Ids(x) => x.shape(),
        }
    }

    fn rows(&self) -> PyResult<Rows<'_>> {
        Ok(match self {
            Samples::Floats(x) => Rows::Floats(slice("x", x)?),
            Samples::Ids(x) => Rows::Ids(slice("x", x)?),
        })
    }
}

/// Targets: class numbers or numbers.
#[derive(FromPyObject)]
enum Goals<'py> {
    Classes(PyReadonlyArrayDyn<'py, i64>),
    Values(PyReadonlyArrayDyn<'py, f32>),
}

/// Losses, shares of hits, and the loss that is not finite and ended the training.
type Outcome<'py> = (
    Bound<'py, PyArray1<f64>>,
    Bound<'py, PyArray1<f64>>,
    Option<f64>,
);

type Named = Vec<(String, Vec<usize>)>;

/// A network with its loss and its optimizer, lowered to one call for many mini-batches.
#[pyclass(frozen, module = "ironlearn._core")]
pub struct Plan {
    core: Core,
    input: Vec<usize>,
    completed: AtomicU64,
}

impl Plan {
    /// An error unless samples have the shape that the plan is for.
    fn expect(&self, shape: &[usize]) -> PyResult<()> {
        if shape.get(1..) == Some(&self.input[..]) {
            return Ok(());
        }
        Err(to_py(Error::Shape {
            name: "x",
            given: format!("shape {shape:?}"),
            expected: format!("a batch of samples of shape {:?}", self.input),
        }))
    }
}

fn slices<'a>(
    name: &'static str,
    arrays: &'a [PyReadonlyArrayDyn<'_, f32>],
) -> PyResult<Vec<&'a [f32]>> {
    arrays.iter().map(|a| slice(name, a)).collect()
}

#[pymethods]
impl Plan {
    #[new]
    #[pyo3(signature = (input_shape, steps, *, loss, loss_number, output, optimizer))]
    fn new(
        input_shape: Vec<usize>,
        steps: Vec<(String, HashMap<String, Option_>)>,
        loss: &str,
        loss_number: f64,
        output: &str,
        optimizer: &str,
    ) -> PyResult<Self> {
        let steps = steps
            .into_iter()
            .map(|(kind, options)| {
                let mut options: Vec<_> = options.into_iter().map(|(k, v)| (k, v.into())).collect();
                options.sort_by(|a: &(String, Value), b| a.0.cmp(&b.0));
                (kind, options)
            })
            .collect();
        let rule = rule(optimizer)?;
        let core = Loss::from_name(loss, loss_number)
            .and_then(|loss| Core::new(&input_shape, steps, loss, Output::from_name(output)?, rule))
            .map_err(to_py)?;
        Ok(Plan {
            core,
            input: input_shape,
            completed: AtomicU64::new(0),
        })
    }

    /// Names and shapes of the trained arrays.
    fn parameters(&self) -> Named {
        let all = self.core.parameters();
        all.map(|p| (p.name.into(), p.shape.clone())).collect()
    }

    /// Names and shapes of the other arrays.
    fn buffers(&self) -> Named {
        let all = self.core.buffers();
        all.map(|p| (p.name.into(), p.shape.clone())).collect()
    }

    /// The shape of one sample's output.
    #[getter]
    fn output_shape(&self) -> Vec<usize> {
        self.core.output_shape().to_vec()
    }

    /// Steps that the last call of `train` did, also when it was interrupted.
    #[getter]
    fn completed(&self) -> u64 {
        self.completed.load(Ordering::Relaxed)
    }

    /// One step for each batch; arrays change in place. Returns losses, shares of hits, and the
    /// loss, if it is not finite, before whose step the training ended.
    #[pyo3(signature = (
        x, y, order, offsets, *, weights, params, slots, buffers, decay, rates, first_step, seed,
        first_draw, hyper_, n_threads
    ))]
    fn train<'py>(
        &self,
        py: Python<'py>,
        x: Samples<'py>,
        y: Goals<'py>,
        order: PyReadonlyArray1<'py, i64>,
        offsets: PyReadonlyArray1<'py, i64>,
        weights: Option<PyReadonlyArray1<'py, f32>>,
        params: Vec<Bound<'py, PyArrayDyn<f32>>>,
        slots: Vec<Vec<Bound<'py, PyArrayDyn<f32>>>>,
        buffers: Vec<Bound<'py, PyArrayDyn<f32>>>,
        decay: Vec<bool>,
        rates: PyReadonlyArray1<'py, f64>,
        first_step: u64,
        seed: u64,
        first_draw: u64,
        hyper_: HashMap<String, f64>,
        n_threads: usize,
    ) -> PyResult<Outcome<'py>> {
        self.expect(x.shape())?;
        let mut params = borrow("params", &params)?;
        let mut buffers = borrow("buffers", &buffers)?;
        let mut slots = slots
            .iter()
            .map(|arrays| borrow("slots", arrays))
            .collect::<PyResult<Vec<_>>>()?;
        let state = State {
            params: params
                .iter_mut()
                .map(|p| slice_mut("params", p))
                .collect::<PyResult<_>>()?,
            slots: slots
                .iter_mut()
                .map(|arrays| arrays.iter_mut().map(|s| slice_mut("slots", s)).collect())
                .collect::<PyResult<_>>()?,
            buffers: buffers
                .iter_mut()
                .map(|b| slice_mut("buffers", b))
                .collect::<PyResult<_>>()?,
            decay,
        };
        let data = Training {
            x: x.rows()?,
            y: match &y {
                Goals::Classes(y) => Targets::Classes(slice("y", y)?),
                Goals::Values(y) => Targets::Values(slice("y", y)?),
            },
            weights: weights.as_ref().map(|w| slice("weights", w)).transpose()?,
            order: slice("order", &order)?,
            offsets: slice("offsets", &offsets)?,
            rates: slice("rates", &rates)?,
            first_step,
            seed,
            first_draw,
            hyper: hyper(&hyper_),
        };
        let completed = &self.completed;
        let report = gate::run(py, n_threads, move |control| {
            let mut done = 0;
            let outcome = self.core.train(control, data, state, &mut done);
            completed.store(done, Ordering::Relaxed);
            outcome
        })?;
        Ok((
            report.losses.into_pyarray(py),
            report.right.into_pyarray(py),
            report.diverged,
        ))
    }

    /// Outputs for each row. Packed parameters are kept for calls with the same `version`.
    #[pyo3(signature = (x, *, params, buffers, version, n_threads))]
    fn predict<'py>(
        &self,
        py: Python<'py>,
        x: Samples<'py>,
        params: Vec<PyReadonlyArrayDyn<'py, f32>>,
        buffers: Vec<PyReadonlyArrayDyn<'py, f32>>,
        version: Option<u64>,
        n_threads: usize,
    ) -> PyResult<Bound<'py, PyArrayDyn<f32>>> {
        self.expect(x.shape())?;
        let rows = x.shape()[0];
        let data = x.rows()?;
        let params = slices("params", &params)?;
        let buffers = slices("buffers", &buffers)?;
        let mut out = vec![0.0; rows * self.core.output_len()];
        // A kernel does about eight multiplications in the time of one elementary operation.
        let cost = rows.saturating_mul(self.core.work() / 8 + 1);
        let filled = &mut out;
        gate::sized(py, n_threads, cost, |control| {
            let (params, buffers) = (&params[..], &buffers[..]);
            self.core
                .predict(control, data, params, buffers, version, filled)
        })?;
        let mut shape = vec![rows];
        shape.extend(self.core.output_shape());
        PyArray1::from_vec(py, out).reshape(shape)
    }
}
