//! Forward only: no thread and no allocation for a few rows.

use super::Plan;
use super::build::Node;
use super::layer::{CHUNK, Layer, MOST_PARAMETERS, Pass, Weights, Workspace};
use super::train::{Rows, gather};
use crate::error::{Error, Result};
use crate::parallel::{Control, fill_chunks};
use ironlearn_kernels::buffer::Buffer;
use ironlearn_kernels::denormal::Flush;
use std::sync::{Mutex, PoisonError, RwLock};

/// Rows that a thread takes at a time.
const ROWS: usize = 4 * CHUNK;

/// What one thread needs.
#[derive(Debug)]
struct Room {
    /// Input and output of the layer at work.
    values: [Buffer; 2],
    ids: Vec<i32>,
    mask: Vec<u8>,
    saved: Buffer,
    bytes: Vec<u8>,
    scratch: Buffer,
    product: Buffer,
}

/// Packed parameters, and which state of them they are.
#[derive(Debug, Default)]
struct Packed {
    version: Option<u64>,
    layers: Vec<Buffer>,
}

/// What a plan holds for predictions.
#[derive(Debug)]
pub(super) struct Predictor {
    packed: RwLock<Packed>,
    rooms: Mutex<Vec<Room>>,
    widest: usize,
    sizes: super::layer::Sizes,
}

/// What packs for a forward pass; a wide layer needs nothing then.
fn packs(node: &Node) -> usize {
    match node {
        Node::Chunked(layer) => layer.sizes().packed,
        _ => 0,
    }
}

impl Predictor {
    pub fn new(nodes: &[Node], lens: &[usize]) -> Self {
        let mut sizes = super::layer::Sizes::default();
        for node in nodes {
            let s = node.layer().sizes();
            sizes.saved = sizes.saved.max(s.saved);
            sizes.saved_bytes = sizes.saved_bytes.max(s.saved_bytes);
            sizes.scratch = sizes.scratch.max(s.scratch);
        }
        Predictor {
            packed: RwLock::default(),
            rooms: Mutex::default(),
            widest: lens.iter().copied().max().unwrap_or(0),
            sizes,
        }
    }

    fn room(&self, ids: usize) -> Room {
        let mut rooms = self.rooms.lock().unwrap_or_else(PoisonError::into_inner);
        rooms.pop().unwrap_or_else(|| Room {
            values: [0; 2].map(|_| Buffer::zeros(CHUNK * self.widest)),
            ids: vec![0; CHUNK * ids],
            mask: vec![0; CHUNK * ids],
            saved: Buffer::zeros(self.sizes.saved),
            bytes: vec![0; self.sizes.saved_bytes],
            scratch: Buffer::zeros(self.sizes.scratch),
            product: Buffer::new(),
        })
    }

    fn give_back(&self, room: Room) {
        let mut rooms = self.rooms.lock().unwrap_or_else(PoisonError::into_inner);
        rooms.push(room);
    }
}

impl Plan {
    /// The network's outputs for each row of `x`, in `out`.
    ///
    /// `params` and `buffers` are in the order of [`Plan::parameters`] and [`Plan::buffers`].
    /// Packed parameters are kept for calls with the same `version`.
    pub fn predict(
        &self,
        control: &Control,
        x: Rows,
        params: &[&[f32]],
        buffers: &[&[f32]],
        version: Option<u64>,
        out: &mut [f32],
    ) -> Result<()> {
        self.check_arrays("params", params.iter().map(|p| p.len()), false)?;
        self.check_arrays("buffers", buffers.iter().map(|p| p.len()), true)?;
        let rows = self.check_rows(x)?;
        if let Rows::Ids(ids) = x {
            self.check_ids(ids)?;
        }
        let width = self.output_len();
        if out.len() != rows * width {
            return Err(Error::Shape {
                name: "out",
                given: format!("{} numbers", out.len()),
                expected: (rows * width).to_string(),
            });
        }
        self.pack(params, version);
        let packed = self
            .predictor
            .packed
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        // Another thread may have packed another state meanwhile: then pack for this call only.
        let own;
        let current = version.is_some() && packed.version == version;
        let layers = if current || self.nodes.iter().all(|n| packs(n) == 0) {
            &packed.layers
        } else {
            own = self.packed_now(params);
            &own
        };
        let few = if rows <= CHUNK {
            control.single()
        } else {
            *control
        };
        fill_chunks(&few, out, width, ROWS, |range, out| {
            let _flush = Flush::new();
            let mut room = self
                .predictor
                .room(if self.takes_ids() { self.lens[0] } else { 0 });
            for from in range.clone().step_by(CHUNK) {
                let n = CHUNK.min(range.end - from);
                let out = &mut out[(from - range.start) * width..][..n * width];
                self.forward_chunk(x, from, n, rows, params, buffers, layers, &mut room, out);
            }
            self.predictor.give_back(room);
            Ok(())
        })
    }

