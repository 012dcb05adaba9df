//! Any convolution, without pooling.

use super::few::{self, FEW};
use super::panels::{pack_panels, panels_len, rows_by_panels};
use super::patches::Source;
use super::simd::Simd;
use super::{Lanes, Shape, Task, before_activation, cut, dispatch, outer, room};
use crate::gemm::Activation;
use crate::tier::Tier;

/// Numbers of patches that a block of the weight gradient copies at most.
const BLOCK: usize = 1 << 16;

/// Output pixels that are worked on together, where there are as many.
const PIXELS: usize = 192;

/// Convolution with any stride, dilation and padding, with bias and activation.
#[derive(Clone, Debug)]
pub struct Conv {
    shape: Shape,
    activation: Activation,
    tier: Tier,
    lanes: usize,
    rows: usize,
    /// Patches of the input.
    patches: Source,
    /// Patches of the output's gradient, where the input's gradient is a convolution of it.
    reverse: Option<Source>,
    /// Images that are worked on together.
    group: usize,
    /// Pixels of a block of the weight gradient.
    block: usize,
}

impl Conv {
    /// A layer of that shape for calls with at most `images` images.
    ///
    /// # Panics
    /// If the shape has a zero or no output.
    pub fn new(tier: Tier, shape: Shape, activation: Activation, images: usize) -> Conv {
        shape.check();
        assert!(shape.out_pixels() > 0, "{shape:?}");
        let (lanes, rows) = dispatch(tier, Lanes);
        // With a stride most products of that convolution would be with zeros, and with small
        // images many are with its frame of zeros; then products are added where they belong.
        let close = 4 * shape.height * shape.width <= 5 * shape.out_pixels();
        let most = ((1 << 31) / shape.source().framed()).clamp(1, images.max(1));
        Conv {
            shape,
            activation,
            tier,
            lanes,
            rows,
            patches: shape.source(),
            reverse: shape.reverse().filter(|_| close),
            group: PIXELS.div_ceil(shape.out_pixels()).min(most),
            block: (BLOCK / shape.patch_len()).clamp(4 * rows, PIXELS),
        }
    }

    /// Whether patches lie in the lanes.
    fn few(&self) -> bool {
        self.shape.filters <= FEW && self.shape.dilation[1] == 1
    }

    /// Sizes of the convolution.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Length of `packed` in [`Conv::forward`].
    pub fn packed_len(&self) -> usize {
        if self.few() {
            return few::packed_len(self.lanes, &self.patches, self.shape.filters);
        }
        panels_len(self.lanes, self.shape.patch_len(), self.shape.filters)
    }

    /// Length of `turned` in [`Conv::backward`].
    pub fn turned_len(&self) -> usize {
        match &self.reverse {
            Some(reverse) => panels_len(self.lanes, reverse.len(), self.shape.channels),
            None => panels_len(self.lanes, self.shape.filters, self.shape.patch_len()),
        }
    }

    /// Brings weights (height, width, in, out) and bias into the order of the forward loop.
    pub fn pack(&self, w: &[f32], b: Option<&[f32]>, packed: &mut [f32]) {
        let filters = self.shape.filters;
        assert_eq!(w.len(), self.shape.weights_len());
        assert_eq!(packed.len(), self.packed_len());
        if self.few() {
            few::pack(self.lanes, &self.patches, filters, w, b, packed);
        } else {
            pack_panels(self.lanes, self.shape.patch_len(), filters, w, b, packed);
        }
    }

    /// Brings weights into the order in which the gradient of the input needs them.
    pub fn turn(&self, w: &[f32], turned: &mut [f32], scratch: &mut [f32]) {
        let (channels, filters) = (self.shape.channels, self.shape.filters);
        assert_eq!(w.len(), self.shape.weights_len());
        let flat = &mut scratch[..w.len()];
        match &self.reverse {
            Some(reverse) => {
                // The kernel upside down, channels and filters exchanged.
                for (w, flat) in w
                    .chunks_exact(channels * filters)
                    .rev()
                    .zip(flat.chunks_exact_mut(channels * filters))
                {
                    transpose(w, channels, filters, flat);
                }
                pack_panels(self.lanes, reverse.len(), channels, flat, None, turned);
            }
            None => {
                transpose(w, self.shape.patch_len(), filters, flat);
                let patch = self.shape.patch_len();
                pack_panels(self.lanes, filters, patch, flat, None, turned);
            }
        }
    }

