"""Forecasts from many origins, beside baselines."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone

from ironlearn.exceptions import InvalidParameterError
from ironlearn.series._baselines import seasonal_naive
from ironlearn.series._frames import Series, read
from ironlearn.series._metrics import errors, naive_scale
from ironlearn.series._pipeline import Pipeline, Settings

_Array = NDArray[np.float64]

#: Names of the forecasters, the estimator's first.
OWN, NAIVE, RIDGE = "lstm", "seasonal naive", "ridge"
_METRICS = ("mae", "rmse", "mase", "smape")


@dataclass(frozen=True)
class Backtest:
    """Forecasts from several origins, and how far off they are.

    Attributes
    ----------
    origins : ndarray of shape (n_origins,)
        Number of steps before each forecast.
    truth : ndarray of shape (n_origins, horizon, n_series)
        What came.
    forecasts : dict of str to ndarray of shape (n_origins, horizon, n_series)
        Of ``"lstm"``, ``"seasonal naive"`` and ``"ridge"`` (on the same lags, on the series as it
        is).
    metrics : dict of str to dict of str to float
        ``"mae"``, ``"rmse"``, ``"mase"`` and ``"smape"`` (in percent) of each forecaster, over all
        origins, steps and series.
    y : ndarray of shape (n_steps, n_series)
        The series.
    """

    origins: NDArray[np.int64]
    truth: _Array
    forecasts: dict[str, _Array]
    metrics: dict[str, dict[str, float]]
    y: _Array = field(repr=False)

    def table(self) -> str:
        """Return the metrics as a table of text, the least error of each column marked."""
        best = {m: min(v[m] for v in self.metrics.values()) for m in _METRICS}
        lines = [f"{'forecaster':16}" + "".join(f"{name.upper():>12}" for name in _METRICS)]
        for name, values in self.metrics.items():
            cells = (f"{values[m]:.4g}{'*' if values[m] == best[m] else ' '}" for m in _METRICS)
            lines.append(f"{name:16}" + "".join(f"{cell:>12}" for cell in cells))
        return "\n".join(lines)

    def plot(self, axes: Any = None) -> Any:
        """Draw the series and the forecasts from all origins.

        Parameters
        ----------
        axes : matplotlib Axes or sequence of them, default=None
            Where to draw, one for each series; ``None`` makes a figure.

        Returns
        -------
        matplotlib.figure.Figure
            The figure.
        """
        from ironlearn.series._plot import plot_backtest

        return plot_backtest(self, axes)


def roll(
    estimator: Any,
    y: Any,
    X: Any = None,
    *,
    initial: int | float = 0.7,
    step: int | None = None,
    n_splits: int | None = None,
    refit: bool = False,
) -> Backtest:
    """Return the backtest of an `LSTMForecaster`; see its method."""
    series = read(y, "y")
    inputs = None if X is None else read(X, "X")
    if inputs is not None and len(inputs.values) != len(series.values):
        raise ValueError(f"X has {len(inputs.values)} steps, but y {len(series.values)}.")
    origins = _origins(len(series.values), int(estimator.horizon), initial, step, n_splits)
    settings = estimator._settings(inputs)
    if origins[0] < settings.context + settings.horizon + 1:
        raise ValueError(
            f"the first origin has {origins[0]} steps before it, but a window and a horizon take "
            f"{settings.context + settings.horizon}; raise initial."
        )
    period = settings.period
    exogenous = np.zeros((len(series.values), 0)) if inputs is None else inputs.values
    found: dict[str, list[_Array]] = {OWN: [], RIDGE: []}
    groups = [[origin] for origin in origins] if refit else [list(origins)]
    for group in groups:
        fitted = clone(estimator).fit(_cut(y, group[0]), None if X is None else _cut(X, group[0]))
        past, before, ahead = _at(series, exogenous, group, settings)
        model = fitted._forecaster
        levels = model.many(past, before, ahead, estimator.device)
        found[OWN].append(model.pipeline.from_levels(levels))
        found[RIDGE].append(_ridge(series.values, exogenous, group, settings))
    past, _, _ = _at(series, exogenous, origins, settings)
    whole = {
        OWN: np.concatenate(found[OWN]),
        NAIVE: np.stack(
            [seasonal_naive(series.values[None, :o], period, settings.horizon)[0] for o in origins]
        ),
        RIDGE: np.concatenate(found[RIDGE]),
    }
    truth = np.stack([series.values[o : o + settings.horizon] for o in origins])
    columns = range(series.values.shape[1])
    scale = np.array(
        [[naive_scale(series.values[:o, c], period) for c in columns] for o in origins]
    )
    metrics = {name: errors(truth, forecast, scale) for name, forecast in whole.items()}
    return Backtest(np.array(origins), truth, whole, metrics, series.values)


def _origins(
    steps: int, horizon: int, initial: int | float, step: int | None, n_splits: int | None
) -> list[int]:
    for name, value in (("step", step), ("n_splits", n_splits)):
        if value is not None and (
            isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1
        ):
            raise InvalidParameterError(f"{name} must be an int >= 1 or None, got {value!r}.")
    share = isinstance(initial, float)
    if isinstance(initial, bool) or not isinstance(initial, int | float | np.integer):
        raise InvalidParameterError(f"initial must be an int or a float, got {initial!r}.")
    if not (0 < initial < 1 if share else 1 <= initial):
        raise InvalidParameterError(
            f"initial must be a number of steps or a share in (0, 1), got {initial!r}."
        )
    first = round(initial * steps) if share else int(initial)
    # The last forecast ends where the series ends.
    stride = step or horizon
    origins = list(range(steps - horizon, first - 1, -stride))[::-1]
    if not origins:
        raise ValueError(
            f"y has {steps} steps: after the first {first} there is no room for a horizon of "
            f"{horizon}."
        )
    return origins[-n_splits:] if n_splits else origins


def _cut(data: Any, stop: int) -> Any:
    return data.iloc[:stop] if hasattr(data, "iloc") else np.asarray(data)[:stop]


def _at(
    series: Series, exogenous: _Array, origins: list[int], settings: Settings
) -> tuple[_Array, _Array, _Array]:
    """Return the pasts, their exogenous inputs, and those known ahead, of each origin."""
    context, horizon = settings.context, settings.horizon
    return (
        np.stack([series.values[o - context : o] for o in origins]),
        np.stack([exogenous[o - context : o] for o in origins]),
        np.stack([exogenous[o : o + horizon][:, list(settings.known)] for o in origins]),
    )


def _ridge(y: _Array, exogenous: _Array, origins: list[int], settings: Settings) -> _Array:
    """Return the forecasts of ridge regression on the lags that the estimator reads."""
    plain = Settings(
        window=settings.context,
        horizon=settings.horizon,
        period=settings.period,
        known=settings.known,
    )
    first = origins[0]
    pipeline, _, _ = Pipeline.learn(plain, y[:first], exogenous[:first])
    pipeline = replace(pipeline, blend=np.zeros(y.shape[1]))
    past, before, ahead = _at(Series(y), exogenous, origins, plain)
    windows = pipeline.windows(past, before, ahead)
    return pipeline.forecast(windows, np.zeros((len(origins), plain.horizon * y.shape[1])), past)
