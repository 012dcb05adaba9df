"""Gaussian naive Bayes."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ironlearn import _core, _csr, _modelfile
from ironlearn._parameters import ARRAY_LIKE, N_JOBS, NONE, real
from ironlearn.naive_bayes._rows import SparseNaiveBayes


class GaussianNB(SparseNaiveBayes):
    r"""Naive Bayes with a normal distribution for each feature in each class.

    The joint log-probability of class :math:`c` and row :math:`x` is
    :math:`\log P(c) - \frac12 \sum_j [\log 2\pi\sigma_{cj}^2 +
    (x_j - \theta_{cj})^2 / \sigma_{cj}^2]`.

    Parameters
    ----------
    priors : array-like of shape (n_classes,), default=None
        Prior probabilities of the classes; ``None`` takes their frequencies.
    var_smoothing : float, default=1e-9
        This portion of the largest variance of all features is added to every variance.
    n_jobs : int, default=None
        Threads; ``None`` uses every processor this process may use. Results do not depend
        on it.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The class labels.
    class_count_ : ndarray of shape (n_classes,)
        Sum of the weights of each class's rows.
    class_prior_ : ndarray of shape (n_classes,)
        Probability of each class.
    theta_ : ndarray of shape (n_classes, n_features)
        Mean of each feature in each class. Read-only.
    var_ : ndarray of shape (n_classes, n_features)
        Smoothed variance of each feature in each class. Read-only.
    epsilon_ : float
        The amount added to the variances.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, where X had string column names.

    Notes
    -----
    Means and variances are computed in one pass over X, in double precision for either
    dtype, and merged by the pairwise update of Chan, Golub and LeVeque (1979). CSR matrices
    are used as they are, in fitting and in prediction; what they do not store is zero.

    Examples
    --------
    >>> import numpy as np
    >>> from ironlearn.naive_bayes import GaussianNB
    >>> X = np.array([[-1.0, -1], [-2, -1], [-3, -2], [1, 1], [2, 1], [3, 2]])
    >>> y = np.array([1, 1, 1, 2, 2, 2])
    >>> GaussianNB().fit(X, y).predict([[-0.8, -1]])
    array([1])
    """

    class_count_: NDArray[np.float64]
    class_prior_: NDArray[np.float64]
    theta_: NDArray[np.float64]
    var_: NDArray[np.float64]
    epsilon_: float

    _parameters = {
        "priors": (ARRAY_LIKE, NONE),
        "var_smoothing": (real(0),),
        "n_jobs": N_JOBS,
    }

    def __init__(
        self,
        *,
        priors: ArrayLike | None = None,
        var_smoothing: float = 1e-9,
        n_jobs: int | None = None,
    ) -> None:
        self.priors = priors
        self.var_smoothing = var_smoothing
        self.n_jobs = n_jobs

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
        self : GaussianNB
            The fitted estimator.
        """
        return self._update(X, y, None, sample_weight, first=True, whole=True)

    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> Self:
        """Update the moments by further rows.

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
        self : GaussianNB
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
        k = len(labels)
        priors = self._checked_priors(k)
        new, largest = _core.gaussian_nb_moments(
            _csr.rows(X), codes, weights, n_classes=k, n_threads=self._n_threads()
        )
        epsilon = float(self.var_smoothing) * largest
        if not first:
            # The batch's own epsilon is taken off and put back, as scikit-learn does.
            count = self.class_count_
            m2 = (self.var_ - epsilon) * count[:, None]
            new = _core.gaussian_nb_merge((count, self.theta_, np.ascontiguousarray(m2)), new)
        count, mean, m2 = new
        with np.errstate(invalid="ignore", divide="ignore"):
            var = np.where(count[:, None] > 0, m2 / count[:, None], 0.0) + epsilon
        if not (np.isfinite(mean).all() and np.isfinite(var).all()):
            raise ValueError(
                "Input X contains values so large that their variance overflows; scale X down."
            )
        prior = count / count.sum() if priors is None else priors
        with np.errstate(divide="ignore"):
            log_prior = np.log(prior)
        self._model = _core.GaussianModel.from_arrays(mean, np.maximum(var, 0.0), log_prior)
        self.classes_ = labels
        self.class_count_ = count
        self.class_prior_ = prior
        self.epsilon_ = epsilon
        self.theta_, self.var_, _ = self._model.arrays()
        return self

    def _checked_priors(self, k: int) -> NDArray[np.float64] | None:
        if self.priors is None:
            return None
        priors = np.array(self.priors, dtype=np.float64)
        if priors.shape != (k,):
            raise ValueError(
                f"Number of priors must match number of classes: got {priors.size} for {k}."
            )
        if not np.isclose(priors.sum(), 1.0):
            raise ValueError(f"The sum of the priors should be 1, got {priors.sum()}.")
        if (priors < 0).any():
            raise ValueError("Priors must be non-negative.")
        return priors

    def _model_state(self) -> tuple[dict[str, Any], _modelfile.Tensors]:
        theta, var, log_prior = self._model.arrays()
        tensors = {
            "theta": theta,
            "var": var,
            "log_prior": log_prior,
            "class_count": self.class_count_,
        }
        attributes: dict[str, Any] = {"epsilon_": self.epsilon_}
        self._pack_classes(attributes, tensors)
        return attributes, tensors

    def _restore_model(self, attributes: dict[str, Any], tensors: _modelfile.Tensors) -> None:
        model = _core.GaussianModel.from_arrays(
            tensors["theta"], tensors["var"], tensors["log_prior"]
        )
        theta, var, log_prior = model.arrays()
        if theta.shape[1] != self.n_features_in_ or tensors["class_count"].shape != (len(theta),):
            raise ValueError("theta, class_count and n_features_in_ do not fit together")
        self._unpack_classes(attributes, tensors, len(theta))
        self.class_count_ = tensors["class_count"]
        self.class_prior_ = np.exp(log_prior)
        self.epsilon_ = float(attributes["epsilon_"])
        self.theta_, self.var_ = theta, var
        self._model = model
