"""A table: named columns of numbers, booleans, categories and dates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ironlearn._table.columns import infer_column, objects
from ironlearn.exceptions import DataError

#: Numbers and booleans are floats with NaN where missing, categories are objects (str or
#: None), dates are datetime64[us] with NaT where missing.
KINDS = ("number", "boolean", "category", "date")


class Table:
    """Named columns of equal length.

    Parameters
    ----------
    columns : mapping of str to (kind, ndarray)
        The columns, in order.

    Attributes
    ----------
    names : tuple of str
        Names of the columns.
    n_rows : int
        Number of rows.
    sparse : CSR matrix or None
        The rows, where the table was made from a sparse matrix; then all columns are numbers.

    Examples
    --------
    >>> from ironlearn.io import Table
    >>> table = Table.from_any({"height": [1.7, 1.6], "colour": ["red", None]})
    >>> table.names, table.kind("colour")
    (('height', 'colour'), 'category')
    """

    def __init__(self, columns: Mapping[str, tuple[str, NDArray[Any]]]) -> None:
        self.names: tuple[str, ...] = tuple(columns)
        self._columns = dict(columns)
        self._block: NDArray[Any] | None = None
        self.sparse: Any = None
        lengths = {name: len(values) for name, (_, values) in columns.items()}
        self.n_rows = next(iter(lengths.values()), 0)
        for name, length in lengths.items():
            if length != self.n_rows:
                raise DataError(
                    f"column {name!r} has {length} rows, but {self.names[0]!r} has {self.n_rows}."
                )

    @classmethod
    def from_any(cls, data: Any, names: Sequence[str] | None = None) -> Self:
        """Make a table from a data frame, a mapping of columns, an array or a sparse matrix.

        Parameters
        ----------
        data : Table, DataFrame, mapping of str to array-like, array-like or sparse matrix
            What to make a table of.
        names : sequence of str, default=None
            Names of an array's columns; ``None`` numbers them as x0, x1, ...

        Raises
        ------
        DataError
            A column holds what no kind of column takes, or infinities; names are missing or
            occur twice; there are no rows or no columns.
        """
        if isinstance(data, cls):
            return data
        if hasattr(data, "iloc") and hasattr(data, "columns"):
            return cls.from_frame(data)
        if isinstance(data, Mapping):
            return cls({str(k): infer_column(str(k), np.asarray(v)) for k, v in data.items()})
        if hasattr(data, "tocsr"):
            return cls._from_sparse(data, names)
        array = np.asarray(data)
        if array.ndim != 2:
            raise DataError(f"X must have two dimensions, got shape {array.shape}.")
        names = _named(names, array.shape[1])
        if array.dtype.kind not in "biuf":
            return cls({n: infer_column(n, array[:, j]) for j, n in enumerate(names)})
        if array.dtype.kind != "f" or array.dtype.itemsize not in (4, 8):
            array = array.astype(np.float64)
        _check_finite(array, names)
        table = cls({})
        table.names, table.n_rows, table._block = tuple(names), len(array), array
        return table

    @classmethod
    def from_frame(cls, frame: Any) -> Self:
        """Make a table from a pandas data frame."""
        names = [str(name) for name in frame.columns]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise DataError(f"the column name {twice[0]!r} occurs more than once.")
        columns = {}
        for j, name in enumerate(names):
            series = frame.iloc[:, j]
            if hasattr(series, "cat"):  # numbers that are declared to be categories stay such
                texts = [None if code < 0 else str(v) for code, v in _category_items(series)]
                columns[name] = ("category", objects(texts))
            else:
                columns[name] = infer_column(name, plain_array(series))
        return cls(columns)

    @classmethod
    def _from_sparse(cls, data: Any, names: Sequence[str] | None) -> Self:
        matrix = data.tocsr()
        if matrix.dtype.kind not in "biuf":
            raise DataError(f"a sparse X must hold numbers, got dtype {matrix.dtype}.")
        if not np.isfinite(matrix.data).all():
            raise DataError("a sparse X must hold finite numbers; it has NaN or infinity.")
        table = cls({})
        table.names = tuple(_named(names, matrix.shape[1]))
        table.n_rows = int(matrix.shape[0])
        table.sparse = matrix.astype(np.float32 if matrix.dtype == np.float32 else np.float64)
        return table

    def __len__(self) -> int:
        return self.n_rows

    def __contains__(self, name: str) -> bool:
        return name in self.names

    def kind(self, name: str) -> str:
        """Return the kind of the column: "number", "boolean", "category" or "date"."""
        return self._columns[name][0] if name in self._columns else "number"

    def values(self, name: str) -> NDArray[Any]:
        """Return the values of the column."""
        if name in self._columns:
            return self._columns[name][1]
        position = self.names.index(name)
        if self._block is not None:
            return self._block[:, position]
        return self.sparse[:, [position]].toarray()[:, 0]

    def matrix(self, names: Sequence[str]) -> NDArray[Any]:
        """Return number and boolean columns as a new array (n_rows, len(names))."""
        if self._block is not None or self.sparse is not None:
            place = {name: j for j, name in enumerate(self.names)}
            chosen = [place[name] for name in names]
            if self._block is not None:
                return self._block[:, chosen]
            return self.sparse[:, chosen].toarray()
        kinds = {self.values(name).dtype for name in names}
        dtype = np.float32 if kinds == {np.dtype(np.float32)} else np.float64
        out = np.empty((self.n_rows, len(names)), dtype)
        for j, name in enumerate(names):
            out[:, j] = self.values(name)
        return out

    def take(self, rows: NDArray[np.intp]) -> Self:
        """Return the table of the given rows."""
        table = type(self)({n: (kind, values[rows]) for n, (kind, values) in self._columns.items()})
        table.names, table.n_rows = self.names, len(rows)
        if self._block is not None:
            table._block = self._block[rows]
        if self.sparse is not None:
            table.sparse = self.sparse[rows]
        return table


def _named(names: Sequence[str] | None, width: int) -> list[str]:
    if names is None:
        return [f"x{j}" for j in range(width)]
    named = [str(name) for name in names]
    if len(named) != width:
        raise DataError(f"{len(named)} names were given for {width} columns.")
    if len(set(named)) < width:
        twice = next(name for name in named if named.count(name) > 1)
        raise DataError(f"the column name {twice!r} occurs more than once.")
    return named


def _check_finite(array: NDArray[Any], names: Sequence[str]) -> None:
    infinite = np.isinf(array)
    if infinite.any():
        row, column = (int(i) for i in np.argwhere(infinite)[0])
        raise DataError(
            f"column {names[column]!r} holds {array[row, column]} in row {row}; numbers must be "
            "finite or missing."
        )


def _category_items(series: Any) -> Iterator[tuple[int, Any]]:
    return zip(series.cat.codes.tolist(), series.tolist(), strict=True)


def plain_array(series: Any) -> NDArray[Any]:
    """Return a pandas series as an array whose dtype `infer_column` knows."""
    dtype = series.dtype
    kind = getattr(dtype, "kind", "O")
    if isinstance(dtype, np.dtype) and kind in "biufcmMO":
        return series.to_numpy()
    if getattr(dtype, "tz", None) is not None:
        return series.dt.tz_convert("UTC").dt.tz_localize(None).to_numpy()
    if kind in "biuf" and hasattr(series, "to_numpy"):  # nullable numbers and booleans
        if kind == "b" and not series.isna().any():
            return series.to_numpy(dtype=bool)
        if kind in "iu" and not series.isna().any():
            return series.to_numpy(dtype=np.int64 if kind == "i" else np.uint64)
        if kind != "b":
            return series.to_numpy(dtype=np.float64, na_value=np.nan)
    return series.astype(object).to_numpy()
