"""Serving of forecasters."""

from __future__ import annotations

from typing import Any

from ironlearn import _modelfile
from ironlearn.exceptions import ModelFileError
from ironlearn.series._model import Forecaster
from ironlearn.serving.predictor import Predictor


class ForecastPredictor(Predictor):
    """Continues series; without `y`, the series that the model was fitted to."""

    def __init__(self, contents: _modelfile.Contents) -> None:
        super().__init__(contents)
        self._forecaster = Forecaster.unpack(contents.attributes, contents.tensors)
        if self._forecaster.series.values.shape[1] != self.n_features:
            raise ModelFileError("the number of series does not fit the model.")

    def predict(
        self, horizon: int | None = None, *, y: Any = None, X: Any = None, X_future: Any = None
    ) -> Any:
        """Return forecasts; the arguments are those of `LSTMForecaster.predict`."""
        return self._forecaster.predict(horizon, y, X, X_future)

    def predict_interval(
        self,
        alpha: float = 0.1,
        horizon: int | None = None,
        *,
        y: Any = None,
        X: Any = None,
        X_future: Any = None,
    ) -> tuple[Any, Any]:
        """Return bounds; the arguments are those of `LSTMForecaster.predict_interval`."""
        return self._forecaster.predict_interval(alpha, horizon, y, X, X_future)
