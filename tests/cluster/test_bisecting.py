"""BisectingKMeans beside scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import sparse
from sklearn.cluster import BisectingKMeans as Theirs
from sklearn.datasets import load_digits, load_iris

from ironlearn.cluster import BisectingKMeans, KMeans
from ironlearn.exceptions import InvalidParameterError

DIGITS = load_digits().data
STRATEGIES = ("biggest_inertia", "largest_cluster")


def _ends(X: Any, n_clusters: int, random_state: Any) -> Any:
    """Start on the rows with the smallest and the largest sum."""
    sums = np.asarray(X.sum(axis=1)).ravel()
    ends = X[[int(sums.argmin()), int(sums.argmax())]]
    return ends.toarray() if sparse.issparse(ends) else ends


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("k", [1, 2, 7, 20])
@pytest.mark.parametrize("rows", [np.asarray, sparse.csr_matrix])
def test_equals_scikit_learn_from_equal_starts(strategy: str, k: int, rows: Any) -> None:
    X = rows(DIGITS + 1e-3 * np.random.RandomState(0).rand(*DIGITS.shape))
    settings: dict[str, Any] = {"init": _ends, "bisecting_strategy": strategy}
    ours, theirs = (kind(k, **settings).fit(X) for kind in (BisectingKMeans, Theirs))
    np.testing.assert_array_equal(ours.labels_, theirs.labels_)
    np.testing.assert_allclose(ours.cluster_centers_, theirs.cluster_centers_, atol=1e-9)
    assert ours.inertia_ == pytest.approx(theirs.inertia_, rel=1e-9)
    np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))
    np.testing.assert_array_equal(ours.predict(X), ours.labels_)
    new = rows(np.random.RandomState(1).rand(500, 64) * 16)
    np.testing.assert_array_equal(ours.predict(new), theirs.predict(new))
    np.testing.assert_allclose(ours.transform(new), theirs.transform(new), rtol=1e-7)
    assert ours.score(new) == pytest.approx(theirs.score(new), rel=1e-9)


def test_weights_as_in_scikit_learn() -> None:
    weights = np.random.RandomState(1).rand(len(DIGITS))
    weights[::5] = 0.0
    ours, theirs = (
        kind(6, init=_ends).fit(DIGITS, sample_weight=weights) for kind in (BisectingKMeans, Theirs)
    )
    np.testing.assert_array_equal(ours.labels_, theirs.labels_)
    assert ours.inertia_ == pytest.approx(theirs.inertia_, rel=1e-9)


@pytest.mark.parametrize("init", ["k-means++", "k-means||", "random"])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_as_good_as_scikit_learn(init: str, strategy: str) -> None:
    usual = "random" if init == "random" else "k-means++"
    ours, theirs = (
        [
            kind(10, init=name, bisecting_strategy=strategy, random_state=s).fit(DIGITS).inertia_
            for s in range(10)
        ]
        for kind, name in ((BisectingKMeans, init), (Theirs, usual))
    )
    noise = np.hypot(np.std(ours), np.std(theirs)) / np.sqrt(10)
    assert np.mean(ours) < np.mean(theirs) + 3 * noise + 1e-3 * np.mean(theirs)
    best = KMeans(10, random_state=0).fit(DIGITS).inertia_
    assert np.mean(ours) < 1.2 * best


def test_more_runs_and_both_algorithms() -> None:
    one, ten = (BisectingKMeans(2, n_init=n, random_state=0).fit(DIGITS) for n in (1, 10))
    assert ten.inertia_ <= one.inertia_ * (1 + 1e-9)
    elkan = BisectingKMeans(8, algorithm="elkan", random_state=0).fit(DIGITS)
    lloyd = BisectingKMeans(8, random_state=0).fit(DIGITS)
    np.testing.assert_array_equal(elkan.labels_, lloyd.labels_)


@pytest.mark.parametrize("rows", [np.asarray, sparse.csr_matrix])
def test_degenerate_rows(rows: Any) -> None:
    equal = rows(np.ones((9, 3)))
    model = BisectingKMeans(4, random_state=0).fit(equal)
    assert model.inertia_ == 0
    assert model.cluster_centers_.tolist() == [[1.0] * 3] * 4
    np.testing.assert_array_equal(model.predict(equal), model.labels_)
    each = BisectingKMeans(30, random_state=0).fit(rows(DIGITS[:30]))
    assert sorted(each.labels_.tolist()) == list(range(30))
    none = np.r_[np.ones(10), np.zeros(20)]
    light = BisectingKMeans(12, random_state=0).fit(rows(DIGITS[:30]), sample_weight=none)
    assert light.inertia_ < 1e-6 * BisectingKMeans(1).fit(DIGITS[:30]).inertia_


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_same_bits_for_any_number_of_threads(dtype: type) -> None:
    X = np.tile(DIGITS, (5, 1)).astype(dtype)
    fits = [BisectingKMeans(9, random_state=0, n_jobs=n).fit(X) for n in (1, 2, 4)]
    assert fits[0].cluster_centers_.dtype == dtype
    for fit in fits[1:]:
        assert fit.labels_.tobytes() == fits[0].labels_.tobytes()
        assert fit.cluster_centers_.tobytes() == fits[0].cluster_centers_.tobytes()


def test_verbose_and_bad_input(capsys: pytest.CaptureFixture[str]) -> None:
    X = load_iris().data
    BisectingKMeans(3, verbose=1, random_state=0).fit(X)
    assert capsys.readouterr().out.count("New centroids from bisection") == 2
    with pytest.raises(ValueError, match="n_samples=4 should be >= n_clusters=8"):
        BisectingKMeans().fit(X[:4])
    with pytest.raises(InvalidParameterError, match="'init'"):
        BisectingKMeans(init=X[:2]).fit(X)
    with pytest.raises(ValueError, match=r"initial centers \(3, 4\).*clusters 2"):
        BisectingKMeans(3, init=lambda X, n_clusters, random_state: X[:3]).fit(X)
    with pytest.raises(ValueError, match="NaN"):
        BisectingKMeans(3).fit(np.where(X > 7, np.nan, X))
    fitted = BisectingKMeans(3, random_state=0).fit(X)
    with pytest.raises(ValueError, match="infinity"):
        fitted.predict(np.where(X > 7, np.inf, X))
