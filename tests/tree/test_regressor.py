"""DecisionTreeRegressor, and trees of several outputs, beside scikit-learn."""

from __future__ import annotations

import inspect
import pickle
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import sklearn.tree
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_iris
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.tree import DecisionTreeClassifier as TheirClassifier
from sklearn.tree import DecisionTreeRegressor as Theirs

import ironlearn
from ironlearn import serving
from ironlearn.exceptions import InvalidParameterError
from ironlearn.tree import (
    DecisionTreeClassifier,
    DecisionTreeRegressor,
    export_graphviz,
    export_text,
    plot_tree,
)
from tree.test_classifier import assert_same_tree

#: Nodes of fewer rows than this have splits that tie: one row is cut off by many features.
LEAF = 8


def data(rows: int = 1500, width: int = 5, *, outputs: int = 1, seed: int = 0) -> tuple[Any, Any]:
    """Continuous features and skewed positive targets: no two splits are equally good."""
    rng = np.random.RandomState(seed)
    X = rng.randn(rows, width).astype(np.float32)
    signal = X[:, :1] + np.sin(2 * X[:, 1:2]) + 0.3 * X[:, 2:3] * X[:, 3:4]
    y = np.exp(0.5 * signal + 0.3 * rng.randn(rows, outputs))
    return X, y[:, 0].copy() if outputs == 1 else y


def agree(ours: Any, theirs: Any) -> int:
    """Walk both trees; where splits differ they must lower the criterion by the same.

    Returns the number of such ties.
    """
    a, b = ours.tree_, theirs.tree_
    ties = 0
    stack = [(0, 0)]
    while stack:
        i, j = stack.pop()
        assert a.n_node_samples[i] == b.n_node_samples[j]
        assert a.impurity[i] == pytest.approx(b.impurity[j], rel=1e-9, abs=1e-9)
        np.testing.assert_allclose(a.value[i], b.value[j], rtol=1e-9)
        ends = [
            (a.children_left[i], a.children_right[i]),
            (b.children_left[j], b.children_right[j]),
        ]
        assert (ends[0][0] < 0) == (ends[1][0] < 0)
        if ends[0][0] < 0:
            continue
        if a.feature[i] == b.feature[j] and a.threshold[i] == b.threshold[j]:
            assert a.missing_go_to_left[i] == b.missing_go_to_left[j]
            stack += zip(*ends, strict=True)
            continue
        left = [
            sum(t.weighted_n_node_samples[c] * t.impurity[c] for c in pair)
            for t, pair in zip((a, b), ends, strict=True)
        ]
        assert left[0] == pytest.approx(left[1], rel=1e-9)
        ties += 1
    return ties


