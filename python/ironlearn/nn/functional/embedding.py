"""Rows of a table by number."""

from __future__ import annotations

from ironlearn.nn.autograd import Context, Function, RowGradient, Tensor, as_tensor
from ironlearn.nn.backend.device import Array
from ironlearn.nn.backend.ops import Ops


class Embedding(Function):
    """table[ids]."""

    @staticmethod
    def forward(ctx: Context, ops: Ops, ids: Array, table: Array, *, sparse: bool) -> Array:
        """Compute the outputs."""
        ctx.save(ids, table.shape, sparse)
        return ops.embedding(ids, table)

    @staticmethod
    def backward(ctx: Context, ops: Ops, g: Array) -> tuple[Array | RowGradient | None, ...]:
        """Compute the inputs' gradients."""
        ids, shape, sparse = ctx.saved
        if not ctx.needs[1]:
            return None, None
        if sparse:
            return None, RowGradient([(ids, g)], shape)
        return None, ops.embedding_backward(g, ids, shape[0])


def embedding(ids: Tensor | Array, table: Tensor, *, sparse: bool = False) -> Tensor:
    """Return the rows of a table.

    Parameters
    ----------
    ids : Tensor or array of int, any shape
        Numbers of rows, from 0.
    table : Tensor of shape (V, D)
    sparse : bool, default=False
        Leave the table's gradient as a `RowGradient`, so that optimizers touch used rows only.

    Returns
    -------
    Tensor of shape (..., D)

    Raises
    ------
    TypeError
        The numbers are not integers.
    ValueError
        A number is below 0 or not below V (found out on the CPU only: on a GPU, looking would
        wait for the device).

    Examples
    --------
    >>> import numpy as np
    >>> embedding(np.array([2, 0]), Tensor(np.eye(3))).data
    array([[0., 0., 1.],
           [1., 0., 0.]])
    """
    ids = as_tensor(ids)
    if ids.dtype.kind not in "iu":
        raise TypeError(f"ids must be integers, got an array of {ids.dtype}.")
    return Embedding.apply(ids, table, sparse=sparse)
