"""Layers that change the shape and nothing else."""

from __future__ import annotations

import math
from typing import Any

from ironlearn.nn import functional as F
from ironlearn.nn.autograd import Tensor
from ironlearn.nn.backend.device import Array
from ironlearn.nn.layers.base import INFERENCE, Layer, Mode, Shape
from ironlearn.nn.layers.conv import image_size


class Flatten(Layer):
    """All axes but the batch's as one, in row order.

    Examples
    --------
    >>> import numpy as np
    >>> Flatten()(Tensor(np.ones((2, 3, 4, 5)))).shape
    (2, 60)
    """

    def output_shape(self, input_shape: Shape) -> Shape:
        """Return the number of elements."""
        if any(n is None for n in input_shape):
            raise ValueError(f"{self._title()} needs to know every axis, got {input_shape}.")
        return (math.prod(n for n in input_shape if n is not None),)

    def forward(self, x: Tensor, mode: Mode = INFERENCE) -> Tensor:
        """Compute the output of `x`."""
        return F.reshape(x, (x.shape[0], math.prod(x.shape[1:])))

    def compute_mask(self, x: Tensor, mask: Array | None) -> Array | None:
        """Return no mask: there are no steps left."""
        return None


class Reshape(Layer):
    """The same elements in another shape.

    Parameters
    ----------
    target_shape : tuple of int
        The output's shape without the batch's axis; one length may be -1.

    Examples
    --------
    >>> import numpy as np
    >>> Reshape((2, -1))(Tensor(np.ones((5, 6)))).shape
    (5, 2, 3)
    """

    def __init__(self, target_shape: tuple[int, ...]) -> None:
        shape = tuple(int(n) for n in target_shape)
        if shape.count(-1) > 1 or any(n < 1 and n != -1 for n in shape):
            raise ValueError(
                f"target_shape of Reshape must hold positive ints and at most one -1, got "
                f"{target_shape!r}."
            )
        self.target_shape = shape

    def output_shape(self, input_shape: Shape) -> Shape:
        """Return the target's shape."""
        return self._target(input_shape)

    def _target(self, input_shape: Shape) -> tuple[int, ...]:
        if any(n is None for n in input_shape):
            raise ValueError(f"{self._title()} needs to know every axis, got {input_shape}.")
        have = math.prod(n for n in input_shape if n is not None)
        known = math.prod(n for n in self.target_shape if n != -1)
        if have % known if -1 in self.target_shape else have != known:
            raise ValueError(
                f"{self._title()} cannot turn shape {input_shape} into {self.target_shape}."
            )
        return tuple(have // known if n == -1 else n for n in self.target_shape)

    def forward(self, x: Tensor, mode: Mode = INFERENCE) -> Tensor:
        """Compute the output of `x`."""
        return F.reshape(x, (x.shape[0], *self._target(x.shape[1:])))

    def compute_mask(self, x: Tensor, mask: Array | None) -> Array | None:
        """Return no mask: steps may have moved."""
        return None


class Permute(Layer):
    """The axes in another order; the batch's stays first.

    Parameters
    ----------
    dims : tuple of int
        Which axis of the input comes where, counted from 1.

    Examples
    --------
    >>> import numpy as np
    >>> Permute((2, 1))(Tensor(np.ones((5, 6, 7)))).shape
    (5, 7, 6)
    """

    def __init__(self, dims: tuple[int, ...]) -> None:
        order = tuple(dims) if isinstance(dims, tuple | list) else ()
        if not order or sorted(order) != list(range(1, len(order) + 1)):
            raise ValueError(f"dims of Permute must hold each of 1 to n once, got {dims!r}.")
        self.dims = order

    def output_shape(self, input_shape: Shape) -> Shape:
        """Return the lengths in their new order."""
        if len(input_shape) != len(self.dims):
            raise ValueError(
                f"{self._title()} orders {len(self.dims)} axes behind the batch's, but its input "
                f"has the shape {('N', *input_shape)}."
            )
        return tuple(input_shape[axis - 1] for axis in self.dims)

    def forward(self, x: Tensor, mode: Mode = INFERENCE) -> Tensor:
        """Compute the output of `x`."""
        self.output_shape(x.shape[1:])
        return F.transpose(x, (0, *self.dims))

    def compute_mask(self, x: Tensor, mask: Array | None) -> Array | None:
        """Return no mask: steps may have moved."""
        return None


class ZeroPad2D(Layer):
    """Zeros around an image.

    Parameters
    ----------
    padding : int or ((int, int), (int, int)), default=1
        Rows above and below, columns to the left and right.

    Examples
    --------
    >>> import numpy as np
    >>> ZeroPad2D(1)(Tensor(np.ones((2, 3, 3, 1)))).shape
    (2, 5, 5, 1)
    """

    input_ndim = 4

    def __init__(self, padding: Any = 1) -> None:
        values = ((padding, padding), (padding, padding)) if isinstance(padding, int) else padding
        try:
            (top, bottom), (left, right) = values
            sizes = [int(v) for v in (top, bottom, left, right)]
        except (TypeError, ValueError):
            sizes = [-1]
        if min(sizes) < 0:
            raise ValueError(
                "padding of ZeroPad2D must be an int >= 0 or ((top, bottom), (left, right)), got "
                f"{padding!r}."
            )
        self.padding = (sizes[0], sizes[1]), (sizes[2], sizes[3])

    def output_shape(self, input_shape: Shape) -> Shape:
        """Return height, width and channels."""
        (height, width), channels = image_size(self, input_shape)
        return height + sum(self.padding[0]), width + sum(self.padding[1]), channels

    def forward(self, x: Tensor, mode: Mode = INFERENCE) -> Tensor:
        """Compute the output of `x`."""
        return F.pad(x, ((0, 0), *self.padding, (0, 0)))
