"""Unchanged scikit-learn code under the patch: types, parameters, engines, fallbacks, pickles."""

from __future__ import annotations

import importlib
import inspect
import logging
import os
import pickle
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sklearn
from sklearn.base import BaseEstimator, clone
from sklearn.datasets import load_iris
from sklearn.exceptions import NotFittedError

import ironlearn
from common import registry
from ironlearn import patch
from ironlearn.base import TYPES
from ironlearn.exceptions import FallbackError, FallbackWarning, InvalidParameterError
from ironlearn.patch import _build, _fitted, estimators

NAMES = patch.covered()
each = pytest.mark.parametrize("name", NAMES)
pytestmark = pytest.mark.filterwarnings("ignore:These modules imported:UserWarning")

X, y = load_iris(return_X_y=True)


@pytest.fixture(autouse=True)
def patched() -> Iterator[patch.Patch]:
    patch.reset_report()
    with ironlearn.sklearn_patch() as active:
        yield active


def kind_of(name: str) -> Any:
    return getattr(importlib.import_module(_build.public_module(name)), name)


def make(name: str, **parameters: Any) -> Any:
    """Return a patched estimator with the quick settings of the registry."""
    settings = {**registry.QUICK.get(name, {}), **parameters}
    kind = kind_of(name)
    if "random_state" in inspect.signature(kind).parameters:
        settings.setdefault("random_state", 0)
    known = inspect.signature(kind).parameters
    return kind(**{k: v for k, v in settings.items() if k in known})


def genuine(name: str) -> Any:
    return _build.genuine_class(name)


def test_every_type_of_the_five_families_is_covered() -> None:
    assert {name for name in TYPES if TYPES[name].split(".")[1] in _build.FAMILIES} == set(NAMES)
    assert {"GaussianNB", "SVC", "KMeans", "RandomForestClassifier"} <= set(NAMES)
    assert all(patch.is_patched(name) for name in NAMES)


@each
def test_constructor_parameters_and_repr_are_scikit_learns(name: str) -> None:
    ours, theirs = kind_of(name), genuine(name)
    assert ours is not theirs
    assert inspect.signature(ours) == inspect.signature(theirs)
    assert str(ours().get_params()) == str(theirs().get_params())
    assert repr(make(name)) == repr(theirs(**make(name).get_params()))
    assert ours.__name__ == name
    assert ours.__doc__ == theirs.__doc__
    with pytest.raises(TypeError, match="unexpected keyword argument 'no_such'"):
        ours(no_such=1)


@each
def test_instances_pass_for_each_other(name: str) -> None:
    ours, theirs = kind_of(name), genuine(name)
    native = getattr(importlib.import_module(TYPES[name]), name)
    assert isinstance(ours(), theirs)
    assert isinstance(theirs(), ours)
    assert isinstance(native(), ours)
    # Asking the patched class must not teach scikit-learn's own that ours is one of its kind.
    assert not isinstance(native(), theirs)
    assert not issubclass(native, theirs)
    assert issubclass(theirs, ours)
    assert not isinstance(sklearn.linear_model.LogisticRegression(), ours)
    assert not isinstance(1, ours)

    class Mine(ours):
        pass

    assert isinstance(Mine(), theirs)
    assert not isinstance(ours(), Mine)
    assert not isinstance(theirs(), Mine)


@each
def test_answers_are_those_of_ironlearn(name: str) -> None:
    X, y = registry.data(name)
    model = make(name).fit(X, y)
    shared = {k: v for k, v in model.get_params().items() if k in registry.make(name).get_params()}
    shared.pop("probability", None)
    direct = registry.make(name, **shared).fit(X, y)
    for got, wanted in zip(
        registry.answers(name, model, X), registry.answers(name, direct, X), strict=True
    ):
        np.testing.assert_array_equal(got, wanted)
    report = patch.report()
    assert report.native[name] == 1
    assert not report.fallbacks


