"""Series continued by an LSTM and a linear map."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

import ironlearn
from ironlearn import serving
from ironlearn.exceptions import InvalidParameterError, ModelFileError
from ironlearn.nn.layers import LSTM, Dense
from ironlearn.series import LSTMForecaster
from ironlearn.series._model import network_outputs
from ironlearn.series._pipeline import Pipeline, Settings, held_out

QUICK: dict[str, Any] = {
    "window": 8,
    "horizon": 3,
    "units": 5,
    "epochs": 2,
    "patience": 2,
    "random_state": 0,
}


def logistic_map(steps: int, seed: int = 0) -> np.ndarray:
    """A chaotic series: each step is a parabola of the one before, which no linear map is."""
    y = np.empty(steps)
    y[0] = np.random.default_rng(seed).uniform(0.2, 0.8)
    for t in range(1, steps):
        y[t] = 3.8 * y[t - 1] * (1 - y[t - 1])
    return y


def wave(steps: int, noise: float = 0.0) -> np.ndarray:
    rng = np.random.default_rng(0)
    return 5 + np.sin(np.arange(steps) * 2 * np.pi / 12) + noise * rng.normal(size=steps)


def test_it_learns_what_a_linear_map_cannot() -> None:
    y = logistic_map(700)
    model = LSTMForecaster(
        window=4, horizon=1, units=16, epochs=40, learning_rate=0.01, log=False, random_state=0
    )
    result = model.backtest(y, initial=600, step=1)
    assert result.metrics["lstm"]["mae"] < 0.5 * result.metrics["ridge"]["mae"]
    assert result.metrics["lstm"]["mae"] < 0.5 * result.metrics["seasonal naive"]["mae"]


def test_the_network_is_the_documented_one() -> None:
    model = LSTMForecaster(epochs=1, refit=False, random_state=0).fit(wave(120))
    first, second, dense = model._model.layers
    assert isinstance(first, LSTM)
    assert (first.units, first.return_sequences) == (50, True)
    assert isinstance(second, LSTM)
    assert (second.units, second.return_sequences) == (50, False)
    assert isinstance(dense, Dense)
    assert dense.units == model.horizon == 12
    defaults = LSTMForecaster()
    assert (defaults.epochs, defaults.batch_size, defaults.learning_rate) == (100, 32, 1e-3)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"linear": False, "skip": "last"},
        {"linear": False, "skip": "seasonal", "seasonal_period": 4},
        {"difference": (1, 4), "scaling": "robust"},
        {"shared": True, "segment": 4, "scaling": "minmax", "log": True},
        {"scaling": "none", "n_layers": 1, "dropout": 0.2, "refit": False},
    ],
    ids=["default", "last", "seasonal", "difference", "shared", "plain"],
)
@pytest.mark.parametrize("columns", [1, 2])
def test_forecasts_files_and_pickles(
    settings: dict[str, Any], columns: int, tmp_path: Path
) -> None:
    y = np.stack([wave(70, 0.1), wave(70, 0.2)[::-1]], axis=1)[:, :columns]
    model = LSTMForecaster(**QUICK, **settings).fit(y)
    forecast, (lower, upper) = model.predict(), model.predict_interval(0.2)
    assert forecast.shape == lower.shape == upper.shape == (3, columns)
    assert np.isfinite(forecast).all()
    assert (lower <= forecast).all()
    assert (forecast <= upper).all()
    assert model.predict(7).shape == (7, columns)
    np.testing.assert_array_equal(model.predict(7)[:3], forecast)
    # The training series, given again, is what is known of it already.
    np.testing.assert_array_equal(model.predict(y=y), forecast)
    model.save(tmp_path / "model")
    loaded, pickled = ironlearn.load(tmp_path / "model"), pickle.loads(pickle.dumps(model))
    for other in (loaded, pickled, serving.load(tmp_path / "model")):
        np.testing.assert_array_equal(other.predict(), forecast)
        np.testing.assert_array_equal(other.predict(y=y[:40]), model.predict(y=y[:40]))
        np.testing.assert_array_equal(other.predict_interval(0.2)[0], lower)
    assert loaded.get_params() == model.get_params()
    np.testing.assert_array_equal(loaded.blend_, model.blend_)


def test_one_series_gives_one_axis() -> None:
    model = LSTMForecaster(**QUICK).fit(wave(70))
    assert model.predict().shape == (3,)
    assert model.predict(y=wave(30).tolist()).shape == (3,)


def test_pandas_goes_on_with_the_index() -> None:
    index = pd.date_range("2020-01-31", periods=70, freq="ME")
    frame = pd.DataFrame({"a": wave(70, 0.1), "b": wave(70, 0.2)}, index=index)
    model = LSTMForecaster(**QUICK).fit(frame)
    forecast = model.predict()
    assert forecast.columns.tolist() == ["a", "b"]
    assert forecast.index.equals(pd.date_range("2025-11-30", periods=3, freq="ME"))
    one = LSTMForecaster(**QUICK).fit(frame["a"])
    assert one.predict().name == "a"
    assert one.predict(y=pd.Series(wave(20))).index.tolist() == [20, 21, 22]
    assert one.predict(y=wave(20)).shape == (3,)
    with pytest.raises(ValueError, match="has the columns"):
        model.predict(y=frame[["b", "a"]])


def test_equal_seeds_give_equal_forecasts_and_others_others() -> None:
    y = wave(90, 0.3)
    settings = {**QUICK, "linear": False, "dropout": 0.2}
    first = LSTMForecaster(**settings).fit(y).predict()
    np.testing.assert_array_equal(first, LSTMForecaster(**settings).fit(y).predict())
    other = LSTMForecaster(**{**settings, "random_state": 1}).fit(y).predict()
    assert not np.array_equal(first, other)


def test_intervals_cover_what_they_promise() -> None:
    rng = np.random.default_rng(0)
    y = np.zeros(1400)
    for t in range(1, len(y)):
        y[t] = 0.7 * y[t - 1] + rng.normal()
    model = LSTMForecaster(**{**QUICK, "epochs": 1}, log=False).fit(y[:700])
    for alpha in (0.1, 0.3):
        inside = []
        for end in range(700, 1390, 3):
            lower, upper = model.predict_interval(alpha, y=y[:end])
            truth = y[end : end + 3]
            inside.append((lower <= truth) & (truth <= upper))
        assert abs(np.mean(inside) - (1 - alpha)) < 0.05


def test_inputs_known_ahead_are_used() -> None:
    rng = np.random.default_rng(1)
    X = rng.normal(size=(260, 2))
    y = 10 + 2 * X[:, 1] + 0.1 * rng.normal(size=260)
    model = LSTMForecaster(**QUICK, known_future=[1], log=False).fit(y[:250], X[:250])
    forecast = model.predict(X_future=X[250:253, 1:])
    assert np.abs(forecast - y[250:253]).max() < 1
    np.testing.assert_array_equal(forecast, model.predict(X_future=X[250:253]))
    blind = LSTMForecaster(**QUICK, log=False).fit(y[:250], X[:250])
    assert np.abs(forecast - y[250:253]).mean() < np.abs(blind.predict() - y[250:253]).mean()
    later = model.predict(y=y[:100], X=X[:100], X_future=X[100:103])
    assert np.abs(later - y[100:103]).max() < 1
    # Names instead of numbers.
    frame = pd.DataFrame(X, columns=["past", "plan"])
    named = LSTMForecaster(**QUICK, known_future=["plan"], log=False).fit(y[:250], frame[:250])
    np.testing.assert_allclose(named.predict(X_future=frame[250:253]), forecast)
    np.testing.assert_allclose(named.predict(X_future=frame[["plan"]][250:253]), forecast)


def test_what_is_known_ahead_continues_beyond_the_horizon() -> None:
    rng = np.random.default_rng(2)
    X = rng.normal(size=(260, 1))
    y = X[:, 0] * 3 + 0.05 * rng.normal(size=260)
    model = LSTMForecaster(**QUICK, known_future="all").fit(y[:250], X[:250])
    long = model.predict(8, X_future=X[250:258])
    assert np.abs(long - y[250:258]).max() < 1
    blind = LSTMForecaster(**QUICK).fit(y, X)
    with pytest.raises(ValueError, match="all known ahead"):
        blind.predict(8)


def test_requests_that_do_not_fit_are_told() -> None:
    y, X = wave(90, 0.1), np.random.default_rng(0).normal(size=(90, 2))
    model = LSTMForecaster(**QUICK, known_future=[0]).fit(y, X)
    ahead = X[:3, :1]
    for arguments, message in [
        ({}, "X_future is needed"),
        ({"X_future": ahead[:2]}, "has 2 steps, but 3"),
        ({"X_future": np.ones((3, 4))}, "has 4 columns; 1 are known"),
        ({"X_future": ahead, "X": X}, "X without y"),
        ({"X_future": ahead, "y": y}, "y needs X"),
        ({"X_future": ahead, "y": y, "X": X[:-1]}, "X has 89 steps, but y 90"),
        ({"X_future": ahead, "y": y[:5], "X": X[:5]}, "y has 5 steps, but a forecast reads 8"),
        ({"X_future": ahead, "y": np.ones((20, 2)), "X": X[:20]}, "y has 2 columns"),
        ({"horizon": 0, "X_future": ahead}, "horizon must be an int >= 1"),
    ]:
        with pytest.raises(ValueError, match=message):
            model.predict(**arguments)
    plain = LSTMForecaster(**QUICK).fit(y)
    with pytest.raises(ValueError, match="without exogenous inputs"):
        plain.predict(y=y, X=X)
    with pytest.raises(ValueError, match="no exogenous input is known ahead"):
        plain.predict(X_future=ahead)
    with pytest.raises(InvalidParameterError, match="alpha"):
        plain.predict_interval(1.5)
    with pytest.raises(InvalidParameterError, match="intervals reach over the 3 steps"):
        plain.predict_interval(0.1, 4)


def test_series_that_do_not_fit_are_told() -> None:
    good = wave(90)
    with pytest.raises(NotFittedError):
        LSTMForecaster().predict()
    index = pd.date_range("2020", periods=90)
    bad: list[tuple[Any, str]] = [
        (good[:14], "y has 14 steps; window=8, horizon=3.* need at least 15"),
        (np.where(np.arange(90) == 7, np.nan, good), "contains NaN, first at step 7"),
        (np.where(np.arange(90) == 7, np.inf, good), "contains infinity, first at step 7"),
        (["a"] * 90, "y must hold numbers"),
        (index, "must hold numbers"),
        (good.reshape(3, 5, 6), r"must have the shape \(steps,\)"),
        ([], "y is empty"),
        (pd.Series(good, index=index[::-1]), "does not increase: sort"),
        (pd.Series(good, index=index[:89].append(index[:1])), "twice"),
        (pd.DataFrame({"a": good, "b": ["x"] * 90}), "column 'b' of y must hold numbers"),
        (pd.DataFrame({"a": good, "b": np.r_[good[:-1], np.nan]}), "step 89 of column 'b'"),
    ]
    for y, message in bad:
        with pytest.raises((TypeError, ValueError), match=message):
            LSTMForecaster(**QUICK).fit(y)
    # The least length that the message names is enough.
    LSTMForecaster(**QUICK).fit(good[:15])
    with pytest.raises(ValueError, match="X has 89 steps, but y 90"):
        LSTMForecaster(**QUICK).fit(good, np.ones(89))
    with pytest.raises(ValueError, match="log needs positive values, but y has -1"):
        LSTMForecaster(**QUICK, log=True).fit(np.r_[good, -1.0])
    with pytest.raises(ValueError, match="no X was given"):
        LSTMForecaster(**QUICK, known_future="all").fit(good)
    with pytest.raises(ValueError, match="'plan', which X has not"):
        LSTMForecaster(**QUICK, known_future=["plan"]).fit(good, np.ones((90, 1)))
    with pytest.raises(ValueError, match="names column 4, but X has 1"):
        LSTMForecaster(**QUICK, known_future=[4]).fit(good, np.ones((90, 1)))
    with pytest.raises(InvalidParameterError, match="needs seasonal_period"):
        LSTMForecaster(**QUICK, skip="seasonal").fit(good)
    with pytest.raises(InvalidParameterError, match="segment must divide window"):
        LSTMForecaster(**QUICK, segment=3).fit(good)


@pytest.mark.parametrize("name", sorted(LSTMForecaster._parameters))
def test_parameters_are_checked_by_name(name: str) -> None:
    assert set(LSTMForecaster._parameters) == set(LSTMForecaster._get_param_names())
    with pytest.raises(InvalidParameterError, match=f"'{name}'"):
        LSTMForecaster(**{name: object()}).fit(wave(90))


def test_logarithms_are_taken_where_swings_grow_with_the_level() -> None:
    rng = np.random.default_rng(3)
    t = np.arange(150)
    growing = np.exp(0.02 * t + 0.3 * np.sin(t * 2 * np.pi / 12) + 0.03 * rng.normal(size=150))
    assert LSTMForecaster(**QUICK).fit(growing).log_
    assert not LSTMForecaster(**QUICK).fit(wave(150, 0.3)).log_
    assert not LSTMForecaster(**QUICK).fit(wave(150, 0.3) - 6).log_


def test_scales_are_learned_from_training_steps_only() -> None:
    y = np.r_[wave(80), 100 + wave(20)][:, None]
    pipeline, windows, goal = Pipeline.learn(Settings(8, 3), y[:80], np.zeros((80, 0)))
    assert abs(float(pipeline.scaler.centre[0]) - 5) < 0.2
    held, held_goal, before, after = held_out(pipeline, y, np.zeros((100, 0)), 80)
    assert len(windows.past) == 80 - 8 - 3 + 1
    assert len(held.past) == 20 - 3 + 1
    np.testing.assert_array_equal(after[0], y[80:83])
    np.testing.assert_array_equal(before[0], y[72:80])
    np.testing.assert_allclose(pipeline.scaler.undo(held_goal), after)
    assert goal.shape == (len(windows.past), 3, 1)


@pytest.mark.parametrize("shared", [False, True])
def test_perfect_outputs_give_the_truth_back(shared: bool) -> None:
    rng = np.random.default_rng(4)
    y = np.exp(rng.normal(size=(60, 2)))
    X = rng.normal(size=(60, 2))
    settings = Settings(
        6, 3, log=True, lags=(1, 2), skip="last", linear=False, known=(1,), shared=shared
    )
    levels = np.log(y)
    pipeline, _, _ = Pipeline.learn(settings, levels[:40], X[:40])
    held, goal, before, after = held_out(pipeline, levels, X, 40)
    outputs = pipeline.targets(held, goal)
    inputs = pipeline.network_inputs(held)
    assert inputs.shape == (len(outputs), *pipeline.network_shape)
    np.testing.assert_allclose(pipeline.forecast(held, outputs, before), after, atol=1e-5)


def test_the_share_of_the_network_follows_held_out_windows() -> None:
    y = wave(200, 0.5)[:, None]
    pipeline, _, _ = Pipeline.learn(Settings(8, 2), y[:120], np.zeros((120, 0)))
    held, goal, _, _ = held_out(pipeline, y, np.zeros((200, 0)), 120)
    perfect = pipeline.targets(held, goal)
    many = len(goal) / 2
    assert pipeline.blended(held, perfect, goal).blend[0] == pytest.approx(many / (many + 2))
    wrong = perfect + 1000
    assert pipeline.blended(held, wrong, goal).blend[0] < 0.01


@pytest.mark.parametrize("refit", [False, True])
def test_backtests_stand_on_their_origins(refit: bool) -> None:
    y = wave(80, 0.2)
    estimator = LSTMForecaster(**QUICK, seasonal_period=12, log=False)
    result = estimator.backtest(y, initial=60, step=5, n_splits=3, refit=refit)
    assert result.origins.tolist() == [67, 72, 77]
    for i, origin in enumerate(result.origins):
        np.testing.assert_array_equal(result.truth[i, :, 0], y[origin : origin + 3])
        np.testing.assert_array_equal(
            result.forecasts["seasonal naive"][i, :, 0], y[origin - 12 : origin - 9]
        )
        fitted = clone(estimator).fit(y[: origin if refit else 67])
        np.testing.assert_allclose(
            result.forecasts["lstm"][i, :, 0], fitted.predict(y=y[:origin]), rtol=1e-6
        )
    assert not hasattr(estimator, "_model")
    assert "ridge" in result.table()
    assert set(result.metrics["ridge"]) == {"mae", "rmse", "mase", "smape"}


def test_backtests_take_inputs_and_refuse_what_does_not_fit() -> None:
    rng = np.random.default_rng(5)
    X = rng.normal(size=(120, 1))
    y = pd.Series(X[:, 0] * 2 + 0.1 * rng.normal(size=120))
    frame = pd.DataFrame(X, columns=["plan"])
    estimator = LSTMForecaster(**QUICK, known_future=["plan"])
    result = estimator.backtest(y, frame)
    assert result.metrics["lstm"]["mae"] < 0.3 < result.metrics["seasonal naive"]["mae"]
    assert result.metrics["ridge"]["mae"] < 0.3
    for arguments, message in [
        ({"initial": 119}, "no room for a horizon"),
        ({"initial": 5}, "raise initial"),
        ({"initial": 1.5}, "initial must be"),
        ({"step": 0}, "step must be"),
        ({"n_splits": -1}, "n_splits must be"),
    ]:
        with pytest.raises(ValueError, match=message):
            estimator.backtest(y, frame, **arguments)


def test_plots_are_drawn(tmp_path: Path) -> None:
    index = pd.period_range("2020-01", periods=70, freq="M")
    y = pd.DataFrame({"a": wave(70, 0.1), "b": wave(70, 0.2)}, index=index)
    model = LSTMForecaster(**QUICK).fit(y)
    for figure in (model.plot(), model.backtest(y).plot(), model.plot_history()):
        figure.savefig(tmp_path / "plot.png")
        assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
    assert len(model.plot().axes) == 2
    with pytest.raises(ValueError, match="needs 2 axes"):
        model.plot(axes=model.plot().axes[0])


def test_serving_needs_no_scikit_learn(tmp_path: Path) -> None:
    LSTMForecaster(**QUICK).fit(wave(70)).save(tmp_path / "model")
    program = (
        "import sys\nfrom ironlearn import serving\n"
        f"print(serving.load({str(tmp_path / 'model')!r}).predict(4).shape)\n"
        "print(sorted({'sklearn', 'pandas'} & set(sys.modules)))\n"
    )
    out = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert out.stdout.split("\n")[:2] == ["(4,)", "[]"]


def test_a_file_whose_parts_do_not_fit_is_refused(tmp_path: Path) -> None:
    from ironlearn import _modelfile

    path = tmp_path / "model"
    LSTMForecaster(**QUICK).fit(wave(70)).save(path)
    changes: list[tuple[str, Any, str]] = [
        ("window", 9, "errors|tail|coef|network"),
        ("skip", "all", "skip"),
        ("lags", [0], "lags"),
        ("known", [0], "outside of the inputs"),
        ("segment", 5, "segments"),
        ("shared", None, ""),
    ]
    for name, value, message in changes[:-1]:
        contents = _modelfile.read(path)
        contents.attributes["pipeline"][name] = value
        _modelfile.write(tmp_path / "bad", contents)
        for load in (ironlearn.load, serving.load):
            with pytest.raises(ModelFileError, match=message):
                load(tmp_path / "bad")
    contents = _modelfile.read(path)
    contents.tensors["scaler.scale"] = np.zeros(1)
    _modelfile.write(tmp_path / "bad", contents)
    with pytest.raises(ModelFileError, match="not positive"):
        ironlearn.load(tmp_path / "bad")


def test_warm_starts_begin_at_the_fitted_network() -> None:
    y = wave(90, 0.2)
    model = LSTMForecaster(**{**QUICK, "learning_rate": 1e-9}, warm_start=True, refit=False).fit(y)
    before = model._model.state()
    model.fit(y)
    for name, value in model._model.state().items():
        np.testing.assert_allclose(value, before[name], atol=1e-6)


@pytest.mark.realdata
def test_passengers_are_forecast_better_than_by_the_year_before(data_dir: Path) -> None:
    y = pd.read_csv(data_dir / "time_series/airline-passengers.csv").iloc[:, 1]
    model = LSTMForecaster(window=24, horizon=12, seasonal_period=12, epochs=10, random_state=0)
    result = model.backtest(y, initial=108, step=6)
    assert result.metrics["lstm"]["mase"] < 0.7 * result.metrics["seasonal naive"]["mase"]


def test_outputs_are_those_of_the_network() -> None:
    y = wave(70, 0.2)
    model = LSTMForecaster(**QUICK, linear=False).fit(y)
    held = model._forecaster
    levels = y[None, -8:, None]
    windows = held.pipeline.windows(levels, np.zeros((1, 8, 0)), np.zeros((1, 3, 0)))
    outputs = network_outputs(held.network, held.pipeline, windows)
    np.testing.assert_allclose(
        held.pipeline.forecast(windows, outputs, levels)[0, :, 0], model.predict()
    )