@pytest.mark.parametrize("criterion", ["squared_error", "poisson", "absolute_error"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("outputs", [1, 3])
def test_same_splits_as_scikit_learn(criterion: str, weighted: bool, outputs: int) -> None:
    X, y = data(outputs=outputs)
    weights = np.random.RandomState(1).uniform(0.5, 2, len(y)) if weighted else None
    settings: dict[str, Any] = {"criterion": criterion, "min_samples_leaf": LEAF}
    ours = DecisionTreeRegressor(**settings, random_state=0).fit(X, y, weights)
    theirs = Theirs(**settings, random_state=0).fit(X, y, weights)
    if criterion == "absolute_error":
        # Moving one row across may leave the sum of distances as it was.
        assert agree(ours, theirs) < 0.1 * ours.tree_.node_count
        return
    assert_same_tree(ours, theirs)
    np.testing.assert_allclose(ours.predict(X), theirs.predict(X), rtol=1e-12)
    np.testing.assert_allclose(ours.feature_importances_, theirs.feature_importances_)
    assert ours.score(X, y) == pytest.approx(theirs.score(X, y))


@pytest.mark.parametrize("criterion", ["squared_error", "poisson", "absolute_error"])
def test_full_trees_differ_in_ties_alone(criterion: str) -> None:
    X, y = data(600)
    ours = DecisionTreeRegressor(criterion=criterion).fit(X, y)
    theirs = Theirs(criterion=criterion).fit(X, y)
    agree(ours, theirs)
    np.testing.assert_allclose(ours.predict(X), y)


@pytest.mark.parametrize("criterion", ["squared_error", "poisson"])
@pytest.mark.parametrize("outputs", [1, 2])
def test_missing_values(criterion: str, outputs: int) -> None:
    X, y = data(outputs=outputs)
    X[np.random.RandomState(0).rand(*X.shape) < 0.1] = np.nan
    settings: dict[str, Any] = {"criterion": criterion, "min_samples_leaf": LEAF}
    ours = DecisionTreeRegressor(**settings).fit(X, y)
    theirs = Theirs(**settings).fit(X, y)
    assert_same_tree(ours, theirs)
    np.testing.assert_allclose(ours.predict(X), theirs.predict(X), rtol=1e-12)


def test_missing_values_with_the_absolute_error() -> None:
    """scikit-learn does not take them; rows that are missing and far get a side of their own."""
    rng = np.random.RandomState(0)
    X = rng.randn(300, 1)
    X[:60] = np.nan
    y = np.where(np.isnan(X[:, 0]), 50.0, (X[:, 0] > 0).astype(float))
    tree = DecisionTreeRegressor(criterion="absolute_error").fit(X, y)
    np.testing.assert_array_equal(tree.predict(X), y)
    assert tree.get_n_leaves() == 3


@pytest.mark.parametrize(
    "settings",
    [
        {"max_leaf_nodes": 12},
        {"min_impurity_decrease": 0.01},
        {"min_samples_split": 0.1},
        {"min_weight_fraction_leaf": 0.05},
        {"max_depth": 3},
        {"ccp_alpha": 0.002},
        {"monotonic_cst": [1, 0, -1, 0, 0]},
        {"monotonic_cst": [1, 1, 1, 0, 0], "criterion": "poisson"},
        {"monotonic_cst": [1, -1, 0, 0, 0], "max_leaf_nodes": 20},
    ],
)
@pytest.mark.parametrize("weighted", [False, True])
def test_settings_mean_what_they_mean_in_scikit_learn(
    settings: dict[str, Any], weighted: bool
) -> None:
    X, y = data(1200)
    weights = np.random.RandomState(1).uniform(0.5, 2, len(y)) if weighted else None
    settings = {"min_samples_leaf": 20, "random_state": 0, **settings}
    assert_same_tree(
        DecisionTreeRegressor(**settings).fit(X, y, weights), Theirs(**settings).fit(X, y, weights)
    )


def test_medians_keep_to_monotonic_constraints() -> None:
    X, y = data(400, 4)
    tree = DecisionTreeRegressor(criterion="absolute_error", monotonic_cst=[1, -1, 0, 0]).fit(X, y)
    assert tree.get_n_leaves() > 20
    for feature, sign in ((0, 1), (1, -1)):
        grid = np.repeat(X[:80], 30, axis=0)
        grid[:, feature] = np.tile(np.linspace(-3, 3, 30), 80)
        assert (np.diff(tree.predict(grid).reshape(80, 30), axis=1) * sign >= 0).all()


def test_weights_are_repetitions_and_weight_0_is_no_row() -> None:
    X, y = data(300, 4)
    counts = np.random.RandomState(0).randint(0, 4, len(y))
    for criterion in ("squared_error", "absolute_error", "poisson"):
        settings: dict[str, Any] = {"criterion": criterion, "max_depth": 4, "random_state": 0}
        weighted = DecisionTreeRegressor(**settings).fit(X, y, counts)
        repeated = DecisionTreeRegressor(**settings).fit(X.repeat(counts, 0), y.repeat(counts))
        np.testing.assert_allclose(weighted.predict(X), repeated.predict(X))


def test_mean_scores_with_ties() -> None:
    X, y = load_diabetes(return_X_y=True)
    X = np.round(X, 2)
    scores: dict[Any, list[float]] = {DecisionTreeRegressor: [], Theirs: []}
    for seed in range(20):
        train, test, y_train, y_test = train_test_split(X, y, random_state=seed)
        for kind, found in scores.items():
            found.append(kind(random_state=seed).fit(train, y_train).score(test, y_test))
    difference = np.subtract(*scores.values())
    assert abs(difference.mean()) < 3 * difference.std(ddof=1) / np.sqrt(20)


def test_random_thresholds_score_as_scikit_learn_s() -> None:
    X, y = data(800)
    for criterion in ("squared_error", "absolute_error"):
        settings: dict[str, Any] = {"criterion": criterion, "splitter": "random", "max_depth": 6}
        found = [
            [
                kind(random_state=seed, **settings).fit(X[:600], y[:600]).score(X[600:], y[600:])
                for seed in range(20)
            ]
            for kind in (DecisionTreeRegressor, Theirs)
        ]
        error = np.sqrt(np.var(found, axis=1, ddof=1).sum() / 20)
        assert abs(np.subtract(*np.mean(found, axis=1))) < 3 * error
        assert len(set(found[0])) == 20


def test_categories_are_split_by_subsets() -> None:
    rng = np.random.RandomState(0)
    effect = dict(zip("abcdefgh", rng.permutation(8), strict=True))
    letters = rng.choice(list(effect), 400)
    frame = pd.DataFrame({"letter": pd.Categorical(letters), "noise": rng.randn(400)})
    y = np.array([float(effect[v] >= 4) for v in letters])
    tree = DecisionTreeRegressor(categorical_features="from_dtype").fit(frame, y)
    assert tree.get_n_leaves() == 2
    np.testing.assert_array_equal(tree.predict(frame), y)
    assert " in {" in export_text(tree)
    both = DecisionTreeRegressor(categorical_features=[0], max_depth=1).fit(
        frame, np.stack([y, -y], 1)
    )
    np.testing.assert_array_equal(both.predict(frame), np.stack([y, -y], 1))


def test_bins_are_close_to_exact() -> None:
    X, y = data()
    exact = DecisionTreeRegressor(max_depth=4).fit(X, y)
    binned = DecisionTreeRegressor(max_depth=4, max_bins=64).fit(X, y)
    assert binned.score(X, y) == pytest.approx(exact.score(X, y), abs=0.05)
    assert not np.array_equal(binned.tree_.threshold, exact.tree_.threshold)


def test_threads_change_nothing() -> None:
    X, y = data(9000, 8)
    for settings in ({}, {"splitter": "random"}, {"max_features": 1}, {"max_leaf_nodes": 50}):
        first: dict[str, np.ndarray] | None = None
        for n_jobs in (1, 2, 4):
            tree = DecisionTreeRegressor(random_state=0, n_jobs=n_jobs, **settings).fit(X, y)
            arrays = tree._model.arrays()
            first = first or arrays
            for name, values in arrays.items():
                np.testing.assert_array_equal(values, first[name], err_msg=name)


def test_large_and_small_numbers() -> None:
    X, y = data(300, 4)
    plain = DecisionTreeRegressor(random_state=0, min_samples_leaf=LEAF).fit(X, y)
    for scale, offset in ((1e-100, 0.0), (1e100, 0.0), (1.0, 1e9)):
        tree = clone(plain).fit(X, y * scale + offset)
        if scale == 1e-100:
            # The spread is below what any tree takes for a difference.
            assert tree.get_n_leaves() == 1
            continue
        np.testing.assert_array_equal(tree.tree_.threshold[:15], plain.tree_.threshold[:15])


def test_pruning_path() -> None:
    X, y = data(500)
    ours = DecisionTreeRegressor(min_samples_leaf=LEAF).cost_complexity_pruning_path(X, y)
    theirs = Theirs(min_samples_leaf=LEAF).cost_complexity_pruning_path(X, y)
    np.testing.assert_allclose(ours.ccp_alphas, theirs.ccp_alphas, atol=1e-12)
    np.testing.assert_allclose(ours.impurities, theirs.impurities, atol=1e-12)


def test_a_column_is_a_vector() -> None:
    X, y = data(100)
    for kind, target in ((DecisionTreeRegressor, y), (DecisionTreeClassifier, y > 1)):
        model = kind(random_state=0)
        expected = model.fit(X, target).predict(X)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            found = model.fit(X, target[:, None]).predict(X)
        np.testing.assert_array_equal(found, expected)


def test_sparse_input_and_paths() -> None:
    X, y = data(200)
    X[np.abs(X) < 0.5] = 0
    ours = DecisionTreeRegressor(min_samples_leaf=LEAF, random_state=0).fit(sp.csr_matrix(X), y)
    theirs = Theirs(min_samples_leaf=LEAF, random_state=0).fit(X, y)
    np.testing.assert_array_equal(ours.apply(sp.csc_matrix(X)), ours.apply(X))
    np.testing.assert_array_equal(
        ours.decision_path(X).sum(axis=1), theirs.decision_path(X).sum(axis=1)
    )
    assert ours.get_depth() == theirs.get_depth()
    assert ours.get_n_leaves() == theirs.get_n_leaves()


def test_several_outputs_of_classes_are_split_as_by_scikit_learn() -> None:
    X, _ = data()
    rng = np.random.RandomState(0)
    y = np.stack(
        [
            np.digitize(X[:, 0] + 0.3 * rng.randn(len(X)), [-1, 0, 1]),
            X[:, 1] + 0.3 * rng.randn(len(X)) > 0,
        ],
        axis=1,
    ).astype(int)
    for criterion in ("gini", "entropy"):
        settings: dict[str, Any] = {"criterion": criterion, "min_samples_leaf": 25, "max_depth": 4}
        ours = DecisionTreeClassifier(**settings).fit(X, y)
        theirs = TheirClassifier(**settings).fit(X, y)
        assert_same_tree(ours, theirs)
        np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))
        for name in ("predict_proba", "predict_log_proba"):
            with np.errstate(divide="ignore"):
                pairs = zip(getattr(ours, name)(X), getattr(theirs, name)(X), strict=True)
                for a, b in pairs:
                    np.testing.assert_allclose(a, b, rtol=1e-12)
        assert ours.n_classes_.tolist() == theirs.n_classes_.tolist() == [4, 2]
        assert [c.tolist() for c in ours.classes_] == [c.tolist() for c in theirs.classes_]
        assert ours.n_outputs_ == ours.tree_.n_outputs == 2
        np.testing.assert_allclose(ours.tree_.predict(X), theirs.tree_.predict(X))
    for weight in ("balanced", [{0: 1.0, 1: 2.0, 2: 1.0, 3: 0.5}, {0: 1.0, 1: 3.0}]):
        settings = {"class_weight": weight, "min_samples_leaf": 25, "max_depth": 3}
        assert_same_tree(
            DecisionTreeClassifier(**settings).fit(X, y), TheirClassifier(**settings).fit(X, y)
        )


