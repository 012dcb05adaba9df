"""Convolution with pooling behind it on the CPU."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ironlearn import _core, _threads
from ironlearn.nn.backend.cpu.native import native
from ironlearn.nn.backend.ops.activations import FUSED
from ironlearn.nn.backend.ops.convolution import Padding, Pair, output_size
from ironlearn.nn.backend.ops.pooling import PoolingOps

F32 = NDArray[np.float32]

_NONE: Padding = ((0, 0), (0, 0))


def _pooled(
    x: F32, w: F32, stride: Pair, padding: Padding, activation: str, pool: Pair
) -> tuple[int, ...] | None:
    """Return the shape of the answer if the kernel takes the layer."""
    if stride != (1, 1) or pool != (2, 2) or activation not in FUSED:
        return None
    n, height, width, channels = x.shape
    rows = output_size(height, w.shape[0], 1, padding[0])
    columns = output_size(width, w.shape[1], 1, padding[1])
    if min(rows, columns) < 2 or 0 in (n, channels, w.shape[3]):
        return None
    return (n, rows // 2, columns // 2, w.shape[3])


def _takes(
    x: F32,
    w: F32,
    b: F32 | None = None,
    *,
    stride: Pair = (1, 1),
    padding: Padding = _NONE,
    activation: str = "linear",
    pool: Pair = (2, 2),
) -> bool:
    return _pooled(x, w, stride, padding, activation, pool) is not None


def _takes_backward(
    gy: F32,
    y: F32,
    argmax: NDArray[np.int32],
    x: F32,
    w: F32,
    *,
    needs: tuple[bool, ...] = (True, True, True),
    stride: Pair = (1, 1),
    padding: Padding = _NONE,
    activation: str = "linear",
    pool: Pair = (2, 2),
) -> bool:
    return argmax.dtype == np.int32 and (
        _pooled(x, w, stride, padding, activation, pool) is not None
    )


class CpuConvPoolOps(PoolingOps):
    """One loop to the maxima of 2 x 2 pixels; gradients only where those came from."""

    @native(_takes)
    def conv2d_max_pool(
        self,
        x: F32,
        w: F32,
        b: F32 | None = None,
        *,
        stride: Pair = (1, 1),
        padding: Padding = _NONE,
        activation: str = "linear",
        pool: Pair = (2, 2),
    ) -> tuple[F32, NDArray[np.int32]]:
        """Return the maxima of `conv2d`'s windows of `pool` cells, and their places."""
        shape = _pooled(x, w, stride, padding, activation, pool)
        assert shape is not None
        y, argmax = np.empty(shape, np.float32), np.empty(shape, np.int32)
        _core.conv2d_max_pool(
            x,
            w,
            b,
            y,
            argmax,
            padding=padding,
            activation=activation,
            n_threads=_threads.resolve(None),
        )
        return y, argmax

    @native(_takes_backward)
    def conv2d_max_pool_backward(
        self,
        gy: F32,
        y: F32,
        argmax: NDArray[np.int32],
        x: F32,
        w: F32,
        *,
        stride: Pair = (1, 1),
        padding: Padding = _NONE,
        activation: str = "linear",
        pool: Pair = (2, 2),
        needs: tuple[bool, ...] = (True, True, True),
    ) -> tuple[F32 | None, F32 | None, F32 | None]:
        """Return the gradients of `conv2d_max_pool`'s x, w and b, where `needs` asks for them."""
        gx = np.empty(x.shape, np.float32) if needs[0] else None
        gw, gb = np.empty(w.shape, np.float32), np.empty(w.shape[3], np.float32)
        _core.conv2d_max_pool_backward(
            gy,
            y,
            argmax,
            x,
            w,
            gx,
            gw,
            gb,
            padding=padding,
            activation=activation,
            n_threads=_threads.resolve(None),
        )
        return gx, gw if needs[1] else None, gb if needs[2] else None
