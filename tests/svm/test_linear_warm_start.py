"""Warm starts of the linear machines: the same optimum, sooner."""

from __future__ import annotations

import pickle
import warnings
from typing import Any

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits
from sklearn.exceptions import ConvergenceWarning

from ironlearn.svm import SVC, LinearSVC, LinearSVR, linear_svm_path
from svm.objectives import objective, regression_objective

CLASSIFIERS: list[dict[str, Any]] = [
    {"loss": "squared_hinge", "dual": False},
    {"loss": "hinge"},
    {"penalty": "l1"},
    {"multi_class": "crammer_singer"},
]
REGRESSORS: list[dict[str, Any]] = [
    {"loss": "epsilon_insensitive"},
    {"loss": "squared_epsilon_insensitive", "dual": False},
]
WIDE = np.random.RandomState(0).randn(64, 400) / 8


def digits(form: str) -> tuple[Any, np.ndarray]:
    X, y = load_digits(return_X_y=True)
    X, y = X[:300] / 16, y[:300]
    if form == "wide":
        # More features than rows: the dual solvers.
        return sparse.csr_matrix((X @ WIDE)[:150]), y[:150]
    return X, y


def reached(model: Any, X: Any, y: np.ndarray) -> float:
    value = objective if isinstance(model, LinearSVC) else regression_objective
    return value(model, X, y)


def problem(kind: Any, form: str) -> tuple[Any, np.ndarray]:
    X, y = digits(form)
    return X, y if kind is LinearSVC else y + 0.5


@pytest.mark.parametrize("form", ["tall", "wide"])
@pytest.mark.parametrize(
    ("kind", "parameters"),
    [
        *((LinearSVC, p) for p in CLASSIFIERS),
        (LinearSVC, {"dual": True}),
        *((LinearSVR, p) for p in REGRESSORS),
        (LinearSVR, {"loss": "squared_epsilon_insensitive", "dual": True}),
    ],
    ids=str,
)
def test_a_path_reaches_the_optima(kind: Any, parameters: dict[str, Any], form: str) -> None:
    X, y = problem(kind, form)
    Cs = [1.0, 0.05, 20.0]
    settings = {"random_state": 0, "max_iter": 5000, **parameters}
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        models = linear_svm_path(kind(**settings), X, y, Cs)
        cold = [kind(**settings, C=C).fit(X, y) for C in Cs]
    for C, warm, alone in zip(Cs, models, cold, strict=True):
        assert warm.get_params() == alone.get_params()
        assert warm.C == C
        assert reached(warm, X, y) == pytest.approx(reached(alone, X, y), rel=2e-4)


@pytest.mark.parametrize("form", ["tall", "wide"])
@pytest.mark.parametrize("parameters", CLASSIFIERS, ids=str)
def test_going_on_from_the_optimum_takes_few_steps(parameters: dict[str, Any], form: str) -> None:
    X, y = digits(form)
    model = LinearSVC(warm_start=True, random_state=0, **parameters).fit(X, y)
    first = model.n_iter_
    best = objective(model, X, y)
    model.fit(X, y)
    assert model.n_iter_ < first
    assert objective(model, X, y) == pytest.approx(best, rel=1e-4)
    # So it does for a slightly larger C, other weights of the rows, and after a pickle.
    model = pickle.loads(pickle.dumps(model)).set_params(C=1.02)
    assert (
        model.fit(X, y).n_iter_ < LinearSVC(C=1.02, random_state=0, **parameters).fit(X, y).n_iter_
    )


@pytest.mark.parametrize("parameters", REGRESSORS, ids=str)
@pytest.mark.parametrize("extra", [{}, {"scale": True}, {"fit_intercept": False}], ids=str)
def test_regressors_go_on(parameters: dict[str, Any], extra: dict[str, Any]) -> None:
    X, y = load_diabetes(return_X_y=True)
    X = X / X.std(axis=0) + 3
    model = LinearSVR(warm_start=True, random_state=0, epsilon=5.0, **parameters, **extra)
    first = model.fit(X, y).n_iter_
    best = model.predict(X)
    assert model.fit(X, y).n_iter_ < first
    np.testing.assert_allclose(model.predict(X), best, rtol=0.01, atol=0.5)


def test_scaled_classifiers_go_on() -> None:
    X, y = load_breast_cancer(return_X_y=True)
    model = LinearSVC(warm_start=True, scale=True).fit(X, y)
    first = model.n_iter_
    assert first > 3
    assert model.fit(X, y).n_iter_ <= 1


@pytest.mark.parametrize("parameters", CLASSIFIERS, ids=str)
def test_other_rows_and_weights(parameters: dict[str, Any]) -> None:
    X, y = digits("tall")
    weights = np.random.RandomState(0).randint(0, 3, len(y)).astype(float)
    model = LinearSVC(warm_start=True, random_state=0, **parameters).fit(X[:200], y[:200])
    model.fit(X, y, weights)
    alone = LinearSVC(random_state=0, **parameters).fit(X, y, weights)
    want = objective(alone, X, y, weights)
    assert objective(model, X, y, weights) == pytest.approx(want, rel=2e-4)
    # Other labels of the same rows are another problem, too.
    model.fit(X, y[::-1])
    want = objective(clone(alone).fit(X, y[::-1]), X, y[::-1])
    assert objective(model, X, y[::-1]) == pytest.approx(want, rel=2e-4)


def test_two_classes_of_the_joint_problem() -> None:
    X, y = load_breast_cancer(return_X_y=True)
    X = X / X.std(axis=0)
    model = LinearSVC(multi_class="crammer_singer", warm_start=True).fit(X, y)
    first, best = model.n_iter_, objective(model, X, y)
    assert model.fit(X, y).n_iter_ < first
    assert objective(model, X, y) == pytest.approx(best, rel=2e-4)


def test_only_where_it_is_wanted() -> None:
    X, y = digits("tall")
    plain = LinearSVC(random_state=0, loss="hinge").fit(X, y)
    coef = plain.coef_
    assert not hasattr(plain, "_duals")
    np.testing.assert_array_equal(plain.fit(X, y).coef_, coef)


def test_what_does_not_fit_is_named() -> None:
    X, y = digits("tall")
    model = LinearSVC(warm_start=True).fit(X, y)
    with pytest.raises(ValueError, match="warm_start=True.*shape .10, 64.*needs .10, 63."):
        model.fit(X[:, 1:], y)
    with pytest.raises(ValueError, match="warm_start=True.*needs .3, 64."):
        model.fit(X[y < 3], y[y < 3])


def test_bad_paths_are_named() -> None:
    X, y = digits("tall")
    for values, words in [([], "at least one"), ([1.0, -1.0], "positive"), ([np.nan], "positive")]:
        with pytest.raises(ValueError, match=words):
            linear_svm_path(LinearSVC(), X, y, values)
    with pytest.raises(TypeError, match="LinearSVC or a LinearSVR, got a SVC"):
        linear_svm_path(SVC(), X, y, [1.0])


def test_the_given_estimator_stays_as_it_is() -> None:
    X, y = digits("tall")
    given = LinearSVC(C=7.0, warm_start=True)
    models = linear_svm_path(given, X, y, (C for C in (0.1, 1.0)))
    assert given.C == 7.0
    assert not hasattr(given, "coef_")
    assert [model.warm_start for model in models] == [True, True]
