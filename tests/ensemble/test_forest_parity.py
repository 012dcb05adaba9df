"""The public surface of all forests beside scikit-learn's, and their scores over seeds."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.inspection import permutation_importance
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.multioutput import MultiOutputClassifier

from ensemble.forests import ALL, CLASSIFIERS, REGRESSORS, ours, theirs

each = pytest.mark.parametrize("name", ALL)

#: What scikit-learn has not: native categories and bins, and how trees vote.
OURS_ALONE = {
    "RandomForestClassifier": {"categorical_features", "max_bins", "voting"},
    "ExtraTreesClassifier": {"categorical_features", "voting"},
    "RandomForestRegressor": {"categorical_features", "max_bins"},
    "ExtraTreesRegressor": {"categorical_features"},
}


def data(name: str) -> tuple[np.ndarray, np.ndarray]:
    return load_iris(return_X_y=True) if name in CLASSIFIERS else load_diabetes(return_X_y=True)


def public(thing: Any) -> set[str]:
    return {name for name in dir(thing) if not name.startswith("_")}


@each
def test_constructors_have_the_same_defaults(name: str) -> None:
    here, there = (inspect.signature(kind).parameters for kind in (ours(name), theirs(name)))
    assert set(here) - set(there) == OURS_ALONE[name]
    for parameter, known in there.items():
        assert here[parameter].default == known.default, parameter
        assert here[parameter].kind == known.kind, parameter


@each
def test_methods_take_the_same_arguments(name: str) -> None:
    for method in sorted(public(theirs(name)) & public(ours(name))):
        if not callable(getattr(theirs(name), method)) or method.startswith("set_"):
            continue
        here, there = (
            {p.name: (p.default, p.kind) for p in inspect.signature(f).parameters.values()}
            for f in (getattr(ours(name), method), getattr(theirs(name), method))
        )
        assert here == there, method


@each
@pytest.mark.parametrize("outputs", [1, 2])
def test_fitted_forests_have_the_same_attributes(name: str, outputs: int) -> None:
    X, y = data(name)
    if outputs == 2:
        y = np.stack([y > np.median(y), X[:, 1] > X[:, 1].mean()], axis=1).astype(float)
    settings: dict[str, Any] = {
        "n_estimators": 40,
        "bootstrap": True,
        "oob_score": True,
        "random_state": 0,
    }
    here, there = (kind(**settings).fit(X, y) for kind in (ours(name), theirs(name)))
    # `estimator` and its parameters are arguments of their base class; a forest of ours is
    # always one of trees. Their regressors have a `class_weight` that does nothing.
    alone = {"estimator", "estimator_params"} | ({"class_weight"} if name in REGRESSORS else set())
    assert public(there) - public(here) == alone
    for attribute in public(there) & public(here):
        if attribute.endswith("_"):
            assert np.shape(getattr(here, attribute)) == np.shape(getattr(there, attribute)), (
                attribute
            )
    assert here.n_outputs_ == there.n_outputs_ == outputs
    assert here.oob_score_ == pytest.approx(there.oob_score_, abs=0.05)
    tree, their_tree = here.estimators_[0], there.estimators_[0]
    assert tree.tree_.value.shape[1:] == their_tree.tree_.value.shape[1:]
    np.testing.assert_array_equal(
        np.asarray(tree.predict(X[:5])).shape, np.asarray(their_tree.predict(X[:5])).shape
    )
    assert here.estimator_.splitter == there.estimator_.splitter
    assert here.apply(X).shape == there.apply(X).shape
    assert type(here.decision_path(X)[0]) is type(there.decision_path(X)[0])


@each
def test_tools_work(name: str) -> None:
    X, y = data(name)
    model = ours(name)(10, random_state=0)
    assert permutation_importance(model.fit(X, y), X, y, n_repeats=2).importances.shape[1] == 2
    search = GridSearchCV(model, {"max_depth": [1, 5]}, cv=3).fit(X, y)
    assert search.best_params_ == {"max_depth": 5}
    if name in CLASSIFIERS:
        both = np.stack([y, y == 1], axis=1)
        assert MultiOutputClassifier(model).fit(X, both).predict(X).shape == (150, 2)


def score_differences(name: str, X: np.ndarray, y: np.ndarray, **settings: Any) -> np.ndarray:
    differences = []
    for seed in range(20):
        train, test, y_train, y_test = train_test_split(X, y, random_state=seed)
        here, there = (
            kind(30, random_state=seed, **settings).fit(train, y_train).score(test, y_test)
            for kind in (ours(name), theirs(name))
        )
        differences.append(here - there)
    return np.array(differences)


def assert_within_noise(differences: np.ndarray) -> None:
    noise = differences.std(ddof=1) / np.sqrt(len(differences))
    assert abs(differences.mean()) < 3 * noise + 1e-3


def test_mean_accuracy_of_extra_trees() -> None:
    # Random forests have theirs in test_forest.py.
    assert_within_noise(
        score_differences("ExtraTreesClassifier", *load_breast_cancer(return_X_y=True))
    )


@pytest.mark.parametrize("name", REGRESSORS)
def test_mean_r2_over_seeds(name: str) -> None:
    assert_within_noise(score_differences(name, *load_diabetes(return_X_y=True)))


@pytest.mark.parametrize("criterion", ["absolute_error", "poisson"])
@pytest.mark.parametrize("name", REGRESSORS)
def test_criteria_of_numbers(name: str, criterion: str) -> None:
    X, y = load_diabetes(return_X_y=True)
    settings: dict[str, Any] = {"criterion": criterion, "min_samples_leaf": 5, "random_state": 0}
    here, there = (kind(25, **settings).fit(X, y) for kind in (ours(name), theirs(name)))
    assert here.score(X, y) == pytest.approx(there.score(X, y), abs=0.04)
    assert np.corrcoef(here.predict(X), there.predict(X))[0, 1] > 0.97