@each
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_fitted_attributes_are_those_of_scikit_learn(name: str) -> None:
    X, y = registry.data(name)
    model = make(name).fit(X, y)
    reference = genuine(name)(**model.get_params()).fit(X, y)
    expected = {a for a in vars(reference) if a.endswith("_") and not a.startswith("_")}
    expected |= {
        a
        for a in dir(type(reference))
        if a.endswith("_")
        and not a.startswith("_")
        and isinstance(inspect.getattr_static(type(reference), a), property)
        and a not in ("probA_", "probB_")  # deprecated, with a warning
        and hasattr(reference, a)
    }
    missing = {a for a in expected if not hasattr(model, a)}
    assert not missing
    for attribute in expected:
        theirs, ours = getattr(reference, attribute), getattr(model, attribute)
        if isinstance(theirs, np.ndarray) and isinstance(ours, np.ndarray):
            assert ours.ndim == theirs.ndim, attribute
            assert ours.dtype.kind == theirs.dtype.kind, attribute
        else:
            assert np.isscalar(ours) == np.isscalar(theirs), attribute


@each
def test_clone_pickle_and_unfitted(name: str) -> None:
    X, y = registry.data(name)
    model = make(name)
    with pytest.raises(NotFittedError):
        model.predict(X)
    assert str(clone(model).get_params()) == str(model.get_params())
    model.fit(X, y)
    other = pickle.loads(pickle.dumps(model))
    assert type(other) is type(model) is getattr(estimators, name)
    np.testing.assert_array_equal(other.predict(X), model.predict(X))
    with pytest.raises(NotFittedError):
        clone(model).predict(X)
    for attribute in vars(clone(model)):
        assert not attribute.startswith("_ironlearn")


@each
def test_bad_input_gets_scikit_learns_words(name: str) -> None:
    X, y = registry.data(name)
    bad = [(X[0], y), (X.astype(complex), y), (X[:0], y[:0])]
    if "KMeans" not in name:  # which needs no y
        bad.append((X[:5], y))
    for bad_X, bad_y in bad:
        with pytest.raises(ValueError) as ours:  # noqa: PT011
            make(name).fit(bad_X, bad_y)
        with pytest.raises(ValueError) as theirs:  # noqa: PT011
            genuine(name)(**make(name).get_params()).fit(bad_X, bad_y)
        assert str(ours.value) == str(theirs.value)
        assert type(ours.value) is type(theirs.value)
    report = patch.report()
    assert not report.fallbacks
    assert report.errors[name] >= 3


@each
def test_bad_parameters_get_scikit_learns_words(name: str) -> None:
    X, y = registry.data(name)
    for parameter in make(name).get_params():
        bad = make(name).set_params(**{parameter: object()})
        wrong = genuine(name)(**bad.get_params())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            theirs = _error_of(wrong, X, y)
        ours = _error_of(bad, X, y)
        assert ours == theirs


def _error_of(model: Any, X: Any, y: Any) -> tuple[str, str] | None:
    """Return the type and the words of what `fit` raises, without addresses of objects."""
    try:
        model.fit(X, y)
    except Exception as error:
        return type(error).__name__, str(error).split(" object at ")[0]
    return None


def test_what_is_not_supported_falls_back_and_says_so() -> None:
    from sklearn.tree import DecisionTreeClassifier

    class Hooked(DecisionTreeClassifier):
        def _prune_tree(self) -> None:
            super()._prune_tree()

    with pytest.warns(FallbackWarning, match=r"Hooked\._prune_tree is overridden") as caught:
        model = Hooked(random_state=0).fit(X, y)
    assert caught[0].filename == __file__
    assert "DecisionTreeClassifier.fit runs in scikit-learn" in str(caught[0].message)
    assert model.score(X, y) == 1
    assert isinstance(model.tree_, sklearn.tree._tree.Tree)
    report = patch.report()
    ((name, method, reason),) = report.fallbacks
    assert (name, method) == ("DecisionTreeClassifier", "fit")
    assert "overridden" in reason
    assert reason in str(report)
    assert not report.native
    # Public methods may be overridden.

    class Loud(DecisionTreeClassifier):
        def predict(self, X: Any) -> Any:
            return super().predict(X) + 10

    assert Loud(random_state=0).fit(X, y).predict(X[:1]) == [10]
    assert patch.report().native["DecisionTreeClassifier"] == 1


