"""RandomForestClassifier beside scikit-learn."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_digits, load_iris
from sklearn.ensemble import RandomForestClassifier as Theirs
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import train_test_split

import ironlearn
from ironlearn.ensemble import RandomForestClassifier

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


def test_max_samples_larger_than_the_data() -> None:
    with pytest.raises(ValueError, match=r"`max_samples` must be <= n_samples=1797"):
        RandomForestClassifier(max_samples=5000).fit(X, Y)


def test_a_forest_that_no_memory_holds_is_refused() -> None:
    for wrong in ({"n_estimators": 10**12}, {"n_estimators": 2**70}, {"max_samples": 10**15}):
        with pytest.raises(ValueError, match="n_estimators|max_samples"):
            RandomForestClassifier(**wrong).fit(X, Y)
