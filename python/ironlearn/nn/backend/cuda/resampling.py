"""Enlarging images on the GPU, one pass each."""

from __future__ import annotations

from ironlearn.nn.backend.cuda.base import CudaBase
from ironlearn.nn.backend.cuda.kernel import fused
from ironlearn.nn.backend.device import Array
from ironlearn.nn.backend.ops.convolution import Pair
from ironlearn.nn.backend.ops.resampling import ResamplingOps


def _divides(x: Array, factor: Pair) -> bool:
    return x.size > 0 and x.shape[1] % factor[0] == 0 and x.shape[2] % factor[1] == 0


class CudaResampling(CudaBase, ResamplingOps):
    """Repeated cells and the exchange of channels for cells."""

    @fused(lambda x, factor: x.size > 0)
    def upsample2d(self, x: Array, factor: Pair) -> Array:
        """Return `x` with each cell repeated `factor` times along height and width."""
        n, height, width, channels = x.shape
        y = self.xp.empty((n, height * factor[0], width * factor[1], channels), x.dtype)
        cells = n * height * width * factor[0] * factor[1]
        self.kernels.cells("upsample", x, cells, channels, x, y, height, width, *factor)
        return y

    @fused(_divides)
    def upsample2d_backward(self, gy: Array, factor: Pair) -> Array:
        """Return the gradient of `upsample2d`'s input."""
        n, height, width, channels = gy.shape
        rows, columns = height // factor[0], width // factor[1]
        gx = self.xp.empty((n, rows, columns, channels), gy.dtype)
        numbers = (rows, columns, *factor)
        self.kernels.cells("upsample_backward", gy, n * rows * columns, channels, gy, gx, *numbers)
        return gx

    @fused(lambda x, factor: x.size > 0 and x.shape[3] % (factor * factor) == 0)
    def pixel_shuffle(self, x: Array, factor: int) -> Array:
        """Return (N, H r, W r, C) of x (N, H, W, r r C): channels become cells (r = `factor`)."""
        n, height, width, channels = x.shape
        y = self._exchange(x, n * height, width, factor)
        return y.reshape(n, height * factor, width * factor, channels // (factor * factor))

    @fused(lambda x, factor: _divides(x, (factor, factor)))
    def pixel_unshuffle(self, x: Array, factor: int) -> Array:
        """Return what `pixel_shuffle` would turn into `x`."""
        n, height, width, channels = x.shape
        rows, columns = height // factor, width // factor
        y = self._exchange(x, n * rows, factor, columns)
        return y.reshape(n, rows, columns, channels * factor * factor)

    def _exchange(self, x: Array, outer: int, a: int, b: int) -> Array:
        """Return ``(outer, b, a, run)`` of x ``(outer, a, b, run)``, runs being side by side.

        In a row of images the order is (column, row within the cell, column within the cell and
        channel) on the one side and has its first two exchanged on the other.
        """
        y = self.xp.empty_like(x)
        cells = outer * a * b
        self.kernels.cells("exchange_cells", x, cells, x.size // cells, x, y, a, b)
        return y
