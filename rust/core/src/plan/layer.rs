//! What a layer of a plan is: loops over one chunk of samples, on buffers that the plan owns.
//!
//! A plan cuts each mini-batch into chunks of [`CHUNK`] samples. Whole networks run on one
//! chunk after another, so a layer never sees more than [`CHUNK`] samples and never starts a
//! thread. It states the sizes of its buffers when it is built; nothing allocates later.

use crate::error::{Error, Result};
use ironlearn_kernels::buffer::Buffer;
pub use ironlearn_kernels::gemm::Activation;

/// Samples in a chunk; the last chunk of a batch may have fewer.
pub const CHUNK: usize = 16;

/// Most parameters of one layer.
pub const MOST_PARAMETERS: usize = 8;

/// A trained array of a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// Its name in the layer: `kernel`, `bias`, ...
    pub name: &'static str,
    /// Its shape; elements lie in C order.
    pub shape: Vec<usize>,
}

impl Parameter {
    /// The number of its elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// True without elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The sizes of the buffers that a plan keeps for a layer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    /// Floats made from the parameters once a step by [`Layer::pack`].
    pub packed: usize,
    /// Floats kept from forward to backward, for one chunk of [`CHUNK`] samples.
    pub saved: usize,
    /// Bytes kept from forward to backward, for one chunk of [`CHUNK`] samples.
    pub saved_bytes: usize,
    /// Floats that may be overwritten between any two calls; one such buffer a thread.
    pub scratch: usize,
    /// Numbers that each chunk tells all others before [`Layer::forward`].
    pub partial_forward: usize,
    /// Numbers that each chunk tells all others before [`Layer::backward`].
    pub partial_backward: usize,
}

/// Which samples a call is about, and how.
#[derive(Clone, Copy, Debug)]
pub struct Pass<'a> {
    /// Samples in this chunk, 1 to [`CHUNK`]. Buffers hold their rows first; the rest is old.
    pub samples: usize,
    /// Place in the batch of the chunk's first sample.
    pub first: usize,
    /// Samples in the whole batch.
    pub batch: usize,
    /// Whether dropout and batch statistics are on.
    pub training: bool,
    /// Seed of dropout.
    pub seed: u64,
    /// Number of this step since training began.
    pub step: u64,
    /// In backward: add to the gradients (true) or overwrite them (false).
    pub accumulate: bool,
    /// Integers that entered the network for these samples, when it takes integers.
    pub ids: &'a [i32],
    /// One byte a time step, 0 where the sequence is padded: (samples, steps).
    pub mask: Option<&'a [u8]>,
    /// The partial numbers of all chunks of the batch, in order, for layers that have some.
    pub partials: &'a [f64],
}

/// What [`Layer::forward`] keeps for [`Layer::backward`], and room to work in.
#[derive(Debug)]
pub struct Workspace<'a> {
    /// [`Sizes::saved`] floats, aligned to 64 bytes.
    pub saved: &'a mut [f32],
    /// [`Sizes::saved_bytes`] bytes.
    pub bytes: &'a mut [u8],
    /// At least [`Sizes::scratch`] floats, aligned to 64 bytes, with any content.
    pub scratch: &'a mut [f32],
    /// Scratch of matrix products, which grows in the first step only.
    pub product: &'a mut Buffer,
}

/// The trained arrays of a layer during a step.
#[derive(Clone, Copy, Debug)]
pub struct Weights<'a> {
    /// The parameters in the order of [`Layer::parameters`], C order.
    pub params: &'a [&'a [f32]],
    /// The arrays that are not trained, in the order of [`Layer::buffers`].
    pub buffers: &'a [&'a [f32]],
    /// What [`Layer::pack`] made of the parameters in this step.
    pub packed: &'a [f32],
}

/// One layer of a plan.
///
/// Slices of samples are exactly `samples * len` long, row after row.
pub trait Layer: Send + Sync + std::fmt::Debug {
    /// The layer's kind as in the list of steps: `"dense"`, `"conv2d"`, ...
    fn kind(&self) -> &'static str;

    /// The shape of one sample after the layer.
    fn output_shape(&self) -> &[usize];

    /// The trained arrays, at most [`MOST_PARAMETERS`].
    fn parameters(&self) -> &[Parameter] {
        &[]
    }

    /// Arrays that training changes, but not by gradients.
    fn buffers(&self) -> &[Parameter] {
        &[]
    }

    /// The sizes of what the plan keeps for the layer.
    fn sizes(&self) -> Sizes {
        Sizes::default()
    }

    /// Brings the parameters into the order in which the loops read them, once a step.
    fn pack(&self, _params: &[&[f32]], _packed: &mut [f32]) {}

    /// Computes `output` from `input`.
    fn forward(
        &self,
        pass: &Pass,
        weights: &Weights,
        input: &[f32],
        output: &mut [f32],
        work: &mut Workspace,
    );

    /// Computes the gradients of the parameters and, where asked for, of the input.
    ///
    /// `gout` is the gradient of `output` and may be overwritten. `grads` holds the gradients of
    /// all parameters one after another, added to if `pass.accumulate`, else overwritten.
    /// `gin` is overwritten.
    fn backward(
        &self,
        pass: &Pass,
        weights: &Weights,
        input: &[f32],
        output: &[f32],
        gout: &mut [f32],
        gin: Option<&mut [f32]>,
        grads: &mut [f32],
        work: &mut Workspace,
    );

    /// Fills the chunk's [`Sizes::partial_forward`] numbers; in training only. The forward
    /// calls of all chunks then read them in `pass.partials`.
    fn partial_forward(
        &self,
        _pass: &Pass,
        _weights: &Weights,
        _input: &[f32],
        _partial: &mut [f64],
    ) {
    }

    /// Fills the chunk's [`Sizes::partial_backward`] numbers; the backward calls of all chunks
    /// then read them in `pass.partials`.
    fn partial_backward(
        &self,
        _pass: &Pass,
        _weights: &Weights,
        _input: &[f32],
        _output: &[f32],
        _gout: &mut [f32],
        _partial: &mut [f64],
        _work: &mut Workspace,
    ) {
    }

    /// Changes the buffers at the end of a step, given the partial numbers of the forward
    /// calls of all chunks of a batch of `batch` samples.
    fn end_step(&self, _batch: usize, _partials: &[f64], _buffers: &mut [&mut [f32]]) {}

    /// True for a layer that makes a mask of the integers that enter the network: 0 is padding.
    fn masks(&self) -> bool {
        false
    }
}

/// The activation called `name` of layer number `layer` of kind `kind`.
pub fn activation(layer: usize, kind: &'static str, name: &str) -> Result<Activation> {
    Activation::from_name(name).ok_or_else(|| {
        let names = Activation::ALL.map(Activation::name).join(", ");
        let expected = format!("one of {names}");
        invalid(layer, kind, "activation", &format!("{name:?}"), &expected)
    })
}

/// The error for a value that layer number `layer` of kind `kind` does not take.
pub fn invalid(
    layer: usize,
    kind: &'static str,
    name: &'static str,
    given: &str,
    expected: &str,
) -> Error {
    Error::InvalidParameter {
        name,
        given: format!("{given} in layer {layer} ({kind})"),
        expected: expected.into(),
    }
}

/// The error for samples of a shape that layer number `layer` of kind `kind` does not take.
pub fn bad_input(layer: usize, kind: &'static str, given: &[usize], expected: &str) -> Error {
    Error::Shape {
        name: kind,
        given: format!("samples of shape {given:?} before it (layer {layer})"),
        expected: expected.into(),
    }
}
