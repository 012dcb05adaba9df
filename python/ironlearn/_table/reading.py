"""Reading tables from files: CSV, Parquet, Feather, NPZ and libsvm."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from numpy.typing import NDArray

from ironlearn._table import formats
from ironlearn._table.table import Table, plain_array
from ironlearn._table.target import check_quantity, check_target, recognise_task
from ironlearn.exceptions import DataError, DataFileError

_T = TypeVar("_T")

_FORMATS: dict[str, Callable[..., formats.Raw]] = {
    "csv": formats.read_csv,
    "parquet": formats.read_parquet,
    "feather": formats.read_feather,
    "npz": formats.read_npz,
    "libsvm": formats.read_libsvm,
}


@dataclass(frozen=True)
class Dataset:
    """A table and its target.

    Attributes
    ----------
    name : str
        Where it is from.
    table : Table
        The features.
    y : ndarray of shape (n_rows,)
        The class labels, or floats for regression.
    target : str
        The name of the target.
    notes : list of str
        What a reader should know about how it was read.
    task : {"classification", "regression"}
        What the target is learned as.
    reason : str
        Why.
    """

    name: str
    table: Table
    y: NDArray[Any]
    target: str
    notes: list[str] = field(default_factory=list)
    task: str = "classification"
    reason: str = "as chosen"


def read_table(path: str | os.PathLike[str], *, header: bool = True) -> Table:
    """Read all columns of a file.

    Parameters
    ----------
    path : str or path-like
        A CSV, Parquet, Feather, NPZ or libsvm file; a CSV or libsvm file may be compressed
        (.gz, .bz2, .xz). The format is told by the name's ending, else by the contents.
        The labels of a libsvm file and the array ``y`` of an NPZ file are no columns.
    header : bool, default=True
        Whether the first line of a CSV file names the columns; else they are "0", "1", ...

    Returns
    -------
    Table
        The columns.

    Raises
    ------
    DataFileError
        The file is missing, unreadable, truncated, empty or ragged, or has a column twice.
    MissingExtraError
        CSV, Parquet or Feather without the extra ``data``.
    """
    raw = _read(path, header)
    return _within(path, lambda: _table_of(raw))


def read_dataset(
    path: str | os.PathLike[str],
    target: str | None = None,
    *,
    header: bool = True,
    folds: int | None = None,
    min_classes: int = 2,
    default_target: str | None = None,
    task: str = "auto",
) -> Dataset:
    """Read a file and split off its target.

    Parameters
    ----------
    path : str or path-like
        As in `read_table`.
    target : str, default=None
        The name of the target's column. Not needed for libsvm files, and for NPZ files that
        have an array ``y``.
    header : bool, default=True
        As in `read_table`.
    folds : int, default=None
        The number of rows that each class needs; for regression, of folds of two rows.
    min_classes : int, default=2
        The number of classes, or of different numbers, that there must be.
    default_target : str, default=None
        The target's column where `target` is not given and the file has no labels apart from
        its columns.
    task : {"auto", "classification", "regression"}, default="auto"
        What the target is; "auto" decides by its values, as `recognise_task` does.

    Returns
    -------
    Dataset
        The features and the target.

    Raises
    ------
    DataFileError
        As in `read_table`, or the target's column does not exist.
    DataError
        The target cannot be learned.
    """
    raw = _read(path, header)
    if target is None and raw.y is None:
        target = default_target
    if target is None and raw.y is None:
        raise DataFileError(
            f"{os.fspath(path)}: name the column to predict (target); {_listed(raw.names)}"
        )
    if raw.y is not None and (target is None or target == raw.y_name):
        name, labels = raw.y_name, raw.y
    else:
        assert target is not None
        if target not in raw.names:
            raise DataFileError(f"{os.fspath(path)} has no column {target!r}; {_near(raw, target)}")
        name, labels = target, _values(raw, target)

    def build() -> Dataset:
        found, reason = recognise_task(labels, name=name, task=task)
        if found == "regression":
            y = check_quantity(labels, name=name, folds=folds, min_values=min_classes)
        else:
            y = check_target(labels, name=name, folds=folds, min_classes=min_classes)
        table = _table_of(raw, without=name)
        if len(table) != len(y):
            raise DataError(f"the target {name!r} has {len(y)} rows, but X has {len(table)}.")
        return Dataset(Path(path).name, table, y, name, raw.notes, found, reason)

    return _within(path, build)


def _within(path: str | os.PathLike[str], build: Callable[[], _T]) -> _T:
    """Return what `build` returns; its errors name the file."""
    try:
        return build()
    except DataFileError:
        raise
    except DataError as error:
        raise DataFileError(f"{os.fspath(path)}: {error}") from error


def _read(path: str | os.PathLike[str], header: bool) -> formats.Raw:
    name = os.fspath(path)
    file = Path(path)
    if not file.exists():
        raise DataFileError(f"{name} does not exist.")
    if not file.is_file():
        raise DataFileError(f"{name} is not a file.")
    if file.stat().st_size == 0:
        raise DataFileError(f"{name} is empty.")
    try:
        kind = formats.recognise(file)
        raw = _FORMATS[kind](file, header) if kind == "csv" else _FORMATS[kind](file)
    except (DataError, ImportError):
        raise
    except PermissionError as error:
        raise DataFileError(f"{name} may not be read: {error.strerror}.") from error
    except MemoryError as error:
        raise DataFileError(f"{name} does not fit into memory.") from error
    except Exception as error:  # readers raise many types; all of them mean the same here
        detail = " ".join(str(error).split()) or type(error).__name__
        raise DataFileError(
            f"{name} cannot be read, it may be truncated or damaged: {detail}"
        ) from error
    if raw.n_rows == 0:
        raise DataFileError(f"{name} has no rows.")
    return raw


def _table_of(raw: formats.Raw, without: str | None = None) -> Table:
    if raw.frame is not None:
        frame = raw.frame
        table = Table.from_frame(frame if without is None else frame.drop(columns=[without]))
    elif raw.block is not None:
        table = Table.from_any(raw.block, raw.block_names)
    else:
        table = Table.from_any({k: v for k, v in raw.arrays.items() if k != without})
    if not table.names:
        raise DataError("there are no columns besides the target.")
    return table


def _values(raw: formats.Raw, name: str) -> Any:
    if raw.frame is not None:
        return plain_array(raw.frame[name])
    return raw.arrays[name]


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:20])
    return f"it has {shown}{f' and {len(names) - 20} more' if len(names) > 20 else ''}."


def _near(raw: formats.Raw, target: str) -> str:
    lowered = {name.lower(): name for name in raw.names}
    close = difflib.get_close_matches(target.lower(), list(lowered), n=1)
    return (f"did you mean {lowered[close[0]]!r}? " if close else "") + _listed(raw.names)
