"""Complement naive Bayes."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ironlearn import _core
from ironlearn._parameters import BOOLEAN, Table
from ironlearn.naive_bayes._discrete import DiscreteNB, Estimates


class ComplementNB(DiscreteNB):
    r"""Naive Bayes for counts that learns each class from the rows of all others.

    The weight of feature :math:`j` in class :math:`c` is the negative logarithm of
    :math:`(N_{\bar c j} + \alpha_j) / (N_{\bar c} + \sum_j \alpha_j)`, with the weighted
    sums :math:`N_{\bar c}` over all classes but :math:`c`. That suits classes of very
    different sizes better than :class:`MultinomialNB`.

    Parameters
    ----------
    alpha : float or array-like of shape (n_features,), default=1.0
        Additive (Lidstone) smoothing; 0 is none.
    force_alpha : bool, default=True
        If false, an `alpha` below 1e-10 is raised to that, with a warning.
    fit_prior : bool, default=True
        Learn class priors; if false they are uniform. Used with a single class only.
    class_prior : array-like of shape (n_classes,), default=None
        Prior probabilities of the classes. Used with a single class only.
    norm : bool, default=False
        Divide the weights of each class by their sum.
    n_jobs : int, default=None
        Threads; ``None`` uses every processor this process may use. Results do not depend
        on it.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The class labels.
    class_count_ : ndarray of shape (n_classes,)
        Sum of the weights of each class's rows.
    class_log_prior_ : ndarray of shape (n_classes,)
        Logarithm of each class's probability.
    feature_count_ : ndarray of shape (n_classes, n_features)
        Weighted sum of each feature in each class.
    feature_log_prob_ : ndarray of shape (n_classes, n_features)
        Weight of each feature in each class. Read-only.
    feature_all_ : ndarray of shape (n_features,)
        Weighted sum of each feature in all classes.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, where X had string column names.

    Notes
    -----
    Dense float64, float32, int64 and uint8 arrays and CSR matrices of the first three are
    used as they are; sums are in double precision. Without smoothing the weight of a feature
    that no other class has is infinite; with `norm` it is the limit for small `alpha`, where
    such features share the weight 1.

    The model is that of Rennie et al., "Tackling the poor assumptions of naive Bayes text
    classifiers" (ICML 2003). As in scikit-learn, `norm` divides by the signed sum, which
    makes the weights of every class positive, and lengths of rows are left alone.

    Examples
    --------
    >>> import numpy as np
    >>> from ironlearn.naive_bayes import ComplementNB
    >>> X = np.array([[2, 1, 0], [3, 0, 0], [0, 1, 4], [1, 0, 3]])
    >>> y = np.array([0, 0, 1, 1])
    >>> ComplementNB().fit(X, y).predict(np.array([[1, 1, 0], [0, 0, 2]]))
    array([0, 1])
    """

    feature_all_: NDArray[np.float64]

    _parameters: ClassVar[Table] = {**DiscreteNB._parameters, "norm": (BOOLEAN,)}

    def __init__(
        self,
        *,
        alpha: float | ArrayLike = 1.0,
        force_alpha: bool = True,
        fit_prior: bool = True,
        class_prior: ArrayLike | None = None,
        norm: bool = False,
        n_jobs: int | None = None,
    ) -> None:
        self.alpha = alpha
        self.force_alpha = force_alpha
        self.fit_prior = fit_prior
        self.class_prior = class_prior
        self.norm = norm
        self.n_jobs = n_jobs

    def _estimates(
        self,
        alpha: float | NDArray[np.float64],
        class_count: NDArray[np.float64],
        feature_count: NDArray[np.float64],
    ) -> Estimates:
        # Sums of the classes before and after each one: subtracting a class from the sum of
        # all would leave a rest of rounding where no other class has the feature.
        others = np.zeros_like(feature_count)
        others[1:] = np.cumsum(feature_count[:-1], axis=0)
        others[:-1] += np.cumsum(feature_count[:0:-1], axis=0)[::-1]
        others += alpha
        total = others.sum(axis=1, keepdims=True)
        weights = -np.log(others / np.where(total > 0, total, 1.0))
        if self.norm:
            summed = weights.sum(axis=1, keepdims=True)
            infinite = np.isinf(weights)
            share = infinite / np.maximum(infinite.sum(axis=1, keepdims=True), 1)
            # With one feature every weight is zero, and so is their sum.
            normed = weights / np.where(summed == 0, 1.0, summed)
            weights = np.where(np.isinf(summed), share, normed)
        return weights, None

    def _model_prior(self, log_prior: NDArray[np.float64]) -> NDArray[np.float64]:
        return log_prior if len(log_prior) == 1 else np.zeros_like(log_prior)

    def _set_model(
        self,
        model: _core.DiscreteModel,
        class_count: NDArray[np.float64],
        feature_count: NDArray[np.float64],
        log_prior: NDArray[np.float64],
    ) -> None:
        super()._set_model(model, class_count, feature_count, log_prior)
        self.feature_all_ = feature_count.sum(axis=0)
