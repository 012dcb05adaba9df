"""Every estimator takes every container: frames, tables, array-likes, odd memory layouts."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import scipy.sparse as sp
from sklearn.base import is_classifier
from sklearn.exceptions import DataConversionWarning

from common import registry

NAMES = registry.names()
each = pytest.mark.parametrize("name", NAMES)
#: Estimators that take strings as they are.
TEXTUAL = {"CategoricalNB"}
COLUMNS = [f"c{j}" for j in range(6)]


def data(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Whole numbers in six columns that matter, and three classes: exact in any dtype."""
    X, y = registry.data(name)
    if X.dtype.kind == "f":
        X = np.round(X * 16)
    return np.ascontiguousarray(X[:120, 18:24]), y[:120] % 3


def frame(X: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame(X, columns=COLUMNS)


class ArrayLike:
    """Has nothing but ``__array__``."""

    def __init__(self, array: np.ndarray) -> None:
        self._array = array

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self._array, dtype=dtype)


def _dtype(X: np.ndarray, whole: str, real: str) -> str:
    return whole if X.dtype.kind == "i" else real


def _mixed(X: np.ndarray) -> pd.DataFrame:
    table = frame(X)
    table["c0"] = table["c0"].astype(_dtype(X, "Int64", "Float64"))
    table["c1"] = table["c1"].astype(_dtype(X, "int64[pyarrow]", "double[pyarrow]"))
    table["c2"] = table["c2"].astype("uint8")
    table["c3"] = table["c3"].astype("float32")
    return table


def _read_only(X: np.ndarray) -> np.ndarray:
    X = X.copy()
    X.setflags(write=False)
    return X


def _columns(X: np.ndarray) -> dict[str, np.ndarray]:
    return {column: X[:, j].copy() for j, column in enumerate(COLUMNS)}


#: Containers that have column names.
NAMED: dict[str, Callable[[np.ndarray], Any]] = {
    "pandas": frame,
    "pandas nullable": lambda X: frame(X).astype(_dtype(X, "Int64", "Float64")),
    "pandas on arrow": lambda X: frame(X).astype(_dtype(X, "int64[pyarrow]", "double[pyarrow]")),
    "pandas mixed": _mixed,
    "pandas objects": lambda X: frame(X).astype(object),
    "polars": lambda X: pl.DataFrame(_columns(X)),
    "pyarrow": lambda X: pa.table(_columns(X)),
    "record batch": lambda X: pa.record_batch(_columns(X)),
}

PLAIN: dict[str, Callable[[np.ndarray], Any]] = {
    "lists": lambda X: X.tolist(),
    "tuples": lambda X: tuple(map(tuple, X.tolist())),
    "array-like": ArrayLike,
    "read-only": _read_only,
    "fortran": np.asfortranarray,
    "strided": lambda X: np.repeat(np.repeat(X, 2, axis=0), 2, axis=1)[::2, ::2],
    "reversed": lambda X: np.ascontiguousarray(X[::-1, ::-1])[::-1, ::-1],
    "other byte order": lambda X: X.astype(X.dtype.newbyteorder()),
    "objects": lambda X: X.astype(object),
    "int8": lambda X: X.astype(np.int8),
    "uint16": lambda X: X.astype(np.uint16),
    "float16": lambda X: X.astype(np.float16),
    "subclass": lambda X: X.view(type("Array", (np.ndarray,), {})),
    "frame without names": lambda X: pd.DataFrame(X),
}


def assert_same(name: str, model: Any, X: Any, reference: Any, plain: np.ndarray) -> None:
    for got, wanted in zip(
        registry.answers(name, model, X), registry.answers(name, reference, plain), strict=True
    ):
        np.testing.assert_array_equal(got, wanted)


@each
@pytest.mark.parametrize("kind", [*NAMED, *PLAIN])
def test_container_of_rows(name: str, kind: str) -> None:
    X, y = data(name)
    reference = registry.make(name).fit(X, y)
    given = {**NAMED, **PLAIN}[kind](X)
    model = registry.make(name).fit(given, y)
    assert_same(name, model, given, reference, X)
    if kind not in NAMED or kind == "record batch":
        # scikit-learn knows no names of record batches at prediction.
        assert hasattr(model, "feature_names_in_") == (kind == "record batch")
    else:
        assert list(model.feature_names_in_) == COLUMNS


@each
def test_frames_of_sparse_columns(name: str) -> None:
    """They are sparse matrices to estimators that take those."""
    X, y = data(name)
    table = frame(X).astype(pd.SparseDtype(X.dtype, 0))
    sparse = registry.make(name).__sklearn_tags__().input_tags.sparse
    plain = sp.csr_matrix(X) if sparse else X
    reference = registry.make(name).fit(plain, y)
    model = registry.make(name).fit(table, y)
    assert list(model.feature_names_in_) == COLUMNS
    assert_same(name, model, table, reference, plain)


