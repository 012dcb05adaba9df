//! A convolution whose output is pooled at once.

use super::panels::{pack_panels, panels_len};
use super::patches::Source;
use super::pool_backward as backward;
use super::pool_backward::{BLOCK, SHORT_RUN};
use super::pool_forward::{self as forward, Reach};
use super::simd::Simd;
use super::{Lanes, Shape, Task, before_activation, cut, dispatch, outer, room, words};
use crate::gemm::Activation;
use crate::tier::Tier;

/// Cells that one pass over the panels has at least, where there are as many.
const PASS: usize = 256;

/// Convolution with stride 1, bias, activation and the maximum of 2 x 2 pixels.
///
/// Rows and columns that do not fill a cell are not computed. Of equal pixels the first in
/// row-major order is the maximum; `argmax` numbers the four of a cell in that order.
#[derive(Clone, Debug)]
pub struct ConvPool {
    shape: Shape,
    activation: Activation,
    tier: Tier,
    lanes: usize,
    source: Source,
    reach: Reach,
    /// Where the first patch of each cell of a group begins.
    cells: Vec<u32>,
    /// Images that are worked on together.
    group: usize,
}

impl ConvPool {
    /// True where the loops here can do it: stride and dilation 1, at least one cell.
    pub fn covers(shape: &Shape) -> bool {
        shape.stride == [1, 1]
            && shape.dilation == [1, 1]
            && shape.out_height() >= 2
            && shape.out_width() >= 2
    }

    /// A layer of that shape for calls with at most `images` images.
    ///
    /// # Panics
    /// If the shape has a zero or is not covered.
    pub fn new(tier: Tier, shape: Shape, activation: Activation, images: usize) -> ConvPool {
        shape.check();
        assert!(ConvPool::covers(&shape), "{shape:?}");
        let source = shape.source();
        let reach = Reach {
            row: source.row(),
            pixel: shape.channels,
            rows: shape.kernel[0],
            run: shape.kernel[1] * shape.channels,
        };
        let framed = source.framed();
        let [rows, columns] = [shape.out_height() / 2, shape.out_width() / 2];
        let most = ((1 << 31) / framed).clamp(1, images.max(1));
        let group = PASS.div_ceil(rows * columns).min(most);
        let mut cells = Vec::with_capacity(group * rows * columns);
        for n in 0..group {
            for row in 0..rows {
                for column in 0..columns {
                    let at = n * framed + 2 * row * reach.row + 2 * column * reach.pixel;
                    cells.push(u32::try_from(at).expect("an image has less than 2^31 numbers"));
                }
            }
        }
        ConvPool {
            shape,
            activation,
            tier,
            lanes: dispatch(tier, Lanes).0,
            source,
            reach,
            cells,
            group,
        }
    }

    /// Sizes of the convolution.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Rows and columns of the pooled output.
    pub fn pooled(&self) -> [usize; 2] {
        [self.shape.out_height() / 2, self.shape.out_width() / 2]
    }

    /// Numbers in one pooled output.
    pub fn pooled_len(&self) -> usize {
        self.per_image() * self.shape.filters
    }

    fn per_image(&self) -> usize {
        self.cells.len() / self.group
    }

    /// Length of `packed` in [`ConvPool::forward`].
    pub fn packed_len(&self) -> usize {
        panels_len(self.lanes, self.shape.patch_len(), self.shape.filters)
    }

    /// A row of a patch in whole registers.
    fn run(&self) -> usize {
        self.reach.run.next_multiple_of(self.lanes)
    }

    /// Length of `turned` in [`ConvPool::backward`].
    pub fn turned_len(&self) -> usize {
        self.reach.rows * self.shape.filters * self.run()
    }

    /// Brings weights (height, width, in, out) and bias into the order of the forward loop.
    pub fn pack(&self, w: &[f32], b: Option<&[f32]>, packed: &mut [f32]) {
        let filters = self.shape.filters;
        assert_eq!(w.len(), self.shape.weights_len());
        pack_panels(self.lanes, self.shape.patch_len(), filters, w, b, packed);
    }

    /// Brings weights into the order in which the gradient of the input needs them.
    pub fn turn(&self, w: &[f32], turned: &mut [f32]) {
        let (run, padded, filters) = (self.reach.run, self.run(), self.shape.filters);
        assert_eq!(w.len(), self.shape.weights_len());
        let turned = &mut turned[..self.turned_len()];
        for (w, out) in w
            .chunks_exact(run * filters)
            .zip(turned.chunks_exact_mut(filters * padded))
        {
            transpose(w, run, filters, out, padded);
        }
    }

    /// Length of `scratch` in calls.
    pub fn scratch_len(&self) -> usize {
        let lists = self.lists_len();
        2 * room(self.source.frames(self.group)) + room(self.turned_len()) + 2 * room(lists)
    }

    /// Gradients of a block, in lists by position, or four pixels for each weight.
    fn lists_len(&self) -> usize {
        4 * BLOCK * self.shape.filters.max(self.shape.patch_len())
    }