def test_unsupported_parameters_and_input_fall_back(monkeypatch: pytest.MonkeyPatch) -> None:
    from sklearn.svm import SVC

    from ironlearn import svm as native
    from ironlearn._parameters import integer, options

    # What is not supported changes with time: here a parameter value and an input are taken away.
    monkeypatch.setitem(native.SVC._parameters, "kernel", (options("linear"),))
    with pytest.warns(FallbackWarning, match="kernel='poly' is not supported; a str among"):
        model = SVC(kernel="poly").fit(X, y)
    assert model.kernel == "poly"
    assert model.predict(X).shape == (150,)
    assert model.support_vectors_.shape[1] == 4
    monkeypatch.undo()

    def fit(self: Any, *args: Any) -> None:
        raise NotImplementedError("X has a bad smell.\nSecond line")

    monkeypatch.setattr(native.SVC, "fit", fit)
    with pytest.warns(FallbackWarning, match=r"bad smell\.$"):
        SVC().fit(X, y)
    monkeypatch.undo()
    monkeypatch.delitem(native.SVC._parameters, "degree")
    names = {k: v for k, v in SVC._ironlearn_native_defaults.items() if k != "degree"}
    monkeypatch.setattr(SVC, "_ironlearn_native_defaults", names)
    with pytest.warns(FallbackWarning, match="has no parameter 'degree'"):
        SVC(degree=2).fit(X, y)
    assert integer(1).test(SVC(degree=2).degree)


