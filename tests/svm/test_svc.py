"""SVC beside LIBSVM."""

from __future__ import annotations

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
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_wine
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics.pairwise import (
    linear_kernel,
    polynomial_kernel,
    rbf_kernel,
    sigmoid_kernel,
)
from sklearn.svm import SVC as Theirs

import ironlearn
from ironlearn import serving
from ironlearn.exceptions import InvalidParameterError
from ironlearn.svm import SVC


def _gamma(model: Any, X: np.ndarray) -> float:
    if model.gamma == "scale":
        return 1.0 / (X.shape[1] * X.var())
    return 1.0 / X.shape[1] if model.gamma == "auto" else model.gamma


def _kernel(model: Any, X: np.ndarray) -> np.ndarray:
    g = _gamma(model, X)
    if model.kernel == "linear":
        return linear_kernel(X)
    if model.kernel == "rbf":
        return rbf_kernel(X, gamma=g)
    if model.kernel == "poly":
        return polynomial_kernel(X, degree=model.degree, gamma=g, coef0=model.coef0)
    return sigmoid_kernel(X, gamma=g, coef0=model.coef0)


def _objectives(model: Any, K: np.ndarray) -> np.ndarray:
    """The dual objective of each pair, from the fitted attributes alone."""
    dual = model.dual_coef_
    dual = dual.toarray() if sparse.issparse(dual) else dual
    ends = np.concatenate([[0], np.cumsum(model.n_support_)])
    values = []
    for a in range(len(ends) - 1):
        for b in range(a + 1, len(ends) - 1):
            first, second = slice(ends[a], ends[a + 1]), slice(ends[b], ends[b + 1])
            weights = np.concatenate([dual[b - 1, first], dual[a, second]])
            rows = np.concatenate([model.support_[first], model.support_[second]])
            values.append(weights @ K[np.ix_(rows, rows)] @ weights / 2 - np.abs(weights).sum())
    return np.array(values)


def _assert_as_good(ours: SVC, theirs: Any, K: np.ndarray, rtol: float = 1e-4) -> None:
    np.testing.assert_allclose(_objectives(ours, K), _objectives(theirs, K), rtol=rtol, atol=1e-9)


@pytest.mark.parametrize("load", [load_iris, load_digits, load_breast_cancer, load_wine])
@pytest.mark.parametrize("kernel", ["linear", "poly", "rbf", "sigmoid"])
@pytest.mark.parametrize("tol", [1e-3, 1e-6])
def test_equals_libsvm(load: Any, kernel: str, tol: float) -> None:
    X, y = load(return_X_y=True)
    if kernel == "linear" or kernel == "sigmoid":
        X = (X - X.mean(axis=0)) / np.maximum(X.std(axis=0), 1e-3)
    if kernel == "sigmoid":
        # An indefinite kernel has many stationary points; a small one is nearly linear.
        parameters = {"gamma": 0.1 / X.shape[1]}
    else:
        parameters = {}
    ours = SVC(kernel=kernel, tol=tol, **parameters).fit(X, y)
    theirs = Theirs(kernel=kernel, tol=tol, **parameters).fit(X, y)
    K = _kernel(ours, X)
    _assert_as_good(ours, theirs, K)
    assert np.mean(ours.predict(X) == theirs.predict(X)) >= 0.999
    np.testing.assert_allclose(ours.intercept_, theirs.intercept_, atol=20 * tol, rtol=20 * tol)
    scores, expected = ours.decision_function(X), theirs.decision_function(X)
    assert scores.shape == expected.shape
    if tol < 1e-5:
        ours.decision_function_shape = theirs.decision_function_shape = "ovo"
        np.testing.assert_allclose(
            ours.decision_function(X), theirs.decision_function(X), atol=1e-3, rtol=1e-3
        )
        strong = np.abs(np.asarray(theirs.dual_coef_)).max(axis=0) > 1e-3
        assert np.isin(theirs.support_[strong], ours.support_).all()


