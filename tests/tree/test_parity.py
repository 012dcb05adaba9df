"""The public surface of trees and forests beside scikit-learn's."""

from __future__ import annotations

import inspect
import pickle
from typing import Any

import numpy as np
import pytest
import sklearn.tree
from sklearn import config_context
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier as TheirForest
from sklearn.inspection import permutation_importance
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier as TheirTree
from sklearn.utils.fixes import parse_version

from ironlearn import tree as our_tree
from ironlearn.ensemble import RandomForestClassifier
from ironlearn.tree import DecisionTreeClassifier

X, Y = load_iris(return_X_y=True)
PAIRS: dict[str, tuple[Any, Any]] = {
    "tree": (DecisionTreeClassifier, TheirTree),
    "forest": (RandomForestClassifier, TheirForest),
}
pairs = pytest.mark.parametrize("which", PAIRS)

#: Parameters that scikit-learn has not: native categories, binning, threads for one tree, and
#: how trees vote.
OURS_ALONE = {
    "tree": {"categorical_features", "max_bins", "n_jobs"},
    "forest": {"categorical_features", "max_bins", "voting"},
}
#: Public names that scikit-learn has and we have not. `estimator` and `estimator_params` are the
#: constructor's arguments of its base class of ensembles; a forest of ours is always one of
#: trees, and `estimator_` shows such a tree.
THEIRS_ALONE = {"tree": set(), "forest": {"estimator", "estimator_params"}}


def _public(thing: Any) -> set[str]:
    return {name for name in dir(thing) if not name.startswith("_")}


@pairs
def test_constructors_have_the_same_defaults(which: str) -> None:
    ours, theirs = (inspect.signature(kind).parameters for kind in PAIRS[which])
    assert set(ours) - set(theirs) == OURS_ALONE[which]
    assert set(theirs) <= set(ours)
    for name, parameter in theirs.items():
        assert ours[name].default == parameter.default, name
        assert ours[name].kind == parameter.kind, name


@pairs
def test_methods_take_the_same_arguments(which: str) -> None:
    ours, theirs = PAIRS[which]
    for name in sorted(_public(theirs) & _public(ours)):
        if not callable(getattr(theirs, name)) or name.startswith("set_"):
            continue
        here, there = (
            {p.name: (p.default, p.kind) for p in inspect.signature(f).parameters.values()}
            for f in (getattr(ours, name), getattr(theirs, name))
        )
        assert here == there, name


@pairs
def test_fitted_estimators_have_the_same_attributes(which: str) -> None:
    settings: dict[str, Any] = {"random_state": 0}
    if which == "forest":
        settings |= {"oob_score": True, "n_estimators": 30}
    ours, theirs = (kind(**settings).fit(X, Y) for kind in PAIRS[which])
    assert _public(theirs) - _public(ours) == THEIRS_ALONE[which]
    for name in _public(theirs) & _public(ours):
        if name.endswith("_"):
            assert np.shape(getattr(ours, name)) == np.shape(getattr(theirs, name)), name
    for name in ("n_classes_", "n_outputs_", "n_features_in_"):
        assert getattr(ours, name) == getattr(theirs, name)


def test_tree_fields_are_scikit_learn_s() -> None:
    # One feature of two values: there is one tree only.
    x = np.repeat([[0.0], [1.0], [3.0]], [10, 20, 15], axis=0)
    y = np.repeat(["a", "b", "a"], [10, 20, 15])
    ours, theirs = DecisionTreeClassifier().fit(x, y), TheirTree().fit(x, y)
    # `compute_partial_dependence` serves boosting's fast path, which asks for its own class.
    assert _public(theirs.tree_) - _public(ours.tree_) == {"compute_partial_dependence"}
    for name in _public(theirs.tree_) & _public(ours.tree_):
        here, there = getattr(ours.tree_, name), getattr(theirs.tree_, name)
        if not callable(there):
            np.testing.assert_array_equal(here, there, err_msg=name)
            assert np.asarray(here).dtype == np.asarray(there).dtype, name
    rows = np.array([[0.0], [0.6], [2.5], [np.nan]], dtype=np.float32)
    for name in ("apply", "predict"):
        np.testing.assert_array_equal(
            getattr(ours.tree_, name)(rows), getattr(theirs.tree_, name)(rows), err_msg=name
        )
    np.testing.assert_array_equal(
        ours.tree_.decision_path(rows).toarray(), theirs.tree_.decision_path(rows).toarray()
    )
    np.testing.assert_array_equal(
        ours.tree_.compute_node_depths(), theirs.tree_.compute_node_depths()
    )
    for normalize in (True, False):
        np.testing.assert_allclose(
            ours.tree_.compute_feature_importances(normalize=normalize),
            theirs.tree_.compute_feature_importances(normalize=normalize),
        )
    # What pickling tools read: the nodes as one structured array, and the values.
    here, there = ours.tree_.__getstate__(), theirs.tree_.__getstate__()
    assert set(here) == set(there)
    assert here["nodes"].dtype == there["nodes"].dtype
    for name in there["nodes"].dtype.names:
        np.testing.assert_array_equal(here["nodes"][name], there["nodes"][name], err_msg=name)
    np.testing.assert_array_equal(here["values"], there["values"])
    again = pickle.loads(pickle.dumps(ours.tree_))
    np.testing.assert_array_equal(again.apply(rows), ours.tree_.apply(rows))


