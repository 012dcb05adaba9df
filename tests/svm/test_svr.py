"""SVR beside LIBSVM."""

from __future__ import annotations

import gzip
import io
import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from sklearn.datasets import load_diabetes, load_iris
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics.pairwise import linear_kernel, polynomial_kernel, rbf_kernel
from sklearn.svm import SVR as Theirs

import ironlearn
from ironlearn import serving
from ironlearn.exceptions import InvalidParameterError
from ironlearn.svm import SVR


def _kernel(model: Any, X: Any) -> np.ndarray:
    if model.kernel == "linear":
        return linear_kernel(X)
    g = model._gamma
    if model.kernel == "poly":
        return polynomial_kernel(X, degree=model.degree, gamma=g, coef0=model.coef0)
    return rbf_kernel(X, gamma=g)


def _objective(model: Any, K: np.ndarray, y: np.ndarray) -> float:
    """The dual objective from the fitted attributes alone."""
    dual = model.dual_coef_
    beta = (dual.toarray() if sparse.issparse(dual) else dual)[0]
    s = model.support_
    quadratic = beta @ K[np.ix_(s, s)] @ beta / 2
    return float(quadratic - y[s] @ beta + model.epsilon * np.abs(beta).sum())


def _assert_as_good(ours: SVR, theirs: Any, X: Any, y: np.ndarray, rtol: float = 1e-4) -> None:
    K = _kernel(theirs, X)
    np.testing.assert_allclose(
        _objective(ours, K, y), _objective(theirs, K, y), rtol=rtol, atol=1e-9
    )


@pytest.mark.parametrize("kernel", ["linear", "poly", "rbf"])
@pytest.mark.parametrize("epsilon", [0.0, 0.1])
@pytest.mark.parametrize("C", [0.5, 20.0])
def test_equals_libsvm(kernel: str, epsilon: float, C: float) -> None:
    X, y = load_diabetes(return_X_y=True)
    X, y = X / X.std(axis=0), (y - y.mean()) / y.std()
    given_: dict[str, Any] = {"kernel": kernel, "epsilon": epsilon, "C": C, "degree": 2}
    ours = SVR(tol=1e-5, **given_).fit(X, y)
    theirs = Theirs(tol=1e-5, **given_).fit(X, y)
    _assert_as_good(ours, theirs, X, y, 1e-6)
    np.testing.assert_allclose(ours.predict(X), theirs.predict(X), atol=1e-3)
    np.testing.assert_allclose(ours.intercept_, theirs.intercept_, atol=1e-3)


def test_attributes_are_laid_out_as_in_libsvm() -> None:
    X, y = load_iris(return_X_y=True)
    X, y = X[:, :3], X[:, 3]
    for kernel in ("linear", "rbf"):
        ours = SVR(kernel=kernel, tol=1e-8).fit(X, y)
        theirs = Theirs(kernel=kernel, tol=1e-8).fit(X, y)
        for name in ("support_", "n_support_", "dual_coef_", "intercept_", "support_vectors_"):
            mine, other = getattr(ours, name), getattr(theirs, name)
            assert (mine.dtype, mine.shape) == (other.dtype, other.shape), name
        np.testing.assert_array_equal(ours.support_, theirs.support_)
        np.testing.assert_allclose(ours.dual_coef_, theirs.dual_coef_, atol=1e-3)
        assert type(ours.n_iter_) is type(theirs.n_iter_)
        assert (ours.fit_status_, ours.shape_fit_) == (0, theirs.shape_fit_)
        if kernel == "linear":
            np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=1e-5)
        else:
            with pytest.raises(AttributeError, match="linear kernel"):
                _ = ours.coef_


