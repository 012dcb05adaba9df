"""The engine that trees are grown with: exact splits beside scikit-learn's, and threads."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.tree import DecisionTreeClassifier as Peer

from ironlearn.ensemble import RandomForestClassifier
from ironlearn.tree import DecisionTreeClassifier


def continuous_digits() -> tuple[NDArray[np.float32], NDArray[Any]]:
    """Rotated digits: about 1,800 different values a feature, so that hardly any splits tie."""
    X, y = load_digits(return_X_y=True)
    rotation, _ = np.linalg.qr(np.random.RandomState(0).randn(64, 64))
    return (X @ rotation).astype(np.float32), y


def nodes(tree: Any) -> NDArray[np.float64]:
    """The upper splits of a tree, where nodes are large and their best splits do not tie."""
    inner = tree.n_node_samples >= 200
    return np.stack([tree.feature, tree.threshold, tree.n_node_samples, tree.impurity], axis=1)[
        inner & (tree.children_left >= 0)
    ]


@pytest.mark.parametrize("criterion", ["gini", "entropy"])
def test_continuous_features_are_split_as_by_scikit_learn(criterion: str) -> None:
    X, y = continuous_digits()
    assert min(len(np.unique(column)) for column in X.T) > 256
    ours = DecisionTreeClassifier(criterion=criterion, random_state=0).fit(X, y)
    peer = Peer(criterion=criterion, random_state=0).fit(X, y)
    np.testing.assert_allclose(nodes(ours.tree_), nodes(peer.tree_), rtol=1e-6, atol=1e-6)
    assert abs(ours.tree_.node_count - peer.tree_.node_count) <= 0.05 * peer.tree_.node_count
    assert ours.score(X, y) == peer.score(X, y) == 1.0


@pytest.mark.parametrize("weight", ["classes", "counts"])
def test_weights_are_split_as_by_scikit_learn(weight: str) -> None:
    X, y = continuous_digits()
    settings: dict[str, Any] = {"min_samples_leaf": 20, "random_state": 0}
    counts = None
    if weight == "classes":
        settings["class_weight"] = {c: 0.5 + 0.37 * c for c in range(10)}
    else:
        counts = np.random.RandomState(1).randint(0, 4, len(X)).astype(float)
    ours = DecisionTreeClassifier(**settings).fit(X, y, sample_weight=counts)
    peer = Peer(**settings).fit(X, y, sample_weight=counts)
    np.testing.assert_allclose(nodes(ours.tree_), nodes(peer.tree_), rtol=1e-6, atol=1e-6)


def test_threads_change_nothing() -> None:
    X, y = continuous_digits()
    X, y = np.tile(X, (3, 1)), np.tile(y, 3)
    X = X + np.random.RandomState(0).randn(*X.shape).astype(np.float32)
    for model in (
        DecisionTreeClassifier(random_state=3),
        RandomForestClassifier(7, random_state=3),
    ):
        first: dict[str, NDArray[Any]] | None = None
        for n_jobs in (1, 2, 4):
            arrays = model.set_params(n_jobs=n_jobs).fit(X, y)._model.arrays()
            first = first or arrays
            for name, values in arrays.items():
                np.testing.assert_array_equal(values, first[name], err_msg=name)


def test_predictions_of_one_row_of_many_and_with_missing_values_agree() -> None:
    X, y = continuous_digits()
    forest = RandomForestClassifier(37, max_depth=6, random_state=0).fit(X, y)
    many = forest.predict_proba(X[:133])
    each = np.concatenate([forest.predict_proba(row[None]) for row in X[:133]])
    np.testing.assert_array_equal(many, each)
    trees = np.mean([tree.predict_proba(X[:133]) for tree in forest.estimators_], axis=0)
    np.testing.assert_allclose(many, trees, rtol=1e-12)
    # One missing value sends its block of rows down the slower way.
    with_gap = X[:133].copy()
    with_gap[5, :] = np.nan
    rest = np.arange(133) != 5
    np.testing.assert_array_equal(forest.predict_proba(with_gap)[rest], many[rest])
