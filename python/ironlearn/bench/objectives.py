"""What support vector machines minimise, computed the same way for every library."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Rows at a time: a block of kernel values stays small.
_BLOCK = 2048


def linear_svc(model: Any, X: Any, y: NDArray[Any]) -> float:
    """Return the primal objective of squared-hinge, L2-regularised LinearSVC, all classes.

    The intercept counts as the weight of a constant feature, as in LIBLINEAR.
    """
    coef = np.asarray(model.coef_, dtype=np.float64)
    intercept = np.broadcast_to(np.asarray(model.intercept_, dtype=np.float64), len(coef))
    total = 0.5 * float((coef**2).sum() + (intercept**2).sum())
    positive = model.classes_[1:] if len(coef) == 1 else model.classes_
    for start in range(0, len(y), 8 * _BLOCK):
        rows = slice(start, start + 8 * _BLOCK)
        margin = X[rows].astype(np.float64) @ coef.T + intercept
        sign = np.where(y[rows, None] == positive, 1.0, -1.0)
        total += float(model.C * (np.maximum(0.0, 1.0 - sign * margin) ** 2).sum())
    return total


def linear_svr(model: Any, X: Any, y: NDArray[Any]) -> float:
    """Return the primal objective of LinearSVR with the loss ``epsilon_insensitive``."""
    coef = np.ravel(np.asarray(model.coef_, dtype=np.float64))
    intercept = float(np.ravel(model.intercept_)[0])
    error = np.abs(y - (X.astype(np.float64) @ coef + intercept))
    loss = float(np.maximum(0.0, error - model.epsilon).sum())
    return 0.5 * float(coef @ coef + intercept**2) + float(model.C) * loss


def svc(model: Any, X: Any) -> float:
    """Return the dual objective of an SVC with an RBF kernel, summed over the pairs of classes."""
    gamma, coef = _gamma(model, X), np.asarray(model.dual_coef_, dtype=np.float64)
    vectors = np.asarray(model.support_vectors_, dtype=np.float64)
    ends = np.concatenate([[0], np.cumsum(model.n_support_)])
    total = 0.0
    for j in range(1, len(ends) - 1):
        for i in range(j):
            first, second = slice(ends[i], ends[i + 1]), slice(ends[j], ends[j + 1])
            alpha = np.concatenate([coef[j - 1, first], coef[i, second]])
            rows = np.concatenate([vectors[first], vectors[second]])
            total += 0.5 * _quadratic(alpha, rows, gamma) - float(np.abs(alpha).sum())
    return total


def svr(model: Any, X: Any, y: NDArray[Any]) -> float:
    """Return the dual objective of an SVR with an RBF kernel."""
    alpha = np.ravel(np.asarray(model.dual_coef_, dtype=np.float64))
    vectors = np.asarray(model.support_vectors_, dtype=np.float64)
    linear = model.epsilon * float(np.abs(alpha).sum()) - float(y[model.support_] @ alpha)
    return 0.5 * _quadratic(alpha, vectors, _gamma(model, X)) + linear


def _gamma(model: Any, X: Any) -> float:
    if isinstance(model.gamma, str):
        variance = float(X.var()) if model.gamma == "scale" else 1.0
        return 1.0 / (X.shape[1] * variance)
    return float(model.gamma)


def _quadratic(alpha: NDArray[Any], rows: NDArray[Any], gamma: float) -> float:
    """Return the sum of ``alpha[i] * K[i, j] * alpha[j]`` for the RBF kernel of the rows."""
    used = alpha != 0
    alpha, rows = alpha[used], rows[used]
    squares = (rows**2).sum(axis=1)
    total = 0.0
    for start in range(0, len(rows), _BLOCK):
        part = slice(start, start + _BLOCK)
        distances = squares[part, None] + squares - 2 * (rows[part] @ rows.T)
        total += float(alpha[part] @ (np.exp(-gamma * np.maximum(distances, 0)) @ alpha))
    return total
