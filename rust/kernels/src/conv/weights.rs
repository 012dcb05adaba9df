//! The gradient of a convolution with respect to its kernel.

use super::depthwise::RowGradient;
use super::few;
use super::shape::{Axis, ConvShape};
use super::window::{Window, window};
use crate::buffer::Buffer;
use crate::gemm::{Args, Bend, COLUMNS, Finish, Kernels, Mat, Segment, dispatch, pack_panel};
use crate::tier::Tier;
use std::ops::Range;

/// Pixels that are summed in one go: what they hold of image and gradient stays in the
/// first-level cache over many tiles.
const PIXELS: usize = 160;

/// Adds up the gradient of a kernel over images.
#[derive(Clone, Debug)]
pub struct WeightGradient {
    shape: ConvShape,
    y: Axis,
    x: Axis,
}

impl WeightGradient {
    /// For the convolution of that shape.
    pub fn new(shape: ConvShape) -> WeightGradient {
        let (rows, columns) = shape.out();
        let s = &shape;
        WeightGradient {
            shape,
            y: Axis::forward(
                s.image.0,
                rows,
                s.padding.0.0,
                s.kernel.0,
                s.stride.0,
                s.dilation.0,
            ),
            x: Axis::forward(
                s.image.1,
                columns,
                s.padding.1.0,
                s.kernel.1,
                s.stride.1,
                s.dilation.1,
            ),
        }
    }

    /// Adds to `out` (or, if `fresh`, puts there) the part of one image's output rows `rows`.
    ///
    /// `gradient` is the whole gradient with respect to that image's answer.
    ///
    /// # Panics
    /// If a length does not fit.
    pub fn run(
        &self,
        tier: Tier,
        image: &[f32],
        gradient: &[f32],
        rows: Range<usize>,
        fresh: bool,
        out: &mut [f32],
        scratch: &mut [Buffer; 4],
    ) {
        let s = &self.shape;
        assert!(
            image.len() == s.image_len()
                && gradient.len() == s.out_len()
                && rows.end <= self.y.out
                && out.len() == s.kernel_len(),
            "lengths of a kernel's gradient"
        );
        if rows.is_empty() || self.x.out == 0 {
            if fresh {
                out.fill(0.0);
            }
            return;
        }
        let kernels = Kernels::of(tier);
        let [padded, packed, ..] = scratch;
        let few = s.groups == 1 && s.filters <= few::MOST && s.channels * s.kernel.1 >= 8;
        if s.depthwise() || few {
            if fresh {
                out.fill(0.0);
            }
            let (top, bottom) = self.y.span(rows.start, rows.end);
            let (left, right) = self.x.span(0, self.x.out);
            let view = window(image, s.image, s.channels, top..bottom, left..right, padded);
            let width = self.x.out * s.filters;
            let gradient = &gradient[rows.start * width..rows.end * width];
            if s.depthwise() {
                self.depthwise(tier, &view, gradient, out);
            } else {
                self.few(&kernels, &view, gradient, out, packed);
            }
            return;
        }
        let step = (PIXELS / self.x.out).clamp(1, rows.len());
        let mut fresh = fresh;
        for from in rows.clone().step_by(step) {
            let ys = from..(from + step).min(rows.end);
            self.block(&kernels, image, gradient, ys, fresh, out, padded, packed);
            fresh = false;
        }
    }

    /// Channels in the lanes.
    fn depthwise(&self, tier: Tier, view: &Window, gradient: &[f32], out: &mut [f32]) {
        let s = &self.shape;
        let mut taps = Vec::with_capacity(s.kernel.0 * s.kernel.1);
        for ky in 0..s.kernel.0 {
            for kx in 0..s.kernel.1 {
                let at = ky * s.dilation.0 * view.row + kx * s.dilation.1 * s.channels;
                taps.push(at as isize);
            }
        }
        let width = self.x.out * s.channels;
        for (y, gradient) in gradient.chunks_exact(width).enumerate() {
            // SAFETY: the window holds what these rows read; `out` has `channels` numbers for
            // each kernel element.
            unsafe {
                let row = RowGradient {
                    a: view.data.add(y * self.y.step * view.row),
                    a_stride: self.x.step * s.channels,
                    taps: &taps,
                    g: gradient.as_ptr(),
                    channels: s.channels,
                    pixels: self.x.out,
                    w: out.as_mut_ptr(),
                };
                dispatch(tier, row);
            }
        }
    }

