"""Checks of a target: what can be learned as classes, and what not."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ironlearn._table.columns import is_missing
from ironlearn.exceptions import DataError


def check_target(
    y: Any, *, name: str = "y", folds: int | None = None, min_classes: int = 2
) -> NDArray[Any]:
    """Return class labels as integers, booleans or strings.

    Parameters
    ----------
    y : array-like of shape (n_samples,)
        Class labels; floats that are whole numbers count as integers.
    name : str, default="y"
        What error messages call the target.
    folds : int, default=None
        The number of rows that each class needs.
    min_classes : int, default=2
        The number of classes that there must be.

    Returns
    -------
    ndarray of shape (n_samples,)
        Of an integer, boolean or string dtype.

    Raises
    ------
    DataError
        A label is missing, there is one class only, a class has fewer rows than `folds`, or
        the target is a continuous quantity, a date or of mixed types.

    Examples
    --------
    >>> from ironlearn.io import check_target
    >>> check_target([1.0, 2.0, 1.0])
    array([1, 2, 1])
    """
    values = np.asarray(y)
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim != 1:
        raise DataError(f"the target {name!r} must have one dimension, got shape {values.shape}.")
    if not len(values):
        raise DataError(f"the target {name!r} has no rows.")
    labels = _labels(name, values)
    classes, counts = np.unique(labels, return_counts=True)
    if len(classes) < min_classes:
        raise DataError(
            f"the target {name!r} has one class only ({classes[0].item()!r}); at least two are "
            "needed."
        )
    if folds is not None and counts.min() < folds:
        rare = [
            f"{c!r} ({n} row{'s' if n > 1 else ''})"
            for c, n in zip(classes.tolist(), counts.tolist(), strict=True)
            if n < folds
        ]
        listed = ", ".join(rare[:5]) + (f" and {len(rare) - 5} more" if len(rare) > 5 else "")
        hint = (
            "; it looks like a quantity, and regression is not offered"
            if labels.dtype.kind in "iu" and len(classes) > max(20, len(labels) // 20)
            else f"; use fewer folds than {folds} or leave those rows out"
        )
        raise DataError(
            f"the target {name!r} has classes with fewer rows than the {folds} folds: "
            f"{listed}{hint}."
        )
    return labels


def _labels(name: str, values: NDArray[Any]) -> NDArray[Any]:
    kind = values.dtype.kind
    if kind in "biu":
        return values
    if kind == "f":
        return _whole(name, values)
    if kind in "UT":
        texts = [str(v) for v in values.tolist()]
        return _texts(name, texts)
    if kind == "O":
        items = values.tolist()
        _refuse_missing(name, np.array([is_missing(v) for v in items], dtype=bool))
        if all(isinstance(v, bool | np.bool_) for v in items):
            return np.array(items, dtype=bool)
        if all(isinstance(v, int | float | np.number) for v in items):
            return _labels(name, np.array(items))
        if all(isinstance(v, str) for v in items):
            return _texts(name, items)
        types = sorted({type(v).__name__ for v in items})
        raise DataError(
            f"the target {name!r} holds values of type {', '.join(types)}; accepted are integers, "
            "booleans or texts."
        )
    raise DataError(
        f"the target {name!r} has the dtype {values.dtype}; accepted are integers, booleans or "
        "texts."
    )


def _whole(name: str, values: NDArray[Any]) -> NDArray[Any]:
    _refuse_missing(name, np.isnan(values))
    if not np.isfinite(values).all():
        raise DataError(f"the target {name!r} holds infinity.")
    fractional = values != np.floor(values)
    if fractional.any():
        row = int(fractional.argmax())
        raise DataError(
            f"the target {name!r} is continuous ({values[row]} in row {row}); only classes can be "
            "learned, regression is not offered."
        )
    if np.abs(values).max() >= 2**53:
        raise DataError(f"the target {name!r} holds numbers too large to be class labels.")
    return values.astype(np.int64)


def _texts(name: str, texts: list[str]) -> NDArray[Any]:
    _refuse_missing(name, np.array([not v.strip() for v in texts], dtype=bool))
    return np.array(texts, dtype=np.str_)


def _refuse_missing(name: str, missing: NDArray[np.bool_]) -> None:
    if missing.any():
        count = int(missing.sum())
        raise DataError(
            f"the target {name!r} is missing in {count} of {len(missing)} rows (first: row "
            f"{int(missing.argmax())}); remove those rows or fill them."
        )
