"""What every estimator shares: input gate, parameter tables, class codes, model files."""

from __future__ import annotations

import functools
import importlib
import os
from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_array, check_is_fitted, column_or_1d

from ironlearn import _modelfile, _parameters, _threads
from ironlearn._frames import validate_data
from ironlearn.exceptions import ModelFileError

FLOATS = (np.float64, np.float32)
_READY = frozenset(np.dtype(kind) for kind in FLOATS)

#: Every type that a model file may name, and where its class is. Nothing else is loaded.
TYPES: Mapping[str, str] = {
    "GaussianNB": "ironlearn.naive_bayes",
    "CategoricalNB": "ironlearn.naive_bayes",
    "MultinomialNB": "ironlearn.naive_bayes",
    "ComplementNB": "ironlearn.naive_bayes",
    "BernoulliNB": "ironlearn.naive_bayes",
    "DecisionTreeClassifier": "ironlearn.tree",
    "DecisionTreeRegressor": "ironlearn.tree",
    "RandomForestClassifier": "ironlearn.ensemble",
    "RandomForestRegressor": "ironlearn.ensemble",
    "ExtraTreesClassifier": "ironlearn.ensemble",
    "ExtraTreesRegressor": "ironlearn.ensemble",
    "LinearSVC": "ironlearn.svm",
    "LinearSVR": "ironlearn.svm",
    "SVC": "ironlearn.svm",
    "SVR": "ironlearn.svm",
    "KMeans": "ironlearn.cluster",
    "MiniBatchKMeans": "ironlearn.cluster",
    "BisectingKMeans": "ironlearn.cluster",
    "MLPClassifier": "ironlearn.neural_network",
    "MLPRegressor": "ironlearn.neural_network",
}

#: The same for estimators whose X is no table of numbers: images, texts, series.
TASK_TYPES: Mapping[str, str] = {
    "CNNClassifier": "ironlearn.vision",
    "LSTMForecaster": "ironlearn.series",
    "LSTMTextClassifier": "ironlearn.text",
}


