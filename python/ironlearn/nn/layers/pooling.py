"""Pooling layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from ironlearn.nn import functional as F
from ironlearn.nn.autograd import Tensor
from ironlearn.nn.backend.device import Array
from ironlearn.nn.backend.ops.convolution import Padding, Pair, output_size
from ironlearn.nn.layers.base import INFERENCE, Layer, Mode, Shape, pair, positive
from ironlearn.nn.layers.conv import check_padding, explicit_padding, image_size


class _Pool2D(Layer):
    input_ndim = 4
    _function: ClassVar[Callable[..., Tensor]]

    def __init__(
        self, pool_size: int | Pair = 2, strides: int | Pair | None = None, padding: Any = "valid"
    ) -> None:
        owner = type(self).__name__
        self.pool_size = pair(owner, "pool_size", pool_size)
        self.strides = self.pool_size if strides is None else pair(owner, "strides", strides)
        check_padding(owner, padding)
        self.padding = padding

    def geometry(self, size: Pair) -> Padding:
        """Return the cells around an image of `size`."""
        return explicit_padding(self.padding, size, self.pool_size, self.strides, (1, 1))

    def output_shape(self, input_shape: Shape) -> Shape:
        """Return height, width and channels."""
        size, channels = image_size(self, input_shape)
        padding = self.geometry(size)
        out = tuple(
            output_size(size[i], self.pool_size[i], self.strides[i], padding[i]) for i in range(2)
        )
        if min(out) < 1:
            raise ValueError(
                f"{self._title()}: images of {size[0]} x {size[1]} cells are smaller than its "
                f"window of {self.pool_size[0]} x {self.pool_size[1]}."
            )
        return (*out, channels)

    def forward(self, x: Tensor, mode: Mode = INFERENCE) -> Tensor:
        """Compute the output of `x`."""
        self._expect(x)
        padding = self.geometry((x.shape[1], x.shape[2]))
        return self._function(x, self.pool_size, stride=self.strides, padding=padding)


class MaxPool2D(_Pool2D):
    """The maximum of each window of an image, channel by channel.

    Parameters
    ----------
    pool_size : int or (int, int), default=2
        Height and width of a window.
    strides : int or (int, int), optional
        Cells from one window to the next; `pool_size` by default.
    padding : {"valid", "same"}, int or ((int, int), (int, int)), default="valid"
        As for `Conv2D`; cells outside of the image never win.

    Notes
    -----
    Input (N, H, W, C), output (N, OH, OW, C).

    Examples
    --------
    >>> import numpy as np
    >>> MaxPool2D(2)._build((28, 28, 3), np.random.default_rng(0))
    (14, 14, 3)
    """

    _function = staticmethod(F.max_pool2d)


class AvgPool2D(_Pool2D):
    """The mean of each window of an image, channel by channel.

    Parameters
    ----------
    pool_size, strides, padding
        As for `MaxPool2D`; cells outside of the image do not count.

    Notes
    -----
    Input (N, H, W, C), output (N, OH, OW, C).

    Examples
    --------
    >>> import numpy as np
    >>> AvgPool2D(2)._build((28, 28, 3), np.random.default_rng(0))
    (14, 14, 3)
    """

    _function = staticmethod(F.avg_pool2d)


class _Pool1D(Layer):
    input_ndim = 3
    _kind: ClassVar[type[_Pool2D]]

    def __init__(
        self, pool_size: int = 2, strides: int | None = None, padding: str = "valid"
    ) -> None:
        owner = type(self).__name__
        self.pool_size = positive(owner, "pool_size", pool_size)
        self.strides = self.pool_size if strides is None else positive(owner, "strides", strides)
        if padding not in ("valid", "same"):
            raise ValueError(f"padding of {owner} must be 'valid' or 'same', got {padding!r}.")
        self.padding = padding
        self._pool = self._kind((1, self.pool_size), (1, self.strides), padding)

    def build(self, input_shape: Shape, rng: np.random.Generator) -> None:
        """Prepare for sequences of `input_shape`."""
        self._pool._build((1, *input_shape), rng, self.label)

    def output_shape(self, input_shape: Shape) -> Shape:
        """Return steps and channels."""
        return self._pool.output_shape((1, *input_shape))[1:]

    def forward(self, x: Tensor, mode: Mode = INFERENCE) -> Tensor:
        """Compute the output of `x`."""
        self._expect(x)
        n, steps, channels = x.shape
        y = self._pool(F.reshape(x, (n, 1, steps, channels)), mode)
        return F.reshape(y, (n, *y.shape[2:]))

    def compute_mask(self, x: Tensor, mask: Array | None) -> Array | None:
        """Return no mask: an output step mixes input steps."""
        return None


class MaxPool1D(_Pool1D):
    """The maximum of each window of a sequence.

    Parameters
    ----------
    pool_size : int, default=2
        Steps of a window.
    strides : int, optional
        Steps from one window to the next; `pool_size` by default.
    padding : {"valid", "same"}, default="valid"

    Notes
    -----
    Input (N, T, C), output (N, OT, C).

    Examples
    --------
    >>> import numpy as np
    >>> MaxPool1D(2)._build((10, 3), np.random.default_rng(0))
    (5, 3)
    """

    _kind = MaxPool2D


class AvgPool1D(_Pool1D):
    """The mean of each window of a sequence.

    Parameters
    ----------
    pool_size, strides, padding
        As for `MaxPool1D`.

    Notes
    -----
    Input (N, T, C), output (N, OT, C).

    Examples
    --------
    >>> import numpy as np
    >>> AvgPool1D(2)._build((10, 3), np.random.default_rng(0))
    (5, 3)
    """

    _kind = AvgPool2D


class _Global(Layer):
    def output_shape(self, input_shape: Shape) -> Shape:
        """Return the channels."""
        return (input_shape[-1],)

    def compute_mask(self, x: Tensor, mask: Array | None) -> Array | None:
        """Return no mask: there are no steps left."""
        return None


class GlobalAvgPool2D(_Global):
    """The mean over an image, (N, H, W, C) to (N, C).

    Examples
    --------
    >>> import numpy as np
    >>> GlobalAvgPool2D()(Tensor(np.ones((2, 3, 3, 5), np.float32))).shape
    (2, 5)
    """

    input_ndim = 4

    def forward(self, x: Tensor, mode: Mode = INFERENCE) -> Tensor:
        """Compute the output of `x`."""
        return F.mean(x, axis=(1, 2))


class GlobalMaxPool2D(_Global):
    """The maximum over an image, (N, H, W, C) to (N, C).

    Examples
    --------
    >>> import numpy as np
    >>> GlobalMaxPool2D()(Tensor(np.ones((2, 3, 3, 5), np.float32))).shape
    (2, 5)
    """

    input_ndim = 4

    def forward(self, x: Tensor, mode: Mode = INFERENCE) -> Tensor:
        """Compute the output of `x`."""
        n, height, width, channels = x.shape
        return F.reshape(F.max_pool2d(x, (height, width)), (n, channels))


class GlobalAvgPool1D(_Global):
    """The mean over a sequence's steps, (N, T, C) to (N, C); masked steps do not count.

    Examples
    --------
    >>> import numpy as np
    >>> GlobalAvgPool1D()(Tensor(np.ones((2, 3, 5), np.float32))).shape
    (2, 5)
    """

    input_ndim = 3
    takes_mask = True

    def forward(self, x: Tensor, mode: Mode = INFERENCE, mask: Array | None = None) -> Tensor:
        """Compute the output of `x`."""
        if mask is None:
            return F.mean(x, axis=1)
        xp = x.device.xp
        keep = mask.astype(x.dtype)
        count = xp.maximum(keep.sum(axis=1, keepdims=True), 1)
        return F.sum(F.mul(x, Tensor((keep / count)[:, :, None])), axis=1)


class GlobalMaxPool1D(_Global):
    """The maximum over a sequence's steps, (N, T, C) to (N, C); masked steps never win.

    A sequence without any step that counts gives 0.

    Examples
    --------
    >>> import numpy as np
    >>> GlobalMaxPool1D()(Tensor(np.ones((2, 3, 5), np.float32))).shape
    (2, 5)
    """

    input_ndim = 3
    takes_mask = True

    def forward(self, x: Tensor, mode: Mode = INFERENCE, mask: Array | None = None) -> Tensor:
        """Compute the output of `x`."""
        n, steps, channels = x.shape
        if mask is None:
            pooled = F.max_pool2d(F.reshape(x, (n, 1, steps, channels)), (1, steps))
            return F.reshape(pooled, (n, channels))
        xp = x.device.xp
        low = xp.where(mask, 0.0, -1e30).astype(x.dtype)[:, :, None]
        pooled = F.max_pool2d(F.reshape(F.add(x, Tensor(low)), (n, 1, steps, channels)), (1, steps))
        some = mask.any(axis=1).astype(x.dtype)[:, None]
        return F.mul(F.reshape(pooled, (n, channels)), Tensor(some))
