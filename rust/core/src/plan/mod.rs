//! The lowered training step: many mini-batches in one call, every buffer allocated once.
//!
//! Each family of layers has a file with constructors
//! `new(layer: usize, input: &[usize], ...options) -> Result<Self>`, where `layer` is the
//! number of the step (for error messages) and `input` the shape of one sample before it.
//! They check everything, so that the loops need not.

pub mod layer;
mod team;

pub use layer::{Activation, CHUNK, Layer, Parameter, Pass, Sizes, Weights, Workspace};
