"""Serving of trees and forests."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ironlearn import _core, _modelfile
from ironlearn._categories import Categories, is_frame
from ironlearn.serving.predictor import Predictor

_FOREST_ARRAYS = (
    "offsets",
    "left",
    "right",
    "feature",
    "threshold",
    "missing_left",
    "impurity",
    "n_node_samples",
    "weighted_n_node_samples",
    "value",
    "category_offsets",
    "category_bits",
)


class ForestPredictor(Predictor):
    """Predicts with a tree or a forest; NaN is a missing value.

    X is an array of numbers, or a table as in training where some columns are categories.
    """

    def __init__(self, contents: _modelfile.Contents) -> None:
        super().__init__(contents)
        t = contents.tensors
        classes = t["value"].shape[1]
        self._expect(classes=classes, features=self.n_features)
        arrays = {name: t[name] for name in _FOREST_ARRAYS}
        self._voting = str(contents.parameters.get("voting", "soft"))
        described = contents.attributes.get("categories")
        self._categories = (
            None if described is None else Categories.unpack(described, self.n_features, t)
        )
        self._model = _core.ForestModel.from_arrays(classes, self.n_features, **arrays)

    def _input(self, X: Any) -> NDArray[Any]:
        if self._categories is not None:
            cells = X if is_frame(X) else np.asarray(X)
            if len(cells.shape) != 2 or cells.shape[1] != self.n_features:
                raise ValueError(
                    f"X must have shape (n_samples, {self.n_features}), got {cells.shape}."
                )
            return self._categories.encode(cells)
        # Values beyond float32 become infinite here and are refused by native code.
        with np.errstate(over="ignore"):
            return super()._input(X).astype(np.float32, copy=False)

    def predict(self, X: Any) -> NDArray[Any]:
        """Return the class with most votes for each row."""
        return self._labels(
            self._model.predict_codes(self._input(X), voting=self._voting, n_threads=self._threads)
        )

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Return class probabilities, shape (n_samples, n_classes)."""
        return self._model.predict_proba(
            self._input(X), voting=self._voting, n_threads=self._threads
        )
