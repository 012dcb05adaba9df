"""Serving of Gaussian naive Bayes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ironlearn import _core, _modelfile
from ironlearn.serving.predictor import Predictor


class GaussianPredictor(Predictor):
    """Predicts with a Gaussian naive Bayes model."""

    def __init__(self, contents: _modelfile.Contents) -> None:
        super().__init__(contents)
        t = contents.tensors
        self._model = _core.GaussianModel.from_arrays(t["theta"], t["var"], t["log_prior"])
        classes, features = t["theta"].shape
        self._expect(classes=classes, features=features)

    def predict(self, X: Any) -> NDArray[Any]:
        """Return the likeliest class of each row."""
        return self._labels(self._model.predict_codes(self._input(X), n_threads=self._threads))

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Return class probabilities, shape (n_samples, n_classes)."""
        joint = self._model.joint_log_likelihood(self._input(X), n_threads=self._threads)
        joint -= joint.max(axis=1, keepdims=True)
        np.exp(joint, out=joint)
        joint /= joint.sum(axis=1, keepdims=True)
        return joint
