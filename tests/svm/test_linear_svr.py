"""LinearSVR: objective and predictions beside scikit-learn's LIBLINEAR, input, files."""

from __future__ import annotations

import csv
import gzip
import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from sklearn.base import is_regressor
from sklearn.datasets import load_diabetes, load_digits, load_iris
from sklearn.exceptions import ConvergenceWarning, DataConversionWarning
from sklearn.svm import LinearSVR as Theirs

import ironlearn
from ironlearn import serving
from ironlearn.svm import LinearSVR
from svm.objectives import regression_objective

#: Every combination that LIBLINEAR supports.
COMBINATIONS: list[dict[str, Any]] = [
    {"loss": "epsilon_insensitive", "dual": True},
    {"loss": "epsilon_insensitive", "dual": "auto"},
    {"loss": "squared_epsilon_insensitive", "dual": True},
    {"loss": "squared_epsilon_insensitive", "dual": False},
    {"loss": "squared_epsilon_insensitive", "dual": "auto"},
]
LOSSES = ["epsilon_insensitive", "squared_epsilon_insensitive"]


def compare(
    X: Any,
    y: np.ndarray,
    sample_weight: np.ndarray | None = None,
    *,
    theirs_iter: int = 5000,
    **parameters: Any,
) -> tuple[LinearSVR, Any]:
    """Fit both; ours must converge, to an objective that is not above theirs."""
    settings = {"random_state": 0, **parameters}
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        ours = LinearSVR(**settings).fit(X, y, sample_weight)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = Theirs(**{**settings, "max_iter": theirs_iter, "tol": 1e-7})
        theirs.fit(X, y, sample_weight)
    best = regression_objective(theirs, X, y, sample_weight)
    assert regression_objective(ours, X, y, sample_weight) <= best * (1 + 1e-4)
    return ours, theirs


def diabetes() -> tuple[np.ndarray, np.ndarray]:
    X, y = load_diabetes(return_X_y=True)
    return X / X.std(axis=0), y


@pytest.mark.parametrize("parameters", COMBINATIONS, ids=str)
@pytest.mark.parametrize(
    "extra",
    [
        {},
        {"epsilon": 20.0},
        {"C": 0.01, "epsilon": 5.0},
        {"C": 100.0},
        {"fit_intercept": False},
        {"intercept_scaling": 100.0, "epsilon": 1.0},
    ],
    ids=str,
)
def test_diabetes(parameters: dict[str, Any], extra: dict[str, Any]) -> None:
    X, y = diabetes()
    ours, theirs = compare(X, y, **parameters, **extra)
    assert ours.coef_.shape == theirs.coef_.shape == (10,)
    assert ours.intercept_.shape == (1,)
    assert type(ours.n_iter_) is type(theirs.n_iter_) is int
    # Theirs does not get there in every case.
    best = regression_objective(ours, X, y)
    if "squared" in parameters["loss"] and regression_objective(theirs, X, y) < best * (1 + 1e-5):
        np.testing.assert_allclose(ours.predict(X), theirs.predict(X), rtol=0.01, atol=0.5)
    if not extra.get("fit_intercept", True):
        np.testing.assert_array_equal(ours.intercept_, 0)


@pytest.mark.parametrize("parameters", COMBINATIONS, ids=str)
def test_sample_weights(parameters: dict[str, Any]) -> None:
    X, y = diabetes()
    weights = np.random.RandomState(0).randint(0, 3, len(y)).astype(float)
    compare(X, y, weights, epsilon=2.0, **parameters)
    # A weight is a number of copies, and C times the weight is what counts.
    copies = np.repeat(np.arange(len(y)), weights.astype(int))
    tight = {**parameters, "epsilon": 2.0, "random_state": 0, "tol": 1e-9}
    once = LinearSVR(**tight).fit(X, y, weights)
    again = LinearSVR(**tight).fit(X[copies], y[copies])
    np.testing.assert_allclose(once.predict(X), again.predict(X), rtol=1e-3)
    scaled = LinearSVR(**tight, C=3.0).fit(X, y, weights / 3)
    np.testing.assert_allclose(once.predict(X), scaled.predict(X), rtol=1e-3)