def test_attributes_are_laid_out_as_in_libsvm() -> None:
    X, y = load_wine(return_X_y=True)
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    order = np.random.RandomState(0).permutation(len(y))
    X, y = X[order], y[order]
    for kernel in ("linear", "rbf"):
        for keep in (y >= 0, y < 2):
            ours = SVC(kernel=kernel, tol=1e-8).fit(X[keep], y[keep])
            theirs = Theirs(kernel=kernel, tol=1e-8).fit(X[keep], y[keep])
            np.testing.assert_array_equal(ours.support_, theirs.support_)
            np.testing.assert_array_equal(ours.n_support_, theirs.n_support_)
            np.testing.assert_array_equal(ours.support_vectors_, theirs.support_vectors_)
            np.testing.assert_allclose(ours.dual_coef_, theirs.dual_coef_, atol=1e-4)
            np.testing.assert_allclose(ours.intercept_, theirs.intercept_, atol=1e-5)
            for name in ("support_", "n_support_", "n_iter_", "class_weight_", "dual_coef_"):
                assert getattr(ours, name).dtype == getattr(theirs, name).dtype, name
                assert getattr(ours, name).shape == getattr(theirs, name).shape, name
            assert ours.fit_status_ == 0
            assert ours.shape_fit_ == theirs.shape_fit_
            if kernel == "linear":
                np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=1e-5)
                assert not ours.coef_.flags.writeable
            else:
                with pytest.raises(AttributeError, match="linear kernel"):
                    _ = ours.coef_


def _image_rows(data_dir: Path, n: int) -> tuple[np.ndarray, np.ndarray]:
    images = gzip.open(data_dir / "mnist" / "train-images-idx3-ubyte.gz").read()
    labels = gzip.open(data_dir / "mnist" / "train-labels-idx1-ubyte.gz").read()
    X = np.frombuffer(images, np.uint8, offset=16).reshape(-1, 784)[:n] / 255.0
    return X, np.frombuffer(labels, np.uint8, offset=8)[:n]


@pytest.mark.realdata
def test_equals_libsvm_on_images(data_dir: Path) -> None:
    X, y = _image_rows(data_dir, 3000)
    ours, theirs = SVC().fit(X[:2000], y[:2000]), Theirs().fit(X[:2000], y[:2000])
    assert np.mean(ours.predict(X) == theirs.predict(X)) >= 0.999
    _assert_as_good(ours, theirs, _kernel(ours, X[:2000]))


@pytest.mark.realdata
@pytest.mark.parametrize("C", [1.0, 30.0])
def test_large_problems_are_solved_in_working_sets(data_dir: Path, C: float) -> None:
    X, y = _image_rows(data_dir, 3000)
    y = (y >= 5).astype(int)
    ours, theirs = SVC(C=C, cache_size=5).fit(X, y), Theirs(C=C).fit(X, y)
    _assert_as_good(ours, theirs, _kernel(ours, X))
    assert np.mean(ours.predict(X) == theirs.predict(X)) >= 0.999


@pytest.mark.realdata
def test_equals_libsvm_on_tables(data_dir: Path) -> None:
    letter = gzip.open(data_dir / "tabular" / "letter" / "letter-recognition.data.gz").read()
    rows = [line.split(",") for line in letter.decode().split()[:2500]]
    letters = np.array([r[1:] for r in rows], float), np.array([r[0] for r in rows])
    higgs = np.loadtxt(data_dir / "tabular" / "higgs" / "binary.train.gz", max_rows=2500)
    for X, y in (letters, (higgs[:, 1:], higgs[:, 0])):
        X = (X - X.mean(axis=0)) / np.maximum(X.std(axis=0), 1e-9)
        for given_ in ({}, {"C": 10.0, "class_weight": "balanced"}):
            ours = SVC(cache_size=1, **given_).fit(X[:1800], y[:1800])
            theirs = Theirs(**given_).fit(X[:1800], y[:1800])
            _assert_as_good(ours, theirs, _kernel(ours, X[:1800]))
            assert np.mean(ours.predict(X) == theirs.predict(X)) >= 0.999


