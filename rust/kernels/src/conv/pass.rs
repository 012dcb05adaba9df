//! A convolution as tiles of a product.

use super::depthwise::Rows;
use super::few::{self, Dots};
use super::shape::{Axis, ConvShape};
use super::window::{Window, window};
use super::winograd::{self, Winograd};
use crate::buffer::Buffer;
use crate::gemm::{Args, Bend, Epilogue, Finish, Kernels, Mat, PackedB, ROWS, Segment, dispatch};
use crate::tier::Tier;
use std::ops::Range;

/// Steps of the inner dimension that are summed in one go: what they read of the kernel
/// stays in the first-level cache over many pixels.
const INNER: usize = 256;

/// A convolution, or its gradient with respect to the image, ready for many images.
///
/// [`Conv::pack`] takes the kernel; [`Conv::run`] computes some rows of one answer.
#[derive(Clone, Debug)]
pub struct Conv {
    shape: ConvShape,
    passes: Vec<Pass>,
    /// Rows, columns and channels of what is read.
    image: (usize, usize, usize),
    /// Rows, columns and channels of the answer.
    out: (usize, usize, usize),
    backward: bool,
}

/// One pass: a product of patches and kernel elements.
#[derive(Clone, Debug)]
struct Pass {
    y: Axis,
    x: Axis,
    weights: Weights,
}

/// Kernel elements in the order of the taps.
#[derive(Clone, Debug)]
enum Weights {
    /// One operand of a product a group.
    Panels(Vec<PackedB>),
    /// Few channels in the answer: one filter after another.
    Few(Vec<f32>),
    /// Each channel by itself: one kernel element after another.
    Depthwise(Vec<f32>),
    /// 3 x 3 elements side by side, many channels.
    Winograd(Winograd),
}

impl Conv {
    /// The convolution; about so many `images` will share the kernel once packed.
    pub fn forward(shape: ConvShape, images: usize) -> Conv {
        let (rows, columns) = shape.out();
        let s = &shape;
        let y = Axis::forward(
            s.image.0,
            rows,
            s.padding.0.0,
            s.kernel.0,
            s.stride.0,
            s.dilation.0,
        );
        let x = Axis::forward(
            s.image.1,
            columns,
            s.padding.1.0,
            s.kernel.1,
            s.stride.1,
            s.dilation.1,
        );
        Conv {
            shape,
            passes: vec![Pass::new(y, x, &shape, false, images)],
            image: (s.image.0, s.image.1, s.channels),
            out: (rows, columns, s.filters),
            backward: false,
        }
    }

    /// From the gradient with respect to the answer, the one with respect to the image; about
    /// so many `images` will share the kernel once packed.
    pub fn backward(shape: ConvShape, images: usize) -> Conv {
        let (rows, columns) = shape.out();
        let s = &shape;
        let ys = Axis::backward(
            s.image.0,
            rows,
            s.padding.0.0,
            s.kernel.0,
            s.stride.0,
            s.dilation.0,
        );
        let xs = Axis::backward(
            s.image.1,
            columns,
            s.padding.1.0,
            s.kernel.1,
            s.stride.1,
            s.dilation.1,
        );
        let pairs = ys.iter().flat_map(|y| xs.iter().map(move |x| (y, x)));
        Conv {
            shape,
            passes: pairs
                .map(|(y, x)| Pass::new(y.clone(), x.clone(), &shape, true, images))
                .collect(),
            image: (rows, columns, s.filters),
            out: (s.image.0, s.image.1, s.channels),
            backward: true,
        }
    }

    /// Numbers of the image that is read.
    pub fn image_len(&self) -> usize {
        self.image.0 * self.image.1 * self.image.2
    }

    /// Rows of the answer.
    pub fn out_rows(&self) -> usize {
        self.out.0
    }

    /// Columns of the answer.
    pub fn out_columns(&self) -> usize {
        self.out.1
    }

    /// Numbers in a row of the answer.
    pub fn out_row_len(&self) -> usize {
        self.out.1 * self.out.2
    }

