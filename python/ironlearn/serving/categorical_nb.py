"""Serving of categorical naive Bayes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ironlearn import _core, _modelfile
from ironlearn._vocabulary import Vocabularies, as_rows, is_table, whole_numbers
from ironlearn.serving.predictor import Predictor


class CategoricalPredictor(Predictor):
    """Predicts with a categorical naive Bayes model; X may hold codes, strings or both."""

    def __init__(self, contents: _modelfile.Contents) -> None:
        super().__init__(contents)
        t = contents.tensors
        self._expect(classes=len(t["class_count"]), features=len(t["n_categories"]))
        self._model = _core.CategoricalModel.from_arrays(
            (t["class_count"], t["n_categories"], t["category_count"]),
            t["log_prior"],
            float(contents.attributes["alpha"]),
        )
        self._vocabularies = Vocabularies.unpack(
            contents.attributes.get("vocabularies", []), self.n_features, t
        )

    def _input(self, X: Any) -> NDArray[Any]:
        X = as_rows(X)
        if X.ndim != 2 or X.shape[1] != self.n_features:
            raise ValueError(
                f"X must have shape (n_samples, {self.n_features}), got {tuple(X.shape)}."
            )
        if self._vocabularies.any or is_table(X):
            return self._vocabularies.encode(X)
        array = np.ascontiguousarray(X)
        if array.dtype.kind == "f":
            return whole_numbers(array)
        if array.dtype.kind not in "biu":
            raise ValueError(f"X must hold numbers or strings, got dtype {array.dtype}.")
        return array if array.dtype in (np.int64, np.uint8, np.uint16) else array.astype(np.int64)

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
