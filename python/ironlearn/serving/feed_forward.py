"""Serving of multilayer perceptrons."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ironlearn import _csr, _modelfile
from ironlearn._feedforward import FeedForward
from ironlearn.exceptions import ModelFileError
from ironlearn.serving.predictor import Predictor


class _Perceptron(Predictor):
    """Weights of fully connected layers; takes CSR matrices too."""

    def __init__(self, contents: _modelfile.Contents) -> None:
        super().__init__(contents)
        values = contents.attributes
        self._model = FeedForward.from_tensors(
            contents.tensors, values["layers"], values["hidden"], values["output"]
        )
        if self._model.n_inputs != self.n_features:
            raise ModelFileError(
                f"the model file has {self.n_features} features, but weights for "
                f"{self._model.n_inputs}."
            )

    def _answers(self, X: Any) -> NDArray[np.float64]:
        if not _csr.is_sparse(X):
            return self._model(self._input(X))
        if X.ndim != 2 or X.shape[1] != self.n_features or X.dtype.kind not in "biuf":
            raise ValueError(
                f"X must hold numbers and have shape (n_samples, {self.n_features}), got "
                f"{X.dtype} and {tuple(X.shape)}."
            )
        return self._model(X.tocsr())


class PerceptronPredictor(_Perceptron):
    """Predicts classes with a multilayer perceptron."""

    def __init__(self, contents: _modelfile.Contents) -> None:
        super().__init__(contents)
        self._several = contents.attributes["several"]
        outputs = self._model.n_outputs
        if type(self._several) is not bool or self._model.output not in ("logistic", "softmax"):
            raise ModelFileError("the model file holds no classifier.")
        self._expect(classes=2 if outputs == 1 else outputs, features=self.n_features)

    def predict(self, X: Any) -> NDArray[Any]:
        """Return the class of each row; 0 or 1 for each label where there are several."""
        answers = self._answers(X)
        if self._several:
            return (answers > 0.5).astype(np.int64)
        if answers.shape[1] == 1:
            return self._labels((answers[:, 0] > 0.5).astype(np.int64))
        return self._labels(answers.argmax(axis=1))

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Return class probabilities, shape (n_samples, n_classes)."""
        answers = self._answers(X)
        if answers.shape[1] == 1 and not self._several:
            return np.hstack([1 - answers, answers])
        return answers


class PerceptronRegressionPredictor(_Perceptron):
    """Predicts numbers with a multilayer perceptron."""

    def __init__(self, contents: _modelfile.Contents) -> None:
        super().__init__(contents)
        if self._model.output not in ("identity", "exp"):
            raise ModelFileError("the model file holds no regressor.")

    def predict(self, X: Any) -> NDArray[np.float64]:
        """Return the target of each row; a column an output where there are several."""
        answers = self._answers(X)
        return answers[:, 0] if answers.shape[1] == 1 else answers
