//! Large dense layers, split by their weights instead of by samples.
//!
//! The gradient of such a layer is much larger than its input. Split by samples, every thread
//! would write all of it and a reduction would read it back. Here each task owns some rows of
//! the kernel: it computes the gradient of its input from them, then their own gradient panel
//! by panel and updates them while that panel is in the first cache. Forward, each task owns a
//! panel of outputs. While training goes on, the kernel and the optimizer's arrays lie in blocks
//! of rows, and in a block panel after panel, as both directions read them.

use super::layers::dense::Dense;
use ironlearn_kernels::buffer::Buffer;
use ironlearn_kernels::gemm::{Epilogue, Mat, MatMut, gemm};
use ironlearn_kernels::optimizer::{Factors, Rule, update};
use ironlearn_kernels::tier::{self, Tier};

use super::layer::CHUNK;

/// Weights from which on a split by weights pays.
const LEAST: usize = 1 << 16;

/// Rows of a block, about: a panel of it and its two moments fit into the first cache.
const BLOCK: usize = 56;

/// A large dense layer.
#[derive(Debug)]
pub(super) struct Wide {
    dense: Dense,
    /// Columns of a panel: what the kernels of the tier hold in registers.
    panel: usize,
    /// Rows of a block; the last may have fewer.
    block: usize,
}

impl Wide {
    /// Whether the layer is large enough.
    pub fn pays(dense: &Dense) -> bool {
        dense.is_flat() && dense.inputs() * dense.units() >= LEAST
    }

    pub fn new(dense: Dense) -> Self {
        let panel = match tier::active() {
            Tier::Avx512 => 32,
            Tier::Avx2 => 16,
            Tier::Scalar => 8,
        };
        // An even number of blocks, for an even number of threads.
        let blocks = dense.inputs().div_ceil(BLOCK).next_multiple_of(2);
        let block = dense.inputs().div_ceil(blocks).max(1);
        Wide {
            dense,
            panel,
            block,
        }
    }

    pub fn dense(&self) -> &Dense {
        &self.dense
    }

    /// Panels of outputs: the tasks forward.
    pub fn panels(&self) -> usize {
        self.dense.units().div_ceil(self.panel)
    }

    /// Blocks of rows: the tasks backward.
    pub fn blocks(&self) -> usize {
        self.dense.inputs().div_ceil(self.block)
    }

    fn rows(&self, block: usize) -> std::ops::Range<usize> {
        block * self.block..((block + 1) * self.block).min(self.dense.inputs())
    }

    /// Numbers in a block.
    pub fn block_len(&self) -> usize {
        self.block * self.panels() * self.panel
    }

    /// Numbers in the kernel's home.
    pub fn home_len(&self) -> usize {
        self.blocks() * self.block_len()
    }

    /// Numbers that a panel puts out for a chunk.
    pub fn tile_len(&self) -> usize {
        CHUNK * self.panel
    }

    /// Numbers of a chunk's gradient, padded: `panels * tile_len`.
    pub fn gradient_len(&self) -> usize {
        self.panels() * self.tile_len()
    }

    /// Copies between the kernel in C order and its home.
    fn each(&self, mut f: impl FnMut(usize, usize, usize)) {
        let units = self.dense.units();
        for block in 0..self.blocks() {
            let rows = self.rows(block);
            for p in 0..self.panels() {
                let columns = p * self.panel..((p + 1) * self.panel).min(units);
                for (r, i) in rows.clone().enumerate() {
                    let home = block * self.block_len() + (p * rows.len() + r) * self.panel;
                    f(i * units + columns.start, home, columns.len());
                }
            }
        }
    }

    /// Brings an array of the kernel's shape home.
    pub fn bring(&self, array: &[f32], home: &mut [f32]) {
        self.each(|at, to, n| home[to..to + n].copy_from_slice(&array[at..at + n]));
    }

    /// Takes it back.
    pub fn take(&self, home: &[f32], array: &mut [f32]) {
        self.each(|to, at, n| array[to..to + n].copy_from_slice(&home[at..at + n]));
    }

    /// Outputs of panel `p` for one chunk: `out` is (samples, panel).
    pub fn forward(
        &self,
        p: usize,
        home: &[f32],
        bias: Option<&[f32]>,
        input: &[f32],
        samples: usize,
        out: &mut [f32],
        product: &mut Buffer,
    ) {
        let columns = p * self.panel..((p + 1) * self.panel).min(self.dense.units());
        let x = Mat::rows_of(input, samples, self.dense.inputs());
        for block in 0..self.blocks() {
            let rows = self.rows(block);
            let at = block * self.block_len() + p * rows.len() * self.panel;
            let last = block + 1 == self.blocks();
            let epilogue = Epilogue {
                bias: bias.filter(|_| last).map(|b| &b[columns.clone()]),
                activation: if last {
                    self.dense.activation()
                } else {
                    Default::default()
                },
            };
            let n = columns.len();
            let b = Mat::new(
                &home[at..at + rows.len() * self.panel],
                rows.len(),
                n,
                (self.panel, 1),
            );
            let c = MatMut::new(out, samples, n, self.panel);
            let beta = f32::from(block > 0);
            gemm(
                tier::active(),
                1.0,
                x.column_range(rows),
                b,
                beta,
                c,
                &epilogue,
                product,
            );
        }
    }

