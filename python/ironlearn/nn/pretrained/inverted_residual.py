"""The block that small networks for pictures are made of."""

from __future__ import annotations

from typing import Any

import numpy as np

from ironlearn.nn import functional as F
from ironlearn.nn.autograd import Tensor
from ironlearn.nn.layers.base import INFERENCE, Layer, Mode, Shape
from ironlearn.nn.layers.conv import Conv2D
from ironlearn.nn.layers.depthwise import DepthwiseConv2D


class InvertedResidual(Layer):
    """Widen, convolve each channel, narrow; and the input added where shapes allow.

    Parameters
    ----------
    kernel : int
        Height and width of the convolution of each channel.
    stride : int
        Its stride.
    expansion : int
        How many times wider the channels are within; 1 leaves the first convolution out.
    channels : int
        Channels of the output.
    before : int
        Channels of the input.
    padding : {"same"} or int, default="same"
        As for `Conv2D`.

    Notes
    -----
    Sandler et al., "MobileNetV2: inverted residuals and linear bottlenecks" (arXiv:1801.04381),
    figure 3b, with batch normalization taken into the convolutions.

    Examples
    --------
    >>> InvertedResidual(3, 2, 6, 24, 16)._build((8, 8, 16), np.random.default_rng(0))
    (4, 4, 24)
    """

    input_ndim = 4

    def __init__(
        self,
        kernel: int,
        stride: int,
        expansion: int,
        channels: int,
        before: int,
        padding: Any = "same",
    ) -> None:
        wide = before * expansion
        self.expand = Conv2D(wide, 1, activation="relu6") if expansion > 1 else None
        self.depthwise = DepthwiseConv2D(kernel, stride, padding, "relu6")
        self.project = Conv2D(channels, 1)
        self.adds = stride == 1 and before == channels

    def build(self, input_shape: Shape, rng: np.random.Generator) -> None:
        """Create the convolutions."""
        shape = input_shape
        if self.expand is not None:
            shape = self.expand._build(shape, rng, f"{self.label}.expand")
        shape = self.depthwise._build(shape, rng, f"{self.label}.depthwise")
        self.project._build(shape, rng, f"{self.label}.project")

    def output_shape(self, input_shape: Shape) -> Shape:
        """Return height, width and channels."""
        shape = input_shape if self.expand is None else self.expand.output_shape(input_shape)
        return self.project.output_shape(self.depthwise.output_shape(shape))

    def forward(self, x: Tensor, mode: Mode = INFERENCE) -> Tensor:
        """Compute the output of `x`."""
        y = x if self.expand is None else self.expand(x, mode)
        y = self.project(self.depthwise(y, mode), mode)
        return F.add(y, x) if self.adds else y
