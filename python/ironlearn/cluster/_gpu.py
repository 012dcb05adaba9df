"""Distances to centres on a GPU, by CuPy.

Squared distances are ``|x|^2 - 2 x c + |c|^2``, one product of matrices for a block of rows; rows
and centres are less the training data's mean, so that little is lost where they lie far from 0.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ironlearn import _gpu


def _sent(xp: Any, model: Any, dtype: Any) -> tuple[Any, Any, Any]:
    centres, offset = model.arrays()
    centres = xp.asarray(np.ascontiguousarray(centres, dtype))
    return centres, xp.asarray(np.ascontiguousarray(offset, dtype)), (centres * centres).sum(axis=1)


def nearest(xp: Any, model: Any, X: Any) -> Any:
    """Return each row's nearest centre, the first among equals."""
    centres, offset, squares = _sent(xp, model, X.dtype)
    labels = xp.empty(X.shape[0], np.int32)
    # With -2 in the smaller factor and |c|^2 added in place the table is written once, changed once
    # and read once.
    factor = xp.ascontiguousarray(-2 * centres.T)
    for block in _gpu.blocks(X.shape[0], len(centres), X.dtype.itemsize):
        table = xp.matmul(X[block] - offset, factor)
        # A row's own square does not change which centre is the nearest.
        table += squares
        labels[block] = table.argmin(axis=1)
    return labels


def squared_distances_to(xp: Any, model: Any, X: Any, labels: Any) -> Any:
    """Return the squared distance of each row to the centre that it belongs to."""
    centres, offset, _ = _sent(xp, model, X.dtype)
    out = xp.empty(X.shape[0], X.dtype)
    for block in _gpu.blocks(X.shape[0], X.shape[1], X.dtype.itemsize):
        difference = X[block] - offset - centres[labels[block]]
        out[block] = (difference * difference).sum(axis=1)
    return out


def distances(xp: Any, model: Any, X: Any) -> Any:
    """Return the distance of each row to each centre."""
    centres, offset, squares = _sent(xp, model, X.dtype)
    out = xp.empty((X.shape[0], len(centres)), X.dtype)
    for block in _gpu.blocks(X.shape[0], len(centres), X.dtype.itemsize):
        rows = X[block] - offset
        table = squares - 2 * xp.matmul(rows, centres.T) + (rows * rows).sum(axis=1)[:, None]
        out[block] = xp.sqrt(xp.maximum(table, 0))
    return out
