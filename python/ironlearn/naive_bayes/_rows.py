"""Sparse input of naive Bayes classifiers."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from ironlearn import _csr
from ironlearn._frames import validate_data
from ironlearn.naive_bayes._base import NaiveBayes


class SparseNaiveBayes(NaiveBayes):
    """Base of the classifiers that take CSR rows besides dense ones."""

    #: Elements that are stored in parts must be added up before they are used.
    _whole_elements: ClassVar[bool] = True

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def _fit_input(self, X: Any, *, reset: bool = True) -> Any:
        dtypes = list(self._dtypes)
        if _csr.is_sparse(X):
            dtypes = [kind for kind in dtypes if kind is not np.uint8]
        # Native code checks in its first pass whether all numbers are finite.
        X = validate_data(
            self,
            X,
            reset=reset,
            accept_sparse="csr",
            dtype=dtypes,
            order="C",
            ensure_all_finite=False,
        )
        return _csr.canonical(X) if _csr.is_sparse(X) and self._whole_elements else X

    def _predict_input(self, X: Any) -> Any:
        # Ready CSR rows take the short way, too: native code checks them.
        if (
            getattr(X, "format", None) == "csr"
            and X.ndim == 2
            and X.dtype in self._ready_dtypes()
            and X.dtype != np.uint8
            and X.shape[0] > 0
            and X.shape[1] == getattr(self, "n_features_in_", -1)
            and not hasattr(self, "feature_names_in_")
        ):
            return _csr.rows(_csr.canonical(X) if self._whole_elements else X)
        return _csr.rows(super()._predict_input(X))
