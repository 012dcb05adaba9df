"""Forests that predict classes."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score

from ironlearn._parameters import MAPPING, NONE, options
from ironlearn.ensemble import _base, _bootstrap
from ironlearn.tree import DecisionTreeClassifier, _settings
from ironlearn.tree._base import TreeClassifier


class ForestClassifier(_base.Forest, TreeClassifier):
    """Base of forests that predict classes."""

    _parameters = {
        **_settings.TABLE,
        **_base.TABLE,
        "class_weight": (MAPPING, options("balanced", "balanced_subsample"), NONE),
        "voting": (options("soft", "hard"),),
    }
    _tree_type = DecisionTreeClassifier
    _oob_name = "oob_decision_function_"

    voting: str
    oob_decision_function_: NDArray[np.float64]

    @property
    def _subsample(self) -> bool:
        """Whether native code weighs the classes of each bootstrap sample."""
        return bool(self.class_weight == "balanced_subsample" and self.bootstrap)

    def _learn_targets(
        self, X: NDArray[np.float32], y: Any, sample_weight: Any, warm: bool
    ) -> tuple[NDArray[np.uint32], NDArray[np.float64] | None]:
        before = self.classes_ if warm else None
        codes, weights, _ = self._fit_targets(X, y, sample_weight, None)
        if before is not None and not np.array_equal(before, self.classes_):
            given, self.classes_ = self.classes_, before
            raise ValueError(
                f"warm_start=True: y has the classes {given}, the fitted forest {before}."
            )
        if isinstance(self.class_weight, str) and self.warm_start:
            warnings.warn(
                f"class_weight={self.class_weight!r} with warm_start=True weighs the classes of "
                "each fit anew: pass a dict of weights of all the data's classes instead.",
                UserWarning,
                stacklevel=3,
            )
        if self.class_weight is not None and not self._subsample:
            weights = _bootstrap.class_weighted(self.class_weight, y, codes, weights)
        return codes, weights

    def _native_settings(self, X: NDArray[np.float32], total: float) -> dict[str, Any]:
        n_classes = len(self.classes_)
        return {
            **_settings.resolve(self, X.shape[0], X.shape[1], n_classes, total),
            "n_classes": n_classes,
            "balanced_subsample": self._subsample,
        }

    def _set_oob(self, votes: NDArray[np.float64], y: Any) -> None:
        # The shares of one tree add up to one, so their sum counts the trees.
        shares = _base.means_of(votes, votes.sum(axis=1))
        self.oob_decision_function_ = shares
        predicted = self.classes_[shares.argmax(axis=1)]
        score = self.oob_score if callable(self.oob_score) else accuracy_score
        self.oob_score_ = float(score(np.asarray(y).ravel(), predicted))

    def _oob_shape(self, rows: int) -> tuple[int, ...]:
        return rows, self.n_classes_

    def _dress(self, tree: Any) -> None:
        tree.classes_ = np.arange(self.n_classes_, dtype=np.float64)

    def predict(self, X: Any) -> NDArray[Any]:
        """Return the class with most votes for each row.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        ndarray of shape (n_samples,)
            Class labels; of classes with equal votes the first.
        """
        X = self._predict_input(X)
        codes = self._model.predict_codes(X, voting=self.voting, n_threads=self._n_threads())
        return self.classes_[codes]

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Return each class's share of the votes.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            Rows add up to one.
        """
        X = self._predict_input(X)
        return self._model.predict_proba(X, voting=self.voting, n_threads=self._n_threads())

    def predict_log_proba(self, X: Any) -> NDArray[np.float64]:
        """Return the logarithms of `predict_proba`.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            Minus infinity where a class has no votes.
        """
        with np.errstate(divide="ignore"):
            return np.log(self.predict_proba(X))
