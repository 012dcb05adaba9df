"""Differences of series, and their sums."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_Array = NDArray[np.float64]


def difference(values: _Array, lags: Sequence[int]) -> _Array:
    """Return the differences of `values`, shape (n, steps, columns), over each lag in turn.

    The answer has fewer steps by the sum of the lags.

    Examples
    --------
    >>> difference(np.array([[[1.0], [2.0], [4.0], [7.0]]]), [1])[0, :, 0].tolist()
    [1.0, 2.0, 3.0]
    """
    for lag in lags:
        values = values[:, lag:] - values[:, :-lag]
    return values


def integrate(changes: _Array, past: _Array, lags: Sequence[int]) -> _Array:
    """Return the series whose differences over `lags` go on, after `past`, as `changes`.

    Parameters
    ----------
    changes : ndarray of shape (n, horizon, columns)
        Differences at the steps after the past.
    past : ndarray of shape (n, steps, columns)
        The series before, of at least the sum of the lags.
    lags : sequence of int
        As in `difference`.

    Returns
    -------
    ndarray of shape (n, horizon, columns)

    Examples
    --------
    >>> integrate(np.array([[[4.0], [5.0]]]), np.array([[[7.0]]]), [1])[0, :, 0].tolist()
    [11.0, 16.0]
    """
    levels = [past]
    for lag in lags[:-1]:
        levels.append(difference(levels[-1], [lag]))
    for lag, level in zip(reversed(lags), reversed(levels[: len(lags)]), strict=True):
        whole = np.concatenate([level[:, level.shape[1] - lag :], changes], axis=1)
        for step in range(lag, whole.shape[1]):
            whole[:, step] += whole[:, step - lag]
        changes = whole[:, lag:]
    return changes
