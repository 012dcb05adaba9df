"""Serving of trees and forests."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ironlearn import _core, _modelfile
from ironlearn._categories import Categories, is_frame
from ironlearn.exceptions import ModelFileError
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


class _Forest(Predictor):
    """A tree or a forest; NaN is a missing value.

    X is an array of numbers, or a table as in training where some columns are categories.
    """

    def __init__(self, contents: _modelfile.Contents) -> None:
        super().__init__(contents)
        t = contents.tensors
        described = contents.attributes.get("categories")
        self._categories = (
            None if described is None else Categories.unpack(described, self.n_features, t)
        )
        self._model = _core.ForestModel.from_arrays(
            self._class_counts(contents),
            self.n_features,
            **{name: t[name] for name in _FOREST_ARRAYS},
        )

    def _class_counts(self, contents: _modelfile.Contents) -> int | list[int] | None:
        """Return the number of classes that the labels are for; ``None`` for numbers."""
        raise NotImplementedError

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


class ForestPredictor(_Forest):
    """Predicts classes with a tree or a forest.

    Attributes
    ----------
    output_classes : list of ndarray or None
        The labels of each output, where there are several.
    """

    output_classes: list[NDArray[Any]] | None = None

    def _class_counts(self, contents: _modelfile.Contents) -> int | list[int] | None:
        self._voting = str(contents.parameters.get("voting", "soft"))
        described = contents.attributes.get("outputs")
        if described is None:
            classes = contents.tensors["value"].shape[1]
            self._expect(classes=classes, features=self.n_features)
            return classes
        self.output_classes = [
            _modelfile.unpack_values(f"classes_{k}", one, contents.tensors)
            for k, one in enumerate(described)
        ]
        return [len(classes) for classes in self.output_classes]

    def predict(self, X: Any) -> NDArray[Any]:
        """Return the class with most votes for each row; a column an output."""
        codes = self._model.predict_codes(
            self._input(X), voting=self._voting, n_threads=self._threads
        )
        if self.output_classes is None:
            return self._labels(codes)
        columns = zip(self.output_classes, codes.T, strict=True)
        return np.stack([classes[column] for classes, column in columns], axis=1)

    def predict_proba(self, X: Any) -> Any:
        """Return class probabilities, shape (n_samples, n_classes); a list for several outputs."""
        shares = self._model.predict_proba(
            self._input(X), voting=self._voting, n_threads=self._threads
        )
        if self.output_classes is None:
            return shares
        most = self._model.n_classes
        return [
            np.ascontiguousarray(shares[:, k * most : k * most + len(classes)])
            for k, classes in enumerate(self.output_classes)
        ]


class ForestRegressionPredictor(_Forest):
    """Predicts numbers with a tree or a forest."""

    def _class_counts(self, contents: _modelfile.Contents) -> int | list[int] | None:
        outputs = contents.tensors["value"].shape[1]
        if contents.attributes["n_outputs"] != outputs:
            raise ModelFileError(
                f"the model file has n_outputs={contents.attributes['n_outputs']!r}, but values "
                f"of {outputs}."
            )
        return None

    def predict(self, X: Any) -> NDArray[np.float64]:
        """Return the mean of the trees for each row; a column an output where there are several."""
        values = self._model.predict_values(self._input(X), n_threads=self._threads)
        return values[:, 0] if values.shape[1] == 1 else values
