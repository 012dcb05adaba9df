"""Categorical columns of a table: which they are, and their codes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ironlearn import _modelfile

#: Codes are small non-negative integers, exact in float32.
_MOST = 1 << 16


def is_frame(X: Any) -> bool:
    """Tell whether X is a data frame of pandas or Polars."""
    return hasattr(X, "iloc") or hasattr(X, "get_columns")


def column(X: Any, index: int) -> NDArray[Any]:
    """Return one column of a data frame or an array, missing values as NaN or ``None``."""
    if hasattr(X, "get_columns"):
        series = X.get_columns()[index]
        if series.dtype.is_numeric() or str(series.dtype) == "Boolean":
            # Nulls make an integer column a floating-point one.
            return np.asarray(series.to_numpy())
        return np.array(series.to_list(), dtype=object)
    if not hasattr(X, "iloc"):
        return np.asarray(X)[:, index]
    series = X.iloc[:, index]
    if isinstance(series.dtype, np.dtype):
        return np.asarray(series)
    # Categories, strings, and numbers of pandas' own types.
    return np.asarray(series.to_numpy(dtype=object, na_value=None))


def _dtype_is_categorical(dtype: Any) -> bool:
    return hasattr(dtype, "categories") or str(dtype).startswith(("Categorical", "Enum"))


def _missing(values: NDArray[Any]) -> NDArray[np.bool_]:
    if values.dtype.kind == "f":
        return np.isnan(values)
    if values.dtype.kind != "O":
        return np.zeros(len(values), dtype=bool)
    return np.array([v is None or v != v for v in values], dtype=bool)


def _numbers(cells: NDArray[Any], name: Any) -> NDArray[np.float32]:
    """Return a column that is not categorical as float32."""
    if cells.dtype.kind in "biuf":
        return cells.astype(np.float32)
    try:
        if cells.dtype.kind not in "OU":
            raise ValueError(f"its type is {cells.dtype}")
        return np.array([np.nan if v is None else float(v) for v in cells], dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"the column {name} holds values that are no numbers: name it in "
            f"categorical_features or encode it ({error})."
        ) from error


def _codes(known: NDArray[Any], cells: NDArray[Any]) -> NDArray[np.float32]:
    """Return the index of each cell among the sorted `known`, NaN where it is not there."""
    numeric = known.dtype.kind in "biuf" and cells.dtype.kind in "biuf"
    if len(known) and (numeric or known.dtype.kind == cells.dtype.kind == "U"):
        place = np.searchsorted(known, cells).clip(max=len(known) - 1)
        return np.where(known[place] == cells, place, np.nan).astype(np.float32)
    index = {value: float(i) for i, value in enumerate(known.tolist())}
    return np.array([index.get(cell, np.nan) for cell in cells.tolist()], dtype=np.float32)


class Categories:
    """The categories of each categorical column.

    Parameters
    ----------
    values : dict of int to ndarray
        Sorted categories of each categorical column.
    features : int
        Number of columns.
    """

    def __init__(self, values: dict[int, NDArray[Any]], features: int) -> None:
        self.values = values
        self.features = features

    @classmethod
    def learn(cls, X: Any, chosen: Any, names: NDArray[Any] | None) -> Categories:
        """Find the categories of the `chosen` columns of X."""
        frame = is_frame(X)
        features = X.shape[1] if hasattr(X, "shape") else np.asarray(X, dtype=object).shape[1]
        if isinstance(chosen, str):
            if not frame:
                raise ValueError(
                    f"categorical_features='from_dtype' needs a data frame, got {type(X).__name__}."
                )
            indices = [j for j, d in enumerate(X.dtypes) if _dtype_is_categorical(d)]
        else:
            indices = _indices(np.asarray(chosen), features, names)
        values = {}
        for j in indices:
            cells = column(X, j)
            known = cells[~_missing(cells)]
            try:
                found = np.unique(known)
            except TypeError as error:
                raise ValueError(
                    f"the categorical column {j} mixes types that have no common order: {error}"
                ) from error
            if len(found) > _MOST:
                raise ValueError(
                    f"the categorical column {j} has {len(found)} categories; at most {_MOST} "
                    "are accepted."
                )
            # Numbers in a column of objects are numbers: a model file can hold them.
            numbers = found.dtype.kind == "O" and np.array(found.tolist()).dtype.kind in "biuf"
            values[j] = np.array(found.tolist()) if numbers and len(found) else found
        return cls(values, features)

    def encode(self, X: Any) -> NDArray[np.float32]:
        """Return X as float32 with codes in the categorical columns.

        A missing or unseen category becomes NaN: the tree treats it as a missing value.
        """
        rows = X.shape[0] if hasattr(X, "shape") else len(X)
        names = getattr(X, "columns", range(self.features))
        if not is_frame(X):
            X = np.asarray(X)
        out = np.empty((rows, self.features), dtype=np.float32)
        for j in range(self.features):
            cells = column(X, j)
            known = self.values.get(j)
            if known is None:
                out[:, j] = _numbers(cells, repr(names[j]))
                continue
            present = ~_missing(cells)
            codes = np.full(rows, np.nan, dtype=np.float32)
            codes[present] = _codes(known, cells[present])
            out[:, j] = codes
        return out

    @property
    def mask(self) -> NDArray[np.bool_]:
        """Which columns are categorical."""
        mask = np.zeros(self.features, dtype=bool)
        mask[list(self.values)] = True
        return mask

    def pack(self, tensors: _modelfile.Tensors) -> list[Any]:
        """Store the categories in `tensors`; return their description."""
        return [
            [int(j), _modelfile.pack_values(f"categories.{j}", values, tensors)]
            for j, values in self.values.items()
        ]

    @classmethod
    def unpack(cls, described: Any, features: int, tensors: _modelfile.Tensors) -> Categories:
        """Return what `pack` stored."""
        values = {
            int(j): _modelfile.unpack_values(f"categories.{j}", d, tensors) for j, d in described
        }
        if any(not 0 <= j < features for j in values):
            raise ValueError("a categorical column is outside the features")
        return cls(values, features)


def _indices(chosen: NDArray[Any], features: int, names: NDArray[Any] | None) -> list[int]:
    if chosen.dtype.kind == "b":
        if chosen.shape != (features,):
            raise ValueError(
                f"categorical_features is a mask of shape {chosen.shape}, but X has {features} "
                "features."
            )
        return [int(j) for j in np.flatnonzero(chosen)]
    if chosen.dtype.kind in "iu":
        if chosen.size and not (0 <= chosen.min() and chosen.max() < features):
            raise ValueError(
                f"categorical_features names the columns {chosen.tolist()}, but X has {features} "
                "features: indices from 0 are accepted."
            )
        return sorted({int(j) for j in chosen})
    if chosen.dtype.kind in "UO" and names is not None:
        known = [str(n) for n in names]
        absent = [str(c) for c in chosen if str(c) not in known]
        if absent:
            raise ValueError(f"categorical_features names {absent}, which X does not have.")
        return sorted(known.index(str(c)) for c in chosen)
    if chosen.size == 0:
        return []
    raise ValueError(
        "categorical_features must be a mask, indices, or names of a data frame's columns; got "
        f"{chosen!r}."
    )
