"""What the kernel machines share: input, kernels, fitted attributes, files."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import Tags
from sklearn.utils.validation import check_array, check_is_fitted

from ironlearn import _core, _gpu, _modelfile
from ironlearn._frames import validate_data
from ironlearn._parameters import (
    BOOLEAN,
    CALLABLE,
    N_JOBS,
    VERBOSE,
    Table,
    integer,
    options,
    real,
)
from ironlearn.base import Estimator
from ironlearn.svm._gpu import pair_scores

#: What the native code takes: a dense array, or (data, indices, indptr, n_features).
Rows = NDArray[Any] | tuple[NDArray[Any], NDArray[Any], NDArray[Any], int]

_NAMES = ("linear", "poly", "rbf", "sigmoid", "precomputed")

#: Rows of the parameter tables that classification and regression have in common.
PARAMETERS: Table = {
    "kernel": (options(*_NAMES), CALLABLE),
    "degree": (integer(0, 2**31 - 1),),
    "gamma": (options("scale", "auto"), real(0, closed="left")),
    "coef0": (real(closed="neither"),),
    "tol": (real(0, closed="neither"),),
    "C": (real(0, closed="neither"),),
    "shrinking": (BOOLEAN,),
    "cache_size": (real(0, closed="neither"),),
    "verbose": (VERBOSE,),
    "max_iter": (integer(-1),),
    "n_jobs": N_JOBS,
}


class KernelMachine(Estimator):
    """Base of the estimators with kernels."""

    kernel: Any
    degree: int
    gamma: Any
    coef0: float
    tol: float
    C: float
    shrinking: bool
    cache_size: float
    verbose: bool | int
    max_iter: int

    support_: NDArray[np.int32]
    support_vectors_: Any
    n_support_: NDArray[np.int32]
    dual_coef_: Any
    intercept_: NDArray[np.float64]
    fit_status_: int
    shape_fit_: tuple[int, ...]
    #: True where the attributes show the second class as the positive one.
    _flip: ClassVar[bool] = False

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.pairwise = self.kernel == "precomputed"
        tags.input_tags.sparse = self.kernel != "precomputed"
        return tags

    def _fit_input(self, X: Any, *, reset: bool = True) -> Any:
        if self.kernel == "precomputed" and sparse.issparse(X):
            raise TypeError("Sparse precomputed kernels are not supported.")
        X = validate_data(
            self, X, reset=reset, accept_sparse="csr", dtype=list(self._dtypes), order="C"
        )
        return canonical(X) if sparse.issparse(X) else X

    def _training_input(self, X: Any) -> Any:
        """Return the rows of X, or their kernel matrix where the caller has the kernel."""
        if callable(self.kernel):
            self._rows_fit = X
            if len(getattr(X, "shape", ())) == 2:
                self.n_features_in_ = int(X.shape[1])
            n = _length(X)
            return self._called_kernel(X, n)
        X = self._fit_input(X)
        if self.kernel == "precomputed" and X.shape[0] != X.shape[1]:
            raise ValueError(
                "Precomputed matrix must be a square matrix. "
                f"Input is a {X.shape[0]}x{X.shape[1]} matrix."
            )
        return X

    def _called_kernel(self, X: Any, n_fit: int) -> NDArray[np.float64]:
        """Return the finite kernel values of X with the `n_fit` training rows."""
        values = self.kernel(X, self._rows_fit)
        if sparse.issparse(values):
            values = values.toarray()
        values = np.asarray(values, dtype=np.float64, order="C")
        expected = (_length(X), n_fit)
        if values.shape != expected:
            raise ValueError(
                f"The kernel callable must return an array of shape {expected}, "
                f"got one of shape {values.shape}."
            )
        if not np.isfinite(values).all():
            raise ValueError("The kernel callable returned NaN or infinity.")
        return values

    def _cost(self, sample_weight: Any, n_samples: int) -> NDArray[np.float64]:
        """Return the largest coefficient of each row; those of weight 0 or less have none."""
        cost = np.full(n_samples, float(self.C))
        if sample_weight is None:
            return cost
        if np.isscalar(sample_weight):
            sample_weight = np.full(n_samples, sample_weight)
        weights = check_array(
            sample_weight,
            ensure_2d=False,
            ensure_min_samples=0,
            dtype=np.float64,
            input_name="sample_weight",
        )
        if weights.shape != (n_samples,):
            raise ValueError(
                "sample_weight and X have incompatible shapes: sample_weight must have the shape "
                f"({n_samples},), got {weights.shape}."
            )
        if not (weights > 0).any():
            raise ValueError("Invalid input - all samples have zero or negative weights.")
        return scaled(cost, weights)

    def _kernel_arguments(self, X: Any) -> dict[str, Any]:
        """Return the native name and parameters of the kernel for rows X."""
        name = "precomputed" if callable(self.kernel) else self.kernel
        gamma = 0.0
        if name != "precomputed":
            gamma = self._gamma_for(X)
        if not np.isfinite(gamma):
            raise ValueError(f"gamma must be finite, got gamma={self.gamma!r}.")
        return {
            "kernel": name,
            "gamma": gamma,
            "coef0": float(self.coef0),
            "degree": int(self.degree),
        }

    def _gamma_for(self, X: Any) -> float:
        if self.gamma == "auto":
            return 1.0 / X.shape[1]
        if self.gamma != "scale":
            return float(self.gamma)
        if sparse.issparse(X):
            values = X.data.astype(np.float64, copy=False)
            cells = X.shape[0] * X.shape[1]
            variance = values @ values / cells - (values.sum() / cells) ** 2
        else:
            variance = X.var(dtype=np.float64)
        return 1.0 / (X.shape[1] * float(variance)) if variance != 0 else 1.0

    def _solver_arguments(self) -> dict[str, Any]:
        return {
            "tol": float(self.tol),
            "max_iter": int(self.max_iter),
            "cache_size": float(self.cache_size),
            "shrinking": bool(self.shrinking),
            "n_threads": self._n_threads(),
        }

    def _finish_fit(self, X: Any, arguments: dict[str, Any], answer: tuple[Any, ...]) -> None:
        """Set the fitted attributes from the native answer."""
        support, n_support, dual_coef, intercept, n_iter, objectives, converged = answer[:7]
        name = type(self).__name__
        if self.verbose:
            for k, (steps, value) in enumerate(zip(n_iter, objectives, strict=True)):
                print(f"[{name}] problem {k}: {steps} iterations, objective {value:.9g}")
        if not converged:
            warnings.warn(
                # In the words of scikit-learn, by which programs filter.
                f"Solver terminated early (max_iter={self.max_iter}).  Consider pre-processing "
                "your data with StandardScaler or MinMaxScaler.",
                ConvergenceWarning,
                stacklevel=4,
            )
        vectors = None if arguments["kernel"] == "precomputed" else rows(X[support])
        model = _core.KernelModel.from_arrays(
            vectors,
            support,
            n_support,
            dual_coef,
            intercept,
            arguments["kernel"],
            arguments["gamma"],
            arguments["coef0"],
            arguments["degree"],
            X.shape[1],
        )
        self.fit_status_ = int(not converged)
        self.shape_fit_ = tuple(int(n) for n in X.shape)
        if callable(self.kernel):
            self.shape_fit_ = tuple(getattr(self._rows_fit, "shape", (X.shape[0],)))
        self._set_model(model)

    def _set_model(self, model: _core.KernelModel) -> None:
        vectors, support, n_support, dual_coef, intercept, *_ = model.parts()
        self._model = model
        self.support_ = support.astype(np.int32)
        self.n_support_ = n_support.astype(np.int32)
        self.intercept_ = -intercept if self._flips(n_support) else intercept
        shown = -dual_coef if self._flips(n_support) else dual_coef
        self.dual_coef_ = shown
        if vectors is None:
            self.support_vectors_ = np.empty((0, 0))
        elif isinstance(vectors, tuple):
            data, indices, indptr, width = vectors
            self.support_vectors_ = sparse.csr_matrix(
                (data, indices, indptr), shape=(len(support), width)
            )
            # As in scikit-learn, every coefficient is stored, zeros too.
            count = dual_coef.shape[1]
            places = np.tile(np.arange(count), len(dual_coef))
            starts = np.arange(len(dual_coef) + 1) * count
            self.dual_coef_ = sparse.csr_matrix(
                (shown.ravel(), places, starts), shape=dual_coef.shape
            )
        else:
            self.support_vectors_ = vectors

    @property
    def _gamma(self) -> float:
        # scikit-learn's name for the number behind `gamma`, which tools around it read.
        return float(self._model.parts()[6])

    def _flips(self, n_support: NDArray[Any]) -> bool:
        return self._flip and len(n_support) == 2

    def _query(self, X: Any) -> Rows:
        """Return rows to predict as the native model takes them."""
        if not callable(self.kernel):
            return rows(self._predict_input(X))
        check_is_fitted(self)
        return self._called_kernel(X, self._model.parts()[-1])

    def _gpu_scores(self, X: Any) -> tuple[Any, Any]:
        """Return CuPy and the scores of rows that live on a GPU; ``None``, ``None`` for others."""
        xp = _gpu.module_of(X)
        if xp is None:
            return None, None
        if callable(self.kernel) or self.kernel == "precomputed":
            raise TypeError(
                f"kernel={self.kernel!r} takes rows in main memory, got a CuPy array: pass X.get()."
            )
        X = _gpu.checked(self, X, xp)
        return xp, pair_scores(xp, self._model, X)

    @property
    def coef_(self) -> Any:
        """Weights of the features, one row a problem; for ``kernel="linear"`` only."""
        if self.kernel != "linear":
            raise AttributeError("coef_ is only available when using a linear kernel")
        check_is_fitted(self)
        coef = self._coef()
        if sparse.issparse(coef):
            coef.data.flags.writeable = False
        else:
            coef.flags.writeable = False
        return coef

    def _coef(self) -> Any:
        return self.dual_coef_ @ self.support_vectors_

    @abstractmethod
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        """Fit to rows X with targets y."""

    def _model_state(self) -> tuple[dict[str, Any], _modelfile.Tensors]:
        if callable(self.kernel):
            raise ValueError(
                f"The 'kernel' parameter of {type(self).__name__} is a callable, which a model "
                "file cannot hold; use kernel='precomputed' and pass its values as X."
            )
        vectors, support, n_support, dual_coef, intercept, *settings = self._model.parts()
        tensors: _modelfile.Tensors = {
            "support": support,
            "n_support": n_support,
            "dual_coef": dual_coef,
            "intercept": intercept,
        }
        if isinstance(vectors, tuple):
            tensors["vectors.data"], tensors["vectors.indices"], tensors["vectors.indptr"], _ = (
                vectors
            )
        elif vectors is not None:
            tensors["vectors"] = vectors
        kernel, gamma, coef0, degree, width = settings
        attributes: dict[str, Any] = {
            "native_kernel": [kernel, gamma, coef0, degree, width],
            "fit_status_": self.fit_status_,
            "shape_fit_": [int(n) for n in self.shape_fit_],
            "n_iter_": np.asarray(self.n_iter_).tolist(),
        }
        return attributes, tensors

    n_iter_: Any

    def _restore_model(self, attributes: dict[str, Any], tensors: _modelfile.Tensors) -> None:
        kernel, gamma, coef0, degree, width = attributes["native_kernel"]
        if width != self.n_features_in_ or kernel != self.kernel:
            raise ValueError("the kernel does not fit the parameters and n_features_in_")
        vectors: Any = tensors.get("vectors")
        if "vectors.data" in tensors:
            names = ("vectors.data", "vectors.indices", "vectors.indptr")
            vectors = (*(tensors[name] for name in names), width)
        model = _core.KernelModel.from_arrays(
            vectors,
            tensors["support"],
            tensors["n_support"],
            tensors["dual_coef"],
            tensors["intercept"],
            kernel,
            gamma,
            coef0,
            degree,
            width,
        )
        self.fit_status_ = int(attributes["fit_status_"])
        self.shape_fit_ = tuple(int(n) for n in attributes["shape_fit_"])
        self._set_model(model)


def scaled(cost: NDArray[np.float64], factors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return their product where the factor is positive, else 0, also of an infinite cost."""
    return np.multiply(cost, factors, out=np.zeros_like(cost), where=factors > 0)


def _length(X: Any) -> int:
    shape = getattr(X, "shape", None)
    return int(shape[0]) if shape else len(X)


def canonical(X: Any) -> Any:
    """Return the CSR matrix X with sorted indices and no duplicates, its structure checked."""
    X.check_format(full_check=True)
    if not X.has_canonical_format:
        X = X.copy()
        X.sum_duplicates()
    return X


def rows(X: Any) -> Rows:
    """Return a dense array as it is, a CSR matrix as its parts."""
    if isinstance(X, np.ndarray):
        return X
    data, indices, indptr = (np.ascontiguousarray(p) for p in (X.data, X.indices, X.indptr))
    return data, indices, indptr, int(X.shape[1])
