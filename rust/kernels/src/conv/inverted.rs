//! Inverted residuals: pixels are widened, each wide channel is convolved, pixels are narrowed.
//!
//! (Sandler et al., *MobileNetV2*, arXiv:1801.04381.) The wide pixels are by far the most numbers of
//! such a block, and each is used within a few rows of where it was made. So a strip of rows is
//! made, convolved and narrowed before the next one, and none of them leaves the caches.

use super::depthwise::Rows;
use super::shape::ConvShape;
use crate::buffer::Buffer;
use crate::gemm::{
    Activation, Args, Bend, Epilogue, Finish, Kernels, Mat, MatMut, PackPart, PackedB, ROWS,
    Segment, dispatch, packed,
};
use crate::pointwise::{add, add_assign};
use crate::tier::Tier;
use std::ops::Range;

/// Wide numbers that a strip has at most (one row of outputs is always allowed).
const STRIP: usize = 160 << 10;
/// Steps of the inner dimension that are summed in one go.
const INNER: usize = 256;
/// Panels that are packed at once.
const PANELS: usize = 4;

/// A block: its shape and its parameters.
#[derive(Clone, Copy, Debug)]
pub struct Block<'a> {
    /// The depthwise convolution; its channels are the wide ones.
    pub middle: ConvShape,
    /// Channels of the image.
    pub channels: usize,
    /// Channels of the answer.
    pub filters: usize,
    /// Kernel (channels, wide) and bias of the widening; none where the image is wide itself.
    pub expand: Option<(&'a [f32], &'a [f32])>,
    /// Kernel (rows, columns, 1, wide) and bias of the depthwise convolution.
    pub depthwise: (&'a [f32], &'a [f32]),
    /// Kernel (wide, filters) and bias of the narrowing.
    pub project: (&'a [f32], &'a [f32]),
    /// Of widening and depthwise convolution; one that tiles know.
    pub activation: Activation,
}

impl<'a> Block<'a> {
    /// Whether all sizes fit together, and tiles know the activation.
    pub fn fits(&self) -> bool {
        let wide = self.middle.channels;
        let expands = match self.expand {
            Some((w, b)) => w.len() == self.channels * wide && b.len() == wide,
            None => self.channels == wide,
        };
        let m = &self.middle;
        let taps = m.kernel.0 * m.kernel.1;
        expands
            && m.groups == wide
            && m.filters == wide
            && m.dilation == (1, 1)
            && self.depthwise.0.len() == taps * wide
            && self.depthwise.1.len() == wide
            && self.project.0.len() == wide * self.filters
            && self.project.1.len() == self.filters
            && self.activation.in_registers()
    }

    /// Numbers of one image.
    pub fn image_len(&self) -> usize {
        self.middle.image.0 * self.middle.image.1 * self.channels
    }

    /// Numbers of one answer.
    pub fn out_len(&self) -> usize {
        let (rows, columns) = self.middle.out();
        rows * columns * self.filters
    }

    /// Whether the image is added to the answer: where their shapes are the same.
    pub fn adds(&self) -> bool {
        self.middle.out() == self.middle.image && self.filters == self.channels
    }

    /// Multiplications of one image.
    pub fn cost(&self) -> usize {
        let wide = self.middle.channels;
        let (rows, columns) = self.middle.out();
        let expand = self.expand.map_or(0, |_| self.image_len() * wide);
        expand + self.middle.cost() + rows * columns * wide * self.filters
    }

    /// Numbers of the kernels of both products.
    pub fn weights(&self) -> usize {
        self.expand.map_or(0, |(w, _)| w.len()) + self.project.0.len()
    }

