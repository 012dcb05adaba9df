"""Scales of series, learned from training steps only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_Array = NDArray[np.float64]


@dataclass(frozen=True)
class Scaler:
    """Shift and scale of each column.

    Attributes
    ----------
    centre, scale : ndarray of shape (columns,)
    """

    centre: _Array
    scale: _Array

    @classmethod
    def learn(cls, values: _Array, kind: str | None) -> Scaler:
        """Return the scaler of `values`, shape (steps, columns).

        Parameters
        ----------
        kind : {"standard", "minmax", "robust"} or None
            Mean and deviation, extremes, or median and quartiles.
        """
        columns = values.shape[1]
        centre, scale = np.zeros(columns), np.ones(columns)
        if kind == "standard":
            centre, scale = values.mean(axis=0), values.std(axis=0)
        elif kind == "minmax":
            centre = values.min(axis=0)
            scale = values.max(axis=0) - centre
        elif kind == "robust":
            low, centre, high = np.percentile(values, [25, 50, 75], axis=0)
            scale = high - low
        # A constant column has nothing to scale; rounding may leave a deviation above 0.
        tiny = scale <= 1e-12 * np.maximum(1.0, np.abs(centre))
        return cls(centre, np.where(tiny, 1.0, scale))

    def apply(self, values: _Array) -> _Array:
        """Return `values`, shape (..., columns), scaled."""
        return (values - self.centre) / self.scale

    def undo(self, values: _Array) -> _Array:
        """Return what `apply` was given."""
        return values * self.scale + self.centre
