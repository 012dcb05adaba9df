"""Category codes of tables: numbers are codes, every other column has a vocabulary.

A vocabulary is the sorted vector of a column's values; a value's code is its place there.
Nothing here needs scikit-learn, so that models can be served without it.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ironlearn import _modelfile

Codes = NDArray[np.int64]
_EXACT = float(1 << 53)


def is_table(X: Any) -> bool:
    """Return whether X has columns that are not plain numbers."""
    if hasattr(X, "iloc") and hasattr(X, "dtypes"):
        return any(not _is_numeric(dtype) for dtype in X.dtypes)
    dtype = getattr(X, "dtype", None)
    return isinstance(dtype, np.dtype) and not _is_numeric(dtype)


def _is_numeric(dtype: Any) -> bool:
    return isinstance(dtype, np.dtype) and dtype.kind in "biufc"


def as_rows(X: Any) -> Any:
    """Return X if it is an array or a table, else the array that it stands for.

    Cells of lists keep their types: NumPy alone would turn ``["a", 1]`` into strings.
    """
    if hasattr(X, "dtype") or hasattr(X, "iloc"):
        return X
    array = np.asarray(X)
    return np.asarray(X, dtype=object) if array.dtype.kind in "USO" else array


def whole_numbers(values: NDArray[Any], name: str = "X") -> Codes:
    """Return floats as integers.

    Raises
    ------
    ValueError
        A number is not whole, not finite, or too large to be exact.
    """
    bad = values[~(np.isfinite(values) & (np.abs(values) < _EXACT))]
    if bad.size:
        what = "NaN" if np.isnan(bad[0]) else "infinity or a value too large for a category code"
        raise ValueError(f"Input {name} contains {what}.")
    codes = values.astype(np.int64)
    wrong = values[codes != values]
    if wrong.size:
        raise ValueError(
            f"{name} holds {wrong.flat[0]}, which is not a whole number: categories are counted in "
            "each class, so only codes 0, 1, 2, ... and strings are accepted. Bin or round "
            "continuous features first."
        )
    return codes


def _column(X: Any, j: int) -> Any:
    return X.iloc[:, j] if hasattr(X, "iloc") else X[:, j]


def _split(column: Any, name: str) -> tuple[Codes, NDArray[Any] | None]:
    """Return a column's codes and its vocabulary (``None`` where numbers are codes)."""
    categories = getattr(column.dtype, "categories", None)
    if categories is not None:
        return _split_categorical(column, name)
    cells = np.asarray(column)
    kind = cells.dtype.kind
    if kind in "biu":
        return cells.astype(np.int64), None
    if kind == "f":
        return whole_numbers(cells, name), None
    if kind not in "OUST":
        raise ValueError(
            f"{name} has the dtype {column.dtype}; numbers, strings, objects and categoricals "
            "are accepted."
        )
    items = cells.astype(np.str_).tolist() if kind == "S" else cells.tolist()
    return _split_objects(items, name)


def _split_objects(items: list[Any], name: str) -> tuple[Codes, NDArray[Any] | None]:
    kinds = set(map(type, items))
    if kinds <= {str}:
        words = sorted(set(items))
        places = {word: i for i, word in enumerate(words)}
        codes = np.fromiter(map(places.__getitem__, items), np.int64, len(items))
        return codes, np.array(words, dtype=object)
    for row, item in enumerate(items):
        if _is_missing(item):
            raise _missing(name, row)
    numbers = tuple(k for k in kinds if issubclass(k, bool | int | float | np.number | np.bool_))
    if len(numbers) == len(kinds):
        array = np.array(items)
        if array.dtype.kind == "f":
            return whole_numbers(array, name), None
        if array.dtype.kind in "biu":
            return array.astype(np.int64), None
    other = [k for k in kinds if k not in numbers and not issubclass(k, str)]
    if other:
        raise TypeError(
            f"{name}: a category argument must be a string or a number, got {other[0].__name__}."
        )
    if not numbers:  # subclasses of str
        return _split_objects([str(item) for item in items], name)
    raise ValueError(
        f"{name} mixes strings and numbers ({', '.join(sorted(k.__name__ for k in kinds))}); "
        "convert the column to one type."
    )


def _split_categorical(column: Any, name: str) -> tuple[Codes, NDArray[Any] | None]:
    codes = np.asarray(column.cat.codes, dtype=np.int64)
    if codes.size and codes.min() < 0:
        raise _missing(name, int(np.argmin(codes)))
    used = np.unique(codes)
    values = np.asarray(column.cat.categories)[used]
    found = sorted({type(v) for v in values.tolist()}, key=lambda k: k.__name__)
    if values.dtype.kind == "O" and found != [str]:
        raise ValueError(
            f"{name} has categories of type {', '.join(k.__name__ for k in found)}; strings or "
            "numbers are accepted."
        )
    if values.dtype.kind not in "biufO":
        raise ValueError(
            f"{name} has categories of dtype {values.dtype}; strings or numbers are accepted."
        )
    order = np.argsort(values, kind="stable")
    place = np.zeros(int(used.max(initial=-1)) + 1, dtype=np.int64)
    place[used[order]] = np.arange(len(used))
    return place[codes], values[order]