@each
def test_memory_mapped_rows(name: str, tmp_path: Path) -> None:
    X, y = data(name)
    np.save(tmp_path / "X.npy", X)
    np.save(tmp_path / "y.npy", y)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    labels = np.load(tmp_path / "y.npy", mmap_mode="r")
    model = registry.make(name).fit(mapped, labels)
    assert_same(name, model, mapped, registry.make(name).fit(X, y), X)


TARGETS: dict[str, Callable[[np.ndarray], Any]] = {
    "list": lambda y: y.tolist(),
    "read-only": _read_only,
    "strided": lambda y: np.repeat(y, 2)[::2],
    "other byte order": lambda y: y.astype(y.dtype.newbyteorder()),
    "series": pd.Series,
    "nullable": lambda y: pd.Series(y, dtype=_dtype(y, "Int64", "Float64")),
    "on arrow": lambda y: pd.Series(y, dtype=_dtype(y, "int64[pyarrow]", "double[pyarrow]")),
    "shuffled index": lambda y: pd.Series(y, index=range(len(y), 0, -1)),
    "polars": pl.Series,
    "pyarrow": pa.array,
    "chunked": lambda y: pa.chunked_array([y[:50], y[50:]]),
    "array-like": ArrayLike,
}


@each
@pytest.mark.parametrize("kind", TARGETS)
def test_container_of_targets(name: str, kind: str) -> None:
    X, y = data(name)
    model = registry.make(name).fit(X, TARGETS[kind](y))
    assert_same(name, model, X, registry.make(name).fit(X, y), X)


@each
def test_a_column_as_target_is_told_of(name: str) -> None:
    X, y = data(name)
    model = registry.make(name)
    if not (is_classifier(model) or hasattr(model, "n_outputs_")):
        return
    if name == "DecisionTreeClassifier":  # takes it for one output without a word, as theirs does
        assert_same(name, model.fit(X, y[:, None]), X, registry.make(name).fit(X, y), X)
        return
    with pytest.warns(DataConversionWarning, match="column-vector y"):
        model.fit(X, y[:, None])
    assert_same(name, model, X, registry.make(name).fit(X, y), X)


@each
@pytest.mark.parametrize("kind", ["strings", "pandas", "categorical", "polars", "on arrow"])
def test_container_of_labels(name: str, kind: str) -> None:
    if not is_classifier(registry.make(name)):
        return
    X, y = data(name)
    labels = np.array(["b", "a", "ç"])[y]
    given: Any = {
        "strings": lambda: labels.tolist(),
        "pandas": lambda: pd.Series(labels, dtype="str"),
        "categorical": lambda: pd.Series(pd.Categorical(labels)),
        "polars": lambda: pl.Series(labels.tolist()),
        "on arrow": lambda: pd.Series(labels, dtype="string[pyarrow]"),
    }[kind]()
    model = registry.make(name).fit(X, given)
    assert list(model.classes_) == ["a", "b", "ç"]
    assert list(model.predict(X)) == list(registry.make(name).fit(X, labels).predict(X))


@each
@pytest.mark.parametrize("kind", ["list", "series", "nullable", "polars", "pyarrow", "read-only"])
def test_container_of_weights(name: str, kind: str) -> None:
    if "sample_weight" not in inspect.signature(registry.make(name).fit).parameters:
        return
    X, y = data(name)
    weights = 1.0 + np.arange(len(y)) % 3
    model = registry.make(name).fit(X, y, sample_weight=TARGETS[kind](weights))
    assert_same(name, model, X, registry.make(name).fit(X, y, sample_weight=weights), X)


def test_no_estimator_lacks_weights() -> None:
    for name in NAMES:
        assert "sample_weight" in inspect.signature(registry.make(name).fit).parameters, name


@each
def test_other_column_names_at_prediction(name: str) -> None:
    X, y = data(name)
    table = frame(X)
    model = registry.make(name).fit(table, y)
    for other in (table[COLUMNS[::-1]], table.rename(columns={"c1": "d1"}), table[COLUMNS[:-1]]):
        with pytest.raises(ValueError, match="feature names should match"):
            model.predict(other)
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        model.predict(X)
    plain = registry.make(name).fit(X, y)
    with pytest.warns(UserWarning, match="was fitted without feature names"):
        plain.predict(table)
    mixed = table.rename(columns={"c1": 1})
    with pytest.raises(TypeError, match="only supported if all input features have string names"):
        registry.make(name).fit(mixed, y)


def _with(X: np.ndarray, column: Any) -> pd.DataFrame:
    table = frame(X)
    table["c2"] = column
    return table


def _missing(X: np.ndarray, dtype: Any, value: Any) -> pd.DataFrame:
    table = frame(X).astype(dtype)
    table.loc[3, "c2"] = value
    return table