@pytest.mark.parametrize("parameters", COMBINATIONS, ids=str)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("index", [np.int32, np.int64])
def test_sparse_equals_dense(parameters: dict[str, Any], dtype: Any, index: Any) -> None:
    # Digits are sixteenths: exact in either precision.
    X, y = load_digits(return_X_y=True)
    X, y = X[:200] / 16, y[:200].astype(float)
    dense = LinearSVR(random_state=0, **parameters).fit(X.astype(dtype), y)
    csr = sparse.csr_matrix(X.astype(dtype))
    csr.indices, csr.indptr = csr.indices.astype(index), csr.indptr.astype(index)
    ours = LinearSVR(random_state=0, **parameters).fit(csr, y)
    want = regression_objective(dense, X, y)
    assert regression_objective(ours, X, y) == pytest.approx(want, rel=1e-4)
    np.testing.assert_allclose(ours.predict(csr), ours.predict(X), rtol=1e-9, atol=1e-9)


@settings(max_examples=40)
@given(
    rows=st.integers(2, 60),
    width=st.integers(1, 80),
    seed=st.integers(0, 10_000),
    parameters=st.sampled_from(COMBINATIONS),
    epsilon=st.sampled_from([0.0, 0.1, 3.0]),
    C=st.sampled_from([0.01, 1.0, 30.0]),
    unit=st.sampled_from([1e-4, 1.0, 1e5]),
    constant=st.booleans(),
)
def test_any_shape_and_unit(
    rows: int,
    width: int,
    seed: int,
    parameters: dict[str, Any],
    epsilon: float,
    C: float,
    unit: float,
    constant: bool,
) -> None:
    rng = np.random.RandomState(seed)
    X = rng.randn(rows, width) * rng.choice([0, 1], (rows, width), p=[0.3, 0.7])
    X[:, 0] = 1.0 if constant else X[:, 0]
    y = unit * (X @ rng.randn(width) + rng.randn(rows))
    compare(X, y, theirs_iter=300, epsilon=unit * epsilon, C=C, max_iter=3000, **parameters)


@pytest.mark.parametrize("loss", LOSSES)
def test_degenerate_targets(loss: str) -> None:
    X, y = diabetes()
    model = LinearSVR(loss=loss).fit(X, np.zeros(len(y)))
    np.testing.assert_array_equal(model.coef_, 0)
    np.testing.assert_array_equal(model.predict(X), 0)
    # Everything within epsilon costs nothing.
    model = LinearSVR(loss=loss, epsilon=1e4).fit(X, y)
    np.testing.assert_array_equal(model.coef_, 0)
    one = LinearSVR(loss=loss, C=1e3).fit(X[:1], y[:1])
    assert one.predict(X[:1]) == pytest.approx(y[:1], rel=1e-3)
    zeros = LinearSVR(loss=loss, fit_intercept=False).fit(np.zeros((5, 2)), y[:5])
    np.testing.assert_array_equal(zeros.coef_, 0)


@pytest.mark.parametrize("loss", LOSSES)
def test_scale_is_folded_into_the_weights(loss: str) -> None:
    X, y = diabetes()
    stretched = X * np.logspace(-3, 3, 10) + 5
    plain = LinearSVR(loss=loss, random_state=0).fit((X - X.mean(0)) / X.std(0), y)
    scaled = LinearSVR(loss=loss, random_state=0, scale=True).fit(stretched, y)
    want = plain.predict((X - X.mean(0)) / X.std(0))
    np.testing.assert_allclose(scaled.predict(stretched), want, rtol=1e-2, atol=1.0)


@pytest.mark.realdata
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("epsilon", [0.0, 0.5])
def test_real_tables(loss: str, epsilon: float, data_dir: Path) -> None:
    with gzip.open(data_dir / "tabular/spambase/spambase.data.gz", "rt") as stream:
        table = np.array(list(csv.reader(stream))).astype(float)
    X, y = table[::3, :-3] / table[:, :-3].std(axis=0).clip(1e-9), np.log1p(table[::3, -3])
    compare(X, y, theirs_iter=300, loss=loss, epsilon=epsilon, C=0.1)