@given(
    n=st.integers(2, 60),
    width=st.integers(1, 8),
    kernel=st.sampled_from(["linear", "poly", "rbf"]),
    C=st.sampled_from([0.1, 10.0]),
    epsilon=st.sampled_from([0.0, 0.3, 100.0]),
    weighted=st.booleans(),
    dtype=st.sampled_from([np.float32, np.float64]),
    form=st.sampled_from(["dense", "strided", "csr", "int64"]),
    seed=st.integers(0, 1000),
)
@settings(max_examples=60)
def test_any_data_equals_libsvm(
    n: int,
    width: int,
    kernel: str,
    C: float,
    epsilon: float,
    weighted: bool,
    dtype: Any,
    form: str,
    seed: int,
) -> None:
    rng = np.random.RandomState(seed)
    X = np.round(rng.randn(n, width) * rng.randint(0, 2, (n, width)), 2).astype(dtype)
    y = np.round(X[:, 0] + rng.randn(n), 2)
    weights = rng.randint(-1, 4, n).astype(float) if weighted else np.ones(n)
    weights[0] = 1.0
    exact = X.astype(np.float64)
    given_: dict[str, Any] = {"kernel": kernel, "C": C, "epsilon": epsilon}
    given_ |= {"tol": 1e-6, "gamma": 1 / width, "coef0": 1.0}
    rows: Any = X
    if form == "strided":
        rows = np.repeat(X, 2, axis=1)[:, ::2]
    elif form != "dense":
        rows = sparse.csr_matrix(X)
    if form == "int64":
        rows.indices, rows.indptr = rows.indices.astype(np.int64), rows.indptr.astype(np.int64)
    ours = SVR(**given_).fit(rows, y, weights)
    # LIBSVM leaves rows of weight 0 out, and then counts support vectors without them.
    part = weights > 0
    theirs = Theirs(**given_).fit(exact[part], y[part], weights[part])
    np.testing.assert_allclose(
        _objective(ours, _kernel(theirs, exact), y),
        _objective(theirs, _kernel(theirs, exact[part]), y[part]),
        rtol=1e-4,
        atol=1e-9,
    )
    # Without a free support vector many constants are optimal; the rest is still unique.
    size = 1 + np.abs(y).max()
    np.testing.assert_allclose(
        ours.predict(rows) - ours.intercept_,
        theirs.predict(exact) - theirs.intercept_,
        atol=1e-3 * size,
    )


@pytest.mark.parametrize("csr", [False, True])
def test_weights_count_rows(csr: bool) -> None:
    X, y = load_iris(return_X_y=True)
    X, y = X[:, :3], X[:, 3]
    weights = np.random.RandomState(0).randint(0, 4, len(y))
    form: Any = sparse.csr_matrix if csr else np.asarray
    one = SVR(tol=1e-8, gamma=0.5).fit(form(X), y, weights)
    other = SVR(tol=1e-8, gamma=0.5).fit(form(np.repeat(X, weights, axis=0)), np.repeat(y, weights))
    np.testing.assert_allclose(one.predict(form(X)), other.predict(form(X)), atol=1e-6)


def test_precomputed_and_callable_equal_the_kernel_itself() -> None:
    X, y = load_iris(return_X_y=True)
    X, y = X[:, :3], X[:, 3]
    direct = SVR(gamma=0.3, tol=1e-6).fit(X, y)
    by_matrix = SVR(kernel="precomputed", tol=1e-6).fit(rbf_kernel(X, gamma=0.3), y)
    by_function = SVR(kernel=lambda a, b: rbf_kernel(a, b, gamma=0.3), tol=1e-6).fit(X, y)
    part = X[::7]
    for model, query in ((by_matrix, rbf_kernel(part, X, gamma=0.3)), (by_function, part)):
        np.testing.assert_allclose(model.predict(query), direct.predict(part), atol=1e-4)
        assert model.support_vectors_.shape == (0, 0)
    with pytest.raises(ValueError, match="'kernel'"):
        by_function.save("nowhere")