    /// Writes the rows of chunk number `chunk` out of the panels' outputs.
    pub fn collect(
        &self,
        tiles: &[f32],
        chunks: usize,
        chunk: usize,
        samples: usize,
        rows: &mut [f32],
    ) {
        let units = self.dense.units();
        for p in 0..self.panels() {
            let columns = p * self.panel..((p + 1) * self.panel).min(units);
            let tile = &tiles[(p * chunks + chunk) * self.tile_len()..][..self.tile_len()];
            for s in 0..samples {
                rows[s * units + columns.start..s * units + columns.end]
                    .copy_from_slice(&tile[s * self.panel..][..columns.len()]);
            }
        }
    }

    /// Brings the gradient of a chunk's outputs into panels, and transposed beside: lanes are
    /// samples there, those that the chunk does not have are 0.
    pub fn spread(
        &self,
        gradient: &[f32],
        samples: usize,
        panels: &mut [f32],
        turned: Option<&mut [f32]>,
    ) {
        let units = self.dense.units();
        for p in 0..self.panels() {
            let columns = p * self.panel..((p + 1) * self.panel).min(units);
            let tile = &mut panels[p * self.tile_len()..][..self.tile_len()];
            for s in 0..samples {
                tile[s * self.panel..][..columns.len()]
                    .copy_from_slice(&gradient[s * units + columns.start..][..columns.len()]);
            }
        }
        if let Some(turned) = turned {
            for (o, lanes) in turned.chunks_exact_mut(CHUNK).take(units).enumerate() {
                for (s, lane) in lanes.iter_mut().enumerate() {
                    *lane = if s < samples {
                        gradient[s * units + o]
                    } else {
                        0.0
                    };
                }
            }
        }
    }

    /// The gradient of block `block` of the input for one chunk, transposed: (rows, samples).
    pub fn input_gradient(
        &self,
        block: usize,
        home: &[f32],
        turned: &[f32],
        out: &mut [f32],
        product: &mut Buffer,
    ) {
        let rows = self.rows(block).len();
        for p in 0..self.panels() {
            let columns = p * self.panel..((p + 1) * self.panel).min(self.dense.units());
            let n = columns.len();
            let w = Mat::new(&home[p * rows * self.panel..], rows, n, (self.panel, 1));
            let g = Mat::rows_of(
                &turned[columns.start * CHUNK..columns.end * CHUNK],
                n,
                CHUNK,
            );
            let c = MatMut::rows_of(&mut out[..rows * CHUNK], rows, CHUNK);
            let beta = f32::from(p > 0);
            gemm(tier::active(), 1.0, w, g, beta, c, &Epilogue::NONE, product);
        }
    }

    /// Writes the rows of chunk number `chunk` out of the blocks' gradients of the input.
    pub fn collect_gradient(
        &self,
        tiles: &[f32],
        chunks: usize,
        chunk: usize,
        samples: usize,
        rows: &mut [f32],
    ) {
        let inputs = self.dense.inputs();
        for block in 0..self.blocks() {
            let range = self.rows(block);
            let tile = &tiles[(block * chunks + chunk) * self.block * CHUNK..];
            for s in 0..samples {
                let row = &mut rows[s * inputs + range.start..s * inputs + range.end];
                for (r, v) in row.iter_mut().enumerate() {
                    *v = tile[r * CHUNK + s];
                }
            }
        }
    }

    /// Adds the bias's gradient of a chunk to `sum`.
    pub fn add_bias(&self, panels: &[f32], samples: usize, sum: &mut [f32]) {
        for (tile, sum) in panels
            .chunks_exact(self.tile_len())
            .zip(sum.chunks_mut(self.panel))
        {
            for row in tile.chunks_exact(self.panel).take(samples) {
                for (s, g) in sum.iter_mut().zip(row) {
                    *s += g;
                }
            }
        }
    }

    /// Numbers that block `block` of the input's gradient has for a chunk.
    pub fn input_tile_len(&self) -> usize {
        self.block * CHUNK
    }

    /// Floats that [`Wide::update`] works in.
    pub fn scratch(&self) -> usize {
        self.block * self.panel
    }

    /// The gradient of block `block` and its update. `chunks` gives, for each chunk, its input
    /// rows, its gradient in panels, and its number of samples.
    pub fn update<'c>(
        &self,
        block: usize,
        rule: Rule,
        factors: &Factors,
        chunks: impl Fn(usize) -> Option<(&'c [f32], &'c [f32], usize)>,
        home: &mut [f32],
        first: &mut [f32],
        second: &mut [f32],
        scratch: &mut [f32],
        product: &mut Buffer,
    ) {
        let rows = self.rows(block);
        let (n, panel) = (rows.len(), self.panel);
        for p in 0..self.panels() {
            let width = panel.min(self.dense.units() - p * panel);
            let gradient = &mut scratch[..n * panel];
            if width < panel {
                // Padding has no gradient.
                gradient.fill(0.0);
            }
            let mut chunk = 0;
            while let Some((input, panels, samples)) = chunks(chunk) {
                let x = Mat::rows_of(input, samples, self.dense.inputs());
                let g = Mat::new(&panels[p * self.tile_len()..], samples, width, (panel, 1));
                let c = MatMut::new(gradient, n, width, panel);
                let a = x.column_range(rows.clone()).t();
                let beta = f32::from(chunk > 0);
                gemm(tier::active(), 1.0, a, g, beta, c, &Epilogue::NONE, product);
                chunk += 1;
            }
            let at = p * n * panel..(p + 1) * n * panel;
            let part = |_slot: &mut [f32], used: bool| {
                if used { at.clone() } else { 0..0 }
            };
            let (one, two) = (
                part(first, rule.slots() > 0),
                part(second, rule.slots() > 1),
            );
            update(
                tier::active(),
                rule,
                factors,
                &mut home[at.clone()],
                &[gradient],
                &mut first[one],
                &mut second[two],
            );
        }
    }
}
