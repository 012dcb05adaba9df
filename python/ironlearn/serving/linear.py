"""Serving of linear classifiers and regressors."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ironlearn import _core, _modelfile
from ironlearn.exceptions import ModelFileError
from ironlearn.serving.predictor import Predictor


class LinearPredictor(Predictor):
    """Predicts with a linear classifier."""

    def __init__(self, contents: _modelfile.Contents) -> None:
        super().__init__(contents)
        t = contents.tensors
        self._model = _core.LinearModel.from_arrays(t["coef"], t["intercept"])
        rows, features = t["coef"].shape
        self._expect(classes=2 if rows == 1 else rows, features=features)

    def predict(self, X: Any) -> NDArray[Any]:
        """Return the class of each row."""
        return self._labels(self._model.predict_codes(self._input(X), n_threads=self._threads))

    def decision_function(self, X: Any) -> NDArray[np.float64]:
        """Return scores, shape (n_samples,) for two classes, else (n_samples, n_classes)."""
        scores = self._model.decision_function(self._input(X), n_threads=self._threads)
        return scores[:, 0] if scores.shape[1] == 1 else scores


class LinearRegressionPredictor(Predictor):
    """Predicts with a linear regressor."""

    def __init__(self, contents: _modelfile.Contents) -> None:
        super().__init__(contents)
        t = contents.tensors
        self._model = _core.LinearModel.from_arrays(t["coef"], t["intercept"])
        if t["coef"].shape != (1, self.n_features):
            raise ModelFileError(
                f"the model file has {self.n_features} features, but weights of shape "
                f"{t['coef'].shape}."
            )

    def predict(self, X: Any) -> NDArray[np.float64]:
        """Return the target of each row."""
        return self._model.decision_function(self._input(X), n_threads=self._threads)[:, 0]
