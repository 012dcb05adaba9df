"""Serving of multinomial, complement and Bernoulli naive Bayes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ironlearn import _core, _csr, _modelfile
from ironlearn.serving.predictor import Predictor


class SparsePredictor(Predictor):
    """A predictor that takes CSR matrices too (of SciPy, which is not imported here)."""

    _model: Any

    def _rows(self, X: Any) -> _csr.Rows:
        if not _csr.is_sparse(X):
            return self._input(X)
        if X.ndim != 2 or X.shape[1] != self.n_features:
            raise ValueError(
                f"X must have shape (n_samples, {self.n_features}), got {tuple(X.shape)}."
            )
        X = X.tocsr()
        if X.dtype.kind not in "biuf":
            raise ValueError(f"X must hold numbers, got dtype {X.dtype}.")
        if X.dtype not in (np.float64, np.float32):
            X = X.astype(np.float64)
        return _csr.rows(_csr.canonical(X))

    def predict(self, X: Any) -> NDArray[Any]:
        """Return the likeliest class of each row."""
        return self._labels(self._model.predict_codes(self._rows(X), n_threads=self._threads))

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Return class probabilities, shape (n_samples, n_classes)."""
        joint = self._model.joint_log_likelihood(self._rows(X), n_threads=self._threads)
        joint -= joint.max(axis=1, keepdims=True)
        np.exp(joint, out=joint)
        joint /= joint.sum(axis=1, keepdims=True)
        return joint


class DiscretePredictor(SparsePredictor):
    """Predicts with a multinomial, complement or Bernoulli naive Bayes model."""

    def __init__(self, contents: _modelfile.Contents) -> None:
        super().__init__(contents)
        t = contents.tensors
        self._model = _core.DiscreteModel.from_arrays(
            t["present"], t.get("absent"), t["model_prior"], contents.attributes["threshold"]
        )
        classes, features = t["present"].shape
        self._expect(classes=classes, features=features)
