"""Embedding on the CPU."""

from __future__ import annotations

import numpy as np

from ironlearn import _core
from ironlearn._threads import resolve
from ironlearn.nn.backend.cpu.native import native
from ironlearn.nn.backend.device import Array
from ironlearn.nn.backend.ops.embedding import EmbeddingOps


class CpuEmbedding(EmbeddingOps):
    """Lookup that refuses numbers outside the table; gradients summed row by row."""

    def embedding(self, ids: Array, table: Array) -> Array:
        """Return the rows `ids` of `table`."""
        if ids.size:
            low, high = int(ids.min()), int(ids.max())
            if low < 0 or high >= table.shape[0]:
                raise ValueError(
                    f"the number {low if low < 0 else high} has no row: numbers must be at least 0 "
                    f"and below {table.shape[0]}."
                )
        return self.take_rows(ids, table)

    @native(lambda ids, table: ids.size * table.size > 0)
    def take_rows(self, ids: Array, table: Array) -> Array:
        """Return the rows `ids` of `table`, which has them all."""
        numbers = np.asarray(ids.reshape(-1), np.int64)
        out = np.empty((numbers.size, table.shape[1]), np.float32)
        _core.nn_embedding(numbers, table, out, resolve(None))
        return out.reshape(*ids.shape, table.shape[1])

    @native(lambda gy, ids, n_rows: gy.size > 0)
    def embedding_backward(self, gy: Array, ids: Array, n_rows: int) -> Array:
        """Return the gradient (V, D) of the table."""
        width = gy.shape[-1]
        out = np.empty((n_rows, width), np.float32)
        numbers = np.asarray(ids.reshape(-1), np.int64)
        _core.nn_embedding_backward(gy.reshape(-1, width), numbers, out, resolve(None))
        return out
