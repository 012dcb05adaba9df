"""Convolution layers."""

from __future__ import annotations

from typing import Any

import numpy as np

from ironlearn.nn import functional as F
from ironlearn.nn.autograd import Tensor
from ironlearn.nn.backend.ops.convolution import Padding, Pair, output_size
from ironlearn.nn.functional.activations import split_activation
from ironlearn.nn.layers.activation import apply_activation
from ironlearn.nn.layers.base import (
    INFERENCE,
    Layer,
    Mode,
    Parameter,
    Shape,
    check_activation,
    pair,
    positive,
)


def check_padding(owner: str, padding: Any) -> None:
    """Refuse a padding that is neither a known name nor four numbers."""
    if padding in ("valid", "same"):
        return
    try:
        explicit_padding(padding, (1, 1), (1, 1), (1, 1), (1, 1))
    except (TypeError, ValueError):
        raise ValueError(
            f"padding of {owner} must be 'valid', 'same', an int or ((top, bottom), (left, "
            f"right)), got {padding!r}."
        ) from None


def explicit_padding(
    padding: Any, size: Pair, kernel: Pair, stride: Pair, dilation: Pair
) -> Padding:
    """Return zeros before and after for both axes.

    ``"same"`` gives outputs of ceil(size / stride), with the odd zero at the end, as TensorFlow
    defines it.
    """
    if padding == "valid":
        return (0, 0), (0, 0)
    if padding == "same":
        both = []
        for length, cells, step, apart in zip(size, kernel, stride, dilation, strict=True):
            span = apart * (cells - 1) + 1
            total = max(0, (-(-length // step) - 1) * step + span - length)
            both.append((total // 2, total - total // 2))
        return both[0], both[1]
    if isinstance(padding, int) and not isinstance(padding, bool) and padding >= 0:
        return (padding, padding), (padding, padding)
    (top, bottom), (left, right) = padding
    if any(
        isinstance(v, bool) or not isinstance(v, int) or v < 0 for v in (top, bottom, left, right)
    ):
        raise ValueError("negative padding")
    return (top, bottom), (left, right)


def image_size(layer: Layer, input_shape: Shape) -> tuple[Pair, int]:
    """Return height and width, and the channels, that a layer on images was given."""
    height, width, channels = input_shape
    if channels is None or height is None or width is None:
        raise ValueError(f"{layer._title()} needs to know height, width and channels.")
    return (height, width), channels


class Conv2D(Layer):
    """Convolution of images: activation(x * kernel + bias).

    Parameters
    ----------
    filters : int
        Channels of the output.
    kernel_size : int or (int, int)
        Height and width of the kernel.
    strides : int or (int, int), default=1
        Cells from one place of the kernel to the next.
    padding : {"valid", "same"}, int or ((int, int), (int, int)), default="valid"
        Zeros around the image: none, as many as keep ceil(size / stride), or given.
    activation : str, optional
        See `Activation`.
    use_bias : bool, default=True
        Add a bias to each channel.
    dilation_rate : int or (int, int), default=1
        Distance between the cells that a kernel meets.
    groups : int, default=1
        Channels fall into so many groups that do not see each other.
    kernel_initializer : str, default="glorot_uniform"
        See `ironlearn.nn.initializers`.

    Attributes
    ----------
    kernel : Parameter of shape (height, width, channels / groups, filters)
    bias : Parameter of shape (filters,)

    Notes
    -----
    Input (N, H, W, channels), output (N, OH, OW, filters).

    Examples
    --------
    >>> import numpy as np
    >>> layer = Conv2D(8, 3, padding="same", activation="relu")
    >>> layer._build((28, 28, 1), np.random.default_rng(0))
    (28, 28, 8)
    """

    input_ndim = 4
    kernel: Parameter
    bias: Parameter

    def __init__(
        self,
        filters: int,
        kernel_size: int | Pair,
        strides: int | Pair = 1,
        padding: Any = "valid",
        activation: str | None = None,
        *,
        use_bias: bool = True,
        dilation_rate: int | Pair = 1,
        groups: int = 1,
        kernel_initializer: str = "glorot_uniform",
    ) -> None:
        self.filters = positive("Conv2D", "filters", filters)
        self.kernel_size = pair("Conv2D", "kernel_size", kernel_size)
        self.strides = pair("Conv2D", "strides", strides)
        check_padding("Conv2D", padding)
        self.padding = padding
        check_activation("Conv2D", activation)
        self.activation = activation
        self.use_bias = use_bias
        self.dilation_rate = pair("Conv2D", "dilation_rate", dilation_rate)
        self.groups = positive("Conv2D", "groups", groups)
        self.kernel_initializer = kernel_initializer

    def build(self, input_shape: Shape, rng: np.random.Generator) -> None:
        """Create kernel and bias."""
        _, channels = image_size(self, input_shape)
        if channels % self.groups or self.filters % self.groups:
            raise ValueError(
                f"{self._title()}: groups={self.groups} must divide the {channels} channels of the "
                f"input and the {self.filters} filters."
            )
        shape = (*self.kernel_size, channels // self.groups, self.filters)
        cells = self.kernel_size[0] * self.kernel_size[1]
        fans = (cells * channels / self.groups, cells * self.filters / self.groups)
        self.add_parameter("kernel", shape, self.kernel_initializer, rng, fans=fans)
        if self.use_bias:
            self.add_parameter("bias", (self.filters,), "zeros", rng, decay=False)

    def geometry(self, size: Pair) -> Padding:
        """Return the zeros around an image of `size`."""
        return explicit_padding(
            self.padding, size, self.kernel_size, self.strides, self.dilation_rate
        )

    def output_shape(self, input_shape: Shape) -> Shape:
        """Return height, width and filters."""
        size, _ = image_size(self, input_shape)
        padding = self.geometry(size)
        out = tuple(
            output_size(
                size[i], self.kernel_size[i], self.strides[i], padding[i], self.dilation_rate[i]
            )
            for i in range(2)
        )
        if min(out) < 1:
            raise ValueError(
                f"{self._title()}: images of {size[0]} x {size[1]} cells are smaller than its "
                f"kernel of {self.kernel_size[0]} x {self.kernel_size[1]}."
            )
        return (*out, self.filters)

    def forward(self, x: Tensor, mode: Mode = INFERENCE) -> Tensor:
        """Compute the output of `x`."""
        self._expect(x)
        fused, rest = split_activation(self.activation)
        y = F.conv2d(
            x,
            self.kernel,
            self.bias if self.use_bias else None,
            stride=self.strides,
            padding=self.geometry((x.shape[1], x.shape[2])),
            dilation=self.dilation_rate,
            groups=self.groups,
            activation=fused,
        )
        return apply_activation(y, rest)


class Conv1D(Layer):
    """Convolution of sequences: activation(x * kernel + bias).

    Parameters
    ----------
    filters, kernel_size, strides, padding, activation, use_bias, dilation_rate, groups, \
kernel_initializer
        As for `Conv2D`, with one number for each size. ``padding="causal"`` puts all zeros before
        the sequence, so that no output sees a later step.

    Attributes
    ----------
    kernel : Parameter of shape (1, size, channels / groups, filters)
    bias : Parameter of shape (filters,)

    Notes
    -----
    Input (N, T, channels), output (N, OT, filters).

    Examples
    --------
    >>> import numpy as np
    >>> Conv1D(4, 3, padding="causal")._build((10, 2), np.random.default_rng(0))
    (10, 4)
    """

    input_ndim = 3

    def __init__(
        self,
        filters: int,
        kernel_size: int,
        strides: int = 1,
        padding: Any = "valid",
        activation: str | None = None,
        *,
        use_bias: bool = True,
        dilation_rate: int = 1,
        groups: int = 1,
        kernel_initializer: str = "glorot_uniform",
    ) -> None:
        self.filters = filters
        self.kernel_size = positive("Conv1D", "kernel_size", kernel_size)
        self.strides = positive("Conv1D", "strides", strides)
        if padding not in ("valid", "same", "causal"):
            raise ValueError(
                f"padding of Conv1D must be 'valid', 'same' or 'causal', got {padding!r}."
            )
        self.padding = padding
        self.activation = activation
        self.use_bias = use_bias
        self.dilation_rate = positive("Conv1D", "dilation_rate", dilation_rate)
        self.groups = groups
        self.kernel_initializer = kernel_initializer
        before = self.dilation_rate * (self.kernel_size - 1)
        self._conv = Conv2D(
            filters,
            (1, self.kernel_size),
            (1, self.strides),
            ((0, 0), (before, 0)) if padding == "causal" else padding,
            activation,
            use_bias=use_bias,
            dilation_rate=(1, self.dilation_rate),
            groups=groups,
            kernel_initializer=kernel_initializer,
        )

    def build(self, input_shape: Shape, rng: np.random.Generator) -> None:
        """Create kernel and bias."""
        self._conv._build((1, *input_shape), rng, self.label)

    def output_shape(self, input_shape: Shape) -> Shape:
        """Return the steps and filters."""
        return self._conv.output_shape((1, *input_shape))[1:]

    def forward(self, x: Tensor, mode: Mode = INFERENCE) -> Tensor:
        """Compute the output of `x`."""
        self._expect(x)
        n, steps, channels = x.shape
        y = self._conv(F.reshape(x, (n, 1, steps, channels)), mode)
        return F.reshape(y, (n, *y.shape[2:]))

    def compute_mask(self, x: Tensor, mask: Any) -> Any:
        """Return no mask: an output step mixes input steps."""
        return None
