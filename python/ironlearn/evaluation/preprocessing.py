"""Automatic preprocessing: a table in, the matrix that a model takes out.

What is learned (medians, categories, scales, bins) is learned from the rows given to `fit`
alone and kept as plain numbers and strings, so that a model file can hold it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ironlearn._table import Table
from ironlearn.evaluation.schema import Schema
from ironlearn.exceptions import ModelFileError

#: What each view does beside making numbers of everything.
VIEWS: Mapping[str, str] = {
    "plain": "missing numbers filled with the median, marked by an indicator",
    "tree": "missing numbers kept as NaN",
    "scaled": "as plain, then numbers standardised",
    "shares": "as plain, then numbers as shares of their range, from 0 to 1",
    "codes": "numbers binned, everything as category codes",
}
#: Views that subtract a number and divide by another.
_SHIFTED = ("scaled", "shares")
ONE_HOT_LIMIT = 20
MAX_BINS = 16
MAX_CODES = 255
_PARTS = ("year", "month", "day", "weekday", "hour", "elapsed_days")
_DAY = 86_400_000_000


class Preprocessor:
    """Turns the columns of a table into the matrix that a kind of model takes.

    Numbers and booleans stay numbers; up to 20 categories become one column each, more
    become their frequency; dates become year, month, day, weekday, hour and elapsed days.

    Parameters
    ----------
    view : {"plain", "tree", "scaled", "shares", "codes"}, default="plain"
        "plain" fills missing numbers with the median and adds an indicator for columns that
        had any; "tree" keeps them as NaN; "scaled" standardises after filling; "shares" maps
        the range of the training rows to 0..1 for models that count, and what is outside to
        its ends; "codes" gives small integers for categorical models, 0 for a missing or
        unknown value.

    Attributes
    ----------
    schema_ : Schema
        What each column is used as.
    feature_names_ : list of str
        Names of the matrix's columns.
    n_categories_ : ndarray of int or None
        Number of codes of each column, in the view "codes".

    Examples
    --------
    >>> from ironlearn.evaluation import Preprocessor
    >>> from ironlearn.io import Table
    >>> table = Table.from_any({"size": [1.0, None, 3.0, 5.0], "colour": ["r", "g", "r", "b"]})
    >>> prepare = Preprocessor().fit(table)
    >>> prepare.feature_names_
    ['size', 'size is missing', 'colour=b', 'colour=g', 'colour=r']
    >>> prepare.transform(table)[1]
    array([3., 1., 0., 1., 0.])
    """

    schema_: Schema
    feature_names_: list[str]
    n_categories_: NDArray[np.int64] | None

    def __init__(self, view: str = "plain") -> None:
        if view not in VIEWS:
            raise ValueError(f"view must be one of {', '.join(VIEWS)}, got {view!r}.")
        self.view = view

    def fit(self, table: Table, schema: Schema | None = None) -> Self:
        """Learn from the rows of `table`.

        Parameters
        ----------
        table : Table
            Training rows.
        schema : Schema, default=None
            What the columns are used as; ``None`` infers it from `table`.

        Returns
        -------
        self : Preprocessor
            The fitted preprocessor.
        """
        self.schema_ = schema = Schema.infer(table) if schema is None else schema
        self._medians: NDArray[np.float64] = np.zeros(0)
        self._marked: list[str] = []
        self._categories: dict[str, list[str]] = {}
        self._frequencies: dict[str, list[float]] = {}
        self._origins: dict[str, int] = {}
        self._edges: list[list[float]] = []
        self._mean: NDArray[np.float64] = np.zeros(0)
        self._scale: NDArray[np.float64] = np.zeros(0)
        if schema.sparse:
            self._finish()
            return self
        for name in schema.of_kind("date"):
            values = table.values(name)
            present = values[~np.isnat(values)]
            self._origins[name] = int(present.min().astype(np.int64)) if len(present) else 0
        for name in schema.of_kind("category"):
            self._fit_category(name, table.values(name))
        numbers = self._numbers(table)
        if self.view == "codes":
            self._edges = [_bin_edges(numbers[:, j]) for j in range(numbers.shape[1])]
        elif self.view != "tree":
            missing = np.isnan(numbers)
            self._medians = np.array(
                [_median(numbers[:, j], missing[:, j]) for j in range(numbers.shape[1])]
            )
            if missing.any():
                names = self._number_names()
                self._marked = [names[j] for j in np.flatnonzero(missing.any(axis=0))]
            if self.view in _SHIFTED:
                filled = np.where(missing, self._medians, numbers) if missing.any() else numbers
                self._fit_scale(filled)
        self._finish()
        return self

    def _fit_scale(self, filled: NDArray[Any]) -> None:
        if self.view == "shares":
            self._mean = filled.min(axis=0).astype(np.float64)
            width = filled.max(axis=0).astype(np.float64) - self._mean
        else:
            self._mean = filled.mean(axis=0, dtype=np.float64)
            width = filled.std(axis=0, dtype=np.float64)
        # A column that is constant in these rows stays as it is, but for its mean.
        constant = width <= 1e-12 * np.maximum(1.0, np.abs(self._mean))
        self._scale = np.where(constant, 1.0, width)

    def _fit_category(self, name: str, values: NDArray[Any]) -> None:
        present = [v for v in values.tolist() if v is not None]
        counts = Counter(present)
        categories = sorted(counts)
        if self.view == "codes" and len(categories) > MAX_CODES:
            # The most frequent ones; ties in order of their names.
            categories = sorted(sorted(categories, key=lambda v: -counts[v])[:MAX_CODES])
        self._categories[name] = categories
        if self.view != "codes" and len(categories) > ONE_HOT_LIMIT:
            self._frequencies[name] = [counts[v] / len(present) for v in categories]

    def _finish(self) -> None:
        """Set what follows from what was learned."""
        self.n_categories_ = None
        if self.schema_.sparse:
            self.feature_names_ = list(self.schema_.kinds)
            return
        names = self._number_names()
        if self.view == "codes":
            sizes = [len(edges) + 2 for edges in self._edges]
            sizes += [len(categories) + 1 for categories in self._categories.values()]
            self.n_categories_ = np.array(sizes, dtype=np.int64)
            self.feature_names_ = names + list(self._categories)
            return
        names += [f"{name} is missing" for name in self._marked]
        for name, categories in self._categories.items():
            if name in self._frequencies:
                names.append(f"{name} frequency")
            else:
                names += [f"{name}={category}" for category in categories]
        self.feature_names_ = names

    def _number_names(self) -> list[str]:
        dates = [f"{name} {part}" for name in self._origins for part in _PARTS]
        return self.schema_.of_kind("number", "boolean") + dates

    def _numbers(self, table: Table) -> NDArray[Any]:
        """Return numbers, booleans and the parts of dates; NaN where missing."""
        numbers = table.matrix(self.schema_.of_kind("number", "boolean"))
        if not self._origins:
            return numbers
        parts = [_date_parts(table.values(name), self._origins[name]) for name in self._origins]
        return np.hstack([numbers, *parts])

    def transform(self, table: Table) -> Any:
        """Return the matrix of a table's rows.

        Parameters
        ----------
        table : Table
            Rows with at least the columns of the training table.

        Returns
        -------
        ndarray or CSR matrix of shape (n_rows, len(feature_names_))
            Floats, or codes (int64) in the view "codes".

        Raises
        ------
        DataError
            A column is missing or of another kind.
        """
        table = self.schema_.align(table)
        if self.schema_.sparse:
            return table.sparse
        numbers = self._numbers(table)
        if self.view == "codes":
            return self._codes(numbers, table)
        blocks = [numbers]
        if self.view != "tree":
            missing = np.isnan(numbers)
            place = {name: j for j, name in enumerate(self._number_names())}
            marked = [place[name] for name in self._marked]
            indicators = missing[:, marked].astype(numbers.dtype)
            for j in np.flatnonzero(missing.any(axis=0)):
                numbers[missing[:, j], j] = self._medians[j]
            if self.view in _SHIFTED:
                numbers -= self._mean.astype(numbers.dtype)
                numbers /= self._scale.astype(numbers.dtype)
            if self.view == "shares":
                np.clip(numbers, 0, 1, out=numbers)
            blocks.append(indicators)
        for name, categories in self._categories.items():
            codes = _category_codes(table.values(name), categories)
            if name in self._frequencies:
                frequency = np.array([0.0, *self._frequencies[name]], dtype=numbers.dtype)
                blocks.append(frequency[codes][:, None])
            else:
                hot = np.zeros((len(codes), len(categories) + 1), dtype=numbers.dtype)
                hot[np.arange(len(codes)), codes] = 1
                blocks.append(hot[:, 1:])
        blocks = [block for block in blocks if block.shape[1]]
        if not blocks:
            return np.zeros((table.n_rows, 0))
        return np.ascontiguousarray(blocks[0] if len(blocks) == 1 else np.hstack(blocks))

    def _codes(self, numbers: NDArray[Any], table: Table) -> NDArray[np.int64]:
        out = np.zeros((table.n_rows, len(self.feature_names_)), dtype=np.int64)
        for j, edges in enumerate(self._edges):
            values = numbers[:, j]
            codes = 1 + np.searchsorted(np.array(edges), values, side="right")
            out[:, j] = np.where(np.isnan(values), 0, codes)
        for k, (name, categories) in enumerate(self._categories.items(), len(self._edges)):
            out[:, k] = _category_codes(table.values(name), categories)
        return out

    def to_state(self) -> dict[str, Any]:
        """Return what was learned as JSON values."""
        return {
            "view": self.view,
            "schema": self.schema_.to_state(),
            "medians": self._medians.tolist(),
            "marked": self._marked,
            "categories": [[k, v] for k, v in self._categories.items()],
            "frequencies": [[k, v] for k, v in self._frequencies.items()],
            "origins": [[k, v] for k, v in self._origins.items()],
            "edges": self._edges,
            "mean": self._mean.tolist(),
            "scale": self._scale.tolist(),
        }

    @classmethod
    def from_state(cls, state: Any) -> Self:
        """Return the preprocessor that `to_state` described.

        Raises
        ------
        ModelFileError
            The description is not valid.
        """
        if not isinstance(state, Mapping):
            raise ModelFileError("the model file holds no valid preprocessing.")
        try:
            self = cls(state["view"])
            self.schema_ = Schema.from_state(state["schema"])
            self._medians = _vector(state["medians"])
            self._marked = [str(name) for name in state["marked"]]
            self._categories = {str(k): _texts(v) for k, v in state["categories"]}
            self._frequencies = {str(k): _vector(v).tolist() for k, v in state["frequencies"]}
            self._origins = {str(k): int(v) for k, v in state["origins"]}
            self._edges = [_vector(v).tolist() for v in state["edges"]]
            self._mean, self._scale = _vector(state["mean"]), _vector(state["scale"])
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            if isinstance(error, ModelFileError):
                raise
            raise ModelFileError(f"the model file holds no valid preprocessing: {error}") from error
        self._check()
        self._finish()
        return self

    def _check(self) -> None:
        """Raise `ModelFileError` unless the parts of a state fit together."""
        numbers = [] if self.schema_.sparse else self._number_names()
        width = len(numbers)
        filled = 0 if self.schema_.sparse or self.view in ("tree", "codes") else width
        scaled = filled if self.view in _SHIFTED else 0
        dense = not self.schema_.sparse
        right = (
            len(self._medians) == filled
            and len(self._mean) == len(self._scale) == scaled
            and len(self._edges) == (width if self.view == "codes" and dense else 0)
            and all(a < b for e in self._edges for a, b in pairwise(e))
            and set(self._marked) <= set(numbers)
            and list(self._origins) == (self.schema_.of_kind("date") if dense else [])
            and list(self._categories) == (self.schema_.of_kind("category") if dense else [])
            and all(v == sorted(set(v)) for v in self._categories.values())
            and set(self._frequencies) <= set(self._categories)
            and all(len(v) == len(self._categories[k]) for k, v in self._frequencies.items())
            and bool((self._scale > 0).all())
        )
        if not right:
            raise ModelFileError("the model file holds preprocessing whose parts do not fit.")

    def describe(self) -> list[str]:
        """Return lines that say what happens to which columns."""
        return describe(self.schema_)


def describe(schema: Schema) -> list[str]:
    """Return lines that say what the columns of a table are used as."""
    if schema.sparse:
        return [f"sparse: {len(schema.kinds)} columns, used as they are"]
    lines = []
    texts = {
        "number": ("numeric", ""),
        "boolean": ("boolean", " - as 0 and 1"),
        "category": ("categorical", f" - one column a value up to {ONE_HOT_LIMIT}, else frequency"),
        "date": ("date", " - " + ", ".join(part.replace("_", " ") for part in _PARTS)),
    }
    for kind, (title, action) in texts.items():
        names = schema.of_kind(kind)
        if names:
            lines.append(f"{title} ({len(names)}): {_short(names)}{action}")
    incomplete = [name for name in schema.incomplete if schema.kinds[name] != "category"]
    if incomplete:
        lines.append(
            f"missing values ({len(incomplete)}): {_short(incomplete)} - median and an indicator; "
            "NaN for trees"
        )
    if schema.dropped:
        names = [f"{name} ({reason})" for name, reason in schema.dropped.items()]
        lines.append(f"not used ({len(names)}): {_short(names)}")
    return lines


def _short(names: list[str], limit: int = 6) -> str:
    return ", ".join(names[:limit]) + (", ..." if len(names) > limit else "")


def _median(values: NDArray[Any], missing: NDArray[np.bool_]) -> float:
    present = values[~missing]
    return float(np.median(present)) if len(present) else 0.0


def _bin_edges(values: NDArray[Any]) -> list[float]:
    """Return edges between the values: one bin a value if they are few, else quantiles."""
    present = values[~np.isnan(values)].astype(np.float64)
    distinct = np.unique(present)
    if len(distinct) > MAX_BINS:
        inner = np.linspace(0, 1, MAX_BINS + 1)[1:-1]
        distinct_edges = np.unique(np.quantile(present, inner))
        return distinct_edges.tolist()
    return ((distinct[1:] + distinct[:-1]) / 2).tolist()


def _category_codes(values: NDArray[Any], categories: list[str]) -> NDArray[np.intp]:
    """Return 1 + the index of each value among the categories, 0 for others and missing."""
    place: dict[str | None, int] = {category: i for i, category in enumerate(categories, 1)}
    find: Callable[[str | None, int], int] = place.get
    return np.array([find(v, 0) for v in values.tolist()], dtype=np.intp)


def _date_parts(values: NDArray[Any], origin: int) -> NDArray[np.float64]:
    missing = np.isnat(values)
    stamps = np.where(missing, np.datetime64(0, "us"), values)
    days = stamps.astype("datetime64[D]")
    months = stamps.astype("datetime64[M]")
    years = stamps.astype("datetime64[Y]").astype(np.int64) + 1970
    number = days.astype(np.int64)
    since = stamps.astype(np.int64)
    parts = np.column_stack(
        [
            years,
            months.astype(np.int64) % 12 + 1,
            (days - months).astype(np.int64) + 1,
            (number + 3) % 7,  # Monday is 0; the first day of 1970 was a Thursday
            since // 3_600_000_000 % 24,
            (since - origin) / _DAY,
        ]
    ).astype(np.float64)
    parts[missing] = np.nan
    return parts


def _vector(values: Any) -> NDArray[np.float64]:
    vector = np.array(values, dtype=np.float64)
    if vector.ndim != 1 or not np.isfinite(vector).all():
        raise ValueError("not a vector of finite numbers")
    return vector


def _texts(values: Any) -> list[str]:
    if not isinstance(values, list) or not all(isinstance(v, str) for v in values):
        raise ValueError("not a list of texts")
    return values
