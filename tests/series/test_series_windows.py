"""Windows, differences, scales and baselines against plain loops."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import Ridge as SkRidge

from ironlearn.series._baselines import Ridge, seasonal_naive
from ironlearn.series._differencing import difference, integrate
from ironlearn.series._intervals import half_widths
from ironlearn.series._metrics import errors, naive_scale
from ironlearn.series._scaling import Scaler
from ironlearn.series._windows import count, pairs


@given(
    steps=st.integers(1, 30),
    columns=st.integers(1, 3),
    window=st.integers(1, 8),
    horizon=st.integers(1, 8),
    stride=st.integers(1, 4),
)
def test_windows_are_those_of_a_loop(
    steps: int, columns: int, window: int, horizon: int, stride: int
) -> None:
    values = np.arange(float(steps * columns)).reshape(steps, columns)
    past, future = pairs(values, window, horizon, stride)
    expected = []
    stop = steps
    while stop - window - horizon >= 0:
        start = stop - window - horizon
        expected.append((values[start : start + window], values[start + window : stop]))
        stop -= stride
    expected.reverse()
    assert len(past) == len(future) == len(expected) == count(steps, window, horizon, stride)
    for i, (before, after) in enumerate(expected):
        np.testing.assert_array_equal(past[i], before)
        np.testing.assert_array_equal(future[i], after)


@given(lags=st.lists(st.integers(1, 4), min_size=0, max_size=3), horizon=st.integers(1, 9))
def test_sums_undo_differences(lags: list[int], horizon: int) -> None:
    rng = np.random.default_rng(len(lags) + horizon)
    past_steps = sum(lags) + 3
    values = rng.normal(size=(2, past_steps + horizon, 2))
    changes = difference(values, lags)[:, -horizon:]
    back = integrate(changes, values[:, :past_steps], lags)
    np.testing.assert_allclose(back, values[:, past_steps:], atol=1e-12)


@pytest.mark.parametrize("kind", ["standard", "minmax", "robust", None])
def test_scales_are_undone_and_constant_columns_stay_finite(kind: str | None) -> None:
    values = np.random.default_rng(0).normal(5, 3, size=(50, 3))
    values[:, 1] = 0.1
    scaler = Scaler.learn(values, kind)
    scaled = scaler.apply(values)
    assert np.isfinite(scaled).all()
    np.testing.assert_allclose(scaler.undo(scaled), values)
    if kind == "standard":
        np.testing.assert_allclose(scaled[:, [0, 2]].std(axis=0), 1)
    if kind == "minmax":
        assert scaled.min() == 0
        assert scaled.max() == 1


def test_seasonal_naive_repeats_the_last_season() -> None:
    past = np.arange(10.0)[None, :, None]
    assert seasonal_naive(past, 4, 6)[0, :, 0].tolist() == [6, 7, 8, 9, 6, 7]
    assert seasonal_naive(past, 1, 2)[0, :, 0].tolist() == [9, 9]
    # Less than a season: the last step.
    assert seasonal_naive(past[:, :3], 4, 2)[0, :, 0].tolist() == [2, 2]


@pytest.mark.parametrize("shape", [(60, 5), (10, 25)])
def test_ridge_is_that_of_scikit_learn(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(1)
    X = rng.normal(size=shape) * rng.uniform(0.1, 10, shape[1]) + 3
    Y = rng.normal(size=(shape[0], 2)) + X[:, :2]
    ours = Ridge.learn(X, Y, 0.05)
    spread = X.std(axis=0)
    theirs = SkRidge(alpha=0.05 * len(X)).fit(X / spread, Y)
    np.testing.assert_allclose(ours.predict(X), theirs.predict(X / spread), rtol=1e-8)


def test_the_penalty_is_that_of_the_least_generalised_cross_validation_error() -> None:
    rng = np.random.default_rng(2)
    X = rng.normal(size=(40, 30))
    Y = X[:, :1] + 2 * rng.normal(size=(40, 1))
    found = Ridge.learn(X, Y)
    A = (X - X.mean(axis=0)) / X.std(axis=0)
    scores = {}
    for power in range(-6, 3):
        penalty = 10.0**power
        hat = A @ np.linalg.solve(A.T @ A + penalty * 40 * np.eye(30), A.T)
        left = (np.eye(40) - hat) @ (Y - Y.mean())
        scores[penalty] = float((left**2).sum() / (39 - np.trace(hat)) ** 2)
    assert found.penalty == min(scores, key=lambda p: scores[p])
    assert found.penalty > 1e-3


def test_ridge_takes_constant_features_and_constant_targets() -> None:
    X = np.ones((6, 3))
    model = Ridge.learn(X, np.full((6, 1), 2.0))
    np.testing.assert_allclose(model.predict(X), 2.0)


def test_half_widths_are_the_conformal_quantile() -> None:
    rng = np.random.default_rng(3)
    gaps = rng.normal(size=(99, 4, 2))
    width = half_widths(gaps, 0.1)
    assert width.shape == (4, 2)
    # The 90th smallest of 99.
    np.testing.assert_array_equal(width, np.sort(np.abs(gaps), axis=0)[89])


def test_few_errors_are_pooled_over_steps() -> None:
    rng = np.random.default_rng(4)
    gaps = rng.normal(size=(5, 40, 1)) * np.linspace(1, 3, 40)[:, None]
    width = half_widths(gaps, 0.05)
    share = (np.abs(gaps) <= width).mean()
    assert 0.9 <= share <= 1.0
    assert np.all(half_widths(np.zeros((2, 3, 1)), 0.01) == 0)


def test_metrics_are_those_of_their_formulas() -> None:
    truth = np.array([[[1.0], [2.0]], [[4.0], [0.0]]])
    forecast = np.array([[[2.0], [2.0]], [[2.0], [0.0]]])
    found = errors(truth, forecast, np.array([[0.5], [2.0]]))
    assert found["mae"] == pytest.approx(3 / 4)
    assert found["rmse"] == pytest.approx(np.sqrt(5 / 4))
    assert found["mase"] == pytest.approx((1 / 0.5 + 2 / 2) / 4)
    assert found["smape"] == pytest.approx(100 * (2 / 3 + 0 + 4 / 6 + 0) / 4)
    assert naive_scale(np.array([1.0, 3.0, 2.0, 7.0]), 2) == pytest.approx((1 + 4) / 2)
    assert np.isnan(naive_scale(np.ones(5), 1))
