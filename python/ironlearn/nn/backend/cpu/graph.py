"""Sums over the edges of a graph, by SciPy's sparse product."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ironlearn.nn.backend.ops.graph import GraphOps


class CpuGraph(GraphOps):
    """The sparse product on the CPU."""

    def propagate(
        self,
        x: NDArray[np.floating],
        rows: NDArray[np.integer],
        columns: NDArray[np.integer],
        values: NDArray[np.floating],
        n_rows: int,
    ) -> NDArray[np.floating]:
        """Return sums over entries: out[rows[e]] += values[e] x[columns[e]]."""
        from scipy.sparse import coo_matrix

        matrix = coo_matrix((values, (rows, columns)), shape=(n_rows, x.shape[0]))
        return np.asarray(matrix.tocsr() @ x)
