"""Random masks, the same numbers on every device and in every executor."""

from __future__ import annotations

from typing import Any

from ironlearn._random import Stream
from ironlearn.nn.backend.device import Array
from ironlearn.nn.backend.ops.basic import BasicOps

_GOLDEN = 0x9E3779B97F4A7C15


class DropoutOps(BasicOps):
    """Masks from counter-based streams: element n depends on (seed, task, n) alone."""

    def random_unit(self, seed: int, task: int, shape: tuple[int, ...]) -> Array:
        """Return float64 numbers in [0, 1): those of `ironlearn._random.Stream`."""
        xp = self.xp
        size = 1
        for length in shape:
            size *= length
        u64 = xp.uint64
        z = xp.arange(1, size + 1, dtype=u64) * u64(_GOLDEN)
        z += u64(Stream(seed, task)._key)
        z = (z ^ (z >> u64(30))) * u64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> u64(27))) * u64(0x94D049BB133111EB)
        z = z ^ (z >> u64(31))
        return ((z >> u64(11)).astype(xp.float64) * 2.0**-53).reshape(shape)

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
