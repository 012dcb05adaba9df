"""Support vector classification with kernels."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.exceptions import NotFittedError
from sklearn.utils import check_random_state
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_consistent_length, check_is_fitted, column_or_1d

from ironlearn import _core, _modelfile
from ironlearn._parameters import BOOLEAN, MAPPING, NONE, RANDOM_STATE, options
from ironlearn.base import Classifier, encode_classes
from ironlearn.svm._gpu import class_codes, combined
from ironlearn.svm._kernel import PARAMETERS, KernelMachine, rows, scaled

_DEPRECATED = "was deprecated in scikit-learn 1.9, which will remove it in version 1.11"


def _is_plain(y: Any) -> bool:
    """Return whether y needs no look at it: of few rows that takes longer than fitting."""
    return type(y) is np.ndarray and y.ndim == 1 and y.dtype.kind in "iub"


def _has_probabilities(model: SVC) -> bool:
    if model.probability and model.probability != "deprecated":
        return True
    raise AttributeError("predict_proba is not available when probability=False")


class SVC(Classifier, KernelMachine):
    r"""Support vector classification with LIBSVM's objective.

    For each pair of classes, minimises :math:`\frac12 \alpha^T Q \alpha - \sum_i \alpha_i`
    where :math:`0 \le \alpha_i \le C s_i`, :math:`\sum_i y_i \alpha_i = 0` and
    :math:`Q_{ij} = y_i y_j K(x_i, x_j)`; the pairs vote.

    Parameters
    ----------
    C : float, default=1.0
        Weight of the loss; the smaller, the stronger the penalty.
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
    shrinking : bool, default=True
        Leave rows out for a while that are at a bound and seem to stay there. It is done for
        problems whose kernel values do not fit into `cache_size`; smaller ones gain nothing.
    probability : bool, default="deprecated"
        Whether to fit probabilities by sigmoids of cross-validated scores. As in
        scikit-learn, where it was deprecated in 1.9: a value warns, and
        ``CalibratedClassifierCV(SVC(), ensemble=False)`` is what to use instead.
    tol : float, default=1e-3
        Largest violation of the optimality conditions at the end.
    cache_size : float, default=200
        Megabytes of kernel values that are kept; memory does not grow beyond it with the
        square of the number of rows.
    class_weight : dict or "balanced", default=None
        Factors of C for the classes.
    verbose : bool or int, default=False
        Print a line for each solved problem.
    max_iter : int, default=-1
        Most steps for each pair of classes; -1 for no limit.
    decision_function_shape : {"ovr", "ovo"}, default="ovr"
        Whether `decision_function` has one column a class or one a pair of classes.
    break_ties : bool, default=False
        Break ties of votes by the scores; needs "ovr". Costs nothing here.
    random_state : int, RandomState instance or None, default=None
        Seed of the folds of ``probability=True``, the same as scikit-learn's for the same
        seed; nothing else is random.
    n_jobs : int, default=None
        Threads; ``None`` uses every processor this process may use. Results do not depend
        on it.

    Attributes
    ----------
    support_ : ndarray of shape (n_SV,)
        Training rows of the support vectors, by class.
    support_vectors_ : ndarray or CSR matrix of shape (n_SV, n_features)
        The support vectors; empty for a precomputed or callable kernel.
    n_support_ : ndarray of shape (n_classes,)
        Number of support vectors of each class.
    dual_coef_ : ndarray or CSR matrix of shape (n_classes - 1, n_SV)
        Coefficients :math:`y_i \alpha_i`, in LIBSVM's layout.
    intercept_ : ndarray of shape (n_classes * (n_classes - 1) / 2,)
        Constants of the pairs.
    coef_ : ndarray or CSR matrix of shape (n_classes * (n_classes - 1) / 2, n_features)
        Weights of the features, for ``kernel="linear"``.
    class_weight_ : ndarray of shape (n_classes,)
        Factors of C.
    classes_ : ndarray of shape (n_classes,)
        The class labels.
    fit_status_ : int
        0 if the solver converged, 1 if it stopped at `max_iter`.
    shape_fit_ : tuple of int
        Shape of the training X.
    n_iter_ : ndarray of shape (n_classes * (n_classes - 1) / 2,)
        Steps of each pair.
    probA_, probB_ : ndarray of shape (n_classes * (n_classes - 1) / 2,)
        Slopes and constants of the sigmoids of ``probability=True``, else empty. A pair's
        first class has the probability ``1 / (1 + exp(score * probA_ + probB_))``.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, where X had string column names.

    Notes
    -----
    Kernel values are computed in double precision and kept in single precision, as in
    LIBSVM. Sparse X is never made dense as a whole. The problem is that of Chang and Lin,
    "LIBSVM: a library for support vector machines", ACM TIST 2011; pairs are chosen as in
    Fan, Chen and Lin, "Working set selection using second order information for training
    support vector machines", JMLR 2005, within working sets as in Wen et al., "ThunderSVM: a
    fast SVM library on GPUs and CPUs", JMLR 2018. Probabilities: Lin, Lin and Weng, "A note on
    Platt's probabilistic outputs for support vector machines", Machine Learning 2007, and Wu,
    Lin and Weng, "Probability estimates for multi-class classification by pairwise coupling",
    JMLR 2004.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from ironlearn.svm import SVC
    >>> X, y = load_iris(return_X_y=True)
    >>> model = SVC().fit(X, y)
    >>> model.predict(X[:2])
    array([0, 0])
    >>> model.decision_function(X[:2]).shape
    (2, 3)

    Calibrated probabilities:

    >>> from sklearn.calibration import CalibratedClassifierCV
    >>> calibrated = CalibratedClassifierCV(SVC(), ensemble=False).fit(X, y)
    >>> calibrated.predict_proba(X[:2]).argmax(axis=1)
    array([0, 0])
    """

    class_weight_: NDArray[np.float64]
    n_iter_: NDArray[np.int32]
    _sigmoids: tuple[NDArray[np.float64], NDArray[np.float64]]
    _flip: ClassVar[bool] = True

    _parameters = {
        **PARAMETERS,
        "probability": (BOOLEAN, options("deprecated")),
        "class_weight": (options("balanced"), MAPPING, NONE),
        "decision_function_shape": (options("ovr", "ovo"),),
        "break_ties": (BOOLEAN,),
        "random_state": RANDOM_STATE,
    }

    def __init__(
        self,
        *,
        C: float = 1.0,
        kernel: str | Callable[[Any, Any], Any] = "rbf",
        degree: int = 3,
        gamma: float | str = "scale",
        coef0: float = 0.0,
        shrinking: bool = True,
        probability: bool | str = "deprecated",
        tol: float = 1e-3,
        cache_size: float = 200,
        class_weight: dict[Any, float] | str | None = None,
        verbose: bool | int = False,
        max_iter: int = -1,
        decision_function_shape: str = "ovr",
        break_ties: bool = False,
        random_state: int | np.random.RandomState | None = None,
        n_jobs: int | None = None,
    ) -> None:
        self.C = C
        self.kernel = kernel
        self.degree = degree
        self.gamma = gamma
        self.coef0 = coef0
        self.shrinking = shrinking
        self.probability = probability
        self.tol = tol
        self.cache_size = cache_size
        self.class_weight = class_weight
        self.verbose = verbose
        self.max_iter = max_iter
        self.decision_function_shape = decision_function_shape
        self.break_ties = break_ties
        self.random_state = random_state
        self.n_jobs = n_jobs

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Fit to rows X with labels y.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Finite numbers; with ``kernel="precomputed"`` the square kernel matrix.
        y : array-like of shape (n_samples,)
            Class labels of at least two classes.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative factors of C for the rows; rows of weight 0 do not take part.

        Returns
        -------
        self : SVC
            The fitted estimator.

        Raises
        ------
        ValueError
            X or y cannot be used, or the kernel is not square, not finite or of a wrong
            shape.
        """
        self._validate_parameters()
        if self.probability != "deprecated":
            warnings.warn(
                f"The `probability` parameter {_DEPRECATED}. Use "
                "`CalibratedClassifierCV(SVC(), ensemble=False)` instead of "
                "`SVC(probability=True)`",
                FutureWarning,
                stacklevel=3,
            )
        if y is None:
            raise ValueError(
                "This SVC estimator requires y to be passed, but the target y is None."
            )
        X = self._training_input(X)
        if not _is_plain(y):
            y = column_or_1d(y, warn=True)
            check_classification_targets(y)
        check_consistent_length(X, y)
        cost = self._cost(sample_weight, X.shape[0])
        labels, codes = encode_classes(y)
        if len(labels) < 2:
            raise ValueError(
                "SVC needs samples of at least 2 classes in the data, but y contains only one "
                f"class: {labels[0]!r}"
            )
        if sample_weight is not None and len(np.unique(codes[cost > 0])) < 2:
            raise ValueError(
                "Invalid input - all samples with positive weights belong to the same class; SVC "
                "needs at least 2 classes."
            )
        class_weight = np.ones(len(labels))
        if self.class_weight is not None:
            class_weight = compute_class_weight(self.class_weight, classes=labels, y=y)
            class_weight = class_weight.astype(np.float64)
        if not (np.isfinite(class_weight) & (class_weight >= 0)).all():
            raise ValueError(
                f"class_weight must be finite and at least 0, got {self.class_weight!r}."
            )
        folds = None
        if self.probability and self.probability != "deprecated":
            folds = int(check_random_state(self.random_state).randint(np.iinfo("i").max))
        arguments = self._kernel_arguments(X)
        answer = _core.kernel_svc_fit(
            rows(X),
            codes,
            scaled(cost, class_weight[codes]),
            n_classes=len(labels),
            **arguments,
            folds=folds,
            **self._solver_arguments(),
        )
        self.n_iter_ = answer[4].astype(np.int32)
        self._finish_fit(X, arguments, answer)
        self.classes_ = labels
        self.class_weight_ = class_weight
        self._sigmoids = answer[7], answer[8]
        return self

    def decision_function(self, X: Any) -> NDArray[np.float64]:
        """Return the scores of each row.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows; for a precomputed kernel their values with the training rows.

        Returns
        -------
        scores : ndarray of shape (n_samples,), (n_samples, n_classes) or \
                (n_samples, n_classes * (n_classes - 1) / 2)
            For two classes, above zero for the second one; else votes with the scores as
            tie-breakers ("ovr"), or the scores of the pairs ("ovo"), above zero for the
            first class of the pair. Of a CuPy array a CuPy array, computed on its GPU in the
            array's precision.
        """
        xp, scores = self._gpu_scores(X)
        if xp is not None:
            classes = len(self.classes_)
            if classes == 2:
                return -scores[:, 0]
            ovr = self.decision_function_shape == "ovr"
            return combined(xp, scores, classes) if ovr else scores
        query = self._query(X)
        scores = self._model.decision_function(
            query,
            one_versus_rest=self.decision_function_shape == "ovr",
            n_threads=self._n_threads(),
        )
        return scores[:, 0] if len(self.classes_) == 2 else scores

    def predict(self, X: Any) -> NDArray[Any]:
        """Return the class of each row of X (n_samples, n_features).

        Of a CuPy array the answer is one, computed on its GPU in the array's precision; but a
        NumPy array where the classes are no numbers, which a GPU cannot hold.
        """
        check_is_fitted(self)
        if self.break_ties and self.decision_function_shape == "ovo":
            raise ValueError("break_ties must be False when decision_function_shape is 'ovo'")
        xp, scores = self._gpu_scores(X)
        if xp is not None:
            codes = class_codes(xp, scores, len(self.classes_), bool(self.break_ties))
            if self.classes_.dtype.kind in "biuf":
                return xp.asarray(self.classes_)[codes]
            return self.classes_[xp.asnumpy(codes)]
        codes = self._model.predict_codes(
            self._query(X), break_ties=bool(self.break_ties), n_threads=self._n_threads()
        )
        return self.classes_[codes]

    @available_if(_has_probabilities)  # type: ignore[untyped-decorator]
    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Return the probability of each class for each row of X.

        They come from sigmoids of cross-validated scores, so the most probable class may be
        another one than `predict` says; of few rows they mean little.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows; for a precomputed kernel their values with the training rows.

        Returns
        -------
        probabilities : ndarray of shape (n_samples, n_classes)
            Columns in the order of ``classes_``.

        Raises
        ------
        NotFittedError
            The model was fitted with ``probability=False``.
        """
        query = self._query(X)
        if not self._sigmoids[0].size:
            raise NotFittedError(
                "predict_proba is not available when fitted with probability=False"
            )
        return self._model.predict_proba(query, *self._sigmoids, n_threads=self._n_threads())

    @available_if(_has_probabilities)  # type: ignore[untyped-decorator]
    def predict_log_proba(self, X: Any) -> NDArray[np.float64]:
        """Return the logarithms of `predict_proba` for rows X (n_samples, n_features)."""
        return np.log(self.predict_proba(X))

    @property
    def probA_(self) -> NDArray[np.float64]:
        """Slopes of the sigmoids of ``probability=True``."""
        return self._sigmoid("probA_", 0)

    @property
    def probB_(self) -> NDArray[np.float64]:
        """Constants of the sigmoids of ``probability=True``."""
        return self._sigmoid("probB_", 1)

    def _sigmoid(self, name: str, which: int) -> NDArray[np.float64]:
        if not hasattr(self, "_sigmoids"):
            raise AttributeError(f"SVC has no {name} before it is fitted.")
        warnings.warn(
            f"Attribute `{name}` {_DEPRECATED}, together with `probability=True`.",
            FutureWarning,
            stacklevel=3,
        )
        return self._sigmoids[which]

    def _coef(self) -> Any:
        if self.dual_coef_.shape[0] == 1:
            return super()._coef()
        ends = np.concatenate([[0], np.cumsum(self.n_support_)])
        parts = [slice(a, b) for a, b in itertools.pairwise(ends)]
        lines = []
        for i, first in enumerate(parts):
            for j in range(i + 1, len(parts)):
                second = parts[j]
                lines.append(
                    self.dual_coef_[[j - 1]][:, first] @ self.support_vectors_[first]
                    + self.dual_coef_[[i]][:, second] @ self.support_vectors_[second]
                )
        if sparse.issparse(lines[0]):
            return sparse.vstack(lines).tocsr()
        return np.vstack(lines)

    def _model_state(self) -> tuple[dict[str, Any], _modelfile.Tensors]:
        attributes, tensors = super()._model_state()
        tensors["class_weight"] = self.class_weight_
        if self._sigmoids[0].size:
            tensors["prob_a"], tensors["prob_b"] = self._sigmoids
        self._pack_classes(attributes, tensors)
        return attributes, tensors

    def _restore_model(self, attributes: dict[str, Any], tensors: _modelfile.Tensors) -> None:
        super()._restore_model(attributes, tensors)
        classes = len(self.n_support_)
        if classes < 2:
            raise ValueError("a classifier needs at least two classes")
        self._unpack_classes(attributes, tensors, classes)
        _modelfile.check_floats("class_weight", tensors["class_weight"], (classes,))
        self.class_weight_ = tensors["class_weight"]
        self.n_iter_ = np.array(attributes["n_iter_"], dtype=np.int32)
        self._sigmoids = np.empty(0), np.empty(0)
        if "prob_a" in tensors:
            for name in ("prob_a", "prob_b"):
                _modelfile.check_floats(name, tensors[name], (classes * (classes - 1) // 2,))
            self._sigmoids = tensors["prob_a"], tensors["prob_b"]
