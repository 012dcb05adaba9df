"""Serving of machines with kernels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ironlearn import _core, _modelfile
from ironlearn.exceptions import ModelFileError
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
        self._sigmoids: tuple[NDArray[Any], NDArray[Any]] | None = None
        if "prob_a" in contents.tensors:
            pairs = (len(contents.tensors["intercept"]),)
            for name in ("prob_a", "prob_b"):
                _modelfile.check_floats(name, contents.tensors[name], pairs)
            self._sigmoids = contents.tensors["prob_a"], contents.tensors["prob_b"]

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

    @property
    def predict_proba(self) -> Callable[[Any], NDArray[np.float64]]:
        """A function that returns the classes' probabilities of rows, if they were fitted."""
        sigmoids = self._sigmoids
        if sigmoids is None:
            raise AttributeError("the model was fitted without probability=True")
        return lambda X: self._model.predict_proba(
            self._input(X), *sigmoids, n_threads=self._threads
        )


class SVRPredictor(Predictor):
    """Predicts with a regression; X of a precomputed kernel holds kernel values."""

    def __init__(self, contents: _modelfile.Contents) -> None:
        super().__init__(contents)
        self._model = native_model(contents)
        width = contents.attributes["native_kernel"][-1]
        if len(contents.tensors["n_support"]) != 1 or width != self.n_features:
            raise ModelFileError(
                f"the model file has {self.n_features} features, but its model is no regression "
                f"of {width}."
            )

    def predict(self, X: Any) -> NDArray[np.float64]:
        """Return the answer for each row."""
        scores = self._model.decision_function(
            self._input(X), one_versus_rest=False, n_threads=self._threads
        )
        return scores[:, 0]


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
