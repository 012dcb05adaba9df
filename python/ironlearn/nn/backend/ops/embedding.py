"""Rows of a table by number."""

from __future__ import annotations

from ironlearn.nn.backend.device import Array
from ironlearn.nn.backend.ops.basic import BasicOps


class EmbeddingOps(BasicOps):
    """Lookup in a table of vectors, and the table's gradient, dense or by rows."""

    def embedding(self, ids: Array, table: Array) -> Array:
        """Return the rows `ids` (any shape, integers) of `table` (V, D): (..., D)."""
        return self.take_rows(ids, table)

    def take_rows(self, ids: Array, table: Array) -> Array:
        """Return the rows `ids` of `table`, which has them all."""
        return self.xp.take(table, ids, axis=0)

    def embedding_backward(self, gy: Array, ids: Array, n_rows: int) -> Array:
        """Return the gradient (V, D) of a table of V = `n_rows` rows; rows met twice add up."""
        width = gy.shape[-1]
        return self.scatter_add((n_rows, width), ids.reshape(-1), gy.reshape(-1, width))

    def embedding_rows(self, gy: Array, ids: Array) -> tuple[Array, Array]:
        """Return the sorted distinct `ids` and their rows of the table's gradient.

        For updates that touch no other row. The number of rows depends on the values of `ids`, so
        on a GPU this waits for them.
        """
        width = gy.shape[-1]
        rows, places = self.xp.unique(ids.reshape(-1), return_inverse=True)
        shape = (rows.shape[0], width)
        return rows, self.scatter_add(shape, places.reshape(-1), gy.reshape(-1, width))
