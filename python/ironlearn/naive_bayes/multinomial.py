"""Multinomial naive Bayes."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ironlearn.naive_bayes._discrete import DiscreteNB, Estimates


class MultinomialNB(DiscreteNB):
    r"""Naive Bayes for counts, such as those of words in texts.

    The probability of feature :math:`j` in class :math:`c` is :math:`(N_{cj} + \alpha) /
    (N_c + \alpha d)`, with the weighted sums :math:`N` of the features; the joint
    log-probability of a row adds their logarithms, each times the row's value. Fractions
    (tf-idf) work as well as counts.

    Parameters
    ----------
    alpha : float or array-like of shape (n_features,), default=1.0
        Additive (Lidstone) smoothing; 0 is none.
    force_alpha : bool, default=True
        If false, an `alpha` below 1e-10 is raised to that, with a warning.
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
        Weighted sum of each feature in each class.
    feature_log_prob_ : ndarray of shape (n_classes, n_features)
        Logarithm of each feature's smoothed share in each class. Read-only.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, where X had string column names.

    Notes
    -----
    Dense float64, float32, int64 and uint8 arrays and CSR matrices of the first three are
    used as they are; sums are in double precision. Without smoothing a feature that a class
    never had makes that class impossible where it occurs, in dense rows as in sparse ones.

    The model is that of McCallum and Nigam, "A comparison of event models for naive Bayes text
    classification" (1998).

    Examples
    --------
    >>> import numpy as np
    >>> from ironlearn.naive_bayes import MultinomialNB
    >>> X = np.array([[2, 1, 0], [3, 0, 0], [0, 1, 4], [1, 0, 3]])
    >>> y = np.array(["sport", "sport", "music", "music"])
    >>> MultinomialNB().fit(X, y).predict(np.array([[1, 1, 0], [0, 0, 2]]))
    array(['sport', 'music'], dtype='<U5')
    """

    def __init__(
        self,
        *,
        alpha: float | ArrayLike = 1.0,
        force_alpha: bool = True,
        fit_prior: bool = True,
        class_prior: ArrayLike | None = None,
        n_jobs: int | None = None,
    ) -> None:
        self.alpha = alpha
        self.force_alpha = force_alpha
        self.fit_prior = fit_prior
        self.class_prior = class_prior
        self.n_jobs = n_jobs

    def _estimates(
        self,
        alpha: float | NDArray[np.float64],
        class_count: NDArray[np.float64],
        feature_count: NDArray[np.float64],
    ) -> Estimates:
        smoothed = feature_count + alpha
        total = smoothed.sum(axis=1, keepdims=True)
        present = np.log(smoothed)
        present -= np.log(total)
        if not total.all():
            # A class without any count and smoothing explains nothing.
            present[total[:, 0] == 0] = -np.inf
        return present, None
