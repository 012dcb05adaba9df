"""The cases: a model, its settings, data, and the smallest suite that has it."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

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
    source, kind, rows
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


#: Every model and the settings of its ladder of sizes.
_MODELS: dict[str, dict[str, Any]] = {
    "GaussianNB": {},
    # scikit-learn cannot predict codes that no training row had.
    "CategoricalNB": {"min_categories": 16},
    "DecisionTreeClassifier": {"random_state": 0},
    "RandomForestClassifier": {"n_estimators": 100, "random_state": 0},
    "LinearSVC": {"C": 1.0, "random_state": 0},
    "KMeans": {"n_clusters": 10, "init": "first rows", "n_init": 1},
}
MODELS = tuple(_MODELS)

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


def _ladder() -> list[Case]:
    cases = []
    for model, settings in _MODELS.items():
        kind = "codes" if model == "CategoricalNB" else "float64"
        for source, suite in _LADDER.items():
            own = settings
            if model == "KMeans" and source in _CLUSTERS:
                own = {**settings, "n_clusters": _CLUSTERS[source]}
            cases.append(Case(f"{model}/{source}", model, source, kind, settings=own, suite=suite))
        cases.append(
            Case(
                f"{model}/digits/one-row",
                model,
                "digits",
                kind,
                settings=settings,
                suite="quick",
                one_row=True,
            )
        )
    return cases


def _large() -> list[Case]:
    seed = {"random_state": 0}
    tree, forest = "DecisionTreeClassifier", "RandomForestClassifier"
    deep = {"criterion": "entropy", "max_depth": 10, **seed}
    many = {"n_estimators": 100, **seed}
    svc = {"C": 1.0, **seed}
    single = "float32"
    cases = [
        Case("GaussianNB/fmnist/float64", "GaussianNB", "fmnist"),
        Case("GaussianNB/fmnist/float32", "GaussianNB", "fmnist", single),
        Case(
            "CategoricalNB/fmnist16",
            "CategoricalNB",
            "fmnist",
            "codes",
            settings=_MODELS["CategoricalNB"],
        ),
        Case(f"{tree}/fmnist/full", tree, "fmnist", single, settings=seed),
        Case(f"{tree}/fmnist/entropy-10", tree, "fmnist", single, settings=deep),
        Case(f"{tree}/synth500k/full", tree, "synth500k", single, settings=seed),
        Case(
            f"{tree}/synth500k/depth-10",
            tree,
            "synth500k",
            single,
            settings={"max_depth": 10, **seed},
        ),
        Case(f"{forest}/fmnist", forest, "fmnist", single, settings=many),
        Case(f"{forest}/synth500k", forest, "synth500k", single, settings=many, suite="full"),
        Case("LinearSVC/fmnist-20k", "LinearSVC", "fmnist", rows=20_000, settings=svc),
        Case("LinearSVC/synth500k", "LinearSVC", "synth500k", settings=svc),
    ]
    for source, numbers in (("fmnist", (10, 100)), ("synth500k", (20, 256))):
        for k in numbers:
            base = {"n_clusters": k, "n_init": 1}
            for variant, settings, suite in (
                ("20-steps", {"init": "first rows", "max_iter": 20, "tol": 0.0}, "standard"),
                ("from-first-rows", {"init": "first rows"}, "full"),
                ("to-convergence", {"init": "k-means++", **seed}, "full"),
            ):
                name = f"KMeans/{source}/k{k}/{variant}"
                settings = {**base, "algorithm": "lloyd", **settings}
                cases.append(Case(name, "KMeans", source, single, settings=settings, suite=suite))
    return cases


#: All cases by name, small data first.
CASES: dict[str, Case] = {case.name: case for case in (*_ladder(), *_large())}


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
        if model not in _MODELS:
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
