"""The native k-means functions beside their plain-Python versions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import load_iris

from ironlearn import _core
from ironlearn.reference import kmeans as reference


@st.composite
def tables(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray | None, int, int]:
    rng = np.random.RandomState(draw(st.integers(0, 2**32 - 1)))
    n, width = draw(st.integers(1, 70)), draw(st.integers(1, 9))
    X = rng.randn(n, width) * 10.0 ** draw(st.integers(-3, 3))
    if draw(st.booleans()):
        X = np.round(X)  # many equal rows and ties
    weights = rng.rand(n) + 0.01 if draw(st.booleans()) else None
    return X, weights, draw(st.integers(1, n)), draw(st.integers(0, 2**64 - 1))


@given(tables())
def test_moments(table: Any) -> None:
    X = table[0]
    ours, theirs = _core.kmeans_moments(X, n_threads=1), reference.kmeans_moments(X, n_threads=1)
    scale = np.abs(X).max()
    np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-12, atol=1e-12 * scale)
    assert ours[1] == pytest.approx(theirs[1], rel=1e-9, abs=1e-20 * scale)


@given(tables(), st.sampled_from(["k-means++", "k-means||", "random"]))
def test_starts_seed_for_seed(table: Any, method: str) -> None:
    X, weights, k, seed = table
    offset, _ = _core.kmeans_moments(X, n_threads=1)
    settings: Any = {"n_clusters": k, "method": method, "seed": seed, "n_threads": 1}
    ours = _core.kmeans_init(X, offset, weights, **settings)
    theirs = reference.kmeans_init(X, offset, weights, **settings)
    # Whole numbers make equal masses, which rounding may order either way.
    if not (X == np.round(X)).all():
        np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=0)
    rows = {row.tobytes() for row in X - offset}
    assert {row.tobytes() for row in ours} <= rows
    assert {row.tobytes() for row in theirs} <= rows


@given(tables(), st.sampled_from(["lloyd", "elkan"]), st.integers(1, 12))
def test_runs(table: Any, algorithm: str, max_iter: int) -> None:
    X, weights, k, seed = table
    offset, variance = _core.kmeans_moments(X, n_threads=1)
    start = _core.kmeans_init(
        X, offset, weights, n_clusters=k, method="random", seed=seed, n_threads=1
    )
    settings: Any = {
        "max_iter": max_iter,
        "tol": 1e-4 * variance,
        "algorithm": algorithm,
        "history": True,
        "n_threads": 1,
    }
    ours = _core.kmeans_run(X, offset, weights, start, **settings)
    theirs = reference.kmeans_run(X, offset, weights, start, **settings)
    scale = np.abs(X).max()
    # Inertia never rises, except by rounding.
    assert (np.diff(ours[4]) <= 1e-9 * scale**2 * len(X)).all()
    assert len(ours[4]) == ours[3]
    if not (X == np.round(X)).all():
        np.testing.assert_array_equal(ours[1], theirs[1])
        np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-9, atol=1e-9 * scale)
        assert ours[2] == pytest.approx(theirs[2], rel=1e-9, abs=1e-18 * scale**2)
        assert ours[3] == theirs[3]
        np.testing.assert_allclose(ours[4], theirs[4], rtol=1e-9, atol=1e-18 * scale**2)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_real_rows(dtype: type) -> None:
    X = load_iris().data.astype(dtype)
    offset, variance = reference.kmeans_moments(X, n_threads=1)
    start = reference.kmeans_init(
        X, offset, None, n_clusters=4, method="k-means++", seed=7, n_threads=1
    )
    settings: Any = {
        "max_iter": 300,
        "tol": 1e-4 * variance,
        "algorithm": "lloyd",
        "history": False,
        "n_threads": 1,
    }
    ours = _core.kmeans_run(X, offset, None, start, **settings)
    theirs = reference.kmeans_run(X, offset, None, start, **settings)
    np.testing.assert_array_equal(ours[1], theirs[1])
    np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-5, atol=1e-6)
    model = _core.KMeansModel.from_arrays(ours[0], offset)
    np.testing.assert_array_equal(model.predict(X, n_threads=1), theirs[1])
