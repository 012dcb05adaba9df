"""Bernoulli naive Bayes."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ironlearn._parameters import NONE, Table, real
from ironlearn.naive_bayes._discrete import DiscreteNB, Estimates


class BernoulliNB(DiscreteNB):
    r"""Naive Bayes for features that are present or absent.

    The probability that feature :math:`j` is present in class :math:`c` is :math:`p_{cj} =
    (N_{cj} + \alpha) / (N_c + 2 \alpha)`, with the weighted counts :math:`N`. The joint
    log-probability of a row adds :math:`\log p_{cj}` for its present features and
    :math:`\log (1 - p_{cj})` for the absent ones.

    Parameters
    ----------
    alpha : float or array-like of shape (n_features,), default=1.0
        Additive (Lidstone) smoothing; 0 is none.
    force_alpha : bool, default=True
        If false, an `alpha` below 1e-10 is raised to that, with a warning.
    binarize : float or None, default=0.0
        A feature is present where its value is above this; ``None`` takes X as zeros and ones.
    fit_prior : bool, default=True
        Learn class priors; if false they are uniform.
    class_prior : array-like of shape (n_classes,), default=None
        Prior probabilities of the classes, taken as they are.
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
        Weighted count of each feature in each class.
    feature_log_prob_ : ndarray of shape (n_classes, n_features)
        Logarithm of each feature's smoothed probability in each class. Read-only.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, where X had string column names.

    Notes
    -----
    X is compared with the threshold while it is read: no copy is made. Dense float64,
    float32, int64 and uint8 arrays and CSR matrices of the first three are used as they are.
    Without smoothing, a class that never had a feature (or was never without it) is
    impossible where that feature is present (absent).

    The model is that of McCallum and Nigam, "A comparison of event models for naive Bayes text
    classification" (1998).

    Examples
    --------
    >>> import numpy as np
    >>> from ironlearn.naive_bayes import BernoulliNB
    >>> X = np.array([[1, 1, 0], [1, 0, 0], [0, 1, 1], [0, 0, 1]])
    >>> y = np.array([0, 0, 1, 1])
    >>> BernoulliNB().fit(X, y).predict(np.array([[1, 1, 0], [0, 0, 1]]))
    array([0, 1])
    """

    binarize: float | None

    _whole_elements: ClassVar[bool] = True
    _non_negative: ClassVar[bool] = False
    _parameters: ClassVar[Table] = {
        **DiscreteNB._parameters,
        "binarize": (real(0), NONE),
    }

    def __init__(
        self,
        *,
        alpha: float | ArrayLike = 1.0,
        force_alpha: bool = True,
        binarize: float | None = 0.0,
        fit_prior: bool = True,
        class_prior: ArrayLike | None = None,
        n_jobs: int | None = None,
    ) -> None:
        self.alpha = alpha
        self.force_alpha = force_alpha
        self.binarize = binarize
        self.fit_prior = fit_prior
        self.class_prior = class_prior
        self.n_jobs = n_jobs

    def _threshold(self) -> float | None:
        return None if self.binarize is None else float(self.binarize)

    def _estimates(
        self,
        alpha: float | NDArray[np.float64],
        class_count: NDArray[np.float64],
        feature_count: NDArray[np.float64],
    ) -> Estimates:
        whole = self._logarithms_of_whole_counts(alpha, class_count, feature_count)
        if whole is not None:
            return whole
        smoothed = feature_count + alpha
        total = class_count[:, None] + 2.0 * np.asarray(alpha)
        # Not total - smoothed: a small alpha would drown in the rounding of the counts.
        rest = class_count[:, None] - feature_count
        if (rest < 0).any():
            if self.binarize is None and (rest < -1e-9 * class_count[:, None]).any():
                raise ValueError(
                    "With binarize=None, X must hold zeros and ones, but the values of a "
                    "feature add up to more than the rows of a class; set binarize."
                )
            rest = np.maximum(rest, 0.0)
        rest += alpha
        present, absent, log_total = np.log(smoothed), np.log(rest), np.log(total)
        present -= log_total
        absent -= log_total
        # A class without rows and smoothing: nothing is ever present.
        empty = np.broadcast_to(total == 0, present.shape)
        if empty.any():
            present[empty], absent[empty] = -np.inf, 0.0
        return present, absent

    def _logarithms_of_whole_counts(
        self,
        alpha: float | NDArray[np.float64],
        class_count: NDArray[np.float64],
        feature_count: NDArray[np.float64],
    ) -> Estimates | None:
        """Return the estimates from a table of logarithms, where all counts are whole numbers.

        There are far fewer counts than features of texts, and a logarithm costs ten look-ups.
        """
        if isinstance(alpha, np.ndarray) or alpha == 0 or self.binarize is None:
            return None
        most = class_count.max(initial=0.0)
        if not most < min(1 << 30, feature_count.size):
            return None
        counts = feature_count.astype(np.int32)
        if (
            not (class_count == class_count.round()).all()
            or not (counts == feature_count).all()
            or (counts > class_count[:, None]).any()
        ):
            return None
        present, absent = np.empty_like(feature_count), np.empty_like(feature_count)
        for c, total in enumerate(class_count):
            n = int(total)
            table = np.log(np.arange(n + 1) + alpha) - np.log(total + 2.0 * alpha)
            np.take(table, counts[c], out=present[c], mode="clip")
            np.take(table[::-1], counts[c], out=absent[c], mode="clip")
        return present, absent