@pytest.mark.realdata
@pytest.mark.parametrize("kernel", ["rbf", "linear"])
def test_equals_libsvm_on_sparse_text(data_dir: Path, kernel: str) -> None:
    from sklearn.feature_extraction.text import TfidfVectorizer

    lines = (data_dir / "text_classification" / "trec" / "TREC.train").read_text("latin-1")
    pairs = [line.split(" ", 1) for line in lines.rstrip("\n").split("\n")][:2000]
    X = TfidfVectorizer().fit_transform([text for _, text in pairs])
    y = np.array([label.split(":")[0] for label, _ in pairs])
    ours = SVC(kernel=kernel, gamma=1.0).fit(X[:1500], y[:1500])
    theirs = Theirs(kernel=kernel, gamma=1.0).fit(X[:1500], y[:1500])
    _assert_as_good(ours, theirs, _kernel(ours, X[:1500]))
    assert np.mean(ours.predict(X) == theirs.predict(X)) >= 0.999


def _noisy(n: int, width: int = 6) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.RandomState(0)
    X = rng.randn(n, width)
    return X, (X[:, 0] + np.sin(2 * X[:, 1]) + rng.randn(n) > 0).astype(int)


@pytest.mark.parametrize("parameters", [{}, {"C": 100.0, "gamma": 2.0}, {"kernel": "linear"}])
@pytest.mark.parametrize("cache_size", [200, 1, 0.01])
def test_working_sets_need_little_memory(parameters: dict[str, Any], cache_size: float) -> None:
    X, y = _noisy(1500)
    ours = SVC(cache_size=cache_size, **parameters).fit(X, y)
    theirs = Theirs(**parameters).fit(X, y)
    _assert_as_good(ours, theirs, _kernel(ours, X))
    assert np.mean(ours.predict(X) == theirs.predict(X)) >= 0.997
    again = SVC(cache_size=cache_size, n_jobs=1, **parameters).fit(X, y)
    np.testing.assert_array_equal(again.dual_coef_, ours.dual_coef_)


def test_same_bits_for_any_number_of_threads_and_any_schedule() -> None:
    X, y = load_digits(return_X_y=True)
    two = (y >= 5).astype(int)
    for labels in (y, two):
        first = SVC(n_jobs=1).fit(X, labels)
        for n_jobs in (2, 3):
            other = SVC(n_jobs=n_jobs).fit(X, labels)
            assert other.dual_coef_.tobytes() == first.dual_coef_.tobytes()
            assert other.intercept_.tobytes() == first.intercept_.tobytes()
            assert other.decision_function(X).tobytes() == first.decision_function(X).tobytes()


@given(
    n=st.integers(8, 60),
    width=st.integers(1, 20),
    classes=st.integers(2, 4),
    kernel=st.sampled_from(["linear", "poly", "rbf"]),
    C=st.sampled_from([0.1, 1.0, 10.0]),
    weighted=st.booleans(),
    balanced=st.booleans(),
    dtype=st.sampled_from([np.float32, np.float64]),
    csr=st.booleans(),
    strided=st.booleans(),
    seed=st.integers(0, 1000),
)
@settings(max_examples=60)
def test_any_data_equals_libsvm(
    n: int,
    width: int,
    classes: int,
    kernel: str,
    C: float,
    weighted: bool,
    balanced: bool,
    dtype: Any,
    csr: bool,
    strided: bool,
    seed: int,
) -> None:
    rng = np.random.RandomState(seed)
    y = np.arange(n) % classes
    rng.shuffle(y)
    X = rng.randn(n, width) * rng.randint(0, 2, (n, width)) + 0.3 * y[:, None]
    X = np.round(X, 2).astype(dtype)
    weights = rng.randint(1, 4, n).astype(float) if weighted else None
    exact = X.astype(np.float64)
    settings_ = {
        "kernel": kernel,
        "C": C,
        "tol": 1e-6,
        "gamma": 1 / width,
        "coef0": 1.0,
        "class_weight": "balanced" if balanced else None,
    }
    given_X: Any = X
    if csr:
        given_X = sparse.csr_matrix(X)
    elif strided:
        given_X = np.repeat(X, 2, axis=1)[:, ::2]
    ours = SVC(**settings_).fit(given_X, y, weights)
    theirs = Theirs(**settings_).fit(exact, y, weights)
    _assert_as_good(ours, theirs, _kernel(ours, exact))
    ours.decision_function_shape = theirs.decision_function_shape = "ovo"
    scores = ours.decision_function(given_X).reshape(n, -1)
    expected = theirs.decision_function(exact).reshape(n, -1)
    # Without a free support vector many constants are optimal; the rest is still unique.
    size = 1 + np.abs(expected).max()
    np.testing.assert_allclose(
        scores - ours.intercept_, expected - theirs.intercept_, atol=2e-3 * size
    )
    if np.allclose(ours.intercept_, theirs.intercept_, atol=2e-3 * size):
        clear = np.abs(expected).min(axis=1) > 1e-2 * size
        np.testing.assert_array_equal(ours.predict(given_X)[clear], theirs.predict(exact)[clear])
    if kernel == "linear":
        coef = ours.coef_.toarray() if csr else ours.coef_
        np.testing.assert_allclose(
            exact @ coef.T + ours.intercept_, scores, atol=1e-4 * (1 + np.abs(scores).max())
        )


