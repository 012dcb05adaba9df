"""Errors of forecasts."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_Array = NDArray[np.float64]


def naive_scale(values: _Array, period: int) -> float:
    """Return the mean absolute change over `period` steps: the unit of MASE.

    A series that never changes has no such unit; the answer is NaN.
    """
    period = period if len(values) > period else 1
    changes = np.abs(values[period:] - values[:-period])
    scale = float(changes.mean()) if changes.size else 0.0
    return scale if scale > 0 else float("nan")


def errors(truth: _Array, forecast: _Array, scale: _Array) -> dict[str, float]:
    """Return MAE, RMSE, MASE and sMAPE.

    Parameters
    ----------
    truth, forecast : ndarray of shape (n, horizon, columns)
    scale : ndarray of shape (n, columns)
        For each origin and column the mean absolute seasonal change of the steps before (Hyndman
        and Koehler, "Another look at measures of forecast accuracy", IJF 22 (2006)).

    Notes
    -----
    sMAPE is 200 |y - f| / (|y| + |f|) in percent, 0 where both are 0 (Makridakis, "Accuracy
    measures", IJF 9 (1993)).
    """
    gap = np.abs(truth - forecast)
    size = np.abs(truth) + np.abs(forecast)
    share = np.divide(gap, size, out=np.zeros_like(gap), where=size > 0)
    return {
        "mae": float(gap.mean()),
        "rmse": float(np.sqrt(np.mean(gap**2))),
        "mase": float(np.mean(gap / scale[:, None, :])),
        "smape": float(200 * share.mean()),
    }
