"""Windows of series: what a forecaster reads, and the steps that follow."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def count(steps: int, window: int, horizon: int, stride: int = 1) -> int:
    """Return how many windows with their horizons fit into `steps` steps."""
    return max(0, (steps - window - horizon) // stride + 1)


def pairs(
    values: NDArray[np.float64], window: int, horizon: int, stride: int = 1
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return windows of the past and the steps after each, as views of `values`.

    Parameters
    ----------
    values : ndarray of shape (steps, columns)
    window, horizon : int
        Steps read and steps forecast.
    stride : int, default=1
        Steps from one window to the next. The last window ends at the last step.

    Returns
    -------
    past : ndarray of shape (n, window, columns)
    future : ndarray of shape (n, horizon, columns)

    Examples
    --------
    >>> past, future = pairs(np.arange(5.0)[:, None], 2, 1)
    >>> past[:, :, 0].tolist()
    [[0.0, 1.0], [1.0, 2.0], [2.0, 3.0]]
    >>> future[:, 0, 0].tolist()
    [2.0, 3.0, 4.0]
    """
    n = count(len(values), window, horizon, stride)
    if n == 0:
        columns = values.shape[1]
        return np.empty((0, window, columns)), np.empty((0, horizon, columns))
    whole = np.lib.stride_tricks.sliding_window_view(values, window + horizon, axis=0)
    chosen = whole[(len(whole) - 1) % stride :: stride].transpose(0, 2, 1)
    return chosen[:, :window], chosen[:, window:]
