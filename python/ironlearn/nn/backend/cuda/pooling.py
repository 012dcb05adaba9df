"""Pooling on the GPU; gradients are gathered, so that no two threads add to the same cell."""

from __future__ import annotations

from typing import Any

from ironlearn.nn.backend.cuda.base import CudaBase
from ironlearn.nn.backend.cuda.convolution import places
from ironlearn.nn.backend.cuda.kernel import fused
from ironlearn.nn.backend.device import Array
from ironlearn.nn.backend.ops.convolution import Padding, Pair
from ironlearn.nn.backend.ops.pooling import PoolingOps

_NONE: Padding = ((0, 0), (0, 0))


def _numbers(shape: tuple[int, ...], size: Pair, stride: Pair, padding: Padding) -> tuple[int, ...]:
    """Return the sizes that every kernel of this family takes."""
    return (
        *shape[1:3],
        *size,
        *places(shape, size, stride, padding),
        *stride,
        padding[0][0],
        padding[1][0],
    )


def _meets_image(x: Array, size: Pair, *, padding: Padding = _NONE, **_: Any) -> bool:
    """Tell whether there are cells, and no window lies in the padding alone."""
    return x.size > 0 and all(cells > max(pad) for cells, pad in zip(size, padding, strict=True))


def _gathers(
    gy: Array, input_shape: tuple[int, ...], size: Pair, *, padding: Padding = _NONE, **_: Any
) -> bool:
    return _meets_image(gy, size, padding=padding) and 0 not in input_shape


class CudaPooling(CudaBase, PoolingOps):
    """Maxima and means of windows."""

    @fused(lambda x, size, **_: x.size > 0)
    def max_pool2d(
        self, x: Array, size: Pair, *, stride: Pair, padding: Padding = _NONE
    ) -> tuple[Array, Array]:
        """Return each window's maximum and its place."""
        xp = self.xp
        n, _, _, channels = x.shape
        oh, ow = places(x.shape, size, stride, padding)
        y, argmax = (xp.empty((n, oh, ow, channels), dtype) for dtype in (x.dtype, xp.int32))
        numbers = _numbers(x.shape, size, stride, padding)
        self.kernels.cells("max_pool", x, n * oh * ow, channels, x, y, argmax, *numbers)
        return y, argmax

    @fused(lambda gy, argmax, input_shape, size, **_: argmax.dtype == "int32" and gy.size > 0)
    def max_pool2d_backward(
        self,
        gy: Array,
        argmax: Array,
        input_shape: tuple[int, ...],
        size: Pair,
        *,
        stride: Pair,
        padding: Padding = _NONE,
    ) -> Array:
        """Return the gradient of `max_pool2d`'s input."""
        n, height, width, channels = input_shape
        gx = self.xp.empty(input_shape, gy.dtype)
        # One part for each 32 channels of an image.
        corners = n * -(-channels // 32)
        arguments = (gy, argmax, gx, *_numbers(input_shape, size, stride, padding), corners)
        cells = n * height * width
        self.kernels.cells("max_pool_backward", gy, cells, channels, *arguments, before=corners)
        return gx

    @fused(_meets_image)
    def avg_pool2d(self, x: Array, size: Pair, *, stride: Pair, padding: Padding = _NONE) -> Array:
        """Return each window's mean; cells of the padding do not count."""
        n, _, _, channels = x.shape
        oh, ow = places(x.shape, size, stride, padding)
        y = self.xp.empty((n, oh, ow, channels), x.dtype)
        numbers = _numbers(x.shape, size, stride, padding)
        self.kernels.cells("avg_pool", x, n * oh * ow, channels, x, y, *numbers)
        return y

    @fused(_gathers)
    def avg_pool2d_backward(
        self,
        gy: Array,
        input_shape: tuple[int, ...],
        size: Pair,
        *,
        stride: Pair,
        padding: Padding = _NONE,
    ) -> Array:
        """Return the gradient of `avg_pool2d`'s input."""
        n, height, width, channels = input_shape
        gx = self.xp.empty(input_shape, gy.dtype)
        numbers = _numbers(input_shape, size, stride, padding)
        self.kernels.cells("avg_pool_backward", gy, n * height * width, channels, gy, gx, *numbers)
        return gx
