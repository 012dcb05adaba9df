"""Multilayer perceptrons: equality with scikit-learn's where it is exact, learning elsewhere."""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sklearn.neural_network as theirs
from scipy import optimize, sparse
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import r2_score
from sklearn.preprocessing import scale

import ironlearn
from ironlearn import serving
from ironlearn._feedforward import FeedForward
from ironlearn.exceptions import InvalidParameterError, ModelFileError
from ironlearn.neural_network import MLPClassifier, MLPRegressor
from ironlearn.neural_network._lbfgs import Problem, loss_and_gradient

quiet = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def iris() -> tuple[np.ndarray, np.ndarray]:
    X, y = load_iris(return_X_y=True)
    return scale(X), y


def diabetes() -> tuple[np.ndarray, np.ndarray]:
    X, y = load_diabetes(return_X_y=True)
    return scale(X), scale(y)


def targets(kind: str) -> tuple[Any, Any, np.ndarray, np.ndarray]:
    """Return our class, theirs, rows and targets of a kind."""
    X, y = iris()
    if kind == "classes":
        return MLPClassifier, theirs.MLPClassifier, X, y
    if kind == "two classes":
        return MLPClassifier, theirs.MLPClassifier, X, np.where(y == 1, "yes", "no")
    if kind == "labels":
        return MLPClassifier, theirs.MLPClassifier, X, (X[:, :3] > 0).astype(int)
    X, y = diabetes()
    if kind == "counts":
        return MLPRegressor, theirs.MLPRegressor, X, np.round(np.exp(y))
    return MLPRegressor, theirs.MLPRegressor, X, y


KINDS = ("classes", "two classes", "labels", "quantity", "counts")


def settings(kind: str, **more: Any) -> dict[str, Any]:
    poisson = {"loss": "poisson"} if kind == "counts" else {}
    return {"hidden_layer_sizes": (7, 5), "random_state": 3, **poisson, **more}


