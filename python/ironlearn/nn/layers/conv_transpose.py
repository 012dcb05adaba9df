"""Transposed convolution."""

from __future__ import annotations

from typing import Any

import numpy as np

from ironlearn.nn import functional as F
from ironlearn.nn.autograd import Tensor
from ironlearn.nn.backend.ops.convolution import Pair
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
from ironlearn.nn.layers.conv import image_size


class Conv2DTranspose(Layer):
    """The adjoint of `Conv2D`: each cell of the input adds a kernel to the output.

    Parameters
    ----------
    filters, kernel_size, strides, activation, use_bias, kernel_initializer
        As for `Conv2D`.
    padding : {"valid", "same"}, default="valid"
        ``"same"`` gives images of size * stride; ``"valid"`` of (size - 1) * stride + kernel, or
        size * stride if that is more.

    Attributes
    ----------
    kernel : Parameter of shape (height, width, filters, channels)
    bias : Parameter of shape (filters,)

    Notes
    -----
    Input (N, H, W, channels), output (N, OH, OW, filters). Dumoulin and Visin, "A guide to
    convolution arithmetic for deep learning" (arXiv:1603.07285).

    Examples
    --------
    >>> import numpy as np
    >>> Conv2DTranspose(4, 3, strides=2, padding="same")._build((7, 7, 8), np.random.default_rng(0))
    (14, 14, 4)
    """

    input_ndim = 4
    kernel: Parameter
    bias: Parameter

    def __init__(
        self,
        filters: int,
        kernel_size: int | Pair,
        strides: int | Pair = 1,
        padding: str = "valid",
        activation: str | None = None,
        *,
        use_bias: bool = True,
        kernel_initializer: str = "glorot_uniform",
    ) -> None:
        self.filters = positive("Conv2DTranspose", "filters", filters)
        self.kernel_size = pair("Conv2DTranspose", "kernel_size", kernel_size)
        self.strides = pair("Conv2DTranspose", "strides", strides)
        if padding not in ("valid", "same"):
            raise ValueError(
                f"padding of Conv2DTranspose must be 'valid' or 'same', got {padding!r}."
            )
        self.padding = padding
        check_activation("Conv2DTranspose", activation)
        self.activation = activation
        self.use_bias = use_bias
        self.kernel_initializer = kernel_initializer

    def build(self, input_shape: Shape, rng: np.random.Generator) -> None:
        """Create kernel and bias."""
        _, channels = image_size(self, input_shape)
        shape = (*self.kernel_size, self.filters, channels)
        cells = self.kernel_size[0] * self.kernel_size[1]
        fans = (float(cells * channels), float(cells * self.filters))
        self.add_parameter("kernel", shape, self.kernel_initializer, rng, fans=fans)
        if self.use_bias:
            self.add_parameter("bias", (self.filters,), "zeros", rng, decay=False)

    def _geometry(self, size: Pair) -> tuple[Pair, tuple[Pair, Pair]]:
        """Return the size of the output, and the zeros that the convolution would put there."""
        out, padding = [], []
        for length, kernel, step in zip(size, self.kernel_size, self.strides, strict=True):
            if self.padding == "same":
                total = max(0, (length - 1) * step + kernel - length * step)
                out.append(length * step)
                padding.append((total // 2, total - total // 2))
            else:
                out.append(max((length - 1) * step + kernel, length * step))
                padding.append((0, 0))
        return (out[0], out[1]), (padding[0], padding[1])

    def output_shape(self, input_shape: Shape) -> Shape:
        """Return height, width and filters."""
        size, _ = image_size(self, input_shape)
        return (*self._geometry(size)[0], self.filters)

    def forward(self, x: Tensor, mode: Mode = INFERENCE) -> Tensor:
        """Compute the output of `x`."""
        self._expect(x)
        fused, rest = split_activation(self.activation)
        size, padding = self._geometry((x.shape[1], x.shape[2]))
        y = F.conv2d_transpose(
            x,
            self.kernel,
            self.bias if self.use_bias else None,
            output_size=size,
            stride=self.strides,
            padding=padding,
            activation=fused,
        )
        return apply_activation(y, rest)

    def compute_mask(self, x: Tensor, mask: Any) -> Any:
        """Return no mask."""
        return None
