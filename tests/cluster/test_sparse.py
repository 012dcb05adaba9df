"""k-means on sparse rows, beside dense ones and scikit-learn."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.cluster import KMeans as Theirs
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_extraction.text import TfidfVectorizer

from ironlearn.cluster import BisectingKMeans, KMeans, MiniBatchKMeans

FORMATS = ("csr", "csc", "coo", "lil")
ALL = (KMeans, MiniBatchKMeans, BisectingKMeans)
pytestmark = pytest.mark.filterwarnings("ignore:algorithm='elkan' doesn't make sense")


def _noisy_digits() -> np.ndarray:
    X = load_digits().data
    return np.where(X > 0, X + 0.1 * np.random.RandomState(0).rand(*X.shape), 0.0)


X = _noisy_digits()
CSR = sparse.csr_matrix(X)


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("init", ["k-means++", "k-means||", "random"])
def test_sparse_and_dense_rows_give_the_same_clusters(kind: Any, init: str) -> None:
    weights = np.random.RandomState(1).rand(len(X))
    for sample_weight in (None, weights):
        dense, thin = (
            kind(7, init=init, n_init=1, random_state=3).fit(rows, sample_weight=sample_weight)
            for rows in (X, CSR)
        )
        np.testing.assert_array_equal(dense.labels_, thin.labels_)
        np.testing.assert_allclose(dense.cluster_centers_, thin.cluster_centers_, atol=1e-9)
        assert thin.inertia_ == pytest.approx(dense.inertia_, rel=1e-9)
        assert getattr(dense, "n_iter_", 0) == getattr(thin, "n_iter_", 0)
        for model in (dense, thin):
            np.testing.assert_array_equal(model.predict(X), model.predict(CSR))
            np.testing.assert_allclose(model.transform(X), model.transform(CSR), atol=1e-9)
            both = [model.score(rows, sample_weight=sample_weight) for rows in (X, CSR)]
            assert both[0] == pytest.approx(both[1], rel=1e-12)


@pytest.mark.parametrize("algorithm", ["lloyd", "elkan"])
@pytest.mark.parametrize("k", [1, 2, 9, 40])
@pytest.mark.parametrize("weighted", [False, True])
def test_equals_scikit_learn_from_equal_starts(algorithm: str, k: int, weighted: bool) -> None:
    weights = np.random.RandomState(1).rand(len(X)) if weighted else None
    for settings in ({}, {"max_iter": 3}, {"tol": 0}, {"tol": 0.05}):
        common: dict[str, Any] = {"init": X[:k], "n_init": 1, **settings}
        theirs = Theirs(k, **common).fit(CSR, sample_weight=weights)
        ours = KMeans(k, algorithm=algorithm, **common).fit(CSR, sample_weight=weights)
        np.testing.assert_array_equal(ours.labels_, theirs.labels_)
        np.testing.assert_allclose(ours.cluster_centers_, theirs.cluster_centers_, atol=1e-9)
        assert ours.inertia_ == pytest.approx(theirs.inertia_, rel=1e-9)
        assert ours.n_iter_ == theirs.n_iter_
        np.testing.assert_array_equal(ours.predict(CSR), ours.labels_)
        np.testing.assert_allclose(ours.transform(CSR), theirs.transform(CSR), atol=1e-7)


@pytest.mark.parametrize("kind", ALL)
def test_formats_and_index_types(kind: Any) -> None:
    plain = kind(5, random_state=0).fit(CSR)
    backwards = CSR.copy()
    for i in range(CSR.shape[0]):
        part = slice(*CSR.indptr[i : i + 2])
        backwards.indices[part] = CSR.indices[part][::-1]
        backwards.data[part] = CSR.data[part][::-1]
    backwards.has_sorted_indices = False
    # Every element stored in two parts.
    split = sparse.csr_matrix(
        (np.repeat(CSR.data / 2, 2), np.repeat(CSR.indices, 2), 2 * CSR.indptr), shape=CSR.shape
    )
    wide = sparse.csr_array(CSR)
    wide.indices, wide.indptr = wide.indices.astype(np.int64), wide.indptr.astype(np.int64)
    others = [CSR.asformat(name) for name in FORMATS] + [backwards, split, wide]
    for other in others:
        kept = other.copy()
        again = kind(5, random_state=0).fit(other)
        np.testing.assert_array_equal(again.labels_, plain.labels_)
        np.testing.assert_array_equal(plain.predict(other), plain.predict(CSR))
        np.testing.assert_allclose(plain.transform(other), plain.transform(CSR), atol=1e-9)
        assert (abs(other - kept)).nnz == 0


@pytest.mark.parametrize("kind", ALL)
def test_single_precision_and_threads(kind: Any) -> None:
    many = sparse.vstack([CSR] * 6, format="csr")
    for dtype in (np.float32, np.float64):
        rows = many.astype(dtype)
        fits = [kind(8, random_state=0, n_jobs=n).fit(rows) for n in (1, 2, 4)]
        assert fits[0].cluster_centers_.dtype == dtype
        assert fits[0].transform(rows[:5]).dtype == dtype
        for fit in fits[1:]:
            assert fit.labels_.tobytes() == fits[0].labels_.tobytes()
            assert fit.cluster_centers_.tobytes() == fits[0].cluster_centers_.tobytes()
            assert fit.inertia_ == fits[0].inertia_
            assert fit.transform(rows).tobytes() == fits[0].transform(rows).tobytes()
    single, double = (KMeans(8, init=X[:8]).fit(CSR.astype(t)) for t in (np.float32, np.float64))
    np.testing.assert_array_equal(single.labels_, double.labels_)
    # A model takes rows of the other type too.
    np.testing.assert_array_equal(double.predict(CSR.astype(np.float32)), double.labels_)


def test_empty_clusters_and_equal_rows() -> None:
    far = np.vstack([X[:5], np.full((1, 64), 500.0)])
    ours, theirs = (kind(6, init=far, n_init=1).fit(CSR) for kind in (KMeans, Theirs))
    np.testing.assert_array_equal(ours.labels_, theirs.labels_)
    np.testing.assert_allclose(ours.cluster_centers_, theirs.cluster_centers_, atol=1e-9)
    few = sparse.csr_matrix(np.repeat([[0.0, 2.0], [3.0, 0.0]], 10, axis=0))
    for init in ("k-means++", "k-means||", "random"):
        with pytest.warns(ConvergenceWarning, match=r"distinct clusters \(2\) found smaller"):
            model = KMeans(4, init=init, n_init=1, random_state=0).fit(few)
        assert model.inertia_ == 0
        np.testing.assert_array_equal(model.predict(few), model.labels_)
    with pytest.warns(ConvergenceWarning, match=r"clusters \(1\)"):
        KMeans(3, random_state=0).fit(sparse.csr_matrix((8, 2)))
    each = KMeans(30, random_state=0).fit(CSR[:30])
    assert sorted(each.labels_.tolist()) == list(range(30))
    assert each.inertia_ == pytest.approx(0, abs=1e-8)


def test_a_callable_start_gets_the_sparse_rows() -> None:
    def init(rows: Any, n_clusters: int, random_state: Any) -> Any:
        assert sparse.issparse(rows)
        return rows[:n_clusters]

    ours = KMeans(4, init=init, n_init=1).fit(CSR)
    np.testing.assert_array_equal(ours.labels_, KMeans(4, init=X[:4]).fit(CSR).labels_)
    np.testing.assert_array_equal(ours.labels_, KMeans(4, init=CSR[:4].toarray()).fit(X).labels_)


@pytest.mark.parametrize("kind", ALL)
def test_bad_rows_are_named(kind: Any) -> None:
    fitted = kind(3, random_state=0).fit(CSR)
    for value, words in [(np.nan, "contains NaN"), (np.inf, "infinity")]:
        bad = CSR.copy()
        bad.data[77] = value
        for call in (kind(3).fit, fitted.predict, fitted.transform, fitted.score):
            with pytest.raises(ValueError, match=words):
                call(bad)
    for place, words in [(64, "column index 64 in row 1"), (-1, "negative column index in row 1")]:
        bad = CSR[:20].copy()
        bad.indices[bad.indptr[1]] = place
        with pytest.raises(ValueError, match=words):
            fitted.predict(bad)
    bad = CSR[:20].copy()
    bad.indptr[3] = 10_000
    with pytest.raises(ValueError, match="indptr"):
        fitted.predict(bad)
    with pytest.raises(ValueError, match="features"):
        fitted.predict(CSR[:, :9])
    with pytest.raises(ValueError, match="n_samples=2 should be >= n_clusters=3"):
        kind(3).fit(CSR[:2])


@pytest.mark.realdata
@pytest.mark.parametrize("k", [6, 20])
def test_real_texts(k: int, data_dir: Path) -> None:
    path = data_dir / "text_classification/ag_news/test.csv.gz"
    table = pd.read_csv(path, header=None, names=["label", "title", "text"])
    rows = TfidfVectorizer(min_df=2).fit_transform(table.text[:3000])
    # Means of some rows: a single text shares no word with most others, and ties decide.
    start = np.vstack([rows[i::k].mean(axis=0) for i in range(k)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        ours = KMeans(k, init=np.asarray(start), max_iter=12, tol=0).fit(rows)
        theirs = Theirs(k, init=np.asarray(start), max_iter=12, tol=0, n_init=1).fit(rows)
    assert np.mean(ours.labels_ == theirs.labels_) > 0.999
    assert ours.inertia_ == pytest.approx(theirs.inertia_, rel=1e-5)
