"""MiniBatchKMeans beside scikit-learn."""

from __future__ import annotations

import gzip
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.cluster import MiniBatchKMeans as Theirs
from sklearn.datasets import load_digits, load_iris, make_blobs

import ironlearn
from ironlearn.cluster import KMeans, MiniBatchKMeans
from ironlearn.exceptions import InvalidParameterError

DIGITS = load_digits().data
IRIS = load_iris().data


def _assert_as_good(X: Any, k: int, seeds: int = 20, **settings: Any) -> None:
    """Check that the inertia is as low as scikit-learn's, within the noise of the seeds."""
    ours, theirs = (
        [kind(k, random_state=s, **settings).fit(X).inertia_ for s in range(seeds)]
        for kind in (MiniBatchKMeans, Theirs)
    )
    noise = np.hypot(np.std(ours), np.std(theirs)) / np.sqrt(seeds)
    assert np.mean(ours) < np.mean(theirs) + 3 * noise
    assert np.min(ours) < np.mean(theirs)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"init": "random"},
        {"batch_size": 100, "max_iter": 10},
        {"batch_size": 50, "max_iter": 3, "max_no_improvement": None},
        {"reassignment_ratio": 0.2, "batch_size": 200},
        {"tol": 0.01},
    ],
)
def test_as_good_as_scikit_learn(settings: dict[str, Any]) -> None:
    _assert_as_good(DIGITS, 10, seeds=12, **settings)


def test_as_good_as_scikit_learn_on_small_and_sparse_data() -> None:
    _assert_as_good(IRIS, 3)
    _assert_as_good(sparse.csr_matrix(DIGITS), 10, seeds=8)


@pytest.mark.realdata
@pytest.mark.parametrize(("name", "k"), [("letter", 26), ("mnist", 10)])
def test_as_good_as_scikit_learn_on_real_data(name: str, k: int, data_dir: Path) -> None:
    if name == "mnist":
        images = gzip.open(data_dir / "mnist/train-images-idx3-ubyte.gz").read()
        X = np.frombuffer(images, np.uint8, offset=16).reshape(-1, 784)[:3000] / 255.0
        _assert_as_good(X, k, max_iter=5)
    else:
        path = data_dir / "tabular/letter/letter-recognition.data.gz"
        frame = pd.read_csv(path, header=None)
        _assert_as_good(frame.drop(columns=0).to_numpy(dtype=np.float64), k, max_iter=5)


def test_one_step_on_all_rows_is_one_step_of_lloyd() -> None:
    for X in (DIGITS, sparse.csr_matrix(DIGITS)):
        step = MiniBatchKMeans(10, init=DIGITS[:10], reassignment_ratio=0).partial_fit(X)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            lloyd = KMeans(10, init=DIGITS[:10], max_iter=1).fit(X)
        np.testing.assert_allclose(step.cluster_centers_, lloyd.cluster_centers_, atol=1e-9)
        np.testing.assert_array_equal(step.labels_, lloyd.labels_)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("rows", [np.asarray, sparse.csr_matrix])
def test_partial_fit_equals_scikit_learn(weighted: bool, rows: Any) -> None:
    rng = np.random.RandomState(0)
    X = DIGITS + 1e-3 * rng.rand(*DIGITS.shape)
    weights = rng.rand(len(X)) if weighted else None
    ours, theirs = (
        kind(10, init=X[:10], reassignment_ratio=0.0) for kind in (MiniBatchKMeans, Theirs)
    )
    for start in range(0, 1700, 170):
        part = slice(start, start + 170)
        sample_weight = None if weights is None else weights[part]
        for model in (ours, theirs):
            model.partial_fit(rows(X[part]), sample_weight=sample_weight)
        np.testing.assert_allclose(ours.cluster_centers_, theirs.cluster_centers_, atol=1e-9)
        np.testing.assert_array_equal(ours.labels_, theirs.labels_)
        assert ours.inertia_ == pytest.approx(theirs.inertia_, rel=1e-9)
        assert ours.n_steps_ == theirs.n_steps_
    assert not hasattr(ours, "n_iter_")


