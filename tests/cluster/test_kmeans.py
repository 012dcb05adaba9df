"""KMeans beside scikit-learn."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.cluster import KMeans as Theirs
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, make_blobs
from sklearn.exceptions import ConvergenceWarning

from ironlearn import _core
from ironlearn.cluster import KMeans
from ironlearn.exceptions import InvalidParameterError

ALGORITHMS = ("lloyd", "elkan")
pytestmark = pytest.mark.filterwarnings("ignore:algorithm='elkan' doesn't make sense")


def _assert_equal(X: np.ndarray, k: int, weights: Any = None, **settings: Any) -> KMeans:
    init = X[:k] if "init" not in settings else settings.pop("init")
    theirs = Theirs(k, init=init, n_init=1, **settings).fit(X, sample_weight=weights)
    for algorithm in ALGORITHMS:
        ours = KMeans(k, init=init, n_init=1, algorithm=algorithm, **settings)
        ours.fit(X, sample_weight=weights)
        np.testing.assert_array_equal(ours.labels_, theirs.labels_)
        assert ours.inertia_ == pytest.approx(theirs.inertia_, rel=1e-6)
        assert ours.n_iter_ == theirs.n_iter_
        scale = np.abs(X).max()
        np.testing.assert_allclose(
            ours.cluster_centers_, theirs.cluster_centers_, rtol=1e-9, atol=1e-9 * scale
        )
        np.testing.assert_array_equal(ours.predict(X), ours.labels_)
        assert -ours.score(X, sample_weight=weights) == pytest.approx(ours.inertia_, rel=1e-12)
    return ours


@pytest.mark.parametrize("load", [load_iris, load_digits, load_breast_cancer])
@pytest.mark.parametrize("k", [1, 2, 3, 10, 47])
@pytest.mark.parametrize("weighted", [False, True])
def test_equals_scikit_learn_from_equal_starts(load: Any, k: int, weighted: bool) -> None:
    X = np.unique(load().data, axis=0)
    rng = np.random.RandomState(0)
    # A little noise: rounded measurements lie exactly between two starts here and there.
    X = X[rng.permutation(len(X))] + 1e-3 * rng.rand(*X.shape)
    weights = np.random.RandomState(1).rand(len(X)) if weighted else None
    _assert_equal(X, k, weights)


@pytest.mark.parametrize("settings", [{"max_iter": 1}, {"max_iter": 4}, {"tol": 0}, {"tol": 0.1}])
def test_stops_where_scikit_learn_stops(settings: dict[str, Any]) -> None:
    _assert_equal(load_digits().data, 12, **settings)


def test_transform_and_predict_equal_scikit_learns() -> None:
    X = load_digits().data
    ours = KMeans(10, init=X[:10]).fit(X[:1000])
    theirs = Theirs(10, init=X[:10]).fit(X[:1000])
    np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))
    np.testing.assert_allclose(ours.transform(X), theirs.transform(X), rtol=1e-9)
    assert ours.score(X) == pytest.approx(theirs.score(X), rel=1e-9)
    assert ours.get_feature_names_out().tolist() == theirs.get_feature_names_out().tolist()
    np.testing.assert_allclose(
        KMeans(10, init=X[:10]).fit_transform(X[:1000]), ours.transform(X[:1000])
    )
    frame = KMeans(10, init=X[:10]).set_output(transform="pandas").fit_transform(X[:1000])
    assert frame.columns[0] == "kmeans0"


@pytest.mark.realdata
@pytest.mark.parametrize(("name", "k"), [("mnist", 10), ("letter", 26), ("shuttle", 7)])
def test_equals_scikit_learn_on_real_data(name: str, k: int, data_dir: Path) -> None:
    if name == "mnist":
        images = gzip.open(data_dir / "mnist/train-images-idx3-ubyte.gz").read()
        X = np.frombuffer(images, np.uint8, offset=16).reshape(-1, 784)[:4000] / 255.0
    elif name == "shuttle":
        table = np.loadtxt(data_dir / "tabular/shuttle/shuttle.trn.gz", delimiter=",")
        X = np.unique(table[:, :-1], axis=0)[::7].copy()
    else:
        path = data_dir / "tabular/letter/letter-recognition.data.gz"
        frame = pd.read_csv(path, header=None)
        X = frame.drop(columns=0).to_numpy(dtype=np.float64)
        X = np.unique(X, axis=0)
        X = X[np.random.RandomState(0).permutation(len(X))]
    # Starts off the grid of whole numbers, where no row lies exactly between two.
    _assert_equal(X, k, init=X[:k] + 0.1 * np.random.RandomState(0).rand(k, X.shape[1]))


def test_single_precision() -> None:
    X = load_digits().data
    double = KMeans(10, init=X[:10]).fit(X)
    for algorithm in ALGORITHMS:
        single = KMeans(10, init=X[:10], algorithm=algorithm).fit(X.astype(np.float32))
        assert single.cluster_centers_.dtype == np.float32
        assert single.transform(X.astype(np.float32)).dtype == np.float32
        assert np.mean(single.labels_ == double.labels_) > 0.999
        assert single.inertia_ == pytest.approx(double.inertia_, rel=1e-6)
    # A model takes rows of the other type too.
    np.testing.assert_array_equal(double.predict(X.astype(np.float32)), double.labels_)
    assert np.mean(single.predict(X) == double.labels_) > 0.999


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_data_far_from_the_origin(dtype: type) -> None:
    X, _ = make_blobs(500, 3, centers=5, cluster_std=0.5, random_state=0)
    near = KMeans(5, init=X[:5]).fit(X)
    far = (X + 1000).astype(dtype)
    labels = KMeans(5, init=far[:5]).fit(far).labels_
    np.testing.assert_array_equal(labels, near.labels_)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("k", [3, 20, 100])
@pytest.mark.parametrize("shape", [(20_000, 5), (3000, 90)])
def test_bounds_change_no_bit(shape: tuple[int, int], k: int, dtype: type) -> None:
    rng = np.random.RandomState(0)
    X = rng.randn(*shape).astype(dtype)
    X[: shape[0] // 2] += 3 * rng.randn(25, shape[1])[rng.randint(25, size=shape[0] // 2)]
    runs = [
        KMeans(k, init=X[:k], algorithm=a, n_jobs=n, max_iter=60).fit(X)
        for a in ALGORITHMS
        for n in (1, 2, 4)
    ]
    for run in runs:
        assert run.labels_.tobytes() == runs[0].labels_.tobytes()
        assert run.cluster_centers_.tobytes() == runs[0].cluster_centers_.tobytes()
        assert (run.inertia_, run.n_iter_) == (runs[0].inertia_, runs[0].n_iter_)
    # Labels belong to the centres.
    exact = ((X[:500, None].astype(float) - runs[0].cluster_centers_[None]) ** 2).sum(-1)
    rows = np.arange(500)
    assert (exact[rows, runs[0].labels_[:500]] <= exact.min(1) * (1 + 1e-4)).all()


def test_empty_clusters_are_relocated_as_in_scikit_learn() -> None:
    X = np.array([[0.0, 0], [1, 0], [0, 1], [10, 10], [11, 10], [40, 0]])
    init = np.array([[0.0, 0], [10, 10], [1000, 1000]])
    model = _assert_equal(X, 3, init=init)
    assert len(set(model.labels_.tolist())) == 3
    rng = np.random.RandomState(0)
    many = rng.randn(300, 4)
    far = np.vstack([many[:4], [[500.0, 0, 0, 0]]])
    _assert_equal(many, 5, init=far)
    _assert_equal(many, 5, rng.rand(300), init=far)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_fewer_distinct_rows_than_clusters(algorithm: str) -> None:
    X = np.array([[0.0, 0], [1, 1]]).repeat(10, axis=0)
    for init in ("k-means++", "k-means||", "random"):
        with pytest.warns(ConvergenceWarning, match=r"distinct clusters \(2\) found smaller"):
            model = KMeans(4, init=init, n_init=1, random_state=0, algorithm=algorithm).fit(X)
        assert model.inertia_ == 0
    with pytest.warns(ConvergenceWarning, match=r"clusters \(1\)"):
        KMeans(3, random_state=0, algorithm=algorithm).fit(np.ones((8, 2)))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_small_cases(algorithm: str) -> None:
    one = KMeans(1, random_state=0, algorithm=algorithm).fit([[3.0, 4.0]])
    assert one.cluster_centers_.tolist() == [[3.0, 4.0]]
    assert (one.inertia_, one.labels_.tolist()) == (0.0, [0])
    X = np.random.RandomState(0).randn(30, 2)
    for init in ("k-means++", "k-means||", "random"):
        each = KMeans(30, init=init, n_init=1, random_state=0, algorithm=algorithm).fit(X)
        assert each.inertia_ == 0
        assert sorted(each.labels_.tolist()) == list(range(30))
    whole = KMeans(1, random_state=0, algorithm=algorithm).fit(X)
    np.testing.assert_allclose(whole.cluster_centers_[0], X.mean(axis=0), atol=1e-12)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_weights_equal_repeated_rows(algorithm: str) -> None:
    rng = np.random.RandomState(0)
    X = rng.randn(400, 6)
    weights = rng.randint(0, 4, 400).astype(float)
    repeated = X.repeat(weights.astype(int), axis=0)
    init = X[:9]
    # The offset differs, so rounding may; the answers may not.
    a = KMeans(9, init=init, tol=0, algorithm=algorithm).fit(X, sample_weight=weights)
    b = KMeans(9, init=init, tol=0, algorithm=algorithm).fit(repeated)
    np.testing.assert_allclose(a.cluster_centers_, b.cluster_centers_, atol=1e-9)
    np.testing.assert_array_equal(a.labels_.repeat(weights.astype(int)), b.labels_)
    assert a.inertia_ == pytest.approx(b.inertia_, rel=1e-12)


@pytest.mark.parametrize("init", ["k-means++", "k-means||", "random"])
def test_starts_are_as_good_as_scikit_learns(init: str) -> None:
    X = load_digits().data
    ours = [KMeans(10, init=init, n_init=1, random_state=s).fit(X).inertia_ for s in range(20)]
    usual = "random" if init == "random" else "k-means++"
    theirs = [Theirs(10, init=usual, n_init=1, random_state=s).fit(X).inertia_ for s in range(10)]
    spread = np.std(ours) / np.sqrt(20) + np.std(theirs) / np.sqrt(10)
    assert np.mean(ours) < np.mean(theirs) + 3 * spread
    blobs, _ = make_blobs(600, 2, centers=30, cluster_std=0.02, random_state=1)
    if init != "random":
        # Well separated clusters: a start by squared distance finds them all, or nearly.
        assert KMeans(30, init=init, n_init=5, random_state=0).fit(blobs).inertia_ < 1.0


def test_starts_are_distinct_rows_of_positive_weight() -> None:
    X = np.random.RandomState(0).randn(60, 3)
    weights = (np.arange(60) % 3 == 0).astype(float)
    offset, _ = _core.kmeans_moments(X, n_threads=1)
    for method in ("k-means++", "k-means||", "random"):
        centres = _core.kmeans_init(
            X, offset, weights, n_clusters=20, method=method, seed=5, n_threads=1
        )
        matches = (centres[:, None] == (X - offset)[None]).all(-1)
        assert (matches.sum(1) == 1).all()
        assert sorted(matches.argmax(1).tolist()) == list(range(0, 60, 3))


def test_more_runs_are_no_worse() -> None:
    X = load_digits().data
    one = KMeans(10, init="random", n_init=1, random_state=3).fit(X)
    ten = KMeans(10, init="random", random_state=3).fit(X)
    assert ten.inertia_ <= one.inertia_


def test_callable_and_array_starts() -> None:
    X = load_iris().data
    seen: list[tuple[int, bool]] = []

    def init(X: np.ndarray, n_clusters: int, random_state: Any) -> np.ndarray:
        seen.append((n_clusters, isinstance(random_state, np.random.RandomState)))
        return X[:n_clusters]

    model = KMeans(3, init=init, n_init=2).fit(X)
    assert seen == [(3, True)] * 2
    np.testing.assert_array_equal(model.labels_, KMeans(3, init=X[:3]).fit(X).labels_)
    listed = KMeans(3, init=X[:3].tolist()).fit(X)
    np.testing.assert_array_equal(model.labels_, listed.labels_)
    with pytest.warns(RuntimeWarning, match="Explicit initial center"):
        KMeans(3, init=X[:3], n_init=4).fit(X)
    with pytest.raises(ValueError, match="a model file cannot hold|cannot hold"):
        model.save("nowhere")


def test_bad_input_is_named() -> None:
    X = np.random.RandomState(0).randn(6, 2)
    with pytest.raises(ValueError, match="n_samples=6 should be >= n_clusters=7"):
        KMeans(7).fit(X)
    with pytest.raises(ValueError, match=r"initial centers \(2, 3\).*features of the data 2"):
        KMeans(2, init=np.zeros((2, 3))).fit(X)
    with pytest.raises(ValueError, match="init contains NaN"):
        KMeans(2, init=[[0, 1], [np.nan, 0]]).fit(X)
    with pytest.raises(ValueError, match="Negative values in sample_weight"):
        KMeans(2).fit(X, sample_weight=[1, 1, 1, 1, 1, -1])
    with pytest.raises(InvalidParameterError, match="'algorithm'.*Got 'full'"):
        KMeans(2, algorithm="full").fit(X)
    with pytest.raises(InvalidParameterError, match="'init'"):
        KMeans(2, init="best").fit(X)
    for bad, words in [(np.nan, "NaN"), (np.inf, "infinity")]:
        Z = X.copy()
        Z[3, 1] = bad
        with pytest.raises(ValueError, match=words):
            KMeans(2).fit(Z)
        fitted = KMeans(2, random_state=0).fit(X)
        for rows in (Z, Z[3:4], np.vstack([Z] * 20)):
            for method in (fitted.predict, fitted.transform, fitted.score):
                with pytest.raises(ValueError, match=words):
                    method(rows)


@pytest.mark.parametrize("rows", [np.asarray, sparse.csr_matrix])
def test_verbose_prints_every_iteration(rows: Any, capsys: pytest.CaptureFixture[str]) -> None:
    X = load_iris().data
    for tol, reason in [(0, "strict convergence"), (0.5, "within tolerance")]:
        model = KMeans(3, init=X[:3], tol=tol, verbose=1).fit(rows(X))
        lines = capsys.readouterr().out.splitlines()
        values = [float(line.split()[-1].rstrip(".")) for line in lines if "inertia" in line]
        assert len(values) == model.n_iter_
        assert all(a >= b for a, b in pairwise(values))
        assert lines[-1].startswith(f"Converged at iteration {model.n_iter_ - 1}: ")
        assert reason in lines[-1]
    KMeans(3, init=X[:3], max_iter=1, verbose=1).fit(rows(X))
    assert "Converged" not in capsys.readouterr().out


def test_elkan_for_one_cluster_warns() -> None:
    with pytest.warns(RuntimeWarning, match="doesn't make sense for a single cluster"):
        KMeans(1, algorithm="elkan").fit(load_iris().data)


@pytest.mark.parametrize("tier", ["scalar", "avx2", "avx512"])
def test_each_instruction_set(tier: str) -> None:
    program = (
        "from sklearn.datasets import load_digits; from ironlearn.cluster import KMeans\n"
        "import numpy as np; X = load_digits().data\n"
        "X += 0.01 * np.random.RandomState(0).rand(*X.shape)\n"
        "for t in ('float64', 'float32'):\n"
        "    for a in ('lloyd', 'elkan'):\n"
        "        m = KMeans(40, init=X[:40], algorithm=a).fit(X.astype(t))\n"
        "        print(m.inertia_, m.n_iter_, int((m.predict(X.astype(t)) != m.labels_).sum()))\n"
    )
    out = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "IRONLEARN_SIMD": tier},
        capture_output=True,
        text=True,
        check=True,
    )
    X = load_digits().data
    X += 0.01 * np.random.RandomState(0).rand(*X.shape)
    theirs = Theirs(40, init=X[:40]).fit(X)
    lines = [line.split() for line in out.stdout.splitlines()]
    assert len(lines) == 4
    for inertia, n_iter, wrong in lines:
        assert float(inertia) == pytest.approx(theirs.inertia_, rel=1e-5)
        assert (int(n_iter), int(wrong)) == (theirs.n_iter_, 0)
