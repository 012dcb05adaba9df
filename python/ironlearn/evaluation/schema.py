"""What each column of a table is used as."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ironlearn._table import KINDS, Table
from ironlearn.exceptions import DataError, ModelFileError

_ID_NAME = re.compile(r"(^|[_\W])(id|uuid|guid|index|row|key)$|^unnamed", re.IGNORECASE)
_IDENTIFIER = "identifier"
_MIN_ROWS = 20  # below that many rows, that all values differ says nothing


@dataclass(frozen=True)
class Schema:
    """The columns that are used, by kind, and the ones that are not, with the reason.

    It follows from the types of a table's columns, and from whether their values differ at
    all; nothing that a model could profit from is learned here, so one schema serves all
    folds of a cross-validation.

    Attributes
    ----------
    kinds : dict of str to str
        "number", "boolean", "category" or "date" for each column that is used.
    dropped : dict of str to str
        Why each other column is not used.
    sparse : bool
        The table is sparse: columns are used as they are.
    incomplete : tuple of str
        Columns that are used and have missing values.
    """

    kinds: dict[str, str]
    dropped: dict[str, str]
    sparse: bool = False
    incomplete: tuple[str, ...] = ()

    @classmethod
    def infer(cls, table: Table) -> Self:
        """Return the schema of a table.

        Raises
        ------
        DataError
            No column can be used.
        """
        if table.sparse is not None:
            return cls(dict.fromkeys(table.names, "number"), {}, sparse=True)
        kinds: dict[str, str] = {}
        dropped: dict[str, str] = {}
        for name in table.names:
            kind = table.kind(name)
            reason = _useless(name, kind, table.values(name))
            if reason is None:
                kinds[name] = kind
            else:
                dropped[name] = reason
        if not kinds:
            # Numbers without repeats may be all there is to learn from.
            for name in [n for n in dropped if dropped[n].startswith(_IDENTIFIER)]:
                if table.kind(name) == "number":
                    kinds[name] = "number"
                    del dropped[name]
        if not kinds:
            why = ", ".join(f"{name} ({reason})" for name, reason in list(dropped.items())[:5])
            raise DataError(f"no column can be learned from: {why}.")
        return cls(kinds, dropped, incomplete=tuple(n for n in kinds if _has_missing(table, n)))

    def of_kind(self, *kinds: str) -> list[str]:
        """Return the names of the columns of some kinds."""
        return [name for name, kind in self.kinds.items() if kind in kinds]

    def align(self, table: Table) -> Table:
        """Return the columns of a new table, in the form that this schema expects.

        Raises
        ------
        DataError
            A column is missing, or its values are not of the expected kind.
        """
        if self.sparse:
            return self._align_sparse(table)
        if table.sparse is not None:
            # A column of which no row has a value need not be in a libsvm file.
            absent = [name for name in self.kinds if name not in table]
            dense = np.hstack([table.sparse.toarray(), np.zeros((len(table), len(absent)))])
            table = Table.from_any(dense, [*table.names, *absent])
        missing = [name for name in self.kinds if name not in table]
        if missing:
            raise DataError(
                f"the data lack the column{'s' if len(missing) > 1 else ''} "
                f"{', '.join(map(repr, missing[:10]))} that the model was trained with."
            )
        if all(table.kind(name) == kind for name, kind in self.kinds.items()):
            return table
        return Table(
            {
                name: (kind, _converted(name, kind, table.kind(name), table.values(name)))
                for name, kind in self.kinds.items()
            }
        )

    def _align_sparse(self, table: Table) -> Table:
        width = len(self.kinds)
        if table.sparse is None:
            raise DataError("the model was trained with sparse data, but these are dense.")
        if len(table.names) > width:
            extra = table.sparse[:, width:]
            if extra.nnz:
                raise DataError(
                    f"the data have {len(table.names)} columns, but the model was trained with "
                    f"{width}."
                )
        matrix = table.sparse.copy()
        matrix.resize(table.n_rows, width)
        return Table.from_any(matrix, list(self.kinds))

    def to_state(self) -> dict[str, Any]:
        """Return the schema as JSON values."""
        return {
            "kinds": [[k, v] for k, v in self.kinds.items()],
            "dropped": [[k, v] for k, v in self.dropped.items()],
            "sparse": self.sparse,
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """Return the schema that `to_state` described.

        Raises
        ------
        ModelFileError
            The description is not valid.
        """
        try:
            kinds = {str(k): str(v) for k, v in state["kinds"]}
            dropped = {str(k): str(v) for k, v in state["dropped"]}
            sparse = state["sparse"]
        except (KeyError, TypeError, ValueError) as error:
            raise ModelFileError(f"the model file holds no valid columns: {error}") from error
        if not kinds or not set(kinds.values()) <= set(KINDS) or not isinstance(sparse, bool):
            raise ModelFileError("the model file holds no valid columns.")
        return cls(kinds, dropped, sparse)


def _has_missing(table: Table, name: str) -> bool:
    values = table.values(name)
    if table.kind(name) == "category":
        return None in values.tolist()
    return bool((np.isnat(values) if table.kind(name) == "date" else np.isnan(values)).any())


def _useless(name: str, kind: str, values: NDArray[Any]) -> str | None:
    """Return why nothing can be learned from a column, or ``None``."""
    if kind == "category":
        present = [v for v in values.tolist() if v is not None]
        if not present:
            return "empty"
        distinct = len(set(present))
        if distinct == 1 and len(present) == len(values):
            return "constant"
        if len(present) >= _MIN_ROWS:
            if distinct == len(present):
                return f"{_IDENTIFIER}: all values differ"
            if distinct > len(present) / 2 and sum(map(len, present)) > 40 * len(present):
                return "free text"
        return None
    missing = np.isnat(values) if kind == "date" else np.isnan(values)
    if missing.all():
        return "empty"
    known = values[~missing] if missing.any() else values
    if (known == known[0]).all():
        return None if missing.any() else "constant"
    if kind == "number" and len(values) >= _MIN_ROWS and not missing.any():
        return _identifier(name, values)
    return None


def _identifier(name: str, values: NDArray[Any]) -> str | None:
    low, high = values.min(), values.max()
    consecutive = high - low == len(values) - 1
    if not consecutive and not _ID_NAME.search(name):
        return None
    if (values != np.floor(values)).any() or len(np.unique(values)) < len(values):
        return None
    return f"{_IDENTIFIER}: {'consecutive numbers' if consecutive else 'all values differ'}"


def _converted(name: str, kind: str, given: str, values: NDArray[Any]) -> NDArray[Any]:
    """Return the values of a column as another kind, or raise naming the first that is not."""
    if given == kind or {given, kind} == {"number", "boolean"}:
        return values
    if kind == "category":
        return _as_texts(values, given)
    if given == "category":
        present = np.array([v is not None for v in values.tolist()], dtype=bool)
        if not present.any():
            if kind == "date":
                return np.full(len(values), np.datetime64("NaT"), dtype="datetime64[us]")
            return np.full(len(values), np.nan)
        if kind != "date":
            return np.array([_number(name, v) for v in values.tolist()])
    elif kind == "date" and np.isnan(values).all():
        return np.full(len(values), np.datetime64("NaT"), dtype="datetime64[us]")
    raise DataError(
        f"column {name!r} holds {_plural(given)}, but the model was trained with {_plural(kind)}."
    )


def _plural(kind: str) -> str:
    return {"category": "texts"}.get(kind, f"{kind}s")


def _number(name: str, text: str | None) -> float:
    if text is None:
        return np.nan
    try:
        value = float(text)
    except ValueError:
        raise DataError(f"column {name!r} must hold numbers, but holds {text!r}.") from None
    if np.isinf(value):
        raise DataError(f"column {name!r} holds {text!r}; numbers must be finite or missing.")
    return value


def _as_texts(values: NDArray[Any], given: str) -> NDArray[Any]:
    out = np.empty(len(values), dtype=object)
    items: Iterable[Any] = values if given == "date" else values.tolist()
    for i, value in enumerate(items):
        if given == "date":
            out[i] = None if np.isnat(value) else str(value)
        elif value != value:
            out[i] = None
        elif given == "boolean":
            out[i] = str(bool(value))
        else:
            # A file with whole numbers only, read back, must give the same texts.
            out[i] = str(int(value)) if value == int(value) else str(value)
    return out
