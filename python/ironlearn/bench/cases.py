"""The cases: a model, its settings, data, and the smallest suite that has it."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ironlearn.base import TYPES
from ironlearn.bench.data import REGRESSION
from ironlearn.exceptions import InvalidParameterError

#: Suites, each with the cases of those before it.
SUITES = ("quick", "standard", "full")


@dataclass(frozen=True)
class Case:
    """One case.

    Attributes
    ----------
    name : str
        ``Model/data[/variant]``.
    model : str
        The estimator's class name, in ironlearn and in scikit-learn.
    source, kind, rows, test_rows
        What `ironlearn.bench.data.load` takes.
    settings : mapping
        Constructor parameters for both. ``"first rows"`` as ``init`` stands for the first
        `n_clusters` training rows.
    suite : str
        The smallest suite that has the case.
    one_row : bool
        Time prediction of a single row instead of fit and predict.
    """

    name: str
    model: str
    source: str
    kind: str = "float64"
    rows: int | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    suite: str = "standard"
    one_row: bool = False
    test_rows: int | None = None

    @property
    def regression(self) -> bool:
        """Whether the target is a quantity."""
        return self.source in REGRESSION


_SEED = {"random_state": 0}
_FOREST = {"n_estimators": 100, **_SEED}
#: A fixed number of passes, so that both libraries do the same work.
_PASSES = {"max_iter": 20, "tol": 0.0, "n_iter_no_change": 20, **_SEED}
_CLUSTERING = {"n_clusters": 10, "init": "first rows", "n_init": 1}

#: Every classifier and clusterer, and the settings of its ladder of sizes.
_MODELS: dict[str, dict[str, Any]] = {
    "GaussianNB": {},
    # scikit-learn cannot predict codes that no training row had.
    "CategoricalNB": {"min_categories": 16},
    "MultinomialNB": {},
    "ComplementNB": {},
    "BernoulliNB": {"binarize": 0.3},
    "DecisionTreeClassifier": _SEED,
    "RandomForestClassifier": _FOREST,
    "ExtraTreesClassifier": _FOREST,
    "LinearSVC": {"C": 1.0, **_SEED},
    "SVC": {"C": 1.0},
    "MLPClassifier": _PASSES,
    "KMeans": _CLUSTERING,
    "MiniBatchKMeans": {**_CLUSTERING, **_SEED},
    "BisectingKMeans": {"n_clusters": 10, **_SEED},
}
#: The same of regressors. Their targets have mean 0 and deviation 1.
_REGRESSORS: dict[str, dict[str, Any]] = {
    "DecisionTreeRegressor": _SEED,
    "RandomForestRegressor": _FOREST,
    "ExtraTreesRegressor": _FOREST,
    "LinearSVR": {"C": 1.0, **_SEED},
    "SVR": {"C": 1.0},
    "MLPRegressor": _PASSES,
}
#: The models that this build has.
MODELS = tuple(name for name in (*_MODELS, *_REGRESSORS) if name in TYPES)

_KINDS = {
    "CategoricalNB": "codes",
    "MultinomialNB": "unit",
    "ComplementNB": "unit",
    "BernoulliNB": "unit",
}
#: Clusters looked for in data of few rows; ten elsewhere.
_CLUSTERS = {"iris": 3, "wine": 3, "breast_cancer": 2}

_LADDER = {
    "iris": "quick",
    "wine": "standard",
    "breast_cancer": "standard",
    "digits": "quick",
    "10k": "standard",
    "100k": "standard",
}
_REGRESSION_LADDER = {
    "diabetes": "quick",
    "regression10k": "standard",
    "regression100k": "standard",
}
#: Rungs that take scikit-learn long, and what no suite can wait for.
_HIGH_RUNGS: dict[tuple[str, str], str | None] = {
    ("ExtraTreesClassifier", "100k"): "full",
    ("RandomForestRegressor", "regression100k"): "full",
    ("ExtraTreesRegressor", "regression100k"): "full",
    ("LinearSVR", "regression100k"): "full",
    ("MLPClassifier", "100k"): "full",
    ("MLPRegressor", "regression100k"): "full",
    ("SVC", "100k"): None,
    ("SVR", "regression100k"): None,
}


def _ladder() -> list[Case]:
    cases = []
    for model, settings in {**_MODELS, **_REGRESSORS}.items():
        kind = _KINDS.get(model, "float64")
        small = "diabetes" if model in _REGRESSORS else "digits"
        rungs = _REGRESSION_LADDER if model in _REGRESSORS else _LADDER
        for source in rungs:
            suite = _HIGH_RUNGS.get((model, source), rungs[source])
            if suite is None:
                continue
            own = settings
            if "n_clusters" in settings and source in _CLUSTERS:
                own = {**settings, "n_clusters": _CLUSTERS[source]}
            cases.append(Case(f"{model}/{source}", model, source, kind, settings=own, suite=suite))
        cases.append(
            Case(
                f"{model}/{small}/one-row",
                model,
                small,
                kind,
                settings=settings,
                suite="quick",
                one_row=True,
            )
        )
    return cases


def _bayes() -> list[Case]:
    cases = [
        Case("GaussianNB/fmnist/float64", "GaussianNB", "fmnist"),
        Case("GaussianNB/fmnist/float32", "GaussianNB", "fmnist", "float32"),
        Case(
            "CategoricalNB/fmnist16",
            "CategoricalNB",
            "fmnist",
            "codes",
            settings=_MODELS["CategoricalNB"],
        ),
        Case("MultinomialNB/fmnist", "MultinomialNB", "fmnist"),
        Case("ComplementNB/fmnist", "ComplementNB", "fmnist"),
        Case("BernoulliNB/fmnist", "BernoulliNB", "fmnist", settings=_MODELS["BernoulliNB"]),
    ]
    for source in ("rt_polarity", "trec", "ag_news"):
        cases += [
            Case(f"{model}/{source}", model, source)
            for model in ("MultinomialNB", "ComplementNB", "BernoulliNB")
        ]
    return cases


def _trees() -> list[Case]:
    tree, forest, extra = "DecisionTreeClassifier", "RandomForestClassifier", "ExtraTreesClassifier"
    single = "float32"
    deep = {"criterion": "entropy", "max_depth": 10, **_SEED}
    cases = [
        Case(f"{tree}/fmnist/full", tree, "fmnist", single, settings=_SEED),
        Case(f"{tree}/fmnist/entropy-10", tree, "fmnist", single, settings=deep),
        Case(f"{tree}/synth500k/full", tree, "synth500k", single, settings=_SEED),
        Case(
            f"{tree}/synth500k/depth-10",
            tree,
            "synth500k",
            single,
            settings={"max_depth": 10, **_SEED},
        ),
    ]
    for model in (forest, extra):
        cases += [
            Case(f"{model}/fmnist", model, "fmnist", single, settings=_FOREST),
            Case(f"{model}/synth500k", model, "synth500k", single, settings=_FOREST, suite="full"),
        ]
    fewer = {**_FOREST, "n_estimators": 20}
    for model, settings, variant in (
        ("DecisionTreeRegressor", _SEED, ""),
        ("RandomForestRegressor", fewer, "/20-trees"),
        ("ExtraTreesRegressor", fewer, "/20-trees"),
    ):
        name = f"{model}/regression500k{variant}"
        cases.append(Case(name, model, "regression500k", single, settings=settings, suite="full"))
    return cases


def _machines() -> list[Case]:
    settings = _MODELS["LinearSVC"]
    cases = [
        Case("LinearSVC/fmnist-20k", "LinearSVC", "fmnist", rows=20_000, settings=settings),
        Case("LinearSVC/synth500k", "LinearSVC", "synth500k", settings=settings),
        Case(
            "SVC/fmnist-10k",
            "SVC",
            "fmnist",
            rows=10_000,
            test_rows=2_000,
            settings=_MODELS["SVC"],
        ),
    ]
    for source in ("rt_polarity", "trec", "ag_news"):
        cases.append(Case(f"LinearSVC/{source}", "LinearSVC", source, settings=settings))
    return cases


def _perceptrons() -> list[Case]:
    model, settings = "MLPClassifier", {**_PASSES, "hidden_layer_sizes": (512,), "max_iter": 3}
    return [Case(f"{model}/fmnist/512", model, "fmnist", "float32", settings=settings)]


def _clustering() -> list[Case]:
    cases = []
    single = "float32"
    for source, numbers in (("fmnist", (10, 100)), ("synth500k", (20, 256))):
        for k in numbers:
            base = {"n_clusters": k, "n_init": 1}
            for variant, settings, suite in (
                ("20-steps", {"init": "first rows", "max_iter": 20, "tol": 0.0}, "standard"),
                ("from-first-rows", {"init": "first rows"}, "full"),
                ("to-convergence", {"init": "k-means++", **_SEED}, "full"),
            ):
                name = f"KMeans/{source}/k{k}/{variant}"
                settings = {**base, "algorithm": "lloyd", **settings}
                cases.append(Case(name, "KMeans", source, single, settings=settings, suite=suite))
        batches = {"n_clusters": 100, "n_init": 1, "init": "k-means++", **_SEED}
        name = f"MiniBatchKMeans/{source}/k100"
        cases.append(Case(name, "MiniBatchKMeans", source, single, settings=batches))
        split = {"n_clusters": 20, **_SEED}
        name = f"BisectingKMeans/{source}/k20"
        cases.append(Case(name, "BisectingKMeans", source, single, settings=split))
    steps = {"n_clusters": 20, "n_init": 1, "init": "first rows", "max_iter": 20, "tol": 0.0}
    cases.append(Case("KMeans/ag_news/k20/20-steps", "KMeans", "ag_news", settings=steps))
    return cases


#: All cases of the models that this build has, by name, small data first.
CASES: dict[str, Case] = {
    case.name: case
    for build in (_ladder, _bayes, _trees, _machines, _perceptrons, _clustering)
    for case in build()
    if case.model in MODELS
}


def select(
    suite: str = "quick", *, cases: Sequence[str] = (), models: Sequence[str] = ()
) -> list[Case]:
    """Return the cases of a suite, narrowed by patterns and models.

    Parameters
    ----------
    suite : {"quick", "standard", "full"}
        How much; each suite has the cases of those before it.
    cases : sequence of str, default=()
        Keep the cases whose name matches one of these patterns (``*`` and ``?``, or a part
        of the name). Patterns select among all cases of any suite.
    models : sequence of str, default=()
        Keep the cases of these models.

    Returns
    -------
    list of Case
        At least one.

    Raises
    ------
    InvalidParameterError
        The suite or a model is not known, or nothing is left.

    Examples
    --------
    >>> from ironlearn import bench
    >>> [case.name for case in bench.select(cases=["GaussianNB/fmnist*"])]
    ['GaussianNB/fmnist/float64', 'GaussianNB/fmnist/float32']
    """
    if suite not in SUITES:
        raise InvalidParameterError(f"suite must be one of {', '.join(SUITES)}, got {suite!r}.")
    for model in models:
        if model not in MODELS:
            raise InvalidParameterError(
                f"there is no model {model!r}; known are {', '.join(MODELS)}."
            )
    chosen = list(CASES.values())
    if not cases:
        chosen = [c for c in chosen if SUITES.index(c.suite) <= SUITES.index(suite)]
    for pattern in cases:
        if not any(_matches(c.name, pattern) for c in CASES.values()):
            raise InvalidParameterError(
                f"no case matches {pattern!r}; `ironlearn bench --list --suite full` shows all."
            )
    if cases:
        chosen = [c for c in chosen if any(_matches(c.name, pattern) for pattern in cases)]
    if models:
        chosen = [c for c in chosen if c.model in models]
    if not chosen:
        raise InvalidParameterError(
            f"no case of {', '.join(models)} matches {', '.join(cases) or suite!r}."
        )
    return chosen


def _matches(name: str, pattern: str) -> bool:
    name, pattern = name.lower(), pattern.lower()
    return fnmatch.fnmatchcase(name, pattern) or pattern in name