    /// The parts of both kernels that are to be packed.
    pub fn parts<'b>(
        &self,
        tier: Tier,
        expand: &'b mut PackedB,
        project: &'b mut PackedB,
        panels: usize,
    ) -> Vec<PackPart<'b>>
    where
        'a: 'b,
    {
        let wide = self.middle.channels;
        let narrow = Mat::rows_of(self.project.0, wide, self.filters);
        let mut parts = project.parts(tier, narrow, panels);
        if let Some((w, _)) = self.expand {
            let w = Mat::rows_of(w, self.channels, wide);
            parts.extend(expand.parts(tier, w, panels));
        }
        parts
    }

    /// Rows `rows` of the answer to `image`, with kernels that were packed.
    ///
    /// # Panics
    /// If a length does not fit, or the kernels were packed for another tier.
    pub fn run(
        &self,
        tier: Tier,
        (expand, project): (&PackedB, &PackedB),
        image: &[f32],
        rows: Range<usize>,
        out: &mut [f32],
        [lines, middle, panels, _]: &mut [Buffer; 4],
    ) {
        let (all, columns) = self.middle.out();
        let wide = self.middle.channels;
        assert!(rows.end <= all && out.len() == rows.len() * columns * self.filters);
        if out.is_empty() {
            return;
        }
        let mut lines = Lines::new(self, tier, (expand, 0), image, 0..wide, lines);
        let most = self.strip(&lines);
        let strips = rows.len().div_ceil(most);
        let middle = middle.take(rows.len().div_ceil(strips) * columns * wide);
        for i in 0..strips {
            let from = rows.start + i * rows.len() / strips;
            let to = rows.start + (i + 1) * rows.len() / strips;
            let pixels = (to - from) * columns;
            let middle = &mut middle[..pixels * wide];
            lines.convolve(from..to, MatMut::rows_of(middle, pixels, wide));
            let at = (from - rows.start) * columns * self.filters;
            let out = &mut out[at..at + pixels * self.filters];
            let first = from * columns;
            let middle = Mat::rows_of(middle, pixels, wide);
            self.narrow(tier, project, image, first, middle, out, panels);
        }
    }

    /// What the wide channels `channels` add to the answer, without bias and image; packs the parts
    /// of the kernels that they need.
    ///
    /// # Panics
    /// As for [`Self::run`].
    pub fn share(
        &self,
        tier: Tier,
        image: &[f32],
        channels: Range<usize>,
        out: &mut [f32],
        packs: &mut [PackedB; 2],
        [lines, middle, panels, _]: &mut [Buffer; 4],
    ) {
        let (rows, columns) = self.middle.out();
        let (pixels, wide) = (rows * columns, self.middle.channels);
        let [expand, project] = packs;
        if let Some((w, _)) = self.expand {
            let w = Mat::rows_of(w, self.channels, wide).column_range(channels.clone());
            let mut parts = expand.parts(tier, w, PANELS);
            parts.iter_mut().for_each(PackPart::pack);
        }
        let n = channels.len();
        let middle = middle.take(pixels * n);
        let first = channels.start;
        let mut lines = Lines::new(self, tier, (expand, first), image, channels.clone(), lines);
        lines.convolve(0..rows, MatMut::rows_of(middle, pixels, n));
        let narrow = Mat::rows_of(self.project.0, wide, self.filters).row_range(channels);
        let mut parts = project.parts(tier, narrow, PANELS);
        parts.iter_mut().for_each(PackPart::pack);
        let middle = Mat::rows_of(middle, pixels, n);
        let c = MatMut::rows_of(out, pixels, self.filters);
        packed(tier, 1.0, middle, project, 0.0, c, &Epilogue::NONE, panels);
    }

    /// The answer, given what some channels add to it, one after the other: their sum, the bias and,
    /// where it is added, the image.
    ///
    /// # Panics
    /// If a length does not fit.
    pub fn join(&self, tier: Tier, image: &[f32], shares: &[f32], out: &mut [f32]) {
        assert!(out.len() == self.out_len() && shares.len().is_multiple_of(out.len().max(1)));
        let mut shares = shares.chunks_exact(out.len().max(1));
        match shares.next() {
            Some(first) if self.adds() => add(tier, first, image, out),
            Some(first) => out.copy_from_slice(first),
            None => out.fill(0.0),
        }
        shares.for_each(|share| add_assign(tier, out, share));
        for pixel in out.chunks_exact_mut(self.filters.max(1)) {
            add_assign(tier, pixel, self.project.1);
        }
    }

    /// The answers of the pixels from `first` on, given their depthwise ones.
    fn narrow(
        &self,
        tier: Tier,
        project: &PackedB,
        image: &[f32],
        first: usize,
        middle: Mat,
        out: &mut [f32],
        scratch: &mut Buffer,
    ) {
        let beta = if self.adds() {
            out.copy_from_slice(&image[first * self.filters..][..out.len()]);
            1.0
        } else {
            0.0
        };
        let epilogue = Epilogue {
            bias: Some(self.project.1),
            activation: Activation::Linear,
        };
        let c = MatMut::rows_of(out, middle.rows(), self.filters);
        packed(tier, 1.0, middle, project, beta, c, &epilogue, scratch);
    }

    /// Rows of outputs of a strip.
    fn strip(&self, lines: &Lines) -> usize {
        let m = &self.middle;
        let fit = (STRIP / lines.row.max(1)).saturating_sub(m.kernel.0) / m.stride.0;
        (fit + 1).min(m.out().0)
    }
}

