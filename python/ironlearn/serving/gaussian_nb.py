"""Serving of Gaussian naive Bayes."""

from __future__ import annotations

from ironlearn import _core, _modelfile
from ironlearn.serving.discrete_nb import SparsePredictor


class GaussianPredictor(SparsePredictor):
    """Predicts with a Gaussian naive Bayes model."""

    def __init__(self, contents: _modelfile.Contents) -> None:
        super().__init__(contents)
        t = contents.tensors
        self._model = _core.GaussianModel.from_arrays(t["theta"], t["var"], t["log_prior"])
        classes, features = t["theta"].shape
        self._expect(classes=classes, features=features)
