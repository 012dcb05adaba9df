"""Prediction intervals from errors on held-out windows."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

_Array = NDArray[np.float64]


def half_widths(errors: _Array, alpha: float) -> _Array:
    """Return, for each step and column, the half width that errors stay within.

    Parameters
    ----------
    errors : ndarray of shape (n, horizon, columns)
        Truth minus forecast on windows that the model was not trained on.
    alpha : float
        Share of errors that may be larger.

    Returns
    -------
    ndarray of shape (horizon, columns)

    Notes
    -----
    Split conformal prediction (Vovk, Gammerman and Shafer, "Algorithmic learning in a random
    world", 2005; Lei et al., JASA 113 (2018)): the ceil((n + 1)(1 - alpha))-th smallest absolute
    error of the step. With fewer than 1 / alpha - 1 windows no such error exists; then errors of
    all steps, each divided by its step's root mean square, are pooled.
    """
    n = len(errors)
    size = np.abs(errors)
    rank = math.ceil((n + 1) * (1 - alpha))
    if rank <= n:
        return np.partition(size, rank - 1, axis=0)[rank - 1]
    spread = np.sqrt(np.mean(errors**2, axis=0))
    ratio = size / np.where(spread > 0, spread, 1.0)
    pool = ratio.reshape(-1, ratio.shape[-1])
    rank = min(math.ceil((len(pool) + 1) * (1 - alpha)), len(pool))
    return spread * np.partition(pool, rank - 1, axis=0)[rank - 1]