def _is_missing(item: Any) -> bool:
    if item is None:
        return True
    try:
        return bool(item != item)
    except (TypeError, ValueError):  # pandas.NA has no truth, an array has too many
        return type(item).__name__ == "NAType"


def _missing(name: str, row: int) -> ValueError:
    return ValueError(
        f"Input X contains NaN: {name} has a missing value in row {row}; fill it, for example "
        "with a category of its own."
    )


class Vocabularies:
    """The vocabulary of each column.

    Parameters
    ----------
    values : sequence of (ndarray or None)
        Sorted values of each column; ``None`` where numbers are codes.
    """

    def __init__(self, values: Sequence[NDArray[Any] | None]) -> None:
        self.values = list(values)
        self.any = any(v is not None for v in values)
        self._places = [
            None if v is None else {item: i for i, item in enumerate(v.tolist())} for v in values
        ]

    @classmethod
    def learn(cls, X: Any) -> tuple[Vocabularies, Codes]:
        """Return the vocabularies of X's columns, and X as codes."""
        parts = [_split(_column(X, j), _name(X, j)) for j in range(X.shape[1])]
        return cls([words for _, words in parts]), _stack([codes for codes, _ in parts])

    def encode(self, X: Any) -> Codes:
        """Return X as codes; a value that is not in a vocabulary becomes its length."""
        return _stack([self._encode_column(X, j) for j in range(X.shape[1])])

    def _encode_column(self, X: Any, j: int) -> Codes:
        name = _name(X, j)
        codes, words = _split(_column(X, j), name)
        known, places = self.values[j], self._places[j]
        if known is None or places is None:
            if words is not None:
                raise ValueError(
                    f"{name} held integer codes in fit, but {words.tolist()[0]!r} now."
                )
            return codes
        if words is None:
            words, codes = np.unique(codes, return_inverse=True)
        if (known.dtype.kind == "O") != (words.dtype.kind == "O"):
            before, now = known.tolist()[0], words.tolist()[0]
            raise ValueError(f"{name} held values like {before!r} in fit, but {now!r} now.")
        unseen = len(known)
        table = np.array([places.get(w, unseen) for w in words.tolist()], dtype=np.int64)
        return table[codes]

    def joined(self, other: Vocabularies) -> Vocabularies:
        """Return the vocabularies of both."""
        values: list[NDArray[Any] | None] = []
        for j, (a, b) in enumerate(zip(self.values, other.values, strict=True)):
            if a is None and b is None:
                values.append(None)
            elif a is None:
                raise ValueError(f"column {j} of X held integer codes before, but strings now.")
            elif b is None:
                values.append(a)
            elif (a.dtype.kind == "O") != (b.dtype.kind == "O"):
                before, now = a.tolist()[0], b.tolist()[0]
                raise ValueError(f"column {j} of X held values like {before!r}, now {now!r}.")
            else:
                values.append(np.unique(np.concatenate([a, b])))
        return Vocabularies(values)

    def pack(self, tensors: _modelfile.Tensors) -> list[Any]:
        """Store the vocabularies in `tensors`; return their description."""
        return [
            [j, _modelfile.pack_values(f"vocabulary.{j}", words, tensors)]
            for j, words in enumerate(self.values)
            if words is not None
        ]

    @classmethod
    def unpack(cls, described: Any, features: int, tensors: _modelfile.Tensors) -> Vocabularies:
        """Return what `pack` stored.

        Raises
        ------
        ValueError
            A column is outside the features, or a vocabulary is not sorted.
        """
        values: list[NDArray[Any] | None] = [None] * features
        for j, description in described:
            if not 0 <= int(j) < features:
                raise ValueError(f"the vocabulary of column {j} is outside the features")
            words = _modelfile.unpack_values(f"vocabulary.{j}", description, tensors)
            items = words.tolist()
            if not items or any(not a < b for a, b in pairwise(items)):
                raise ValueError(f"the vocabulary of column {j} is empty or not sorted")
            values[int(j)] = words
        return cls(values)


def _name(X: Any, j: int) -> str:
    return f"column {X.columns[j]!r} of X" if hasattr(X, "iloc") else f"column {j} of X"


def _stack(columns: list[Codes]) -> Codes:
    return np.ascontiguousarray(np.stack(columns, axis=1))
