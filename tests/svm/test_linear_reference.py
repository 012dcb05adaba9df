"""The native linear solvers beside the plain-Python versions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from ironlearn import _core
from ironlearn.reference import linear_svm as reference

OBJECTIVES = ["squared_hinge", "squared_hinge_dual", "hinge", "l1_squared_hinge", "crammer_singer"]


def _problem(rows: int, width: int, classes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.RandomState(seed)
    y = (np.arange(rows) % classes).astype(np.uint32)
    X = rng.randn(rows, width) + rng.randn(classes, width)[y]
    X[rng.rand(rows, width) < 0.3] = 0
    return X, y


def _csr(X: np.ndarray, index: Any) -> tuple[Any, ...]:
    csr = sparse.csr_array(X)
    return csr.data, csr.indices.astype(index), csr.indptr.astype(index), X.shape[1]


@settings(max_examples=60)
@given(
    rows=st.integers(4, 14),
    width=st.integers(1, 8),
    classes=st.integers(2, 4),
    seed=st.integers(0, 10_000),
    objective=st.sampled_from(OBJECTIVES),
    bias=st.sampled_from([None, 1.0, 3.0]),
    form=st.sampled_from(["f64", "f32", "i32", "i64"]),
)
def test_objectives_agree(
    rows: int,
    width: int,
    classes: int,
    seed: int,
    objective: str,
    bias: float | None,
    form: str,
) -> None:
    X, y = _problem(rows, width, classes, seed)
    rng = np.random.RandomState(seed)
    if form == "f32":
        X = X.astype(np.float32)
    x: Any = X if form in ("f64", "f32") else _csr(X, {"i32": np.int32, "i64": np.int64}[form])
    cost = rng.choice([0.0, 0.3, 1.0, 2.0], rows)
    class_weight = rng.choice([0.5, 1.0, 2.0], classes)
    arguments: dict[str, Any] = {
        "objective": objective,
        "bias": bias,
        "tol": 1e-3,
        "max_iter": 3000,
        "seed": seed,
        "n_threads": 1,
    }
    fast = _core.linear_svm_fit(x, y, cost, class_weight, **arguments)
    plain = reference.linear_svm_fit(x, y, cost, class_weight, **arguments)
    assert fast[3]
    assert fast[0].shape == plain[0].shape
    # Both are within their tolerance of one optimum; the plain descent may not get there.
    np.testing.assert_array_less(fast[2], plain[2] * (1 + 1.1e-3) + 1e-9)
    if plain[3]:
        np.testing.assert_allclose(fast[2], plain[2], rtol=1.1e-3, atol=1e-9)


@settings(max_examples=40)
@given(
    rows=st.integers(2, 12),
    width=st.integers(1, 8),
    seed=st.integers(0, 10_000),
    objective=st.sampled_from(
        [
            "epsilon_insensitive",
            "squared_epsilon_insensitive",
            "squared_epsilon_insensitive_dual",
        ]
    ),
    epsilon=st.sampled_from([0.0, 0.2, 2.0]),
    bias=st.sampled_from([None, 1.0, 3.0]),
    form=st.sampled_from(["f64", "f32", "i32", "i64"]),
)
def test_regressions_agree(
    rows: int,
    width: int,
    seed: int,
    objective: str,
    epsilon: float,
    bias: float | None,
    form: str,
) -> None:
    X, _ = _problem(rows, width, 2, seed)
    rng = np.random.RandomState(seed)
    y = 3 * rng.randn(rows)
    if form == "f32":
        X = X.astype(np.float32)
    x: Any = X if form in ("f64", "f32") else _csr(X, {"i32": np.int32, "i64": np.int64}[form])
    cost = rng.choice([0.0, 0.3, 1.0, 2.0], rows)
    arguments: dict[str, Any] = {
        "objective": objective,
        "epsilon": epsilon,
        "bias": bias,
        "tol": 1e-3,
        "max_iter": 3000,
        "seed": seed,
        "n_threads": 1,
    }
    fast = _core.linear_svr_fit(x, y, cost, **arguments)
    plain = reference.linear_svr_fit(x, y, cost, **arguments)
    assert fast[3]
    assert fast[0].shape == plain[0].shape
    np.testing.assert_array_less(fast[2], plain[2] * (1 + 1.1e-3) + 1e-9)
    if plain[3]:
        np.testing.assert_allclose(fast[2], plain[2], rtol=1.1e-3, atol=1e-9)
    # Where a fit ended, another one is done at once.
    again = _core.linear_svr_fit(x, y, cost, **arguments, start=(fast[0], fast[4]))
    assert again[3]
    assert again[1] <= fast[1]
    np.testing.assert_allclose(again[2], fast[2], rtol=1.1e-3, atol=1e-9)


@given(seed=st.integers(0, 1000), outputs=st.integers(1, 6), width=st.integers(1, 40))
def test_scores_agree(seed: int, outputs: int, width: int) -> None:
    rng = np.random.RandomState(seed)
    coef, intercept = rng.randn(outputs, width), rng.randn(outputs)
    X, _ = _problem(9, width, 2, seed)
    model = _core.LinearModel.from_arrays(coef, intercept)
    for x in (X, X.astype(np.float32), _csr(X, np.int32), _csr(X, np.int64)):
        want = reference.decision_function(x, coef, intercept)
        np.testing.assert_allclose(
            model.decision_function(x, n_threads=1), want, rtol=1e-12, atol=1e-12
        )
        np.testing.assert_array_equal(
            model.predict_codes(x, n_threads=1), reference.predict_codes(x, coef, intercept)
        )


def test_both_name_bad_input() -> None:
    X, y = _problem(6, 2, 2, 0)
    cost, class_weight = np.ones(6), np.ones(2)
    arguments: dict[str, Any] = {"tol": 1e-3, "max_iter": 10, "seed": 0, "n_threads": 1}
    broken = X.copy()
    broken[2, 1] = np.nan
    for core in (_core, reference):
        with pytest.raises(ValueError, match="NaN"):
            core.linear_svm_fit(
                broken, y, cost, class_weight, objective="hinge", bias=None, **arguments
            )
        with pytest.raises(ValueError, match="intercept_scaling"):
            core.linear_svm_fit(X, y, cost, class_weight, objective="hinge", bias=0.0, **arguments)
        with pytest.raises(ValueError, match="huber"):
            core.linear_svm_fit(X, y, cost, class_weight, objective="huber", bias=1.0, **arguments)
        targets = y.astype(np.float64)
        wanted: dict[str, Any] = {"bias": 1.0, **arguments}
        with pytest.raises(ValueError, match="epsilon"):
            core.linear_svr_fit(
                X, targets, cost, objective="epsilon_insensitive", epsilon=-1.0, **wanted
            )
        with pytest.raises(ValueError, match="huber"):
            core.linear_svr_fit(X, targets, cost, objective="huber", epsilon=0.0, **wanted)


def test_wrong_starts_are_refused() -> None:
    X, y = _problem(6, 2, 2, 0)
    targets, cost = y.astype(np.float64), np.ones(6)
    wanted: dict[str, Any] = {
        "objective": "epsilon_insensitive",
        "epsilon": 0.1,
        "bias": 1.0,
        "tol": 1e-3,
        "max_iter": 10,
        "seed": 0,
        "n_threads": 1,
    }
    for start, words in [
        ((np.zeros((1, 2)), np.empty(0)), "weights of warm_start"),
        ((np.zeros((1, 3)), np.zeros(5)), "dual variables of warm_start"),
        ((np.full((1, 3), np.nan), np.zeros(6)), "NaN"),
    ]:
        with pytest.raises(ValueError, match=words):
            _core.linear_svr_fit(X, targets, cost, **wanted, start=start)