    /// Length of `scratch` in calls.
    pub fn scratch_len(&self) -> usize {
        let reverse = self.reverse.as_ref().map_or(0, |r| r.frames(self.group));
        let all = room(self.patches.frames(self.group))
            + room(reverse)
            + room(self.patches_len())
            + room(self.rows * self.shape.patch_len())
            + room(self.few_len());
        all.max(self.shape.weights_len())
    }

    /// Patches of a tile or of a block of the weight gradient.
    fn patches_len(&self) -> usize {
        let patch = self.shape.patch_len();
        let tile = patch.max(self.reverse.as_ref().map_or(0, Source::len));
        (self.rows * tile.max(self.shape.filters)).max(self.block * patch)
    }

    /// The gradient of few filters.
    fn few_len(&self) -> usize {
        if self.few() {
            self.shape.filters * few::rows_len(self.lanes, &self.patches)
        } else {
            0
        }
    }

    /// Outputs of the images `x`.
    ///
    /// # Panics
    /// If a slice has the wrong length.
    pub fn forward(&self, x: &[f32], packed: &[f32], y: &mut [f32], scratch: &mut [f32]) {
        let images = y.len() / self.shape.output_len();
        assert_eq!(y.len(), images * self.shape.output_len());
        assert_eq!(x.len(), images * self.shape.input_len());
        assert_eq!(packed.len(), self.packed_len());
        let mut scratch = scratch;
        let frame = cut(&mut scratch, self.patches.frames(self.group));
        let tile = cut(&mut scratch, self.patches_len());
        for (x, y) in x
            .chunks(self.group * self.shape.input_len())
            .zip(y.chunks_mut(self.group * self.shape.output_len()))
        {
            let task = Product {
                source: &self.patches,
                rows: self.rows,
                x: self.patches.frame(x, frame),
                panels: packed,
                filters: self.shape.filters,
                activation: self.activation,
                tier: self.tier,
                few: self.few(),
                y,
                tile,
            };
            dispatch(self.tier, task);
        }
    }

    /// Adds the gradients of weights and bias to `gw` and `gb`, and writes that of the input to
    /// `gx` where it is wanted (then with the turned weights). `g` is the gradient of the output
    /// `y`, and becomes that before the activation.
    ///
    /// # Panics
    /// If a slice has the wrong length.
    pub fn backward(
        &self,
        x: &[f32],
        y: &[f32],
        g: &mut [f32],
        gw: &mut [f32],
        mut gb: Option<&mut [f32]>,
        mut gx: Option<(&mut [f32], &[f32])>,
        scratch: &mut [f32],
    ) {
        let (one_in, one_out) = (self.shape.input_len(), self.shape.output_len());
        let images = y.len() / one_out;
        assert_eq!(y.len(), images * one_out);
        assert_eq!(g.len(), y.len());
        assert_eq!(x.len(), images * one_in);
        assert_eq!(gw.len(), self.shape.weights_len());
        if let Some(gb) = &gb {
            assert_eq!(gb.len(), self.shape.filters);
        }
        if let Some((gx, turned)) = &gx {
            assert_eq!(gx.len(), x.len());
            assert_eq!(turned.len(), self.turned_len());
        }
        let mut scratch = scratch;
        let few = cut(&mut scratch, self.few_len());
        few.fill(0.0);
        for first in (0..images).step_by(self.group) {
            let count = self.group.min(images - first);
            let (inside, outside) = (
                first * one_in..(first + count) * one_in,
                first * one_out..(first + count) * one_out,
            );
            let part = gx
                .as_mut()
                .map(|(gx, turned)| (&mut gx[inside.clone()], *turned));
            dispatch(
                self.tier,
                Backward {
                    layer: self,
                    x: &x[inside],
                    y: &y[outside.clone()],
                    g: &mut g[outside],
                    gw,
                    gb: gb.as_deref_mut(),
                    gx: part,
                    few,
                    scratch,
                },
            );
        }
        if !few.is_empty() {
            let (filters, [rows, columns]) = (self.shape.filters, self.shape.kernel);
            let run = columns * self.shape.channels;
            let padded = run.next_multiple_of(self.lanes);
            for (i, from) in few.chunks_exact(padded).enumerate() {
                let (o, ky) = (i / rows, i % rows);
                let to = gw[ky * run * filters + o..].iter_mut().step_by(filters);
                for (to, from) in to.zip(&from[..run]) {
                    *to += from;
                }
            }
        }
    }
}

