"""One reader a file format; all return a `Raw`."""

from __future__ import annotations

import bz2
import csv
import gzip
import importlib
import io
import lzma
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

from ironlearn.exceptions import DataFileError, MissingExtraError

_OPENERS: dict[str, Any] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
_ENDINGS = {
    ".csv": "csv",
    ".tsv": "csv",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".feather": "feather",
    ".arrow": "feather",
    ".npz": "npz",
    ".libsvm": "libsvm",
    ".svm": "libsvm",
    ".svmlight": "libsvm",
}
_MAGIC = {b"PAR1": "parquet", b"ARROW1": "feather", b"FEA1": "feather", b"PK\x03\x04": "npz"}
_LIBSVM = re.compile(r"[-+.\deE]+(\s+(qid|\d+):\S+)+\s*(#.*)?")
_MISSING = ["?", "NA", "N/A", "n/a", "nan", "NaN", "NULL", "null", "None", "<NA>", "#N/A", ""]


@dataclass
class Raw:
    """What a file holds: a data frame, named arrays, or one block with labels."""

    names: Sequence[str]
    n_rows: int
    frame: Any = None
    arrays: dict[str, NDArray[Any]] = field(default_factory=dict)
    block: Any = None
    block_names: Sequence[str] | None = None
    y: NDArray[Any] | None = None
    y_name: str = "y"
    notes: list[str] = field(default_factory=list)


def recognise(path: Path) -> str:
    """Return the format of the file, by its ending or else its first bytes."""
    endings = [ending.lower() for ending in path.suffixes]
    for ending in reversed(endings):
        if ending in _ENDINGS:
            return _ENDINGS[ending]
        if ending not in _OPENERS:
            break
    with open(path, "rb") as file:
        start = file.read(8)
    for magic, kind in _MAGIC.items():
        if start.startswith(magic):
            return kind
    with _open_text(path) as text:
        line = next((line for line in text if line.strip()), "")
    return "libsvm" if _LIBSVM.fullmatch(line.strip()) else "csv"


def _open_text(path: Path) -> TextIO:
    opener = _OPENERS.get(path.suffix.lower(), open)
    return opener(path, "rt", encoding="utf-8-sig", newline="")


def _import(name: str, what: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingExtraError(
            f"reading {what} files needs {name.partition('.')[0]}: pip install 'ironlearn[data]'"
        ) from error


def _unique(path: Path, names: Sequence[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise DataFileError(f"{path} has the column {name!r} more than once.")
        seen.add(name)


def read_csv(path: Path, header: bool = True) -> Raw:
    """Read comma-, semicolon-, tab-, bar- or space-separated text."""
    pandas = _import("pandas", "CSV")
    with _open_text(path) as file:
        sample = "".join(line for _, line in zip(range(5), file, strict=False))
    if not sample.strip():
        raise DataFileError(f"{path} is empty.")
    if "\x00" in sample:
        raise DataFileError(f"{path} is not a text file.")
    separator = _separator(sample)
    first = next(csv.reader(io.StringIO(sample), delimiter=separator, skipinitialspace=True))
    if header:
        names = [name.strip() or f"unnamed_{j}" for j, name in enumerate(first)]
        _unique(path, names)
    else:
        names = [str(j) for j in range(len(first))]
    with warnings.catch_warnings():
        warnings.simplefilter("error", pandas.errors.ParserWarning)
        warnings.simplefilter("ignore", pandas.errors.DtypeWarning)
        frame = pandas.read_csv(
            path,
            sep=separator,
            header=0 if header else None,
            names=names,
            index_col=False,
            skipinitialspace=True,
            na_values=_MISSING,
            keep_default_na=False,
            low_memory=False,
            encoding="utf-8-sig",
        )
    # Short rows come back with missing values at their end: only then is a closer look due.
    if len(frame) and len(names) > 1 and frame.iloc[:, -1].isna().any():
        _refuse_short_rows(path, separator, len(names))
    return Raw(names, len(frame), frame=frame)


def _separator(sample: str) -> str:
    line = sample.splitlines()[0]
    counts = {mark: line.count(mark) for mark in (",", "\t", ";", "|")}
    best = max(counts, key=lambda mark: counts[mark])
    if counts[best]:
        return best
    return " " if " " in line.strip() else ","


def _refuse_short_rows(path: Path, separator: str, width: int) -> None:
    with _open_text(path) as file:
        reader = csv.reader(file, delimiter=separator, skipinitialspace=True)
        for fields in reader:
            if fields and len(fields) != width:
                raise DataFileError(
                    f"{path}, line {reader.line_num}: {len(fields)} fields where {width} are "
                    "expected; the file may be truncated."
                )


def read_parquet(path: Path) -> Raw:
    """Read a Parquet file."""
    parquet = _import("pyarrow.parquet", "Parquet")
    return _from_arrow(path, parquet.ParquetFile(path).read(), "Parquet")


def read_feather(path: Path) -> Raw:
    """Read a Feather (Arrow IPC) file."""
    feather = _import("pyarrow.feather", "Feather")
    return _from_arrow(path, feather.read_table(path), "Feather")


def _from_arrow(path: Path, table: Any, what: str) -> Raw:
    _import("pandas", what)
    names = [str(name) for name in table.column_names]
    _unique(path, names)
    # A data frame's index is stored as a column of this form; it is no feature.
    index = [name for name in names if re.fullmatch(r"__index_level_\d+__", name)]
    table = table.drop_columns(index)
    frame = table.to_pandas(ignore_metadata=True)
    return Raw([name for name in names if name not in index], len(frame), frame=frame)


def read_npz(path: Path) -> Raw:
    """Read arrays X and y, or named columns of equal length."""
    with open(path, "rb") as opened, np.load(opened, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    if not arrays:
        raise DataFileError(f"{path} holds no arrays.")
    y = arrays.get("y")
    block = arrays.get("X")
    if block is None:
        flat = {k: v for k, v in arrays.items() if v.ndim == 1}
        if len(flat) < len(arrays):
            name, array = next((k, v) for k, v in arrays.items() if v.ndim != 1)
            raise DataFileError(
                f"{path}: the array {name!r} has shape {array.shape}; expected are arrays X "
                "(two dimensions) and y, or columns of one dimension."
            )
        _equal_lengths(path, flat)
        return Raw(list(flat), len(next(iter(flat.values()))), arrays=flat)
    if block.ndim < 2:
        raise DataFileError(f"{path}: X must have two dimensions, got shape {block.shape}.")
    block = block.reshape(len(block), -1)
    names = arrays.get("feature_names")
    block_names = None if names is None else [str(name) for name in names.tolist()]
    targets = {k: v for k, v in arrays.items() if k not in ("X", "feature_names") and v.ndim == 1}
    _equal_lengths(path, {"X": block, **targets})
    return Raw(list(targets), len(block), arrays=targets, block=block, block_names=block_names, y=y)


def _equal_lengths(path: Path, arrays: dict[str, NDArray[Any]]) -> None:
    first, expected = next((k, len(v)) for k, v in arrays.items())
    for name, array in arrays.items():
        if len(array) != expected:
            raise DataFileError(
                f"{path}: {name!r} has {len(array)} rows, but {first!r} has {expected}."
            )


def read_libsvm(path: Path) -> Raw:
    """Read labels and sparse rows."""
    from sklearn.datasets import load_svmlight_file

    X, y = load_svmlight_file(str(path))
    note = f"{X.nnz} of {X.shape[0]} x {X.shape[1]} values are stored (sparse)"
    return Raw(["target"], len(y), block=X, y=y, y_name="target", notes=[note])
