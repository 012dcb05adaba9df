"""Random masks and noise on the GPU, made where they are used."""

from __future__ import annotations

import math
from typing import Any

from ironlearn._random import stream_key
from ironlearn.nn.backend.cuda.base import CudaBase
from ironlearn.nn.backend.cuda.kernel import THREADS, blocks_of, fused
from ironlearn.nn.backend.device import Array
from ironlearn.nn.backend.ops.dropout import DropoutOps


def _key(seed: int, task: int) -> int:
    """Return a stream's key as a kernel takes it: the signed number of the same bits."""
    key = stream_key(seed, task)
    return key - (1 << 64) if key >> 63 else key


def _threshold(rate: float) -> int:
    """Return the least 53 bits that, as a number in [0, 1), are not below `rate`."""
    return math.ceil(rate * 2**53)


class CudaDropout(CudaBase, DropoutOps):
    """Masks from counter-based streams: element n depends on (seed, task, n) alone."""

    def random_unit(self, seed: int, task: int, shape: tuple[int, ...]) -> Array:
        """Return float64 numbers in [0, 1): those of `ironlearn._random.Stream`."""
        out = self.xp.empty(shape, "float64")
        self.kernels.each("random_unit", out, out.size, out, out.size, _key(seed, task))
        return out

    @fused()
    def dropout_mask(
        self, seed: int, task: int, shape: tuple[int, ...], rate: float, dtype: Any
    ) -> Array:
        """Return a mask of 0 (with probability `rate`) and 1 / (1 - rate)."""
        mask = self.xp.empty(shape, dtype)
        self._drop(None, mask, seed, task, rate)
        return mask

    @fused()
    def dropout(self, x: Array, seed: int, task: int, rate: float) -> Array:
        """Return x times `dropout_mask` of its shape; the gradient is the same of the gradient."""
        y = self.xp.empty_like(x)
        self._drop(x, y, seed, task, rate)
        return y

    def _drop(self, x: Array | None, y: Array, seed: int, task: int, rate: float) -> None:
        self.kernels.launch(
            "dropout",
            y.dtype,
            blocks_of(y.size),
            THREADS,
            x,
            y,
            y.size,
            _key(seed, task),
            _threshold(rate),
            1.0 / (1.0 - rate),
        )

    @fused()
    def random_normal(self, seed: int, task: int, shape: tuple[int, ...], dtype: Any) -> Array:
        """Return standard normal numbers by the transform of Box and Muller (1958)."""
        out = self.xp.empty(shape, dtype)
        self.kernels.each("random_normal", out, out.size, out, out.size, _key(seed, task))
        return out
