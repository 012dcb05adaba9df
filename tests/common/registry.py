"""Every public estimator, ready to fit."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
from sklearn.datasets import load_digits

from ironlearn.base import TYPES

#: Settings that keep the contract tests quick.
QUICK: dict[str, dict[str, Any]] = {
    "RandomForestClassifier": {"n_estimators": 10},
    "RandomForestRegressor": {"n_estimators": 10},
    "ExtraTreesClassifier": {"n_estimators": 10},
    "ExtraTreesRegressor": {"n_estimators": 10},
    # Three passes without an improvement of 9: the training ends by its own rule, early.
    "MLPClassifier": {"hidden_layer_sizes": (8,), "tol": 9.0, "n_iter_no_change": 2},
    "MLPRegressor": {"hidden_layer_sizes": (8,), "tol": 9.0, "n_iter_no_change": 2},
    "KMeans": {"n_clusters": 3},
    "MiniBatchKMeans": {"n_clusters": 3},
    "BisectingKMeans": {"n_clusters": 3},
}

#: Further ones where an estimator must also learn something.
LEARNING: dict[str, dict[str, Any]] = {
    "MLPClassifier": {"tol": 1e-4, "max_iter": 100, "learning_rate_init": 0.01},
    "MLPRegressor": {"tol": 1e-4, "max_iter": 100, "learning_rate_init": 0.01},
}


def names() -> list[str]:
    """Return the type of every model file: each must be there."""
    return list(TYPES)


def make(name: str, **parameters: Any) -> Any:
    kind = getattr(importlib.import_module(TYPES[name]), name)
    settings = {**QUICK.get(name, {}), **parameters}
    if "random_state" in kind._get_param_names():
        settings.setdefault("random_state", 0)
    return kind(**settings)


def data(name: str, dtype: Any = np.float64) -> tuple[np.ndarray, np.ndarray]:
    """300 rows of digits, as the estimator takes them."""
    X, y = load_digits(return_X_y=True)
    X = X[:300]
    if name == "CategoricalNB":
        return X.astype(np.int64), y[:300]
    if name == "SVR":
        y = y / 2
    return np.ascontiguousarray(X / 16, dtype=dtype), y[:300]


def answers(name: str, estimator: Any, X: np.ndarray) -> list[np.ndarray]:
    """Everything that the fitted estimator says about X."""
    methods = ("predict", "predict_proba", "decision_function", "transform", "apply")
    return [np.asarray(getattr(estimator, m)(X)) for m in methods if hasattr(estimator, m)]
