"""LinearSVC: input that it refuses, convergence, edge cases, serving."""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse
from sklearn.datasets import load_digits, load_iris
from sklearn.exceptions import ConvergenceWarning

import ironlearn
from ironlearn import serving
from ironlearn.svm import LinearSVC
from svm.objectives import objective

X, Y = load_iris(return_X_y=True)
KINDS: list[dict[str, Any]] = [
    {},
    {"loss": "hinge"},
    {"penalty": "l1"},
    {"multi_class": "crammer_singer"},
]


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"penalty": "l1", "loss": "hinge"}, "penalty='l1' and loss='hinge' is not supported"),
        ({"penalty": "l1", "dual": True}, "is not supported when dual=True"),
        ({"loss": "hinge", "dual": False}, "is not supported when dual=False"),
        ({"penalty": "elasticnet"}, "penalty"),
        ({"loss": "log"}, "loss"),
        ({"dual": "maybe"}, "dual"),
        ({"multi_class": "ovo"}, "multi_class"),
        ({"C": -1.0}, "C"),
        ({"C": 0}, "C"),
        ({"C": np.nan}, "C"),
        ({"tol": 0}, "tol"),
        ({"max_iter": -1}, "max_iter"),
        ({"intercept_scaling": 0}, "intercept_scaling"),
        ({"class_weight": "even"}, "class_weight"),
        ({"n_jobs": 0}, "n_jobs"),
    ],
)
def test_bad_parameters_are_named(parameters: dict[str, Any], words: str) -> None:
    with pytest.raises((ValueError, TypeError), match=words):
        LinearSVC(**parameters).fit(X, Y)


@pytest.mark.parametrize("parameters", KINDS, ids=str)
@pytest.mark.parametrize("form", [np.asarray, sparse.csr_matrix])
def test_bad_values_are_named(parameters: dict[str, Any], form: Any) -> None:
    for value, words in [(np.nan, "NaN"), (np.inf, "infinity")]:
        bad = X.copy()
        bad[77, 2] = value
        with pytest.raises(ValueError, match=words):
            LinearSVC(**parameters).fit(form(bad), Y)
        with pytest.raises(ValueError, match=words):
            LinearSVC(**parameters).fit(X, Y).predict(form(bad))


def test_bad_rows_and_labels() -> None:
    with pytest.raises(ValueError, match="at least 2 classes.*only one"):
        LinearSVC().fit(X, np.zeros(len(X)))
    with pytest.raises(ValueError, match="at least 2 classes with a positive sample_weight"):
        LinearSVC().fit(X, Y, (Y == 1).astype(float))
    with pytest.raises(ValueError, match="Negative values in sample_weight"):
        LinearSVC().fit(X, Y, -np.ones(len(Y)))
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        LinearSVC().fit(X, Y[:-1])
    with pytest.raises(ValueError, match="0 sample"):
        LinearSVC().fit(X[:0], Y[:0])
    with pytest.raises(ValueError, match="0 feature"):
        LinearSVC().fit(X[:, :0], Y)
    with pytest.raises(ValueError, match="Unknown label type"):
        LinearSVC().fit(X, np.linspace(0, 1, len(X)))
    with pytest.raises(ValueError, match="y is None"):
        LinearSVC().fit(X, None)
    with pytest.raises(ValueError, match="1 feature"):
        LinearSVC().fit(X, Y).predict(X[:, :1])


def test_broken_csr_is_refused() -> None:
    csr = sparse.csr_matrix(X)
    for name, value in [("indices", 7), ("indices", -1), ("indptr", 10**6)]:
        bad = csr.copy()
        getattr(bad, name)[3] = value
        with pytest.raises(ValueError, match="ind"):
            LinearSVC().fit(bad, Y)
    # Values that occur twice are added up, as SciPy defines it.
    indices = np.concatenate([csr.indices, csr.indices[-1:]])
    twice = sparse.csr_matrix(
        (np.append(csr.data, 0.0), indices, np.append(csr.indptr[:-1], len(indices))), X.shape
    )
    model = LinearSVC().fit(twice, Y)
    np.testing.assert_allclose(model.coef_, LinearSVC().fit(csr, Y).coef_)


@pytest.mark.parametrize("parameters", KINDS, ids=str)
def test_values_that_overflow_are_named(parameters: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="overflow"):
        LinearSVC(**parameters).fit(X * 1e200, Y)


@pytest.mark.parametrize("parameters", KINDS, ids=str)
@pytest.mark.parametrize("max_iter", [0, 1, 2])
def test_too_few_iterations_warn(parameters: dict[str, Any], max_iter: int) -> None:
    with pytest.warns(ConvergenceWarning, match=f"max_iter={max_iter}.*tol"):
        model = LinearSVC(max_iter=max_iter, **parameters).fit(X, Y)
    assert model.n_iter_ == max_iter
    assert np.isfinite(model.coef_).all()


