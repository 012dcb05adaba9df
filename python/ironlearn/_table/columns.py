"""What kind a column is of, from its values."""

from __future__ import annotations

import datetime
import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ironlearn.exceptions import DataError

_ISO = re.compile(
    r"\d{4}[-/]\d{1,2}[-/]\d{1,2}"
    r"([ T]\d{1,2}:\d{2}(:\d{2}(\.\d{1,6})?)?(Z|[+-]\d{2}:?\d{2})?)?"
)
_SLASHED = re.compile(r"\d{1,2}[/.]\d{1,2}[/.]\d{4}")


def infer_column(name: str, values: NDArray[Any]) -> tuple[str, NDArray[Any]]:
    """Return the kind of a column and its values in that kind's form.

    Raises
    ------
    DataError
        The values are of a type that no kind takes, or infinite.
    """
    if values.ndim != 1:
        raise DataError(f"column {name!r} must have one dimension, got shape {values.shape}.")
    kind = values.dtype.kind
    if kind == "b":
        return "boolean", values.astype(np.float64)
    if kind in "iu":
        return "number", values.astype(np.float64)
    if kind == "f":
        return "number", _finite(name, values)
    if kind == "M":
        return "date", values.astype("datetime64[us]")
    if kind == "m":
        seconds = values / np.timedelta64(1, "s")
        return "number", np.asarray(seconds, dtype=np.float64)
    if kind in "UT":
        return _from_texts([str(v) if str(v).strip() else None for v in values.tolist()])
    if kind == "O":
        return _from_objects(name, values)
    raise DataError(
        f"column {name!r} has the dtype {values.dtype}; accepted are numbers, booleans, texts, "
        "categories and dates."
    )


def _finite(name: str, values: NDArray[Any]) -> NDArray[Any]:
    infinite = np.isinf(values)
    if infinite.any():
        row = int(infinite.argmax())
        raise DataError(
            f"column {name!r} holds {values[row]} in row {row}; numbers must be finite or missing."
        )
    wide = values.dtype.itemsize not in (4, 8)
    return values.astype(np.float64) if wide else values


def is_missing(value: Any) -> bool:
    """Return whether an object stands for a missing value: None, NaN, NaT or NA."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    if isinstance(value, np.datetime64):
        return bool(np.isnat(value))
    return isinstance(value, float | np.floating) and bool(value != value)


def _from_objects(name: str, values: NDArray[Any]) -> tuple[str, NDArray[Any]]:
    items = [None if is_missing(v) else v for v in values.tolist()]
    present = [v for v in items if v is not None]
    if present and all(isinstance(v, bool | np.bool_) for v in present):
        return "boolean", np.array([np.nan if v is None else float(v) for v in items])
    if present and all(isinstance(v, int | float | np.number) for v in present):
        return "number", _numbers(name, items)
    if present and all(isinstance(v, datetime.date | np.datetime64) for v in present):
        return "date", np.array([_utc(v) for v in items], dtype="datetime64[us]")
    for row, value in enumerate(items):
        if value is not None and not isinstance(value, str | bool | int | float | np.generic):
            if type(value).__name__ == "Decimal":
                return _from_objects(
                    name, np.array([None if v is None else float(v) for v in items], dtype=object)
                )
            raise DataError(
                f"column {name!r} holds a {type(value).__name__} in row {row}; accepted are "
                "numbers, booleans, texts, categories and dates."
            )
    return _from_texts(
        [None if v is None or (isinstance(v, str) and not v.strip()) else str(v) for v in items]
    )


def _numbers(name: str, items: list[Any]) -> NDArray[np.float64]:
    try:
        numbers = np.array([np.nan if v is None else v for v in items], dtype=np.float64)
    except (TypeError, OverflowError) as error:
        raise DataError(f"column {name!r} does not hold real numbers: {error}.") from error
    return _finite(name, numbers)


def _utc(value: Any) -> Any:
    if value is None:
        return np.datetime64("NaT")
    if isinstance(value, datetime.datetime) and value.tzinfo is not None:
        value = value.astimezone(datetime.UTC).replace(tzinfo=None)
    return np.datetime64(value)


def _from_texts(items: list[str | None]) -> tuple[str, NDArray[Any]]:
    dates = _dates(items)
    if dates is not None:
        return "date", dates
    return "category", objects(items)


def objects(items: list[str | None]) -> NDArray[Any]:
    """Return the items as an array of objects."""
    out = np.empty(len(items), dtype=object)
    out[:] = items
    return out


def _dates(items: list[str | None]) -> NDArray[Any] | None:
    """Return the dates that the texts spell, or ``None`` if not all of them do."""
    distinct = {v for v in items if v is not None}
    if not distinct:
        return None
    first = next(iter(distinct)).strip()
    if _ISO.fullmatch(first):
        found = {v: _iso(v.strip()) for v in distinct}
    elif _SLASHED.fullmatch(first):
        # Taken as dates only where one of the two orders fits all values and the other not.
        month_first, day_first = (
            {v: _slashed(v.strip(), form) for v in distinct} for form in ("%m/%d/%Y", "%d/%m/%Y")
        )
        fits = [f for f in (month_first, day_first) if None not in f.values()]
        if len(fits) != 1:
            return None
        found = fits[0]
    else:
        return None
    if None in found.values():
        return None
    nat = np.datetime64("NaT")
    return np.array([nat if v is None else found[v] for v in items], dtype="datetime64[us]")


def _iso(text: str) -> Any:
    if not _ISO.fullmatch(text):
        return None
    day, _, rest = text.replace("/", "-").replace("T", " ").partition(" ")
    year, month, date = day.split("-")
    hour, _, minutes = rest.partition(":")
    clock = f"T{hour:0>2}:{minutes}" if rest else ""
    try:
        return _utc(datetime.datetime.fromisoformat(f"{year}-{month:0>2}-{date:0>2}{clock}"))
    except ValueError:
        return None


def _slashed(text: str, form: str) -> Any:
    try:
        return np.datetime64(datetime.datetime.strptime(text.replace(".", "/"), form))
    except ValueError:
        return None