@quiet
@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
@pytest.mark.parametrize("kind", KINDS)
def test_lbfgs_goes_scikit_learns_way(kind: str, activation: str) -> None:
    """The same first weights, the same function: the same first steps."""
    ours, other, X, y = targets(kind)
    weights = 1.0 + np.arange(len(y)) % 3
    given = settings(kind, solver="lbfgs", activation=activation, alpha=0.1, max_iter=8)
    mine = ours(**given).fit(X, y, weights)
    reference = other(**given).fit(X, y, weights)
    assert mine.loss_ == pytest.approx(reference.loss_, rel=1e-6)
    for a, b in zip(mine.coefs_, reference.coefs_, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    for a, b in zip(mine.intercepts_, reference.intercepts_, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(mine.predict(X).shape, reference.predict(X).shape)
    assert mine.out_activation_ == reference.out_activation_
    assert (mine.n_layers_, mine.n_outputs_) == (reference.n_layers_, reference.n_outputs_)
    if hasattr(mine, "predict_proba"):
        np.testing.assert_allclose(mine.predict_proba(X), reference.predict_proba(X), atol=1e-6)
        np.testing.assert_array_equal(mine.predict(X), reference.predict(X))
        np.testing.assert_allclose(np.exp(mine.predict_log_proba(X)), mine.predict_proba(X))


@quiet
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "solver",
    [
        {"solver": "adam", "learning_rate_init": 0.01},
        {"solver": "sgd"},
        {"solver": "sgd", "momentum": 0.0, "learning_rate_init": 0.01},
        {"solver": "sgd", "nesterovs_momentum": False},
        {"solver": "sgd", "learning_rate": "invscaling", "learning_rate_init": 0.1},
    ],
    ids=lambda given: "-".join(map(str, given.values())),
)
def test_whole_batches_go_scikit_learns_way(kind: str, solver: dict[str, Any]) -> None:
    """With all rows in one batch nothing is left to chance but the first weights."""
    ours, other, X, y = targets(kind)
    weights = 1.0 + np.arange(len(y)) % 3
    given = settings(kind, **solver, batch_size=len(y), max_iter=12, alpha=0.3, activation="tanh")
    # Theirs divides the penalty by the sum of weights, ours by their number: the same for mean 1.
    weights /= weights.mean()
    mine = ours(**given).fit(X, y, weights)
    reference = other(**given).fit(X, y, weights)
    np.testing.assert_allclose(mine.loss_curve_[0], reference.loss_curve_[0], rtol=0.05)
    for a, b in zip(mine.coefs_, reference.coefs_, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=3e-5)
    for a, b in zip(mine.intercepts_, reference.intercepts_, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=3e-5)
    assert mine.t_ == reference.t_ == 12 * len(y)
    assert mine.n_iter_ == reference.n_iter_ == 12


@quiet
def test_several_quantities_go_scikit_learns_way() -> None:
    X, y = diabetes()
    Y = np.stack([y, X[:, 2] ** 2], axis=1)
    for solver in ("adam", "sgd"):
        given = {"solver": solver, "batch_size": len(y), "max_iter": 12, "random_state": 0}
        mine = MLPRegressor(hidden_layer_sizes=(6,), **given).fit(X, Y)
        reference = theirs.MLPRegressor(hidden_layer_sizes=(6,), **given).fit(X, Y)
        for a, b in zip(mine.coefs_, reference.coefs_, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-3, atol=3e-5)
        assert mine.predict(X).shape == (len(X), 2)


@pytest.mark.parametrize("hidden", ["identity", "logistic", "tanh", "relu"])
@pytest.mark.parametrize("output", ["softmax", "logistic", "identity", "exp"])
def test_gradients_of_the_whole_loss(hidden: str, output: str) -> None:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((9, 4))
    y = np.eye(3)[rng.integers(0, 3, 9)]
    problem = Problem(X, y, rng.random(9), hidden, output, 0.5)
    shapes = [(4, 5), (5, 3), (5,), (3,)]
    ends = np.cumsum([np.prod(s) for s in shapes])

    def parts(v: np.ndarray) -> list[np.ndarray]:
        return [p.reshape(s) for p, s in zip(np.split(v, ends[:-1]), shapes, strict=True)]

    def value(v: np.ndarray) -> float:
        loss, penalty, *_ = loss_and_gradient(problem, parts(v)[:2], parts(v)[2:])
        return loss + penalty

    start = rng.standard_normal(ends[-1])
    _, _, w, b = loss_and_gradient(problem, parts(start)[:2], parts(start)[2:])
    found = np.concatenate([g.ravel() for g in (*w, *b)])
    expected = optimize.approx_fprime(start, value, 1e-7)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
def test_learning_beats_the_most_frequent_class(solver: str) -> None:
    X, y = load_breast_cancer(return_X_y=True)
    X = scale(X)
    given = {"learning_rate_init": 0.01, "max_iter": 300, "tol": 1e-3, "random_state": 0}
    model = MLPClassifier((16,), solver=solver, alpha=0.1, **given)
    assert model.fit(X[::2], y[::2]).score(X[1::2], y[1::2]) > 0.94
    assert np.bincount(y).max() / len(y) < 0.65


@pytest.mark.parametrize("kind", ["dense", "sparse"])
def test_learning_beats_the_mean(kind: str) -> None:
    X, y = diabetes()
    rows = sparse.csr_matrix(X) if kind == "sparse" else X
    given = {"hidden_layer_sizes": 20, "alpha": 1.0, "tol": 1e-2, "random_state": 0}
    model = MLPRegressor(**given, max_iter=400, learning_rate_init=0.01).fit(rows, y)
    assert model.score(rows, y) > 0.45
    np.testing.assert_allclose(model.predict(rows), model.predict(X))


@quiet
def test_sparse_rows_give_the_model_of_dense_ones() -> None:
    X, y = iris()
    X[X < 0.5] = 0
    for given in ({"solver": "lbfgs", "max_iter": 20}, {"max_iter": 5}):
        dense = MLPClassifier((5,), **given, random_state=0).fit(X, y)
        for kind in (sparse.csr_matrix, sparse.csc_matrix, sparse.csr_array):
            model = MLPClassifier((5,), **given, random_state=0).fit(kind(X), y)
            np.testing.assert_allclose(model.predict_proba(X), dense.predict_proba(X), atol=1e-5)
            np.testing.assert_allclose(model.predict_proba(kind(X)), model.predict_proba(X))


@quiet
def test_weights_are_repeated_rows() -> None:
    X, y = iris()
    weights = np.arange(len(y)) % 3
    given = {"solver": "lbfgs", "alpha": 0.0, "max_iter": 10, "random_state": 0}
    weighted = MLPClassifier((4,), **given).fit(X, y, weights)
    repeated = MLPClassifier((4,), **given).fit(np.repeat(X, weights, 0), np.repeat(y, weights))
    np.testing.assert_allclose(
        weighted.predict_proba(X), repeated.predict_proba(X), rtol=1e-6, atol=1e-8
    )


def test_early_stopping_keeps_the_best_weights() -> None:
    X, y = load_breast_cancer(return_X_y=True)
    X = scale(X)
    model = MLPClassifier(
        (8,), early_stopping=True, n_iter_no_change=4, learning_rate_init=0.01, random_state=1
    ).fit(X, y)
    scores = model.validation_scores_
    assert scores is not None
    assert model.best_validation_score_ == max(scores)
    assert model.best_loss_ is None
    assert len(scores) == model.n_iter_ == len(model.loss_curve_) < 200
    assert model.best_validation_score_ > 0.9
    regressor = MLPRegressor(
        hidden_layer_sizes=(8,),
        early_stopping=True,
        tol=0.01,
        learning_rate_init=0.01,
        random_state=1,
    ).fit(*diabetes())
    assert regressor.best_validation_score_ == max(regressor.validation_scores_ or [])
    plain = MLPClassifier((4,), tol=1.0, random_state=0).fit(X, y)
    assert plain.validation_scores_ is plain.best_validation_score_ is None
    assert plain.best_loss_ == min(plain.loss_curve_)


@quiet
def test_adaptive_rates_fall_until_they_are_tiny() -> None:
    X, y = iris()
    model = MLPClassifier(
        (4,),
        solver="sgd",
        learning_rate="adaptive",
        learning_rate_init=0.2,
        tol=0.01,
        n_iter_no_change=2,
        random_state=0,
    ).fit(X, y)
    # 0.2 / 5**8 < 1e-6: eight times slower, and each time at least three passes.
    assert 8 * 3 <= model.n_iter_ < 200


def test_partial_fit_learns_batch_by_batch() -> None:
    X, y = iris()
    labels = np.array(["a", "b", "c"])[y]
    model = MLPClassifier((8,), learning_rate_init=0.02, random_state=0)
    order = np.random.default_rng(0).permutation(150)
    for turn in range(40):
        rows = order[turn % 3 :: 3]
        model.partial_fit(X[rows], labels[rows], classes=["a", "b", "c"] if not turn else None)
    assert model.score(X, labels) > 0.9
    assert len(model.loss_curve_) == 40
    assert model.t_ == sum(len(order[turn % 3 :: 3]) for turn in range(40))
    again = pickle.loads(pickle.dumps(model)).partial_fit(X, labels)
    np.testing.assert_array_equal(
        again.predict_proba(X), model.partial_fit(X, labels).predict_proba(X)
    )


@quiet
def test_warm_start_goes_on() -> None:
    X, y = iris()
    model = MLPClassifier((8,), warm_start=True, max_iter=15, random_state=0)
    first = model.fit(X, y).loss_
    weights = model.coefs_
    model.fit(X, y)
    assert model.loss_curve_[15] < first * 1.05
    assert len(model.loss_curve_) == 30
    assert not np.array_equal(weights[0], model.coefs_[0])
    cold = MLPClassifier((8,), max_iter=15, random_state=0).fit(X, y)
    np.testing.assert_array_equal(cold.fit(X, y).coefs_[0], weights[0])
    with pytest.raises(ValueError, match="fitted layers are"):
        model.set_params(hidden_layer_sizes=(9,)).fit(X, y)
    model.set_params(hidden_layer_sizes=(8,))
    with pytest.raises(ValueError, match="classes not in"):
        model.fit(X, y + 1)
    assert len(model.loss_curve_) == 30


@pytest.mark.parametrize("kind", KINDS)
def test_files_keep_everything(kind: str, tmp_path: Path) -> None:
    ours, _, X, y = targets(kind)
    early = {"early_stopping": kind != "labels", "tol": 0.1}
    model = ours(**settings(kind, **early, max_iter=50)).fit(X, y)
    model.save(tmp_path / "m")
    loaded = ironlearn.load(tmp_path / "m")
    served = serving.load(tmp_path / "m")
    for name in ("n_iter_", "t_", "loss_", "best_loss_", "loss_curve_", "validation_scores_"):
        assert getattr(loaded, name) == getattr(model, name), name
    for other in (loaded, served):
        np.testing.assert_array_equal(other.predict(X), model.predict(X))  # type: ignore[attr-defined]
    if hasattr(model, "predict_proba"):
        np.testing.assert_array_equal(served.predict_proba(X), model.predict_proba(X))  # type: ignore[attr-defined]
    np.testing.assert_array_equal(
        served.predict(sparse.csr_matrix(X)),
        model.predict(sparse.csr_matrix(X)),  # type: ignore[attr-defined]
    )


def test_no_hidden_layer_is_logistic_regression() -> None:
    from sklearn.linear_model import LogisticRegression

    X, y = iris()
    model = MLPClassifier((), solver="lbfgs", alpha=1.0, tol=1e-6, max_iter=1000).fit(X, y)
    reference = LogisticRegression(C=1.0, tol=1e-8, max_iter=1000).fit(X, y)
    np.testing.assert_allclose(model.predict_proba(X), reference.predict_proba(X), atol=1e-3)


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ({"hidden_layer_sizes": (5, 0)}, "'hidden_layer_sizes'.*int of at least 1"),
        ({"hidden_layer_sizes": "5"}, "'hidden_layer_sizes'"),
        ({"solver": "newton"}, "'solver'.*'adam', 'sgd', 'lbfgs'"),
        ({"activation": "gelu"}, "'activation'"),
        ({"momentum": 1.0}, r"'momentum'.*\[0, 1\)"),
        ({"batch_size": 0}, "'batch_size'.*'auto'"),
        ({"alpha": -1.0}, "'alpha'"),
    ],
)
def test_bad_parameters(bad: dict[str, Any], words: str) -> None:
    X, y = iris()
    with pytest.raises(InvalidParameterError, match=words):
        MLPClassifier(**bad).fit(X, y)


