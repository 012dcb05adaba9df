"""Checks of a target: classes or a quantity, and what can be learned as neither."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ironlearn._table.columns import is_missing
from ironlearn.exceptions import DataError, InvalidParameterError

#: What a target can be learned as; "auto" decides by its values.
TASKS = ("auto", "classification", "regression")


#: Whole numbers of up to that many different values are taken as classes.
_MANY = 20
#: Quantities up to that size have squares that can be summed.
_LARGEST = 1e145


def recognise_task(y: Any, *, name: str = "y", task: str = "auto") -> tuple[str, str]:
    """Tell whether a target is learned as classes or as a quantity.

    Texts and booleans are classes. Numbers are a quantity where one of them is not whole, or
    where they have many different values (more than 20, and more than one in 20 rows) of
    which some occur only once.

    Parameters
    ----------
    y : array-like of shape (n_samples,)
        The target.
    name : str, default="y"
        What error messages call the target.
    task : {"auto", "classification", "regression"}, default="auto"
        "auto" decides by the values; another is what it says.

    Returns
    -------
    task : {"classification", "regression"}
        What the target is learned as.
    reason : str
        Why, in a few words.

    Raises
    ------
    InvalidParameterError
        `task` is none of the three.
    DataError
        The target is missing or infinite in some rows.

    Examples
    --------
    >>> from ironlearn.io import recognise_task
    >>> recognise_task([1.5, 2.0, 2.5])
    ('regression', 'numbers that are not whole')
    >>> recognise_task(["a", "b"])
    ('classification', 'texts')
    """
    if task not in TASKS:
        raise InvalidParameterError(f"task must be one of {', '.join(TASKS)}, got {task!r}.")
    if task != "auto":
        return task, "as chosen"
    numbers = _numbers(name, _vector(name, y))
    if numbers is None:
        kind = np.asarray(y).dtype.kind
        return "classification", "booleans" if kind == "b" else "texts"
    if not np.isfinite(numbers).all():
        raise DataError(f"the target {name!r} holds infinity.")
    if (numbers != np.floor(numbers)).any():
        return "regression", "numbers that are not whole"
    values, counts = np.unique(numbers, return_counts=True)
    many = f"{len(values)} different whole number{'s' if len(values) != 1 else ''}"
    if len(values) > max(_MANY, len(numbers) // _MANY) and counts.min() == 1:
        return "regression", many
    return "classification", many


def check_quantity(
    y: Any, *, name: str = "y", folds: int | None = None, min_values: int = 2
) -> NDArray[np.float64]:
    """Return a target of regression as floats.

    Parameters
    ----------
    y : array-like of shape (n_samples,)
        Numbers.
    name : str, default="y"
        What error messages call the target.
    folds : int, default=None
        Each of that many folds needs two rows.
    min_values : int, default=2
        The number of different values that there must be.

    Returns
    -------
    ndarray of shape (n_samples,)
        The numbers as float64.

    Raises
    ------
    DataError
        A value is missing, infinite or no number, all are the same, or there are too few.

    Examples
    --------
    >>> from ironlearn.io import check_quantity
    >>> check_quantity([1, 2, 4])
    array([1., 2., 4.])
    """
    values = _vector(name, y)
    numbers = None if values.dtype.kind == "b" else _numbers(name, values)
    if numbers is None:
        what = "booleans" if values.dtype.kind == "b" else f"{_first(values)!r}"
        raise DataError(
            f"the target {name!r} holds {what}; regression needs numbers (else the task is "
            "classification)."
        )
    infinite = ~np.isfinite(numbers)
    if infinite.any():
        row = int(infinite.argmax())
        raise DataError(
            f"the target {name!r} holds {numbers[row]} in row {row}; regression needs finite "
            "numbers."
        )
    if np.abs(numbers).max() > _LARGEST:
        raise DataError(
            f"the target {name!r} holds {np.abs(numbers).max()}; squares of its errors would "
            "overflow, so divide it by a constant."
        )
    if min_values > 1 and (numbers == numbers[0]).all():
        raise DataError(
            f"the target {name!r} has one value only ({numbers[0]}); there is nothing to learn."
        )
    if folds is not None and len(numbers) < 2 * folds:
        raise DataError(
            f"the target {name!r} has {len(numbers)} rows, but each of {folds} folds needs two; "
            "use fewer folds."
        )
    return numbers


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
    labels = _labels(name, _vector(name, y))
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
            "; if it is a quantity, choose the task regression"
            if labels.dtype.kind in "iu" and len(classes) > _MANY
            else f"; use fewer folds than {folds} or leave those rows out"
        )
        raise DataError(
            f"the target {name!r} has classes with fewer rows than the {folds} folds: "
            f"{listed}{hint}."
        )
    return labels


def _vector(name: str, y: Any) -> NDArray[Any]:
    values = np.asarray(y)
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim != 1:
        raise DataError(f"the target {name!r} must have one dimension, got shape {values.shape}.")
    if not len(values):
        raise DataError(f"the target {name!r} has no rows.")
    return values


def _numbers(name: str, values: NDArray[Any]) -> NDArray[np.float64] | None:
    """Return a target of numbers as floats, or ``None`` where it holds something else."""
    kind = values.dtype.kind
    if kind == "O":
        items = values.tolist()
        _refuse_missing(name, np.array([is_missing(v) for v in items], dtype=bool))
        types = {type(v).__name__ for v in items}
        if not all(
            isinstance(v, int | float | np.number | Decimal) and not isinstance(v, bool)
            for v in items
        ):
            return None
        try:
            return np.array(items, dtype=np.float64)
        except (TypeError, OverflowError):
            raise DataError(
                f"the target {name!r} holds values of type {', '.join(sorted(types))} that are "
                "no real numbers of double precision."
            ) from None
    if kind not in "iuf":
        return None
    numbers = values.astype(np.float64)
    _refuse_missing(name, np.isnan(numbers))
    return numbers


def _first(values: NDArray[Any]) -> Any:
    """Return the first value that is no number."""
    items = values.tolist()
    return next((v for v in items if not isinstance(v, int | float)), items[0])


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
            f"the target {name!r} is continuous ({values[row]} in row {row}) and has no classes; "
            "it needs the task regression."
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
