"""Forecasters to beat: the same season again, and a linear map of the same window."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_Array = NDArray[np.float64]

#: Penalties that ridge regression chooses from, for standardised columns.
PENALTIES = tuple(10.0**power for power in range(-6, 3))


def seasonal_naive(past: _Array, period: int, horizon: int) -> _Array:
    """Return the last `period` steps of each window, over and over.

    Parameters
    ----------
    past : ndarray of shape (n, steps, columns)
        At least one step; with fewer than `period` the last step is repeated.
    period, horizon : int

    Returns
    -------
    ndarray of shape (n, horizon, columns)

    Examples
    --------
    >>> seasonal_naive(np.array([[[1.0], [2.0], [3.0]]]), 2, 3)[0, :, 0].tolist()
    [2.0, 3.0, 2.0]
    """
    if past.shape[1] < period:
        period = 1
    season = past[:, past.shape[1] - period :]
    return season[:, np.arange(horizon) % period]


@dataclass(frozen=True)
class Ridge:
    """Linear regression with an L2 penalty from many features to many targets.

    Attributes
    ----------
    coef : ndarray of shape (features, targets)
    intercept : ndarray of shape (targets,)
    penalty : float
        Times the number of samples, what squares of standardised coefficients cost.
    """

    coef: _Array
    intercept: _Array
    penalty: float

    @classmethod
    def learn(cls, X: _Array, Y: _Array, penalty: float | None = None) -> Ridge:
        """Return the regression of Y (n, targets) on X (n, features).

        Without a `penalty`, the one of the least generalised cross-validation error is chosen
        (Golub, Heath and Wahba, Technometrics 21 (1979)).
        """
        n = len(X)
        centre, goal = X.mean(axis=0), Y.mean(axis=0)
        spread = X.std(axis=0)
        spread = np.where(spread > 1e-12 * np.maximum(1.0, np.abs(centre)), spread, 1.0)
        A, B = (X - centre) / spread, Y - goal
        if A.shape[1] <= n:
            values, vectors = np.linalg.eigh(A.T @ A / n)
            values = np.maximum(values, 0.0)
            part = vectors.T @ (A.T @ B) / n
        else:
            gram, left = np.linalg.eigh(A @ A.T / n)
            keep = gram > 1e-12 * max(gram.max(initial=0.0), 1e-300)
            values = gram[keep]
            vectors = A.T @ left[:, keep] / np.sqrt(n * values)
            part = (left[:, keep].T @ B) * np.sqrt(values / n)[:, None]
        if penalty is None:
            penalty = _least_gcv(values, part, float((B**2).sum()), n)
        # A direction without variance gets no weight, however small the penalty.
        floor = 1e-10 * max(float(values.max(initial=0.0)), 1e-300)
        coef = (vectors @ (part / np.maximum(values + penalty, floor)[:, None])) / spread[:, None]
        return cls(coef, goal - centre @ coef, penalty)

    def predict(self, X: _Array) -> _Array:
        """Return the targets of X."""
        return X @ self.coef + self.intercept


def _least_gcv(values: _Array, part: _Array, total: float, n: int) -> float:
    best, chosen = np.inf, PENALTIES[-1]
    power = (part**2).sum(axis=1)
    for penalty in PENALTIES:
        shrunk = values + penalty
        # |B - A c|^2 in the eigenbasis: what is left of each direction, and what none explains.
        rest = total - n * float((power * (2 / shrunk - values / shrunk**2)).sum())
        freedom = n - 1 - float((values / shrunk).sum())
        if freedom <= 0:
            continue
        score = max(rest, 0.0) / freedom**2
        if score < best:
            best, chosen = score, penalty
    return chosen