    /// Pooled outputs and argmax of the images `x`.
    ///
    /// # Panics
    /// If a slice has the wrong length.
    pub fn forward(
        &self,
        x: &[f32],
        packed: &[f32],
        y: &mut [f32],
        argmax: &mut [u8],
        mut scratch: &mut [f32],
    ) {
        let images = y.len() / self.pooled_len();
        assert_eq!(y.len(), images * self.pooled_len());
        assert_eq!(argmax.len(), y.len());
        assert_eq!(x.len(), images * self.shape.input_len());
        assert_eq!(packed.len(), self.packed_len());
        let frame = cut(&mut scratch, self.source.frames(self.group));
        let out = self.group * self.pooled_len();
        for ((x, y), argmax) in x
            .chunks(self.group * self.shape.input_len())
            .zip(y.chunks_mut(out))
            .zip(argmax.chunks_mut(out))
        {
            let cells = &self.cells[..y.len() / self.shape.filters];
            let x = self.source.frame(x, frame);
            dispatch(
                self.tier,
                Forward {
                    layer: self,
                    x,
                    cells,
                    packed,
                    y,
                    argmax,
                },
            );
            if !self.activation.in_registers() {
                self.activation.apply(self.tier, y);
            }
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
        argmax: &[u8],
        g: &mut [f32],
        gw: &mut [f32],
        mut gb: Option<&mut [f32]>,
        mut gx: Option<(&mut [f32], &[f32])>,
        mut scratch: &mut [f32],
    ) {
        let images = y.len() / self.pooled_len();
        let (one_in, one_out) = (self.shape.input_len(), self.pooled_len());
        assert_eq!(y.len(), images * one_out);
        assert_eq!(argmax.len(), y.len());
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
        let short = self.reach.run <= SHORT_RUN;
        let a = cut(&mut scratch, self.source.frames(self.group));
        let b = cut(&mut scratch, self.source.frames(self.group));
        let w = cut(&mut scratch, self.turned_len());
        let values = cut(&mut scratch, self.lists_len());
        let places = words(cut(&mut scratch, self.lists_len()));
        if !short {
            w.fill(0.0);
        }
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
                    x: self.source.frame(&x[inside], a),
                    y: &y[outside.clone()],
                    argmax: &argmax[outside.clone()],
                    g: &mut g[outside],
                    gw: if short { &mut *gw } else { &mut w[..] },
                    gb: gb.as_deref_mut(),
                    gx: part,
                    frame: b,
                    values,
                    places,
                },
            );
        }
        if !short {
            let (run, padded, filters) = (self.reach.run, self.run(), self.shape.filters);
            for r in 0..self.reach.rows {
                for o in 0..filters {
                    let from = &w[(o * self.reach.rows + r) * padded..][..run];
                    let to = gw[r * run * filters + o..].iter_mut().step_by(filters);
                    for (to, from) in to.zip(from) {
                        *to += from;
                    }
                }
            }
        }
    }
}

/// Writes `out[c * stride + r] = from[r * columns + c]`, zeros in the rest of each row of `out`.
fn transpose(from: &[f32], rows: usize, columns: usize, out: &mut [f32], stride: usize) {
    for (c, out) in out.chunks_exact_mut(stride).enumerate() {
        for (r, out) in out[..rows].iter_mut().enumerate() {
            *out = from[r * columns + c];
        }
        out[rows..].fill(0.0);
    }
}

struct Forward<'a> {
    layer: &'a ConvPool,
    x: &'a [f32],
    cells: &'a [u32],
    packed: &'a [f32],
    y: &'a mut [f32],
    argmax: &'a mut [u8],
}
impl Task for Forward<'_> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let layer = self.layer;
        // SAFETY: the tier is there; cells were computed for images of this shape and sizes
        // were checked by the caller.
        unsafe {
            forward::forward::<S>(
                self.x,
                self.cells,
                layer.reach,
                self.packed,
                layer.shape.filters,
                layer.activation,
                self.y,
                self.argmax,
            );
        }
    }
}

struct Backward<'a> {
    layer: &'a ConvPool,
    x: &'a [f32],
    y: &'a [f32],
    argmax: &'a [u8],
    g: &'a mut [f32],
    gw: &'a mut [f32],
    gb: Option<&'a mut [f32]>,
    gx: Option<(&'a mut [f32], &'a [f32])>,
    frame: &'a mut [f32],
    values: &'a mut [f32],
    places: &'a mut [u32],
}
impl Task for Backward<'_> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let layer = self.layer;
        let (shape, reach) = (&layer.shape, layer.reach);
        let filters = shape.filters;
        let shifts = [0, reach.pixel, reach.row, reach.row + reach.pixel].map(|s| s as u32);
        before_activation(layer.activation, self.g, self.y);
        let g: &[f32] = self.g;
        if let Some(gb) = self.gb {
            outer::add_columns(g, gb);
        }
        let cells = &layer.cells[..g.len() / filters];
        let blocks = || {
            cells
                .chunks(BLOCK)
                .zip(g.chunks(BLOCK * filters))
                .zip(self.argmax.chunks(BLOCK * filters))
        };
        let x = self.x.as_ptr();
        // SAFETY: the tier is there; cells were computed for images of this shape and sizes
        // were checked by the caller.
        unsafe {
            for ((cells, g), argmax) in blocks() {
                if reach.run <= SHORT_RUN {
                    backward::short_weights::<S>(
                        x,
                        cells,
                        reach,
                        filters,
                        g,
                        argmax,
                        self.gw,
                        self.values,
                    );
                } else {
                    backward::weights::<S>(
                        x,
                        cells,
                        shifts,
                        reach,
                        filters,
                        g,
                        argmax,
                        self.gw,
                        self.values,
                        self.places,
                    );
                }
            }
            let Some((gx, turned)) = self.gx else { return };
            let images = gx.len() / shape.input_len();
            let framed = !layer.source.unpadded();
            let frame = &mut self.frame[..layer.source.frames(images)];
            let target: &mut [f32] = if framed { &mut *frame } else { &mut *gx };
            target.fill(0.0);
            for ((cells, g), argmax) in blocks() {
                backward::input::<S>(
                    target.as_mut_ptr(),
                    cells,
                    shifts,
                    reach,
                    filters,
                    g,
                    argmax,
                    turned,
                    self.values,
                    self.places,
                );
            }
            if framed {
                layer.source.unframe(frame, gx);
            }
        }
    }
}
