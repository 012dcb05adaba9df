"""Every estimator inside of scikit-learn's machinery: pipelines, searches, routing, workers."""

from __future__ import annotations

import contextlib
import inspect
import os
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.base import clone, is_classifier, is_clusterer
from sklearn.compose import ColumnTransformer, make_column_transformer
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder

from common import registry
from ironlearn import _threads

NAMES = registry.names()
each = pytest.mark.parametrize("name", NAMES)

#: A parameter of each estimator and two values of it, both quick.
GRIDS: dict[str, dict[str, list[Any]]] = {
    "var_smoothing": {"var_smoothing": [1e-9, 1e-3]},
    "hidden_layer_sizes": {"hidden_layer_sizes": [4, (5, 3)]},
    "alpha": {"alpha": [0.5, 2.0]},
    "n_estimators": {"n_estimators": [3, 5]},
    "n_clusters": {"n_clusters": [2, 3]},
    "C": {"C": [0.5, 1.0]},
    "max_depth": {"max_depth": [2, 4]},
}


def grid(model: Any) -> dict[str, list[Any]]:
    known = model.get_params()
    return next(values for name, values in GRIDS.items() if name in known)


def small(name: str) -> tuple[np.ndarray, np.ndarray]:
    X, y = registry.data(name)
    return np.ascontiguousarray(X[:150, 18:26]), y[:150] % 3


def identity(X: Any) -> Any:
    return X


@each
def test_pipeline_and_column_transformer(name: str) -> None:
    X, y = small(name)
    frame = pd.DataFrame(X, columns=[f"c{j}" for j in range(8)])
    frame["kind"] = np.where(y == 0, "left", "right")
    prepare = make_column_transformer(
        (OneHotEncoder(sparse_output=False, dtype=X.dtype), ["kind"]),
        remainder="passthrough",
        verbose_feature_names_out=False,
    ).set_output(transform="pandas")
    model = make_pipeline(prepare, registry.make(name)).fit(frame, y)
    names = [*prepare.fit(frame).get_feature_names_out()]
    assert list(model[-1].feature_names_in_) == names
    assert len(model.predict(frame)) == 150
    assert clone(model).fit(frame, y).predict(frame).tolist() == model.predict(frame).tolist()
    with pytest.raises(ValueError, match="missing"):
        model.predict(frame.drop(columns="c3"))


@each
def test_transformers_follow_set_output(name: str) -> None:
    model = registry.make(name)
    if not hasattr(model, "transform"):
        return
    X, y = small(name)
    frame = pd.DataFrame(X, columns=[f"c{j}" for j in range(8)], index=range(7, 157))
    plain = registry.make(name).fit(X, y).transform(X)
    names = [f"{name.lower()}{j}" for j in range(plain.shape[1])]
    out = model.set_output(transform="pandas").fit_transform(frame, y)
    assert list(out.columns) == names == list(model.get_feature_names_out())
    assert list(out.index) == list(frame.index)
    np.testing.assert_array_equal(out.to_numpy(), plain)
    polars = registry.make(name).set_output(transform="polars").fit(X, y).transform(X)
    assert polars.columns == names
    union = ColumnTransformer([("m", registry.make(name), slice(0, 4))]).fit(X, y)
    assert len(union.get_feature_names_out()) == plain.shape[1]


@each
def test_weights_are_routed(name: str) -> None:
    X, y = small(name)
    weights = 1.0 + np.arange(150) % 4
    direct = registry.make(name).fit(X, y, sample_weight=weights)
    with sklearn.config_context(enable_metadata_routing=True):
        model = registry.make(name).set_fit_request(sample_weight=True)
        steps = make_pipeline(FunctionTransformer(identity), model)
        steps.fit(X, y, sample_weight=weights)
        for got, wanted in zip(
            registry.answers(name, steps[-1], X), registry.answers(name, direct, X), strict=True
        ):
            np.testing.assert_array_equal(got, wanted)
        if hasattr(model, "set_score_request"):
            model.set_score_request(sample_weight=True)
        scores = cross_validate(model, X, y, cv=3, params={"sample_weight": weights})
        assert np.isfinite(scores["test_score"]).all()
        unasked = make_pipeline(FunctionTransformer(identity), registry.make(name))
        with pytest.raises(sklearn.exceptions.UnsetMetadataPassedError):
            unasked.fit(X, y, sample_weight=weights)


@each
def test_search_with_threads_equals_search_without(name: str) -> None:
    X, y = small(name)
    model = registry.make(name)
    found = []
    for jobs in (None, 2):
        with joblib.parallel_backend("threading"):
            search = GridSearchCV(model, grid(model), cv=2, n_jobs=jobs, error_score="raise")
            search.fit(X, y)
        found.append(search)
    for key in ("mean_test_score", "params", "rank_test_score"):
        assert list(found[0].cv_results_[key]) == list(found[1].cv_results_[key])
    np.testing.assert_array_equal(found[0].predict(X), found[1].predict(X))


def native_threads() -> int:
    """Return how many threads of this process belong to pools of ironlearn."""
    found = 0
    for task in Path("/proc/self/task").iterdir():
        # Threads of others may end between the list and the look; a pool's own stay.
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            found += task.joinpath("comm").read_text().startswith("ironlearn-")
    return found


def _threads_of_fits(n_jobs: int | None = None) -> tuple[int, int]:
    """Return how many threads fits may use here, and how many they have started."""
    for name in NAMES:
        X, y = registry.data(name)
        registry.make(name, n_jobs=n_jobs).fit(np.tile(X, (4, 1)), np.tile(y, 4))
    return _threads.resolve(n_jobs), native_threads()


linux = pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="counts threads in /proc")


@linux
def test_worker_processes_share_the_processors() -> None:
    """joblib tells its workers their share of the processors, and fits keep to it."""
    for allowed, started in joblib.Parallel(n_jobs=2, backend="loky")(
        joblib.delayed(_threads_of_fits)(n_jobs) for n_jobs in (None, -1)
    ):
        assert allowed == max(1, joblib.cpu_count() // 2)
        assert started in (0, allowed)


@linux
def test_fits_in_several_threads_share_one_pool() -> None:
    _threads_of_fits()  # the pool is there from now on
    before = native_threads()
    assert before >= _threads.resolve(None) or _threads.resolve(None) == 1
    joblib.Parallel(n_jobs=4, backend="threading")(
        joblib.delayed(_threads_of_fits)() for _ in range(4)
    )
    assert native_threads() == before


@each
def test_workers_give_the_same_model(name: str) -> None:
    """The number of threads that a worker is left with does not change results."""
    X, y = small(name)
    here = registry.make(name).fit(X, y)
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = "1"
    try:
        there = registry.make(name).fit(X, y)
    finally:
        if before is None:
            del os.environ["OMP_NUM_THREADS"]
        else:
            os.environ["OMP_NUM_THREADS"] = before
    for a, b in zip(registry.answers(name, here, X), registry.answers(name, there, X), strict=True):
        np.testing.assert_array_equal(a, b)


@each
def test_estimator_type_and_default_score(name: str) -> None:
    X, y = small(name)
    model = registry.make(name).fit(X, y)
    kinds = [is_classifier(model), sklearn.base.is_regressor(model), is_clusterer(model)]
    assert sum(kinds) == 1
    assert np.isfinite(model.score(X, y))
    assert "sample_weight" in inspect.signature(model.fit).parameters
