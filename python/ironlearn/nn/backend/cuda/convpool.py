"""Convolution with pooling behind it on the GPU."""

from __future__ import annotations

from typing import Any

from ironlearn.nn.backend.cuda.activations import NUMBERS
from ironlearn.nn.backend.cuda.convolution import (
    CudaConvolution,
    bands,
    fitting,
    places,
    step_numbers,
)
from ironlearn.nn.backend.cuda.kernel import fused
from ironlearn.nn.backend.device import Array
from ironlearn.nn.backend.ops.activations import FUSED
from ironlearn.nn.backend.ops.convolution import Padding, Pair
from ironlearn.nn.backend.ops.pooling import PoolingOps

_NONE: Padding = ((0, 0), (0, 0))


def _known(
    x: Array, w: Array, b: Array | None = None, *, activation: str = "linear", **geometry: Any
) -> bool:
    return activation in NUMBERS and 0 not in (*x.shape, *w.shape)


def _fusible(
    gy: Array, y: Array, argmax: Array, x: Array, w: Array, *, activation: str = "linear", **_: Any
) -> bool:
    return activation in FUSED and gy.size > 0


class CudaConvPool(CudaConvolution, PoolingOps):
    """Maxima of what a convolution gives, without writing all of that."""

    @fused(_known)
    def conv2d_max_pool(
        self,
        x: Array,
        w: Array,
        b: Array | None = None,
        *,
        stride: Pair = (1, 1),
        padding: Padding = _NONE,
        activation: str = "linear",
        pool: Pair = (2, 2),
    ) -> tuple[Array, Array]:
        """Return the maxima of `conv2d`'s windows of `pool` cells, and their places."""
        xp = self.xp
        kh, kw, cin, filters = w.shape
        oh, ow = places(x.shape, w.shape, stride, padding)
        step = step_numbers(stride, padding)
        rows, columns = oh // pool[0], ow // pool[1]
        y = xp.empty((len(x), rows, columns, filters), x.dtype)
        argmax = xp.empty(y.shape, xp.int32)
        if y.size == 0:
            return y, argmax
        if pool == (2, 2) and self._direct(x, w, b, y, argmax, (oh, ow), step, activation):
            return y, argmax
        matrix = w.reshape(-1, filters)
        row_bytes = pool[0] * ow * (kh * kw * cin + filters) * x.itemsize
        for images, first, last in bands(len(x), rows, fitting(row_bytes)):
            # The convolution's rows that these maxima are of.
            low, high = first * pool[0], last * pool[0]
            z = self.matmul(self._columns(x[images], w.shape, (low, high), ow, step), matrix)
            out, where = y[images, first:last], argmax[images, first:last]
            numbers = (high - low, ow, *pool, last - first, columns, low, NUMBERS[activation])
            cells = len(out) * (last - first) * columns
            self.kernels.cells("conv_max_pool", y, cells, filters, z, b, out, where, *numbers)
        return y, argmax

    @fused(_fusible)
    def conv2d_max_pool_backward(
        self,
        gy: Array,
        y: Array,
        argmax: Array,
        x: Array,
        w: Array,
        *,
        stride: Pair = (1, 1),
        padding: Padding = _NONE,
        activation: str = "linear",
        pool: Pair = (2, 2),
        needs: tuple[bool, ...] = (True, True, True),
    ) -> tuple[Array | None, Array | None, Array | None]:
        """Return the gradients of `conv2d_max_pool`'s x, w and b, where `needs` asks for them."""
        g, gb = self._slope_and_bias(gy, y, activation, needs[2])
        if not (needs[0] or needs[1]):
            return None, None, gb
        shape = (len(x), *places(x.shape, w.shape, stride, padding), w.shape[3])
        g = self.max_pool2d_backward(g, argmax, shape, pool, stride=pool)
        return (
            self.conv2d_grad_input(g, w, x.shape, stride=stride, padding=padding)
            if needs[0]
            else None,
            self.conv2d_grad_weight(x, g, w.shape, stride=stride, padding=padding)
            if needs[1]
            else None,
            gb,
        )
