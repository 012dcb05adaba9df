"""Serving of k-means: on all rows, in mini-batches, bisecting."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ironlearn import _core, _csr, _modelfile
from ironlearn.exceptions import ModelFileError
from ironlearn.serving.predictor import Predictor


class KMeansPredictor(Predictor):
    """Finds the nearest of fitted centres; takes CSR matrices too."""

    def __init__(self, contents: _modelfile.Contents) -> None:
        super().__init__(contents)
        t = contents.tensors
        self._dtype = t["centres"].dtype
        self._model = _core.KMeansModel.from_arrays(t["centres"], t["offset"])
        if t["centres"].shape[1] != self.n_features:
            raise ModelFileError("the centres do not fit n_features_in_.")

    def _rows(self, X: Any) -> _csr.Rows:
        # Values beyond float32 become infinite here and are refused by native code.
        with np.errstate(over="ignore"):
            if not _csr.is_sparse(X):
                return super()._input(X).astype(self._dtype, copy=False)
            if X.ndim != 2 or X.shape[1] != self.n_features or X.dtype.kind not in "biuf":
                raise ValueError(
                    f"X must hold numbers and have shape (n_samples, {self.n_features}), got "
                    f"{X.dtype} and {tuple(X.shape)}."
                )
            return _csr.rows(X.tocsr().astype(self._dtype, copy=False))

    def predict(self, X: Any) -> NDArray[np.int32]:
        """Return the nearest centre of each row."""
        return self._model.predict(self._rows(X), n_threads=self._threads)

    def transform(self, X: Any) -> NDArray[Any]:
        """Return the distance of each row to each centre, shape (n_samples, n_clusters)."""
        return self._model.transform(self._rows(X), n_threads=self._threads)


class BisectingPredictor(KMeansPredictor):
    """Goes down the tree of bisecting k-means."""

    def __init__(self, contents: _modelfile.Contents) -> None:
        super().__init__(contents)
        t = contents.tensors
        self._tree = _core.BisectingTree.from_arrays(t["children"], t["normals"], t["levels"])
        if t["normals"].shape != (len(t["centres"]) - 1, self.n_features):
            raise ModelFileError("the forks do not fit the centres and n_features_in_.")

    def predict(self, X: Any) -> NDArray[np.int32]:
        """Return the leaf of each row."""
        return self._tree.predict(self._rows(X), n_threads=self._threads)
