"""One library on one case: fit, predict, score."""

from __future__ import annotations

import gc
import math
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ironlearn.bench.cases import Case
from ironlearn.bench.data import Data, load
from ironlearn.bench.libraries import maker

#: A timing shorter than this repeats its call.
_SHORT = 0.02


class Session:
    """A case's model in one library.

    Parameters
    ----------
    library : str
        One of `ironlearn.bench.libraries.LIBRARIES`.
    case : Case
        What to run.
    threads : int
        Threads that the library may use.
    """

    def __init__(self, library: str, case: Case, threads: int) -> None:
        self.case = case
        self.data: Data = load(case.source, case.kind, case.rows)
        self.make = maker(library, case, self.data, threads)
        self.model: Any = None
        self._calls: dict[str, int] = {}

    def fit(self) -> None:
        """Fit a new model to the training rows."""
        self.model = self.make().fit(self.data.X, self.data.y)

    def predict(self) -> NDArray[Any]:
        """Predict the test rows, or the first of them."""
        rows = self.data.X_test[:1] if self.case.one_row else self.data.X_test
        return self.model.predict(rows)

    def first(self) -> dict[str, float]:
        """Fit and predict for the first time; return the seconds of each."""
        seconds = {"fit": self._time(self.fit, 1), "predict": self._time(self.predict, 1)}
        for what, took in list(seconds.items()):
            self._calls[what] = max(1, math.ceil(_SHORT / max(took, 1e-6)))
            if took < _SHORT:
                # Warm now, and so faster.
                took = self._time(getattr(self, what), 1)
                self._calls[what] = max(1, math.ceil(_SHORT / max(took, 1e-6)))
        return seconds

    def time(self, what: str) -> tuple[float, int]:
        """Return the seconds of one "fit" or "predict", a mean, and of how many calls."""
        calls = self._calls[what]
        return self._time(getattr(self, what), calls), calls

    @staticmethod
    def _time(call: Callable[[], Any], times: int) -> float:
        collecting = gc.isenabled()
        gc.collect()
        gc.disable()
        try:
            with warnings.catch_warnings():
                # Not converging within the steps allowed is part of some cases.
                warnings.simplefilter("ignore")
                start = time.perf_counter()
                for _ in range(times):
                    call()
                return (time.perf_counter() - start) / times
        finally:
            if collecting:
                gc.enable()

    def score(self) -> dict[str, float]:
        """Return what the fitted model is worth: accuracy, inertia, objective, steps."""
        if self.case.model == "KMeans":
            return {"inertia": float(self.model.inertia_), "steps": int(self.model.n_iter_)}
        X, y = self.data.X_test, self.data.y_test
        scores = {"accuracy": float(np.mean(self.model.predict(X) == y))}
        if self.case.model == "LinearSVC":
            scores["objective"] = svc_objective(self.model, self.data.X, self.data.y)
        return scores


def svc_objective(model: Any, X: NDArray[Any], y: NDArray[Any]) -> float:
    """Return the primal objective of squared-hinge, L2-regularised LinearSVC, all classes.

    The intercept counts as the weight of a constant feature, as in LIBLINEAR.
    """
    coef = np.asarray(model.coef_, dtype=np.float64)
    intercept = np.broadcast_to(np.asarray(model.intercept_, dtype=np.float64), len(coef))
    total = 0.5 * float((coef**2).sum() + (intercept**2).sum())
    positive = model.classes_[1:] if len(coef) == 1 else model.classes_
    for start in range(0, len(y), 16_384):
        rows = slice(start, start + 16_384)
        margin = X[rows].astype(np.float64) @ coef.T + intercept
        sign = np.where(y[rows, None] == positive, 1.0, -1.0)
        total += float(model.C * (np.maximum(0.0, 1.0 - sign * margin) ** 2).sum())
    return total
