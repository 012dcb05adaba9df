"""What a tree and a forest share: input, weights, files."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.validation import (
    check_array,
    check_consistent_length,
    check_is_fitted,
    column_or_1d,
)

from ironlearn import _core, _modelfile
from ironlearn._categories import Categories, is_frame
from ironlearn._frames import validate_data
from ironlearn.base import Classifier, check_weights

_DOUBLE = np.dtype(np.float64)


class TreeClassifier(Classifier):
    """Base of tree classifiers."""

    _dtypes = (np.float32,)
    _allow_nan = True

    class_weight: Any
    categorical_features: Any
    _model: _core.ForestModel
    _categories: Categories | None

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.sparse = True
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

    def _fit_targets(
        self, X: NDArray[Any], y: Any, sample_weight: Any, class_weight: Any
    ) -> tuple[NDArray[np.uint32], NDArray[np.float64] | None, float]:
        """Return the codes of y, the rows' weights, and their sum."""
        y = np.asarray(y)
        if y.ndim == 2 and y.shape[1] > 1:
            raise ValueError(
                f"y has {y.shape[1]} columns: {type(self).__name__} takes one target column."
            )
        y = column_or_1d(y, warn=True)
        check_consistent_length(X, y)
        weights = check_weights(sample_weight, len(X))
        codes = self._fit_classes(y)
        if class_weight is not None:
            expanded = compute_sample_weight(class_weight, y)
            weights = expanded if weights is None else weights * expanded
        total = float(len(X)) if weights is None else float(weights.sum())
        return codes, weights, total

    @property
    def _mask(self) -> NDArray[np.bool_] | None:
        return None if self._categories is None else self._categories.mask

    def _model_state(self) -> tuple[dict[str, Any], _modelfile.Tensors]:
        tensors = dict(self._model.arrays())
        attributes: dict[str, Any] = {}
        self._pack_classes(attributes, tensors)
        if self._categories is not None:
            attributes["categories"] = self._categories.pack(tensors)
        return attributes, tensors

    def _restore_model(self, attributes: dict[str, Any], tensors: _modelfile.Tensors) -> None:
        names = (
            "offsets left right feature threshold missing_left impurity n_node_samples "
            "weighted_n_node_samples value category_offsets category_bits"
        ).split()
        n_classes = tensors["value"].shape[1]
        self._unpack_classes(attributes, tensors, n_classes)
        model = _core.ForestModel.from_arrays(
            n_classes, self.n_features_in_, **{name: tensors[name] for name in names}
        )
        described = attributes.get("categories")
        self._categories = (
            None
            if described is None
            else Categories.unpack(described, self.n_features_in_, tensors)
        )
        self._set_model(model)

    def _set_model(self, model: _core.ForestModel) -> None:
        self._model = model
        self.n_classes_ = model.n_classes
        self.n_outputs_ = 1
