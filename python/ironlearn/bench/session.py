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

from ironlearn.bench import objectives
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
        self.data: Data = load(case.source, case.kind, case.rows, case.test_rows)
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
        """Return what the fitted model is worth: accuracy or R², inertia, objective, steps."""
        model, name = self.model, self.case.model
        if name.endswith("KMeans"):
            steps = {"KMeans": "n_iter_", "MiniBatchKMeans": "n_steps_"}.get(name)
            found = {"inertia": float(model.inertia_)}
            return found if steps is None else {**found, "steps": int(getattr(model, steps))}
        X, y = self.data.X_test, self.data.y_test
        predicted = model.predict(X)
        if self.case.regression:
            error = float(((y - predicted) ** 2).sum())
            scores = {"r2": 1.0 - error / float(((y - y.mean()) ** 2).sum())}
        else:
            scores = {"accuracy": float(np.mean(predicted == y))}
        X, y = self.data.X, self.data.y
        if name == "LinearSVC":
            scores["objective"] = objectives.linear_svc(model, X, y)
        elif name == "LinearSVR":
            scores["objective"] = objectives.linear_svr(model, X, y)
        elif name == "SVC":
            scores["objective"] = objectives.svc(model, X)
        elif name == "SVR":
            scores["objective"] = objectives.svr(model, X, y)
        return scores