def test_scikit_learn_s_exporters_read_our_trees() -> None:
    ours = DecisionTreeClassifier(max_depth=3, random_state=0).fit(X[:, 2:3], Y)
    theirs = TheirTree(max_depth=3, random_state=0).fit(X[:, 2:3], Y)
    assert sklearn.tree.export_graphviz(ours) == sklearn.tree.export_graphviz(theirs)
    # These two check for their own class first, and otherwise need no more than `tree_`; leaves
    # of another class than their own are written as numbers.
    with config_context(skip_parameter_validation=True):
        assert "feature_0 <= 2.45\n|   |--- value: [1.00" in sklearn.tree.export_text(ours)
    with config_context(skip_parameter_validation=True):
        assert len(sklearn.tree.plot_tree(ours)) >= ours.tree_.node_count
    assert set(inspect.signature(our_tree.export_text).parameters) >= set(
        inspect.signature(sklearn.tree.export_text).parameters
    )


@pairs
def test_tools_work(which: str) -> None:
    ours = PAIRS[which][0]
    settings: dict[str, Any] = {"random_state": 0}
    if which == "forest":
        settings["n_estimators"] = 10
    model = ours(**settings).fit(X, Y)
    found = permutation_importance(model, X, Y, n_repeats=2, random_state=0)
    assert found.importances_mean.argmax() in (2, 3)
    assert clone(model).get_params() == model.get_params()
    piped = make_pipeline(StandardScaler(), ours(**settings))
    assert cross_validate(piped, X, Y, cv=3)["test_score"].mean() > 0.9
    search = GridSearchCV(ours(**settings), {"max_depth": [1, 4]}, cv=3).fit(X, Y)
    assert search.best_params_ == {"max_depth": 4}
    names = np.array(["setosa", "versicolor", "virginica"])[Y]
    named = ours(**settings).fit(X, names)
    np.testing.assert_array_equal(named.predict(X), named.classes_[model.predict(X)])
    proba = model.predict_proba(X)
    with np.errstate(divide="ignore"):
        np.testing.assert_array_equal(model.predict_log_proba(X), np.log(proba))


@pairs
def test_weights_are_routed(which: str) -> None:
    weights = np.where(Y == 2, 0.0, 1.0)
    with config_context(enable_metadata_routing=True):
        model = PAIRS[which][0](random_state=0).set_fit_request(sample_weight=True)
        scaler = StandardScaler().set_fit_request(sample_weight=True)
        piped = make_pipeline(scaler, model).fit(X, Y, sample_weight=weights)
    assert 2 not in piped.predict(X)
    requests = model.get_metadata_routing()
    assert "check_input" not in str(requests)


#: scikit-learn 1.8 reads names by a protocol that Polars has given up.
LIBRARIES = (
    ["pandas", "polars"]
    if parse_version(sklearn.__version__) >= parse_version("1.9")
    else ["pandas"]
)


@pytest.mark.parametrize("library", LIBRARIES)
@pairs
def test_names_of_columns_are_kept_and_checked(which: str, library: str) -> None:
    frames = pytest.importorskip(library)
    names = ["a", "b", "c", "d"]
    frame = frames.DataFrame({name: X[:, i] for i, name in enumerate(names)})
    model = PAIRS[which][0](random_state=0).fit(frame, Y)
    assert model.feature_names_in_.tolist() == names
    np.testing.assert_array_equal(
        model.predict(frame), PAIRS[which][0](random_state=0).fit(X, Y).predict(X)
    )
    with pytest.raises(ValueError, match="feature names"):
        model.predict(frame[["b", "a", "c", "d"]])
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        model.predict(X)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict(frame), model.predict(frame))
