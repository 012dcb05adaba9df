"""Pooling on the CPU."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ironlearn import _core, _threads
from ironlearn.nn.backend.cpu.native import native
from ironlearn.nn.backend.ops.convolution import Padding, Pair, output_size
from ironlearn.nn.backend.ops.pooling import PoolingOps

F32 = NDArray[np.float32]

_NONE: Padding = ((0, 0), (0, 0))


def _output_shape(
    shape: tuple[int, ...], size: Pair, stride: Pair, padding: Padding
) -> tuple[int, ...]:
    n, height, width, channels = shape
    return (
        n,
        output_size(height, size[0], stride[0], padding[0]),
        output_size(width, size[1], stride[1], padding[1]),
        channels,
    )


def _always_meets_image(x: F32, size: Pair, *, padding: Padding = _NONE, **_: object) -> bool:
    """Tell whether no window lies in the padding alone."""
    return all(cells > max(pad) for cells, pad in zip(size, padding, strict=True))


class CpuPoolingOps(PoolingOps):
    """Pooling row by row, channels side by side."""

    @native()
    def max_pool2d(
        self, x: F32, size: Pair, *, stride: Pair, padding: Padding = _NONE
    ) -> tuple[F32, NDArray[np.int32]]:
        """Return each window's maximum and its place."""
        shape = _output_shape(x.shape, size, stride, padding)
        y = np.empty(shape, np.float32)
        argmax = np.empty(shape, np.int32)
        _core.max_pool2d(
            x,
            y,
            argmax,
            size=size,
            stride=stride,
            padding=padding,
            n_threads=_threads.resolve(None),
        )
        return y, argmax

    @native(lambda gy, argmax, input_shape, size, **_: argmax.dtype == np.int32)
    def max_pool2d_backward(
        self,
        gy: F32,
        argmax: NDArray[np.int32],
        input_shape: tuple[int, ...],
        size: Pair,
        *,
        stride: Pair,
        padding: Padding = _NONE,
    ) -> F32:
        """Return the gradient of `max_pool2d`'s input."""
        gx = np.empty(input_shape, np.float32)
        _core.max_pool2d_backward(gy, argmax, gx, n_threads=_threads.resolve(None))
        return gx

    @native(_always_meets_image)
    def avg_pool2d(self, x: F32, size: Pair, *, stride: Pair, padding: Padding = _NONE) -> F32:
        """Return each window's mean; cells of the padding do not count."""
        y = np.empty(_output_shape(x.shape, size, stride, padding), np.float32)
        _core.avg_pool2d(
            x, y, size=size, stride=stride, padding=padding, n_threads=_threads.resolve(None)
        )
        return y

    @native(lambda gy, input_shape, size, **rest: _always_meets_image(gy, size, **rest))
    def avg_pool2d_backward(
        self,
        gy: F32,
        input_shape: tuple[int, ...],
        size: Pair,
        *,
        stride: Pair,
        padding: Padding = _NONE,
    ) -> F32:
        """Return the gradient of `avg_pool2d`'s input."""
        gx = np.empty(input_shape, np.float32)
        _core.avg_pool2d_backward(
            gy, gx, size=size, stride=stride, padding=padding, n_threads=_threads.resolve(None)
        )
        return gx
