"""Forests of numbers, and of several outputs."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_iris
from sklearn.metrics import mean_absolute_error, r2_score

import ironlearn
from ensemble.forests import ALL, CLASSIFIERS, REGRESSORS, ours, theirs
from ironlearn import serving
from ironlearn.exceptions import InvalidParameterError
from ironlearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

classifiers = pytest.mark.parametrize("name", CLASSIFIERS)
regressors = pytest.mark.parametrize("name", REGRESSORS)
each = pytest.mark.parametrize("name", ALL)

X, Y = load_diabetes(return_X_y=True)
IRIS, KINDS = load_iris(return_X_y=True)


def labels() -> np.ndarray:
    """Names of three kinds and of two."""
    wide = np.where(IRIS[:, 1] > 3, "wide", "narrow")
    return np.stack([np.array(["setosa", "versicolor", "virginica"])[KINDS], wide], axis=1)


def targets(name: str, outputs: int) -> tuple[np.ndarray, np.ndarray]:
    if name in CLASSIFIERS:
        return IRIS[:, [0, 2, 3]], labels() if outputs == 2 else labels()[:, 0]
    return X, np.stack([Y, X[:, 2] - X[:, 3]], axis=1) if outputs == 2 else Y


@regressors
def test_predictions_are_means_of_the_trees(name: str) -> None:
    for y in (Y, np.stack([Y, X[:, 3]], axis=1)):
        model = ours(name)(12, random_state=0, max_depth=6).fit(X, y)
        trees = np.mean([tree.predict(X) for tree in model.estimators_], axis=0)
        np.testing.assert_allclose(model.predict(X), trees, rtol=1e-12)
        assert isinstance(model[0], DecisionTreeRegressor)
        assert model.predict(X).shape == y.shape
    assert isinstance(clone(model[0]).fit(X, Y), DecisionTreeRegressor)


@classifiers
def test_classes_of_several_outputs(name: str) -> None:
    rows, both = targets(name, 2)
    for voting in ("soft", "hard"):
        model = ours(name)(12, random_state=0, max_depth=4, voting=voting).fit(rows, both)
        there = theirs(name)(12, random_state=0, max_depth=4).fit(rows, both)
        assert [c.tolist() for c in model.classes_] == [c.tolist() for c in there.classes_]
        np.testing.assert_array_equal(model.n_classes_, there.n_classes_)
        shares, logs = model.predict_proba(rows), model.predict_log_proba(rows)
        assert [p.shape for p in shares] == [(150, 3), (150, 2)]
        with np.errstate(divide="ignore"):
            np.testing.assert_array_equal(logs[1], np.log(shares[1]))
        predicted = model.predict(rows)
        for k, proba in enumerate(shares):
            np.testing.assert_allclose(proba.sum(axis=1), 1.0)
            np.testing.assert_array_equal(predicted[:, k], model.classes_[k][proba.argmax(axis=1)])
            assert (predicted[:, k] == both[:, k]).mean() > 0.8
        if voting == "soft":
            trees = np.mean([tree.predict_proba(rows)[0] for tree in model.estimators_], axis=0)
            np.testing.assert_allclose(shares[0], trees, atol=1e-12)
    # Trees predict codes, as scikit-learn's do.
    assert isinstance(model[0], DecisionTreeClassifier)
    assert set(np.unique(model[0].predict(rows))) <= {0.0, 1.0, 2.0}


@each
@pytest.mark.parametrize("outputs", [1, 2])
def test_files_pickles_and_serving(name: str, outputs: int, tmp_path: Path) -> None:
    rows, y = targets(name, outputs)
    settings: dict[str, Any] = {"bootstrap": True, "oob_score": name in REGRESSORS}
    model = ours(name)(30, random_state=0, **settings).fit(rows, y)
    model.save(tmp_path / "m")
    served = serving.load(tmp_path / "m")
    loaded = ironlearn.load(tmp_path / "m")
    for other in (served, loaded, pickle.loads(pickle.dumps(model))):
        np.testing.assert_array_equal(other.predict(rows), model.predict(rows))
        if name in CLASSIFIERS:
            a, b = other.predict_proba(rows), model.predict_proba(rows)
            for here, there in zip(a, b, strict=True):
                np.testing.assert_array_equal(here, there)
    if name in REGRESSORS:
        np.testing.assert_array_equal(loaded.oob_prediction_, model.oob_prediction_)
        assert loaded.oob_score_ == model.oob_score_
    np.testing.assert_array_equal(loaded.estimators_samples_[3], model.estimators_samples_[3])
    # What was loaded can grow.
    further = loaded.set_params(warm_start=True, n_estimators=40, oob_score=False).fit(rows, y)
    whole = ours(name)(40, random_state=0, bootstrap=True).fit(rows, y)
    np.testing.assert_array_equal(further.predict(rows), whole.predict(rows))


@regressors
@pytest.mark.parametrize("outputs", [1, 2])
def test_out_of_bag_predictions(name: str, outputs: int) -> None:
    rows, y = targets(name, outputs)
    settings: dict[str, Any] = {"bootstrap": True, "oob_score": True, "random_state": 1}
    for more in ({}, {"ccp_alpha": 20.0}, {"max_samples": 0.5}):
        model = ours(name)(40, **settings, **more).fit(rows, y)
        sums, counts = np.zeros(y.shape), np.zeros(len(rows))
        for tree, drawn in zip(model.estimators_, model.estimators_samples_, strict=True):
            unseen = np.setdiff1d(np.arange(len(rows)), drawn)
            sums[unseen] += tree.predict(rows[unseen])
            counts[unseen] += 1
        expected = sums / (counts if outputs == 1 else counts[:, None])
        np.testing.assert_allclose(model.oob_prediction_, expected, rtol=1e-12)
        assert model.oob_score_ == pytest.approx(r2_score(y, expected))
        assert not hasattr(model, "oob_decision_function_")
    scored = ours(name)(40, **settings | {"oob_score": mean_absolute_error}).fit(rows, y)
    there = theirs(name)(40, **settings | {"oob_score": mean_absolute_error}).fit(rows, y)
    assert scored.oob_score_ == pytest.approx(there.oob_score_, rel=0.1)


@classifiers
def test_out_of_bag_shares_of_several_outputs(name: str) -> None:
    settings: dict[str, Any] = {"bootstrap": True, "oob_score": True, "random_state": 0}
    both = np.stack([KINDS == 1, IRIS[:, 1] > 3], axis=1).astype(int)
    model = ours(name)(60, **settings).fit(IRIS, both)
    there = theirs(name)(60, **settings).fit(IRIS, both)
    assert model.oob_decision_function_.shape == there.oob_decision_function_.shape == (150, 2, 2)
    assert model.oob_score_ == pytest.approx(there.oob_score_, abs=0.05)
    np.testing.assert_allclose(model.oob_decision_function_.sum(axis=1), 1.0)
    difference = model.oob_decision_function_ - there.oob_decision_function_
    assert np.abs(difference).mean() < 0.05
    with pytest.raises(ValueError, match="multiclass-multioutput"):
        ours(name)(60, **settings).fit(IRIS, labels())


@each
@pytest.mark.parametrize("outputs", [1, 2])
@pytest.mark.filterwarnings("ignore:Some inputs do not have OOB scores")
def test_warm_start_grows_the_same_forest(name: str, outputs: int) -> None:
    rows, y = targets(name, outputs)
    oob = name in REGRESSORS or outputs == 1
    settings: dict[str, Any] = {"bootstrap": True, "oob_score": oob, "random_state": 4}
    whole = ours(name)(9, **settings).fit(rows, y)
    grown = ours(name)(4, warm_start=True, **settings).fit(rows, y)
    grown.set_params(n_estimators=9).fit(rows, y)
    np.testing.assert_array_equal(grown.predict(rows), whole.predict(rows))
    if oob:
        assert grown.oob_score_ == pytest.approx(whole.oob_score_)
    with pytest.raises(ValueError, match="warm_start=True: y has"):
        grown.set_params(n_estimators=12).fit(rows, targets(name, 3 - outputs)[1])
    np.testing.assert_array_equal(grown.predict(rows), whole.predict(rows))


@classifiers
@pytest.mark.parametrize("class_weight", ["balanced", [{0: 1, 1: 5}, {0: 2, 1: 1}]])
def test_class_weights_of_several_outputs(name: str, class_weight: Any) -> None:
    rng = np.random.RandomState(0)
    rows = rng.randn(300, 2).astype(np.float32)
    both = np.stack([rows[:, 0] > 1, rows[:, 1] + 0.3 * rng.randn(300) > 0], axis=1).astype(int)
    settings: dict[str, Any] = {"max_depth": 1, "max_features": None, "random_state": 0}
    model = ours(name)(1, bootstrap=False, class_weight=class_weight, **settings).fit(rows, both)
    there = theirs(name)(1, bootstrap=False, class_weight=class_weight, **settings).fit(rows, both)
    here, expected = (forest.estimators_[0].tree_.value[0] for forest in (model, there))
    np.testing.assert_allclose(here, expected, atol=1e-12)
    sampled = ours(name)(5, bootstrap=True, class_weight="balanced_subsample", **settings)
    for tree in sampled.fit(rows, both).estimators_:
        # Weights are products over the outputs, so each output alone is only about balanced.
        assert 0.3 < tree.tree_.value[0, 0, 1] < 0.7


@regressors
def test_settings_reach_the_trees(name: str) -> None:
    rising = ours(name)(8, monotonic_cst=[0, 0, 1] + [0] * 7, max_depth=5, random_state=0)
    grid = np.zeros((100, 10))
    grid[:, 2] = np.linspace(-0.1, 0.2, 100)
    assert np.diff(rising.fit(X, Y).predict(grid)).min() >= -1e-9
    gaps = X.copy()
    gaps[::7, 2] = np.nan
    assert ours(name)(20, random_state=0).fit(gaps, Y).score(gaps, Y) > 0.7
    few = ours(name)(4, max_leaf_nodes=5, random_state=0).fit(X, Y)
    assert {tree.get_n_leaves() for tree in few.estimators_} == {5}
    pruned = ours(name)(4, ccp_alpha=50.0, random_state=0).fit(X, Y)
    assert pruned[0].get_n_leaves() < 200
    weights = np.where(Y > 200, 0.0, 1.0)
    assert ours(name)(10, random_state=0).fit(X, Y, weights).predict(X).max() <= 200
    assert few.feature_importances_.sum() == pytest.approx(1.0)
    half = ours(name)(3, max_features=0.5, max_depth=2, random_state=0).fit(X, Y)
    assert half[0].max_features_ == 5


@regressors
def test_bad_targets_are_refused(name: str) -> None:
    for bad, words in [
        (np.full(len(X), np.nan), "NaN"),
        (Y[:5], "inconsistent"),
        (Y.reshape(-1, 1, 1), "dim"),
        (np.array(["a"] * len(X)), "could not convert"),
    ]:
        with pytest.raises(ValueError, match=words):
            ours(name)(2).fit(X, bad)
    with pytest.raises(ValueError, match="negative"):
        ours(name)(2, criterion="poisson").fit(X, Y - 100)
    with pytest.raises(InvalidParameterError, match="'criterion'"):
        ours(name)(2, criterion="gini").fit(X, Y)
    with pytest.raises(ValueError, match="multiple outputs"):
        ours(name)(2, monotonic_cst=[1] * 10).fit(X, np.stack([Y, Y], axis=1))
    with pytest.warns(FutureWarning, match="friedman_mse"):
        ours(name)(2, criterion="friedman_mse").fit(X, Y)


@classifiers
def test_monotonic_constraints_need_one_output(name: str) -> None:
    with pytest.raises(ValueError, match="multiple outputs"):
        ours(name)(2, monotonic_cst=[1, 0, 0, 0]).fit(IRIS, labels())
