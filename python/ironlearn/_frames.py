"""Data frames as input: scikit-learn's validation, with errors that name the column.

pandas, Polars and PyArrow tables are taken; none of them is imported here.
"""

from __future__ import annotations

import numbers
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import validation

from ironlearn import _gpu


def columns_of(X: Any) -> list[Any] | None:
    """Return the names of a data frame's columns, or ``None`` if X is none."""
    if hasattr(X, "iloc") and getattr(X, "ndim", 0) == 2:
        return list(X.columns)
    if hasattr(X, "get_columns") and hasattr(X, "columns"):
        return list(X.columns)
    if hasattr(X, "column_names") and hasattr(X, "itercolumns"):
        return list(X.column_names)
    return None


def _cells(X: Any) -> Iterator[tuple[Any, NDArray[Any]]]:
    """Yield the name and the cells of each column."""
    names = columns_of(X) or []
    for j, name in enumerate(names):
        if hasattr(X, "iloc"):
            yield name, np.asarray(X.iloc[:, j])
        elif hasattr(X, "get_columns"):
            yield name, np.asarray(X.get_columns()[j])
        else:
            yield name, np.asarray(X.column(j))


def refuse_lazy(X: Any) -> None:
    """Raise TypeError for a frame that nothing has computed yet."""
    if hasattr(X, "collect") and hasattr(X, "collect_schema"):
        raise TypeError(
            f"X is a {type(X).__name__}, which holds a query and no data: pass X.collect()."
        )


def validate_data(estimator: Any, X: Any, **settings: Any) -> Any:
    """Return ``sklearn.utils.validation.validate_data(estimator, X, **settings)``.

    Errors about a data frame's contents name the column and the row.

    Raises
    ------
    ValueError
        What scikit-learn refuses; and, unless the estimator takes missing values, a data frame
        that has some, even where the check of arrays is left to native code.
    TypeError
        X is lazy: nothing has computed it; or X is on a GPU.
    """
    refuse_lazy(X)
    _gpu.refuse(estimator, X)
    if type(X).__name__ == "RecordBatch":
        X = _table_of(X)
    if not settings.get("accept_sparse") and _has_sparse_columns(X):
        X = X.sparse.to_dense()
    if settings.get("skip_check_array") or columns_of(X) is None:
        return validation.validate_data(estimator, X, **settings)
    try:
        checked = validation.validate_data(estimator, X, **settings)
    except (TypeError, ValueError) as error:
        complaint = _complaint(X)
        if complaint is None:
            complaint = _not_finite(estimator, X, _numeric_cells(X))
        if complaint is None or str(error).startswith("The feature names"):
            raise
        raise ValueError(complaint) from error
    if isinstance(checked, np.ndarray) and checked.dtype.kind == "f":
        # One pass; frames were copied anyway.
        with np.errstate(all="ignore"):
            suspicious = not np.isfinite(checked.sum())
        if suspicious:
            complaint = _not_finite(estimator, X, zip(columns_of(X) or [], checked.T, strict=True))
            if complaint is not None:
                raise ValueError(complaint)
    return checked


def _has_sparse_columns(X: Any) -> bool:
    """Tell whether all columns of X are pandas' sparse ones."""
    if not hasattr(X, "iloc") or getattr(X, "ndim", 0) != 2 or X.shape[1] == 0:
        return False
    return all(hasattr(dtype, "fill_value") for dtype in X.dtypes)


def _table_of(X: Any) -> Any:
    """Return a PyArrow record batch as a table."""
    import pyarrow

    return pyarrow.Table.from_batches([X]) if isinstance(X, pyarrow.RecordBatch) else X


def _numeric_cells(X: Any) -> Iterator[tuple[Any, NDArray[Any]]]:
    for name, cells in _cells(X):
        if cells.dtype.kind == "O":
            cells = np.array([np.nan if _is_missing(cell) else float(cell) for cell in cells])
        if cells.dtype.kind == "f":
            yield name, cells


def _complaint(X: Any) -> str | None:
    """Return which column is not numeric, and why; ``None`` if all are."""
    for name, cells in _cells(X):
        kind = cells.dtype.kind
        if kind in "mM":
            return (
                f"column {name!r} of X holds dates or times ({cells.dtype}); numbers are needed: "
                "derive some, such as the year, the month or a difference in days."
            )
        if kind == "c":
            # The first words are scikit-learn's.
            return f"Complex data not supported: column {name!r} of X holds {cells.dtype}."
        if kind not in "OUST":
            continue
        for row, cell in enumerate(cells.tolist()):
            if _is_number(cell):
                continue
            if _is_missing(cell):
                if cell is None or isinstance(cell, float):
                    continue
                return (
                    f"column {name!r} of X has the type object and holds {cell!r} in row {row}: "
                    "convert it to numbers first, in pandas by convert_dtypes() or to_numeric()."
                )
            return (
                f"column {name!r} of X holds {cell!r} ({type(cell).__name__}) in row {row}; "
                "numbers are needed: encode the column, for example by OneHotEncoder or "
                "OrdinalEncoder in a ColumnTransformer, or leave it out."
            )
    return None


def _is_number(cell: Any) -> bool:
    if isinstance(cell, numbers.Number):
        return not _is_missing(cell)
    if isinstance(cell, str | bytes):
        try:
            float(cell)
        except ValueError:
            return False
        return True
    return False


def _is_missing(cell: Any) -> bool:
    if cell is None or type(cell).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(cell, float | np.floating) and cell != cell


def _not_finite(estimator: Any, X: Any, columns: Iterator[tuple[Any, NDArray[Any]]]) -> str | None:
    """Return which column has missing or infinite values that the estimator does not take."""
    owner = type(estimator).__name__
    for name, values in columns:
        missing = np.isnan(values)
        if missing.any() and not estimator._allow_nan:
            return (
                f"Input X contains NaN: column {name!r} has {int(missing.sum())} missing value(s), "
                f"the first in row {int(missing.argmax())}. {owner} takes none: fill them, for "
                "example by SimpleImputer, or leave the rows out."
            )
        infinite = np.isinf(values)
        if infinite.any():
            return (
                "Input X contains infinity or a value too large for its dtype: column "
                f"{name!r}, row {int(infinite.argmax())}."
            )
    return None
