"""Depthwise and separable convolution."""

from __future__ import annotations

from typing import Any

import numpy as np

from ironlearn.nn.autograd import Tensor
from ironlearn.nn.backend.ops.convolution import Pair
from ironlearn.nn.layers.base import INFERENCE, Layer, Mode, Shape, positive
from ironlearn.nn.layers.conv import Conv2D, image_size


class DepthwiseConv2D(Layer):
    """A convolution of each channel by itself.

    Parameters
    ----------
    kernel_size, strides, padding, activation, use_bias, dilation_rate, kernel_initializer
        As for `Conv2D`.
    depth_multiplier : int, default=1
        Outputs made of each channel.

    Notes
    -----
    Input (N, H, W, channels), output (N, OH, OW, channels * depth_multiplier); the outputs of one
    channel lie side by side.

    Examples
    --------
    >>> import numpy as np
    >>> DepthwiseConv2D(3, depth_multiplier=2)._build((5, 5, 3), np.random.default_rng(0))
    (3, 3, 6)
    """

    input_ndim = 4
    _conv: Conv2D

    def __init__(
        self,
        kernel_size: int | Pair,
        strides: int | Pair = 1,
        padding: Any = "valid",
        activation: str | None = None,
        *,
        depth_multiplier: int = 1,
        use_bias: bool = True,
        dilation_rate: int | Pair = 1,
        kernel_initializer: str = "glorot_uniform",
    ) -> None:
        # Checked by the convolution that takes them.
        Conv2D(
            1,
            kernel_size,
            strides,
            padding,
            activation,
            dilation_rate=dilation_rate,
        )
        self.kernel_size = kernel_size
        self.strides = strides
        self.padding = padding
        self.activation = activation
        self.depth_multiplier = positive("DepthwiseConv2D", "depth_multiplier", depth_multiplier)
        self.use_bias = use_bias
        self.dilation_rate = dilation_rate
        self.kernel_initializer = kernel_initializer

    def _convolution(self, channels: int) -> Conv2D:
        return Conv2D(
            channels * self.depth_multiplier,
            self.kernel_size,
            self.strides,
            self.padding,
            self.activation,
            use_bias=self.use_bias,
            dilation_rate=self.dilation_rate,
            groups=channels,
            kernel_initializer=self.kernel_initializer,
        )

    def build(self, input_shape: Shape, rng: np.random.Generator) -> None:
        """Create kernel and bias."""
        _, channels = image_size(self, input_shape)
        self._conv = self._convolution(channels)
        self._conv._build(input_shape, rng, self.label)

    def output_shape(self, input_shape: Shape) -> Shape:
        """Return height, width and channels."""
        _, channels = image_size(self, input_shape)
        return self._convolution(channels).output_shape(input_shape)

    def forward(self, x: Tensor, mode: Mode = INFERENCE) -> Tensor:
        """Compute the output of `x`."""
        self._expect(x)
        return self._conv(x, mode)


class SeparableConv2D(Layer):
    """A depthwise convolution, then a convolution of 1 x 1 cells.

    Parameters
    ----------
    filters : int
        Channels of the output.
    kernel_size, strides, padding, activation, use_bias, dilation_rate, kernel_initializer
        As for `Conv2D`; bias and activation come last.
    depth_multiplier : int, default=1
        Outputs of the depthwise convolution for each channel.

    Notes
    -----
    Chollet, "Xception: deep learning with depthwise separable convolutions" (arXiv:1610.02357).

    Examples
    --------
    >>> import numpy as np
    >>> SeparableConv2D(8, 3, padding="same")._build((5, 5, 3), np.random.default_rng(0))
    (5, 5, 8)
    """

    input_ndim = 4

    def __init__(
        self,
        filters: int,
        kernel_size: int | Pair,
        strides: int | Pair = 1,
        padding: Any = "valid",
        activation: str | None = None,
        *,
        depth_multiplier: int = 1,
        use_bias: bool = True,
        dilation_rate: int | Pair = 1,
        kernel_initializer: str = "glorot_uniform",
    ) -> None:
        self.filters = filters
        self.kernel_size = kernel_size
        self.strides = strides
        self.padding = padding
        self.activation = activation
        self.depth_multiplier = depth_multiplier
        self.use_bias = use_bias
        self.dilation_rate = dilation_rate
        self.kernel_initializer = kernel_initializer
        self._depthwise = DepthwiseConv2D(
            kernel_size,
            strides,
            padding,
            depth_multiplier=depth_multiplier,
            use_bias=False,
            dilation_rate=dilation_rate,
            kernel_initializer=kernel_initializer,
        )
        self._pointwise = Conv2D(
            filters,
            1,
            activation=activation,
            use_bias=use_bias,
            kernel_initializer=kernel_initializer,
        )

    def build(self, input_shape: Shape, rng: np.random.Generator) -> None:
        """Create both kernels and the bias."""
        middle = self._depthwise._build(input_shape, rng, self.label)
        self._pointwise._build(middle, rng, self.label)

    def output_shape(self, input_shape: Shape) -> Shape:
        """Return height, width and filters."""
        return self._pointwise.output_shape(self._depthwise.output_shape(input_shape))

    def forward(self, x: Tensor, mode: Mode = INFERENCE) -> Tensor:
        """Compute the output of `x`."""
        self._expect(x)
        return self._pointwise(self._depthwise(x, mode), mode)
