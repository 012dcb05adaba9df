"""What the linear support vector machines share: input, scaling, warm starts, files."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import Tags

from ironlearn import _core, _csr, _modelfile
from ironlearn._frames import validate_data
from ironlearn._random import seed_from
from ironlearn.base import Estimator


class LinearBase(Estimator):
    """A linear model with weights `coef_` and intercepts `intercept_`."""

    coef_: Any
    intercept_: NDArray[np.float64]
    n_iter_: int

    C: float
    fit_intercept: bool
    intercept_scaling: float
    max_iter: int
    random_state: Any
    scale: bool
    tol: float
    verbose: int
    warm_start: bool

    #: Dual variables of the last fit with their objective and rows, for a warm start.
    _duals: tuple[str, int, NDArray[np.float64]]

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def _fit_input(self, X: Any, *, reset: bool = True) -> Any:
        X = validate_data(
            self, X, reset=reset, accept_sparse="csr", dtype=list(self._dtypes), order="C"
        )
        return _csr.canonical(X) if sparse.issparse(X) else X

    def _predict_input(self, X: Any) -> Any:
        # Ready CSR rows take the short way, too: native code checks them.
        if (
            getattr(X, "format", None) == "csr"
            and X.ndim == 2
            and X.dtype in self._ready_dtypes()
            and X.shape[0] > 0
            and X.shape[1] == getattr(self, "n_features_in_", -1)
            and not hasattr(self, "feature_names_in_")
        ):
            return _csr.canonical(X)
        return super()._predict_input(X)

    def _solve(
        self,
        solver: Any,
        X: Any,
        targets: tuple[Any, ...],
        weights: NDArray[np.float64] | None,
        *,
        family: str,
        vectors: int,
        **settings: Any,
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return weights and intercepts, one row for each of `vectors`; set `n_iter_`.

        `family` names the problem whose dual variables a later fit may go on from.
        """
        bias = float(self.intercept_scaling) if self.fit_intercept else None
        shape = X.shape
        start = self._weights_of_last_fit(vectors, shape[1])
        mean = deviation = None
        if self.scale:
            X, mean, deviation = _standardised(X, weights, centre=self.fit_intercept)
        origin = None
        if start is not None:
            coef, intercept = start
            if mean is not None:
                intercept = intercept + coef @ mean
            if deviation is not None:
                coef = coef * deviation
            extended = coef if bias is None else np.column_stack([coef, intercept / bias])
            last, rows, duals = getattr(self, "_duals", ("", 0, np.empty(0)))
            if (last, rows) != (family, shape[0]):
                duals = np.empty(0)
            origin = np.ascontiguousarray(extended), duals
        raw, n_iter, objectives, converged, duals = solver(
            _csr.rows(X),
            *targets,
            bias=bias,
            tol=float(self.tol),
            max_iter=int(self.max_iter),
            seed=seed_from(self.random_state),
            n_threads=self._n_threads(),
            start=origin,
            **settings,
        )
        name = type(self).__name__
        if self.verbose:
            for k, (steps, value) in enumerate(zip(n_iter, objectives, strict=True)):
                print(f"[{name}] problem {k}: {steps} iterations, objective {value:.9g}")
        if not converged:
            warnings.warn(
                f"{name} stopped at max_iter={self.max_iter} before the objective was within "
                f"tol={self.tol} of the optimum; increase max_iter or standardise X "
                "(scale=True).",
                ConvergenceWarning,
                stacklevel=4,
            )
        coef = np.ascontiguousarray(raw[:, : shape[1]])
        intercept = np.zeros(len(raw)) if bias is None else bias * raw[:, -1]
        if deviation is not None:
            coef /= deviation
            if mean is not None:
                intercept = intercept - coef @ mean
        if self.warm_start:
            self._duals = family, shape[0], duals
        elif hasattr(self, "_duals"):
            del self._duals
        self.n_iter_ = int(n_iter.max())
        return coef, intercept

    def _weights_of_last_fit(
        self, vectors: int, features: int
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
        """Return where a warm start begins, or ``None`` for a fit from nothing."""
        if not self.warm_start or not hasattr(self, "_model"):
            return None
        coef, intercept = self._model.arrays()
        if (len(coef), vectors) == (1, 2):
            coef, intercept = (
                np.vstack([-coef, coef]) / 2,
                np.concatenate([-intercept, intercept]) / 2,
            )
        if coef.shape != (vectors, features):
            raise ValueError(
                f"warm_start=True goes on from the last fit, whose coef_ has shape {coef.shape}, "
                f"but this one needs {(vectors, features)}; fit data with the same features and "
                "classes, or set warm_start=False."
            )
        return coef, intercept

    def _set_model(self, model: _core.LinearModel) -> None:
        self._model = model
        self.coef_, self.intercept_ = model.arrays()

    def _scores(self, X: Any) -> NDArray[np.float64]:
        rows = _csr.rows(self._predict_input(X))
        return self._model.decision_function(rows, n_threads=self._n_threads())

    def _model_state(self) -> tuple[dict[str, Any], _modelfile.Tensors]:
        coef, intercept = self._model.arrays()
        return {"n_iter_": self.n_iter_}, {"coef": coef, "intercept": intercept}

    def _restore_model(self, attributes: dict[str, Any], tensors: _modelfile.Tensors) -> None:
        model = _core.LinearModel.from_arrays(tensors["coef"], tensors["intercept"])
        if model.arrays()[0].shape[1] != self.n_features_in_:
            raise ValueError("coef and n_features_in_ do not fit together")
        self.n_iter_ = int(attributes["n_iter_"])
        self._set_model(model)


def _standardised(
    X: Any, weights: NDArray[np.float64] | None, *, centre: bool
) -> tuple[Any, NDArray[np.float64] | None, NDArray[np.float64]]:
    """Return X with unit variances (and zero means, if dense and `centre`), and its scales."""
    share = np.full(X.shape[0], 1.0 / X.shape[0]) if weights is None else weights / weights.sum()
    if sparse.issparse(X):
        mean = X.T @ share
        square = X.multiply(X).T @ share
        deviation = _deviation(square - mean**2, square)
        X = X.copy()
        X.data /= deviation[X.indices].astype(X.dtype)
        return X, None, deviation
    mean = share @ X
    # A copy is needed anyway; centring it first keeps the variances free of cancellation.
    centred = X - mean.astype(X.dtype)
    variance = np.einsum("i,ij,ij->j", share, centred, centred)
    deviation = _deviation(variance, variance + mean**2)
    if not centre:
        centred += mean.astype(X.dtype)
    centred /= deviation.astype(X.dtype)
    return centred, mean if centre else None, deviation


def _deviation(variance: NDArray[np.float64], square: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return standard deviations, one for features that are constant up to rounding."""
    constant = variance <= 1e-14 * square
    return np.sqrt(np.where(constant, 1.0, np.maximum(variance, 0.0)))
