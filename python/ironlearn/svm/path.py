"""Linear support vector machines for several values of C."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

import numpy as np
from sklearn.base import clone

from ironlearn.svm.linear import LinearSVC
from ironlearn.svm.linear_svr import LinearSVR

_Model = TypeVar("_Model", LinearSVC, LinearSVR)


def linear_svm_path(
    estimator: _Model, X: Any, y: Any, Cs: Iterable[float], *, sample_weight: Any = None
) -> list[_Model]:
    """Fit a linear model for each of several values of `C`, each from the one before.

    From the smallest to the largest, a fit begins where the last one ended: at its weights
    and, for the dual solvers, at the best multiple of its dual variables. The optimum is that
    of a fit from nothing [1]_.

    Parameters
    ----------
    estimator : LinearSVC or LinearSVR
        All parameters but `C`. It is not changed.
    X : array-like or sparse matrix of shape (n_samples, n_features)
        Finite numbers.
    y : array-like of shape (n_samples,)
        Class labels or targets.
    Cs : iterable of float
        Values of `C`, positive, in any order.
    sample_weight : array-like of shape (n_samples,), default=None
        Non-negative factors of C for the rows.

    Returns
    -------
    models : list of LinearSVC or LinearSVR
        One fitted estimator for each of `Cs`, in their order.

    References
    ----------
    .. [1] Chu, Ho, Tsai, Lin and Lin, "Warm start for parameter selection of linear
       classifiers", KDD 2015.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from ironlearn.svm import LinearSVC, linear_svm_path
    >>> X, y = load_iris(return_X_y=True)
    >>> models = linear_svm_path(LinearSVC(random_state=0), X, y, [0.01, 1.0, 100.0])
    >>> [round(model.score(X, y), 2) for model in models]
    [0.81, 0.97, 0.97]
    """
    if not isinstance(estimator, LinearSVC | LinearSVR):
        raise TypeError(
            f"estimator must be a LinearSVC or a LinearSVR, got a {type(estimator).__name__}."
        )
    values = np.asarray(list(Cs), dtype=np.float64)
    if values.ndim != 1 or not len(values):
        raise ValueError(f"Cs must be a list of at least one number, got shape {values.shape}.")
    if not (np.isfinite(values) & (values > 0)).all():
        raise ValueError(f"Cs must be positive and finite, got {values.tolist()}.")
    models: list[_Model] = [clone(estimator) for _ in values]
    last: _Model | None = None
    for k in np.argsort(values, kind="stable"):
        model = models[k].set_params(C=float(values[k]), warm_start=True)
        if last is not None:
            model._model, model._duals = last._model, last._duals
        model.fit(X, y, sample_weight)
        last = model
    for model in models:
        model.set_params(warm_start=estimator.warm_start)
        if not estimator.warm_start:
            del model._duals
    return models
