"""Rows that live on a GPU: which estimators take them, and how they are looked at."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

#: Most bytes of a block of distances or kernel values.
BLOCK_BYTES = 256 << 20


def module_of(X: Any) -> Any:
    """Return CuPy where X is one of its arrays, else ``None``.

    Examples
    --------
    >>> module_of([[1.0, 2.0]]) is None
    True
    """
    if type(X).__module__.partition(".")[0] != "cupy":
        return None
    import cupy

    return cupy if isinstance(X, cupy.ndarray) else None


def refuse(estimator: Any, X: Any) -> None:
    """Raise TypeError for rows on a GPU, naming what takes them."""
    if module_of(X) is not None:
        raise TypeError(
            f"{type(estimator).__name__} takes X in main memory here, got a CuPy array: pass "
            "X.get(). CuPy arrays are taken by predict, transform and score of KMeans and "
            "MiniBatchKMeans, predict and decision_function of SVC and predict of SVR."
        )


def checked(estimator: Any, X: Any, xp: Any) -> Any:
    """Return rows on the GPU as the fitted `estimator` predicts from them.

    Parameters
    ----------
    estimator : estimator
        Fitted, with ``n_features_in_``.
    X : cupy.ndarray of shape (n_samples, n_features)
        Finite real numbers. float32 stays float32, anything else becomes float64.
    xp : module
        CuPy.

    Returns
    -------
    cupy.ndarray

    Raises
    ------
    ValueError
        X has another shape, no rows, or is not finite. To find that out is the one wait for the
        GPU.
    """
    check_is_fitted(estimator)
    name = type(estimator).__name__
    if X.ndim != 2:
        raise ValueError(f"Expected 2D array, got an array of shape {X.shape} instead.")
    if X.dtype.kind not in "fiub":
        raise ValueError(f"X must hold real numbers, got the dtype {X.dtype}.")
    if X.shape[0] == 0:
        raise ValueError(f"Found array with 0 sample(s) (shape={X.shape}) while {name} needs one.")
    if X.shape[1] != estimator.n_features_in_:
        raise ValueError(
            f"X has {X.shape[1]} features, but {name} is expecting {estimator.n_features_in_} "
            "features as input."
        )
    if X.dtype != np.float32:
        X = X.astype(np.float64)
    if not bool(xp.isfinite(X).all()):
        raise ValueError("Input X contains NaN or infinity.")
    return X


def blocks(n_rows: int, width: int, itemsize: int) -> Iterator[slice]:
    """Yield slices of rows so that a table of `width` numbers a row stays bounded.

    Examples
    --------
    >>> list(blocks(5, BLOCK_BYTES // 16, 8))
    [slice(0, 2, None), slice(2, 4, None), slice(4, 5, None)]
    """
    step = max(1, BLOCK_BYTES // max(1, width * itemsize))
    for start in range(0, n_rows, step):
        yield slice(start, min(n_rows, start + step))
