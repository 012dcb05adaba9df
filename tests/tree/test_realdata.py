"""Trees and forests beside scikit-learn on real tables."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import RandomForestClassifier as TheirForest
from sklearn.model_selection import train_test_split
from sklearn.tree import DecisionTreeClassifier as TheirTree
from sklearn.tree import DecisionTreeRegressor as TheirRegressor

from ironlearn.ensemble import RandomForestClassifier
from ironlearn.tree import DecisionTreeClassifier, DecisionTreeRegressor
from tree.test_regressor import agree

pytestmark = pytest.mark.realdata

#: File, column of the target, and separator of each table.
TABLES = {
    "letter": ("tabular/letter/letter-recognition.data.gz", 0, ","),
    "spambase": ("tabular/spambase/spambase.data.gz", 57, ","),
    "shuttle": ("tabular/shuttle/shuttle.trn.gz", 9, ","),
    "higgs": ("tabular/higgs/binary.train.gz", 0, "\t"),
}


def load(name: str, data_dir: Path, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Return some rows of a table; the same ones in each run."""
    if name == "mnist":
        images = gzip.open(data_dir / "mnist/t10k-images-idx3-ubyte.gz").read()
        labels = gzip.open(data_dir / "mnist/t10k-labels-idx1-ubyte.gz").read()
        X = np.frombuffer(images, np.uint8, offset=16).reshape(-1, 784)[:rows]
        return X.astype(np.float32), np.frombuffer(labels, np.uint8, offset=8)[:rows].astype(int)
    file, target, separator = TABLES[name]
    frame = pd.read_csv(data_dir / file, header=None, sep=separator)
    frame = frame.sample(rows, random_state=0)
    y = frame.pop(target).to_numpy()
    return frame.to_numpy(dtype=np.float32), y


def without_ties(X: np.ndarray) -> np.ndarray:
    """Return the rank of each value within its column, equal ones in random order.

    Whole numbers that differ by one at least: scikit-learn takes values within 1e-7 for equal.
    """
    rng = np.random.RandomState(0)
    ranks = [np.lexsort((rng.rand(len(X)), column)).argsort() for column in X.T]
    return np.stack(ranks, axis=1).astype(np.float32)


def gini_score(y: np.ndarray, left: np.ndarray) -> Fraction:
    """Return the part of the gain that a split decides, exactly."""
    sides = (np.bincount(y[left]), np.bincount(y[~left]))
    return sum((Fraction(int((s**2).sum()), int(s.sum())) for s in sides), Fraction(0))


def entropy_score(y: np.ndarray, left: np.ndarray) -> float:
    def side(counts: np.ndarray) -> float:
        counts = counts[counts > 0]
        return float((counts * np.log2(counts / counts.sum())).sum())

    return round(side(np.bincount(y[left])) + side(np.bincount(y[~left])), 7)


def compare(
    ours: Any, theirs: Any, X: np.ndarray, y: np.ndarray, score: Callable[..., Any]
) -> tuple[int, list[int]]:
    """Walk both trees at once; return the number of equal splits, and the sizes of tied nodes.

    Where the splits differ they must be equally good, which ends the walk there.
    """
    a, b = ours.tree_, theirs.tree_
    codes = np.unique(y, return_inverse=True)[1]
    equal, tied = 0, []
    stack = [(0, 0, np.arange(len(X)))]
    while stack:
        i, j, rows = stack.pop()
        assert a.n_node_samples[i] == b.n_node_samples[j] == len(rows)
        assert a.impurity[i] == pytest.approx(b.impurity[j], abs=1e-9)
        np.testing.assert_allclose(a.value[i], b.value[j], atol=1e-12)
        if a.value[i].max() == 1.0:
            # Rounding of real weights makes scikit-learn split a pure node now and then.
            assert a.children_left[i] < 0
            continue
        assert (a.children_left[i] < 0) == (b.children_left[j] < 0)
        if a.children_left[i] < 0:
            continue
        left = X[rows, a.feature[i]] <= a.threshold[i]
        other = X[rows, b.feature[j]] <= b.threshold[j]
        if a.feature[i] != b.feature[j] or (left != other).any():
            assert score(codes[rows], left) == score(codes[rows], other)
            tied.append(len(rows))
            continue
        assert a.threshold[i] == pytest.approx(b.threshold[j], rel=1e-12)
        equal += 1
        stack.append((int(a.children_left[i]), int(b.children_left[j]), rows[left]))
        stack.append((int(a.children_right[i]), int(b.children_right[j]), rows[~left]))
    return equal, tied


@pytest.mark.parametrize("name", ["letter", "spambase", "shuttle", "higgs"])
@pytest.mark.parametrize("criterion", ["gini", "entropy"])
def test_the_same_splits(name: str, criterion: str, data_dir: Path) -> None:
    X, y = load(name, data_dir, 4000)
    X = without_ties(X)
    settings: dict[str, Any] = {"criterion": criterion, "random_state": 0}
    ours = DecisionTreeClassifier(**settings).fit(X, y)
    theirs = TheirTree(**settings).fit(X, y)
    score = gini_score if criterion == "gini" else entropy_score
    equal, tied = compare(ours, theirs, X, y, score)
    # Columns without equal values still tie where several of them separate the same rows, or
    # others with the same counts.
    assert equal > max(5, len(tied))
    # Weights of no two rows alike and large leaves leave no ties: the trees are equal as wholes.
    weights = np.random.RandomState(0).uniform(0.5, 1.5, len(y))
    settings["min_samples_leaf"] = 60
    ours = DecisionTreeClassifier(**settings).fit(X, y, weights)
    theirs = TheirTree(**settings).fit(X, y, weights)
    equal, tied = compare(ours, theirs, X, y, score)
    assert not tied
    assert 2 * equal + 1 == ours.tree_.node_count
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), atol=1e-12)