class Estimator(BaseEstimator):
    """Base of all estimators: validation, threads, and files.

    A subclass names the accepted values of its parameters in ``_parameters`` and implements
    ``_model_state`` and ``_restore_model``; its fitted native model is ``_model``.
    """

    _parameters: ClassVar[_parameters.Table]
    #: dtypes that the native code takes without conversion, the preferred one first.
    _dtypes: ClassVar[tuple[type, ...]] = FLOATS
    #: Missing values in X are accepted (NaN, never infinity).
    _allow_nan: ClassVar[bool] = False

    n_features_in_: int
    _model: Any

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for name in ("fit", "partial_fit"):
            # What is there for some settings only is no function, and wraps what it offers.
            if callable(cls.__dict__.get(name)):
                setattr(cls, name, whole_or_nothing(cls.__dict__[name]))

    def _validate_parameters(self) -> None:
        # The table names every parameter; looking at the signature would take longer.
        values = {name: getattr(self, name) for name in self._parameters}
        _parameters.validate(type(self).__name__, self._parameters, values)

    def _n_threads(self) -> int:
        return _threads.resolve(getattr(self, "n_jobs", None))

    def _fit_input(self, X: Any, *, reset: bool = True) -> NDArray[Any]:
        """Return X as the native code takes it; finiteness is checked there."""
        return validate_data(
            self,
            X,
            reset=reset,
            dtype=list(self._dtypes),
            order="C",
            ensure_all_finite="allow-nan" if self._allow_nan else True,
        )

    def _predict_input(self, X: Any) -> NDArray[Any]:
        """Return X as the fitted model takes it.

        An array that is ready (dtype, order, width) goes straight to native code, which
        checks finiteness itself: one-row prediction must cost microseconds.
        """
        if (
            type(X) is np.ndarray
            and X.ndim == 2
            and X.dtype in self._ready_dtypes()
            and X.flags.c_contiguous
            and X.flags.aligned
            and X.shape[0] > 0
            and X.shape[1] == getattr(self, "n_features_in_", -1)
            and not hasattr(self, "feature_names_in_")
        ):
            return X
        check_is_fitted(self)
        return self._fit_input(X, reset=False)

    @classmethod
    def _ready_dtypes(cls) -> frozenset[np.dtype[Any]]:
        if cls._dtypes is FLOATS:
            return _READY
        return frozenset(np.dtype(kind) for kind in cls._dtypes)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_model")

    @abstractmethod
    def _model_state(self) -> tuple[dict[str, Any], _modelfile.Tensors]:
        """Return the fitted attributes as JSON values and as arrays."""

    @abstractmethod
    def _restore_model(self, attributes: dict[str, Any], tensors: _modelfile.Tensors) -> None:
        """Set what `_model_state` returned, with full validation."""

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the fitted estimator to a model file, atomically.

        Parameters
        ----------
        path : str or path-like
            The file to write. An existing one is replaced once the new one is complete.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            The estimator is not fitted.
        ValueError
            A parameter or a class label cannot be stored as data.
        """
        _modelfile.write(path, self._contents())

    def _contents(self) -> _modelfile.Contents:
        """Return what a model file of the fitted estimator holds."""
        check_is_fitted(self)
        attributes, tensors = self._model_state()
        attributes["n_features_in_"] = int(self.n_features_in_)
        names = getattr(self, "feature_names_in_", None)
        if names is not None:
            attributes["feature_names_in_"] = [str(name) for name in names]
        parameters = {
            name: _to_json(type(self).__name__, name, value)
            for name, value in self.get_params(deep=False).items()
        }
        return _modelfile.Contents(type(self).__name__, parameters, attributes, tensors)

    @classmethod
    def _from_contents(cls, contents: _modelfile.Contents) -> Self:
        try:
            parameters = {k: _from_json(v) for k, v in contents.parameters.items()}
            unknown = set(parameters) - set(cls._get_param_names())
            if unknown:
                raise ModelFileError(f"{cls.__name__} has no parameter {min(unknown)!r}.")
            estimator = cls(**parameters)
            estimator._validate_parameters()
            estimator.n_features_in_ = width = _modelfile.width_of(contents.attributes)
            names = contents.attributes.get("feature_names_in_")
            if names is not None:
                if len(names) != width or not all(isinstance(name, str) for name in names):
                    raise ModelFileError("feature_names_in_ does not fit n_features_in_.")
                estimator.feature_names_in_ = np.array(names, dtype=object)
            estimator._restore_model(contents.attributes, contents.tensors)
        except ModelFileError:
            raise
        except _modelfile.UNFIT as error:
            raise ModelFileError(
                f"the model file holds no valid {cls.__name__}: {error}"
            ) from error
        return estimator


def whole_or_nothing(fit: Callable[..., Any]) -> Callable[..., Any]:
    """Return `fit` such that the attributes stay as they were if it does not end well.

    Bad input or Ctrl-C in a second fit must not leave the first one's model with half of the new
    attributes. A model is never changed in place, so it is enough to put the names back.
    """

    @functools.wraps(fit)
    def whole(self: Any, *args: Any, **kwargs: Any) -> Any:
        before = dict(self.__dict__)
        try:
            return fit(self, *args, **kwargs)
        except BaseException:
            self.__dict__.clear()
            self.__dict__.update(before)
            raise

    return whole


def load_estimator(path: str | os.PathLike[str]) -> Estimator:
    """Return the estimator in the model file at `path`."""
    return estimator_from(_modelfile.read(path), path)


def estimator_from(contents: _modelfile.Contents, path: str | os.PathLike[str]) -> Estimator:
    """Return the estimator that `contents`, read from `path`, describe."""
    module = TYPES.get(contents.type) or TASK_TYPES.get(contents.type)
    if module is None:
        known = ", ".join((*TYPES, *TASK_TYPES))
        raise ModelFileError(f"{os.fspath(path)} holds a {contents.type!r}; known are {known}.")
    kind: type[Estimator] = getattr(importlib.import_module(module), contents.type)
    return kind._from_contents(contents)


def _to_json(owner: str, name: str, value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.random.RandomState):
        # The state of a generator is no part of what was learned.
        return None
    if isinstance(value, np.ndarray) and value.dtype.kind in "biufU":
        return {"array": value.tolist(), "dtype": value.dtype.str}
    if isinstance(value, list | tuple):
        kind = "list" if isinstance(value, list) else "tuple"
        return {kind: [_to_json(owner, name, item) for item in value]}
    if isinstance(value, Mapping):
        return {
            "dict": [[_to_json(owner, name, k), _to_json(owner, name, v)] for k, v in value.items()]
        }
    raise ValueError(
        f"The {name!r} parameter of {owner} is a {type(value).__name__}, which a model file "
        "cannot hold; numbers, strings, lists, dicts and arrays can be saved."
    )


def _from_json(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    ((kind, items),) = value.items() if "dtype" not in value else [("array", value["array"])]
    if kind == "array":
        dtype = np.dtype(value["dtype"])
        if dtype.kind not in "biufU":
            raise ModelFileError(f"a parameter has the dtype {dtype}.")
        return np.array(items, dtype=dtype)
    if kind == "dict":
        return {_from_json(k): _from_json(v) for k, v in items}
    return {"list": list, "tuple": tuple}[kind](_from_json(item) for item in items)


def encode_classes(y: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.uint32]]:
    """Return the sorted classes of `y` and each element's index among them."""
    if y.dtype.kind in "iu" and y.size and int(y.max()) - int(y.min()) < 1 << 16:
        # Counting beats sorting for the usual small labels.
        low = y.min()
        shifted = (y - low).astype(np.intp)
        present = np.bincount(shifted) > 0
        index = np.cumsum(present, dtype=np.uint32) - np.uint32(1)
        return (np.flatnonzero(present) + low).astype(y.dtype), index[shifted]
    classes, codes = np.unique(y, return_inverse=True)
    return classes, codes.astype(np.uint32)


