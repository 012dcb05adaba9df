"""Sums over the edges of a graph."""

from __future__ import annotations

from ironlearn.nn.backend.device import Array
from ironlearn.nn.backend.ops.basic import BasicOps


class GraphOps(BasicOps):
    """The product of a sparse matrix, given by its entries, with a dense one."""

    def propagate(self, x: Array, rows: Array, columns: Array, values: Array, n_rows: int) -> Array:
        """Return sums over entries: out[rows[e]] += values[e] x[columns[e]].

        Parameters
        ----------
        x : (V, F)
        rows, columns : (E,) of int
        values : (E,)
        n_rows : int

        Returns
        -------
        (n_rows, F)
        """
        return self.scatter_add((n_rows, x.shape[1]), rows, values[:, None] * x[columns])