def _waves(n: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.RandomState(0)
    X = rng.randn(n, 4)
    return X, np.sin(2 * X[:, 0]) + X[:, 1] + 0.1 * rng.randn(n)


@pytest.mark.parametrize("shrinking", [False, True])
@pytest.mark.parametrize("cache_size", [200, 1, 0.01])
def test_working_sets_shrinking_and_little_memory(shrinking: bool, cache_size: float) -> None:
    X, y = _waves(1500)
    given_: dict[str, Any] = {"C": 3.0, "epsilon": 0.15}
    ours = SVR(cache_size=cache_size, shrinking=shrinking, **given_).fit(X, y)
    theirs = Theirs(**given_).fit(X, y)
    _assert_as_good(ours, theirs, X, y)
    np.testing.assert_allclose(ours.predict(X), theirs.predict(X), atol=0.01)
    again = SVR(cache_size=cache_size, shrinking=shrinking, n_jobs=1, **given_).fit(X, y)
    np.testing.assert_array_equal(again.dual_coef_, ours.dual_coef_)


def _same_within_tolerance(a: np.ndarray, b: np.ndarray, scale: float) -> float:
    return float(np.mean(np.abs(a - b) <= 5e-3 * scale))


@pytest.mark.realdata
def test_equals_libsvm_on_tables(data_dir: Path) -> None:
    letter = gzip.open(data_dir / "tabular" / "letter" / "letter-recognition.data.gz").read()
    table = np.genfromtxt(io.BytesIO(letter), delimiter=",", max_rows=3000)[:, 1:]
    higgs = np.loadtxt(data_dir / "tabular" / "higgs" / "binary.train.gz", max_rows=2500)
    for X, y in ((table[:, 1:], table[:, 0]), (higgs[:, 2:], higgs[:, 1])):
        X = (X - X.mean(axis=0)) / np.maximum(X.std(axis=0), 1e-9)
        for given_ in ({}, {"C": 10.0, "epsilon": 0.01}):
            train = slice(0, len(X) * 2 // 3)
            ours = SVR(**given_).fit(X[train], y[train])
            theirs = Theirs(**given_).fit(X[train], y[train])
            _assert_as_good(ours, theirs, X[train], y[train])
            found = _same_within_tolerance(ours.predict(X), theirs.predict(X), y.std())
            assert found >= 0.999


@pytest.mark.realdata
def test_equals_libsvm_on_sparse_text(data_dir: Path) -> None:
    from sklearn.feature_extraction.text import TfidfVectorizer

    folder = data_dir / "text_classification" / "rt_polarity"
    texts = []
    for name in ("rt-polarity.pos", "rt-polarity.neg"):
        texts += (folder / name).read_text("latin-1").split("\n")[:700]
    y = np.repeat([1.0, -1.0], 700) + np.array([len(t) / 200 for t in texts])
    X = TfidfVectorizer().fit_transform(texts)
    ours, theirs = SVR().fit(X, y), Theirs().fit(X, y)
    _assert_as_good(ours, theirs, X, y)
    assert _same_within_tolerance(ours.predict(X), theirs.predict(X), y.std()) >= 0.999
    assert sparse.issparse(ours.support_vectors_)
    linear = SVR(kernel="linear").fit(X, y)
    assert sparse.issparse(linear.coef_)
    np.testing.assert_allclose(
        (X @ linear.coef_.T).toarray()[:, 0] + linear.intercept_, linear.predict(X), atol=1e-9
    )


@pytest.mark.parametrize("kernel", ["rbf", "precomputed", "sparse"])
def test_files_pickles_and_serving(kernel: str, tmp_path: Path) -> None:
    X, y = load_iris(return_X_y=True)
    X, y = X[:, :3], X[:, 3]
    rows: Any = {"rbf": X, "precomputed": rbf_kernel(X), "sparse": sparse.csr_matrix(X)}[kernel]
    model = SVR(kernel="precomputed" if kernel == "precomputed" else "rbf").fit(rows, y)
    model.save(tmp_path / "model")
    loaded = ironlearn.load(tmp_path / "model")
    expected = model.predict(rows)
    for other in (loaded, pickle.loads(pickle.dumps(model))):
        np.testing.assert_array_equal(other.predict(rows), expected)
        for name in ("support_", "n_support_", "intercept_", "n_iter_", "shape_fit_"):
            np.testing.assert_array_equal(getattr(other, name), getattr(model, name))
    if kernel != "sparse":
        served = serving.load(tmp_path / "model")
        np.testing.assert_array_equal(served.predict(rows), expected)
        assert not hasattr(served, "predict_proba")


def test_constant_targets_need_no_support_vector(tmp_path: Path) -> None:
    X = np.random.RandomState(0).randn(20, 3)
    for rows in (X, sparse.csr_matrix(X)):
        model = SVR(kernel="linear").fit(rows, np.full(20, 7.0))
        assert model.n_support_.tolist() == [0]
        np.testing.assert_allclose(model.predict(rows), 7.0, atol=0.1)
        np.testing.assert_array_equal(model.predict(rows[:1]), model.predict(rows)[:1])
        assert model.coef_.shape == (1, 3)
        model.save(tmp_path / "model")
        np.testing.assert_array_equal(
            ironlearn.load(tmp_path / "model").predict(rows), model.predict(rows)
        )


def test_few_steps_warn_and_verbose_prints(capsys: pytest.CaptureFixture[str]) -> None:
    X, y = load_diabetes(return_X_y=True)
    with pytest.warns(ConvergenceWarning, match="max_iter=5"):
        model = SVR(max_iter=5, C=100).fit(X, y)
    assert (model.fit_status_, model.n_iter_) == (1, 5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        SVR(verbose=True).fit(X, y)
    assert capsys.readouterr().out.count("[SVR] problem") == 1


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"C": -1.0}, "'C'"),
        ({"epsilon": -0.1}, "'epsilon'"),
        ({"epsilon": "small"}, "'epsilon'"),
        ({"gamma": -0.1}, "'gamma'"),
        ({"kernel": "cubic"}, "'kernel'"),
        ({"shrinking": "yes"}, "'shrinking'"),
        ({"cache_size": 0}, "'cache_size'"),
    ],
)
def test_bad_parameters(parameters: dict[str, Any], words: str) -> None:
    X, y = load_diabetes(return_X_y=True)
    with pytest.raises(InvalidParameterError, match=words):
        SVR(**parameters).fit(X, y)


