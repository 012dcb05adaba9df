//! From a list of steps to the layers of a plan.

use super::conv::{Conv2d, Conv2dMaxPool, Spec};
use super::layer::{Layer, MOST_PARAMETERS, invalid};
use super::layers::activation::Activate;
use super::layers::batch_norm::BatchNorm;
use super::layers::dense::Dense;
use super::layers::dropout::Dropout;
use super::layers::embedding::Embedding;
use super::layers::pool::{Kind, Pool};
use super::options::{Options, Value};
use super::recurrent::Recurrent;
use super::wide::Wide;
use crate::error::{Error, Result};
use crate::team::MOST_PHASES;

/// A layer in the plan's own terms.
#[derive(Debug)]
pub(super) enum Node {
    /// Runs on one chunk after another.
    Chunked(Box<dyn Layer>),
    /// A large dense layer, split by its weights instead of by samples.
    Wide(Wide),
    /// A table whose gradient has few rows.
    Embedding(Embedding),
}

impl Node {
    /// What all have in common.
    pub fn layer(&self) -> &dyn Layer {
        match self {
            Node::Chunked(layer) => &**layer,
            Node::Wide(wide) => wide.dense(),
            Node::Embedding(embedding) => embedding,
        }
    }
}

/// The kinds of steps, for error messages.
const KINDS: [&str; 17] = [
    "dense",
    "conv2d",
    "conv2d_max_pool",
    "activation",
    "flatten",
    "reshape",
    "dropout",
    "batch_norm",
    "embedding",
    "max_pool2d",
    "avg_pool2d",
    "global_max_pool",
    "global_avg_pool",
    "softmax",
    "lstm",
    "gru",
    "rnn",
];

fn too_large(what: &'static str, given: String) -> Error {
    Error::TooLarge {
        what,
        given,
        limit: format!("{} numbers", u32::MAX),
    }
}

/// Elements of a sample of that shape, if it can be held.
fn elements(shape: &[usize]) -> Result<usize> {
    let product = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
    product
        .filter(|&n| n <= u32::MAX as usize)
        .ok_or_else(|| too_large("a sample", format!("{shape:?}")))
}

/// Makes the layers for samples of shape `input`; the shape after the last one comes with them.
pub(super) fn build(
    input: &[usize],
    steps: Vec<(String, Vec<(String, Value)>)>,
) -> Result<(Vec<Node>, Vec<usize>)> {
    // A layer makes at most four phases of a step.
    let most = MOST_PHASES / 4 - 1;
    if steps.len() > most {
        return Err(Error::TooLarge {
            what: "a network",
            given: format!("{} layers", steps.len()),
            limit: format!("{most} layers"),
        });
    }
    let mut shape = input.to_vec();
    elements(&shape)?;
    let mut nodes = Vec::new();
    for (i, (name, values)) in steps.into_iter().enumerate() {
        let Some(kind) = KINDS.into_iter().find(|k| *k == name) else {
            let expected = KINDS.join(", ");
            return Err(invalid(
                i,
                "unknown",
                "kind",
                &format!("{name:?}"),
                &expected,
            ));
        };
        let mut o = Options::new(i, kind, values);
        let node = step(&mut o, &mut shape)?;
        o.end()?;
        if let Some(node) = node {
            let layer = node.layer();
            debug_assert!(layer.parameters().len() <= MOST_PARAMETERS);
            for p in layer.parameters().iter().chain(layer.buffers()) {
                elements(&p.shape)?;
            }
            shape = layer.output_shape().to_vec();
            elements(&shape)?;
            nodes.push(node);
        }
    }
    Ok((nodes, shape))
}

/// One step; those that only change the shape make no layer.
fn step(o: &mut Options, shape: &mut Vec<usize>) -> Result<Option<Node>> {
    let i = o.layer;
    let layer: Box<dyn Layer> = match o.kind {
        "flatten" => {
            *shape = vec![elements(shape)?];
            return Ok(None);
        }
        "reshape" => {
            let target = o.counts("shape", 0, 1)?;
            if elements(&target)? != elements(shape)? {
                let expected = format!("a shape of as many elements as {shape:?}");
                return Err(invalid(
                    i,
                    o.kind,
                    "shape",
                    &format!("{target:?}"),
                    &expected,
                ));
            }
            *shape = target;
            return Ok(None);
        }
        "dense" => {
            let units = o.count("units", 1)?;
            let bias = o.flag_or("use_bias", true)?;
            let dense = Dense::new(i, shape, units, o.activation()?, bias)?;
            if Wide::pays(&dense) {
                return Ok(Some(Node::Wide(Wide::new(dense))));
            }
            Box::new(dense)
        }
        "conv2d" | "conv2d_max_pool" => {
            let spec = Spec {
                filters: o.count("filters", 1)?,
                kernel: o.pair_or("kernel", 1, (3, 3))?,
                stride: o.pair_or("stride", 1, (1, 1))?,
                dilation: o.pair_or("dilation", 1, (1, 1))?,
                padding: o.padding()?,
                bias: o.flag_or("use_bias", true)?,
                activation: o.activation()?,
            };
            if o.kind == "conv2d" {
                Box::new(Conv2d::new(i, shape, spec)?)
            } else {
                let pool = o.pair_or("pool", 1, (2, 2))?;
                Box::new(Conv2dMaxPool::new(i, shape, spec, pool)?)
            }
        }
        "activation" => Box::new(Activate::new(i, shape, &o.text_or("name", "")?)?),
        "softmax" => Box::new(Activate::new(i, shape, "softmax")?),
        "dropout" => {
            let rate = o.number_or("rate", 0.5)?;
            let number = o.count_or("layer", 0, i)? as u64;
            Box::new(Dropout::new(i, shape, rate, number)?)
        }
        "batch_norm" => {
            let (eps, momentum) = (
                o.number_or("epsilon", 1e-3)?,
                o.number_or("momentum", 0.99)?,
            );
            Box::new(BatchNorm::new(i, shape, eps, momentum, o.activation()?)?)
        }
        "embedding" => {
            let (rows, width) = (o.count("rows", 1)?, o.count("width", 1)?);
            let mask = o.flag_or("mask_zero", false)?;
            let table = Embedding::new(i, shape, rows, width, mask)?;
            return Ok(Some(Node::Embedding(table)));
        }
        "max_pool2d" | "avg_pool2d" => {
            let kind = if o.kind == "max_pool2d" {
                Kind::Max
            } else {
                Kind::Average
            };
            let size = o.pair_or("size", 1, (2, 2))?;
            let stride = o.pair_or("stride", 1, size)?;
            Box::new(Pool::new(i, shape, kind, size, stride, o.padding()?)?)
        }
        "lstm" | "gru" | "rnn" => {
            let units = o.count("units", 1)?;
            let sequences = o.flag_or("return_sequences", false)?;
            let reverse = o.flag_or("reverse", false)?;
            let masked = o.flag_or("masked", false)?;
            let name = if o.kind == "rnn" {
                o.text_or("activation", "tanh")?
            } else {
                o.kind.to_string()
            };
            Box::new(Recurrent::new(
                i, shape, &name, units, sequences, reverse, masked,
            )?)
        }
        "global_max_pool" => Box::new(Pool::global(i, shape, Kind::Max)?),
        _ => Box::new(Pool::global(i, shape, Kind::Average)?),
    };
    Ok(Some(Node::Chunked(layer)))
}
