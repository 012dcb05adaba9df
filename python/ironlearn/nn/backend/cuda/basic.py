"""Scatters and sums over broadcast axes on the GPU."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ironlearn.nn.backend.cuda.base import CudaBase
from ironlearn.nn.backend.cuda.kernel import fused
from ironlearn.nn.backend.cuda.reduce import column_sums
from ironlearn.nn.backend.cuda.segments import segment_sums
from ironlearn.nn.backend.device import Array


def _places(shape: tuple[int, ...], index: Any, values: Array) -> bool:
    """Tell whether `index` is integers, integer arrays and slices on leading axes."""
    keys = index if isinstance(index, tuple) else (index,)
    return (
        0 < len(keys) <= len(shape)
        and any(_is_numbers(key) for key in keys)
        and all(
            _is_numbers(key)
            or isinstance(key, slice)
            or (isinstance(key, int) and not isinstance(key, bool))
            for key in keys
        )
    )


def _is_numbers(key: Any) -> bool:
    known = hasattr(key, "dtype") and not isinstance(key, np.ndarray | np.generic)
    return known and key.dtype.kind in "iu" and key.ndim > 0


def _folds(array: Array, shape: tuple[int, ...]) -> bool:
    """Tell whether leading axes, and no others, are to be summed."""
    lead = _leading(array, shape)
    return array.size > 0 and lead > 0 and math.prod(shape) == math.prod(array.shape[lead:])


def _leading(array: Array, shape: tuple[int, ...]) -> int:
    """Return how many leading axes of `array` are not there in `shape`, or of length 1."""
    lead = array.ndim - len(shape)
    while lead < array.ndim and shape[lead - array.ndim] == 1:
        lead += 1
    return lead


class CudaBasic(CudaBase):
    """Products, and sums whose order does not change from run to run."""

    def matmul(self, a: Array, b: Array) -> Array:
        """Return the matrix product over the last two axes, the others broadcast."""
        xp = self.xp
        if a.ndim > 2 and b.ndim == 2:
            # One product of two matrices: the only shape that CuPy 14.2 multiplies in 16 bits.
            flat = xp.matmul(a.reshape(math.prod(a.shape[:-1]), a.shape[-1]), b)
            return flat.reshape(*a.shape[:-1], b.shape[1])
        if a.dtype == b.dtype and a.dtype.itemsize == 2 and max(a.ndim, b.ndim) > 2:
            # Stacks of float16 it computes in float32, stacks of bfloat16 it refuses.
            wide = xp.matmul(a.astype(xp.float32), b.astype(xp.float32))
            return wide.astype(a.dtype)
        return xp.matmul(a, b)

    @fused(_places)
    def scatter_add(self, shape: tuple[int, ...], index: Any, values: Array) -> Array:
        """Return zeros of `shape` with `values` added at `index`; equal indices add up.

        Entries outside `shape` are left out: to say so would have to wait for the device.
        """
        keys = index if isinstance(index, tuple) else (index,)
        covered, rest = shape[: len(keys)], shape[len(keys) :]
        if len(keys) == 1:
            places = keys[0]
        else:
            places = self.xp.arange(math.prod(covered)).reshape(covered)[keys]
        whole = places.shape + rest
        if values.shape != whole:
            values = self.xp.ascontiguousarray(self.xp.broadcast_to(values, whole))
        width = math.prod(rest)
        out = segment_sums(
            self,
            places.reshape(-1),
            math.prod(covered),
            values.reshape(places.size, width),
        )
        return out.reshape(shape)

    @fused(_folds)
    def unbroadcast(self, array: Array, shape: tuple[int, ...]) -> Array:
        """Return `array` summed to `shape`, from which it was broadcast."""
        rest = math.prod(shape)
        if rest == array.size:
            return array.reshape(shape)
        return column_sums(self, array.reshape(-1, rest))[1].reshape(shape)