/// Writes `out[c * rows + r] = from[r * columns + c]`.
fn transpose(from: &[f32], rows: usize, columns: usize, out: &mut [f32]) {
    for (c, out) in out[..rows * columns].chunks_exact_mut(rows).enumerate() {
        for (r, out) in out.iter_mut().enumerate() {
            *out = from[r * columns + c];
        }
    }
}

/// Patches times panels.
struct Product<'a> {
    source: &'a Source,
    rows: usize,
    x: &'a [f32],
    panels: &'a [f32],
    filters: usize,
    activation: Activation,
    tier: Tier,
    few: bool,
    y: &'a mut [f32],
    tile: &'a mut [f32],
}
impl Task for Product<'_> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        if self.few {
            // SAFETY: the tier is there.
            unsafe { few::forward::<S>(self.source, self.x, self.panels, self.filters, self.y) };
            self.activation.apply(self.tier, self.y);
            return;
        }
        let patch = self.source.len();
        assert!(self.tile.len() >= self.rows * patch && self.rows == S::ROWS);
        for (i, y) in self.y.chunks_mut(self.rows * self.filters).enumerate() {
            let count = y.len() / self.filters;
            // SAFETY: the tier is there, the tile has room for ROWS patches, and the panels
            // were packed for this patch and these filters.
            unsafe {
                self.source
                    .gather::<S>(self.x, i * self.rows, count, self.tile);
                rows_by_panels::<S>(
                    self.tile.as_ptr(),
                    patch,
                    count,
                    self.panels.as_ptr(),
                    self.filters,
                    self.activation,
                    y.as_mut_ptr(),
                );
            }
            if !self.activation.in_registers() {
                self.activation.apply(self.tier, y);
            }
        }
    }
}

struct Backward<'a> {
    layer: &'a Conv,
    x: &'a [f32],
    y: &'a [f32],
    g: &'a mut [f32],
    gw: &'a mut [f32],
    gb: Option<&'a mut [f32]>,
    gx: Option<(&'a mut [f32], &'a [f32])>,
    few: &'a mut [f32],
    scratch: &'a mut [f32],
}
impl Task for Backward<'_> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let layer = self.layer;
        let (patch, filters) = (layer.shape.patch_len(), layer.shape.filters);
        let mut scratch = self.scratch;
        let frame = cut(&mut scratch, layer.patches.frames(layer.group));
        let a = cut(&mut scratch, layer.patches_len());
        before_activation(layer.activation, self.g, self.y);
        let g: &[f32] = self.g;
        if let Some(gb) = self.gb {
            outer::add_columns(g, gb);
        }
        let x = layer.patches.frame(self.x, frame);
        if layer.few() {
            // SAFETY: the tier is there.
            unsafe { few::weights::<S>(&layer.patches, x, g, filters, self.few) };
        } else {
            for (i, g) in g.chunks(layer.block * filters).enumerate() {
                let count = g.len() / filters;
                // SAFETY: the tier is there.
                unsafe {
                    layer.patches.gather::<S>(x, i * layer.block, count, a);
                    outer::add_outer::<S>(a, g, count, patch, filters, self.gw);
                }
            }
        }
        let Some((gx, turned)) = self.gx else { return };
        if let Some(reverse) = &layer.reverse {
            let images = gx.len() / layer.shape.input_len();
            let frame = cut(&mut scratch, reverse.frames(images));
            let task = Product {
                source: reverse,
                rows: layer.rows,
                x: reverse.frame(g, frame),
                panels: turned,
                filters: layer.shape.channels,
                activation: Activation::Linear,
                tier: layer.tier,
                few: false,
                y: gx,
                tile: a,
            };
            // SAFETY: the tier is there.
            unsafe { task.run::<S>() };
            return;
        }
        let b = cut(&mut scratch, layer.rows * patch);
        gx.fill(0.0);
        for (i, g) in g.chunks(layer.rows * filters).enumerate() {
            let count = g.len() / filters;
            a[..g.len()].copy_from_slice(g);
            // SAFETY: the tier is there; `a` holds ROWS rows of `filters`, `b` ROWS patches.
            unsafe {
                rows_by_panels::<S>(
                    a.as_ptr(),
                    filters,
                    count,
                    turned.as_ptr(),
                    patch,
                    Activation::Linear,
                    b.as_mut_ptr(),
                );
            }
            layer.patches.scatter(b, i * layer.rows, count, gx);
        }
    }
}
