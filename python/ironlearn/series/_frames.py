"""Series as users have them: arrays, pandas Series and data frames."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Series:
    """One or several series of equal length.

    Attributes
    ----------
    values : ndarray of shape (steps, columns), float64
    names : list of str or None
        Names of a data frame's columns.
    index : pandas.Index or None
    one : bool
        The series was one-dimensional, and forecasts shall be.
    """

    values: NDArray[np.float64]
    names: list[str] | None = None
    index: Any = None
    one: bool = False


def read(data: Any, name: str) -> Series:
    """Return `data`, the argument `name`, as checked numbers.

    Raises
    ------
    TypeError
        A column does not hold numbers.
    ValueError
        There are no steps, too many axes, missing or infinite values, or an index that goes back.
    """
    index = names = None
    one = getattr(data, "ndim", None) == 1
    if hasattr(data, "iloc"):
        index = data.index
        _check_index(index, name)
        if one:
            names = None if data.name is None else [str(data.name)]
            array = _numbers(data, name, "")
        else:
            names = [str(column) for column in data.columns]
            if len(set(names)) != len(names):
                raise ValueError(f"{name} has several columns of the same name: {names}.")
            columns = [
                _numbers(data.iloc[:, j], name, f"column {column!r} of ")
                for j, column in enumerate(names)
            ]
            array = np.stack(columns, axis=1) if columns else np.empty((len(data), 0))
    else:
        array = _numbers(data, name, "")
        one = array.ndim == 1
    if array.ndim == 1:
        array = array[:, None]
    if array.ndim != 2:
        raise ValueError(
            f"{name} must have the shape (steps,) or (steps, columns), got {array.shape}."
        )
    if array.size == 0:
        raise ValueError(f"{name} is empty: its shape is {array.shape}.")
    bad = ~np.isfinite(array)
    if bad.any():
        step, column = (int(i) for i in np.argwhere(bad)[0])
        what = "NaN" if np.isnan(array[step, column]) else "infinity"
        where = "" if one else f" of column {names[column] if names else column!r}"
        raise ValueError(
            f"{name} contains {what}, first at step {step}{where}; fill gaps before, for example "
            "by interpolation."
        )
    return Series(np.ascontiguousarray(array), names, index, one)


def _numbers(data: Any, name: str, column: str) -> NDArray[np.float64]:
    try:
        array = np.asarray(data)
    except ValueError as error:
        raise ValueError(f"{name} has rows of different lengths.") from error
    if array.dtype.kind in "mM" or array.dtype.kind not in "biufO":
        raise TypeError(f"{column}{name} must hold numbers, got dtype {array.dtype}.")
    try:
        return array.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{column}{name} must hold numbers: {error}.") from error


def _check_index(index: Any, name: str) -> None:
    if getattr(index, "nlevels", 1) > 1:
        raise ValueError(f"{name} has an index of several levels; one of times is needed.")
    if not index.is_unique:
        raise ValueError(f"the index of {name} has the value {index[index.duplicated()][0]} twice.")
    if not index.is_monotonic_increasing:
        raise ValueError(
            f"the index of {name} does not increase: sort the rows by time, for example with "
            "sort_index()."
        )


def same_columns(given: Series, names: list[str] | None, width: int, name: str) -> None:
    """Refuse a series whose columns are not those of fit."""
    if given.values.shape[1] != width:
        raise ValueError(f"{name} has {given.values.shape[1]} columns, but had {width} in fit.")
    if names is not None and given.names is not None and given.names != names:
        raise ValueError(f"{name} has the columns {given.names}, but had {names} in fit.")


def continued(index: Any, steps: int) -> Any:
    """Return the index of the `steps` steps after `index`, or ``None`` where it cannot be told.

    A time index goes on by its frequency, a range by its step; any other index is numbered on from
    its length.
    """
    if index is None:
        return None
    import pandas as pd

    if isinstance(index, pd.DatetimeIndex | pd.PeriodIndex):
        frequency = index.freq
        if frequency is None and len(index) > 2:
            frequency = pd.infer_freq(index)
        if frequency is None and len(index) > 1:
            frequency = index[-1] - index[-2]
        if frequency is None:
            return None
        if isinstance(index, pd.PeriodIndex):
            return pd.period_range(index[-1] + 1, periods=steps, freq=frequency)
        return pd.date_range(index[-1], periods=steps + 1, freq=frequency)[1:]
    if isinstance(index, pd.RangeIndex):
        return pd.RangeIndex(
            index[-1] + index.step, index[-1] + index.step * (steps + 1), index.step
        )
    return pd.RangeIndex(len(index), len(index) + steps)


def dressed(values: NDArray[np.float64], like: Series) -> Any:
    """Return forecasts of shape (steps, columns) in the form of the series that they continue."""
    if like.index is None:
        return values[:, 0] if like.one else values
    import pandas as pd

    index = continued(like.index, len(values))
    if like.one:
        return pd.Series(values[:, 0], index=index, name=like.names[0] if like.names else None)
    return pd.DataFrame(values, index=index, columns=like.names)
