"""Random masks, the same numbers on every device and in every executor."""

from __future__ import annotations

import math
from typing import Any

from ironlearn._random import unit, words
from ironlearn.nn.backend.device import Array
from ironlearn.nn.backend.ops.basic import BasicOps


class DropoutOps(BasicOps):
    """Masks from counter-based streams: element n depends on (seed, task, n) alone."""

    def random_unit(self, seed: int, task: int, shape: tuple[int, ...]) -> Array:
        """Return float64 numbers in [0, 1): those of `ironlearn._random.Stream`."""
        return unit(words(seed, task, math.prod(shape), self.xp)).reshape(shape)

    def dropout_mask(
        self, seed: int, task: int, shape: tuple[int, ...], rate: float, dtype: Any
    ) -> Array:
        """Return a mask of 0 (with probability `rate`) and 1 / (1 - rate)."""
        keep = self.random_unit(seed, task, shape) >= rate
        return keep.astype(dtype) * self.xp.dtype(dtype).type(1.0 / (1.0 - rate))

    def dropout(self, x: Array, seed: int, task: int, rate: float) -> Array:
        """Return x times `dropout_mask` of its shape; the gradient is the same of the gradient."""
        return x * self.dropout_mask(seed, task, x.shape, rate, x.dtype)

    def random_normal(self, seed: int, task: int, shape: tuple[int, ...], dtype: Any) -> Array:
        """Return standard normal numbers by the transform of Box and Muller (1958)."""
        xp = self.xp
        u = self.random_unit(seed, task, (2, *shape))
        radius = xp.sqrt(-2.0 * xp.log1p(-u[0]))
        return (radius * xp.cos(2.0 * xp.pi * u[1])).astype(dtype)
