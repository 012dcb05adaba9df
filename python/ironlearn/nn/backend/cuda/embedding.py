"""Rows of a table by number, on the GPU."""

from __future__ import annotations

from ironlearn.nn.backend.cuda.base import CudaBase
from ironlearn.nn.backend.cuda.kernel import fused
from ironlearn.nn.backend.cuda.segments import gathered_rows, segment_sums
from ironlearn.nn.backend.device import Array
from ironlearn.nn.backend.ops.embedding import EmbeddingOps


def _reads(ids: Array, table: Array) -> bool:
    return table.ndim == 2 and ids.dtype.kind in "iu"


def _adds(gy: Array, ids: Array, *_: int) -> bool:
    return gy.ndim > 0 and gy.shape[:-1] == ids.shape and ids.dtype.kind in "iu"


class CudaEmbedding(CudaBase, EmbeddingOps):
    """Lookup in a table of vectors, and the table's gradient, dense or by rows."""

    @fused(_reads)
    def take_rows(self, ids: Array, table: Array) -> Array:
        """Return the rows `ids` of `table`; a number that it has not gives a row of NaN."""
        return gathered_rows(self, ids, table)

    @fused(_adds)
    def embedding_backward(self, gy: Array, ids: Array, n_rows: int) -> Array:
        """Return the gradient (V, D) of a table of V = `n_rows` rows; rows met twice add up."""
        return segment_sums(self, ids.reshape(-1), n_rows, gy.reshape(ids.size, gy.shape[-1]))

    @fused(_adds)
    def embedding_rows(self, gy: Array, ids: Array) -> tuple[Array, Array]:
        """Return the sorted distinct `ids` and their rows of the gradient; waits for `ids`."""
        ids = ids.reshape(-1)
        rows = self.xp.unique(ids)
        values = gy.reshape(ids.size, gy.shape[-1])
        return rows, segment_sums(self, ids, rows.shape[0], values, names=rows)
