"""What naive Bayes classifiers share: labels of partial fits, and prediction."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_consistent_length, column_or_1d

from ironlearn.base import Classifier, check_weights, encode_classes


class NaiveBayes(Classifier):
    """Base of the classifiers whose model knows joint log-likelihoods."""

    def _check_targets(
        self, X: Any, y: Any, classes: Any, sample_weight: Any, *, first: bool, whole: bool
    ) -> tuple[NDArray[Any], NDArray[np.uint32], NDArray[np.float64] | None]:
        """Return class labels, the code of each row's label, and the rows' weights.

        With `whole` the labels are those of y, else those given at the first partial fit.
        """
        y = column_or_1d(y, warn=True)
        check_consistent_length(X, y)
        weights = check_weights(sample_weight, len(y))
        # Whole numbers and strings are classes; scikit-learn's check, which sorts them once
        # more, only warns of too many.
        plain = isinstance(y, np.ndarray) and y.dtype.kind in "biuU"
        if not plain or not whole:
            check_classification_targets(y)
        if whole:
            labels, codes = encode_classes(y)
            if plain and 2 * len(labels) > len(y):
                check_classification_targets(y)
        else:
            labels = self._partial_classes(classes, first)
            codes = _codes_among(y, labels)
        return labels, codes, weights

    def _require_y(self, y: Any) -> None:
        if y is None:
            raise ValueError(
                f"This {type(self).__name__} estimator requires y to be passed, but the target "
                "y is None."
            )

    def _partial_classes(self, classes: Any, first: bool) -> NDArray[Any]:
        if first:
            if classes is None:
                raise ValueError("classes must be passed on the first call to partial_fit.")
            return np.unique(column_or_1d(classes))
        if classes is not None and not np.array_equal(np.unique(classes), self.classes_):
            raise ValueError(
                f"`classes={classes!r}` is not the same as on last call to partial_fit, was: "
                f"{self.classes_!r}"
            )
        return self.classes_

    def predict(self, X: Any) -> NDArray[Any]:
        """Return the likeliest class of each row of X (n_samples, n_features)."""
        X = self._predict_input(X)
        return self.classes_[self._model.predict_codes(X, n_threads=self._n_threads())]

    def predict_joint_log_proba(self, X: Any) -> NDArray[np.float64]:
        """Return ``log P(class) + log P(row | class)``, shape (n_samples, n_classes)."""
        X = self._predict_input(X)
        return self._model.joint_log_likelihood(X, n_threads=self._n_threads())

    def predict_log_proba(self, X: Any) -> NDArray[np.float64]:
        """Return the logarithms of the class probabilities, shape (n_samples, n_classes)."""
        joint = self.predict_joint_log_proba(X)
        return joint - logsumexp(joint, axis=1, keepdims=True)

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Return the class probabilities, shape (n_samples, n_classes)."""
        return np.exp(self.predict_log_proba(X))


def _codes_among(y: NDArray[Any], labels: NDArray[Any]) -> NDArray[np.uint32]:
    """Return each label's index among sorted `labels`."""
    unknown = np.setdiff1d(np.unique(y), labels)
    if unknown.size:
        raise ValueError(
            f"The target label(s) {unknown} in y do not exist in the initial classes {labels}"
        )
    return np.searchsorted(labels, y).astype(np.uint32)