def test_partial_fit_goes_on_after_fit_a_file_and_other_kinds_of_rows(tmp_path: Path) -> None:
    model = MiniBatchKMeans(5, random_state=0).fit(DIGITS)
    steps = model.n_steps_
    model.save(tmp_path / "model")
    loaded = ironlearn.load(tmp_path / "model")
    assert isinstance(loaded, MiniBatchKMeans)
    for batch in (DIGITS[:300], sparse.csr_matrix(DIGITS[300:600]), DIGITS[600:].astype("f4")):
        model.partial_fit(batch)
        loaded.partial_fit(batch)
        np.testing.assert_array_equal(model.cluster_centers_, loaded.cluster_centers_)
    assert model.n_steps_ == loaded.n_steps_ == steps + 3
    # A centre is the mean of all that it was given: the counts are what they should be.
    assert model._counts.sum() == pytest.approx(1024 * steps + len(DIGITS))
    # Without labels a file holds none.
    bare = MiniBatchKMeans(5, random_state=0, compute_labels=False).fit(DIGITS)
    bare.save(tmp_path / "bare")
    again = ironlearn.load(tmp_path / "bare")
    assert not hasattr(again, "labels_")
    np.testing.assert_array_equal(again.predict(DIGITS), bare.predict(DIGITS))


def test_rarely_used_centres_are_moved() -> None:
    X, _ = make_blobs(500, 2, centers=4, cluster_std=0.1, random_state=0)
    start = np.vstack([X[:1], X[:1] + 1e-3, X[:1] + 2e-3, np.full((1, 2), 1e4)])
    kept = MiniBatchKMeans(4, init=start, random_state=0, reassignment_ratio=0.0, max_iter=5)
    moved = MiniBatchKMeans(4, init=start, random_state=0, max_iter=5, max_no_improvement=None)
    assert np.abs(kept.fit(X).cluster_centers_).max() == pytest.approx(1e4)
    assert np.abs(moved.fit(X).cluster_centers_).max() < 20
    thin = MiniBatchKMeans(**moved.get_params()).fit(sparse.csr_matrix(X))
    np.testing.assert_allclose(thin.cluster_centers_, moved.cluster_centers_, atol=1e-9)
    # A batch of which all centres are poor moves at most half as many as it has rows.
    wild = MiniBatchKMeans(6, random_state=0, batch_size=2, reassignment_ratio=5.0, max_iter=2)
    assert np.isfinite(wild.fit(X).inertia_)


def test_steps_and_iterations() -> None:
    model = MiniBatchKMeans(
        3, batch_size=10, max_iter=2, max_no_improvement=None, random_state=0
    ).fit(IRIS)
    assert (model.n_steps_, model.n_iter_) == (30, 2)
    one = MiniBatchKMeans(3, max_iter=1, compute_labels=False, random_state=0).fit(IRIS)
    assert (one.n_steps_, one.n_iter_) == (1, 1)
    assert np.isfinite(one.inertia_)
    soon = MiniBatchKMeans(3, max_no_improvement=0, random_state=0).fit(IRIS)
    assert soon.n_steps_ < 10
    still = MiniBatchKMeans(3, tol=1e6, random_state=0).fit(IRIS)
    assert still.n_steps_ == 2


def test_estimated_inertia() -> None:
    for weights in (None, np.random.RandomState(0).rand(len(DIGITS)) + 0.5):
        settings: dict[str, Any] = {"random_state": 0, "max_no_improvement": None, "max_iter": 20}
        exact = MiniBatchKMeans(10, **settings).fit(DIGITS, sample_weight=weights)
        rough = MiniBatchKMeans(10, compute_labels=False, **settings)
        rough.fit(DIGITS, sample_weight=weights)
        assert rough.inertia_ == pytest.approx(exact.inertia_, rel=0.05)
        assert not hasattr(rough, "labels_")
    refitted = exact.set_params(compute_labels=False).fit(DIGITS)
    assert not hasattr(refitted, "labels_")


def test_rows_without_weight_are_never_drawn() -> None:
    X = np.vstack([DIGITS, np.full((200, 64), 1e3)])
    weights = np.r_[np.ones(len(DIGITS)), np.zeros(200)]
    for rows in (X, sparse.csr_matrix(X)):
        for init in ("k-means++", "random"):
            model = MiniBatchKMeans(10, init=init, random_state=0).fit(rows, sample_weight=weights)
            assert model.cluster_centers_.max() < 17


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_same_bits_for_any_number_of_threads(dtype: type) -> None:
    X = np.random.RandomState(0).randn(6000, 100).astype(dtype)
    for settings in ({}, {"batch_size": 4000}, {"init": "random"}):
        fits = [MiniBatchKMeans(40, random_state=1, n_jobs=n, **settings).fit(X) for n in (1, 2, 4)]
        for fit in fits[1:]:
            assert fit.cluster_centers_.tobytes() == fits[0].cluster_centers_.tobytes()
            assert fit.labels_.tobytes() == fits[0].labels_.tobytes()
            assert fit.inertia_ == fits[0].inertia_
    assert fits[0].cluster_centers_.dtype == dtype