/// Rows of wide pixels with the zeros around them: those that outputs to come still need.
struct Lines<'a> {
    block: &'a Block<'a>,
    tier: Tier,
    /// The kernel of the widening, and the channel that its first column is.
    expand: (&'a PackedB, usize),
    image: &'a [f32],
    /// The wide channels that are computed.
    channels: Range<usize>,
    /// Rows `held`, counted from the top of the padded image, one after the other.
    data: &'a mut Buffer,
    held: Range<usize>,
    /// Numbers of a row.
    row: usize,
}

impl<'a> Lines<'a> {
    fn new(
        block: &'a Block<'a>,
        tier: Tier,
        expand: (&'a PackedB, usize),
        image: &'a [f32],
        channels: Range<usize>,
        data: &'a mut Buffer,
    ) -> Lines<'a> {
        let m = &block.middle;
        assert!(
            block.fits() && image.len() == block.image_len() && channels.end <= m.channels,
            "lengths of an inverted residual"
        );
        let width = m.image.1 + m.padding.1.0 + m.padding.1.1;
        let row = width * channels.len();
        Lines {
            block,
            tier,
            expand,
            image,
            channels,
            data,
            held: 0..0,
            row,
        }
    }

    /// The depthwise answers of the rows `rows`, which come after those of the call before.
    fn convolve(&mut self, rows: Range<usize>, mut to: MatMut) {
        let m = self.block.middle;
        let (_, columns) = m.out();
        let n = self.channels.len();
        assert!(to.rows() == rows.len() * columns && to.columns() == n);
        if to.rows() == 0 || n == 0 {
            return;
        }
        self.hold(rows.start * m.stride.0..(rows.end - 1) * m.stride.0 + m.kernel.0);
        let pairs = (0..m.kernel.0).flat_map(|y| (0..m.kernel.1).map(move |x| (y, x)));
        let taps: Vec<isize> = pairs
            .map(|(y, x)| (y * self.row + x * n) as isize)
            .collect();
        let stride = to.stride();
        let (w, bias) = self.block.depthwise;
        // SAFETY: the held rows are those that the outputs read, each with the zeros around it;
        // `fits` has checked that kernel and bias have numbers for all wide channels; `to` has a
        // row for each output pixel.
        unsafe {
            let task = Rows {
                a: self.data.as_ptr(),
                a_stride: m.stride.1 * n,
                a_down: m.stride.0 * self.row,
                taps: &taps,
                w: w.as_ptr().add(self.channels.start),
                w_stride: m.channels,
                channels: n,
                c: to.ptr(),
                c_stride: stride,
                c_down: columns * stride,
                grid: (rows.len(), columns),
                bias: &bias[self.channels.clone()],
                bend: self.block.activation.bend(),
            };
            dispatch(self.tier, task);
        }
    }