    fn packed_now(&self, params: &[&[f32]]) -> Vec<Buffer> {
        let mut at = 0;
        let one = |node: &Node| {
            let layer = node.layer();
            let count = layer.parameters().len();
            let mut packed = Buffer::zeros(packs(node));
            if packs(node) > 0 {
                layer.pack(&params[at..at + count], &mut packed);
            }
            at += count;
            packed
        };
        self.nodes.iter().map(one).collect()
    }

    fn pack(&self, params: &[&[f32]], version: Option<u64>) {
        let lock = &self.predictor.packed;
        let same = |packed: &Packed| !packed.layers.is_empty() && packed.version == version;
        if same(&lock.read().unwrap_or_else(PoisonError::into_inner)) {
            return;
        }
        if version.is_some() || self.nodes.iter().all(|n| packs(n) == 0) {
            let layers = self.packed_now(params);
            let mut packed = lock.write().unwrap_or_else(PoisonError::into_inner);
            *packed = Packed { version, layers };
        }
    }

    fn forward_chunk(
        &self,
        x: Rows,
        first: usize,
        samples: usize,
        batch: usize,
        params: &[&[f32]],
        buffers: &[&[f32]],
        packed: &[Buffer],
        room: &mut Room,
        out: &mut [f32],
    ) {
        let len = self.lens[0];
        gather(
            x,
            len,
            (first..first + samples).map(|i| i as i64),
            &mut room.values[0],
            &mut room.ids,
        );
        let masked = self.nodes.first().is_some_and(|n| n.layer().masks());
        if masked {
            for (m, &id) in room.mask.iter_mut().zip(&room.ids) {
                *m = u8::from(id != 0);
            }
        }
        let pass = Pass {
            samples,
            first,
            batch,
            training: false,
            seed: 0,
            step: 0,
            accumulate: false,
            ids: room.ids.get(..samples * len).unwrap_or_default(),
            mask: masked.then(|| &room.mask[..samples * len]),
            partials: &[],
        };
        let (mut p, mut b) = (0, 0);
        for (i, node) in self.nodes.iter().enumerate() {
            let layer: &dyn Layer = node.layer();
            let (count, held) = (layer.parameters().len(), layer.buffers().len());
            debug_assert!(count <= MOST_PARAMETERS);
            let weights = Weights {
                params: &params[p..p + count],
                buffers: &buffers[b..b + held],
                packed: packed.get(i).map_or(&[], |x| &x[..]),
            };
            (p, b) = (p + count, b + held);
            let mut work = Workspace {
                saved: &mut room.saved[..layer.sizes().saved],
                bytes: &mut room.bytes[..layer.sizes().saved_bytes],
                scratch: &mut room.scratch,
                product: &mut room.product,
            };
            let [even, odd] = &mut room.values;
            let (from, to) = if i % 2 == 0 { (even, odd) } else { (odd, even) };
            let from = match node {
                Node::Embedding(_) => &[],
                _ => &from[..samples * self.lens[i]],
            };
            let to = &mut to[..samples * self.lens[i + 1]];
            layer.forward(&pass, &weights, from, to, &mut work);
        }
        let last = &room.values[self.nodes.len() % 2][..out.len()];
        out.copy_from_slice(last);
        self.transform.apply(out, self.classes());
    }
}
