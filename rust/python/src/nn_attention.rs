//! Bindings of scaled dot-product attention.

use crate::arrays::{expect_len, slice, slice_mut};
use crate::errors::to_py;
use crate::gate;
use ironlearn_core::error::Error;
use ironlearn_core::nn::attention::{self, Gradients, Heads, Mask, Sizes};
use numpy::{
    PyReadonlyArray3, PyReadonlyArray4, PyReadwriteArray3, PyReadwriteArray4, PyUntypedArrayMethods,
};
use pyo3::prelude::*;

/// Multiplications that fit into one elementary operation of the gate's measure.
const WIDE: usize = 16;

fn cost(s: Sizes) -> usize {
    let scores = s.samples * s.heads * s.queries * s.keys;
    scores * (s.width + s.depth + 8 * WIDE) / WIDE
}

fn bad(name: &'static str, given: &[usize], expected: String) -> PyErr {
    to_py(Error::Shape {
        name,
        given: format!("shape {given:?}"),
        expected,
    })
}

/// A mask's elements and shape.
pub fn allowed<'a>(
    mask: Option<&'a PyReadonlyArray4<'_, bool>>,
) -> PyResult<Option<(&'a [bool], [usize; 4])>> {
    mask.map(|mask| {
        let shape = mask.shape();
        let shape = [shape[0], shape[1], shape[2], shape[3]];
        Ok((slice("mask", mask)?, shape))
    })
    .transpose()
}

/// An array (samples, heads, steps, width).
struct Vectors<'a> {
    data: &'a [f32],
    samples: usize,
    heads: usize,
    steps: usize,
    width: usize,
}

impl<'a> Vectors<'a> {
    fn new(name: &'static str, array: &'a PyReadonlyArray4<'_, f32>) -> PyResult<Vectors<'a>> {
        let shape = array.shape();
        if shape.contains(&0) {
            return Err(bad(name, shape, "an array that is not empty".into()));
        }
        Ok(Vectors {
            data: slice(name, array)?,
            samples: shape[0],
            heads: shape[1],
            steps: shape[2],
            width: shape[3],
        })
    }

    fn heads(&self) -> Heads<'a> {
        Heads::by_head(self.data, self.heads, self.steps, self.width)
    }
}

/// The sizes of attention of q to k and v, if they fit.
fn sizes(q: &Vectors, k: &Vectors, v: &Vectors) -> PyResult<Sizes> {
    let fits = |a: &Vectors| a.samples == q.samples && a.heads == q.heads;
    if !fits(k) || k.width != q.width || !fits(v) || v.steps != k.steps {
        let all = [
            k.samples, k.heads, k.steps, k.width, v.samples, v.heads, v.steps,
        ];
        let want = format!(
            "{} samples, {} heads and keys of width {}, in both",
            q.samples, q.heads, q.width
        );
        return Err(bad("k and v", &all, want));
    }
    Ok(Sizes {
        samples: q.samples,
        heads: q.heads,
        queries: q.steps,
        keys: k.steps,
        width: q.width,
        depth: v.width,
    })
}

/// Writes attention to `out` (samples, queries, heads, depth), and the logarithms of the
/// softmaxes' sums to `lse` (samples, heads, queries).
#[pyfunction]
pub fn nn_attention(
    py: Python<'_>,
    q: PyReadonlyArray4<'_, f32>,
    k: PyReadonlyArray4<'_, f32>,
    v: PyReadonlyArray4<'_, f32>,
    mask: Option<PyReadonlyArray4<'_, bool>>,
    causal: bool,
    scale: f32,
    mut out: PyReadwriteArray4<'_, f32>,
    mut lse: PyReadwriteArray3<'_, f32>,
    n_threads: usize,
) -> PyResult<()> {
    let q = Vectors::new("q", &q)?;
    let k = Vectors::new("k", &k)?;
    let v = Vectors::new("v", &v)?;
    let s = sizes(&q, &k, &v)?;
    let mask = Mask {
        allowed: allowed(mask.as_ref())?,
        causal,
    };
    let (out, lse) = (slice_mut("out", &mut out)?, slice_mut("lse", &mut lse)?);
    let vectors = s.samples * s.heads * s.queries;
    expect_len("out", out.len(), vectors * s.depth)?;
    expect_len("lse", lse.len(), vectors)?;
    let (q, k, v) = (q.heads(), k.heads(), v.heads());
    gate::sized(py, n_threads, cost(s), |control| {
        attention::forward(control, s, q, k, v, mask, scale, out, lse)
    })
}

