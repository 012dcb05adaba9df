"""Predictors: fitted native models with their class labels, and nothing else."""

from __future__ import annotations

import os
from abc import ABC
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ironlearn import _core, _modelfile, _threads
from ironlearn.exceptions import ModelFileError


class Predictor(ABC):
    """A loaded model that predicts; `load` makes it.

    Parameters
    ----------
    contents : Contents
        What the model file holds.

    Attributes
    ----------
    type : str
        Name of the estimator's class.
    n_features : int
        Number of columns that X must have.
    classes : ndarray or None
        The class labels of a classifier.
    """

    _allow_nan: ClassVar[bool] = False

    def __init__(self, contents: _modelfile.Contents) -> None:
        self.type = contents.type
        self.n_features = int(contents.attributes["n_features_in_"])
        self.classes: NDArray[Any] | None = None
        if "classes_" in contents.attributes:
            self.classes = _modelfile.unpack_values(
                "classes_", contents.attributes["classes_"], contents.tensors
            )
        self._threads = _threads.resolve(None)

    def _input(self, X: Any) -> NDArray[Any]:
        array = np.asarray(X)
        if array.dtype != np.float32:
            if array.dtype.kind not in "biuf":
                raise ValueError(f"X must hold numbers, got dtype {array.dtype}.")
            array = array.astype(np.float64, copy=False)
        if array.ndim != 2 or array.shape[1] != self.n_features:
            raise ValueError(
                f"X must have shape (n_samples, {self.n_features}), got {array.shape}."
            )
        return np.ascontiguousarray(array)

    def _labels(self, codes: NDArray[np.int64]) -> NDArray[Any]:
        assert self.classes is not None
        return self.classes[codes]


class GaussianPredictor(Predictor):
    """Predicts with a Gaussian naive Bayes model."""

    def __init__(self, contents: _modelfile.Contents) -> None:
        super().__init__(contents)
        t = contents.tensors
        self._model = _core.GaussianModel.from_arrays(t["theta"], t["var"], t["log_prior"])

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


class LinearPredictor(Predictor):
    """Predicts with a linear classifier."""

    def __init__(self, contents: _modelfile.Contents) -> None:
        super().__init__(contents)
        t = contents.tensors
        self._model = _core.LinearModel.from_arrays(t["coef"], t["intercept"])

    def predict(self, X: Any) -> NDArray[Any]:
        """Return the class of each row."""
        return self._labels(self._model.predict_codes(self._input(X), n_threads=self._threads))

    def decision_function(self, X: Any) -> NDArray[np.float64]:
        """Return scores, shape (n_samples,) for two classes, else (n_samples, n_classes)."""
        scores = self._model.decision_function(self._input(X), n_threads=self._threads)
        return scores[:, 0] if scores.shape[1] == 1 else scores


_PREDICTORS: dict[str, type[Predictor]] = {
    "GaussianNB": GaussianPredictor,
    "LinearSVC": LinearPredictor,
}


def load(path: str | os.PathLike[str]) -> Predictor:
    """Load the model file at `path` as a predictor.

    Parameters
    ----------
    path : str or path-like
        A file written by an estimator's ``save``.

    Returns
    -------
    Predictor
        With ``predict`` and, where the model has them, ``predict_proba``,
        ``decision_function`` and ``transform``.

    Raises
    ------
    ironlearn.exceptions.ModelFileError
        The file is not a model file, was changed, or holds a type that is not known here.
    """
    contents = _modelfile.read(path)
    kind = _PREDICTORS.get(contents.type)
    if kind is None:
        raise ModelFileError(
            f"{os.fspath(path)} holds a {contents.type!r}; known are {', '.join(_PREDICTORS)}."
        )
    try:
        return kind(contents)
    except ModelFileError:
        raise
    except (KeyError, TypeError, ValueError) as error:
        raise ModelFileError(
            f"{os.fspath(path)} holds no valid {contents.type}: {error}"
        ) from error
