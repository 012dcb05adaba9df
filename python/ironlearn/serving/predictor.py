"""Predictors: fitted native models with their class labels, and nothing else."""

from __future__ import annotations

import importlib
import os
from abc import ABC
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ironlearn import _modelfile, _threads
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
        self.n_features = _modelfile.width_of(contents.attributes)
        self.classes: NDArray[Any] | None = None
        if "classes_" in contents.attributes:
            self.classes = _modelfile.unpack_values(
                "classes_", contents.attributes["classes_"], contents.tensors
            )
        self._threads = _threads.resolve(None)

    def _expect(self, *, classes: int, features: int) -> None:
        """Check that the native model fits the labels and the rows."""
        if self.classes is None or len(self.classes) != classes or features != self.n_features:
            labels = "no" if self.classes is None else len(self.classes)
            raise ModelFileError(
                f"the model file has {labels} class labels and {self.n_features} features, but "
                f"its model {classes} and {features}."
            )

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


#: The predictor of each estimator type, as ``module:class``.
_PREDICTORS: dict[str, str] = {
    "GaussianNB": "ironlearn.serving.gaussian_nb:GaussianPredictor",
    "CategoricalNB": "ironlearn.serving.categorical_nb:CategoricalPredictor",
    "MultinomialNB": "ironlearn.serving.discrete_nb:DiscretePredictor",
    "ComplementNB": "ironlearn.serving.discrete_nb:DiscretePredictor",
    "BernoulliNB": "ironlearn.serving.discrete_nb:DiscretePredictor",
    "DecisionTreeClassifier": "ironlearn.serving.trees:ForestPredictor",
    "DecisionTreeRegressor": "ironlearn.serving.trees:ForestRegressionPredictor",
    "RandomForestClassifier": "ironlearn.serving.trees:ForestPredictor",
    "RandomForestRegressor": "ironlearn.serving.trees:ForestRegressionPredictor",
    "ExtraTreesClassifier": "ironlearn.serving.trees:ForestPredictor",
    "ExtraTreesRegressor": "ironlearn.serving.trees:ForestRegressionPredictor",
    "KMeans": "ironlearn.serving.kmeans:KMeansPredictor",
    "MiniBatchKMeans": "ironlearn.serving.kmeans:KMeansPredictor",
    "BisectingKMeans": "ironlearn.serving.kmeans:BisectingPredictor",
    "LinearSVC": "ironlearn.serving.linear:LinearPredictor",
    "LinearSVR": "ironlearn.serving.linear:LinearRegressionPredictor",
    "SVC": "ironlearn.serving.kernel_svm:SVCPredictor",
    "SVR": "ironlearn.serving.kernel_svm:SVRPredictor",
    "LSTMForecaster": "ironlearn.serving.forecaster:ForecastPredictor",
    "LSTMTextClassifier": "ironlearn.serving.text_classifier:TextPredictor",
    "MLPClassifier": "ironlearn.serving.feed_forward:PerceptronPredictor",
    "MLPRegressor": "ironlearn.serving.feed_forward:PerceptronRegressionPredictor",
    "CNNClassifier": "ironlearn.serving.images:ImageClassifierPredictor",
    "Network": "ironlearn.serving.network:NetworkPredictor",
}


def load(path: str | os.PathLike[str]) -> Predictor:
    """Load the model file at `path` as a predictor.

    Parameters
    ----------
    path : str or path-like
        A file written by an estimator's ``save``, or by `ironlearn.nn.state.save_network`.

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
    module, _, name = _PREDICTORS.get(contents.type, "").partition(":")
    if not module:
        raise ModelFileError(
            f"{os.fspath(path)} holds a {contents.type!r}; known are {', '.join(_PREDICTORS)}."
        )
    kind: type[Predictor] = getattr(importlib.import_module(module), name)
    try:
        return kind(contents)
    except ModelFileError:
        raise
    except _modelfile.UNFIT as error:
        raise ModelFileError(
            f"{os.fspath(path)} holds no valid {contents.type}: {error}"
        ) from error
