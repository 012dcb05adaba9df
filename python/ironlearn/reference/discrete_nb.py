"""Multinomial, complement and Bernoulli naive Bayes in plain Python."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from ironlearn.reference._rows import Rows, dense_rows


def discrete_nb_counts(
    x: Rows,
    y: NDArray[np.uint32],
    sample_weight: NDArray[np.float64] | None,
    *,
    n_classes: int,
    threshold: float | None,
    non_negative: bool,
    n_threads: int,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return sums of weights, and of weighted features (or of presences), by class."""
    rows = dense_rows(x)
    width = x.shape[1] if isinstance(x, np.ndarray) else x[3]
    weights = [1.0] * len(rows) if sample_weight is None else [float(w) for w in sample_weight]
    class_count = np.zeros(n_classes)
    feature_count = np.zeros((n_classes, width))
    for i, (row, code, weight) in enumerate(zip(rows, y, weights, strict=True)):
        class_count[code] += weight
        for j, value in enumerate(row):
            if threshold is not None:
                value = float(value > threshold)
            elif non_negative and value < 0:
                raise ValueError(
                    f"X must be non-negative, got the negative value {value} in row {i}, "
                    f"column {j}."
                )
            feature_count[code, j] += weight * value
    return class_count, feature_count


def joint_log_likelihood(
    x: Rows,
    present: NDArray[np.float64],
    absent: NDArray[np.float64] | None,
    log_prior: NDArray[np.float64],
    threshold: float | None,
) -> NDArray[np.float64]:
    """Return ``log P(class) + log P(row | class)``; an absent feature times infinity is 0."""
    rows = dense_rows(x)
    out = np.empty((len(rows), len(present)))
    for i, row in enumerate(rows):
        for c in range(len(present)):
            terms = [float(log_prior[c])]
            for j, value in enumerate(row):
                if threshold is not None:
                    value = float(value > threshold)
                if value != 0:
                    terms.append(value * float(present[c, j]))
                if absent is not None and value != 1:
                    terms.append((1 - value) * float(absent[c, j]))
            out[i, c] = -math.inf if -math.inf in terms else math.fsum(terms)
    return out
