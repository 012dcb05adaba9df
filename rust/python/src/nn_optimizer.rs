//! Binding of an optimizer's step over many arrays.

use crate::arrays::slice_mut;
use crate::errors::to_py;
use crate::gate;
use ironlearn_core::error::Error;
use ironlearn_core::nn::optimizer::{self, Hyper};
use ironlearn_kernels::optimizer::Rule;
use numpy::{PyArrayDyn, PyArrayMethods, PyReadonlyArrayDyn, PyReadwriteArrayDyn};
use pyo3::prelude::*;
use std::collections::HashMap;

/// The rule of that name.
pub fn rule(kind: &str) -> PyResult<Rule> {
    Rule::from_name(kind).ok_or_else(|| {
        to_py(Error::InvalidParameter {
            name: "kind",
            given: format!("{kind:?}"),
            expected: "one of sgd, momentum, nesterov, rmsprop, adam, adamw, adagrad, lion".into(),
        })
    })
}

/// The optimizer's numbers out of a dict; what a rule does not need may be missing.
pub fn hyper(numbers: &HashMap<String, f64>) -> Hyper {
    let get = |name: &str, or: f64| numbers.get(name).copied().unwrap_or(or);
    Hyper {
        beta1: get("beta1", 0.9),
        beta2: get("beta2", 0.999),
        eps: get("eps", 1e-8),
        momentum: get("momentum", 0.0),
        rho: get("rho", 0.9),
        weight_decay: get("weight_decay", 0.0),
        l1: get("l1", 0.0),
        l2: get("l2", 0.0),
        scale: get("scale", 1.0),
    }
}

/// Arrays to write to, borrowed until dropped.
pub fn borrow<'py>(
    name: &'static str,
    arrays: &[Bound<'py, PyArrayDyn<f32>>],
) -> PyResult<Vec<PyReadwriteArrayDyn<'py, f32>>> {
    let one = |array: &Bound<'py, PyArrayDyn<f32>>| {
        array.try_readwrite().map_err(|error| {
            to_py(Error::InvalidParameter {
                name,
                given: error.to_string(),
                expected: "writable arrays, each given once".into(),
            })
        })
    };
    arrays.iter().map(one).collect()
}

/// Changes `params` and `slots` by one step of the rule `kind`, in place.
#[pyfunction]
#[pyo3(signature = (kind, params, grads, slots, hyper_, decay, *, n_threads))]
pub fn nn_optimizer_step<'py>(
    py: Python<'py>,
    kind: &str,
    params: Vec<Bound<'py, PyArrayDyn<f32>>>,
    grads: Vec<PyReadonlyArrayDyn<'py, f32>>,
    slots: Vec<Vec<Bound<'py, PyArrayDyn<f32>>>>,
    hyper_: HashMap<String, f64>,
    decay: Vec<bool>,
    n_threads: usize,
) -> PyResult<()> {
    let rule = rule(kind)?;
    let numbers = hyper(&hyper_);
    let lr = hyper_.get("lr").copied().unwrap_or(0.0);
    let step = hyper_.get("step").copied().unwrap_or(1.0) as u64;
    let mut params = borrow("params", &params)?;
    let mut slots = slots
        .iter()
        .map(|arrays| borrow("slots", arrays))
        .collect::<PyResult<Vec<_>>>()?;
    let mut params = params
        .iter_mut()
        .map(|p| slice_mut("params", p))
        .collect::<PyResult<Vec<_>>>()?;
    let grads = grads
        .iter()
        .map(|g| crate::arrays::slice("grads", g))
        .collect::<PyResult<Vec<_>>>()?;
    let mut slots = slots
        .iter_mut()
        .map(|arrays| arrays.iter_mut().map(|s| slice_mut("slots", s)).collect())
        .collect::<PyResult<Vec<Vec<_>>>>()?;
    let cost: usize = params.iter().map(|p| p.len()).sum();
    gate::sized(py, n_threads, 2 * cost, move |control| {
        optimizer::step(
            control,
            rule,
            &numbers,
            lr,
            step,
            &mut params,
            &grads,
            &mut slots,
            &decay,
        )
    })
}