def test_bad_targets_are_named() -> None:
    X, y = iris()
    with pytest.raises(ValueError, match="only one class"):
        MLPClassifier().fit(X, np.zeros(150))
    with pytest.raises(ValueError, match="Unknown label type|continuous"):
        MLPClassifier().fit(X, y + 0.5)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        MLPClassifier().fit(X, y[:-1])
    with pytest.raises(ValueError, match="y contains NaN"):
        MLPRegressor().fit(X, np.where(y == 1, np.nan, y))
    with pytest.raises(ValueError, match="not negative, but y has -1"):
        MLPRegressor(loss="poisson").fit(X, y - 1.0)
    with pytest.raises(ValueError, match="too large for single precision"):
        MLPRegressor().fit(X, y * 1e39)
    with pytest.raises(ValueError, match="X contains values too large"):
        MLPClassifier().fit(X * 1e39, y)
    with pytest.raises(ValueError, match="classes must be passed on the first call"):
        MLPClassifier().partial_fit(X, y)
    model = MLPClassifier((3,)).partial_fit(X, y, classes=[0, 1, 2])
    with pytest.raises(ValueError, match=r"classes not in `self.classes_`: \[9\]"):
        model.partial_fit(X, np.where(y == 1, 9, y))
    with pytest.raises(ValueError, match="not the same as on last call"):
        model.partial_fit(X, y, classes=[0, 1])
    with pytest.raises(ValueError, match="partial_fit does not support early_stopping"):
        model.set_params(early_stopping=True).partial_fit(X, y)
    with pytest.raises(ValueError, match="cannot hold back|too small"):
        MLPClassifier(early_stopping=True).fit(X[48:52], y[48:52])
    with pytest.raises(AttributeError, match="partial_fit"):
        MLPClassifier(solver="lbfgs").partial_fit(X, y)
    with pytest.warns(UserWarning, match="batch_size=200 is larger than the 150 samples"):
        MLPClassifier((3,), batch_size=200, tol=1.0).fit(X, y)


