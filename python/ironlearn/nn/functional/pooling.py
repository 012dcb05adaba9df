"""Pooling of images (N, H, W, C)."""

from __future__ import annotations

from ironlearn.nn.autograd import Context, Function, Tensor, as_tensor
from ironlearn.nn.backend.device import Array
from ironlearn.nn.backend.ops import Ops
from ironlearn.nn.backend.ops.convolution import Padding, Pair

_NONE: Padding = ((0, 0), (0, 0))


class MaxPool2D(Function):
    """Maxima of windows."""

    @staticmethod
    def forward(
        ctx: Context, ops: Ops, x: Array, *, size: Pair, stride: Pair, padding: Padding
    ) -> Array:
        """Compute the outputs."""
        y, argmax = ops.max_pool2d(x, size, stride=stride, padding=padding)
        ctx.save(argmax, x.shape, size, stride, padding)
        return y

    @staticmethod
    def backward(ctx: Context, ops: Ops, g: Array) -> Array:
        """Compute the inputs' gradients."""
        argmax, shape, size, stride, padding = ctx.saved
        return ops.max_pool2d_backward(g, argmax, shape, size, stride=stride, padding=padding)


class AvgPool2D(Function):
    """Means of windows."""

    @staticmethod
    def forward(
        ctx: Context, ops: Ops, x: Array, *, size: Pair, stride: Pair, padding: Padding
    ) -> Array:
        """Compute the outputs."""
        ctx.save(x.shape, size, stride, padding)
        return ops.avg_pool2d(x, size, stride=stride, padding=padding)

    @staticmethod
    def backward(ctx: Context, ops: Ops, g: Array) -> Array:
        """Compute the inputs' gradients."""
        shape, size, stride, padding = ctx.saved
        return ops.avg_pool2d_backward(g, shape, size, stride=stride, padding=padding)


def max_pool2d(
    x: Tensor | Array, size: Pair, *, stride: Pair | None = None, padding: Padding = _NONE
) -> Tensor:
    """Return the maxima of windows of `size` cells, `stride` (default `size`) apart.

    Parameters
    ----------
    x : Tensor or array of shape (N, H, W, C)
    size : (int, int)
        Height and width of a window.
    stride : (int, int), optional
        Cells from one window to the next; `size` by default.
    padding : ((int, int), (int, int))
        Cells around the image that do not count.

    Returns
    -------
    Tensor of shape (N, OH, OW, C)
    """
    return MaxPool2D.apply(as_tensor(x), size=size, stride=stride or size, padding=padding)


def avg_pool2d(
    x: Tensor | Array, size: Pair, *, stride: Pair | None = None, padding: Padding = _NONE
) -> Tensor:
    """Return the means of windows of `size` cells; cells of the padding do not count.

    Parameters
    ----------
    x : Tensor or array of shape (N, H, W, C)
    size : (int, int)
        Height and width of a window.
    stride : (int, int), optional
        Cells from one window to the next; `size` by default.
    padding : ((int, int), (int, int))
        Cells around the image that do not count.

    Returns
    -------
    Tensor of shape (N, OH, OW, C)
    """
    return AvgPool2D.apply(as_tensor(x), size=size, stride=stride or size, padding=padding)
