"""Rows on a GPU: k-means and kernel machines take them, everything else says so."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_digits, load_wine
from sklearn.exceptions import NotFittedError
from sklearn.preprocessing import scale

from ironlearn import _gpu
from ironlearn.cluster import BisectingKMeans, KMeans, MiniBatchKMeans
from ironlearn.ensemble import RandomForestClassifier
from ironlearn.naive_bayes import GaussianNB
from ironlearn.svm import SVC, SVR, LinearSVC
from ironlearn.tree import DecisionTreeClassifier
from standin import cupy as standin_cupy


@pytest.fixture(params=["standin", pytest.param("gpu", marks=pytest.mark.gpu)])
def cupy(request: pytest.FixtureRequest) -> Iterator[Any]:
    """CuPy, or what stands in for it."""
    if request.param == "standin":
        with standin_cupy.install():
            import cupy

            yield cupy
    else:
        import cupy

        yield cupy


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", [KMeans, MiniBatchKMeans])
def test_clusters(cupy: Any, kind: Any, dtype: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_gpu, "BLOCK_BYTES", 50_000)
    X = load_digits().data.astype(dtype) + 100
    model = kind(12, random_state=0).fit(X)
    there = cupy.asarray(X)
    labels = model.predict(there)
    assert isinstance(labels, cupy.ndarray)
    np.testing.assert_array_equal(cupy.asnumpy(labels), model.predict(X))
    distances = model.transform(there)
    assert distances.dtype == dtype
    tolerance = 1e-3 if dtype == np.float32 else 1e-9
    np.testing.assert_allclose(cupy.asnumpy(distances), model.transform(X), atol=tolerance)
    assert model.score(there) == pytest.approx(model.score(X), rel=1e-5)
    weights = np.linspace(0, 1, len(X))
    assert model.score(there, sample_weight=weights) == pytest.approx(
        model.score(X, sample_weight=weights), rel=1e-5
    )


def test_integers_become_doubles(cupy: Any) -> None:
    X = load_digits().data
    model = KMeans(5, random_state=0).fit(X)
    there = cupy.asarray(X.astype(np.int32))
    np.testing.assert_array_equal(cupy.asnumpy(model.predict(there)), model.predict(X))
    assert model.transform(there).dtype == np.float64


@pytest.mark.parametrize("kernel", ["linear", "poly", "rbf", "sigmoid"])
@pytest.mark.parametrize("load", [load_breast_cancer, load_wine])
@pytest.mark.parametrize("shape", ["ovr", "ovo"])
def test_classes(cupy: Any, kernel: str, load: Any, shape: str) -> None:
    X, y = load(return_X_y=True)
    X = scale(X)
    model = SVC(kernel=kernel, decision_function_shape=shape).fit(X, y)
    there = cupy.asarray(X)
    scores = model.decision_function(there)
    np.testing.assert_allclose(cupy.asnumpy(scores), model.decision_function(X), atol=1e-9)
    classes = model.predict(there)
    assert isinstance(classes, cupy.ndarray)
    np.testing.assert_array_equal(cupy.asnumpy(classes), model.predict(X))


def test_many_classes_in_single_precision(cupy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_gpu, "BLOCK_BYTES", 100_000)
    X, y = load_digits(return_X_y=True)
    X = X.astype(np.float32)
    for break_ties in (False, True):
        model = SVC(break_ties=break_ties).fit(X[:1000], y[:1000])
        there = cupy.asarray(X[1000:])
        classes = cupy.asnumpy(model.predict(there))
        assert classes.dtype == y.dtype
        assert (classes == model.predict(X[1000:])).mean() > 0.999


def test_labels_that_are_no_numbers_come_back_to_the_host(cupy: Any) -> None:
    X, y = load_wine(return_X_y=True)
    names = np.array(["barolo", "grignolino", "barbera"])[y]
    model = SVC().fit(X, names)
    answer = model.predict(cupy.asarray(X))
    assert isinstance(answer, np.ndarray)
    np.testing.assert_array_equal(answer, model.predict(X))


def test_sparse_support_vectors(cupy: Any) -> None:
    from scipy import sparse

    X, y = load_digits(return_X_y=True)
    model = SVC(kernel="linear").fit(sparse.csr_matrix(X[:600]), y[:600])
    there = cupy.asarray(X[600:800])
    np.testing.assert_array_equal(cupy.asnumpy(model.predict(there)), model.predict(X[600:800]))


def test_answers(cupy: Any) -> None:
    X = np.linspace(0, 6, 80).reshape(-1, 1)
    model = SVR(C=100).fit(X, np.sin(X.ravel()))
    answer = model.predict(cupy.asarray(X))
    np.testing.assert_allclose(cupy.asnumpy(answer), model.predict(X), atol=1e-9)


def test_there_is_one_wait(cupy: Any) -> None:
    X = load_digits().data
    there = cupy.asarray(X)
    for call in (KMeans(5, random_state=0).fit(X).predict, SVR().fit(X, X[:, 9]).predict):
        standin_cupy.counts.reset()
        call(there)
        if "standin" in cupy.__version__:
            assert standin_cupy.counts.waits == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda X: X[:, :3], "X has 3 features, but KMeans is expecting 4"),
        (lambda X: X[0], "Expected 2D array"),
        (lambda X: X[:0], "0 sample"),
        (lambda X: X * np.nan, "NaN or infinity"),
        (lambda X: X.astype(complex), "real numbers, got the dtype complex128"),
    ],
)
def test_bad_rows(cupy: Any, change: Any, message: str) -> None:
    X = np.random.default_rng(0).standard_normal((20, 4))
    model = KMeans(2, random_state=0).fit(X)
    with pytest.raises(ValueError, match=message):
        model.predict(change(cupy.asarray(X)))


def test_not_fitted(cupy: Any) -> None:
    for model in (KMeans(), SVC(), SVR()):
        with pytest.raises(NotFittedError):
            model.predict(cupy.zeros((2, 2)))


@pytest.mark.parametrize(
    "model",
    [
        GaussianNB(),
        DecisionTreeClassifier(),
        RandomForestClassifier(5),
        LinearSVC(),
        KMeans(2),
        SVC(),
        BisectingKMeans(2),
    ],
    ids=lambda model: type(model).__name__,
)
def test_others_say_what_they_take(cupy: Any, model: Any) -> None:
    X, y = load_wine(return_X_y=True)
    with pytest.raises(TypeError, match=r"got a CuPy array: pass X.get\(\)"):
        model.fit(cupy.asarray(X), y)
    if not isinstance(model, KMeans | SVC):
        model.fit(X, y)
        with pytest.raises(TypeError, match=rf"{type(model).__name__} takes X in main memory"):
            model.predict(cupy.asarray(X))


def test_kernels_that_a_gpu_does_not_have(cupy: Any) -> None:
    X, y = load_wine(return_X_y=True)
    model = SVC(kernel=lambda a, b: a @ b.T).fit(X, y)
    with pytest.raises(TypeError, match="kernel=.* takes rows in main memory"):
        model.predict(cupy.asarray(X))
