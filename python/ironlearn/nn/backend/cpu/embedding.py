"""Embedding on the CPU."""

from __future__ import annotations

from ironlearn.nn.backend.device import Array
from ironlearn.nn.backend.ops.embedding import EmbeddingOps


class CpuEmbedding(EmbeddingOps):
    """Lookup that refuses numbers outside the table."""

    def embedding(self, ids: Array, table: Array) -> Array:
        """Return the rows `ids` of `table`."""
        if ids.size:
            low, high = int(ids.min()), int(ids.max())
            if low < 0 or high >= table.shape[0]:
                raise ValueError(
                    f"the number {low if low < 0 else high} has no row: numbers must be at least 0 "
                    f"and below {table.shape[0]}."
                )
        return super().embedding(ids, table)
