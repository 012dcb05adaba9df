"""Changing the type of the numbers."""

from __future__ import annotations

from typing import Any

from ironlearn.nn.autograd import Context, Function, Tensor, as_tensor
from ironlearn.nn.backend.device import Array
from ironlearn.nn.backend.ops import Ops


class Cast(Function):
    """The same numbers in another floating-point type."""

    @staticmethod
    def forward(ctx: Context, ops: Ops, x: Array, *, dtype: Any) -> Array:
        """Compute the outputs."""
        ctx.save(x.dtype)
        return x.astype(dtype)

    @staticmethod
    def backward(ctx: Context, ops: Ops, g: Array) -> Array:
        """Compute the inputs' gradients."""
        return g.astype(ctx.saved[0])


def cast(x: Tensor | Array, dtype: Any) -> Tensor:
    """Return `x` as numbers of `dtype`; one that has it already comes back itself.

    Parameters
    ----------
    x : Tensor or array of any shape
    dtype : dtype
        A floating-point type.

    Returns
    -------
    Tensor
        Of the shape of `x`; its gradient reaches `x` in the type of `x`.

    Examples
    --------
    >>> import numpy as np
    >>> cast(np.array([1.0, 2.0], np.float16), np.float32).dtype
    dtype('float32')
    """
    x = as_tensor(x)
    return x if x.dtype == dtype else Cast.apply(x, dtype=dtype)