@pytest.mark.realdata
@pytest.mark.parametrize("parameters", COMBINATIONS, ids=str)
def test_real_texts(parameters: dict[str, Any], data_dir: Path) -> None:
    from sklearn.feature_extraction.text import TfidfVectorizer

    lines = (data_dir / "text_classification/trec/TREC.train").read_text("latin-1").splitlines()
    texts = [line.split(" ", 1)[1] for line in lines[:1500]]
    X = TfidfVectorizer().fit_transform(texts)
    y = np.array([float(len(text)) for text in texts]) / 50
    ours, theirs = compare(X, y, theirs_iter=1000, epsilon=0.1, **parameters)
    np.testing.assert_allclose(ours.predict(X), theirs.predict(X), atol=0.05)


@pytest.mark.parametrize("parameters", COMBINATIONS, ids=str)
@pytest.mark.parametrize("form", ["dense", "csr"])
def test_threads_do_not_change_bits(parameters: dict[str, Any], form: str) -> None:
    X, y = load_digits(return_X_y=True)
    given: Any = sparse.csr_array(X / 16) if form == "csr" else X / 16
    models = [LinearSVR(n_jobs=n, random_state=0, **parameters).fit(given, y) for n in (1, 2, 4)]
    for other in models[1:]:
        np.testing.assert_array_equal(models[0].coef_, other.coef_)
        np.testing.assert_array_equal(models[0].predict(given), other.predict(given))


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"dual": False}, "is not supported when dual=False"),
        ({"loss": "huber"}, "loss"),
        ({"epsilon": -0.1}, "epsilon"),
        ({"epsilon": np.inf}, "epsilon"),
        ({"C": 0}, "C"),
        ({"tol": 0}, "tol"),
        ({"max_iter": -1}, "max_iter"),
        ({"intercept_scaling": 0}, "intercept_scaling"),
        ({"warm_start": "yes"}, "warm_start"),
    ],
)
def test_bad_parameters_are_named(parameters: dict[str, Any], words: str) -> None:
    X, y = diabetes()
    with pytest.raises((ValueError, TypeError), match=words):
        LinearSVR(**parameters).fit(X, y)


@pytest.mark.parametrize("loss", LOSSES)
def test_bad_rows_and_targets(loss: str) -> None:
    X, y = diabetes()
    model = LinearSVR(loss=loss)
    for value, words in [(np.nan, "NaN"), (np.inf, "infinity")]:
        bad, wrong = X.copy(), y.copy()
        bad[3, 2] = wrong[5] = value
        with pytest.raises(ValueError, match=words):
            model.fit(bad, y)
        with pytest.raises(ValueError, match=f"y contains {words}"):
            model.fit(X, wrong)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        model.fit(X, y[:-1])
    with pytest.raises(ValueError, match="y is None"):
        model.fit(X, None)
    with pytest.raises(ValueError, match="1d array"):
        model.fit(X, np.column_stack([y, y]))
    with pytest.raises(ValueError, match="Negative values in sample_weight"):
        model.fit(X, y, -np.ones(len(y)))
    with pytest.raises(ValueError, match="overflow"):
        model.fit(X * 1e200, y)
    with pytest.raises(ValueError, match="1 feature"):
        model.fit(X, y).predict(X[:, :1])
    with pytest.warns(DataConversionWarning):
        model.fit(X, y[:, None])


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("max_iter", [0, 1])
def test_too_few_iterations_warn(loss: str, max_iter: int) -> None:
    X, y = diabetes()
    with pytest.warns(ConvergenceWarning, match=f"LinearSVR stopped at max_iter={max_iter}"):
        model = LinearSVR(loss=loss, max_iter=max_iter, epsilon=3.0).fit(X, y)
    assert model.n_iter_ == max_iter


@pytest.mark.parametrize("loss", LOSSES)
def test_files_pickles_and_serving(loss: str, tmp_path: Path) -> None:
    X, y = load_iris(return_X_y=True)
    model = LinearSVR(loss=loss, epsilon=0.1, random_state=0).fit(X[:, :3], X[:, 3])
    assert is_regressor(model)
    assert not model.coef_.flags.writeable
    model.save(tmp_path / "model")
    want = model.predict(X[:, :3])
    served = serving.load(tmp_path / "model")
    assert served.classes is None
    for other in (ironlearn.load(tmp_path / "model"), pickle.loads(pickle.dumps(model)), served):
        np.testing.assert_array_equal(other.predict(X[:, :3]), want)
    with pytest.raises(ValueError, match="must have shape"):
        served.predict(X)
    assert y is not None