#: Frames that hold something else than numbers in column c2.
NOT_NUMERIC: dict[str, Callable[[np.ndarray], Any]] = {
    "text": lambda X: _with(X, ["a", "b"] * 60),
    "text in objects": lambda X: _with(X, pd.Series(["a", 1] * 60, dtype=object)),
    "text on arrow": lambda X: _with(X, pd.Series(["a", "b"] * 60, dtype="string[pyarrow]")),
    "text categories": lambda X: _with(X, pd.Categorical(["a", "b"] * 60)),
    "dates": lambda X: _with(X, pd.Timestamp("2020-01-01")),
    "durations": lambda X: _with(X, pd.Timedelta("1h")),
    "complex": lambda X: _with(X, 1j),
    "lists": lambda X: _with(X, pd.Series([[1]] * 120)),
    "text in polars": lambda X: pl.DataFrame({**_columns(X), "c2": ["a", "b"] * 60}),
    "text in pyarrow": lambda X: pa.table({**_columns(X), "c2": ["a", "b"] * 60}),
}


@each
@pytest.mark.parametrize("kind", NOT_NUMERIC)
def test_columns_that_are_not_numeric_are_named(name: str, kind: str) -> None:
    X, y = data(name)
    bad = NOT_NUMERIC[kind](X)
    if name in TEXTUAL and kind.startswith("text") and kind != "text in objects":
        registry.make(name).fit(bad, y)
        return
    with pytest.raises((ValueError, TypeError), match="column 'c2'"):
        registry.make(name).fit(bad, y)
    if name not in TEXTUAL:
        fitted = registry.make(name).fit(frame(X), y)
        with pytest.raises((ValueError, TypeError), match="column 'c2'"):
            fitted.predict(bad)


MISSING: dict[str, Callable[[np.ndarray], Any]] = {
    "NaN": lambda X: _missing(X, float, np.nan),
    "nullable": lambda X: _missing(X, _dtype(X, "Int64", "Float64"), pd.NA),
    "on arrow": lambda X: _missing(X, _dtype(X, "int64[pyarrow]", "double[pyarrow]"), pd.NA),
    "None in objects": lambda X: _missing(X, object, None),
    "polars": lambda X: pl.DataFrame({**_columns(X), "c2": [*X[:3, 2], None, *X[4:, 2]]}),
    "pyarrow": lambda X: pa.table(
        {**_columns(X), "c2": pa.array([*X[:3, 2].tolist(), None, *X[4:, 2].tolist()])}
    ),
}


@each
@pytest.mark.parametrize("kind", MISSING)
def test_missing_values_are_named_or_taken(name: str, kind: str) -> None:
    X, y = data(name)
    bad = MISSING[kind](X)
    model = registry.make(name)
    if model.__sklearn_tags__().input_tags.allow_nan:
        plain = X.astype(float)
        plain[3, 2] = np.nan
        model.fit(bad, y)
        assert_same(name, model, bad, registry.make(name).fit(plain, y), plain)
        return
    with pytest.raises(ValueError, match=r"contains NaN.*'c2'|'c2'.*contains NaN"):
        model.fit(bad, y)
    fitted = registry.make(name).fit(frame(X), y)
    with pytest.raises(ValueError, match=r"NaN.*'c2'|'c2'.*NaN"):
        fitted.predict(bad)


@each
def test_infinity_and_missing_objects_are_named(name: str) -> None:
    X, y = data(name)
    with pytest.raises(ValueError, match=r"infinity.*'c2'|'c2'.*infinity"):
        registry.make(name).fit(_missing(X, float, np.inf), y)
    with pytest.raises(ValueError, match="column 'c2' of X"):
        registry.make(name).fit(_missing(X, object, pd.NA), y)


@each
def test_lazy_frames_are_refused(name: str) -> None:
    X, y = data(name)
    with pytest.raises(TypeError, match=r"holds a query and no data: pass X\.collect\(\)"):
        registry.make(name).fit(pl.DataFrame(_columns(X)).lazy(), y)


@each
def test_errors_leave_nothing_half_fitted(name: str) -> None:
    X, y = data(name)
    model = registry.make(name)
    with pytest.raises((ValueError, TypeError)):
        model.fit(_with(X, pd.Timestamp("2020-01-01")), y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.fit(X, y).predict(X)
    assert not hasattr(model, "feature_names_in_")


@each
def test_several_targets_are_taken_or_refused(name: str) -> None:
    X, y = data(name)
    model = registry.make(name)
    several = np.column_stack([y, y % 2])
    if not model.__sklearn_tags__().target_tags.required:
        return  # clustering ignores y
    if model.__sklearn_tags__().target_tags.multi_output:
        model.fit(X, several)
        assert model.n_outputs_ == 2
        assert model.predict(X).shape == several.shape
        one = registry.make(name).fit(X, several.tolist())
        np.testing.assert_array_equal(one.predict(X), model.predict(X))
        table = registry.make(name).fit(frame(X), pd.DataFrame(several, columns=["a", "b"]))
        np.testing.assert_array_equal(table.predict(frame(X)), model.predict(X))
        if is_classifier(model):
            proba = model.predict_proba(X)
            assert [p.shape for p in proba] == [(120, 3), (120, 2)]
            assert [list(c) for c in model.classes_] == [[0, 1, 2], [0, 1]]
        return
    with pytest.raises(ValueError, match=r"\(120, 2\)|2 columns"):
        model.fit(X, several)
