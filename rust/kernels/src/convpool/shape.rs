//! The sizes of one convolution.

use super::patches::Source;

/// The sizes of a convolution of NHWC images by a kernel of (height, width, in, out).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Rows of an image.
    pub height: usize,
    /// Columns of an image.
    pub width: usize,
    /// Channels of an image.
    pub channels: usize,
    /// Channels of an output.
    pub filters: usize,
    /// Rows and columns of the kernel.
    pub kernel: [usize; 2],
    /// Rows and columns from one patch to the next.
    pub stride: [usize; 2],
    /// Rows and columns from one weight to the next.
    pub dilation: [usize; 2],
    /// Zeros before and after the rows, before and after the columns.
    pub padding: [[usize; 2]; 2],
}

/// Patches along one axis.
fn steps(size: usize, kernel: usize, stride: usize, dilation: usize, padding: [usize; 2]) -> usize {
    let reach = dilation * (kernel - 1) + 1;
    let padded = size + padding[0] + padding[1];
    if padded < reach {
        0
    } else {
        (padded - reach) / stride + 1
    }
}

impl Shape {
    /// A convolution with stride 1 and no padding.
    pub fn valid(
        [height, width, channels]: [usize; 3],
        kernel: [usize; 2],
        filters: usize,
    ) -> Shape {
        Shape {
            height,
            width,
            channels,
            filters,
            kernel,
            stride: [1, 1],
            dilation: [1, 1],
            padding: [[0, 0], [0, 0]],
        }
    }

    /// Rows of an output.
    pub fn out_height(&self) -> usize {
        let [p, _] = self.padding;
        steps(
            self.height,
            self.kernel[0],
            self.stride[0],
            self.dilation[0],
            p,
        )
    }

    /// Columns of an output.
    pub fn out_width(&self) -> usize {
        let [_, p] = self.padding;
        steps(
            self.width,
            self.kernel[1],
            self.stride[1],
            self.dilation[1],
            p,
        )
    }

    /// Pixels of an output.
    pub fn out_pixels(&self) -> usize {
        self.out_height() * self.out_width()
    }

    /// Numbers in one image.
    pub fn input_len(&self) -> usize {
        self.height * self.width * self.channels
    }

    /// Numbers in one output.
    pub fn output_len(&self) -> usize {
        self.out_pixels() * self.filters
    }

    /// Numbers that one output pixel and channel depends on.
    pub fn patch_len(&self) -> usize {
        self.kernel[0] * self.kernel[1] * self.channels
    }

    /// Weights of the kernel.
    pub fn weights_len(&self) -> usize {
        self.patch_len() * self.filters
    }

    /// Patches of the input.
    pub(super) fn source(&self) -> Source {
        Source {
            size: [self.height, self.width],
            channels: self.channels,
            kernel: self.kernel,
            dilation: self.dilation,
            stride: self.stride,
            padding: self.padding,
            patches: [self.out_height(), self.out_width()],
        }
    }

    /// Patches of the output's gradient whose convolution is the gradient of the input, if there
    /// are such.
    pub(super) fn reverse(&self) -> Option<Source> {
        if self.stride != [1, 1] {
            return None;
        }
        let mut padding = [[0; 2]; 2];
        for axis in 0..2 {
            let reach = self.dilation[axis] * (self.kernel[axis] - 1);
            for side in 0..2 {
                padding[axis][side] = reach.checked_sub(self.padding[axis][side])?;
            }
        }
        Some(Source {
            size: [self.out_height(), self.out_width()],
            channels: self.filters,
            kernel: self.kernel,
            dilation: self.dilation,
            stride: [1, 1],
            padding,
            patches: [self.height, self.width],
        })
    }

    /// True if nothing is zero, and images with their padding, outputs and weights have fewer
    /// than 2^31 numbers each.
    pub fn fits(&self) -> bool {
        let positive = [
            [self.height, self.width],
            [self.channels, self.filters],
            self.kernel,
            self.stride,
            self.dilation,
        ];
        if positive.iter().flatten().any(|&n| n == 0) {
            return false;
        }
        let [[top, bottom], [left, right]] = self.padding;
        let height = self.height.saturating_add(top).saturating_add(bottom);
        let width = self.width.saturating_add(left).saturating_add(right);
        let reach = |axis: usize| self.kernel[axis].saturating_mul(self.dilation[axis]);
        // Rows of a patch may be rounded up to whole registers.
        let run = self.kernel[1]
            .saturating_mul(self.channels)
            .saturating_add(16);
        let few = |sizes: [usize; 3]| {
            let all = sizes.into_iter().try_fold(1usize, usize::checked_mul);
            all.is_some_and(|n| n < 1 << 31)
        };
        few([height, width, self.channels.max(self.filters)])
            && few([self.kernel[0], run, self.filters.saturating_add(32)])
            && few([reach(0), reach(1), 1])
    }

    /// # Panics
    /// If the shape does not fit.
    pub(super) fn check(&self) {
        assert!(self.fits(), "{self:?}");
    }
}
