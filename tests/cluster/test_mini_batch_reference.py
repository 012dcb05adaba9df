"""The native steps of mini-batch k-means, sparse k-means and its tree beside plain Python."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from ironlearn import _core, _csr
from ironlearn.reference import bisecting, mini_batch
from ironlearn.reference import kmeans as reference


@st.composite
def tables(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray | None, int, int]:
    """Return rows with zeros, weights, a number of clusters and a seed."""
    rng = np.random.RandomState(draw(st.integers(0, 2**32 - 1)))
    n, width = draw(st.integers(2, 60)), draw(st.integers(1, 8))
    X = rng.randn(n, width) * 10.0 ** draw(st.integers(-3, 3))
    X[rng.rand(n, width) < draw(st.sampled_from([0.0, 0.3]))] = 0.0
    weights = rng.rand(n) + 0.01 if draw(st.booleans()) else None
    return X, weights, draw(st.integers(1, min(n, 9))), draw(st.integers(0, 2**64 - 1))


def _rows(X: np.ndarray, thin: bool) -> tuple[Any, np.ndarray]:
    """Return the rows as native code takes them, and their offset."""
    rows = _csr.rows(sparse.csr_matrix(X)) if thin else X
    return rows, _core.kmeans_moments(rows, n_threads=1)[0]


def _assert_close(ours: Any, theirs: Any, scale: float) -> None:
    np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-7, atol=1e-8 * scale)
    np.testing.assert_allclose(ours[1], theirs[1], rtol=1e-9)
    assert ours[2] == theirs[2]


@given(
    tables(),
    st.booleans(),
    st.integers(1, 70),
    st.integers(1, 12),
    st.sampled_from([0.0, 1e-3]),
    st.sampled_from([None, 0, 2]),
    st.sampled_from([0.0, 0.01, 0.7, 3.0]),
)
def test_steps_seed_for_seed(
    table: Any,
    thin: bool,
    batch: int,
    n_steps: int,
    tol: float,
    patience: int | None,
    ratio: float,
) -> None:
    X, weights, k, seed = table
    rows, offset = _rows(X, thin)
    start = np.ascontiguousarray(X[:k] - offset)
    settings: Any = {
        "since": 0,
        "batch_size": batch,
        "n_steps": n_steps,
        "tol": tol * float(np.var(X)),
        "max_no_improvement": patience,
        "reassignment_ratio": ratio,
        "seed": seed,
        "history": True,
        "n_threads": 1,
    }
    counts = np.zeros(k)
    ours = _core.mini_batch_run(rows, offset, weights, start, counts, **settings)
    theirs = mini_batch.mini_batch_run(rows, offset, weights, start, counts, **settings)
    scale = float(np.abs(X).max())
    # Rows that lie between two centres, or an inertia beside the lowest, may fall either way.
    told = [len(found[4]) == len(theirs[4]) for found in (ours, theirs)]
    inertias = [[step[0] for step in found[4]] for found in (ours, theirs)]
    if all(told) and np.allclose(*inertias, rtol=1e-7, atol=1e-9 * scale**2):
        _assert_close(ours[0], theirs[0], scale)
        assert ours[1:3] == theirs[1:3]
        np.testing.assert_allclose(ours[3], theirs[3], rtol=1e-7, atol=1e-9 * scale**2)
        assert [step[2] for step in ours[4]] == [step[2] for step in theirs[4]]
    else:
        assert X.shape[1] == 1 or len(np.unique(X, axis=0)) < len(X) or (X == 0).any()


@given(tables(), st.booleans(), st.sampled_from([0.0, 0.3]), st.booleans())
def test_one_step_with_weights(table: Any, thin: bool, ratio: float, seen: bool) -> None:
    X, weights, k, seed = table
    rows, offset = _rows(X, thin)
    start = np.ascontiguousarray(X[:k] - offset)
    counts = np.arange(k, dtype=float) * seen
    settings: Any = {
        "since": 3,
        "reassignment_ratio": ratio,
        "seed": seed,
        "step": 5,
        "n_threads": 1,
    }
    ours = _core.mini_batch_step(rows, offset, weights, start, counts, **settings)
    theirs = mini_batch.mini_batch_step(rows, offset, weights, start, counts, **settings)
    scale = float(np.abs(X).max())
    if not (X == 0).any():
        _assert_close(ours[0], theirs[0], scale)
    np.testing.assert_allclose(ours[1][:2], theirs[1][:2], rtol=1e-7, atol=1e-9 * scale**2)


@given(tables(), st.sampled_from(["k-means++", "k-means||", "random"]), st.integers(1, 12))
def test_sparse_starts_and_runs(table: Any, method: str, max_iter: int) -> None:
    X, weights, k, seed = table
    rows, offset = _rows(X, thin=True)
    ours, theirs = (
        module.kmeans_moments(rows, n_threads=1)  # type: ignore[attr-defined]
        for module in (_core, reference)
    )
    assert not ours[0].any()
    np.testing.assert_allclose(ours[1], theirs[1], rtol=1e-9)
    settings: Any = {"n_clusters": k, "method": method, "seed": seed, "n_threads": 1}
    start = _core.kmeans_init(rows, offset, weights, **settings)
    if not (X == 0).any():
        plain = reference.kmeans_init(rows, offset, weights, **settings)
        np.testing.assert_array_equal(start, plain)
    run: Any = {
        "max_iter": max_iter,
        "tol": 1e-4 * ours[1],
        "algorithm": "lloyd",
        "history": True,
        "n_threads": 1,
    }
    fit = _core.kmeans_run(rows, offset, weights, start, **run)
    scale = float(np.abs(X).max())
    assert (np.diff(fit[4]) <= 1e-9 * scale**2 * len(X)).all()
    if not (X == 0).any():
        other = reference.kmeans_run(rows, offset, weights, start, **run)
        np.testing.assert_array_equal(fit[1], other[1])
        np.testing.assert_allclose(fit[0], other[0], rtol=1e-7, atol=1e-9 * scale)
        assert fit[2] == np.float64(fit[2])
        np.testing.assert_allclose(fit[2], other[2], rtol=1e-7, atol=1e-9 * scale**2)


@given(tables())
def test_trees_of_bisecting(table: Any) -> None:
    X, _, k, seed = table
    rng = np.random.RandomState(seed % 2**32)
    centres = rng.randn(k - 1, 2, X.shape[1]) * np.abs(X).max()
    # A chain: one child of each fork is a leaf, on a random side.
    children = np.array([[i + 1, -2 - i] for i in range(k - 1)], dtype=np.int32).reshape(-1, 2)
    if k > 1:
        children[-1, 0] = -1
    for pair in children:
        rng.shuffle(pair)
    plain = bisecting.BisectingTree(children, centres)
    normals, levels = bisecting.forks_of(centres)
    normals, levels = normals.reshape(k - 1, X.shape[1]), levels.reshape(k - 1)
    tree = _core.BisectingTree.from_arrays(children, normals, levels)
    expected = plain.predict(X, n_threads=1)
    for thin in (False, True):
        rows, _ = _rows(X, thin)
        np.testing.assert_array_equal(tree.predict(rows, n_threads=1), expected)
