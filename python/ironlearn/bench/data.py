"""The data of the cases, by name."""

from __future__ import annotations

import csv
import gzip
import os
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ironlearn.exceptions import DataFileError


class Data(NamedTuple):
    """Rows to learn from and rows to score on: arrays, or CSR matrices of texts."""

    X: Any
    y: NDArray
    X_test: Any
    y_test: NDArray


#: What a case may ask for: a dtype, columns from 0 to 1 (float64) for models that count, or
#: codes of 16 levels for categorical ones.
KINDS = ("float64", "float32", "unit", "codes")


def _bundled(name: str) -> Data:
    from sklearn import datasets

    X, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    return _shuffled(X, y)


def _shuffled(X: Any, y: NDArray) -> Data:
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


def _standard(data: Data) -> Data:
    """Give the targets mean 0 and deviation 1, so that one C and one epsilon suit all data."""
    mean, deviation = data.y.mean(), data.y.std()
    return data._replace(y=(data.y - mean) / deviation, y_test=(data.y_test - mean) / deviation)


def _regression(n: int) -> Data:
    from sklearn.datasets import make_regression

    X, y = make_regression(n + n // 4, 20, n_informative=10, noise=30.0, random_state=0)
    return _standard(Data(X[:n], y[:n], X[n:], y[n:]))


def _folder(name: str, what: str) -> Path:
    root = os.environ.get("IRONLEARN_DATA")
    if not root:
        raise DataFileError(
            f"{what} is needed: set IRONLEARN_DATA to the folder that holds {name}/."
        )
    return Path(root) / name


def _lines(path: Path) -> list[str]:
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rt", encoding="latin-1" if path.suffix != ".gz" else "utf-8") as file:
            return file.read().rstrip("\n").split("\n")
    except (OSError, EOFError, ValueError) as error:
        raise DataFileError(f"{path} cannot be read: {error}") from error


def _sentences() -> Data:
    """Return sentences of film reviews, for and against, as TF-IDF."""
    folder = _folder("text_classification", "rt_polarity") / "rt_polarity"
    found = [_lines(folder / f"rt-polarity.{kind}") for kind in ("neg", "pos")]
    y = np.repeat([0, 1], [len(part) for part in found])
    return _tfidf(_shuffled(np.array(found[0] + found[1], dtype=object), y))


def _questions() -> Data:
    """Return questions and what they ask for, as TF-IDF, in the published split."""
    folder = _folder("text_classification", "trec") / "trec"
    arrays: list[Any] = []
    for part in ("train", "test"):
        pairs = [line.split(" ", 1) for line in _lines(folder / f"TREC.{part}")]
        arrays.append(np.array([text for _, text in pairs], dtype=object))
        arrays.append(np.array([label.partition(":")[0] for label, _ in pairs]))
    return _tfidf(Data(*arrays))


def _news() -> Data:
    """Return news and their sections, as TF-IDF."""
    folder = _folder("text_classification", "ag_news") / "ag_news"
    rows = list(csv.reader(_lines(folder / "test.csv.gz")))
    y = np.array([int(label) for label, _, _ in rows])
    texts = np.array([f"{title} {text}" for _, title, text in rows], dtype=object)
    return _tfidf(_shuffled(texts, y))


def _tfidf(data: Data) -> Data:
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer()
    X = vectorizer.fit_transform(data.X).tocsr()
    return Data(X, data.y, vectorizer.transform(data.X_test).tocsr(), data.y_test)


def _fmnist() -> Data:
    folder = _folder("fashion_mnist", "Fashion-MNIST")

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
    "rt_polarity": _sentences,
    "trec": _questions,
    "ag_news": _news,
    "diabetes": lambda: _standard(_bundled("diabetes")),
    "regression10k": lambda: _regression(10_000),
    "regression100k": lambda: _regression(100_000),
    "regression500k": lambda: _regression(500_000),
}

#: Sources that need IRONLEARN_DATA.
EXTERNAL = frozenset({"fmnist", "rt_polarity", "trec", "ag_news"})
#: Sources whose target is a quantity.
REGRESSION = frozenset({"diabetes", "regression10k", "regression100k", "regression500k"})


@lru_cache(maxsize=2)
def _source(name: str) -> Data:
    return _SOURCES[name]()


def load(name: str, kind: str, rows: int | None = None, test_rows: int | None = None) -> Data:
    """Return a case's data.

    Parameters
    ----------
    name : str
        A source, such as "iris" or "fmnist".
    kind : {"float64", "float32", "unit", "codes"}
        What X shall hold. Codes are 16 levels of equal width, as int64.
    rows, test_rows : int, default=None
        Only that many training and test rows.

    Returns
    -------
    Data
        C-contiguous arrays; of texts, CSR matrices.

    Raises
    ------
    DataFileError
        The source needs files that are not there.
    """
    X, y, X_test, y_test = _source(name)
    X, y, X_test, y_test = X[:rows], y[:rows], X_test[:test_rows], y_test[:test_rows]
    dtype = "float64" if kind == "unit" else kind
    if hasattr(X, "tocsr"):
        return Data(X.astype(dtype), y, X_test.astype(dtype), y_test)
    if kind == "codes":
        if X.dtype == np.uint8:
            X, X_test = X // 16, X_test // 16
        else:
            low = X.min(axis=0)
            step = (X.max(axis=0) - low) / 16
            step[step == 0] = 1
            X, X_test = (np.clip((part - low) // step, 0, 15) for part in (X, X_test))
        X, X_test = (np.ascontiguousarray(part, dtype=np.int64) for part in (X, X_test))
        return Data(X, y, X_test, y_test)
    if X.dtype == np.uint8:
        X, X_test = (part / np.asarray(255, dtype=dtype) for part in (X, X_test))
    elif kind == "unit":
        low, width = X.min(axis=0), np.ptp(X, axis=0)
        width[width == 0] = 1
        X, X_test = (np.clip((part - low) / width, 0, 1) for part in (X, X_test))
    return Data(
        np.ascontiguousarray(X, dtype=dtype), y, np.ascontiguousarray(X_test, dtype=dtype), y_test
    )