def test_data_far_from_the_origin() -> None:
    X, _ = make_blobs(500, 3, centers=5, cluster_std=0.5, random_state=0)
    far = (X + 1e4).astype(np.float32)
    model = MiniBatchKMeans(5, random_state=0).fit(far)
    assert model.inertia_ == pytest.approx(
        MiniBatchKMeans(5, random_state=0).fit(X).inertia_, rel=0.05
    )


def test_starts() -> None:
    seen: list[int] = []

    def init(rows: Any, n_clusters: int, random_state: Any) -> Any:
        seen.append(len(rows))
        return rows[:n_clusters]

    MiniBatchKMeans(3, init=init, init_size=20, random_state=0).fit(IRIS)
    assert len(seen) == 3
    assert all(3 <= n <= 20 for n in seen)
    seen.clear()
    MiniBatchKMeans(3, init=init, n_init=2).partial_fit(IRIS)
    assert seen == [150]
    with pytest.warns(RuntimeWarning, match=r"init_size=2 should be larger than n_clusters=3"):
        MiniBatchKMeans(3, init_size=2).fit(IRIS)
    with pytest.warns(RuntimeWarning, match="Explicit initial center.*MiniBatchKMeans"):
        MiniBatchKMeans(3, init=IRIS[:3], n_init=4).fit(IRIS)
    for size in (50, 30):
        each = MiniBatchKMeans(30, init_size=size, init="random", random_state=0).fit(DIGITS)
        assert len({row.tobytes() for row in each.cluster_centers_}) == 30


def test_verbose_tells_of_each_step(capsys: pytest.CaptureFixture[str]) -> None:
    model = MiniBatchKMeans(10, verbose=1, random_state=0, batch_size=200).fit(DIGITS)
    text = capsys.readouterr().out
    assert text.count("Minibatch step ") == model.n_steps_
    assert "Inertia for init 1/1" in text
    assert "Converged (lack of improvement in inertia) at step " in text
    MiniBatchKMeans(10, verbose=1, tol=1e6, random_state=0).fit(DIGITS)
    assert "Converged (small centers change)" in capsys.readouterr().out
    start = np.vstack([DIGITS[:3], np.full((1, 64), 1e4)])
    MiniBatchKMeans(4, init=start, verbose=1, random_state=0).partial_fit(DIGITS)
    assert "Reassigning 1 cluster centers" in capsys.readouterr().out


def test_bad_input_is_named() -> None:
    with pytest.raises(ValueError, match="n_samples=4 should be >= n_clusters=8"):
        MiniBatchKMeans().fit(IRIS[:4])
    with pytest.raises(ValueError, match="n_samples=4 should be >= n_clusters=8"):
        MiniBatchKMeans().partial_fit(IRIS[:4])
    with pytest.raises(ValueError, match=r"initial centers \(2, 3\).*features of the data 4"):
        MiniBatchKMeans(2, init=np.zeros((2, 3))).fit(IRIS)
    for name, value in [("batch_size", 0), ("reassignment_ratio", -1), ("max_no_improvement", -1)]:
        with pytest.raises(InvalidParameterError, match=repr(name)):
            MiniBatchKMeans(3, **{name: value}).fit(IRIS)
    model = MiniBatchKMeans(3, random_state=0).partial_fit(IRIS)
    before = model.cluster_centers_.copy()
    for bad, words in [(np.nan, "X contains NaN"), (np.inf, "X contains infinity")]:
        rows = IRIS.copy()
        rows[7, 1] = bad
        for batch in (rows, sparse.csr_matrix(rows)):
            with pytest.raises(ValueError, match=words):
                model.partial_fit(batch)
            with pytest.raises(ValueError, match=words):
                MiniBatchKMeans(3).fit(batch)
    assert model.n_steps_ == 1
    np.testing.assert_array_equal(model.cluster_centers_, before)
    with pytest.raises(ValueError, match="4 features"):
        model.partial_fit(IRIS[:, :3])


def test_names_and_output() -> None:
    frame = pd.DataFrame(IRIS, columns=list("abcd"))
    model = MiniBatchKMeans(3, random_state=0).set_output(transform="pandas").fit(frame)
    assert model.feature_names_in_.tolist() == list("abcd")
    assert model.transform(frame).columns.tolist() == model.get_feature_names_out().tolist()
    assert model.get_feature_names_out()[0] == "minibatchkmeans0"