    /// Takes the kernel (rows, columns, channels of a group, filters) in C order.
    ///
    /// # Panics
    /// If `w` has another length.
    pub fn pack(&mut self, tier: Tier, w: &[f32]) {
        let s = &self.shape;
        assert!(
            w.len() == s.kernel_len(),
            "a kernel of {} elements",
            w.len()
        );
        let (inner, outer) = (s.channels / s.groups, s.filters / s.groups);
        // Channels of the sum, channels of the answer, of one group.
        let (from, to) = if self.backward {
            (outer, inner)
        } else {
            (inner, outer)
        };
        for pass in &mut self.passes {
            let taps = pass.y.taps.len() * pass.x.taps.len();
            let taps_of_pass = || {
                let xs = &pass.x.taps;
                let pairs = pass
                    .y
                    .taps
                    .iter()
                    .flat_map(move |y| xs.iter().map(move |x| (y, x)));
                pairs.map(|(y, x)| {
                    let at = (y.element * s.kernel.1 + x.element) * inner * s.filters;
                    &w[at..at + inner * s.filters]
                })
            };
            match &mut pass.weights {
                Weights::Panels(groups) => {
                    for (g, packed) in groups.iter_mut().enumerate() {
                        packed.shape(tier, taps * from, to);
                        for (t, part) in taps_of_pass().enumerate() {
                            let tap = Mat::rows_of(part, inner, s.filters)
                                .column_range(g * outer..(g + 1) * outer);
                            packed.write(t * from, if self.backward { tap.t() } else { tap });
                        }
                    }
                }
                Weights::Few(data) => {
                    data.resize(taps * from * to, 0.0);
                    for (t, part) in taps_of_pass().enumerate() {
                        for k in 0..from {
                            for q in 0..to {
                                let element = if self.backward {
                                    part[q * s.filters + k]
                                } else {
                                    part[k * s.filters + q]
                                };
                                data[(q * taps + t) * from + k] = element;
                            }
                        }
                    }
                }
                Weights::Winograd(units) => {
                    let parts: Vec<&[f32]> = taps_of_pass().collect();
                    units.pack(tier, from, to, &parts, self.backward);
                }
                Weights::Depthwise(data) => {
                    data.clear();
                    taps_of_pass().for_each(|part| data.extend_from_slice(part));
                }
            }
        }
    }

    /// Rows `rows` of the answer to one image.
    ///
    /// # Panics
    /// If a length does not fit, or no kernel was packed for this tier.
    pub fn run(
        &self,
        tier: Tier,
        image: &[f32],
        rows: Range<usize>,
        out: &mut [f32],
        epilogue: &Epilogue,
        scratch: &mut [Buffer; 4],
    ) {
        assert!(
            image.len() == self.image_len()
                && rows.start <= rows.end
                && rows.end <= self.out.0
                && out.len() == rows.len() * self.out_row_len()
                && epilogue.bias.is_none_or(|bias| bias.len() == self.out.2),
            "lengths of a convolution"
        );
        if out.is_empty() {
            return;
        }
        for pass in &self.passes {
            pass.run(self, tier, image, rows.clone(), out, epilogue, scratch);
        }
        if !epilogue.activation.in_registers() {
            epilogue.activation.apply(tier, out);
        }
    }
}

impl Pass {
    fn new(y: Axis, x: Axis, shape: &ConvShape, backward: bool, images: usize) -> Pass {
        let (from, to) = if backward {
            (shape.filters, shape.channels)
        } else {
            (shape.channels, shape.filters)
        };
        // A patch's rows must be worth a register.
        let few = shape.groups == 1 && to <= few::MOST && from * x.taps.len() >= 8;
        let weights = if shape.depthwise() {
            Weights::Depthwise(Vec::new())
        } else if few {
            Weights::Few(Vec::new())
        } else if shape.groups == 1
            && from.min(to) >= winograd::LEAST
            && [&y, &x].iter().all(|axis| three(axis))
            && winograd::pays((y.out, x.out), images)
        {
            Weights::Winograd(Winograd::default())
        } else {
            Weights::Panels(vec![PackedB::default(); shape.groups])
        };
        Pass { y, x, weights }
    }

