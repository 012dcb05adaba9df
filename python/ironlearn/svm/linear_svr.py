"""Linear support vector regression."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import RegressorMixin
from sklearn.utils.validation import check_array, check_consistent_length, column_or_1d

from ironlearn import _core
from ironlearn._parameters import BOOLEAN, N_JOBS, RANDOM_STATE, VERBOSE, integer, options, real
from ironlearn.base import check_weights
from ironlearn.svm._linear import LinearBase


class LinearSVR(RegressorMixin, LinearBase):
    r"""Linear support vector regression with LIBLINEAR's objectives.

    Minimises :math:`\frac12 \|w\|^2 + C \sum_i s_i \max(0, |y_i - w^T x_i| - \epsilon)^p` with
    :math:`p = 1` (epsilon-insensitive) or 2 (squared). The intercept is the weight of a further
    feature with the constant value ``intercept_scaling``, so it is penalised too.

    Parameters
    ----------
    epsilon : float, default=0.0
        Deviations up to it cost nothing; in the unit of y, not negative.
    tol : float, default=1e-4
        Accuracy of the objective relative to the optimum: fitting ends once a bound of the
        distance is below it.
    C : float, default=1.0
        Weight of the loss; the smaller, the stronger the penalty.
    loss : {"epsilon_insensitive", "squared_epsilon_insensitive"}, \
            default="epsilon_insensitive"
        The loss.
    fit_intercept : bool, default=True
        Whether there is an intercept.
    intercept_scaling : float, default=1.0
        Value of the constant feature; the larger, the less the intercept is penalised.
    dual : "auto" or bool, default="auto"
        Which formulation may be solved. "epsilon_insensitive" needs the dual one; for the
        squared loss both have the same solution, and the solver follows the data's shape: an
        exact Newton method unless X is very wide, and where it is, dual coordinate descent or,
        with ``dual=False``, Newton steps by conjugate gradients. "auto" takes the dual if there
        are fewer rows than features.
    verbose : int, default=0
        Print a line for the solved problem.
    random_state : int, RandomState instance or None, default=None
        Order in which coordinate descent visits rows; Newton's method uses none.
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
    coef_ : ndarray of shape (n_features,)
        Weights of the features. Read-only.
    intercept_ : ndarray of shape (1,)
        The intercept. Read-only.
    n_iter_ : int
        Steps or passes that were needed.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, where X had string column names.

    Notes
    -----
    Dense float32 and float64 data and CSR matrices of both are used as they are; sums are in
    double precision. The objectives are those of LIBLINEAR [1]_, so the optimum is the same,
    with the intercept penalised as there: raise `intercept_scaling`, or use ``scale=True``
    with centred features, where that hurts. `tol` and `n_iter_` differ as in `LinearSVC`: no
    `ConvergenceWarning` means that the objective is within `tol` of the optimum, relatively.

    The squared loss is solved by the finite Newton method [2]_, or by dual coordinate descent
    [3]_ where the data is wide; the other one by dual coordinate descent and, where that does
    not end soon, by semismooth Newton steps on the augmented Lagrangian [4]_.

    References
    ----------
    .. [1] Fan, Chang, Hsieh, Wang and Lin, "LIBLINEAR: a library for large linear
       classification", JMLR 2008.
    .. [2] Keerthi and DeCoste, "A modified finite Newton method for fast solution of large
       scale linear SVMs", JMLR 2005.
    .. [3] Ho and Lin, "Large-scale linear support vector regression", JMLR 2012.
    .. [4] Yan and Li, "An efficient augmented Lagrangian method for support vector machine",
       Optimization Methods and Software 2020.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from ironlearn.svm import LinearSVR
    >>> X, y = load_diabetes(return_X_y=True)
    >>> model = LinearSVR(C=100.0).fit(X, y)
    >>> model.coef_.shape
    (10,)
    >>> round(model.score(X, y), 2)
    0.48
    """

    _parameters = {
        "epsilon": (real(0),),
        "tol": (real(0, closed="neither"),),
        "C": (real(0, closed="neither"),),
        "loss": (options("epsilon_insensitive", "squared_epsilon_insensitive"),),
        "fit_intercept": (BOOLEAN,),
        "intercept_scaling": (real(0, closed="neither"),),
        "dual": (BOOLEAN, options("auto")),
        "verbose": (VERBOSE,),
        "random_state": RANDOM_STATE,
        "max_iter": (integer(0),),
        "n_jobs": N_JOBS,
        "scale": (BOOLEAN,),
        "warm_start": (BOOLEAN,),
    }

    def __init__(
        self,
        *,
        epsilon: float = 0.0,
        tol: float = 1e-4,
        C: float = 1.0,
        loss: str = "epsilon_insensitive",
        fit_intercept: bool = True,
        intercept_scaling: float = 1.0,
        dual: str | bool = "auto",
        verbose: int = 0,
        random_state: int | np.random.RandomState | None = None,
        max_iter: int = 1000,
        n_jobs: int | None = None,
        scale: bool = False,
        warm_start: bool = False,
    ) -> None:
        self.epsilon = epsilon
        self.tol = tol
        self.C = C
        self.loss = loss
        self.fit_intercept = fit_intercept
        self.intercept_scaling = intercept_scaling
        self.dual = dual
        self.verbose = verbose
        self.random_state = random_state
        self.max_iter = max_iter
        self.n_jobs = n_jobs
        self.scale = scale
        self.warm_start = warm_start

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Fit to rows X with targets y.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Finite numbers.
        y : array-like of shape (n_samples,)
            Finite numbers.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative factors of C for the rows.

        Returns
        -------
        self : LinearSVR
            The fitted estimator.
        """
        self._validate_parameters()
        if y is None:
            raise ValueError(
                f"This {type(self).__name__} estimator requires y to be passed, but the target "
                "y is None."
            )
        X = self._fit_input(X)
        y = column_or_1d(y, warn=True)
        y = check_array(y, ensure_2d=False, dtype=np.float64, order="C", input_name="y")
        check_consistent_length(X, y)
        weights = check_weights(sample_weight, X.shape[0])
        C = float(self.C)
        cost = np.full(X.shape[0], C) if weights is None else C * weights
        coef, intercept = self._solve(
            _core.linear_svr_fit,
            X,
            (y, cost),
            weights,
            family=self.loss,
            vectors=1,
            objective=self._objective(X.shape),
            epsilon=float(self.epsilon),
        )
        self._set_model(_core.LinearModel.from_arrays(coef, intercept))
        return self

    def _objective(self, shape: tuple[int, int]) -> str:
        """Return the native name of the objective, or raise for a combination without one."""
        if self.loss == "epsilon_insensitive":
            if not self.dual:
                raise ValueError(
                    "The combination of penalty='l2' and loss='epsilon_insensitive' is not "
                    f"supported when dual=False: loss={self.loss!r}, dual={self.dual!r}. Use "
                    "dual=True."
                )
            return self.loss
        dual = shape[0] < shape[1] if self.dual == "auto" else bool(self.dual)
        return self.loss + "_dual" * dual

    def _set_model(self, model: _core.LinearModel) -> None:
        super()._set_model(model)
        self.coef_ = self.coef_[0]

    def predict(self, X: Any) -> NDArray[np.float64]:
        """Return the target of each row of X (n_samples, n_features)."""
        return self._scores(X)[:, 0]

    def _restore_model(self, attributes: dict[str, Any], tensors: Any) -> None:
        super()._restore_model(attributes, tensors)
        if len(self.intercept_) != 1:
            raise ValueError("a regressor has one row of coef")
