"""Forests that predict numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import r2_score

from ironlearn.ensemble import _base
from ironlearn.tree import DecisionTreeRegressor, _settings
from ironlearn.tree._base import TreeRegressor


class ForestRegressor(_base.Forest, TreeRegressor):
    """Base of forests that predict numbers."""

    _parameters = {**_settings.TABLE, **_settings.REGRESSION, **_base.TABLE}
    _tree_type = DecisionTreeRegressor
    _oob_name = "oob_prediction_"

    oob_prediction_: NDArray[np.float64]

    def _learn_targets(
        self, X: NDArray[np.float32], y: Any, sample_weight: Any, warm: bool
    ) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
        values, weights, _ = self._fit_values(X, y, sample_weight)
        outputs = 1 if values.ndim == 1 else values.shape[1]
        if warm and outputs != self.n_outputs_:
            raise ValueError(
                f"warm_start=True: y has {outputs} columns, the fitted forest {self.n_outputs_}."
            )
        self._outputs = outputs
        return values, weights

    def _native_settings(self, X: NDArray[np.float32], total: float) -> dict[str, Any]:
        return {
            **_settings.resolve(self, X.shape[0], X.shape[1], None, total, self._outputs),
            "n_classes": None,
            "balanced_subsample": False,
        }

    def _set_oob(self, means: NDArray[np.float64], targets: NDArray[Any], y: Any) -> None:
        self.oob_prediction_ = means[:, 0] if means.shape[1] == 1 else means
        score = self.oob_score if callable(self.oob_score) else r2_score
        self.oob_score_ = float(score(targets, self.oob_prediction_))

    def _oob_shape(self, rows: int) -> tuple[int, ...]:
        return (rows, self.n_outputs_) if self.n_outputs_ > 1 else (rows,)

    def _dress(self, tree: Any) -> None:
        """A tree of numbers needs nothing more."""

    def predict(self, X: Any) -> NDArray[np.float64]:
        """Return the mean of the trees' predictions for each row.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_outputs)
            Numbers.
        """
        return self._values(X)
