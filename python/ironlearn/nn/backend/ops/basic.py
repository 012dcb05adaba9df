"""Products, gathers and scatters: what is below every other family."""

from __future__ import annotations

from typing import Any

from ironlearn.nn.backend.device import Array


class BasicOps:
    """Operations on arrays of any meaning."""

    def __init__(self, xp: Any) -> None:
        self.xp = xp

    def matmul(self, a: Array, b: Array) -> Array:
        """Return the matrix product over the last two axes, the others broadcast."""
        out = self.xp.matmul(a, b)
        # NumPy answers products of bfloat16 in float32.
        return out.astype(a.dtype) if a.dtype == b.dtype != out.dtype else out

    def scatter_add(self, shape: tuple[int, ...], index: Any, values: Array) -> Array:
        """Return zeros of `shape` with `values` added at `index`; equal indices add up."""
        out = self.xp.zeros(shape, values.dtype)
        self.xp.add.at(out, index, values)
        return out

    def unbroadcast(self, array: Array, shape: tuple[int, ...]) -> Array:
        """Return `array` summed to `shape`, from which it was broadcast."""
        if array.shape == shape:
            return array
        extra = array.ndim - len(shape)
        if extra:
            array = array.sum(axis=tuple(range(extra)))
        axes = tuple(
            i for i, (have, want) in enumerate(zip(array.shape, shape, strict=True)) if have != want
        )
        return array.sum(axis=axes, keepdims=True) if axes else array
