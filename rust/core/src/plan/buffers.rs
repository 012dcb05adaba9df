//! What a plan holds between calls: allocated for a size of batch, used again for others.

use super::build::Node;
use super::layer::CHUNK;
use super::program::slots;
use ironlearn_kernels::buffer::Buffer;
use std::sync::RwLock;

/// All that belongs to one chunk of samples.
#[derive(Debug, Default)]
pub(super) struct Chunk {
    pub samples: usize,
    pub first: usize,
    pub input: Buffer,
    pub ids: Vec<i32>,
    pub mask: Vec<u8>,
    /// Outputs of each layer.
    pub outputs: Vec<Buffer>,
    /// Gradients of the layer that is at work and of the one before.
    pub gradients: [Buffer; 2],
    pub saved: Vec<Buffer>,
    pub bytes: Vec<Vec<u8>>,
    pub partial_forward: Vec<Vec<f64>>,
    pub partial_backward: Vec<Vec<f64>>,
    pub classes: Vec<i64>,
    pub values: Vec<f32>,
    pub weights: Vec<f32>,
    pub loss: f64,
    pub right: f64,
}

/// What one thread works in.
#[derive(Debug, Default)]
pub(super) struct Worker {
    pub scratch: Buffer,
    pub product: Buffer,
}

/// What a wide layer needs during a call.
#[derive(Debug, Default)]
pub(super) struct WideBuffers {
    pub home: Buffer,
    pub first: Buffer,
    pub second: Buffer,
    /// Outputs: panels, then chunks.
    pub tiles: Buffer,
    /// Gradients of the outputs in panels, by chunk.
    pub gradient: Buffer,
    /// The same transposed.
    pub turned: Buffer,
    /// Gradients of the input: blocks, then chunks.
    pub input: Buffer,
}

/// All buffers for batches of up to `batch` samples.
#[derive(Debug, Default)]
pub(super) struct Buffers {
    pub batch: usize,
    pub chunks: Vec<RwLock<Chunk>>,
    pub slots: Vec<RwLock<Buffer>>,
    pub packed: Vec<RwLock<Buffer>>,
    pub wides: Vec<WideBuffers>,
}

impl Buffers {
    /// Makes room for batches of `batch` samples.
    pub fn fit(
        &mut self,
        nodes: &[Node],
        lens: &[usize],
        ids: bool,
        targets: usize,
        gradient_len: usize,
        batch: usize,
    ) {
        if batch <= self.batch {
            return;
        }
        let n = batch.div_ceil(CHUNK);
        let widest = lens.iter().copied().max().unwrap_or(0);
        self.chunks.resize_with(n, || {
            let sizes = || nodes.iter().map(|n| n.layer().sizes());
            RwLock::new(Chunk {
                input: Buffer::zeros(if ids { 0 } else { CHUNK * lens[0] }),
                ids: vec![0; if ids { CHUNK * lens[0] } else { 0 }],
                mask: vec![0; if ids { CHUNK * lens[0] } else { 0 }],
                outputs: lens[1..].iter().map(|l| Buffer::zeros(CHUNK * l)).collect(),
                gradients: [0; 2].map(|_| Buffer::zeros(CHUNK * widest)),
                saved: sizes().map(|s| Buffer::zeros(s.saved)).collect(),
                bytes: sizes().map(|s| vec![0; s.saved_bytes]).collect(),
                partial_forward: sizes().map(|s| vec![0.0; s.partial_forward]).collect(),
                partial_backward: sizes().map(|s| vec![0.0; s.partial_backward]).collect(),
                classes: vec![0; CHUNK * targets],
                values: vec![0.0; CHUNK * targets],
                weights: vec![0.0; CHUNK],
                ..Chunk::default()
            })
        });
        self.slots.resize_with(slots(n, gradient_len), || {
            RwLock::new(Buffer::zeros(gradient_len))
        });
        if self.packed.is_empty() {
            self.packed = nodes
                .iter()
                .map(|n| match n {
                    Node::Chunked(layer) => layer.sizes().packed,
                    _ => 0,
                })
                .map(|len| RwLock::new(Buffer::zeros(len)))
                .collect();
            self.wides.resize_with(nodes.len(), WideBuffers::default);
        }
        for (wide, node) in self.wides.iter_mut().zip(nodes) {
            if let Node::Wide(w) = node {
                wide.tiles = Buffer::zeros(w.panels() * n * w.tile_len());
                wide.gradient = Buffer::zeros(n * w.gradient_len());
                wide.turned = Buffer::zeros(n * w.dense().units() * CHUNK);
                wide.input = Buffer::zeros(w.blocks() * n * w.input_tile_len());
            }
        }
        self.batch = batch;
    }
}