def test_passes_that_do_not_suffice_are_told() -> None:
    X, y = iris()
    with pytest.warns(ConvergenceWarning, match=r"3 iterations \(max_iter\) were not enough"):
        MLPClassifier((3,), max_iter=3, random_state=0).fit(X, y)
    with pytest.warns(ConvergenceWarning, match="lbfgs ended after 2 iterations"):
        MLPClassifier((3,), max_iter=2, solver="lbfgs", random_state=0).fit(X, y)


def test_a_training_that_diverges_is_told() -> None:
    X, y = diabetes()
    model = MLPRegressor(solver="sgd", learning_rate_init=1e6, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(ValueError, match="non-finite parameter weights"):
            model.fit(X, y)
    assert not hasattr(model, "coefs_")


def test_verbose_tells_of_each_pass(capsys: pytest.CaptureFixture[str]) -> None:
    X, y = iris()
    MLPClassifier((3,), verbose=True, tol=1.0, n_iter_no_change=1, random_state=0).fit(X, y)
    assert "Iteration 1, loss = 1." in capsys.readouterr().out


def test_fitted_arrays_are_read_only_and_not_there_before() -> None:
    X, y = iris()
    model = MLPClassifier((3,), tol=1.0, random_state=0)
    for name in ("coefs_", "intercepts_", "n_layers_", "out_activation_"):
        with pytest.raises(AttributeError, match=name):
            getattr(model, name)
    model.fit(X, y)
    with pytest.raises(ValueError, match="read-only"):
        model.coefs_[0][0, 0] = 1
    assert [w.shape for w in model.coefs_] == [(4, 3), (3, 3)]


def test_weights_that_do_not_fit_are_refused() -> None:
    w, b = np.ones((2, 3)), np.zeros(3)
    for bad in (
        ([w], [b[:2]], "relu", "softmax"),
        ([w, w], [b, b], "relu", "softmax"),
        ([w * np.nan], [b], "relu", "softmax"),
        ([w.astype(np.float32)], [b], "relu", "softmax"),
        ([w], [b], "gelu", "softmax"),
        ([], [], "relu", "softmax"),
        ([w[:, :0]], [b[:0]], "relu", "softmax"),
    ):
        with pytest.raises(ModelFileError):
            FeedForward(*bad)
    model = FeedForward([w * 1e300], [b], "relu", "identity")
    with pytest.raises(ValueError, match="too large for the network"):
        model(np.full((1, 2), 1e300))
    with pytest.raises(ValueError, match="contains NaN"):
        model(np.full((1, 2), np.nan))


def test_scores_of_quantities_are_r2() -> None:
    X, y = diabetes()
    model = MLPRegressor(hidden_layer_sizes=(4,), tol=1.0, random_state=0).fit(X, y)
    assert model.score(X, y) == pytest.approx(r2_score(y, model.predict(X)))


@quiet
@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
@pytest.mark.parametrize("kind", [*KINDS, "quantities"])
def test_exported_models_answer_the_same(kind: str, activation: str) -> None:
    runtime = pytest.importorskip("onnxruntime")
    from ironlearn.io.onnx import to_onnx

    ours, _, X, y = targets("quantity" if kind == "quantities" else kind)
    if kind == "quantities":
        y = np.stack([y, -y], axis=1)
    model = ours(**settings(kind, solver="lbfgs", activation=activation, max_iter=5)).fit(X, y)
    exported = to_onnx(model, dtype="float64").SerializeToString()
    session = runtime.InferenceSession(exported, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    answers = dict(zip(names, session.run(None, {"X": X}), strict=True))
    if "prediction" in answers:
        np.testing.assert_allclose(answers["prediction"], model.predict(X), rtol=1e-9)
        return
    np.testing.assert_array_equal(answers["label"], model.predict(X))
    np.testing.assert_allclose(answers["probabilities"], model.predict_proba(X), atol=1e-12)