def test_modes_of_fallback(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from sklearn.naive_bayes import GaussianNB

    class Hooked(GaussianNB):
        def _joint_log_likelihood(self, X: Any) -> Any:
            return super()._joint_log_likelihood(X)

    with ironlearn.sklearn_patch(fallback="error"), pytest.raises(FallbackError, match="overrid"):
        Hooked().fit(X, y)
    with ironlearn.sklearn_patch(fallback="log"), caplog.at_level(logging.WARNING):
        Hooked().fit(X, y)
    assert "GaussianNB.fit runs in scikit-learn" in caplog.text
    monkeypatch.setenv("IRONLEARN_PATCH_FALLBACK", "error")
    with pytest.raises(FallbackError):
        Hooked().fit(X, y)
    monkeypatch.setenv("IRONLEARN_PATCH_FALLBACK", "sometimes")
    with pytest.raises(InvalidParameterError, match="IRONLEARN_PATCH_FALLBACK"):
        Hooked().fit(X, y)
    with pytest.raises(InvalidParameterError, match="fallback must be one of"):
        ironlearn.sklearn_patch(fallback="never")


def test_changing_engines_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    from sklearn.naive_bayes import GaussianNB

    from ironlearn import naive_bayes as native

    model = GaussianNB().fit(X, y)
    native_theta = model.theta_
    with monkeypatch.context() as changed:
        changed.setattr(native.GaussianNB, "_update", lambda *a, **k: int("no"))
        with pytest.warns(FallbackWarning):
            model.fit(X[:, :2], y)
    assert model.theta_.shape == (3, 2)
    assert vars(model)["theta_"].shape == (3, 2)
    model.fit(X, y)
    assert "theta_" not in vars(model)
    np.testing.assert_array_equal(model.theta_, native_theta)
    assert model.n_features_in_ == 4


def test_a_failed_fit_keeps_the_model() -> None:
    from sklearn.naive_bayes import GaussianNB

    model = GaussianNB().fit(X, y)
    before = model.predict_proba(X)
    with pytest.raises(ValueError, match="inconsistent"):
        model.fit(X[:5], y)
    np.testing.assert_array_equal(model.predict_proba(X), before)
    fresh = GaussianNB()
    with pytest.raises(ValueError, match="inconsistent"):
        fresh.fit(X[:5], y)
    assert not hasattr(fresh, "classes_")


def test_partial_fit_and_warm_start_stay_in_one_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.naive_bayes import GaussianNB

    from ironlearn import naive_bayes as native

    model = GaussianNB().partial_fit(X[:75], y[:75], classes=[0, 1, 2]).partial_fit(X[75:], y[75:])
    np.testing.assert_allclose(model.theta_, GaussianNB().fit(X, y).theta_)
    with pytest.raises(ValueError, match="features"):
        model.partial_fit(X[:, :2], y)
    forest = RandomForestClassifier(5, warm_start=True, random_state=0).fit(X, y)
    first = forest.estimators_[0]
    forest.set_params(n_estimators=8).fit(X, y)
    assert len(forest.estimators_) == 8
    np.testing.assert_array_equal(forest.estimators_[0].tree_.feature, first.tree_.feature)
    assert not patch.report().fallbacks
    with monkeypatch.context() as changed:
        changed.setattr(native.GaussianNB, "_update", lambda *a, **k: int("no"))
        with pytest.warns(FallbackWarning, match="invalid literal"):
            begun = GaussianNB().partial_fit(X, y, [0, 1, 2])
    with pytest.warns(FallbackWarning, match="begun in scikit-learn"):
        begun.partial_fit(X, y)
    assert begun.class_count_.tolist() == [100, 100, 100]
    begun.fit(X, y)
    assert begun.class_count_.tolist() == [50, 50, 50]


def test_a_fallback_sees_the_same_random_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    from sklearn.ensemble import RandomForestClassifier

    from ironlearn import ensemble as native

    def fit(self: Any, X: Any, y: Any) -> None:
        self.random_state.random_sample(100)
        raise ValueError("too late")

    monkeypatch.setattr(native.RandomForestClassifier, "fit", fit)
    with pytest.warns(FallbackWarning, match="too late"):
        ours = RandomForestClassifier(3, random_state=np.random.RandomState(7)).fit(X, y)
    forest = genuine("RandomForestClassifier")(3, random_state=np.random.RandomState(7)).fit(X, y)
    np.testing.assert_array_equal(ours.predict_proba(X), forest.predict_proba(X))


@each
@pytest.mark.filterwarnings("ignore::ironlearn.exceptions.FallbackWarning")
def test_scikit_learn_goes_on_with_a_model_that_is_changed(name: str) -> None:
    X, y = registry.data(name)
    model = make(name).fit(X, y)
    before = registry.answers(name, model, X)
    attribute = "n_features_in_"
    if name in _fitted._SEALED:
        with pytest.raises(AttributeError, match="cannot be set"):
            setattr(model, attribute, X.shape[1])
        return
    setattr(model, attribute, X.shape[1])
    assert "_ironlearn_model" not in vars(model)
    for got, wanted in zip(registry.answers(name, model, X), before, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-6, atol=1e-6)
    other = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(other.predict(X), model.predict(X))


def test_forests_may_be_joined() -> None:
    from sklearn.ensemble import RandomForestClassifier

    one, two = (RandomForestClassifier(4, random_state=seed).fit(X, y) for seed in (0, 1))
    mean = (one.predict_proba(X) + two.predict_proba(X)) / 2
    with pytest.warns(FallbackWarning, match="estimators_ was set"):
        one.estimators_ += two.estimators_
    one.n_estimators = len(one.estimators_)
    np.testing.assert_allclose(one.predict_proba(X), mean)


def test_parameters_set_after_fit_count() -> None:
    from sklearn.cluster import KMeans
    from sklearn.svm import SVC

    model = SVC(decision_function_shape="ovr").fit(np.r_[X, X + 9], np.r_[y, y + 3])
    assert model.decision_function(X).shape == (150, 6)
    model.set_params(decision_function_shape="ovo")
    assert model.decision_function(X).shape == (150, 15)
    with pytest.raises(AttributeError, match="support_ of this SVC cannot be set"):
        model.support_ = np.zeros(3)
    means = KMeans(3, n_init=1, random_state=0).fit(X)
    means.note_ = "mine"
    assert means.note_ == "mine"
    with pytest.warns(FallbackWarning, match="cluster_centers_ was set") as caught:
        means.cluster_centers_ = means.cluster_centers_[::-1].copy()
    assert caught[0].filename == __file__
    np.testing.assert_array_equal(means.predict(X), 2 - means.labels_)
    assert ("KMeans", "cluster_centers_ =") in {row[:2] for row in patch.report().fallbacks}
    means.fit(X)
    np.testing.assert_array_equal(means.predict(X), means.labels_)
    with pytest.raises(AttributeError, match="only available when using a linear kernel"):
        _ = model.coef_
    with pytest.raises(AttributeError, match="no attribute 'nothing_'"):
        _ = model.nothing_
    assert "support_vectors_" in dir(model)


def test_trees_are_scikit_learns_for_tools() -> None:
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.tree import DecisionTreeClassifier, export_graphviz, export_text

    forest = RandomForestClassifier(4, random_state=0).fit(X, y)
    tree = forest.estimators_[1]
    assert isinstance(tree, genuine("DecisionTreeClassifier"))
    assert isinstance(tree, DecisionTreeClassifier)
    assert isinstance(forest.estimator_, DecisionTreeClassifier)
    assert tree is forest.estimators_[1]
    assert type(tree.tree_) is sklearn.tree._tree.Tree
    assert "class:" in export_text(tree)
    assert "digraph" in export_graphviz(tree)
    rows = X.astype(np.float32)
    np.testing.assert_array_equal(tree.tree_.apply(rows), forest.apply(X)[:, 1])
    mean = np.mean([t.tree_.predict(rows) for t in forest.estimators_], axis=0)
    np.testing.assert_allclose(mean.reshape(150, 3), forest.predict_proba(X))
    assert len(pickle.dumps(forest)) < 2 * len(pickle.dumps(clone(forest).fit(X, y)))


def test_meta_estimators_and_functions_train_natively() -> None:
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.cluster import k_means
    from sklearn.ensemble import AdaBoostClassifier, BaggingClassifier, VotingClassifier
    from sklearn.model_selection import cross_val_score
    from sklearn.multiclass import OneVsRestClassifier
    from sklearn.naive_bayes import GaussianNB
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import LinearSVC

    for model, name in [
        (AdaBoostClassifier(n_estimators=2), "DecisionTreeClassifier"),
        (BaggingClassifier(n_estimators=2), "DecisionTreeClassifier"),
        (CalibratedClassifierCV(cv=2), "LinearSVC"),
        (VotingClassifier([("a", GaussianNB())]), "GaussianNB"),
        (OneVsRestClassifier(LinearSVC()), "LinearSVC"),
        (make_pipeline(StandardScaler(), GaussianNB()), "GaussianNB"),
    ]:
        patch.reset_report()
        model.fit(X, y).predict(X)
        assert patch.report().native[name] > 0, model
        assert not patch.report().fallbacks
    patch.reset_report()
    k_means(X, 3, n_init=1)
    assert patch.report().native["KMeans"] == 1
    assert cross_val_score(GaussianNB(), X, y).mean() > 0.9


def test_selection_and_inspection_find_what_they_read() -> None:
    from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
    from sklearn.feature_selection import RFE, SelectFromModel
    from sklearn.inspection import permutation_importance
    from sklearn.svm import SVC
    from sklearn.tree import DecisionTreeClassifier

    assert RFE(SVC(kernel="linear"), n_features_to_select=2).fit(X, y).support_.sum() == 2
    chosen = SelectFromModel(RandomForestClassifier(5, random_state=0)).fit(X, y)
    assert 1 <= chosen.transform(X).shape[1] < 4
    tree = DecisionTreeClassifier(random_state=0).fit(X, y)
    assert permutation_importance(tree, X, y, n_repeats=1).importances_mean.shape == (4,)
    path = DecisionTreeClassifier(random_state=0).cost_complexity_pruning_path(X, y)
    np.testing.assert_allclose(path.ccp_alphas, tree.cost_complexity_pruning_path(X, y).ccp_alphas)
    assert "DecisionTreeClassifier" in tree._repr_html_()
    assert not patch.report().fallbacks
    # scikit-learn's boosting is made of scikit-learn's trees.
    boosted = GradientBoostingClassifier(n_estimators=2).fit(X, y)
    assert boosted.score(X, y) > 0.9


def test_shallow_copies_do_not_share_parameters() -> None:
    import copy

    from sklearn.svm import SVC

    model = SVC().fit(np.r_[X, X + 9], np.r_[y, y + 3])
    other = copy.copy(model).set_params(decision_function_shape="ovo")
    assert other.decision_function(X).shape == (150, 15)
    assert model.decision_function(X).shape == (150, 6)
    deep = copy.deepcopy(model)
    np.testing.assert_array_equal(deep.predict(X), model.predict(X))


def test_searches_in_worker_processes_stay_native() -> None:
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.model_selection import GridSearchCV

    model = RandomForestClassifier(5, random_state=0)
    search = GridSearchCV(model, {"max_depth": [1, 3]}, cv=2, n_jobs=2, error_score="raise")
    here = GridSearchCV(model, {"max_depth": [1, 3]}, cv=2, error_score="raise")
    wanted = here.fit(X, y).cv_results_["mean_test_score"]
    assert list(search.fit(X, y).cv_results_["mean_test_score"]) == list(wanted)
    assert "_ironlearn_model" in vars(search.best_estimator_)


def test_notebooks_load_the_package_as_an_extension() -> None:
    ironlearn.sklearn_unpatch()
    patch.load_ipython_extension(None)
    assert patch.is_patched("SVC")
    patch.unload_ipython_extension(None)
    assert not patch.is_patched("SVC")


def test_set_output_names_and_routing() -> None:
    pandas = pytest.importorskip("pandas")
    from sklearn.cluster import KMeans
    from sklearn.naive_bayes import GaussianNB
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    frame = pandas.DataFrame(X, columns=list("abcd"))
    means = KMeans(3, n_init=1, random_state=0).set_output(transform="pandas")
    out = means.fit_transform(frame)
    assert list(out.columns) == ["kmeans0", "kmeans1", "kmeans2"]
    assert list(means.feature_names_in_) == list("abcd")
    assert list(means.get_feature_names_out()) == list(out.columns)
    with pytest.raises(ValueError, match="feature names should match"):
        means.predict(frame[list("dcba")])
    weights = np.where(y == 0, 5.0, 1.0)
    with sklearn.config_context(enable_metadata_routing=True):
        model = GaussianNB().set_fit_request(sample_weight=True)
        pipeline = make_pipeline(StandardScaler().set_fit_request(sample_weight=False), model)
        pipeline.fit(X, y, sample_weight=weights)
    assert pipeline[-1].class_count_.tolist() == [250, 50, 50]


def test_unpatch_restores_every_name() -> None:
    import sklearn.calibration
    import sklearn.cluster
    import sklearn.svm
    from sklearn.svm import SVC as Patched

    model = Patched().fit(X, y)
    with ironlearn.sklearn_patch() as again:
        assert again.names == ()
    assert sklearn.svm.SVC is Patched
    ironlearn.sklearn_unpatch("SVC")
    assert sklearn.svm.SVC is genuine("SVC")
    assert not patch.is_patched("SVC")
    assert patch.is_patched("KMeans")
    ironlearn.sklearn_unpatch()
    assert not any(patch.is_patched(name) for name in NAMES)
    for name in NAMES:
        assert kind_of(name) is genuine(name)
    assert sklearn.calibration.LinearSVC is genuine("LinearSVC")
    assert sklearn.cluster._kmeans.KMeans is genuine("KMeans")
    # An estimator keeps the engine that it was made with.
    assert model.fit(X, y).predict(X).shape == (150,)
    with pytest.raises(InvalidParameterError, match="Got 'Ridge'"):
        ironlearn.sklearn_patch(["Ridge"])
    with ironlearn.sklearn_patch(["SVC"]) as only:
        assert only.names == ("SVC",)
        assert "SVC" in repr(only)
        assert sklearn.svm.LinearSVC is genuine("LinearSVC")


def test_scikit_learns_own_estimators_pickle_under_the_patch() -> None:
    for name in NAMES:
        X, y = registry.data(name)
        theirs = genuine(name)()
        if name == "GaussianNB":
            theirs.fit(X, y)
        other = pickle.loads(pickle.dumps(theirs))
        assert other.get_params() == theirs.get_params()
        assert isinstance(other, genuine(name))
    ironlearn.sklearn_unpatch()
    assert type(pickle.loads(pickle.dumps(genuine("GaussianNB")()))) is genuine("GaussianNB")


@pytest.mark.filterwarnings("default:These modules imported:UserWarning")
def test_earlier_imports_are_told_of() -> None:
    ironlearn.sklearn_unpatch()
    module = type(sys)("imported_early")
    module.Forest = genuine("RandomForestClassifier")  # type: ignore[attr-defined]
    sys.modules["aaa_imported_early"] = module
    try:
        with pytest.warns(FallbackWarning, match=r"aaa_imported_early \(RandomForestClassifier\)"):
            ironlearn.sklearn_patch(["RandomForestClassifier"])
    finally:
        del sys.modules["aaa_imported_early"]


def test_reasons_are_bounded() -> None:
    from ironlearn.patch._events import Event, Report

    report = Report()
    for number in range(500):
        report.add(Event("fallback", "SVC", "fit", f"reason {number}", 0.0))
    assert len(report.fallbacks) <= 101
    assert sum(report.fallbacks.values()) == 500
    assert str(Report()).endswith("no patched estimator was trained.")


SCRIPT = """
import pickle, sys
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.svm import SVC
import helper

X, y = load_iris(return_X_y=True)
model = RandomForestClassifier(n_estimators=5, random_state=0).fit(X, y)
print(__name__, __file__, sys.argv[1:], helper.VALUE, type(model).__module__, SVC.__module__)
with open(sys.argv[1], "wb") as file:
    pickle.dump([model, load_iris], file)
"""


def run(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(Path(ironlearn.__file__).parents[1])}
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, env=environment, **options
    )


