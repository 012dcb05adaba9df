"""Linear support vector classification."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model._base import SparseCoefMixin
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_consistent_length, column_or_1d

from ironlearn import _core, _csr, _modelfile
from ironlearn._parameters import (
    BOOLEAN,
    MAPPING,
    N_JOBS,
    NONE,
    RANDOM_STATE,
    VERBOSE,
    integer,
    options,
    real,
)
from ironlearn.base import Classifier, check_weights, encode_classes
from ironlearn.svm._linear import LinearBase


class LinearSVC(SparseCoefMixin, LinearBase, Classifier):
    r"""Linear support vector classification with LIBLINEAR's objectives.

    For each class against the rest, minimises :math:`\frac12 \|w\|^2 + C \sum_i s_i
    \max(0, 1 - y_i w^T x_i)^p` with :math:`p = 2` (squared hinge) or 1 (hinge), or with
    :math:`\|w\|_1` in place of :math:`\frac12 \|w\|^2`; or the joint objective of Crammer and
    Singer. The intercept is the weight of a further feature with the constant value
    ``intercept_scaling``, so it is penalised too.

    Parameters
    ----------
    penalty : {"l1", "l2"}, default="l2"
        The penalty. "l1" gives sparse coefficients; it needs the squared hinge loss.
    loss : {"hinge", "squared_hinge"}, default="squared_hinge"
        The loss.
    dual : "auto" or bool, default="auto"
        Which formulation may be solved. "l1" needs the primal one, "hinge" with "l2" the
        dual one; for "squared_hinge" with "l2" both have the same solution, and the solver
        follows the data's shape: an exact Newton method unless X is very wide, and where it
        is, dual coordinate descent or, with ``dual=False``, Newton steps by conjugate
        gradients. "auto" takes the dual if there are fewer rows than features.
    tol : float, default=1e-4
        Accuracy of the objective relative to the optimum: fitting ends once a bound of the
        distance is below it.
    C : float, default=1.0
        Weight of the loss; the smaller, the stronger the penalty.
    multi_class : {"ovr", "crammer_singer"}, default="ovr"
        One classifier for each class against the rest, or one joint problem. With
        "crammer_singer", `loss`, `penalty` and `dual` are ignored.
    fit_intercept : bool, default=True
        Whether there is an intercept.
    intercept_scaling : float, default=1
        Value of the constant feature; the larger, the less the intercept is penalised.
    class_weight : dict or "balanced", default=None
        Factors of C for the classes. With more than two classes and "ovr", the factor of a
        class applies where it is the positive one, as in LIBLINEAR.
    verbose : int, default=0
        Print a line for each solved problem.
    random_state : int, RandomState instance or None, default=None
        Order in which coordinate descent visits rows or features; Newton's method uses none.
    max_iter : int, default=1000
        Most Newton steps, or passes over the data in coordinate descent.
    n_jobs : int, default=None
        Threads; ``None`` uses every processor this process may use. Results do not depend
        on it.
    scale : bool, default=False
        Standardise the features for the fit and fold the scaling into `coef_` and
        `intercept_`. Sparse data, and data fitted without an intercept, is not centred.
    warm_start : bool, default=False
        Begin the next fit where the last one ended: at its weights and, where it had the same
        number of rows, at its dual variables. The optimum stays the same and is reached sooner,
        for another `C` say; `linear_svm_path` does so for several.

    Attributes
    ----------
    coef_ : ndarray of shape (1, n_features) or (n_classes, n_features)
        Weights of the features; one row for two classes. Read-only.
    intercept_ : ndarray of shape (1,) or (n_classes,)
        Intercepts. Read-only.
    classes_ : ndarray of shape (n_classes,)
        The class labels.
    n_iter_ : int
        Most steps or passes that a class needed.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, where X had string column names.

    Notes
    -----
    Dense float32 and float64 data and CSR matrices of both are used as they are; sums are in
    double precision. The objectives are those of LIBLINEAR [1]_, so the optimum is the same,
    with the intercept penalised as there: raise `intercept_scaling`, or use ``scale=True``
    with centred features, where that hurts. What differs from LIBLINEAR:

    - `tol` bounds the distance of the objective from its optimum, relative to the objective
      (LIBLINEAR: a violation of the optimality conditions, whose scale depends on the data).
      No `ConvergenceWarning` means that the bound was reached.
    - `n_iter_` counts Newton steps and passes of coordinate descent together, the most that
      one class needed; numbers are not comparable with LIBLINEAR's.
    - Classes, and blocks of rows, are worked on in parallel.

    Which solver runs:

    ==================  ==============================================================
    objective           solver
    ==================  ==============================================================
    squared hinge, L2   Finite Newton method with exact line search [2]_: with the exact
                        Hessian up to about 2,000 features, shared by the classes and
                        corrected by the rows that cross the margin; for wider or sparse
                        data by conjugate gradients, or by dual coordinate descent [3]_
                        where `dual` is true or "auto" finds fewer rows than features.
    hinge, L2           Dual coordinate descent [3]_; where that does not end soon,
                        semismooth Newton steps on the augmented Lagrangian [4]_.
    squared hinge, L1   Coordinate descent over features with shrinking [5]_, with Newton
                        steps over the features in use in between [6]_.
    Crammer-Singer      The joint problem [7]_ by the sequential dual method [8]_, ended by
                        the augmented Lagrangian as for the hinge loss.
    ==================  ==============================================================

    References
    ----------
    .. [1] Fan, Chang, Hsieh, Wang and Lin, "LIBLINEAR: a library for large linear
       classification", JMLR 2008.
    .. [2] Keerthi and DeCoste, "A modified finite Newton method for fast solution of large
       scale linear SVMs", JMLR 2005.
    .. [3] Hsieh, Chang, Lin, Keerthi and Sundararajan, "A dual coordinate descent method for
       large-scale linear SVM", ICML 2008.
    .. [4] Yan and Li, "An efficient augmented Lagrangian method for support vector machine",
       Optimization Methods and Software 2020.
    .. [5] Yuan, Chang, Hsieh and Lin, "A comparison of optimization methods and software for
       large-scale L1-regularized linear classification", JMLR 2010.
    .. [6] Yuan, Ho and Lin, "An improved GLMNET for L1-regularized logistic regression",
       JMLR 2012.
    .. [7] Crammer and Singer, "On the algorithmic implementation of multiclass kernel-based
       vector machines", JMLR 2001.
    .. [8] Keerthi, Sundararajan, Chang, Hsieh and Lin, "A sequential dual method for large
       scale multi-class linear SVMs", KDD 2008.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from ironlearn.svm import LinearSVC
    >>> X, y = load_iris(return_X_y=True)
    >>> model = LinearSVC().fit(X, y)
    >>> model.predict(X[:2])
    array([0, 0])
    >>> model.coef_.shape
    (3, 4)
    """

    _parameters = {
        "penalty": (options("l1", "l2"),),
        "loss": (options("hinge", "squared_hinge"),),
        "dual": (BOOLEAN, options("auto")),
        "tol": (real(0, closed="neither"),),
        "C": (real(0, closed="neither"),),
        "multi_class": (options("ovr", "crammer_singer"),),
        "fit_intercept": (BOOLEAN,),
        "intercept_scaling": (real(0, closed="neither"),),
        "class_weight": (options("balanced"), MAPPING, NONE),
        "verbose": (VERBOSE,),
        "random_state": RANDOM_STATE,
        "max_iter": (integer(0),),
        "n_jobs": N_JOBS,
        "scale": (BOOLEAN,),
        "warm_start": (BOOLEAN,),
    }

    def __init__(
        self,
        penalty: str = "l2",
        loss: str = "squared_hinge",
        *,
        dual: str | bool = "auto",
        tol: float = 1e-4,
        C: float = 1.0,
        multi_class: str = "ovr",
        fit_intercept: bool = True,
        intercept_scaling: float = 1,
        class_weight: dict[Any, float] | str | None = None,
        verbose: int = 0,
        random_state: int | np.random.RandomState | None = None,
        max_iter: int = 1000,
        n_jobs: int | None = None,
        scale: bool = False,
        warm_start: bool = False,
    ) -> None:
        self.penalty = penalty
        self.loss = loss
        self.dual = dual
        self.tol = tol
        self.C = C
        self.multi_class = multi_class
        self.fit_intercept = fit_intercept
        self.intercept_scaling = intercept_scaling
        self.class_weight = class_weight
        self.verbose = verbose
        self.random_state = random_state
        self.max_iter = max_iter
        self.n_jobs = n_jobs
        self.scale = scale
        self.warm_start = warm_start

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Fit to rows X with labels y.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Finite numbers.
        y : array-like of shape (n_samples,)
            Class labels of at least two classes.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative factors of C for the rows.

        Returns
        -------
        self : LinearSVC
            The fitted estimator.
        """
        self._validate_parameters()
        if y is None:
            raise ValueError(
                f"This {type(self).__name__} estimator requires y to be passed, but the target "
                "y is None."
            )
        X = self._fit_input(X)
        objective = self._objective(X.shape)
        y = column_or_1d(y, warn=True)
        check_consistent_length(X, y)
        check_classification_targets(y)
        weights = check_weights(sample_weight, X.shape[0])
        labels, codes = encode_classes(y)
        _check_classes(labels, codes, weights)
        if self.class_weight is None:
            class_weight = np.ones(len(labels))
        else:
            class_weight = compute_class_weight(
                self.class_weight, classes=labels, y=y, sample_weight=weights
            ).astype(np.float64)
        C = float(self.C)
        cost = np.full(X.shape[0], C) if weights is None else C * weights
        one = len(labels) == 2
        joint = objective == "crammer_singer"
        coef, intercept = self._solve(
            _core.linear_svm_fit,
            X,
            (codes, cost, class_weight),
            weights,
            family=objective.removesuffix("_dual"),
            vectors=1 if one and not joint else len(labels),
            objective=objective,
        )
        if joint and one:
            coef, intercept = coef[1:] - coef[:1], intercept[1:] - intercept[:1]
        self._set_model(_core.LinearModel.from_arrays(coef, intercept))
        self.classes_ = labels
        return self

    def _objective(self, shape: tuple[int, int]) -> str:
        """Return the native name of the objective, or raise for a combination without one."""
        if self.multi_class == "crammer_singer":
            return "crammer_singer"
        given = f"penalty={self.penalty!r}, loss={self.loss!r}, dual={self.dual!r}"
        if self.penalty == "l1":
            if self.loss == "hinge":
                raise ValueError(
                    f"The combination of penalty='l1' and loss='hinge' is not supported: {given}. "
                    "Use loss='squared_hinge'."
                )
            if self.dual is not False and self.dual != "auto" and self.dual:
                raise ValueError(
                    "The combination of penalty='l1' and loss='squared_hinge' is not supported "
                    f"when dual=True: {given}. Use dual=False."
                )
            return "l1_squared_hinge"
        if self.loss == "hinge":
            if not self.dual:
                raise ValueError(
                    "The combination of penalty='l2' and loss='hinge' is not supported when "
                    f"dual=False: {given}. Use dual=True."
                )
            return "hinge"
        dual = shape[0] < shape[1] if self.dual == "auto" else bool(self.dual)
        return "squared_hinge_dual" if dual else "squared_hinge"

    def decision_function(self, X: Any) -> NDArray[np.float64]:
        """Return the signed score of each row.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        scores : ndarray of shape (n_samples,) or (n_samples, n_classes)
            For two classes, above zero for the second one.
        """
        scores = self._scores(X)
        return scores[:, 0] if scores.shape[1] == 1 else scores

    def predict(self, X: Any) -> NDArray[Any]:
        """Return the class of each row of X (n_samples, n_features)."""
        rows = _csr.rows(self._predict_input(X))
        return self.classes_[self._model.predict_codes(rows, n_threads=self._n_threads())]

    def _model_state(self) -> tuple[dict[str, Any], _modelfile.Tensors]:
        attributes, tensors = super()._model_state()
        self._pack_classes(attributes, tensors)
        return attributes, tensors

    def _restore_model(self, attributes: dict[str, Any], tensors: _modelfile.Tensors) -> None:
        super()._restore_model(attributes, tensors)
        rows = len(self.intercept_)
        self._unpack_classes(attributes, tensors, 2 if rows == 1 else rows)


def _check_classes(
    labels: NDArray[Any], codes: NDArray[np.uint32], weights: NDArray[np.float64] | None
) -> None:
    if len(labels) < 2:
        raise ValueError(
            "LinearSVC needs samples of at least 2 classes in the data, but y contains only one "
            f"class: {labels[0]!r}"
        )
    if weights is not None and len(np.unique(codes[weights > 0])) < 2:
        raise ValueError(
            "LinearSVC needs samples of at least 2 classes with a positive sample_weight; all "
            "rows with one belong to the same class."
        )
