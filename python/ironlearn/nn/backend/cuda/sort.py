"""Sorting on the GPU without waiting for it."""

from __future__ import annotations

from typing import Any

from ironlearn.nn.backend.cuda.base import CudaBase
from ironlearn.nn.backend.device import Array

#: As `SORT_TILE` and `SORT_DIGITS` in kernels/sort.cu.
_TILE, _DIGITS = 1024, 256


def sorted_by_place(ops: CudaBase, keys: Array, n_places: int, dtype: Any) -> Array:
    """Return the keys sorted by ``key // n``, n their number; equal ones keep their order.

    Parameters
    ----------
    ops : CudaBase
    keys : (n,) of int64
        ``place * n + entry``, places from 0 to `n_places` inclusive. Used as scratch.
    n_places : int
    dtype : dtype
        Whose compiled kernels are at hand anyway.

    Returns
    -------
    (n,) of int64

    Notes
    -----
    A radix sort with digits of eight bits, the least significant first: three kernels a digit.
    """
    xp, n = ops.xp, keys.size
    blocks = -(-n // _TILE)
    counts = xp.empty((_DIGITS * blocks,), "int64")
    other = xp.empty_like(keys)
    launch = ops.kernels.launch
    for shift in range(0, max(1, n_places.bit_length()), 8):
        launch("sort_count", dtype, blocks, _DIGITS, keys, n, shift, counts)
        launch("sort_starts", dtype, 1, _DIGITS, counts, counts.size)
        launch("sort_move", dtype, blocks, _DIGITS, keys, n, shift, counts, other)
        keys, other = other, keys
    return keys