def test_a_script_runs_patched_and_its_models_load_anywhere(tmp_path: Path) -> None:
    script = tmp_path / "folder" / "script.py"
    script.parent.mkdir()
    script.write_text(SCRIPT)
    (script.parent / "helper.py").write_text("VALUE = 7\n")
    out = tmp_path / "model.pickle"
    done = run(
        "-m", "ironlearn.patch", "--only", "RandomForestClassifier", "--report", str(script),
        str(out), "--report", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    words = done.stdout.split()
    assert words[:2] == ["__main__", str(script)]
    assert words[-3:] == ["7", "ironlearn.patch.estimators", "sklearn.svm._classes"]
    assert "'--report'" in done.stdout
    assert "RandomForestClassifier" in done.stderr
    # No patch is in place here but the one of this test; without it the model loads as well.
    ironlearn.sklearn_unpatch()
    model, _ = pickle.loads(out.read_bytes())
    assert model.score(X, y) > 0.9


def test_a_module_runs_patched(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(
        "from sklearn.naive_bayes import GaussianNB\n"
        "import sys\n"
        "assert __name__ == '__main__'\n"
        "print(GaussianNB.__module__, sys.argv[1:])\n"
        "sys.exit(3)\n"
    )
    done = run("-m", "ironlearn.patch", "-m", "program", "a", "-b", cwd=tmp_path)
    assert done.returncode == 3, done.stderr
    assert done.stdout.strip() == "ironlearn.patch.estimators ['a', '-b']"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere.py"], "there is no script 'nowhere.py'"),
        (["--only", "Ridge", __file__], "Got 'Ridge'"),
        ([], "required: target"),
    ],
)
def test_mistakes_on_the_command_line(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    from ironlearn.patch.__main__ import main

    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert words in capsys.readouterr().err


def test_compare_still_compares_with_scikit_learn() -> None:
    from ironlearn.evaluation.models import SPECS

    assert SPECS["random_forest"].kind("scikit-learn") is genuine("RandomForestClassifier")


def test_import_of_the_package_patches_nothing() -> None:
    done = run(
        "-c",
        "import ironlearn, sklearn.svm; print(sklearn.svm.SVC.__module__, "
        "'ironlearn.patch' in __import__('sys').modules)",
    )
    assert done.stdout.split() == ["sklearn.svm._classes", "False"]


@pytest.mark.slow
@each
@pytest.mark.filterwarnings("ignore")
def test_check_estimator(name: str) -> None:
    from sklearn.utils.estimator_checks import check_estimator

    from common.expected import EXPECTED_FAILURES

    results = check_estimator(
        make(name), on_fail=None, expected_failed_checks=EXPECTED_FAILURES.get(name)
    )
    theirs = check_estimator(genuine(name)(**make(name).get_params()), on_fail=None)
    also = {r["check_name"] for r in theirs if r["status"] == "failed"}
    failed = [(r["check_name"], r["exception"]) for r in results if r["status"] == "failed"]
    assert not [f for f in failed if f[0] not in also]


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("family", _build.FAMILIES)
def test_scikit_learns_own_tests(family: str) -> None:
    runner = Path(__file__).with_name("run_sklearn_tests.py")
    done = run(str(runner), "--family", family, "-p", "no:warnings")
    assert done.returncode == 0, done.stdout[-5000:]


def test_base_classes_stay() -> None:
    for name in NAMES:
        assert issubclass(kind_of(name), BaseEstimator)
