"""Layers that enlarge images."""

from __future__ import annotations

from ironlearn.nn import functional as F
from ironlearn.nn.autograd import Tensor
from ironlearn.nn.backend.ops.convolution import Pair
from ironlearn.nn.layers.base import INFERENCE, Layer, Mode, Shape, pair, positive
from ironlearn.nn.layers.conv import image_size


class UpSample2D(Layer):
    """Each cell of an image, several times.

    Parameters
    ----------
    size : int or (int, int), default=2
        Times along height and along width.

    Examples
    --------
    >>> import numpy as np
    >>> UpSample2D(2)(Tensor(np.ones((1, 3, 3, 2)))).shape
    (1, 6, 6, 2)
    """

    input_ndim = 4

    def __init__(self, size: int | Pair = 2) -> None:
        self.size = pair("UpSample2D", "size", size)

    def output_shape(self, input_shape: Shape) -> Shape:
        """Return height, width and channels."""
        (height, width), channels = image_size(self, input_shape)
        return height * self.size[0], width * self.size[1], channels

    def forward(self, x: Tensor, mode: Mode = INFERENCE) -> Tensor:
        """Compute the output of `x`."""
        return F.upsample2d(x, self.size)


class PixelShuffle(Layer):
    """Channels become cells: (N, H, W, r r C) to (N, H r, W r, C).

    Parameters
    ----------
    factor : int, default=2
        The factor r.

    Notes
    -----
    Shi et al. (arXiv:1609.05158).

    Examples
    --------
    >>> import numpy as np
    >>> PixelShuffle(2)(Tensor(np.ones((1, 3, 3, 8)))).shape
    (1, 6, 6, 2)
    """

    input_ndim = 4

    def __init__(self, factor: int = 2) -> None:
        self.factor = positive("PixelShuffle", "factor", factor)

    def output_shape(self, input_shape: Shape) -> Shape:
        """Return height, width and channels."""
        (height, width), channels = image_size(self, input_shape)
        square = self.factor * self.factor
        if channels % square:
            raise ValueError(
                f"{self._title()} needs channels that {square} divides, got {channels}."
            )
        return height * self.factor, width * self.factor, channels // square

    def forward(self, x: Tensor, mode: Mode = INFERENCE) -> Tensor:
        """Compute the output of `x`."""
        return F.pixel_shuffle(x, self.factor)
