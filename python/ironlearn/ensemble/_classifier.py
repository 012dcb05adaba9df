"""Forests that predict classes."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score

from ironlearn._parameters import MAPPING, NONE, instance, options
from ironlearn.ensemble import _base, _bootstrap
from ironlearn.tree import DecisionTreeClassifier, _settings
from ironlearn.tree._base import TreeClassifier


class ForestClassifier(_base.Forest, TreeClassifier):
    """Base of forests that predict classes."""

    _parameters = {
        **_settings.TABLE,
        **_base.TABLE,
        "class_weight": (
            MAPPING,
            instance(list, "a list of one dict an output"),
            options("balanced", "balanced_subsample"),
            NONE,
        ),
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
        if before is not None and not _same(before, self.classes_):
            given, self.classes_ = self.classes_, before
            raise ValueError(
                f"warm_start=True: y has the classes {given}, the fitted forest {before}."
            )
        if self.oob_score and isinstance(self.classes_, list) and codes.max() > 1:
            raise ValueError(
                "The type of target cannot be used to compute OOB estimates. Got "
                "multiclass-multioutput while only the following are supported: continuous, "
                "continuous-multioutput, binary, multiclass, multilabel-indicator."
            )
        if isinstance(self.class_weight, str) and self.warm_start:
            warnings.warn(
                f"class_weight={self.class_weight!r} with warm_start=True weighs the classes of "
                "each fit anew: pass a dict of weights of all the data's classes instead.",
                UserWarning,
                stacklevel=4,
            )
        if self.class_weight is not None and not self._subsample:
            weights = _bootstrap.class_weighted(self.class_weight, y, codes, weights)
        return codes, weights

    def _native_settings(self, X: NDArray[np.float32], total: float) -> dict[str, Any]:
        n_classes = self._class_counts()
        return {
            **_settings.resolve(self, X.shape[0], X.shape[1], n_classes, total),
            "n_classes": n_classes,
            "balanced_subsample": self._subsample,
        }

    def _set_oob(self, means: NDArray[np.float64], targets: NDArray[Any], y: Any) -> None:
        score = self.oob_score if callable(self.oob_score) else accuracy_score
        if isinstance(self.classes_, list):
            # One matrix an output, side by side.
            shares = means.reshape(len(means), len(self.classes_), -1).transpose(0, 2, 1)
            truth, predicted = targets, shares.argmax(axis=1)
        else:
            shares = means
            truth, predicted = np.asarray(y).ravel(), self.classes_[means.argmax(axis=1)]
        self.oob_decision_function_ = np.ascontiguousarray(shares)
        self.oob_score_ = float(score(truth, predicted))

    def _oob_shape(self, rows: int) -> tuple[int, ...]:
        outputs = (self.n_outputs_,) if self.n_outputs_ > 1 else ()
        return rows, self._model.n_classes, *outputs

    def _dress(self, tree: Any) -> None:
        counts = self._class_counts()
        if isinstance(counts, list):
            tree.classes_ = [np.arange(count, dtype=np.float64) for count in counts]
        else:
            tree.classes_ = np.arange(counts, dtype=np.float64)

    def predict(self, X: Any) -> NDArray[Any]:
        """Return the class with most votes for each row.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_outputs)
            Class labels; of classes with equal votes the first.
        """
        X = self._predict_input(X)
        codes = self._model.predict_codes(X, voting=self.voting, n_threads=self._n_threads())
        return self._labels(codes)

    def predict_proba(self, X: Any) -> Any:
        """Return each class's share of the votes.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        ndarray of shape (n_samples, n_classes), or a list of them
            Rows add up to one. With several outputs there is one array an output.
        """
        X = self._predict_input(X)
        votes = self._model.predict_proba(X, voting=self.voting, n_threads=self._n_threads())
        return self._by_output(votes)

    def predict_log_proba(self, X: Any) -> Any:
        """Return the logarithms of `predict_proba`.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        ndarray of shape (n_samples, n_classes), or a list of them
            Minus infinity where a class has no votes.
        """
        proba = self.predict_proba(X)
        with np.errstate(divide="ignore"):
            return [np.log(p) for p in proba] if isinstance(proba, list) else np.log(proba)


def _same(before: Any, now: Any) -> bool:
    """Tell whether the classes are the same, of one output or of several."""
    if isinstance(before, list) and isinstance(now, list):
        return len(before) == len(now) and all(map(np.array_equal, before, now))
    return (
        not isinstance(before, list) and not isinstance(now, list) and np.array_equal(before, now)
    )