/// Writes the gradients of q, k and v, each (samples, steps, heads, width), given `out` and `lse`
/// of `nn_attention`.
#[pyfunction]
pub fn nn_attention_backward(
    py: Python<'_>,
    gout: PyReadonlyArray4<'_, f32>,
    q: PyReadonlyArray4<'_, f32>,
    k: PyReadonlyArray4<'_, f32>,
    v: PyReadonlyArray4<'_, f32>,
    out: PyReadonlyArray4<'_, f32>,
    lse: PyReadonlyArray3<'_, f32>,
    mask: Option<PyReadonlyArray4<'_, bool>>,
    causal: bool,
    scale: f32,
    mut gq: PyReadwriteArray4<'_, f32>,
    mut gk: PyReadwriteArray4<'_, f32>,
    mut gv: PyReadwriteArray4<'_, f32>,
    n_threads: usize,
) -> PyResult<()> {
    let gout = Vectors::new("gout", &gout)?;
    let q = Vectors::new("q", &q)?;
    let k = Vectors::new("k", &k)?;
    let v = Vectors::new("v", &v)?;
    let s = sizes(&q, &k, &v)?;
    let mask = Mask {
        allowed: allowed(mask.as_ref())?,
        causal,
    };
    let (out, lse) = (slice("out", &out)?, slice("lse", &lse)?);
    let vectors = s.samples * s.heads * s.queries;
    if (gout.samples, gout.heads, gout.steps, gout.width)
        != (s.samples, s.heads, s.queries, s.depth)
    {
        let have = [gout.samples, gout.heads, gout.steps, gout.width];
        let want = [s.samples, s.heads, s.queries, s.depth];
        return Err(bad("gout", &have, format!("{want:?}")));
    }
    expect_len("out", out.len(), vectors * s.depth)?;
    expect_len("lse", lse.len(), vectors)?;
    let (gq, gk) = (slice_mut("gq", &mut gq)?, slice_mut("gk", &mut gk)?);
    let gv = slice_mut("gv", &mut gv)?;
    expect_len("gq", gq.len(), q.data.len())?;
    expect_len("gk", gk.len(), k.data.len())?;
    expect_len("gv", gv.len(), v.data.len())?;
    let (gout, q, k, v) = (gout.heads(), q.heads(), k.heads(), v.heads());
    let out = Heads::by_step(out, s.queries, s.depth, s.heads * s.depth, 0);
    gate::sized(py, n_threads, 3 * cost(s), |control| {
        let grads = Gradients::Apart(gq, gk, gv);
        attention::backward(control, s, gout, q, k, v, out, lse, mask, scale, grads)
    })
}

/// Queries, keys and values of all heads side by side in (samples, steps, 3 heads width).
fn packed<'a>(
    qkv: &'a PyReadonlyArray3<'_, f32>,
    heads: usize,
) -> PyResult<(Sizes, [Heads<'a>; 3])> {
    let shape = qkv.shape();
    if heads == 0 || shape.contains(&0) || !shape[2].is_multiple_of(3 * heads) {
        return Err(bad(
            "qkv",
            shape,
            format!("(N, T, a multiple of {})", 3 * heads),
        ));
    }
    let (steps, row, width) = (shape[1], shape[2], shape[2] / (3 * heads));
    let data = slice("qkv", qkv)?;
    let s = Sizes {
        samples: shape[0],
        heads,
        queries: steps,
        keys: steps,
        width,
        depth: width,
    };
    let part = |i: usize| Heads::by_step(data, steps, width, row, i * heads * width);
    Ok((s, [part(0), part(1), part(2)]))
}

/// [`nn_attention`] of one array that holds queries, keys and values.
#[pyfunction]
pub fn nn_attention_packed(
    py: Python<'_>,
    qkv: PyReadonlyArray3<'_, f32>,
    heads: usize,
    mask: Option<PyReadonlyArray4<'_, bool>>,
    causal: bool,
    scale: f32,
    mut out: PyReadwriteArray3<'_, f32>,
    mut lse: PyReadwriteArray3<'_, f32>,
    n_threads: usize,
) -> PyResult<()> {
    let (s, [q, k, v]) = packed(&qkv, heads)?;
    let mask = Mask {
        allowed: allowed(mask.as_ref())?,
        causal,
    };
    let (out, lse) = (slice_mut("out", &mut out)?, slice_mut("lse", &mut lse)?);
    let vectors = s.samples * s.heads * s.queries;
    expect_len("out", out.len(), vectors * s.depth)?;
    expect_len("lse", lse.len(), vectors)?;
    gate::sized(py, n_threads, cost(s), |control| {
        attention::forward(control, s, q, k, v, mask, scale, out, lse)
    })
}

/// Writes the gradient of `nn_attention_packed`'s array.
#[pyfunction]
pub fn nn_attention_packed_backward(
    py: Python<'_>,
    gout: PyReadonlyArray3<'_, f32>,
    qkv: PyReadonlyArray3<'_, f32>,
    heads: usize,
    out: PyReadonlyArray3<'_, f32>,
    lse: PyReadonlyArray3<'_, f32>,
    mask: Option<PyReadonlyArray4<'_, bool>>,
    causal: bool,
    scale: f32,
    mut gqkv: PyReadwriteArray3<'_, f32>,
    n_threads: usize,
) -> PyResult<()> {
    let (s, [q, k, v]) = packed(&qkv, heads)?;
    let mask = Mask {
        allowed: allowed(mask.as_ref())?,
        causal,
    };
    let (gout, out, lse) = (
        slice("gout", &gout)?,
        slice("out", &out)?,
        slice("lse", &lse)?,
    );
    let vectors = s.samples * s.heads * s.queries;
    expect_len("gout", gout.len(), vectors * s.depth)?;
    expect_len("out", out.len(), vectors * s.depth)?;
    expect_len("lse", lse.len(), vectors)?;
    let size = 3 * vectors * s.width;
    let gqkv = slice_mut("gqkv", &mut gqkv)?;
    expect_len("gqkv", gqkv.len(), size)?;
    let row = s.heads * s.depth;
    let gout = Heads::by_step(gout, s.queries, s.depth, row, 0);
    let out = Heads::by_step(out, s.queries, s.depth, row, 0);
    gate::sized(py, n_threads, 3 * cost(s), |control| {
        let grads = Gradients::Packed(gqkv);
        attention::backward(control, s, gout, q, k, v, out, lse, mask, scale, grads)
    })
}
