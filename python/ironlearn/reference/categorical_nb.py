"""Categorical naive Bayes in plain Python."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Counts = tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64]]


def categorical_nb_counts(
    x: NDArray[Any],
    y: NDArray[np.uint32],
    sample_weight: NDArray[np.float64] | None,
    *,
    n_classes: int,
    min_categories: NDArray[np.int64] | None,
    n_threads: int,
) -> Counts:
    """Return counts of classes, numbers of categories, and counts by feature and class."""
    weights = [1.0] * len(x) if sample_weight is None else [float(w) for w in sample_weight]
    class_count = [0.0] * n_classes
    for code, weight in zip(y, weights, strict=True):
        class_count[code] += weight
    categories = []
    cells: list[float] = []
    for j in range(x.shape[1]):
        column = [int(v) for v in x[:, j]]
        if min(column) < 0:
            raise ValueError(
                f"X must be category codes 0, 1, 2, ..., got the negative code {min(column)}."
            )
        n = max(column) + 1
        if min_categories is not None:
            n = max(n, int(min_categories[j]))
        matrix = [[0.0] * n for _ in range(n_classes)]
        for value, code, weight in zip(column, y, weights, strict=True):
            matrix[code][value] += weight
        categories.append(n)
        cells.extend(v for row in matrix for v in row)
    return np.array(class_count), np.array(categories, dtype=np.int64), np.array(cells)


def _matrices(counts: Counts) -> list[NDArray[np.float64]]:
    ends = np.cumsum(counts[1] * len(counts[0]))[:-1]
    return [part.reshape(len(counts[0]), -1) for part in np.split(counts[2], ends)]


def categorical_nb_merge(a: Counts, b: Counts) -> Counts:
    """Return the counts of two disjoint sets of rows together."""
    parts = []
    for left, right in zip(_matrices(a), _matrices(b), strict=True):
        total = np.zeros((len(a[0]), max(left.shape[1], right.shape[1])))
        total[:, : left.shape[1]] += left
        total[:, : right.shape[1]] += right
        parts.append(total.ravel())
    return a[0] + b[0], np.maximum(a[1], b[1]), np.concatenate(parts)


def joint_log_likelihood(
    x: NDArray[Any], counts: Counts, log_prior: NDArray[np.float64], alpha: float
) -> NDArray[np.float64]:
    """Return ``log P(class) + log P(row | class)``; unknown categories have a count of zero."""
    matrices = [matrix.tolist() for matrix in _matrices(counts)]
    out = np.empty((len(x), len(log_prior)))
    for i, row in enumerate(x):
        for c in range(len(log_prior)):
            total = 0.0
            for j, value in enumerate(row):
                mine = matrices[j][c]
                count = mine[value] if value < len(mine) else 0.0
                total += math.log(count + alpha) - math.log(sum(mine) + alpha * len(mine))
            out[i, c] = total + log_prior[c]
    return out
