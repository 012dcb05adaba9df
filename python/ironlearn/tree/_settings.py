"""Settings that trees and forests share: accepted values and what they resolve to."""

from __future__ import annotations

import math
import numbers
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ironlearn._parameters import (
    ARRAY_LIKE,
    MAPPING,
    MAPPINGS,
    N_JOBS,
    NONE,
    RANDOM_STATE,
    Table,
    fraction,
    integer,
    options,
    real,
)

TABLE: Table = {
    "criterion": (options("gini", "entropy", "log_loss"),),
    "max_depth": (integer(1), NONE),
    "min_samples_split": (integer(2), fraction()),
    "min_samples_leaf": (integer(1), fraction(closed="neither")),
    "min_weight_fraction_leaf": (real(0.0, 0.5),),
    "max_features": (integer(1), fraction(), real(1.0, 1.0), options("sqrt", "log2"), NONE),
    "max_leaf_nodes": (integer(2), NONE),
    "min_impurity_decrease": (real(0.0),),
    "random_state": RANDOM_STATE,
    "ccp_alpha": (real(0.0),),
    "monotonic_cst": (ARRAY_LIKE, NONE),
    "categorical_features": (ARRAY_LIKE, options("from_dtype"), NONE),
    "max_bins": (integer(2, 255), NONE),
    "n_jobs": N_JOBS,
}

#: What a tree of numbers may lower.
REGRESSION = {
    "criterion": (options("squared_error", "friedman_mse", "absolute_error", "poisson"),),
}

#: Names that mean the same.
_SAME = {"log_loss": "entropy", "friedman_mse": "squared_error"}

CLASS_WEIGHT = (MAPPING, MAPPINGS, options("balanced"), NONE)


def resolve(
    estimator: Any,
    rows: int,
    features: int,
    n_classes: int | list[int] | None,
    total_weight: float,
    n_outputs: int = 1,
) -> dict[str, Any]:
    """Return the native functions' settings for data of this size.

    `n_classes` is that of the only output, a list of those of several, or ``None`` for numbers.
    """
    leaf = estimator.min_samples_leaf
    if not isinstance(leaf, numbers.Integral):
        leaf = math.ceil(leaf * rows)
    split = estimator.min_samples_split
    if not isinstance(split, numbers.Integral):
        split = max(2, math.ceil(split * rows))
    depth, leaves, bins = estimator.max_depth, estimator.max_leaf_nodes, estimator.max_bins
    return {
        "criterion": _SAME.get(estimator.criterion, estimator.criterion),
        "max_depth": -1 if depth is None else int(depth),
        "min_samples_split": max(int(split), 2 * int(leaf)),
        "min_samples_leaf": int(leaf),
        "min_weight_leaf": float(estimator.min_weight_fraction_leaf) * total_weight,
        "max_features": drawn_features(estimator.max_features, features),
        "max_leaf_nodes": -1 if leaves is None else int(leaves),
        "min_impurity_decrease": float(estimator.min_impurity_decrease),
        "max_bins": 0 if bins is None else int(bins),
        "monotonic": monotonic(
            estimator.monotonic_cst, features, 1 if n_classes is None else n_classes, n_outputs
        ),
    }


def drawn_features(max_features: Any, features: int) -> int:
    """Return how many features each split draws."""
    if max_features is None:
        return features
    if max_features == "sqrt":
        return max(1, int(math.sqrt(features)))
    if max_features == "log2":
        return max(1, int(math.log2(features)))
    if isinstance(max_features, numbers.Integral):
        return min(int(max_features), features)
    return max(1, int(max_features * features))


def monotonic(
    given: Any, features: int, n_classes: int | list[int], n_outputs: int = 1
) -> NDArray[np.int8] | None:
    """Return the checked constraints, or ``None`` where nothing is constrained."""
    if given is None:
        return None
    if not isinstance(n_classes, int) or n_outputs > 1:
        raise ValueError("Monotonicity constraints are not supported with multiple outputs.")
    constraints = np.asarray(given)
    if constraints.shape != (features,):
        raise ValueError(
            f"monotonic_cst has shape {constraints.shape} but the input data X has {features} "
            "features."
        )
    if not np.isin(constraints, (-1, 0, 1)).all():
        raise ValueError(
            f"monotonic_cst must be None or an array-like of -1, 0 or 1, but got {given!r}"
        )
    if n_classes > 2:
        raise ValueError(
            f"Monotonicity constraints are not supported with multiclass classification: y has "
            f"{n_classes} classes, 2 are accepted."
        )
    return constraints.astype(np.int8) if constraints.any() else None