    fn run(
        &self,
        conv: &Conv,
        tier: Tier,
        image: &[f32],
        rows: Range<usize>,
        out: &mut [f32],
        epilogue: &Epilogue,
        scratch: &mut [Buffer; 4],
    ) {
        let ys = self.y.outputs(rows.start, rows.end);
        if ys.is_empty() || self.x.out == 0 {
            return;
        }
        let (height, width, channels) = conv.image;
        let (_, out_width, filters) = conv.out;
        let (top, mut bottom) = self.y.span(ys.start, ys.end);
        let (left, mut right) = self.x.span(0, self.x.out);
        if let Weights::Winograd(_) = self.weights {
            // Whole tiles.
            bottom += (ys.len().next_multiple_of(winograd::OUT) - ys.len()) as isize;
            right += (self.x.out.next_multiple_of(winograd::OUT) - self.x.out) as isize;
        }
        let [padded, rest @ ..] = scratch;
        let view = window(
            image,
            (height, width),
            channels,
            top..bottom,
            left..right,
            padded,
        );
        // Pixels of a row lie `step` apart; where rows follow one another at the same distance
        // they are one long row.
        let step = self.x.step * channels;
        let mut grid = (ys.len(), self.x.out);
        let mut down = (self.y.step * view.row, self.y.every * out_width * filters);
        if down.0 == grid.1 * step && self.x.every == 1 && down.1 == grid.1 * filters {
            grid = (1, grid.0 * grid.1);
            down = (0, 0);
        }
        let first = (self.y.first + ys.start * self.y.every - rows.start) * out_width;
        let first = (first + self.x.first) * filters;
        let place = Place {
            grid,
            step,
            down,
            first,
            c_stride: self.x.every * filters,
        };
        let bend = epilogue.activation.bend();
        let bias = epilogue.bias;
        match &self.weights {
            Weights::Panels(groups) => {
                self.panels(tier, groups, &view, channels, &place, bias, bend, out);
            }
            Weights::Few(data) => {
                let (_, segments) = self.segments(&view, channels, channels, usize::MAX);
                let size = self.taps() * channels;
                assert!(data.len() == size * filters, "no kernel packed");
                let dots = Dots {
                    a: view.data,
                    a_stride: step,
                    segments: &segments,
                    w: data.as_ptr(),
                    size,
                    filters,
                    c: out.as_mut_ptr(),
                    c_stride: place.c_stride,
                    pixels: grid.1,
                    bias: bias.unwrap_or_default(),
                    bend,
                };
                for y in 0..grid.0 {
                    let c = place.c(y, 0, grid.1, filters, out.len());
                    // SAFETY: the window holds what these pixels read; their answers lie in
                    // `out`; `data` has `size` numbers for each filter.
                    unsafe {
                        let dots = Dots {
                            a: view.data.add(y * down.0),
                            c: out.as_mut_ptr().add(c),
                            ..dots
                        };
                        dispatch(tier, dots);
                    }
                }
            }
            Weights::Winograd(units) => {
                // Such a pass is the only one and answers every pixel.
                let (bias, row) = (bias.unwrap_or_default(), out_width * filters);
                let grid = (ys.len(), self.x.out);
                units.run(tier, &view, channels, grid, out, row, (bias, bend), rest);
            }
            Weights::Depthwise(data) => {
                assert!(data.len() == self.taps() * channels, "no kernel packed");
                let taps = self.offsets(&view, channels);
                let last = place.c(grid.0 - 1, 0, grid.1, filters, out.len());
                // SAFETY: the window holds what these pixels read; the last row's answers, and so
                // those of all, lie in `out`; `data` has `channels` numbers for each tap.
                unsafe {
                    let rows = Rows {
                        a: view.data,
                        a_stride: step,
                        a_down: down.0,
                        taps: &taps,
                        w: data.as_ptr(),
                        w_stride: channels,
                        channels,
                        c: out.as_mut_ptr().add(last - (grid.0 - 1) * down.1),
                        c_stride: place.c_stride,
                        c_down: down.1,
                        grid,
                        bias: bias.unwrap_or_default(),
                        bend,
                    };
                    dispatch(tier, rows);
                }
            }
        }
    }

    /// Number of kernel elements.
    fn taps(&self) -> usize {
        self.y.taps.len() * self.x.taps.len()
    }

    /// Where each kernel element looks in the window, from the first output.
    fn offsets(&self, view: &Window, channels: usize) -> Vec<isize> {
        let origin = |axis: &Axis| axis.taps.first().map_or(0, |tap| tap.at);
        let (top, left) = (origin(&self.y), origin(&self.x));
        let pairs = self
            .y
            .taps
            .iter()
            .flat_map(|y| self.x.taps.iter().map(move |x| (y, x)));
        pairs
            .map(|(y, x)| (y.at - top) * view.row as isize + (x.at - left) * channels as isize)
            .collect()
    }

