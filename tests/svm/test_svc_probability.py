"""Probabilities of SVC beside LIBSVM, and the calibrated way."""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_wine
from sklearn.exceptions import NotFittedError
from sklearn.metrics import log_loss
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.model_selection import train_test_split
from sklearn.svm import SVC as Theirs

import ironlearn
from ironlearn import serving
from ironlearn.svm import SVC

probably = pytest.mark.filterwarnings("ignore:.*prob.*:FutureWarning")


def _scaled(load: Any) -> tuple[np.ndarray, np.ndarray]:
    X, y = load(return_X_y=True)
    return X / np.maximum(X.std(axis=0), 1e-9), y


@probably
@pytest.mark.parametrize("load", [load_iris, load_wine, load_breast_cancer, load_digits])
@pytest.mark.parametrize("kernel", ["rbf", "linear"])
def test_an_equal_seed_gives_the_probabilities_of_libsvm(load: Any, kernel: str) -> None:
    X, y = _scaled(load)
    X, y = X[::2], y[::2]
    given: dict[str, Any] = {"kernel": kernel, "probability": True, "tol": 1e-7}
    for seed in (0, 42):
        ours = SVC(random_state=seed, **given).fit(X, y)
        theirs = Theirs(random_state=seed, **given).fit(X, y)
        np.testing.assert_allclose(ours.probA_, theirs.probA_, rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(ours.probB_, theirs.probB_, rtol=1e-3, atol=1e-4)
        found = ours.predict_proba(X)
        np.testing.assert_allclose(found, theirs.predict_proba(X), atol=1e-4)
        np.testing.assert_allclose(found.sum(axis=1), 1.0)
        np.testing.assert_array_equal(ours.predict_log_proba(X), np.log(found))


@probably
@pytest.mark.parametrize("form", ["sparse", "precomputed", "callable", "float32", "weights"])
def test_probabilities_of_every_kind_of_input(form: str) -> None:
    X, y = _scaled(load_wine)
    weights = np.random.RandomState(0).randint(0, 3, len(y)) if form == "weights" else None
    given: dict[str, Any] = {"probability": True, "tol": 1e-7, "random_state": 1}
    rows: Any = X
    if form == "precomputed":
        given["kernel"], rows = "precomputed", rbf_kernel(X)
    elif form == "callable":
        given["kernel"] = rbf_kernel
    theirs = Theirs(**given).fit(rows, y, weights)
    expected = theirs.predict_proba(rows)
    if form == "sparse":
        rows = sparse.csr_matrix(X)
    elif form == "float32":
        rows = X.astype(np.float32)
    ours = SVC(**given).fit(rows, y, weights)
    np.testing.assert_allclose(ours.predict_proba(rows), expected, atol=1e-3)


@probably
@pytest.mark.parametrize("classes", [2, 3])
def test_files_pickles_and_serving(classes: int, tmp_path: Path) -> None:
    X, y = _scaled(load_iris)
    X, y = X[y < classes], y[y < classes]
    model = SVC(probability=True, random_state=0).fit(X, y)
    model.save(tmp_path / "model")
    expected = model.predict_proba(X)
    served = serving.load(tmp_path / "model")
    loaded = ironlearn.load(tmp_path / "model")
    for other in (loaded, served, pickle.loads(pickle.dumps(model))):
        np.testing.assert_array_equal(other.predict_proba(X), expected)
        np.testing.assert_allclose(other.predict_proba(X[:1]), expected[:1], atol=1e-12)
    np.testing.assert_array_equal(loaded.probA_, model.probA_)
    with pytest.raises(ValueError, match="shape"):
        served.predict_proba(X[:, :2])
    SVC().fit(X, y).save(tmp_path / "model")
    assert not hasattr(serving.load(tmp_path / "model"), "predict_proba")
    assert ironlearn.load(tmp_path / "model")._sigmoids[0].size == 0


def test_warnings_and_attributes_are_those_of_scikit_learn() -> None:
    X, y = _scaled(load_iris)
    for value in (True, False):
        with pytest.warns(FutureWarning, match="`probability` parameter was deprecated"):
            SVC(probability=value).fit(X, y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plain = SVC().fit(X, y)
    assert not hasattr(plain, "predict_proba")
    assert not hasattr(plain, "predict_log_proba")
    with pytest.raises(AttributeError, match="predict_proba"):
        plain.predict_proba(X)
    with pytest.warns(FutureWarning, match="`probA_` was deprecated"):
        assert plain.probA_.size == 0
    with pytest.warns(FutureWarning, match="`probB_` was deprecated"):
        assert plain.probB_.size == 0
    late = plain.set_params(probability=True)
    with pytest.raises(NotFittedError, match="fitted with probability=False"):
        late.predict_proba(X)
    with pytest.raises(NotFittedError):
        SVC(probability=True).predict_proba(X)
    assert not hasattr(SVC(), "probA_")


@probably
def test_few_rows_and_lonely_classes() -> None:
    X = np.array([[0.0], [1.0], [2.0], [3.0]])
    for y in ([0, 1, 2, 3], [0, 0, 0, 1], [0, 0, 1, 1]):
        found = SVC(probability=True, random_state=0).fit(X, y).predict_proba(X)
        expected = Theirs(probability=True, random_state=0).fit(X, y).predict_proba(X)
        np.testing.assert_allclose(found, expected, atol=1e-3)


@probably
def test_same_bits_for_any_number_of_threads() -> None:
    X, y = _scaled(load_digits)
    X, y = X[:600], y[:600]
    models = [SVC(probability=True, random_state=3, n_jobs=n).fit(X, y) for n in (1, 2, 3)]
    for other in models[1:]:
        assert other.predict_proba(X).tobytes() == models[0].predict_proba(X).tobytes()


@pytest.mark.parametrize("ensemble", [False, True])
def test_the_calibrated_way(ensemble: bool) -> None:
    X, y = _scaled(load_digits)
    X, y = X[:900], y[:900]
    X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
    losses = []
    for kind in (SVC, Theirs):
        model = CalibratedClassifierCV(kind(), ensemble=ensemble).fit(X_train, y_train)
        losses.append(log_loss(y_test, model.predict_proba(X_test)))
    np.testing.assert_allclose(losses[0], losses[1], rtol=0.02)
    # Guessing has a loss of log(10), about 2.3.
    assert losses[0] < 0.5
