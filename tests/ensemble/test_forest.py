"""RandomForestClassifier beside scikit-learn."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_digits, load_iris
from sklearn.ensemble import RandomForestClassifier as Theirs
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import train_test_split

import ironlearn
from ironlearn.ensemble import RandomForestClassifier
from ironlearn.exceptions import InvalidParameterError
from ironlearn.tree import DecisionTreeClassifier, export_text

X, Y = load_digits(return_X_y=True)


@pytest.mark.parametrize("load", [load_digits, load_breast_cancer])
def test_mean_score_over_seeds(load: Any) -> None:
    X, y = load(return_X_y=True)
    differences = []
    for seed in range(20):
        train, test, y_train, y_test = train_test_split(X, y, random_state=seed, stratify=y)
        scores = [
            kind(30, random_state=seed).fit(train, y_train).score(test, y_test)
            for kind in (RandomForestClassifier, Theirs)
        ]
        differences.append(scores[0] - scores[1])
    assert abs(np.mean(differences)) < 3 * np.std(differences, ddof=1) / np.sqrt(20) + 1e-3


@pytest.mark.parametrize(
    "settings",
    [
        {"bootstrap": False},
        {"max_samples": 0.3},
        {"max_samples": 50},
        {"class_weight": "balanced"},
        {"class_weight": "balanced_subsample"},
        {"max_features": None, "criterion": "entropy"},
        {"max_features": 0.2, "max_depth": 6},
        {"max_leaf_nodes": 20, "ccp_alpha": 0.001},
        {"max_bins": 8},
        {"voting": "hard"},
    ],
)
def test_settings(settings: dict[str, Any]) -> None:
    train, test, y_train, y_test = train_test_split(X, Y, random_state=0)
    model = RandomForestClassifier(20, random_state=0, **settings).fit(train, y_train)
    shared = {k: v for k, v in settings.items() if k not in ("max_bins", "voting")}
    theirs = Theirs(20, random_state=0, **shared).fit(train, y_train)
    assert model.score(test, y_test) > theirs.score(test, y_test) - 0.05
    np.testing.assert_allclose(model.predict_proba(test).sum(axis=1), 1.0)


def test_voting() -> None:
    soft = RandomForestClassifier(15, max_depth=4, random_state=0).fit(X, Y)
    hard = RandomForestClassifier(15, max_depth=4, random_state=0, voting="hard").fit(X, Y)
    votes = np.stack([tree.predict(X) for tree in hard.estimators_]).astype(int)
    shares = np.stack([(votes == c).mean(axis=0) for c in range(10)], axis=1)
    np.testing.assert_allclose(hard.predict_proba(X), shares)
    means = np.mean([tree.predict_proba(X) for tree in soft.estimators_], axis=0)
    np.testing.assert_allclose(soft.predict_proba(X), means, atol=1e-12)
    np.testing.assert_array_equal(soft.predict(X), soft.predict_proba(X).argmax(axis=1))


def test_out_of_bag() -> None:
    model = RandomForestClassifier(60, oob_score=True, random_state=0).fit(X, Y)
    theirs = Theirs(60, oob_score=True, random_state=0).fit(X, Y)
    assert model.oob_decision_function_.shape == (1797, 10)
    assert model.oob_score_ == pytest.approx(theirs.oob_score_, abs=0.02)
    scored = RandomForestClassifier(60, oob_score=balanced_accuracy_score, random_state=0)
    assert 0.9 < scored.fit(X, Y).oob_score_ < 1.0
    with pytest.warns(UserWarning, match="do not have OOB scores"):
        RandomForestClassifier(2, oob_score=True, random_state=0).fit(X, Y)
    with pytest.raises(ValueError, match="only available if bootstrap=True"):
        RandomForestClassifier(oob_score=True, bootstrap=False).fit(X, Y)


def test_warm_start_grows_the_same_forest(tmp_path: Path) -> None:
    whole = RandomForestClassifier(12, random_state=4).fit(X, Y)
    grown = RandomForestClassifier(5, random_state=4, warm_start=True).fit(X, Y)
    grown.save(tmp_path / "m")
    for model in (grown, pickle.loads(pickle.dumps(grown)), ironlearn.load(tmp_path / "m")):
        model.set_params(n_estimators=12).fit(X, Y)
        assert len(model) == 12
        np.testing.assert_array_equal(model.predict_proba(X), whole.predict_proba(X))
    with pytest.warns(UserWarning, match="does not fit new trees"):
        grown.fit(X, Y)
    with pytest.raises(ValueError, match="n_estimators=3 must be larger"):
        grown.set_params(n_estimators=3).fit(X, Y)
    with pytest.raises(ValueError, match="warm_start=True: y has the classes"):
        grown.set_params(n_estimators=20).fit(X, np.minimum(Y, 5))
    # A refused fit leaves the forest as it was.
    np.testing.assert_array_equal(grown.predict(X), whole.predict(X))


def test_trees_can_be_taken_out() -> None:
    X, y = load_iris(return_X_y=True)
    model = RandomForestClassifier(7, random_state=0).fit(X, y)
    assert len(model.estimators_) == 7
    leaves = model.apply(X)
    assert leaves.shape == (150, 7)
    np.testing.assert_array_equal(leaves[:, 3], model[3].apply(X))
    path, pointers = model.decision_path(X)
    assert path.shape == (150, pointers[-1])
    assert model.feature_importances_.sum() == pytest.approx(1.0)
    assert model.feature_importances_.argmax() in (2, 3)


def test_a_forest_that_no_memory_holds_is_refused() -> None:
    for wrong in (
        {"n_estimators": 10**12},
        {"n_estimators": 2**70},
        {"max_samples": 10**15},
        {"max_samples": 1e300},
    ):
        with pytest.raises(ValueError, match="n_estimators|max_samples"):
            RandomForestClassifier(**wrong).fit(X, Y)


def test_rows_that_the_trees_drew() -> None:
    weights = np.random.RandomState(0).rand(len(X)) * (Y != 3)
    for settings, given in [
        ({}, None),
        ({"max_samples": 100}, None),
        ({"max_samples": 5000}, None),
        ({"max_samples": 0.5}, weights),
        ({"class_weight": "balanced"}, weights),
    ]:
        model = RandomForestClassifier(3, random_state=5, max_depth=2, **settings)
        model.fit(X, Y, given)
        samples = model.estimators_samples_
        # The native code drew the same rows.
        for tree, rows in zip(model.estimators_, samples, strict=True):
            assert tree.tree_.n_node_samples[0] == len(np.unique(rows))
            assert tree.tree_.weighted_n_node_samples[0] == len(rows)
            shares = np.bincount(Y[rows], minlength=10) / len(rows)
            np.testing.assert_allclose(tree.tree_.value[0, 0], shares)
            assert given is None or 3 not in Y[rows]
        for other in (pickle.loads(pickle.dumps(model)),):
            np.testing.assert_array_equal(other.estimators_samples_[2], samples[2])
    assert len(RandomForestClassifier(1, max_samples=0.5).fit(X, Y).estimators_samples_[0]) == 898
    everything = RandomForestClassifier(1, bootstrap=False).fit(X, Y).estimators_samples_[0]
    np.testing.assert_array_equal(everything, np.arange(len(X)))
    with pytest.warns(UserWarning, match="draws only 1 rows"):
        RandomForestClassifier(1, max_samples=1e-6).fit(X, Y)
    for bad in (0, -0.5, True, "half"):
        with pytest.raises(InvalidParameterError, match="max_samples"):
            RandomForestClassifier(max_samples=bad).fit(X, Y)


def test_out_of_bag_votes_are_those_of_the_trees_that_did_not_see_a_row() -> None:
    model = RandomForestClassifier(20, oob_score=True, random_state=1, ccp_alpha=0.002).fit(X, Y)
    votes = np.zeros((len(X), 10))
    for tree, rows in zip(model.estimators_, model.estimators_samples_, strict=True):
        unseen = np.setdiff1d(np.arange(len(X)), rows)
        votes[unseen] += tree.predict_proba(X[unseen])
    total = votes.sum(axis=1, keepdims=True)
    expected = votes / np.where(total > 0, total, 1)
    np.testing.assert_allclose(model.oob_decision_function_, expected, atol=1e-12)
    assert model.oob_score_ == (expected.argmax(axis=1) == Y).mean()


@pytest.mark.filterwarnings("ignore:Some inputs do not have OOB scores")
def test_out_of_bag_score_of_a_warm_start(tmp_path: Path) -> None:
    whole = RandomForestClassifier(12, oob_score=True, random_state=4).fit(X, Y)
    for first in (True, False):
        grown = RandomForestClassifier(5, oob_score=first, random_state=4, warm_start=True)
        grown.fit(X, Y).set_params(n_estimators=12, oob_score=True).fit(X, Y)
        np.testing.assert_allclose(grown.oob_decision_function_, whole.oob_decision_function_)
    # Asked for only afterwards, it is found without new trees.
    late = RandomForestClassifier(12, random_state=4, warm_start=True).fit(X, Y)
    with pytest.warns(UserWarning, match="does not fit new trees"):
        late.set_params(oob_score=True).fit(X, Y)
    np.testing.assert_allclose(late.oob_decision_function_, whole.oob_decision_function_)
    # A fit without it leaves nothing of an older one.
    late.set_params(oob_score=False, warm_start=False).fit(X[:500], Y[:500])
    assert not hasattr(late, "oob_score_")
    late.save(tmp_path / "m")
    assert not hasattr(ironlearn.load(tmp_path / "m"), "oob_decision_function_")
    whole.save(tmp_path / "m")
    loaded = ironlearn.load(tmp_path / "m")
    np.testing.assert_array_equal(loaded.oob_decision_function_, whole.oob_decision_function_)
    assert loaded.oob_score_ == whole.oob_score_


def expected(class_weight: Any, y: np.ndarray, weights: np.ndarray) -> Any:
    if not isinstance(class_weight, str):
        return class_weight
    sums = np.bincount(y, weights)
    return dict(enumerate(sums.sum() / (len(sums) * sums)))


def test_class_weights_are_scikit_learn_s() -> None:
    rng = np.random.RandomState(0)
    X = rng.randn(400, 3).astype(np.float32)
    y = (X[:, 0] + 0.3 * rng.randn(400) > 0.8).astype(int)
    weights = rng.rand(400)
    for class_weight in ("balanced", "balanced_subsample", {0: 1.0, 1: 4.0}):
        settings: dict[str, Any] = {
            "class_weight": class_weight,
            "bootstrap": False,
            "max_features": None,
            "max_depth": 3,
            "min_weight_fraction_leaf": 0.1,
            "random_state": 0,
        }
        ours = RandomForestClassifier(1, **settings).fit(X, y, weights)
        # scikit-learn 1.8 counts the rows for "balanced", 1.9 and we add up their weights.
        given = settings | {"class_weight": expected(class_weight, y, weights)}
        theirs = Theirs(1, **given).fit(X, y, weights)
        np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), atol=1e-12)
    with pytest.warns(UserWarning, match="class_weight='balanced' with warm_start=True"):
        RandomForestClassifier(1, class_weight="balanced", warm_start=True).fit(X, y)


def test_smallest_weight_of_a_leaf_is_a_share_of_the_draws() -> None:
    weights = np.full(len(X), 1000.0)
    settings: dict[str, Any] = {"min_weight_fraction_leaf": 0.05, "max_samples": 300}
    model = RandomForestClassifier(5, random_state=0, **settings).fit(X, Y, weights)
    for tree in model.estimators_:
        leaves = tree.tree_.children_left < 0
        assert tree.tree_.weighted_n_node_samples[leaves].min() >= 15
        assert leaves.sum() > 4


@pytest.mark.parametrize(("verbose", "lines"), [(0, 0), (1, 24), (True, 24), (2, 24)])
def test_progress(verbose: int, lines: int, capsys: pytest.CaptureFixture[str]) -> None:
    quiet = RandomForestClassifier(24, random_state=0, max_depth=3).fit(X, Y)
    loud = RandomForestClassifier(24, random_state=0, max_depth=3, verbose=verbose).fit(X, Y)
    said = capsys.readouterr().out.splitlines()
    assert len(said) == lines
    assert not said or said[-1].startswith("24 of 24 trees in ")
    np.testing.assert_array_equal(loud.predict_proba(X), quiet.predict_proba(X))


def test_constraints_and_categories_in_a_forest(tmp_path: Path) -> None:
    rng = np.random.RandomState(0)
    numbers = rng.randn(500)
    colours = rng.choice(["red", "green", "blue"], 500)
    y = np.where((colours == "red") ^ (numbers > 0.5), "yes", "no")
    frame = pd.DataFrame({"colour": pd.Categorical(colours), "number": numbers})
    model = RandomForestClassifier(
        10, categorical_features="from_dtype", max_features=None, random_state=0
    ).fit(frame, y)
    assert model.score(frame, y) > 0.99
    assert model.feature_names_in_.tolist() == ["colour", "number"]
    # Not the code of a category, but its name decides.
    turned = frame.assign(colour=pd.Categorical(colours, categories=["red", "blue", "green"]))
    np.testing.assert_array_equal(model.predict(turned), model.predict(frame))
    model.save(tmp_path / "m")
    np.testing.assert_array_equal(
        ironlearn.load(tmp_path / "m").predict_proba(frame), model.predict_proba(frame)
    )
    rising = RandomForestClassifier(10, monotonic_cst=[1, 0], random_state=0)
    two = np.c_[numbers, rng.randn(500)]
    rising.fit(two, numbers + rng.randn(500) > 0)
    grid = np.c_[np.linspace(-3, 3, 200), np.zeros(200)]
    assert np.diff(rising.predict_proba(grid)[:, 1]).min() >= -1e-12


def test_trees_of_a_forest_are_estimators() -> None:
    X, y = load_iris(return_X_y=True)
    model = RandomForestClassifier(4, max_depth=3, class_weight="balanced", random_state=0)
    model.fit(X, y)
    tree = model[1]
    assert isinstance(tree, DecisionTreeClassifier)
    assert isinstance(clone(tree).fit(X, y), DecisionTreeClassifier)
    assert model.estimator_.get_params()["max_depth"] == 3
    assert tree.get_depth() <= 3
    assert "feature_2" in export_text(tree) or "feature_3" in export_text(tree)
    with pytest.raises(AttributeError):
        _ = RandomForestClassifier().estimators_
