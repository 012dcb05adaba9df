"""Sums over the edges of a graph on the GPU."""

from __future__ import annotations

from ironlearn.nn.backend.cuda.base import CudaBase
from ironlearn.nn.backend.cuda.kernel import fused
from ironlearn.nn.backend.cuda.segments import segment_sums
from ironlearn.nn.backend.device import Array
from ironlearn.nn.backend.ops.graph import GraphOps


def _entries(x: Array, rows: Array, columns: Array, values: Array, n_rows: int) -> bool:
    return (
        x.ndim == 2
        and rows.ndim == 1
        and rows.shape == columns.shape == values.shape
        and rows.dtype.kind in "iu"
        and columns.dtype.kind in "iu"
    )


class CudaGraph(CudaBase, GraphOps):
    """The product of a sparse matrix, given by its entries, with a dense one."""

    @fused(_entries)
    def propagate(self, x: Array, rows: Array, columns: Array, values: Array, n_rows: int) -> Array:
        """Return sums over entries: out[rows[e]] += values[e] x[columns[e]]."""
        return segment_sums(self, rows, n_rows, x, weights=values, sources=columns)