def test_weights_of_zero_remove_rows() -> None:
    X, y = load_iris(return_X_y=True)
    weights = np.ones(len(y))
    weights[::3] = 0
    ours = SVC(tol=1e-8, gamma=0.5).fit(X, y, weights)
    without = SVC(tol=1e-8, gamma=0.5).fit(X[weights > 0], y[weights > 0])
    np.testing.assert_array_equal(ours.decision_function(X), without.decision_function(X))
    np.testing.assert_array_equal(ours.support_vectors_, without.support_vectors_)
    np.testing.assert_array_equal(X[ours.support_], ours.support_vectors_)


@pytest.mark.parametrize("csr", [False, True])
def test_weights_count_rows(csr: bool) -> None:
    X, y = load_iris(return_X_y=True)
    weights = np.random.RandomState(0).randint(0, 4, len(y))
    repeated = np.repeat(X, weights, axis=0)
    one: Any = sparse.csr_matrix(X) if csr else X
    other: Any = sparse.csr_matrix(repeated) if csr else repeated
    ours = SVC(tol=1e-8, gamma=0.5).fit(one, y, weights)
    theirs = SVC(tol=1e-8, gamma=0.5).fit(other, np.repeat(y, weights))
    np.testing.assert_allclose(
        ours.decision_function(one), theirs.decision_function(one), atol=1e-6
    )


def test_precomputed_and_callable_equal_the_kernel_itself() -> None:
    X, y = load_iris(return_X_y=True)
    direct = SVC(gamma=0.3).fit(X, y)
    by_matrix = SVC(kernel="precomputed").fit(rbf_kernel(X, gamma=0.3), y)
    by_function = SVC(kernel=lambda a, b: rbf_kernel(a, b, gamma=0.3)).fit(X, y)
    part = X[::7]
    expected = direct.decision_function(part)
    for model, query in ((by_matrix, rbf_kernel(part, X, gamma=0.3)), (by_function, part)):
        np.testing.assert_array_equal(model.predict(query), direct.predict(part))
        np.testing.assert_allclose(model.decision_function(query), expected, atol=2e-3)
        assert model.support_vectors_.shape == (0, 0)
    assert by_function.shape_fit_ == X.shape
    single = SVC(kernel="precomputed").fit(rbf_kernel(X, gamma=0.3).astype(np.float32), y)
    np.testing.assert_array_equal(single.support_, by_matrix.support_)


def test_callable_kernel_of_strings() -> None:
    words = ["aa", "aab", "aaa", "bb", "bba", "bbb"]

    def shared(a: list[str], b: list[str]) -> np.ndarray:
        return np.array([[sum(p.count(c) * q.count(c) for c in "ab") for q in b] for p in a], float)

    model = SVC(kernel=shared).fit(words, [0, 0, 0, 1, 1, 1])
    assert model.predict(["aaaa", "bbbb"]).tolist() == [0, 1]
    with pytest.raises(ValueError, match="'kernel'"):
        model.save("nowhere")


@pytest.mark.parametrize("break_ties", [False, True])
def test_votes_and_ties(break_ties: bool) -> None:
    rng = np.random.RandomState(0)
    X, y = rng.randn(80, 2), np.arange(80) % 5
    grid = rng.randn(500, 2) * 2
    ours = SVC(break_ties=break_ties, tol=1e-8).fit(X, y)
    theirs = Theirs(break_ties=break_ties, tol=1e-8).fit(X, y)
    assert np.mean(ours.predict(grid) == theirs.predict(grid)) >= 0.99
    if break_ties:
        scores = ours.decision_function(grid)
        np.testing.assert_array_equal(ours.predict(grid), ours.classes_[scores.argmax(axis=1)])
        ours.decision_function_shape = "ovo"
        with pytest.raises(ValueError, match="break_ties must be False"):
            ours.predict(grid)


