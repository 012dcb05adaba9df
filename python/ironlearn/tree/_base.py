"""What trees and forests share: input, targets, weights, files."""

from __future__ import annotations

import warnings
from typing import Any, ClassVar

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from sklearn.base import RegressorMixin
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import (
    check_array,
    check_consistent_length,
    check_is_fitted,
    column_or_1d,
    validate_data,
)

from ironlearn import _core, _modelfile
from ironlearn._categories import Categories, is_frame
from ironlearn.base import Classifier, Estimator, check_weights, encode_classes
from ironlearn.exceptions import ModelFileError

_DOUBLE = np.dtype(np.float64)


_ARRAYS = (
    "offsets left right feature threshold missing_left impurity n_node_samples "
    "weighted_n_node_samples value category_offsets category_bits"
).split()


class TreeEstimator(Estimator):
    """Base of trees and forests, of classes and of numbers."""

    _dtypes = (np.float32,)
    _allow_nan = True
    #: Whether y may have several columns.
    _multi_output: ClassVar[bool] = False
    #: Whether to warn where y has one column instead of being a vector.
    _warn_of_column: ClassVar[bool] = True

    categorical_features: Any
    n_outputs_: int
    _model: _core.ForestModel
    _categories: Categories | None

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.sparse = True
        tags.target_tags.multi_output = self._multi_output
        return tags

    def _fit_input(self, X: Any, *, reset: bool = True) -> NDArray[np.float32]:
        """Return X as float32; categorical columns become codes, sparse input dense."""
        if reset:
            self._categories = None
        # A fitted tree goes by what it has learned, whatever its parameters say now.
        known = None if reset else self._categories
        if known is not None or (reset and self.categorical_features is not None):
            if sp.issparse(X):
                raise ValueError("categorical_features needs dense X, got a sparse matrix.")
            if not is_frame(X):
                X = check_array(X, dtype=None, ensure_all_finite=False)
            validate_data(self, X, reset=reset, skip_check_array=True)
            if reset:
                names = getattr(self, "feature_names_in_", None)
                known = self._categories = Categories.learn(X, self.categorical_features, names)
            assert known is not None
            return check_array(
                known.encode(X),
                dtype=np.float32,
                order="C",
                ensure_all_finite="allow-nan",
                input_name="X",
            )
        if sp.issparse(X):
            X = validate_data(self, X, reset=reset, dtype=np.float32, accept_sparse="csr")
            return np.ascontiguousarray(X.toarray())
        return super()._fit_input(X, reset=reset)

    def _predict_input(self, X: Any) -> NDArray[np.float32]:
        if getattr(self, "_categories", None) is not None:
            check_is_fitted(self)
            return self._fit_input(X, reset=False)
        if type(X) is np.ndarray and X.dtype == _DOUBLE and X.ndim == 2 and X.size < 1 << 16:
            # Values beyond float32 become infinite here and are refused by native code.
            with np.errstate(over="ignore"):
                X = X.astype(np.float32)
        return super()._predict_input(X)

    def _check_columns(self, y: NDArray[Any]) -> NDArray[Any]:
        """Return y as a vector, or as a matrix where it has several columns."""
        if y.ndim == 2 and y.shape[1] > 1:
            if not self._multi_output:
                raise ValueError(
                    f"y has {y.shape[1]} columns: {type(self).__name__} takes one target column."
                )
            return y
        return column_or_1d(y, warn=self._warn_of_column)

    @property
    def _mask(self) -> NDArray[np.bool_] | None:
        return None if self._categories is None else self._categories.mask

    def _model_state(self) -> tuple[dict[str, Any], _modelfile.Tensors]:
        tensors = dict(self._model.arrays())
        attributes: dict[str, Any] = {}
        if self._categories is not None:
            attributes["categories"] = self._categories.pack(tensors)
        return attributes, tensors

    def _restore_model(self, attributes: dict[str, Any], tensors: _modelfile.Tensors) -> None:
        model = _core.ForestModel.from_arrays(
            self._restored_classes(attributes, tensors),
            self.n_features_in_,
            **{name: tensors[name] for name in _ARRAYS},
        )
        described = attributes.get("categories")
        self._categories = (
            None
            if described is None
            else Categories.unpack(described, self.n_features_in_, tensors)
        )
        self._set_model(model)

    def _restored_classes(
        self, attributes: dict[str, Any], tensors: _modelfile.Tensors
    ) -> int | list[int] | None:
        """Return the number of classes that the model file's labels are for."""
        raise NotImplementedError

    def _set_model(self, model: _core.ForestModel) -> None:
        self._model = model
        self.n_outputs_ = model.n_outputs