@pytest.mark.parametrize("name", ["letter", "spambase", "mnist"])
def test_ties_are_between_equally_good_splits(name: str, data_dir: Path) -> None:
    X, y = load(name, data_dir, 2000)
    equal, tied = compare(
        DecisionTreeClassifier(random_state=1).fit(X, y),
        TheirTree(random_state=1).fit(X, y),
        X,
        y,
        gini_score,
    )
    assert equal > 5
    assert tied


def assert_equal_means(ours: list[float], theirs: list[float]) -> None:
    """Compare two samples of scores by their difference's standard error (Welch)."""
    error = np.sqrt((np.var(ours, ddof=1) + np.var(theirs, ddof=1)) / len(ours))
    assert abs(np.mean(ours) - np.mean(theirs)) <= 3 * error + 1e-12


@pytest.mark.parametrize(
    ("name", "settings"),
    [("letter", {"max_depth": 9}), ("spambase", {}), ("mnist", {"max_depth": 9})],
)
def test_mean_scores_of_trees(name: str, settings: dict[str, Any], data_dir: Path) -> None:
    train, test, y_train, y_test = train_test_split(
        *load(name, data_dir, 1200 if name == "mnist" else 3000), random_state=0
    )
    scores: dict[Any, tuple[list[float], list[float]]] = {}
    for kind in (DecisionTreeClassifier, TheirTree):
        models = [kind(random_state=s, **settings).fit(train, y_train) for s in range(20)]
        scores[kind] = (
            [m.score(train, y_train) for m in models],
            [m.score(test, y_test) for m in models],
        )
    (train_ours, test_ours), (train_theirs, test_theirs) = scores.values()
    assert_equal_means(train_ours, train_theirs)
    assert_equal_means(test_ours, test_theirs)
    # The seed decides ties, so it shows: otherwise the test would compare one tree with one.
    assert len(set(test_ours)) > 1


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("letter", {}),
        ("spambase", {"max_features": 0.3, "min_samples_leaf": 3, "criterion": "entropy"}),
        ("mnist", {}),
    ],
)
def test_mean_scores_of_forests(name: str, settings: dict[str, Any], data_dir: Path) -> None:
    train, test, y_train, y_test = train_test_split(
        *load(name, data_dir, 2000), train_size=1200, random_state=0
    )
    ours, theirs = (
        [
            kind(15, random_state=seed, n_jobs=2, **settings)
            .fit(train, y_train)
            .score(test, y_test)
            for seed in range(20)
        ]
        for kind in (RandomForestClassifier, TheirForest)
    )
    assert_equal_means(ours, theirs)


def numbers(name: str, data_dir: Path, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Return some rows of a table whose target is a number."""
    if name == "temperature":
        frame = pd.read_csv(data_dir / "time_series/ETTh1.csv").drop(columns="date")
        y = frame.pop("OT").to_numpy()
    elif name == "elevation":
        frame = pd.read_csv(data_dir / "tabular/covertype/covertype_17336.csv.gz")
        y = frame.pop(frame.columns[0]).to_numpy(dtype=float)
    else:
        frame = pd.read_csv(data_dir / TABLES["higgs"][0], header=None, sep="\t")
        y = frame.pop(28).to_numpy()
    chosen = np.random.RandomState(0).permutation(len(y))[:rows]
    return frame.to_numpy(dtype=np.float32)[chosen], y[chosen]


@pytest.mark.parametrize("name", ["temperature", "elevation", "mass"])
@pytest.mark.parametrize("criterion", ["squared_error", "absolute_error", "poisson"])
def test_the_same_splits_of_numbers(name: str, criterion: str, data_dir: Path) -> None:
    X, y = numbers(name, data_dir, 1500 if criterion == "absolute_error" else 4000)
    X, y = without_ties(X), y - y.min() + 1.0
    settings: dict[str, Any] = {
        "criterion": criterion,
        "min_samples_leaf": 20,
        "random_state": 0,
    }
    # Weights of no two rows alike leave few ties: of columns that separate the same rows, and of
    # medians.
    weights = np.random.RandomState(0).uniform(0.5, 1.5, len(y))
    ours = DecisionTreeRegressor(**settings).fit(X, y, weights)
    theirs = TheirRegressor(**settings).fit(X, y, weights)
    assert agree(ours, theirs) < 0.05 * ours.tree_.node_count
    assert ours.get_n_leaves() > 20


@pytest.mark.parametrize("name", ["temperature", "elevation", "mass"])
def test_mean_scores_of_regression_trees(name: str, data_dir: Path) -> None:
    train, test, y_train, y_test = train_test_split(*numbers(name, data_dir, 2500), random_state=0)
    scores = [
        [kind(random_state=s).fit(train, y_train).score(test, y_test) for s in range(20)]
        for kind in (DecisionTreeRegressor, TheirRegressor)
    ]
    assert_equal_means(*scores)
    assert len(set(scores[0])) > 1
