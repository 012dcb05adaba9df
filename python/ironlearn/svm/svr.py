"""Support vector regression with kernels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import RegressorMixin
from sklearn.utils.validation import check_array, check_consistent_length, column_or_1d

from ironlearn import _core, _modelfile
from ironlearn._parameters import real
from ironlearn.svm._kernel import PARAMETERS, KernelMachine, rows


def _target(y: Any) -> NDArray[np.float64]:
    """Return y as the native code takes it, which checks that it is finite."""
    if type(y) is np.ndarray and y.ndim == 1 and y.dtype == np.float64 and y.flags.c_contiguous:
        return y
    y = column_or_1d(y, warn=True)
    return check_array(y, ensure_2d=False, ensure_min_samples=0, dtype=np.float64, input_name="y")


class SVR(RegressorMixin, KernelMachine):
    r"""Support vector regression with LIBSVM's objective.

    Minimises :math:`\frac12 \beta^T K \beta - y^T \beta + \epsilon \sum_i |\beta_i|` where
    :math:`|\beta_i| \le C s_i` and :math:`\sum_i \beta_i = 0`: deviations up to
    :math:`\epsilon` cost nothing, larger ones their excess times :math:`C`.

    Parameters
    ----------
    kernel : {"linear", "poly", "rbf", "sigmoid", "precomputed"} or callable, default="rbf"
        The kernel: :math:`x^T z`, :math:`(\gamma x^T z + r)^d`,
        :math:`\exp(-\gamma \|x - z\|^2)`, :math:`\tanh(\gamma x^T z + r)`; the matrix itself
        as X; or a function of two sets of rows that returns the matrix.
    degree : int, default=3
        Power :math:`d` of "poly".
    gamma : {"scale", "auto"} or float, default="scale"
        Factor :math:`\gamma`: "scale" is ``1 / (n_features * X.var())``, "auto"
        ``1 / n_features``.
    coef0 : float, default=0.0
        Constant :math:`r` of "poly" and "sigmoid".
    tol : float, default=1e-3
        Largest violation of the optimality conditions at the end.
    C : float, default=1.0
        Weight of the deviations; the smaller, the stronger the penalty.
    epsilon : float, default=0.1
        Deviation that costs nothing.
    shrinking : bool, default=True
        Leave rows out for a while that are at a bound and seem to stay there. It is done for
        problems whose kernel values do not fit into `cache_size`; smaller ones gain nothing.
    cache_size : float, default=200
        Megabytes of kernel values that are kept; memory does not grow beyond it with the
        square of the number of rows.
    verbose : bool or int, default=False
        Print a line about the solved problem.
    max_iter : int, default=-1
        Most steps; -1 for no limit.
    n_jobs : int, default=None
        Threads; ``None`` uses every processor this process may use. Results do not depend
        on it.

    Attributes
    ----------
    support_ : ndarray of shape (n_SV,)
        Training rows of the support vectors.
    support_vectors_ : ndarray or CSR matrix of shape (n_SV, n_features)
        The support vectors; empty for a precomputed or callable kernel.
    n_support_ : ndarray of shape (1,)
        Number of support vectors.
    dual_coef_ : ndarray or CSR matrix of shape (1, n_SV)
        Coefficients :math:`\beta_i`.
    intercept_ : ndarray of shape (1,)
        Constant of the answers.
    coef_ : ndarray or CSR matrix of shape (1, n_features)
        Weights of the features, for ``kernel="linear"``.
    fit_status_ : int
        0 if the solver converged, 1 if it stopped at `max_iter`.
    shape_fit_ : tuple of int
        Shape of the training X.
    n_iter_ : int
        Steps.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, where X had string column names.

    Notes
    -----
    Solver and storage are those of `SVC`. Each row has two variables, for deviations above
    and below, which share their kernel values. Source: Chang and Lin, "LIBSVM: a library for
    support vector machines", ACM TIST 2011.

    Examples
    --------
    >>> import numpy as np
    >>> from ironlearn.svm import SVR
    >>> X = np.linspace(0, 6, 50).reshape(-1, 1)
    >>> model = SVR(C=100, epsilon=0.01).fit(X, np.sin(X.ravel()))
    >>> model.predict([[1.0], [4.0]]).round(1)
    array([ 0.8, -0.8])
    """

    n_iter_: int

    _parameters = {**PARAMETERS, "epsilon": (real(0, closed="left"),)}

    def __init__(
        self,
        *,
        kernel: str | Callable[[Any, Any], Any] = "rbf",
        degree: int = 3,
        gamma: float | str = "scale",
        coef0: float = 0.0,
        tol: float = 1e-3,
        C: float = 1.0,
        epsilon: float = 0.1,
        shrinking: bool = True,
        cache_size: float = 200,
        verbose: bool | int = False,
        max_iter: int = -1,
        n_jobs: int | None = None,
    ) -> None:
        self.kernel = kernel
        self.degree = degree
        self.gamma = gamma
        self.coef0 = coef0
        self.tol = tol
        self.C = C
        self.epsilon = epsilon
        self.shrinking = shrinking
        self.cache_size = cache_size
        self.verbose = verbose
        self.max_iter = max_iter
        self.n_jobs = n_jobs

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Fit to rows X with targets y.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Finite numbers; with ``kernel="precomputed"`` the square kernel matrix.
        y : array-like of shape (n_samples,)
            Targets.
        sample_weight : array-like of shape (n_samples,), default=None
            Factors of C for the rows; rows of weight 0 or less do not take part.

        Returns
        -------
        self : SVR
            The fitted estimator.

        Raises
        ------
        ValueError
            X or y cannot be used, or the kernel is not square, not finite or of a wrong
            shape.
        """
        self._validate_parameters()
        if y is None:
            raise ValueError(
                "This SVR estimator requires y to be passed, but the target y is None."
            )
        X = self._training_input(X)
        target = _target(y)
        check_consistent_length(X, target)
        arguments = self._kernel_arguments(X)
        answer = _core.kernel_svr_fit(
            rows(X),
            target,
            self._cost(sample_weight, X.shape[0]),
            epsilon=float(self.epsilon),
            **arguments,
            **self._solver_arguments(),
        )
        self.n_iter_ = int(answer[4][0])
        self._finish_fit(X, arguments, answer)
        return self

    def predict(self, X: Any) -> NDArray[np.float64]:
        """Return the answer for each row of X.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows; for a precomputed kernel their values with the training rows. May be a CuPy
            array.

        Returns
        -------
        y : ndarray of shape (n_samples,)
            The answers; of a CuPy array one, computed on its GPU in the array's precision.
        """
        xp, scores = self._gpu_scores(X)
        if xp is not None:
            return scores[:, 0]
        query = self._query(X)
        scores = self._model.decision_function(
            query, one_versus_rest=False, n_threads=self._n_threads()
        )
        return scores[:, 0]

    def _restore_model(self, attributes: dict[str, Any], tensors: _modelfile.Tensors) -> None:
        super()._restore_model(attributes, tensors)
        if len(self.n_support_) != 1:
            raise ValueError("a regression has one number of support vectors")
        self.n_iter_ = int(attributes["n_iter_"])
