"""The objective of a linear classifier, straight from its definition."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse
from sklearn.utils.class_weight import compute_class_weight


def objective(model: Any, X: Any, y: np.ndarray, sample_weight: np.ndarray | None = None) -> float:
    """The objective that the model's weights reach, straight from its definition."""
    if sparse.issparse(X):
        X = X.toarray()
    X = np.asarray(X, dtype=np.float64)
    coef, intercept = np.asarray(model.coef_), np.atleast_1d(model.intercept_)
    labels, codes = np.unique(y, return_inverse=True)
    weight = np.ones(len(labels))
    if model.class_weight is not None:
        weight = compute_class_weight(
            model.class_weight, classes=labels, y=y, sample_weight=sample_weight
        )
    cost = model.C * (np.ones(len(y)) if sample_weight is None else sample_weight)
    scores = X @ coef.T + intercept
    extended = coef
    if model.fit_intercept:
        extended = np.column_stack([coef, intercept / model.intercept_scaling])
    ridge = 0.5 * np.sum(extended**2)
    if model.multi_class == "crammer_singer":
        if len(labels) == 2:
            # Two weight vectors w and -w, of which the difference is told.
            ridge, scores = ridge / 2, np.column_stack([-scores / 2, scores / 2])
        own = scores[np.arange(len(y)), codes]
        errors = 1 + scores - own[:, None]
        errors[np.arange(len(y)), codes] = 0
        return float(ridge + np.sum(cost * weight[codes] * errors.max(axis=1)))
    if len(labels) == 2:
        signs = np.where(codes == 1, 1.0, -1.0)[:, None]
        costs = (cost * weight[codes])[:, None]
    else:
        positive = codes[:, None] == np.arange(len(labels))
        signs = np.where(positive, 1.0, -1.0)
        costs = cost[:, None] * np.where(positive, weight, 1.0)
    slack = np.maximum(0, 1 - signs * scores)
    loss = np.sum(costs * (slack if model.loss == "hinge" else slack**2))
    return float(loss + (np.abs(extended).sum() if model.penalty == "l1" else ridge))


def regression_objective(
    model: Any, X: Any, y: np.ndarray, sample_weight: np.ndarray | None = None
) -> float:
    """The objective that a regressor's weights reach, straight from its definition."""
    coef, intercept = np.asarray(model.coef_), float(np.ravel(model.intercept_)[0])
    cost = model.C * (np.ones(len(y)) if sample_weight is None else sample_weight)
    excess = np.maximum(0, np.abs(y - X @ coef - intercept) - model.epsilon)
    ridge = coef @ coef + (intercept / model.intercept_scaling) ** 2
    return float(0.5 * ridge + cost @ (excess if model.loss[0] == "e" else excess**2))


def sparse_objective(model: Any, X: Any, y: np.ndarray) -> float:
    """`objective` of equal weights for rows too wide to be made dense."""
    coef, intercept = np.asarray(model.coef_), np.atleast_1d(model.intercept_)
    codes = np.unique(y, return_inverse=True)[1]
    scores = X @ coef.T + intercept
    extended = np.column_stack([coef, intercept / model.intercept_scaling])
    ridge = 0.5 * np.sum(extended**2)
    two = scores.shape[1] == 1
    if model.multi_class == "crammer_singer":
        if two:
            ridge, scores = ridge / 2, np.column_stack([-scores / 2, scores / 2])
        rows = np.arange(len(y))
        errors = 1 + scores - scores[rows, codes][:, None]
        errors[rows, codes] = 0
        return float(ridge + model.C * errors.max(axis=1).sum())
    own = codes[:, None] == (1 if two else np.arange(scores.shape[1]))
    slack = np.maximum(0, 1 - np.where(own, 1, -1) * scores)
    loss = model.C * np.sum(slack if model.loss == "hinge" else slack**2)
    return float(loss + (np.abs(extended).sum() if model.penalty == "l1" else ridge))