@pytest.mark.parametrize("parameters", KINDS, ids=str)
def test_converged_fits_are_quiet(parameters: dict[str, Any]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = LinearSVC(**parameters, random_state=0).fit(X, Y)
    assert 1 <= model.n_iter_ < 1000
    assert isinstance(model.n_iter_, int)


@pytest.mark.parametrize("parameters", KINDS, ids=str)
def test_tighter_tolerance_is_not_worse(parameters: dict[str, Any]) -> None:
    def fit(tol: float) -> LinearSVC:
        return LinearSVC(**parameters, random_state=0, tol=tol, max_iter=20_000).fit(X, Y)

    loose, tight = fit(1e-1), fit(1e-7)
    assert objective(tight, X, Y) <= objective(loose, X, Y) * (1 + 1e-9)
    assert objective(loose, X, Y) <= objective(tight, X, Y) * (1 + 1e-1)


def test_rows_of_weight_zero_do_not_exist() -> None:
    weights = (np.arange(len(Y)) % 3 > 0).astype(float)
    for parameters in KINDS:
        all_rows = LinearSVC(**parameters, random_state=0, tol=1e-8, max_iter=9999)
        kept = LinearSVC(**parameters, random_state=0, tol=1e-8, max_iter=9999)
        all_rows.fit(X, Y, weights)
        kept.fit(X[weights > 0], Y[weights > 0])
        np.testing.assert_allclose(
            all_rows.decision_function(X), kept.decision_function(X), rtol=1e-2, atol=1e-2
        )


@pytest.mark.parametrize("parameters", KINDS, ids=str)
def test_one_row(parameters: dict[str, Any]) -> None:
    model = LinearSVC(**parameters).fit(X, Y)
    scores = model.decision_function(X)
    for i in (0, 60, 149):
        np.testing.assert_allclose(model.decision_function(X[i : i + 1]), scores[i : i + 1])
        assert model.predict(X[i : i + 1]) == model.predict(X)[i]
    two = LinearSVC(**parameters).fit(X[:100], Y[:100])
    assert two.coef_.shape == (1, 4)
    assert two.decision_function(X[:1]).shape == (1,)


@pytest.mark.parametrize("parameters", KINDS, ids=str)
def test_two_rows_and_constant_features(parameters: dict[str, Any]) -> None:
    model = LinearSVC(**parameters).fit([[0.0, 1.0], [2.0, 1.0]], ["a", "b"])
    assert model.predict([[0.0, 1.0], [2.0, 1.0]]).tolist() == ["a", "b"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        nothing = LinearSVC(**parameters).fit(np.zeros((6, 3)), [0, 1, 2, 0, 1, 2])
    np.testing.assert_array_equal(nothing.coef_, 0)


def test_scale_folds_into_the_weights() -> None:
    rng = np.random.RandomState(0)
    wide = X * 10.0 ** rng.randint(-4, 4, 4) + 5
    for given in (wide, sparse.csr_matrix(wide)):
        model = LinearSVC(scale=True).fit(given, Y)
        assert (model.predict(given) == Y).mean() > 0.9
        deviation = wide.std(axis=0)
        shifted = (wide - wide.mean(axis=0) if given is wide else wide) / deviation
        plain = LinearSVC().fit(shifted, Y)
        np.testing.assert_allclose(model.coef_ * deviation, plain.coef_, rtol=1e-3, atol=1e-3)


def test_attributes_cannot_be_changed_behind_the_model() -> None:
    model = LinearSVC().fit(X, Y)
    for values in (model.coef_, model.intercept_):
        with pytest.raises(ValueError, match="read-only"):
            values[0] = 1.0


@pytest.mark.parametrize("parameters", KINDS, ids=str)
@pytest.mark.parametrize("classes", [2, 3])
def test_saved_models_predict_the_same(
    parameters: dict[str, Any], classes: int, tmp_path: Path
) -> None:
    names = np.array(["setosa", "versicolor", "virginica"])[Y]
    rows = slice(0, 50 * classes)
    model = LinearSVC(**parameters).fit(X[rows], names[rows])
    model.save(tmp_path / "model")
    again = ironlearn.load(tmp_path / "model")
    served = serving.load(tmp_path / "model")
    pickled = pickle.loads(pickle.dumps(model))
    for other in (again, served, pickled):
        np.testing.assert_array_equal(other.predict(X), model.predict(X))
        np.testing.assert_array_equal(other.decision_function(X), model.decision_function(X))
    assert again.n_iter_ == model.n_iter_
    np.testing.assert_array_equal(again.coef_, model.coef_)


def test_sparse_coefficients_of_l1() -> None:
    digits, y = load_digits(return_X_y=True)
    model = LinearSVC(penalty="l1", C=0.01, random_state=0).fit(digits[:300] / 16, y[:300])
    assert 0 < (model.coef_ == 0).mean() < 1
    before = model.predict(digits[:20] / 16)
    sparsified = model.sparsify()
    assert sparse.issparse(sparsified.coef_)
    np.testing.assert_array_equal(sparsified.predict(digits[:20] / 16), before)