def test_string_labels_of_several_outputs() -> None:
    X, codes = load_iris(return_X_y=True)
    names = np.array(["setosa", "versicolor", "virginica"])[codes]
    y = np.stack([names, np.where(X[:, 0] > 5.5, "long", "short")], axis=1)
    tree = DecisionTreeClassifier(random_state=0).fit(X, y)
    np.testing.assert_array_equal(tree.predict(X), y)
    mixed = y.astype(object)
    np.testing.assert_array_equal(DecisionTreeClassifier().fit(X, mixed).predict(X), mixed)


@pytest.mark.parametrize("kind", ["numbers", "numbers of several outputs", "several outputs"])
def test_files_pickles_and_serving(kind: str, tmp_path: Path) -> None:
    X, y = data(200, outputs=1 if kind == "numbers" else 2)
    model: Any = DecisionTreeRegressor(max_depth=4)
    if kind == "several outputs":
        model, y = DecisionTreeClassifier(max_depth=4), np.where(y > 1, "high", "löw")
    model.fit(X, y)
    again = pickle.loads(pickle.dumps(model))
    model.save(tmp_path / "model")
    loaded = ironlearn.load(tmp_path / "model")
    served = serving.load(tmp_path / "model")
    for other in (again, loaded, served):
        np.testing.assert_array_equal(other.predict(X), model.predict(X))
        if kind == "several outputs":
            for a, b in zip(other.predict_proba(X), model.predict_proba(X), strict=True):
                np.testing.assert_array_equal(a, b)
    assert loaded.n_outputs_ == model.n_outputs_
    np.testing.assert_array_equal(loaded.tree_.value, model.tree_.value)
    code = (
        "import sys, numpy as np; from ironlearn import serving; "
        f"print(serving.load({str(tmp_path / 'model')!r}).predict(np.zeros((1, 5))).shape); "
        "assert 'sklearn' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.stdout.strip() == ("(1,)" if kind == "numbers" else "(1, 2)"), done.stderr


def test_texts_and_drawings_are_scikit_learn_s() -> None:
    X, y = data(300, outputs=2)
    few = X[:, :1]
    for target in (y[:, 0], y):
        ours = DecisionTreeRegressor(max_depth=3).fit(few, target)
        theirs = Theirs(max_depth=3).fit(few, target)
        assert export_text(ours) == sklearn.tree.export_text(theirs)
        for options in ({}, {"filled": True, "rounded": True}, {"proportion": True}):
            assert export_graphviz(ours, **options) == sklearn.tree.export_graphviz(
                theirs, **options
            )
        pytest.importorskip("matplotlib").use("Agg")
        assert len(plot_tree(ours, filled=True)) == ours.tree_.node_count
    classes = (y > 1).astype(int)
    both = DecisionTreeClassifier(max_depth=2).fit(few, classes)
    assert export_graphviz(both, filled=True) == sklearn.tree.export_graphviz(
        TheirClassifier(max_depth=2).fit(few, classes), filled=True
    )
    assert "class: 0, 1" in export_text(both) or "class: 1, 1" in export_text(both)
    with pytest.raises(ValueError, match="several outputs"):
        export_text(both, class_names=["a", "b"])


def test_the_old_name_of_the_squared_error() -> None:
    X, y = data(200)
    with pytest.warns(FutureWarning, match="friedman_mse"):
        old = DecisionTreeRegressor(criterion="friedman_mse", random_state=0).fit(X, y)
    new = DecisionTreeRegressor(random_state=0).fit(X, y)
    np.testing.assert_array_equal(old.predict(X), new.predict(X))


def test_tools_work() -> None:
    X, y = data(300)
    search = GridSearchCV(DecisionTreeRegressor(random_state=0), {"max_depth": [1, 4]}, cv=3)
    assert search.fit(X, y).best_params_ == {"max_depth": 4}
    parameters = inspect.signature(Theirs).parameters
    ours = inspect.signature(DecisionTreeRegressor).parameters
    assert set(ours) - set(parameters) == {"categorical_features", "max_bins", "n_jobs"}
    assert all(ours[name].default == parameter.default for name, parameter in parameters.items())
    fitted, peer = DecisionTreeRegressor().fit(X, y), Theirs().fit(X, y)
    public = {name for name in dir(peer) if not name.startswith("_")}
    # Set by scikit-learn's base class, but no parameter of a regressor.
    public.remove("class_weight")
    assert public <= set(dir(fitted))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"criterion": "gini"}, "'criterion'"),
        ({"monotonic_cst": [1, 0]}, "monotonic_cst has shape"),
        ({"monotonic_cst": [1, 0, 2, 0, 0]}, "-1, 0 or 1"),
    ],
)
def test_bad_settings_are_named(change: dict[str, Any], message: str) -> None:
    X, y = data(20)
    with pytest.raises((InvalidParameterError, ValueError), match=message):
        DecisionTreeRegressor(**change).fit(X, y)


def test_bad_targets_are_named() -> None:
    X, y = data(20)
    with pytest.raises(ValueError, match="Some value.s. of y are negative"):
        DecisionTreeRegressor(criterion="poisson").fit(X, -y)
    with pytest.raises(ValueError, match="Sum of y is not positive"):
        DecisionTreeRegressor(criterion="poisson").fit(X, 0 * y)
    with pytest.raises(ValueError, match="multiple outputs"):
        DecisionTreeRegressor(monotonic_cst=[1, 0, 0, 0, 0]).fit(X, np.stack([y, y], 1))
    classes = (np.stack([y, y], 1) > 1).astype(int)
    with pytest.raises(ValueError, match="multiple outputs"):
        DecisionTreeClassifier(monotonic_cst=[1, 0, 0, 0, 0]).fit(X, classes)
    with pytest.raises(ValueError, match="y contains NaN"):
        DecisionTreeRegressor().fit(X, np.where(y > 1, np.nan, y))
    with pytest.raises(ValueError, match="y to be passed"):
        DecisionTreeRegressor().fit(X, None)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        DecisionTreeRegressor().fit(X, y[:-1])