    /// Tiles of products, group after group.
    fn panels(
        &self,
        tier: Tier,
        groups: &[PackedB],
        view: &Window,
        channels: usize,
        place: &Place,
        bias: Option<&[f32]>,
        bend: Bend,
        out: &mut [f32],
    ) {
        let kernels = Kernels::of(tier);
        let inner = channels / groups.len();
        let (blocks, segments) = self.segments(view, channels, inner, INNER);
        let (grid, step) = (place.grid, place.step);
        let tiles = grid.1.div_ceil(kernels.rows);
        let out_end = out.len();
        let out = out.as_mut_ptr();
        for (g, weights) in groups.iter().enumerate() {
            assert!(
                weights.panel_width() == kernels.panel() && weights.rows() == self.taps() * inner,
                "no kernel packed for this tier"
            );
            for block in &blocks {
                for p in 0..weights.panels() {
                    let (panel, columns) = weights.panel(p, block.row);
                    let at = g * weights.columns() + columns.start;
                    let last = block.segments.end == segments.len();
                    let bias = bias.filter(|_| last);
                    let mut args = Args {
                        a: view.data,
                        a_stride: step,
                        segments: segments[block.segments.clone()].as_ptr(),
                        segment_count: block.segments.len(),
                        b: panel.as_ptr(),
                        b_stride: kernels.panel(),
                        c: out,
                        c_stride: place.c_stride,
                        width: columns.len(),
                        b_padded: true,
                        finish: Finish {
                            alpha: 1.0,
                            accumulate: block.row > 0,
                            bias: bias.map_or(std::ptr::null(), |bias| bias[at..].as_ptr()),
                            bend: if last { bend } else { Bend::NONE },
                        },
                    };
                    for y in 0..grid.0 {
                        let mut from = 0;
                        for t in 0..tiles {
                            let to = (t + 1) * grid.1 / tiles;
                            let c = place.c(y, from, to, at + args.width, out_end) + at;
                            // SAFETY: the window holds all pixels that outputs `ys` and all
                            // columns of this pass read, so every segment lies within it; the
                            // panel holds a row for each step; the outputs are pixels of `out`.
                            unsafe {
                                args.a = view.data.add(y * place.down.0 + from * step + g * inner);
                                args.c = out.add(c);
                                kernels.run(ROWS, to - from, &args);
                            }
                            from = to;
                        }
                    }
                }
            }
        }
    }

    /// Where the patch of the first output lies in the window, and its division into blocks.
    fn segments(
        &self,
        view: &Window,
        channels: usize,
        inner: usize,
        most: usize,
    ) -> (Vec<Block>, Vec<Segment>) {
        let mut segments: Vec<Segment> = Vec::new();
        let mut blocks: Vec<Block> = Vec::new();
        let origin = |axis: &Axis| axis.taps.first().map_or(0, |tap| tap.at);
        let (top, left) = (origin(&self.y), origin(&self.x));
        let (mut row, mut size) = (0, 0);
        let mut begin = 0;
        for ty in &self.y.taps {
            let mut fresh = true;
            let line = (ty.at - top) * view.row as isize;
            for tx in &self.x.taps {
                let mut at = line + (tx.at - left) * channels as isize;
                let mut left = inner;
                while left > 0 {
                    if size == most {
                        blocks.push(Block {
                            segments: begin..segments.len(),
                            row: row - size,
                        });
                        begin = segments.len();
                        size = 0;
                        fresh = true;
                    }
                    let len = left.min(most - size);
                    match segments.last_mut() {
                        Some(last) if !fresh && last.at + last.len as isize == at => {
                            last.len += len
                        }
                        _ => segments.push(Segment { at, len }),
                    }
                    fresh = false;
                    at += len as isize;
                    left -= len;
                    size += len;
                    row += len;
                }
            }
        }
        if size > 0 || blocks.is_empty() {
            blocks.push(Block {
                segments: begin..segments.len(),
                row: row - size,
            });
        }
        (blocks, segments)
    }
}

/// A stretch of the inner dimension.
#[derive(Clone, Debug)]
struct Block {
    segments: Range<usize>,
    /// First row of the packed kernel.
    row: usize,
}

/// True for three taps side by side, output after output.
fn three(axis: &Axis) -> bool {
    let side_by_side = axis
        .taps
        .windows(2)
        .all(|pair| pair[1].at - pair[0].at == 1);
    axis.taps.len() == 3 && side_by_side && axis.step == 1 && axis.every == 1
}

/// Where a pass reads and writes.
#[derive(Clone, Copy, Debug)]
struct Place {
    /// Rows and columns of outputs.
    grid: (usize, usize),
    /// Numbers from one pixel's patch to the next one's.
    step: usize,
    /// Numbers from one row to the next, in the window and in the answer.
    down: (usize, usize),
    /// The first output in the answer.
    first: usize,
    /// Numbers from one output to the next.
    c_stride: usize,
}

impl Place {
    /// Where output `from` of row `y` begins; pixels up to `to` must fit, `width` numbers each.
    #[inline]
    fn c(&self, y: usize, from: usize, to: usize, width: usize, end: usize) -> usize {
        let row = self.first + y * self.down.1;
        assert!(row + (to - 1) * self.c_stride + width <= end);
        row + from * self.c_stride
    }
}
