//! The lowered training step: many mini-batches in one call, every buffer allocated once.
//!
//! Each family of layers has a file with constructors
//! `new(layer: usize, input: &[usize], ...options) -> Result<Self>`, where `layer` is the
//! number of the step (for error messages) and `input` the shape of one sample before it.
//! They check everything, so that the loops need not. `build` maps names of steps to them.
//!
//! A step of training gathers the batch's rows, takes them forward and back in chunks of
//! [`CHUNK`] samples, and updates the parameters in the same sweep that sums their gradients.
//! Chunks belong to gradient slots by the size of the batch alone, and slots are summed in
//! order: the bits of the answer do not depend on threads.

mod buffers;
mod build;
pub mod conv;
pub mod layer;
pub mod layers;
mod loss;
pub mod options;
mod predict;
mod program;
pub mod recurrent;
mod train;
mod wide;

pub use layer::{Activation, CHUNK, Layer, Parameter, Pass, Sizes, Weights, Workspace};
pub use loss::{Loss, Output, Targets};
pub use options::Value;
pub use train::{Report, Rows, State, Training};

use crate::error::Result;
use buffers::Buffers;
use build::Node;
use ironlearn_kernels::optimizer::Rule;
use predict::Predictor;
use program::Place;
use std::sync::Mutex;

/// A step as Python gives it: its kind and its options.
pub type Step = (String, Vec<(String, Value)>);

/// A network with its loss and its optimizer, lowered.
#[derive(Debug)]
pub struct Plan {
    nodes: Vec<Node>,
    /// Numbers of a sample before the first layer and after each one.
    lens: Vec<usize>,
    output: Vec<usize>,
    places: Vec<Place>,
    gradient_len: usize,
    loss: Loss,
    transform: Output,
    rule: Rule,
    buffers: Mutex<Buffers>,
    predictor: Predictor,
}

impl Plan {
    /// Lowers a network for samples of shape `input`.
    pub fn new(
        input: &[usize],
        steps: Vec<Step>,
        loss: Loss,
        transform: Output,
        rule: Rule,
    ) -> Result<Plan> {
        let (nodes, output) = build::build(input, steps)?;
        let mut lens = vec![input.iter().product()];
        let mut places = Vec::new();
        let mut at = 0;
        for (i, node) in nodes.iter().enumerate() {
            let layer = node.layer();
            lens.push(layer.output_shape().iter().product());
            for p in layer.parameters() {
                places.push(Place {
                    node: i,
                    len: p.len(),
                    at,
                });
                if matches!(node, Node::Chunked(_)) {
                    at += p.len();
                }
            }
            // Each layer's gradients begin on a cache line.
            at = at.next_multiple_of(16);
        }
        Ok(Plan {
            predictor: Predictor::new(&nodes, &lens),
            nodes,
            lens,
            output,
            places,
            gradient_len: at,
            loss,
            transform,
            rule,
            buffers: Mutex::default(),
        })
    }

    /// The shape of one sample after the last layer.
    pub fn output_shape(&self) -> &[usize] {
        &self.output
    }

    /// Numbers of a sample before the first layer.
    pub fn input_len(&self) -> usize {
        self.lens[0]
    }

    /// Numbers of a sample after the last layer.
    pub fn output_len(&self) -> usize {
        self.output.iter().product()
    }

    /// Classes, or numbers along the last axis.
    fn classes(&self) -> usize {
        self.output.last().copied().unwrap_or(1).max(1)
    }

    /// Whether samples are integers.
    pub fn takes_ids(&self) -> bool {
        matches!(self.nodes.first(), Some(Node::Embedding(_)))
    }

    /// What is minimised.
    pub fn loss(&self) -> Loss {
        self.loss
    }

    /// The rule of the optimizer.
    pub fn rule(&self) -> Rule {
        self.rule
    }

    /// Names and shapes of the trained arrays, layer by layer.
    pub fn parameters(&self) -> impl Iterator<Item = &Parameter> {
        self.nodes.iter().flat_map(|n| n.layer().parameters())
    }

    /// Names and shapes of the other arrays, layer by layer.
    pub fn buffers(&self) -> impl Iterator<Item = &Parameter> {
        self.nodes.iter().flat_map(|n| n.layer().buffers())
    }

    /// About how many multiplications one sample takes forward.
    pub fn work(&self) -> usize {
        let one = |node: &Node| {
            let layer = node.layer();
            let params: usize = layer.parameters().iter().map(Parameter::len).sum();
            let shape = layer.output_shape();
            let positions: usize = shape[..shape.len().saturating_sub(1)].iter().product();
            let table = matches!(node, Node::Embedding(_));
            let params = if table { 0 } else { params };
            params.saturating_mul(positions) + shape.iter().product::<usize>()
        };
        self.nodes.iter().map(one).sum()
    }
}
