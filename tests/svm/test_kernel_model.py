"""The native kernel machine beside the plain version, and what it refuses."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ironlearn import _core
from ironlearn.reference import kernel_svm as reference

SOLVER: dict[str, Any] = {
    "tol": 1e-7,
    "max_iter": -1,
    "cache_size": 1.0,
    "shrinking": True,
    "n_threads": 1,
}


@given(
    n=st.integers(6, 25),
    classes=st.integers(2, 3),
    kernel=st.sampled_from(["linear", "poly", "rbf", "sigmoid", "precomputed"]),
    folds=st.sampled_from([None, 0, 17]),
    seed=st.integers(0, 100),
)
@settings(max_examples=25)
def test_classification_equals_the_plain_version(
    n: int, classes: int, kernel: str, folds: int | None, seed: int
) -> None:
    rng = np.random.RandomState(seed)
    X = rng.randn(n, 3)
    y = (np.arange(n) % classes).astype(np.uint32)
    cost = rng.randint(0, 3, n).astype(float)
    cost[:classes] = 1.0
    if kernel == "precomputed":
        X = np.exp(-((X[:, None] - X[None]) ** 2).sum(axis=2))
    described = {"kernel": kernel, "gamma": 0.3, "coef0": 0.2, "degree": 2}
    if kernel == "sigmoid":
        described |= {"gamma": 0.02, "coef0": 0.0}
    settings_ = {"n_classes": classes, "folds": folds, **described, **SOLVER}
    ours = _core.kernel_svc_fit(X, y, cost, **settings_)
    plain = reference.kernel_svc_fit(X, y, cost, **settings_)
    np.testing.assert_allclose(ours[5], plain[5], rtol=1e-4, atol=1e-5)
    assert ours[6]
    assert plain[6]
    scores = []
    for fit in (ours, plain):
        vectors = None if kernel == "precomputed" else X[fit[0]]
        model = _core.KernelModel.from_arrays(vectors, *fit[:4], *described.values(), X.shape[1])
        scores.append(model.decision_function(X, one_versus_rest=False, n_threads=1))
    np.testing.assert_allclose(*scores, atol=1e-3 * (1 + np.abs(scores[1]).max()))
    assert len(ours[7]) == len(plain[7]) == (0 if folds is None else classes * (classes - 1) // 2)
    if folds is not None:
        # The same sigmoids give the same probabilities.
        found = model.predict_proba(X, ours[7], ours[8], n_threads=1)
        pairs = model.decision_function(X, one_versus_rest=False, n_threads=1)
        pairs = -pairs if classes == 2 else pairs
        for row, probabilities in zip(pairs, found, strict=True):
            each = [
                reference.probability(np.array([v]), a, b)[0]
                for v, a, b in zip(row, ours[7], ours[8], strict=True)
            ]
            wanted = reference.couple(np.clip(each, 1e-7, 1 - 1e-7), classes)
            np.testing.assert_allclose(probabilities, wanted, atol=1e-9)


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("folds", [0, 2**31 - 2])
def test_probabilities_equal_the_plain_version(classes: int, folds: int) -> None:
    rng = np.random.RandomState(classes)
    y = (np.arange(60) % classes).astype(np.uint32)
    X = rng.randn(60, 3) + y[:, None]
    cost = rng.randint(0, 3, 60).astype(float)
    given_: dict[str, Any] = {"n_classes": classes, "folds": folds, "kernel": "rbf"}
    given_ |= {"gamma": 0.3, "coef0": 0.0, "degree": 3, **SOLVER}
    ours = _core.kernel_svc_fit(X, y, cost, **given_)
    plain = reference.kernel_svc_fit(X, y, cost, **given_)
    np.testing.assert_allclose(ours[7], plain[7], rtol=1e-3)
    np.testing.assert_allclose(ours[8], plain[8], atol=1e-3)


@given(
    n=st.integers(4, 25),
    kernel=st.sampled_from(["linear", "rbf", "precomputed"]),
    epsilon=st.sampled_from([0.0, 0.1]),
    seed=st.integers(0, 100),
)
@settings(max_examples=25)
def test_regression_equals_the_plain_version(
    n: int, kernel: str, epsilon: float, seed: int
) -> None:
    rng = np.random.RandomState(seed)
    X = rng.randn(n, 3)
    y = X[:, 0] + 0.1 * rng.randn(n)
    cost = rng.randint(0, 3, n) + (np.arange(n) == 0).astype(float)
    if kernel == "precomputed":
        X = np.exp(-((X[:, None] - X[None]) ** 2).sum(axis=2))
    described = {"kernel": kernel, "gamma": 0.3, "coef0": 0.0, "degree": 3}
    ours = _core.kernel_svr_fit(X, y, cost, epsilon=epsilon, **described, **SOLVER)
    plain = reference.kernel_svr_fit(X, y, cost, epsilon=epsilon, **described, **SOLVER)
    np.testing.assert_allclose(ours[5], plain[5], rtol=1e-4, atol=1e-5)


def _parts(kernel: str = "rbf") -> list[Any]:
    X = np.random.RandomState(0).randn(30, 4)
    y = (np.arange(30) % 3).astype(np.uint32)
    described = {"kernel": kernel, "gamma": 0.3, "coef0": 0.0, "degree": 3}
    fit = _core.kernel_svc_fit(X, y, np.ones(30), n_classes=3, folds=None, **described, **SOLVER)
    return [X[fit[0]], *fit[:4], *described.values(), 4]


def test_parts_round_trip() -> None:
    parts = _parts()
    model = _core.KernelModel.from_arrays(*parts)
    for given_, shown in zip(parts, model.parts(), strict=True):
        np.testing.assert_array_equal(given_, shown)
    assert not model.parts()[0].flags.writeable
    X = np.random.RandomState(1).randn(20, 4)
    copy = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(
        copy.predict_codes(X, break_ties=False, n_threads=1),
        model.predict_codes(X, break_ties=False, n_threads=1),
    )


@pytest.mark.parametrize(
    ("place", "bad"),
    [
        (0, np.ones((2, 4))),
        (0, np.ones((30, 3))),
        (0, None),
        (0, "nan"),
        (0, (np.ones(2), np.array([0, 9]), np.array([0, 1, 2]), 4)),
        (0, (np.ones(2), np.array([1, 0]), np.array([0, 2]), 4)),
        (0, (np.ones(2), np.array([0, -1]), np.array([0, 2]), 4)),
        (1, np.arange(2)),
        (1, "negative"),
        (2, np.array([1, 2])),
        (2, np.array([-1, 2, 3])),
        (2, np.array([2**62, 2**62, 2**62])),
        (2, np.array([], dtype=np.int64)),
        (3, np.ones((1, 3))),
        (3, "nan"),
        (4, np.ones(1)),
        (4, np.array([1.0, np.inf, 1.0])),
        (5, "cubic"),
        (5, "precomputed"),
        (6, -1.0),
        (6, float("nan")),
        (7, float("inf")),
        (9, 0),
        (9, 5),
    ],
)
def test_parts_that_do_not_fit_are_refused(place: int, bad: Any) -> None:
    parts = _parts()
    if isinstance(bad, str) and bad == "nan":
        bad = np.full_like(parts[place], np.nan)
    elif isinstance(bad, str) and bad == "negative":
        bad = parts[place] - 1000
    parts[place] = bad
    with pytest.raises(ValueError, match="needed|must be|contains"):
        _core.KernelModel.from_arrays(*parts)


def test_wrong_width_at_predict() -> None:
    model = _core.KernelModel.from_arrays(*_parts())
    with pytest.raises(ValueError, match="3 features"):
        model.predict_codes(np.ones((5, 3)), break_ties=False, n_threads=1)


def test_sigmoids_that_do_not_fit_are_refused() -> None:
    model = _core.KernelModel.from_arrays(*_parts())
    X = np.ones((5, 4))
    for bad in (np.ones(2), np.array([1.0, np.nan, 1.0])):
        with pytest.raises(ValueError, match="needed|contains"):
            model.predict_proba(X, bad, np.ones(3), n_threads=1)
        with pytest.raises(ValueError, match="needed|contains"):
            model.predict_proba(X, np.ones(3), bad, n_threads=1)


def test_scalar_instructions_give_the_same_answer() -> None:
    program = (
        "import numpy as np; from sklearn.datasets import load_digits;"
        "from ironlearn.svm import SVC; X, y = load_digits(return_X_y=True);"
        "m = SVC(tol=1e-6).fit(X[:600], y[:600]);"
        "print(m.predict(X).tolist(), len(m.support_))"
    )
    answers = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "IRONLEARN_SIMD": tier},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for tier in ("scalar", "avx2")
    }
    assert len(answers) == 1