class TreeClassifier(Classifier, TreeEstimator):
    """Base of tree classifiers.

    With several columns of y, ``classes_`` is a list of the labels of each column.
    """

    class_weight: Any
    #: A vector and a number, or a list and a vector for several outputs.
    classes_: Any
    n_classes_: Any

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = self._multi_output
        return tags

    def _fit_targets(
        self, X: NDArray[Any], y: Any, sample_weight: Any, class_weight: Any
    ) -> tuple[NDArray[np.uint32], NDArray[np.float64] | None, float]:
        """Return the codes of y, the rows' weights, and their sum."""
        y = self._check_columns(np.asarray(y))
        check_consistent_length(X, y)
        weights = check_weights(sample_weight, len(X))
        codes = self._fit_classes(y)
        if class_weight is not None:
            expanded = compute_sample_weight(class_weight, y)
            weights = expanded if weights is None else weights * expanded
        total = float(len(X)) if weights is None else float(weights.sum())
        return codes, weights, total

    def _fit_classes(self, y: NDArray[Any]) -> NDArray[np.uint32]:
        if y.ndim == 1:
            return super()._fit_classes(y)
        check_classification_targets(y)
        columns = [encode_classes(column) for column in y.T]
        self.classes_ = [classes for classes, _ in columns]
        return np.ascontiguousarray(np.stack([codes for _, codes in columns], axis=1))

    def _class_counts(self) -> int | list[int]:
        """Return the number of classes, or those of each output, as native code takes them."""
        if isinstance(self.classes_, list):
            return [len(classes) for classes in self.classes_]
        return len(self.classes_)

    def _labels(self, codes: NDArray[np.int64]) -> NDArray[Any]:
        """Return the labels of codes: a vector, or a matrix for several outputs."""
        if not isinstance(self.classes_, list):
            return self.classes_[codes]
        columns = zip(self.classes_, codes.T, strict=True)
        return np.stack([classes[column] for classes, column in columns], axis=1)

    def _by_output(self, shares: NDArray[np.float64]) -> Any:
        """Return class probabilities: a matrix, or a list of one matrix an output."""
        if not isinstance(self.classes_, list):
            return shares
        most = self._model.n_classes
        return [
            np.ascontiguousarray(shares[:, k * most : k * most + len(classes)])
            for k, classes in enumerate(self.classes_)
        ]

    def _model_state(self) -> tuple[dict[str, Any], _modelfile.Tensors]:
        attributes, tensors = super()._model_state()
        if isinstance(self.classes_, list):
            attributes["outputs"] = [
                _modelfile.pack_values(f"classes_{k}", classes, tensors)
                for k, classes in enumerate(self.classes_)
            ]
        else:
            self._pack_classes(attributes, tensors)
        return attributes, tensors

    def _restored_classes(
        self, attributes: dict[str, Any], tensors: _modelfile.Tensors
    ) -> int | list[int] | None:
        if "outputs" not in attributes:
            self._unpack_classes(attributes, tensors, tensors["value"].shape[1])
            return len(self.classes_)
        described = attributes["outputs"]
        if not self._multi_output or not isinstance(described, list) or len(described) < 2:
            raise ModelFileError("the model file's outputs are no list of several.")
        self.classes_ = [
            _modelfile.unpack_values(f"classes_{k}", one, tensors)
            for k, one in enumerate(described)
        ]
        return self._class_counts()

    def _set_model(self, model: _core.ForestModel) -> None:
        super()._set_model(model)
        counts = model.class_counts
        assert counts is not None
        self.n_classes_ = counts[0] if len(counts) == 1 else np.array(counts, dtype=np.intp)


class TreeRegressor(RegressorMixin, TreeEstimator):
    """Base of tree regressors."""

    criterion: str

    def _fit_values(
        self, X: NDArray[Any], y: Any, sample_weight: Any
    ) -> tuple[NDArray[np.float64], NDArray[np.float64] | None, float]:
        """Return y as float64, the rows' weights, and their sum."""
        if y is None:
            raise ValueError(
                f"{type(self).__name__} requires y to be passed, but the target y is None."
            )
        y = self._check_columns(
            check_array(y, ensure_2d=False, dtype=np.float64, order="C", input_name="y")
        )
        check_consistent_length(X, y)
        weights = check_weights(sample_weight, len(X))
        if self.criterion == "poisson":
            if y.min() < 0:
                raise ValueError(
                    "Some value(s) of y are negative which is not allowed for Poisson regression: "
                    f"the smallest is {y.min()}."
                )
            if y.sum() <= 0:
                raise ValueError(
                    "Sum of y is not positive which is necessary for Poisson regression."
                )
        elif self.criterion == "friedman_mse":
            warnings.warn(
                'Value `"friedman_mse"` for `criterion` is deprecated. It maps to '
                '`"squared_error"` as both are equivalent. Use `criterion="squared_error"` to '
                "remove this warning.",
                FutureWarning,
                stacklevel=3,
            )
        total = float(len(X)) if weights is None else float(weights.sum())
        return np.ascontiguousarray(y), weights, total

    def _model_state(self) -> tuple[dict[str, Any], _modelfile.Tensors]:
        attributes, tensors = super()._model_state()
        attributes["n_outputs"] = self._model.n_outputs
        return attributes, tensors

    def _restored_classes(
        self, attributes: dict[str, Any], tensors: _modelfile.Tensors
    ) -> int | list[int] | None:
        if attributes["n_outputs"] != tensors["value"].shape[1]:
            raise ModelFileError(
                f"the model file has n_outputs={attributes['n_outputs']!r}, but values of "
                f"{tensors['value'].shape[1]}."
            )
        return None

    def _values(self, X: Any) -> NDArray[np.float64]:
        """Return the predictions: a vector, or a matrix for several outputs."""
        X = self._predict_input(X)
        values = self._model.predict_values(X, n_threads=self._n_threads())
        return values[:, 0] if values.shape[1] == 1 else values
