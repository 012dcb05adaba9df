//! Shapes of a convolution, and which kernel elements meet which pixels.

/// What defines a convolution of one image (rows, columns, channels) in that order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConvShape {
    /// Rows and columns of the image.
    pub image: (usize, usize),
    /// Channels of the image.
    pub channels: usize,
    /// Channels of the answer.
    pub filters: usize,
    /// Rows and columns of the kernel.
    pub kernel: (usize, usize),
    /// Steps of the kernel over the image.
    pub stride: (usize, usize),
    /// Zeros around the image: (top, bottom), (left, right).
    pub padding: ((usize, usize), (usize, usize)),
    /// Distance of neighbouring kernel elements.
    pub dilation: (usize, usize),
    /// Parts of the channels that do not see each other; divides both counts of channels.
    pub groups: usize,
}

impl ConvShape {
    /// Rows and columns of the answer; 0 where the kernel does not fit.
    pub fn out(&self) -> (usize, usize) {
        let one =
            |size: usize, pad: (usize, usize), kernel: usize, dilation: usize, step: usize| {
                let span = (kernel - 1) * dilation + 1;
                let size = size + pad.0 + pad.1;
                if size < span {
                    0
                } else {
                    (size - span) / step + 1
                }
            };
        (
            one(
                self.image.0,
                self.padding.0,
                self.kernel.0,
                self.dilation.0,
                self.stride.0,
            ),
            one(
                self.image.1,
                self.padding.1,
                self.kernel.1,
                self.dilation.1,
                self.stride.1,
            ),
        )
    }

    /// Numbers of one image.
    pub fn image_len(&self) -> usize {
        self.image.0 * self.image.1 * self.channels
    }

    /// Numbers of one answer.
    pub fn out_len(&self) -> usize {
        let (rows, columns) = self.out();
        rows * columns * self.filters
    }

    /// Numbers of the kernel.
    pub fn kernel_len(&self) -> usize {
        self.kernel.0 * self.kernel.1 * (self.channels / self.groups) * self.filters
    }

    /// Multiplications of one image.
    pub fn cost(&self) -> usize {
        let (rows, columns) = self.out();
        (rows * columns).saturating_mul(self.kernel_len() / self.groups.max(1))
    }

    /// True where each channel is convolved by itself, without further ones.
    pub fn depthwise(&self) -> bool {
        self.groups == self.channels && self.filters == self.channels && self.channels > 1
    }
}

/// One kernel element along one axis, and where it looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tap {
    /// Its number in the kernel.
    pub element: usize,
    /// Position in the image that it meets at the first output; may lie outside.
    pub at: isize,
}

/// One axis of a pass: output `i` sums over taps at `i * step + tap.at`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Axis {
    /// Pixels of the image that is read.
    pub image: usize,
    /// Outputs of this pass.
    pub out: usize,
    /// Step over the image from one output to the next.
    pub step: usize,
    /// In ascending order of where they look.
    pub taps: Vec<Tap>,
    /// Output `i` of the pass is pixel `first + i * every` of the answer.
    pub first: usize,
    /// See `first`.
    pub every: usize,
}

impl Axis {
    /// The axis of a convolution.
    pub fn forward(
        image: usize,
        out: usize,
        pad: usize,
        kernel: usize,
        stride: usize,
        dilation: usize,
    ) -> Axis {
        let taps = (0..kernel).map(|k| Tap {
            element: k,
            at: (k * dilation) as isize - pad as isize,
        });
        Axis {
            image,
            out,
            step: stride,
            taps: taps.collect(),
            first: 0,
            every: 1,
        }
    }

    /// The axes of the gradient with respect to the image: with a stride, pixels of different
    /// remainders meet different kernel elements, so each remainder is a pass of its own.
    pub fn backward(
        image: usize,
        out: usize,
        pad: usize,
        kernel: usize,
        stride: usize,
        dilation: usize,
    ) -> Vec<Axis> {
        (0..stride.min(image))
            .map(|first| {
                let mut taps: Vec<Tap> = (0..kernel)
                    .filter_map(|k| {
                        let from = (first + pad) as isize - (k * dilation) as isize;
                        (from.rem_euclid(stride as isize) == 0).then_some(Tap {
                            element: k,
                            at: from.div_euclid(stride as isize),
                        })
                    })
                    .collect();
                taps.sort_by_key(|tap| tap.at);
                Axis {
                    image: out,
                    out: (image - first).div_ceil(stride),
                    step: 1,
                    taps,
                    first,
                    every: stride,
                }
            })
            .collect()
    }

    /// First pixel that outputs `from..to` read, and the one after the last; may lie outside.
    pub fn span(&self, from: usize, to: usize) -> (isize, isize) {
        match (self.taps.first(), self.taps.last()) {
            (Some(low), Some(high)) if from < to => (
                (from * self.step) as isize + low.at,
                ((to - 1) * self.step) as isize + high.at + 1,
            ),
            _ => (0, 0),
        }
    }

    /// Outputs of the pass among pixels `from..to` of the answer.
    pub fn outputs(&self, from: usize, to: usize) -> std::ops::Range<usize> {
        let below = |end: usize| {
            end.saturating_sub(self.first)
                .div_ceil(self.every)
                .min(self.out)
        };
        below(from)..below(to)
    }
}