def test_bad_input() -> None:
    X, y = load_diabetes(return_X_y=True)
    X, y = X[:100], y[:100]
    K = linear_kernel(X)
    hole = K.copy()
    hole[3, 4] = np.inf
    cases: list[tuple[SVR, Any, Any, Any, str]] = [
        (SVR(kernel="precomputed"), K[:, :-1], y, None, "square"),
        (SVR(kernel="precomputed"), hole, y, None, "infinity"),
        (SVR(kernel=lambda a, b: np.ones(5)), X, y, None, r"shape \(100, 100\)"),
        (SVR(kernel=lambda a, b: hole), X, y, None, "NaN or infinity"),
        (SVR(), X, np.where(y == y[4], np.nan, y), None, "NaN"),
        (SVR(), X, np.array(["a"] * 100), None, "could not convert|dtype"),
        (SVR(), X, np.c_[y, y], None, "1d"),
        (SVR(), X, y[:-1], None, "inconsistent"),
        (SVR(), X, None, None, "y is None"),
        (SVR(), X, y, -np.ones(100), "zero or negative"),
        (SVR(), X, y, np.ones(99), "incompatible shapes"),
        (SVR(), X, y, np.full(100, np.nan), "sample_weight.*NaN"),
        (SVR(epsilon=float("inf")), X, y, None, "epsilon"),
        (SVR(gamma=float("inf")), X, y, None, "gamma"),
    ]
    for model, bad_X, bad_y, weights, words in cases:
        with pytest.raises(ValueError, match=words):
            model.fit(bad_X, bad_y, weights)
    with pytest.raises(TypeError, match="[Ss]parse"):
        SVR(kernel="precomputed").fit(sparse.csr_matrix(K), y)
    fitted = SVR(kernel="precomputed").fit(K, y)
    with pytest.raises(ValueError, match="features"):
        fitted.predict(K[:, :10])
    for place, value in ((5, 99), (5, -1)):
        broken = sparse.csr_matrix(X)
        broken.indices[place] = value
        with pytest.raises(ValueError, match="ind"):
            SVR().fit(broken, y)
