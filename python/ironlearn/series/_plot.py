"""Forecasts drawn with matplotlib."""

from __future__ import annotations

from typing import Any

import numpy as np

from ironlearn.exceptions import MissingExtraError
from ironlearn.series._frames import continued


def _axes(axes: Any, count: int) -> tuple[Any, list[Any]]:
    """Return a figure and one axes for each series."""
    if axes is not None:
        chosen = list(np.ravel(np.array(axes, dtype=object)))
        if len(chosen) < count:
            raise ValueError(f"plot needs {count} axes, one for each series, got {len(chosen)}.")
        return chosen[0].figure, chosen
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("plots need matplotlib: pip install 'ironlearn[plot]'") from error
    figure = Figure(figsize=(8, 2.8 * count), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, [figure.add_subplot(count, 1, i + 1) for i in range(count)]


def plot_forecast(model: Any, horizon: int | None, alpha: float, X_future: Any, axes: Any) -> Any:
    """Draw the end of the training series, the forecast and its interval."""
    past = model._forecaster.series
    mean = np.asarray(model.predict(horizon, X_future=X_future))
    bounds = model.predict_interval(alpha, horizon, X_future=X_future)
    lower, upper = (np.asarray(bound) for bound in bounds)
    steps, columns = len(mean), past.values.shape[1]
    figure, axes = _axes(axes, columns)
    before: Any = np.arange(-len(past.values), 0)
    after: Any = np.arange(steps)
    if past.index is not None:
        index, later = past.index[-len(past.values) :], continued(past.index, steps)
        if hasattr(index, "to_timestamp"):
            index, later = index.to_timestamp(), later.to_timestamp()
        if later is not None:
            before, after = index, later
    for c, ax in enumerate(axes[:columns]):
        mean_c, lower_c, upper_c = (v.reshape(steps, columns)[:, c] for v in (mean, lower, upper))
        ax.plot(before, past.values[:, c], color="0.3", label="series")
        ax.plot(after, mean_c, color="C0", label="forecast")
        ax.fill_between(
            after,
            lower_c,
            upper_c,
            color="C0",
            alpha=0.2,
            label=f"{100 * (1 - alpha):g} % interval",
        )
        if past.names:
            ax.set_ylabel(past.names[c])
        ax.legend(loc="upper left")
    return figure


def plot_backtest(result: Any, axes: Any) -> Any:
    """Draw the series and all forecasts over it."""
    columns = result.y.shape[1]
    figure, axes = _axes(axes, columns)
    start = max(0, int(result.origins[0]) - 2 * result.truth.shape[1])
    for c, ax in enumerate(axes[:columns]):
        ax.plot(np.arange(start, len(result.y)), result.y[start:, c], color="0.3", label="series")
        for number, (name, forecast) in enumerate(result.forecasts.items()):
            label = f"{name}, MASE {result.metrics[name]['mase']:.3g}"
            for i, origin in enumerate(result.origins):
                steps = np.arange(origin, origin + forecast.shape[1])
                ax.plot(
                    steps,
                    forecast[i, :, c],
                    color=f"C{number}",
                    linewidth=1.8 if number == 0 else 0.9,
                    alpha=1.0 if number == 0 else 0.6,
                    label=label if i == 0 else None,
                )
        ax.set_xlabel("step")
        ax.legend(loc="upper left")
    return figure