def test_sparse_rows_stay_sparse() -> None:
    X = sparse.random(60, 200_000, density=1e-3, format="csr", random_state=0)
    y = np.arange(60) % 3
    ours, theirs = SVC(tol=1e-6).fit(X, y), Theirs(tol=1e-6).fit(X, y)
    assert sparse.issparse(ours.support_vectors_)
    assert sparse.issparse(ours.dual_coef_)
    np.testing.assert_array_equal(ours.support_, theirs.support_)
    np.testing.assert_allclose(ours.dual_coef_.toarray(), theirs.dual_coef_.toarray(), atol=1e-4)
    np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))
    np.testing.assert_allclose(
        ours.decision_function(X[:2]), ours.decision_function(X)[:2], atol=1e-12
    )
    linear = SVC(kernel="linear").fit(X, y)
    assert sparse.issparse(linear.coef_)
    copy = pickle.loads(pickle.dumps(linear))
    np.testing.assert_array_equal(copy.decision_function(X), linear.decision_function(X))


@pytest.mark.parametrize("kernel", ["rbf", "precomputed", "sparse"])
def test_files_and_serving(kernel: str, tmp_path: Path) -> None:
    X, y = load_wine(return_X_y=True)
    X = X / X.max(axis=0)
    given_X: Any = rbf_kernel(X) if kernel == "precomputed" else X
    if kernel == "sparse":
        given_X = sparse.csr_matrix(X)
    model = SVC(
        kernel="rbf" if kernel == "sparse" else kernel,
        break_ties=True,
        class_weight={0: 2.0, 1: 1.0},
    )
    model.fit(given_X, y)
    model.save(tmp_path / "model")
    loaded = ironlearn.load(tmp_path / "model")
    for name in ("support_", "n_support_", "intercept_", "classes_", "class_weight_", "n_iter_"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(model, name))
    assert loaded.shape_fit_ == model.shape_fit_
    expected = model.decision_function(given_X)
    np.testing.assert_array_equal(loaded.decision_function(given_X), expected)
    if kernel != "sparse":
        served = serving.load(tmp_path / "model")
        np.testing.assert_array_equal(served.decision_function(given_X), expected)
        np.testing.assert_array_equal(served.predict(given_X), model.predict(given_X))


def test_a_hard_margin() -> None:
    X, y = load_iris(return_X_y=True)
    keep = y < 2
    weights = np.arange(keep.sum()) % 3
    for parameters in ({}, {"class_weight": {0: 1.0, 1: 3.0}}):
        ours = SVC(kernel="linear", C=np.inf, **parameters).fit(X[keep], y[keep], weights)
        theirs = Theirs(kernel="linear", C=1e10).fit(X[keep], y[keep], weights)
        np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=1e-2)
        assert ours.score(X[keep][weights > 0], y[keep][weights > 0]) == 1


def test_int64_indices_and_unsorted_rows() -> None:
    X, y = load_iris(return_X_y=True)
    plain = sparse.csr_matrix(X)
    wide, mixed = plain.copy(), plain.copy()
    wide.indices, wide.indptr = wide.indices.astype(np.int64), wide.indptr.astype(np.int64)
    for row in range(len(y)):
        part = slice(mixed.indptr[row], mixed.indptr[row + 1])
        mixed.indices[part] = mixed.indices[part][::-1].copy()
        mixed.data[part] = mixed.data[part][::-1].copy()
    mixed.has_sorted_indices = False
    expected = SVC().fit(plain, y).decision_function(plain)
    for other in (wide, mixed, sparse.csc_array(X), sparse.coo_matrix(X)):
        np.testing.assert_array_equal(SVC().fit(other, y).decision_function(other), expected)
    for place, value in ((5, 99), (5, -1)):
        broken = wide.copy()
        broken.indices[place] = value
        with pytest.raises(ValueError, match="ind"):
            SVC().fit(broken, y)


