"""DecisionTreeClassifier beside scikit-learn."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, make_classification
from sklearn.model_selection import train_test_split
from sklearn.tree import DecisionTreeClassifier as Theirs

import ironlearn
from ironlearn.tree import DecisionTreeClassifier


def assert_same_tree(ours: Any, theirs: Any) -> None:
    """Walk both trees from the root and compare every node."""
    a, b = ours.tree_, theirs.tree_
    assert a.node_count == b.node_count
    stack = [(0, 0)]
    while stack:
        i, j = stack.pop()
        assert a.feature[i] == b.feature[j]
        assert a.threshold[i] == pytest.approx(b.threshold[j], rel=1e-6, abs=1e-9)
        assert a.n_node_samples[i] == b.n_node_samples[j]
        assert a.weighted_n_node_samples[i] == pytest.approx(b.weighted_n_node_samples[j])
        assert a.impurity[i] == pytest.approx(b.impurity[j], abs=1e-9)
        np.testing.assert_allclose(a.value[i], b.value[j], atol=1e-12)
        if a.children_left[i] >= 0:
            stack.append((int(a.children_left[i]), int(b.children_left[j])))
            stack.append((int(a.children_right[i]), int(b.children_right[j])))


def _tie_free(rows: int, width: int, classes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """One feature decides, the others are noise of the same kind: ties cannot happen high up."""
    X, y = make_classification(
        rows,
        width,
        n_informative=width,
        n_redundant=0,
        n_classes=classes,
        n_clusters_per_class=1,
        flip_y=0.1,
        random_state=seed,
    )
    return X.astype(np.float32), y


@pytest.mark.parametrize("criterion", ["gini", "entropy", "log_loss"])
@pytest.mark.parametrize("classes", [2, 3, 5])
@pytest.mark.parametrize("weighted", [False, True])
def test_same_splits_as_scikit_learn(criterion: str, classes: int, weighted: bool) -> None:
    X, y = _tie_free(3000, 6, classes, seed=classes + 20)
    weights = np.random.RandomState(0).uniform(0.5, 2, len(y)) if weighted else None
    # Small nodes have many equally good splits, large ones have not.
    settings: dict[str, Any] = {
        "criterion": criterion,
        "min_samples_leaf": 40,
        "random_state": 0,
        "max_depth": 6,
    }
    ours = DecisionTreeClassifier(**settings).fit(X, y, weights)
    theirs = Theirs(**settings).fit(X, y, weights)
    assert_same_tree(ours, theirs)
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), atol=1e-12)
    np.testing.assert_allclose(ours.feature_importances_, theirs.feature_importances_, atol=1e-9)


@pytest.mark.parametrize(
    "settings",
    [
        {"max_leaf_nodes": 12},
        {"min_impurity_decrease": 0.01},
        {"min_samples_split": 0.2},
        {"min_weight_fraction_leaf": 0.05},
        {"class_weight": "balanced", "max_depth": 4},
        {"class_weight": {0: 1.0, 1: 3.0, 2: 0.5}, "max_depth": 4},
        {"ccp_alpha": 0.01},
    ],
)
def test_settings_mean_what_they_mean_in_scikit_learn(settings: dict[str, Any]) -> None:
    X, y = _tie_free(2000, 5, 3, seed=1)
    settings = {"min_samples_leaf": 30, "random_state": 0, **settings}
    assert_same_tree(DecisionTreeClassifier(**settings).fit(X, y), Theirs(**settings).fit(X, y))


@pytest.mark.parametrize("load", [load_digits, load_breast_cancer])
def test_mean_score_with_ties(load: Any) -> None:
    X, y = load(return_X_y=True)
    scores: dict[Any, list[float]] = {DecisionTreeClassifier: [], Theirs: []}
    for seed in range(20):
        train, test, y_train, y_test = train_test_split(X, y, random_state=seed, stratify=y)
        for kind, found in scores.items():
            model = kind(random_state=seed).fit(train, y_train)
            assert model.score(train, y_train) == 1.0
            found.append(model.score(test, y_test))
    difference = np.subtract(*scores.values())
    assert abs(difference.mean()) < 3 * difference.std(ddof=1) / np.sqrt(20) + 1e-3


def test_missing_values() -> None:
    X, y = _tie_free(2000, 4, 2, seed=3)
    rng = np.random.RandomState(0)
    X[rng.rand(*X.shape) < 0.1] = np.nan
    settings: dict[str, Any] = {"min_samples_leaf": 40, "random_state": 0, "max_depth": 5}
    ours, theirs = DecisionTreeClassifier(**settings), Theirs(**settings)
    assert_same_tree(ours.fit(X, y), theirs.fit(X, y))
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), atol=1e-12)
    # Missing where training had none: to the child with more rows, as scikit-learn.
    full = np.nan_to_num(X)
    np.testing.assert_allclose(
        ours.fit(full, y).predict_proba(X), theirs.fit(full, y).predict_proba(X), atol=1e-12
    )


def test_monotonic_constraints() -> None:
    X, y = _tie_free(1500, 3, 2, seed=5)
    model = DecisionTreeClassifier(monotonic_cst=[1, -1, 0], random_state=0).fit(X, y)
    grid = np.repeat(X[:100], 50, axis=0)
    for feature, sign in ((0, 1), (1, -1)):
        moved = grid.copy()
        moved[:, feature] = np.tile(np.linspace(X.min(), X.max(), 50), 100)
        rises = np.diff(model.predict_proba(moved)[:, 1].reshape(100, 50), axis=1) * sign
        assert rises.min() >= -1e-12
    X3, y3 = _tie_free(200, 3, 3, seed=5)
    with pytest.raises(ValueError, match="multiclass"):
        DecisionTreeClassifier(monotonic_cst=[1, 0, 0]).fit(X3, y3)
    with pytest.raises(ValueError, match="monotonic_cst"):
        DecisionTreeClassifier(monotonic_cst=[1, 0]).fit(X, y)
    with pytest.raises(ValueError, match="-1, 0 or 1"):
        DecisionTreeClassifier(monotonic_cst=[2, 0, 0]).fit(X, y)


def _table(rows: int = 400) -> tuple[pd.DataFrame, np.ndarray]:
    rng = np.random.RandomState(0)
    colour = rng.choice(["red", "green", "blue", "violet"], rows)
    number = rng.randn(rows)
    y = (np.isin(colour, ["red", "violet"]) ^ (number > 1)).astype(int)
    return pd.DataFrame({"colour": colour, "number": number}), y


def test_categorical_features() -> None:
    frame, y = _table()
    for X, chosen in [
        (frame, ["colour"]),
        (frame, [0]),
        (frame, [True, False]),
        (frame.astype({"colour": "category"}), "from_dtype"),
        (frame.to_numpy(dtype=object), [0]),
    ]:
        model = DecisionTreeClassifier(categorical_features=chosen, random_state=0).fit(X, y)
        assert model.score(X, y) == 1.0
        # One subset split and one threshold below each side.
        assert model.get_n_leaves() == 4
    unseen = pd.DataFrame({"colour": ["black", None], "number": [0.0, 0.0]}).to_numpy()
    assert model.fit(frame.to_numpy(dtype=object), y).predict(unseen).shape == (2,)
    for bad, words in [
        ([5], "features"),
        (["size"], "names"),
        ([True], "mask"),
        ("from_dtype", "data frame"),
    ]:
        X = frame.to_numpy(dtype=object) if isinstance(bad, str) else frame
        with pytest.raises(ValueError, match=words):
            DecisionTreeClassifier(categorical_features=bad).fit(X, y)


def test_categories_survive_pickle_and_file(tmp_path: Path) -> None:
    frame, y = _table()
    model = DecisionTreeClassifier(categorical_features=["colour"], random_state=0).fit(frame, y)
    model.save(tmp_path / "m")
    for other in (ironlearn.load(tmp_path / "m"), pickle.loads(pickle.dumps(model))):
        np.testing.assert_array_equal(other.predict(frame), model.predict(frame))
    served = ironlearn.serving.load(tmp_path / "m")
    np.testing.assert_array_equal(served.predict(frame), model.predict(frame))
    np.testing.assert_array_equal(served.predict(frame.to_numpy()), model.predict(frame))
    with pytest.raises(ValueError, match=r"shape \(n_samples, 2\), got \(400, 1\)"):
        served.predict(frame[["colour"]])


def test_categories_of_every_kind_of_table(tmp_path: Path) -> None:
    pl = pytest.importorskip("polars")
    frame, y = _table()
    colour, number = frame["colour"].to_list(), frame["number"].to_numpy()
    counts = pd.array([None if v > 2 else round(v * 3) for v in number], dtype="Int64")
    codes = np.unique(colour, return_inverse=True)[1] * 10
    tables = [
        pl.DataFrame({"colour": pl.Series(colour, dtype=pl.Categorical), "number": number}),
        pl.DataFrame(
            {"colour": pl.Series(colour, dtype=pl.Enum(sorted(set(colour)))), "n": number}
        ),
        pd.DataFrame({"colour": pd.Categorical(colour), "number": counts}),
        pd.DataFrame({"colour": pd.Categorical(codes), "number": number}),
    ]
    expected = DecisionTreeClassifier(categorical_features=["colour"], random_state=0)
    expected.fit(frame, y)
    for table in tables:
        model = DecisionTreeClassifier(categorical_features="from_dtype", random_state=0)
        model.fit(table, y)
        if hasattr(table, "iloc"):
            assert model.feature_names_in_[0] == "colour"
        assert model._categories.mask.tolist() == [True, False]
        if table is not tables[2]:
            np.testing.assert_array_equal(model.predict(table), expected.predict(frame))
        model.save(tmp_path / "m")
        for other in (ironlearn.load(tmp_path / "m"), ironlearn.serving.load(tmp_path / "m")):
            np.testing.assert_array_equal(other.predict(table), model.predict(table))


def test_a_category_is_not_taken_for_a_shorter_one() -> None:
    X = np.array([["red"], ["blue"]] * 20)
    model = DecisionTreeClassifier(categorical_features=[0]).fit(X, [0, 1] * 20)
    assert model.predict(np.array([["red"], ["blue"]])).tolist() == [0, 1]
    known = model._categories
    assert np.isnan(known.encode(np.array([["reddish"], ["re"]]))).all()
    assert np.isnan(known.encode(np.array([[1], [2]]))).all()
    assert known.encode(np.array([["red"], [None]], dtype=object))[0, 0] == 1


def test_columns_that_are_neither_numbers_nor_categories_are_named() -> None:
    frame, y = _table()
    for column in (pd.date_range("2020", periods=len(y)), ["x"] * len(y), [1j] * len(y)):
        bad = frame.assign(number=column)
        with pytest.raises(ValueError, match="the column 'number' holds values that are no num"):
            DecisionTreeClassifier(categorical_features=["colour"]).fit(bad, y)


def test_pruning_path_equals_scikit_learn() -> None:
    X, y = _tie_free(1000, 4, 3, seed=2)
    settings: dict[str, Any] = {"min_samples_leaf": 30, "random_state": 0}
    ours = DecisionTreeClassifier(**settings).cost_complexity_pruning_path(X, y)
    theirs = Theirs(**settings).cost_complexity_pruning_path(X, y)
    np.testing.assert_allclose(ours.ccp_alphas, theirs.ccp_alphas, atol=1e-12)
    np.testing.assert_allclose(ours.impurities, theirs.impurities, atol=1e-12)


def test_apply_and_decision_path() -> None:
    X, y = load_iris(return_X_y=True)
    model = DecisionTreeClassifier(random_state=0).fit(X, y)
    leaves = model.apply(X)
    path = model.decision_path(X)
    assert path.shape == (150, model.tree_.node_count)
    assert (model.tree_.children_left[leaves] == -1).all()
    assert all(path[i, leaf] == 1 for i, leaf in enumerate(leaves))
    assert path[:, 0].sum() == 150
    depths = model.tree_.compute_node_depths()
    np.testing.assert_array_equal(np.asarray(path.sum(axis=1)).ravel(), depths[leaves])
    np.testing.assert_array_equal(model.tree_.n_node_samples, np.asarray(path.sum(axis=0)).ravel())


@pytest.mark.parametrize("splitter", ["best", "random"])
@pytest.mark.parametrize("max_bins", [None, 16])
def test_same_bits_for_any_number_of_threads(splitter: str, max_bins: int | None) -> None:
    X, y = _tie_free(5000, 8, 4, seed=9)
    models = [
        DecisionTreeClassifier(
            splitter=splitter, max_bins=max_bins, random_state=3, n_jobs=n, max_features="sqrt"
        ).fit(X, y)
        for n in (1, 2, 4)
    ]
    for name, first in models[0]._model.arrays().items():
        for other in models[1:]:
            np.testing.assert_array_equal(first, other._model.arrays()[name], err_msg=name)


@given(
    rows=st.integers(2, 60),
    width=st.integers(1, 5),
    classes=st.integers(2, 4),
    levels=st.integers(1, 8),
    seed=st.integers(0, 10_000),
    missing=st.booleans(),
    criterion=st.sampled_from(["gini", "entropy"]),
)
def test_every_split_is_a_best_one(
    rows: int, width: int, classes: int, levels: int, seed: int, missing: bool, criterion: str
) -> None:
    """Ties leave the choice open, never the decrease of impurity."""
    rng = np.random.RandomState(seed)
    X = rng.randint(levels, size=(rows, width)).astype(np.float32)
    if missing:
        X[rng.rand(rows, width) < 0.2] = np.nan
    y = rng.randint(classes, size=rows)
    ours = DecisionTreeClassifier(criterion=criterion, max_depth=1, random_state=0).fit(X, y)
    theirs = Theirs(criterion=criterion, max_depth=1, random_state=0).fit(X, y)
    assert ours.tree_.node_count == theirs.tree_.node_count

    def left(tree: Any) -> float:
        return float((tree.impurity * tree.weighted_n_node_samples)[1:].sum())

    assert left(ours.tree_) == pytest.approx(left(theirs.tree_), abs=1e-9)


def test_sparse_input_equals_dense() -> None:
    X, y = load_digits(return_X_y=True)
    dense = DecisionTreeClassifier(random_state=0).fit(X, y)
    for kind in (sp.csr_matrix, sp.csc_array, sp.coo_matrix):
        sparse = DecisionTreeClassifier(random_state=0).fit(kind(X), y)
        np.testing.assert_array_equal(sparse.predict(kind(X)), dense.predict(X))


@pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")
def test_bad_input_is_named() -> None:
    X, y = load_iris(return_X_y=True)
    with pytest.raises(ValueError, match="Unknown label type"):
        DecisionTreeClassifier().fit(X, np.c_[y, y] + 0.5)
    with pytest.raises(ValueError, match=r"infinity|too large"):
        DecisionTreeClassifier().fit(X * 1e300, y)
    model = DecisionTreeClassifier().fit(X, y)
    with pytest.raises(ValueError, match=r"infinity|too large"):
        model.predict(X * 1e300)
    with pytest.raises(AttributeError):
        _ = DecisionTreeClassifier().tree_
