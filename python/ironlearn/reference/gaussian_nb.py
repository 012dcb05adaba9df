"""Gaussian naive Bayes in plain Python."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ironlearn.reference._rows import Rows, dense_rows

Moments = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]


def gaussian_nb_moments(
    x: Rows,
    y: NDArray[np.uint32],
    sample_weight: NDArray[np.float64] | None,
    *,
    n_classes: int,
    n_threads: int,
) -> tuple[Moments, float]:
    """Return class counts, means and sums of squares in two passes, and the largest variance."""
    rows = dense_rows(x)
    width = x.shape[1] if isinstance(x, np.ndarray) else x[3]
    weights = [1.0] * len(rows) if sample_weight is None else [float(w) for w in sample_weight]
    count = [0.0] * n_classes
    mean = [[0.0] * width for _ in range(n_classes)]
    m2 = [[0.0] * width for _ in range(n_classes)]
    for c in range(n_classes):
        mine = [(r, w) for r, w, code in zip(rows, weights, y, strict=True) if code == c]
        count[c] = math.fsum(w for _, w in mine)
        if count[c] == 0:
            continue
        for j in range(width):
            mean[c][j] = math.fsum(w * r[j] for r, w in mine) / count[c]
            m2[c][j] = math.fsum(w * (r[j] - mean[c][j]) ** 2 for r, w in mine)
    largest = max((_variance([r[j] for r in rows]) for j in range(width)), default=0.0)
    return (np.array(count), np.array(mean), np.array(m2)), largest


def _variance(values: Sequence[float]) -> float:
    mean = math.fsum(values) / len(values)
    return math.fsum((v - mean) ** 2 for v in values) / len(values)


def gaussian_nb_merge(a: Moments, b: Moments) -> Moments:
    """Return the moments of two disjoint sets of rows together (Chan et al., 1979)."""
    count, mean, m2 = (part.copy() for part in a)
    for c in range(len(count)):
        if b[0][c] == 0:
            continue
        total = count[c] + b[0][c]
        for j in range(mean.shape[1]):
            delta = b[1][c, j] - mean[c, j]
            mean[c, j] += delta * b[0][c] / total
            m2[c, j] += b[2][c, j] + delta**2 * count[c] * b[0][c] / total
        count[c] = total
    return count, mean, m2


def joint_log_likelihood(
    x: Rows,
    theta: NDArray[np.float64],
    var: NDArray[np.float64],
    log_prior: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return ``log P(class) + log P(row | class)`` by the formula of the normal density."""
    rows = dense_rows(x)
    out = np.empty((len(rows), len(theta)))
    for i, row in enumerate(rows):
        for c in range(len(theta)):
            out[i, c] = log_prior[c] - 0.5 * math.fsum(
                math.log(2 * math.pi * v) + (float(value) - t) ** 2 / v
                for value, t, v in zip(row, theta[c], var[c], strict=True)
            )
    return out