def test_equal_rows_and_constant_columns() -> None:
    X = np.repeat([[0.0, 1.0], [1.0, 1.0]], 30, axis=0)
    y = np.repeat([0, 1], 30)
    y[:5] = 1
    _assert_as_good(SVC().fit(X, y), Theirs().fit(X, y), rbf_kernel(X, gamma=1 / (2 * X.var())))
    assert SVC().fit(np.ones((6, 2)), [0, 1, 0, 1, 1, 1]).predict([[1.0, 1.0]]) == [1]


def test_few_steps_warn() -> None:
    X, y = load_digits(return_X_y=True)
    with pytest.warns(ConvergenceWarning, match="max_iter=5"):
        model = SVC(max_iter=5).fit(X, y)
    assert model.fit_status_ == 1
    assert model.n_iter_.max() <= 5
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert SVC(max_iter=100_000).fit(X, y).fit_status_ == 0


def test_verbose_prints_a_line_a_pair(capsys: pytest.CaptureFixture[str]) -> None:
    X, y = load_iris(return_X_y=True)
    SVC(verbose=True).fit(X, y)
    assert capsys.readouterr().out.count("[SVC] problem") == 3


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"C": -1.0}, "'C'"),
        ({"C": 0.0}, "'C'"),
        ({"gamma": -0.1}, "'gamma'"),
        ({"gamma": "huge"}, "'gamma'"),
        ({"kernel": "cubic"}, "'kernel'"),
        ({"degree": -1}, "'degree'"),
        ({"tol": 0.0}, "'tol'"),
        ({"cache_size": 0}, "'cache_size'"),
        ({"max_iter": -2}, "'max_iter'"),
        ({"decision_function_shape": "one"}, "'decision_function_shape'"),
    ],
)
def test_bad_parameters(parameters: dict[str, Any], words: str) -> None:
    X, y = load_iris(return_X_y=True)
    with pytest.raises(InvalidParameterError, match=words):
        SVC(**parameters).fit(X, y)


def test_bad_input() -> None:
    X, y = load_iris(return_X_y=True)
    K = rbf_kernel(X)
    hole = K.copy()
    hole[3, 4] = np.nan
    cases: list[tuple[SVC, Any, Any, Any, str]] = [
        (SVC(kernel="precomputed"), K[:, :-1], y, None, "square"),
        (SVC(kernel="precomputed"), hole, y, None, "NaN"),
        (SVC(kernel="precomputed"), K * 1e300, y, None, "infinity"),
        (SVC(kernel=lambda a, b: np.ones((3, 3))), X, y, None, r"shape \(150, 150\)"),
        (SVC(kernel=lambda a, b: hole), X, y, None, "NaN or infinity"),
        (SVC(), X, np.zeros(150), None, "class"),
        (SVC(), X, y, -np.ones(150), "[Nn]egative"),
        (SVC(), X, y, np.zeros(150), "zero"),
        (SVC(), X, y, (y == 1).astype(float), "same class"),
        (SVC(), X, y, np.ones(149), "incompatible shapes"),
        (SVC(), X, y, np.full(150, np.nan), "sample_weight.*NaN"),
        (SVC(), X, y[:-1], None, "inconsistent"),
        (SVC(gamma=float("inf")), X, y, None, "gamma"),
        (SVC(class_weight={0: -1.0}), X, y, None, "class_weight"),
        (SVC(kernel="poly", degree=200, gamma=1.0), X * 100, y, None, "infinity"),
    ]
    for model, bad_X, bad_y, weights, words in cases:
        with pytest.raises(ValueError, match=words):
            model.fit(bad_X, bad_y, weights)
    with pytest.raises(TypeError, match="[Ss]parse"):
        SVC(kernel="precomputed").fit(sparse.csr_matrix(K), y)
    fitted = SVC(kernel="precomputed").fit(K, y)
    with pytest.raises(ValueError, match="features"):
        fitted.predict(K[:, :10])
    function = SVC(kernel=linear_kernel).fit(X, y)
    function.kernel = lambda a, b: np.ones((2, 2))
    with pytest.raises(ValueError, match=r"shape \(150, 150\)"):
        function.predict(X)
    broken = sparse.csr_matrix(X)
    broken.indices[5] = 99
    with pytest.raises(ValueError, match="ind"):
        SVC().fit(broken, y)
