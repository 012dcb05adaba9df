"""How each library makes, fits and asks the model of a case. Imports are lazy."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ironlearn.base import TYPES
from ironlearn.bench.cases import Case
from ironlearn.bench.data import Data

#: Every library: the distribution that it comes in and the module that shows it is there.
LIBRARIES: dict[str, tuple[str, str]] = {
    "ironlearn": ("ironlearn", "ironlearn"),
    "scikit-learn": ("scikit-learn", "sklearn"),
    "scikit-learn-intelex": ("scikit-learn-intelex", "sklearnex"),
    "LightGBM": ("lightgbm", "lightgbm"),
    "XGBoost": ("xgboost", "xgboost"),
    "faiss": ("faiss-cpu", "faiss"),
}

_INTELEX = frozenset(
    {
        "RandomForestClassifier",
        "RandomForestRegressor",
        "ExtraTreesClassifier",
        "ExtraTreesRegressor",
        "SVC",
        "SVR",
        "KMeans",
    }
)


def installed() -> list[str]:
    """Return the libraries that are installed, ironlearn first."""
    return [name for name, (_, module) in LIBRARIES.items() if importlib.util.find_spec(module)]


def version(library: str) -> str:
    """Return a library's version."""
    try:
        return importlib.metadata.version(LIBRARIES[library][0])
    except importlib.metadata.PackageNotFoundError:
        module = importlib.import_module(LIBRARIES[library][1])
        return str(getattr(module, "__version__", "unknown"))


def takes(library: str, case: Case) -> bool:
    """Return whether `library` has the model of `case`."""
    if library in ("ironlearn", "scikit-learn"):
        return True
    if case.one_row:
        return False
    if library == "scikit-learn-intelex":
        return case.model in _INTELEX
    if library == "faiss":
        # It knows no stopping rule, so only a fixed number of steps is the same work.
        # Its rows are dense float32.
        return case.model == "KMeans" and case.settings.get("tol") == 0.0 and case.kind == "float32"
    return case.model == "RandomForestClassifier"


def maker(library: str, case: Case, data: Data, threads: int) -> Callable[[], Any]:
    """Return a function that makes the unfitted model."""
    settings = dict(case.settings)
    if settings.get("init") == "first rows":
        first = data.X[: settings["n_clusters"]]
        settings["init"] = first.toarray() if hasattr(first, "toarray") else first.copy()
    if library == "LightGBM":
        return _lightgbm(settings, threads)
    if library == "XGBoost":
        return _xgboost(settings, threads)
    if library == "faiss":
        return lambda: _Faiss(settings, threads)
    root = {"ironlearn": "ironlearn", "scikit-learn": "sklearn"}.get(library, "sklearnex")
    # Every library has a model in a module of the same name.
    module = TYPES[case.model].partition(".")[2]
    kind = getattr(importlib.import_module(f"{root}.{module}"), case.model)
    known = kind._get_param_names()
    if "n_jobs" in known:
        settings["n_jobs"] = threads
    # An ironlearn model that has no random state gives the same answer without one.
    settings = {k: v for k, v in settings.items() if k != "random_state" or k in known}
    return lambda: kind(**settings)


def _lightgbm(settings: dict[str, Any], threads: int) -> Callable[[], Any]:
    import lightgbm

    return lambda: lightgbm.LGBMClassifier(
        boosting_type="rf",
        n_estimators=settings["n_estimators"],
        num_leaves=4096,
        min_child_samples=1,
        bagging_freq=1,
        bagging_fraction=0.632,
        feature_fraction_bynode=0.3,
        random_state=settings["random_state"],
        n_jobs=threads,
        verbosity=-1,
    )


def _xgboost(settings: dict[str, Any], threads: int) -> Callable[[], Any]:
    import xgboost

    return lambda: xgboost.XGBRFClassifier(
        n_estimators=settings["n_estimators"],
        max_depth=20,
        subsample=0.632,
        colsample_bynode=0.3,
        random_state=settings["random_state"],
        n_jobs=threads,
    )


class _Faiss:
    """faiss.Kmeans with the methods of an estimator."""

    def __init__(self, settings: dict[str, Any], threads: int) -> None:
        self.settings = settings
        self.threads = threads

    def fit(self, X: NDArray[np.float32], y: Any = None) -> _Faiss:
        import faiss

        faiss.omp_set_num_threads(self.threads)
        k = self.settings["n_clusters"]
        self.model = faiss.Kmeans(
            X.shape[1],
            k,
            niter=self.settings["max_iter"],
            max_points_per_centroid=len(X),
            min_points_per_centroid=1,
        )
        self.model.train(X, init_centroids=self.settings["init"])
        distances, _ = self.model.index.search(X, 1)
        self.inertia_ = float(distances.sum(dtype=np.float64))
        self.n_iter_ = self.settings["max_iter"]
        return self

    def predict(self, X: NDArray[np.float32]) -> NDArray[Any]:
        return self.model.index.search(X, 1)[1][:, 0]
