//! The gradient of a convolution with respect to its kernel.

use super::shape::{Axis, ConvShape};
use super::window::window;
use crate::buffer::Buffer;
use crate::gemm::{Args, COLUMNS, Finish, Kernels, Mat, Segment, pack_panel};
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
        scratch: &mut [Buffer; 2],
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
        let [padded, packed] = scratch;
        let step = (PIXELS / self.x.out).clamp(1, rows.len());
        let mut fresh = fresh;
        for from in rows.clone().step_by(step) {
            let ys = from..(from + step).min(rows.end);
            self.block(&kernels, image, gradient, ys, fresh, out, padded, packed);
            fresh = false;
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
                        slope: 1.0,
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
