"""Sums over the rows of a matrix, in an order that follows from its shape alone."""

from __future__ import annotations

from ironlearn.nn.backend.cuda.base import CudaBase
from ironlearn.nn.backend.cuda.kernel import THREADS, lanes_of
from ironlearn.nn.backend.device import Array

#: Stretches of rows are as many as give about this many blocks, if each thread then has at least
#: some rows to add.
_BLOCKS = 1024
_ROWS_OF_A_THREAD = 4


def column_sums(
    ops: CudaBase, gy: Array, y: Array | None = None, kind: int = 0
) -> tuple[Array, Array]:
    """Return gy times the slope of an activation, and its sums over rows.

    Parameters
    ----------
    ops : CudaBase
    gy : (N, C)
        Not empty.
    y : (N, C), optional
        The activation's output; not needed for the linear one.
    kind : int
        The activation's number in the kernels.

    Returns
    -------
    gz : (N, C)
        `gy` itself where the activation is linear.
    sums : (C,)
    """
    xp = ops.xp
    rows, columns = gy.shape
    lanes = lanes_of(columns)
    across = -(-columns // lanes)
    shortest = THREADS // lanes * _ROWS_OF_A_THREAD
    stretches = min(-(-rows // shortest), max(1, _BLOCKS // across))
    rows_each = -(-rows // stretches)
    stretches = -(-rows // rows_each)
    gz = xp.empty_like(gy) if kind else gy
    sums = xp.empty((columns,), gy.dtype)
    parts = None
    if stretches > 1:
        wide = "float64" if gy.dtype == "float64" else "float32"
        parts = xp.empty((stretches, columns), wide)
    ops.kernels.launch(
        "column_parts",
        gy.dtype,
        (across, stretches),
        THREADS,
        gy,
        y,
        gz if kind else None,
        parts,
        sums if parts is None else None,
        rows,
        columns,
        lanes,
        rows_each,
        kind,
    )
    if parts is not None:
        ops.kernels.launch(
            "column_total", gy.dtype, across, THREADS, parts, sums, stretches, columns, lanes
        )
    return gz, sums