def check_weights(sample_weight: Any, n_samples: int) -> NDArray[np.float64] | None:
    """Return sample weights as float64, or ``None`` where all rows count the same.

    Raises
    ------
    ValueError
        The weights have another length, are negative or not finite, or are all zero.
    """
    if sample_weight is None:
        return None
    if np.isscalar(sample_weight):
        sample_weight = np.full(n_samples, sample_weight, dtype=np.float64)
    weights = check_array(
        sample_weight,
        ensure_2d=False,
        dtype=np.float64,
        order="C",
        input_name="sample_weight",
        ensure_min_samples=0,
    )
    if weights.ndim != 1:
        raise ValueError(f"Sample weights must be 1D array or scalar, got {weights.ndim}D.")
    if weights.shape[0] != n_samples:
        raise ValueError(f"sample_weight.shape == {weights.shape}, expected ({n_samples},)!")
    if weights.min(initial=0.0) < 0:
        raise ValueError(
            f"Negative values in sample_weight (smallest: {weights.min()}); weights must be >= 0."
        )
    if n_samples and not weights.any():
        raise ValueError("All sample_weight values are zero; at least one must be positive.")
    return weights


class Classifier(ClassifierMixin, Estimator):
    """Base of classifiers: class codes and labels."""

    classes_: NDArray[Any]

    def _fit_classes(self, y: Any) -> NDArray[np.uint32]:
        """Set ``classes_`` from y; return the codes of y."""
        y = column_or_1d(y, warn=True)
        check_classification_targets(y)
        self.classes_, codes = encode_classes(y)
        return codes

    def _pack_classes(self, attributes: dict[str, Any], tensors: _modelfile.Tensors) -> None:
        attributes["classes_"] = _modelfile.pack_values("classes_", self.classes_, tensors)

    def _unpack_classes(
        self, attributes: dict[str, Any], tensors: _modelfile.Tensors, expected: int
    ) -> None:
        self.classes_ = _modelfile.unpack_values("classes_", attributes["classes_"], tensors)
        if len(self.classes_) != expected:
            raise ModelFileError(
                f"the model file has {len(self.classes_)} classes_, but its model {expected}."
            )
