"""Scores of kernel machines on a GPU, by CuPy: two products of matrices for a block of rows.

The values of the kernel between the rows and all support vectors, times a table of coefficients
with one column a pair of classes.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ironlearn import _gpu


def _coefficients(n_support: NDArray[Any], dual_coef: NDArray[Any]) -> NDArray[np.float64]:
    """Return the factor of each support vector in the score of each pair of classes."""
    classes = len(n_support)
    factors = np.asarray(dual_coef).T
    if classes <= 2:
        return factors
    ends = np.concatenate([[0], np.cumsum(n_support)])
    parts = [slice(a, b) for a, b in itertools.pairwise(ends)]
    pairs = list(itertools.combinations(range(classes), 2))
    table = np.zeros((len(factors), len(pairs)))
    for column, (i, j) in enumerate(pairs):
        table[parts[i], column] = factors[parts[i], j - 1]
        table[parts[j], column] = factors[parts[j], i]
    return table


def _kernel(xp: Any, name: str, gamma: float, coef0: float, degree: int, x: Any, v: Any) -> Any:
    products = xp.matmul(x, v.T)
    if name == "linear":
        return products
    if name == "poly":
        return (gamma * products + coef0) ** degree
    if name == "sigmoid":
        return xp.tanh(gamma * products + coef0)
    squares = (x * x).sum(axis=1)[:, None] + (v * v).sum(axis=1)
    return xp.exp(-gamma * xp.maximum(squares - 2 * products, 0))


def pair_scores(xp: Any, model: Any, X: Any) -> Any:
    """Return the scores of the pairs of classes (n_samples, n_pairs), or of the regression.

    Above zero is for the first class of a pair.
    """
    vectors, _, n_support, dual_coef, intercept, name, gamma, coef0, degree, width = model.parts()
    if isinstance(vectors, tuple):
        from scipy import sparse

        vectors = sparse.csr_matrix(vectors[:3], shape=(dual_coef.shape[1], width)).toarray()
    dtype = X.dtype
    sent = xp.asarray(np.ascontiguousarray(vectors, dtype))
    table = xp.asarray(np.ascontiguousarray(_coefficients(n_support, dual_coef), dtype))
    shift = xp.asarray(np.ascontiguousarray(intercept, dtype))
    out = xp.empty((X.shape[0], table.shape[1]), dtype)
    for block in _gpu.blocks(X.shape[0], len(sent), dtype.itemsize):
        values = _kernel(xp, name, gamma, coef0, degree, X[block], sent)
        out[block] = xp.matmul(values, table) + shift
    return out


def _pairs(xp: Any, classes: int, dtype: Any) -> tuple[Any, Any]:
    """Return tables (n_pairs, n_classes) that mark the first and the second class of each pair."""
    first, second = zip(*itertools.combinations(range(classes), 2), strict=True)
    eye = np.eye(classes, dtype=dtype)
    return xp.asarray(eye[list(first)]), xp.asarray(eye[list(second)])


def combined(xp: Any, scores: Any, classes: int) -> Any:
    """Return votes of the pairs plus sums of their scores, squeezed below a third."""
    first, second = _pairs(xp, classes, scores.dtype)
    lost = (scores < 0).astype(scores.dtype)
    sums = xp.matmul(scores, first - second)
    votes = xp.matmul(1 - lost, first) + xp.matmul(lost, second)
    return votes + sums / (3 * (xp.abs(sums) + 1))


def class_codes(xp: Any, scores: Any, classes: int, break_ties: bool) -> Any:
    """Return the number of each row's class: most votes, the first among equals."""
    if break_ties and classes > 2:
        return combined(xp, scores, classes).argmax(axis=1)
    first, second = _pairs(xp, classes, scores.dtype)
    won = (scores > 0).astype(scores.dtype)
    return (xp.matmul(won, first) + xp.matmul(1 - won, second)).argmax(axis=1)