    /// Few filters: the patches stand in the lanes, the gradient is broadcast.
    fn few(
        &self,
        kernels: &Kernels,
        view: &Window,
        gradient: &[f32],
        out: &mut [f32],
        scratch: &mut Buffer,
    ) {
        let s = &self.shape;
        let size = out.len() / s.filters;
        let sums = scratch.take(size * s.filters);
        sums.fill(0.0);
        let (count, run) = if s.dilation.1 == 1 {
            (1, s.kernel.1 * s.channels)
        } else {
            (s.kernel.1, s.channels)
        };
        let segment = Segment {
            at: 0,
            len: self.x.out,
        };
        for (y, gradient) in gradient.chunks_exact(self.x.out * s.filters).enumerate() {
            for ky in 0..s.kernel.0 {
                for kx in 0..count {
                    let b = (y * self.y.step + ky * s.dilation.0) * view.row
                        + kx * s.dilation.1 * s.channels;
                    let row = (ky * s.kernel.1 + kx) * s.channels;
                    for from in (0..run).step_by(kernels.panel()) {
                        let width = kernels.panel().min(run - from);
                        let part = &mut sums[row + from..];
                        assert!(part.len() >= (s.filters - 1) * size + width);
                        // SAFETY: the window holds what these rows read, `gradient` has
                        // `filters` numbers a pixel; the sums are asserted to fit.
                        unsafe {
                            let args = Args {
                                a: gradient.as_ptr(),
                                a_stride: s.filters,
                                segments: &segment,
                                segment_count: 1,
                                b: view.data.add(b + from),
                                b_stride: self.x.step * s.channels,
                                c: part.as_mut_ptr(),
                                c_stride: size,
                                width,
                                b_padded: false,
                                finish: Finish {
                                    alpha: 1.0,
                                    accumulate: true,
                                    bias: std::ptr::null(),
                                    bend: Bend::NONE,
                                },
                            };
                            kernels.run(COLUMNS, s.filters, &args);
                        }
                    }
                }
            }
        }
        for (q, sums) in sums.chunks_exact(size).enumerate() {
            let to = out.iter_mut().skip(q).step_by(s.filters);
            to.zip(sums).for_each(|(v, sum)| *v += sum);
        }
    }

    fn block(
        &self,
        kernels: &Kernels,
        image: &[f32],
        gradient: &[f32],
        ys: Range<usize>,
        fresh: bool,
        out: &mut [f32],
        padded: &mut Buffer,
        packed: &mut Buffer,
    ) {
        let s = &self.shape;
        let width = self.x.out;
        let (top, bottom) = self.y.span(ys.start, ys.end);
        let (left, right) = self.x.span(0, width);
        let view = window(image, s.image, s.channels, top..bottom, left..right, padded);
        let (inner, outer) = (s.channels / s.groups, s.filters / s.groups);
        let pixels = ys.len() * width;
        let gradient = &gradient[ys.start * width * s.filters..ys.end * width * s.filters];
        let gradient = Mat::rows_of(gradient, pixels, s.filters);
        let segments: Vec<Segment> = (0..ys.len())
            .map(|y| Segment {
                at: (y * self.y.step * view.row) as isize,
                len: width,
            })
            .collect();
        // Kernel elements side by side read numbers side by side, if nothing lies between.
        let joined = s.dilation.1 == 1 && s.groups == 1;
        let (count, run) = if joined {
            (1, s.kernel.1 * inner)
        } else {
            (s.kernel.1, inner)
        };
        let tiles = run.div_ceil(kernels.rows);
        let panel = kernels.panel();
        let out_len = out.len();
        let out = out.as_mut_ptr();
        for g in 0..s.groups {
            for j in (0..outer).step_by(panel) {
                let columns = j..(j + panel).min(outer);
                let at = g * outer + columns.start;
                let part = gradient.column_range(at..at + columns.len());
                let room = packed.take(pixels * panel);
                pack_panel(part, panel, room);
                let mut args = Args {
                    a: view.data,
                    a_stride: self.x.step * s.channels,
                    segments: segments.as_ptr(),
                    segment_count: segments.len(),
                    b: room.as_ptr(),
                    b_stride: panel,
                    c: out,
                    c_stride: s.filters,
                    width: columns.len(),
                    b_padded: true,
                    finish: Finish {
                        alpha: 1.0,
                        accumulate: !fresh,
                        bias: std::ptr::null(),
                        bend: Bend::NONE,
                    },
                };
                for ky in 0..s.kernel.0 {
                    for kx in 0..count {
                        let a = ky * s.dilation.0 * view.row
                            + kx * s.dilation.1 * s.channels
                            + g * inner;
                        let row = (ky * s.kernel.1 + kx) * inner;
                        let mut from = 0;
                        for t in 0..tiles {
                            let to = (t + 1) * run / tiles;
                            let c = (row + from) * s.filters + at;
                            debug_assert!(c + (to - from - 1) * s.filters + args.width <= out_len);
                            // SAFETY: the window holds what rows `ys` read; `room` has a row
                            // for each of their pixels; rows of the kernel lie within `out`.
                            unsafe {
                                args.a = view.data.add(a + from);
                                args.c = out.add(c);
                                kernels.run(COLUMNS, to - from, &args);
                            }
                            from = to;
                        }
                    }
                }
            }
        }
    }
}
