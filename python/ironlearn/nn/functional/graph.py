"""Sums over the edges of a graph."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ironlearn.nn.autograd import Context, Function, Tensor, as_tensor
from ironlearn.nn.backend.device import Array, Device, get_device
from ironlearn.nn.backend.ops import Ops


@dataclass(frozen=True)
class Adjacency:
    """A sparse matrix between nodes, by its entries.

    Attributes
    ----------
    rows, columns : (E,) of int
        Where a sum goes, and where it comes from.
    values : (E,) of float
        Weights.
    shape : (int, int)
        Rows and columns of the matrix.
    """

    rows: Array
    columns: Array
    values: Array
    shape: tuple[int, int]

    def to_device(self, device: str | Device) -> Adjacency:
        """Return the matrix on `device`; it must come from the host."""
        target = get_device(device)
        return Adjacency(
            target.send(self.rows),
            target.send(self.columns),
            target.send(self.values),
            self.shape,
        )


def normalized_adjacency(
    edges: Any, n_nodes: int, *, self_loops: bool = True, dtype: Any = np.float32
) -> Adjacency:
    """Return D^-1/2 (A + I) D^-1/2 of an undirected graph.

    Parameters
    ----------
    edges : array-like of shape (E, 2)
        Pairs of nodes; each may stand there in one order or in both, and counts once.
    n_nodes : int
        Number of nodes.
    self_loops : bool, default=True
        Add the identity I.
    dtype : dtype, default=float32
        Type of the weights.

    Returns
    -------
    Adjacency

    Raises
    ------
    ValueError
        `edges` has another shape or names a node that is not there.

    Notes
    -----
    Kipf and Welling, "Semi-supervised classification with graph convolutional networks"
    (arXiv:1609.02907).

    Examples
    --------
    >>> normalized_adjacency([[0, 1]], 2).values
    array([0.5, 0.5, 0.5, 0.5], dtype=float32)
    """
    edges = np.asarray(edges)
    if edges.size == 0:
        edges = np.zeros((0, 2), np.int64)
    if edges.ndim != 2 or edges.shape[1] != 2 or edges.dtype.kind not in "iu":
        raise ValueError(f"edges must be integers of shape (E, 2), got {edges.shape}.")
    if edges.size and (edges.min() < 0 or edges.max() >= n_nodes):
        raise ValueError(f"edges must name nodes from 0 to {n_nodes - 1}.")
    edges = edges.astype(np.int64)
    both = np.concatenate([edges, edges[:, ::-1]])
    both = both[both[:, 0] != both[:, 1]]
    if self_loops:
        both = np.concatenate([both, np.repeat(np.arange(n_nodes)[:, None], 2, axis=1)])
    keys = np.unique(both[:, 0] * n_nodes + both[:, 1])
    rows, columns = keys // n_nodes, keys % n_nodes
    degree = np.bincount(rows, minlength=n_nodes).astype(np.float64)
    values = 1.0 / np.sqrt(degree[rows] * degree[columns])
    return Adjacency(rows, columns, values.astype(dtype), (n_nodes, n_nodes))


class Propagate(Function):
    """A sparse matrix times x."""

    @staticmethod
    def forward(ctx: Context, ops: Ops, x: Array, *, adjacency: Adjacency) -> Array:
        """Compute the outputs."""
        ctx.save(adjacency)
        a = adjacency
        return ops.propagate(x, a.rows, a.columns, a.values.astype(x.dtype), a.shape[0])

    @staticmethod
    def backward(ctx: Context, ops: Ops, g: Array) -> Array:
        """Compute the inputs' gradients."""
        (a,) = ctx.saved
        return ops.propagate(g, a.columns, a.rows, a.values.astype(g.dtype), a.shape[1])


def propagate(x: Tensor | Array, adjacency: Adjacency) -> Tensor:
    """Return the product of `adjacency` with x (V, F)."""
    return Propagate.apply(as_tensor(x), adjacency=adjacency)
