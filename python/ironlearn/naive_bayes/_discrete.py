"""What multinomial, complement and Bernoulli naive Bayes share."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ironlearn import _core, _csr, _modelfile
from ironlearn._parameters import ARRAY_LIKE, BOOLEAN, N_JOBS, NONE, Table, real
from ironlearn.naive_bayes._rows import SparseNaiveBayes

_LEAST_ALPHA = 1e-10
_NUMBERS = (np.float64, np.float32, np.int64, np.uint8)
_READY = frozenset(np.dtype(kind) for kind in _NUMBERS)

#: What a present and, where that means something, an absent feature adds to each class.
Estimates = tuple[NDArray[np.float64], NDArray[np.float64] | None]


class DiscreteNB(SparseNaiveBayes):
    """Base of the classifiers that sum features by class.

    A subclass turns the sums into logarithms in ``_estimates``.
    """

    alpha: float | ArrayLike
    force_alpha: bool
    fit_prior: bool
    class_prior: ArrayLike | None

    class_count_: NDArray[np.float64]
    class_log_prior_: NDArray[np.float64]
    feature_count_: NDArray[np.float64]
    feature_log_prob_: NDArray[np.float64]

    _dtypes: ClassVar[tuple[type, ...]] = _NUMBERS
    #: Sums do not mind elements that are stored in parts; native code checks the structure.
    _whole_elements: ClassVar[bool] = False
    #: Negative values of X are refused.
    _non_negative: ClassVar[bool] = True
    _parameters: ClassVar[Table] = {
        "alpha": (real(0), ARRAY_LIKE),
        "force_alpha": (BOOLEAN,),
        "fit_prior": (BOOLEAN,),
        "class_prior": (ARRAY_LIKE, NONE),
        "n_jobs": N_JOBS,
    }

    @classmethod
    def _ready_dtypes(cls) -> frozenset[np.dtype[Any]]:
        return _READY

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.positive_only = self._non_negative
        # Not meant for the Gaussian blobs by which scikit-learn's checks judge accuracy.
        tags.classifier_tags.poor_score = True
        return tags

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Fit to rows X of shape (n_samples, n_features) with labels y.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Finite numbers.
        y : array-like of shape (n_samples,)
            Class labels.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights of the rows.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError
            X holds values that the model does not take, or `alpha`, `class_prior`, `y` or
            `sample_weight` do not fit it.
        """
        return self._update(X, y, None, sample_weight, first=True, whole=True)

    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> Self:
        """Add the sums of further rows.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Further rows.
        y : array-like of shape (n_samples,)
            Their labels.
        classes : array-like of shape (n_classes,), default=None
            All labels that can occur; needed in the first call.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights of the rows.

        Returns
        -------
        self : object
            The updated estimator.
        """
        first = not hasattr(self, "_model")
        return self._update(X, y, classes, sample_weight, first=first, whole=False)

    def _update(
        self, X: Any, y: Any, classes: Any, sample_weight: Any, *, first: bool, whole: bool
    ) -> Self:
        self._validate_parameters()
        self._require_y(y)
        X = self._fit_input(X, reset=first)
        labels, codes, weights = self._check_targets(
            X, y, classes, sample_weight, first=first, whole=whole
        )
        given_prior = self._given_log_prior(len(labels))
        alpha = self._checked_alpha(X.shape[1])
        try:
            class_count, feature_count = _core.discrete_nb_counts(
                _csr.rows(X),
                codes,
                weights,
                n_classes=len(labels),
                threshold=self._threshold(),
                non_negative=self._non_negative,
                n_threads=self._n_threads(),
            )
        except ValueError as error:
            if "the negative value" in str(error):
                raise ValueError(
                    f"Negative values in data passed to {type(self).__name__} (input X): {error}"
                ) from None
            raise
        if not first:
            class_count += self.class_count_
            feature_count += self.feature_count_
        if given_prior is None:
            with np.errstate(divide="ignore"):
                log_prior = np.log(class_count) - np.log(class_count.sum())
        else:
            log_prior = given_prior
        with np.errstate(divide="ignore", invalid="ignore"):
            present, absent = self._estimates(alpha, class_count, feature_count)
        model = _core.DiscreteModel.from_arrays(
            present, absent, self._model_prior(log_prior), self._threshold()
        )
        self.classes_ = labels
        self._set_model(model, class_count, feature_count, log_prior)
        return self

    @abstractmethod
    def _estimates(
        self,
        alpha: float | NDArray[np.float64],
        class_count: NDArray[np.float64],
        feature_count: NDArray[np.float64],
    ) -> Estimates:
        """Return smoothed logarithms from the sums."""

    def _threshold(self) -> float | None:
        """Return the value above which a feature is present, or ``None`` to take it as it is."""
        return None

    def _model_prior(self, log_prior: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return what prediction adds to each class."""
        return log_prior

    def _set_model(
        self,
        model: _core.DiscreteModel,
        class_count: NDArray[np.float64],
        feature_count: NDArray[np.float64],
        log_prior: NDArray[np.float64],
    ) -> None:
        self._model = model
        self.class_count_ = class_count
        self.feature_count_ = feature_count
        self.class_log_prior_ = log_prior
        self.feature_log_prob_ = model.arrays()[0]

    def _checked_alpha(self, d: int) -> float | NDArray[np.float64]:
        alpha = np.array(self.alpha, dtype=np.float64)
        if alpha.ndim > 0 and alpha.shape != (d,):
            raise ValueError(
                "When alpha is an array, it should contains `n_features`. "
                f"Got {alpha.shape} elements instead of {d}."
            )
        if not (alpha >= 0).all() or np.isinf(alpha).any():
            raise ValueError(
                f"All values in alpha must be finite and not below 0, got {alpha.min()} to "
                f"{alpha.max()}."
            )
        if alpha.min() < _LEAST_ALPHA and not self.force_alpha:
            warnings.warn(
                f"alpha too small will result in numeric errors, setting alpha = {_LEAST_ALPHA:.1e}"
                ". Use `force_alpha=True` to keep alpha unchanged.",
                stacklevel=5,
            )
            alpha = np.maximum(alpha, _LEAST_ALPHA)
        return alpha if alpha.ndim else float(alpha)

    def _given_log_prior(self, k: int) -> NDArray[np.float64] | None:
        """Return the logarithms of given priors, or ``None`` where they are learned."""
        if self.class_prior is None:
            return None if self.fit_prior else np.full(k, -np.log(k))
        prior = np.array(self.class_prior, dtype=np.float64)
        if prior.shape != (k,):
            raise ValueError(
                f"Number of priors must match number of classes: got {prior.size} for {k}."
            )
        if not (prior >= 0).all() or np.isinf(prior).any():
            raise ValueError(f"class_prior must be finite and non-negative, got {prior}.")
        with np.errstate(divide="ignore"):
            return np.log(prior)

    def _model_state(self) -> tuple[dict[str, Any], _modelfile.Tensors]:
        present, absent, model_prior, threshold = self._model.arrays()
        tensors = {
            "present": present,
            "model_prior": model_prior,
            "class_count": self.class_count_,
            "feature_count": self.feature_count_,
            "class_log_prior": self.class_log_prior_,
        }
        if absent is not None:
            tensors["absent"] = absent
        attributes: dict[str, Any] = {"threshold": threshold}
        self._pack_classes(attributes, tensors)
        return attributes, tensors

    def _restore_model(self, attributes: dict[str, Any], tensors: _modelfile.Tensors) -> None:
        present = tensors["present"]
        model = _core.DiscreteModel.from_arrays(
            present, tensors.get("absent"), tensors["model_prior"], attributes["threshold"]
        )
        k = len(present)
        if present.shape[1] != self.n_features_in_:
            raise ValueError("present and n_features_in_ do not fit together")
        _modelfile.check_floats("class_count", tensors["class_count"], (k,))
        _modelfile.check_floats("feature_count", tensors["feature_count"], present.shape)
        log_prior = tensors["class_log_prior"]
        if log_prior.shape != (k,) or log_prior.dtype != np.float64 or np.isnan(log_prior).any():
            raise ValueError(f"class_log_prior is not an array of {k} logarithms")
        self._unpack_classes(attributes, tensors, k)
        self._set_model(model, tensors["class_count"], tensors["feature_count"], log_prior)
