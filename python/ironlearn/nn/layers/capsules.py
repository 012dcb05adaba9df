"""Capsules: groups of units whose length is a probability."""

from __future__ import annotations

from typing import Any

import numpy as np

from ironlearn.nn import functional as F
from ironlearn.nn.autograd import Tensor
from ironlearn.nn.backend.ops.convolution import Pair
from ironlearn.nn.functional.capsules import routing, squash
from ironlearn.nn.layers.base import INFERENCE, Layer, Mode, Parameter, Shape, positive
from ironlearn.nn.layers.conv import Conv2D

_TINY = 1e-7


def length(x: Tensor) -> Tensor:
    """Return the length over the last axis."""
    return F.sqrt(F.add(F.sum(F.square(x), axis=-1), _TINY))


class PrimaryCapsules(Layer):
    """A convolution whose channels are grouped into capsules, squashed.

    Parameters
    ----------
    n_channels : int, default=32
        Capsules at each place.
    dim : int, default=8
        Units of a capsule.
    kernel_size, strides, padding
        As for `Conv2D`.

    Notes
    -----
    Input (N, H, W, C), output (N, capsules, dim). Sabour et al. (arXiv:1710.09829).

    Examples
    --------
    >>> import numpy as np
    >>> PrimaryCapsules(4, 8, 3, 2)._build((9, 9, 2), np.random.default_rng(0))
    (64, 8)
    """

    input_ndim = 4

    def __init__(
        self,
        n_channels: int = 32,
        dim: int = 8,
        kernel_size: int | Pair = 9,
        strides: int | Pair = 2,
        padding: Any = "valid",
    ) -> None:
        self.n_channels = positive("PrimaryCapsules", "n_channels", n_channels)
        self.dim = positive("PrimaryCapsules", "dim", dim)
        self._conv = Conv2D(n_channels * dim, kernel_size, strides, padding)
        self.kernel_size = kernel_size
        self.strides = strides
        self.padding = padding

    def build(self, input_shape: Shape, rng: np.random.Generator) -> None:
        """Create the convolution's kernel and bias."""
        self._conv._build(input_shape, rng, self.label)

    def output_shape(self, input_shape: Shape) -> Shape:
        """Return the number of capsules and their units."""
        height, width, _ = self._conv.output_shape(input_shape)
        assert height is not None
        assert width is not None
        return height * width * self.n_channels, self.dim

    def forward(self, x: Tensor, mode: Mode = INFERENCE) -> Tensor:
        """Compute the output of `x`."""
        self._expect(x)
        y = self._conv(x, mode)
        count = y.shape[1] * y.shape[2] * self.n_channels
        return squash(F.reshape(y, (x.shape[0], count, self.dim)))


class RoutingCapsules(Layer):
    """Capsules that agree on what is there: routing by agreement.

    Parameters
    ----------
    n_capsules : int
        Capsules of the output, one for each class.
    dim : int, default=16
        Units of a capsule.
    routings : int, default=3
        Rounds of agreement.

    Attributes
    ----------
    kernel : Parameter of shape (inputs, input units, n_capsules * dim)

    Notes
    -----
    Input (N, I, D), output (N, n_capsules, dim). Sabour et al., "Dynamic routing between capsules"
    (arXiv:1710.09829), procedure 1; gradients pass through every round.

    Examples
    --------
    >>> import numpy as np
    >>> RoutingCapsules(10)._build((64, 8), np.random.default_rng(0))
    (10, 16)
    """

    input_ndim = 3
    kernel: Parameter

    def __init__(self, n_capsules: int, dim: int = 16, routings: int = 3) -> None:
        self.n_capsules = positive("RoutingCapsules", "n_capsules", n_capsules)
        self.dim = positive("RoutingCapsules", "dim", dim)
        self.routings = positive("RoutingCapsules", "routings", routings)

    def build(self, input_shape: Shape, rng: np.random.Generator) -> None:
        """Create the kernel."""
        count, width = input_shape
        if count is None or width is None:
            raise ValueError(f"{self._title()} needs to know its input's shape.")
        shape = (count, width, self.n_capsules * self.dim)
        fans = (float(width), float(self.n_capsules * self.dim))
        self.add_parameter("kernel", shape, "glorot_uniform", rng, fans=fans)

    def output_shape(self, input_shape: Shape) -> Shape:
        """Return the number of capsules and their units."""
        return self.n_capsules, self.dim

    def forward(self, x: Tensor, mode: Mode = INFERENCE) -> Tensor:
        """Compute the output of `x`."""
        self._expect(x)
        n, count, _ = x.shape
        kinds, dim = self.n_capsules, self.dim
        # What each capsule of the input predicts for each of the output: (N, K, I, D).
        votes = F.matmul(F.transpose(x, (1, 0, 2)), self.kernel)
        votes = F.transpose(F.reshape(votes, (count, n, kinds, dim)), (1, 2, 0, 3))
        return routing(votes, self.routings)


class CapsuleLength(Layer):
    """The length of each capsule: how sure the network is that its class is there.

    Notes
    -----
    Input (N, K, D), output (N, K).

    Examples
    --------
    >>> import numpy as np
    >>> CapsuleLength()(Tensor(np.array([[[3.0, 4.0]]]))).data.round(3)
    array([[5.]])
    """

    input_ndim = 3

    def output_shape(self, input_shape: Shape) -> Shape:
        """Return the number of capsules."""
        return input_shape[:-1]

    def forward(self, x: Tensor, mode: Mode = INFERENCE) -> Tensor:
        """Compute the output of `x`."""
        return length(x)
