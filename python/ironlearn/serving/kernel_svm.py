"""Serving of machines with kernels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ironlearn import _core, _modelfile
from ironlearn.serving.predictor import Predictor


class SVCPredictor(Predictor):
    """Predicts with a classifier; X of a precomputed kernel holds kernel values."""

    def __init__(self, contents: _modelfile.Contents) -> None:
        super().__init__(contents)
        self._model = native_model(contents)
        width = contents.attributes["native_kernel"][-1]
        self._expect(classes=len(contents.tensors["n_support"]), features=width)
        self._ovr = contents.parameters.get("decision_function_shape", "ovr") == "ovr"
        self._break_ties = bool(contents.parameters.get("break_ties", False))

    def predict(self, X: Any) -> NDArray[Any]:
        """Return the class of each row."""
        codes = self._model.predict_codes(
            self._input(X), break_ties=self._break_ties, n_threads=self._threads
        )
        return self._labels(codes)

    def decision_function(self, X: Any) -> NDArray[np.float64]:
        """Return scores: (n_samples,) for two classes, else one column a class or a pair."""
        scores = self._model.decision_function(
            self._input(X), one_versus_rest=self._ovr, n_threads=self._threads
        )
        return scores[:, 0] if scores.shape[1] == 1 else scores


def native_model(contents: _modelfile.Contents) -> _core.KernelModel:
    """Return the checked native model in a file."""
    t = contents.tensors
    kernel, gamma, coef0, degree, width = contents.attributes["native_kernel"]
    vectors: Any = t.get("vectors")
    if "vectors.data" in t:
        vectors = (t["vectors.data"], t["vectors.indices"], t["vectors.indptr"], width)
    return _core.KernelModel.from_arrays(
        vectors,
        t["support"],
        t["n_support"],
        t["dual_coef"],
        t["intercept"],
        kernel,
        gamma,
        coef0,
        degree,
        width,
    )
