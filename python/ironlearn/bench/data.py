"""The data of the cases, by name."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ironlearn.exceptions import DataFileError


class Data(NamedTuple):
    """Rows to learn from and rows to score on."""

    X: NDArray
    y: NDArray
    X_test: NDArray
    y_test: NDArray


#: What a case may ask for: a dtype, or codes of 16 levels for categorical models.
KINDS = ("float64", "float32", "codes")


def _bundled(name: str) -> Data:
    from sklearn import datasets

    X, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    return _shuffled(X, y)


def _shuffled(X: NDArray, y: NDArray) -> Data:
    """Keep a quarter of the rows for scoring."""
    order = np.random.RandomState(0).permutation(len(y))
    cut = len(y) - len(y) // 4
    train, test = order[:cut], order[cut:]
    return Data(X[train], y[train], X[test], y[test])


def _synthetic(n: int) -> Data:
    from sklearn.datasets import make_classification

    X, y = make_classification(
        n + n // 4, 20, n_informative=10, n_redundant=4, n_classes=3, flip_y=0.05, random_state=0
    )
    return Data(X[:n], y[:n], X[n:], y[n:])


def _synth500k() -> Data:
    from sklearn.datasets import make_classification

    X, y = make_classification(
        600_000,
        28,
        n_informative=14,
        n_redundant=6,
        n_classes=2,
        flip_y=0.05,
        class_sep=0.6,
        random_state=0,
    )
    X = X.astype(np.float32)
    return Data(X[:500_000], y[:500_000], X[500_000:], y[500_000:])


def _fmnist() -> Data:
    root = os.environ.get("IRONLEARN_DATA")
    if not root:
        raise DataFileError(
            "Fashion-MNIST is needed: set IRONLEARN_DATA to the folder that holds fashion_mnist/."
        )
    folder = Path(root) / "fashion_mnist"

    def read(part: str, kind: str, offset: int) -> NDArray[np.uint8]:
        path = folder / f"{part}-{kind}-ubyte.gz"
        try:
            with gzip.open(path) as file:
                return np.frombuffer(file.read(), np.uint8, offset=offset)
        except (OSError, EOFError, ValueError) as error:
            raise DataFileError(f"{path} cannot be read: {error}") from error

    arrays = []
    for part in ("train", "t10k"):
        arrays.append(read(part, "images-idx3", 16).reshape(-1, 784))
        arrays.append(read(part, "labels-idx1", 8).astype(np.int64))
    return Data(*arrays)


_SOURCES: dict[str, Callable[[], Data]] = {
    "iris": lambda: _bundled("iris"),
    "wine": lambda: _bundled("wine"),
    "breast_cancer": lambda: _bundled("breast_cancer"),
    "digits": lambda: _bundled("digits"),
    "10k": lambda: _synthetic(10_000),
    "100k": lambda: _synthetic(100_000),
    "synth500k": _synth500k,
    "fmnist": _fmnist,
}

#: Sources that need IRONLEARN_DATA.
EXTERNAL = frozenset({"fmnist"})


@lru_cache(maxsize=2)
def _source(name: str) -> Data:
    return _SOURCES[name]()


def load(name: str, kind: str, rows: int | None = None) -> Data:
    """Return a case's data.

    Parameters
    ----------
    name : str
        A source, such as "iris" or "fmnist".
    kind : {"float64", "float32", "codes"}
        What X shall hold. Codes are 16 levels of equal width, as int64.
    rows : int, default=None
        Only that many training rows.

    Returns
    -------
    Data
        C-contiguous arrays.

    Raises
    ------
    DataFileError
        The source needs files that are not there.
    """
    X, y, X_test, y_test = _source(name)
    X, y = X[:rows], y[:rows]
    if kind == "codes":
        if X.dtype == np.uint8:
            X, X_test = X // 16, X_test // 16
        else:
            low = X.min(axis=0)
            step = (X.max(axis=0) - low) / 16
            step[step == 0] = 1
            X, X_test = (np.clip((part - low) // step, 0, 15) for part in (X, X_test))
        return Data(*(np.ascontiguousarray(p, dtype=np.int64) for p in (X, y, X_test, y_test)))
    if X.dtype == np.uint8:
        X, X_test = (part / np.asarray(255, dtype=kind) for part in (X, X_test))
    return Data(
        np.ascontiguousarray(X, dtype=kind), y, np.ascontiguousarray(X_test, dtype=kind), y_test
    )