    /// Makes the held rows those of `rows`.
    fn hold(&mut self, rows: Range<usize>) {
        let m = self.block.middle;
        let n = self.channels.len();
        let kept = rows.start.max(self.held.start)..self.held.end.max(rows.start);
        self.data.take(rows.len().max(self.held.len()) * self.row);
        if !kept.is_empty() {
            let from = (kept.start - self.held.start) * self.row;
            let size = kept.len() * self.row;
            self.data.copy_within(from..from + size, 0);
        }
        let made = kept.end.max(rows.start)..rows.end;
        // The padded image's rows that are the image's.
        let top = m.padding.0.0;
        let inside = made.start.clamp(top, top + m.image.0)..made.end.clamp(top, top + m.image.0);
        let (left, right) = (m.padding.1.0 * n, m.padding.1.1 * n);
        for y in made.clone() {
            let at = (y - rows.start) * self.row;
            let line = &mut self.data[at..at + self.row];
            if inside.contains(&y) {
                line[..left].fill(0.0);
                let end = line.len();
                line[end - right..].fill(0.0);
            } else {
                line.fill(0.0);
            }
        }
        self.held = rows.clone();
        if inside.is_empty() {
            return;
        }
        let at = (inside.start - rows.start) * self.row + left;
        let lines = inside.start - top..inside.end - top;
        match self.block.expand {
            Some((_, bias)) => self.widen(lines, at, bias),
            None => self.copy(lines, at),
        }
    }

    /// Writes the image's rows `lines` from `at` on: there is no widening.
    fn copy(&mut self, lines: Range<usize>, at: usize) {
        let (width, all) = (self.block.middle.image.1, self.block.channels);
        let n = self.channels.len();
        for (i, y) in lines.enumerate() {
            let from = &self.image[y * width * all..(y + 1) * width * all];
            let to = &mut self.data[at + i * self.row..][..width * n];
            for (to, from) in to.chunks_exact_mut(n).zip(from.chunks_exact(all)) {
                to.copy_from_slice(&from[self.channels.clone()]);
            }
        }
    }

    /// Writes the wide pixels of the image's rows `lines` from `at` on.
    fn widen(&mut self, lines: Range<usize>, at: usize, bias: &[f32]) {
        let kernels = Kernels::of(self.tier);
        let panel = kernels.panel();
        let (width, inner) = (self.block.middle.image.1, self.block.channels);
        let n = self.channels.len();
        let (kernel, origin) = self.expand;
        assert!(
            kernel.panel_width() == panel
                && kernel.rows() == inner
                && self.channels.start == origin
                && kernel.columns() == n,
            "no kernel packed for this tier and these channels"
        );
        let bias = &bias[self.channels.clone()];
        let last = at + (lines.len() - 1) * self.row + width * n;
        assert!(last <= self.data.len() && lines.end * width * inner <= self.image.len());
        let tiles = width.div_ceil(kernels.rows);
        let c = self.data.as_mut_ptr();
        for from in (0..inner).step_by(INNER) {
            let depth = INNER.min(inner - from);
            let done = from + depth == inner;
            let segment = Segment { at: 0, len: depth };
            for p in 0..kernel.panels() {
                let (b, columns) = kernel.panel(p, from);
                let bias = if done {
                    bias[columns.clone()].as_ptr()
                } else {
                    std::ptr::null()
                };
                let mut args = Args {
                    a: self.image.as_ptr(),
                    a_stride: inner,
                    segments: &segment,
                    segment_count: 1,
                    b: b.as_ptr(),
                    b_stride: panel,
                    c,
                    c_stride: n,
                    width: columns.len(),
                    b_padded: true,
                    finish: Finish {
                        alpha: 1.0,
                        accumulate: from > 0,
                        bias,
                        bend: if done {
                            self.block.activation.bend()
                        } else {
                            Bend::NONE
                        },
                    },
                };
                for (i, y) in lines.clone().enumerate() {
                    let mut x = 0;
                    for t in 0..tiles {
                        let next = (t + 1) * width / tiles;
                        // SAFETY: pixels x..next of row y lie in the image, and their answers
                        // within the held rows, as asserted above for the last ones; the panel
                        // has a row for each step; the bias has a number for each column.
                        unsafe {
                            args.a = self.image.as_ptr().add((y * width + x) * inner + from);
                            args.c = c.add(at + i * self.row + x * n + columns.start);
                            kernels.run(ROWS, next - x, &args);
                        }
                        x = next;
                    }
                }
            }
        }
    }
}
