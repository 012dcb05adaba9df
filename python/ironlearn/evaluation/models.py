"""The models that are compared: a name, ours, scikit-learn's, and the same settings for both."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from ironlearn.evaluation.preprocessing import Preprocessor
from ironlearn.exceptions import InvalidParameterError


@dataclass(frozen=True)
class Spec:
    """One model: where both libraries have it, and how it is fed.

    Attributes
    ----------
    name : str
        The name on the command line.
    class_name : str
        The name of the class, in both libraries.
    ours, theirs : str
        The modules that have it.
    view : str
        The view of `Preprocessor` that it takes.
    task : {"classify", "cluster"}
        What it is compared by.
    settings : mapping
        Parameters that are the same on both sides.
    derived : callable
        Further ones, from the fitted preprocessor and the number of classes.
    sparse : bool
        Takes sparse rows on both sides.
    """

    name: str
    class_name: str
    ours: str
    theirs: str
    view: str = "plain"
    task: Literal["classify", "cluster"] = "classify"
    settings: Mapping[str, Any] = field(default_factory=dict)
    derived: Callable[[Preprocessor, int], dict[str, Any]] = lambda prepare, n_classes: {}
    sparse: bool = False

    def kind(self, library: str) -> Any:
        """Return the class of "ironlearn" or "scikit-learn"."""
        module = self.ours if library == "ironlearn" else self.theirs
        found = getattr(importlib.import_module(module), self.class_name)
        # Under `ironlearn.patch` scikit-learn's name means ironlearn's class.
        return getattr(found, "_ironlearn_genuine", found)

    @property
    def available(self) -> bool:
        """Whether this build of ironlearn has the model."""
        try:
            self.kind("ironlearn")
        except (ModuleNotFoundError, AttributeError):
            return False
        return True

    def make(
        self,
        library: str,
        prepare: Preprocessor,
        n_classes: int,
        *,
        jobs: int | None = None,
        seed: int | None = None,
        parameters: Mapping[str, Any] | None = None,
    ) -> Any:
        """Return an unfitted estimator.

        Parameters
        ----------
        library : {"ironlearn", "scikit-learn"}
            Whose.
        prepare : Preprocessor
            What made the training matrix.
        n_classes : int
            Number of classes of the target.
        jobs : int, default=None
            Threads, where the estimator has ``n_jobs``.
        seed : int, default=None
            Its ``random_state``, where it has one.
        parameters : mapping, default=None
            Parameters that override the settings.
        """
        kind = self.kind(library)
        known = kind._get_param_names()
        values = {**self.settings, **self.derived(prepare, n_classes)}
        if "n_jobs" in known:
            values["n_jobs"] = jobs
        if "random_state" in known:
            values["random_state"] = seed
        values.update(parameters or {})
        unknown = sorted(set(values) - set(known))
        if unknown:
            raise InvalidParameterError(
                f"{self.class_name} has no parameter {unknown[0]!r}; it has {', '.join(known)}."
            )
        return kind(**values)


SPECS: dict[str, Spec] = {
    spec.name: spec
    for spec in (
        Spec("gaussian_nb", "GaussianNB", "ironlearn.naive_bayes", "sklearn.naive_bayes"),
        Spec(
            "categorical_nb",
            "CategoricalNB",
            "ironlearn.naive_bayes",
            "sklearn.naive_bayes",
            view="codes",
            # Codes that occur in test rows only must be known beforehand.
            derived=lambda prepare, n_classes: {"min_categories": prepare.n_categories_},
        ),
        Spec(
            "decision_tree",
            "DecisionTreeClassifier",
            "ironlearn.tree",
            "sklearn.tree",
            view="tree",
        ),
        Spec(
            "random_forest",
            "RandomForestClassifier",
            "ironlearn.ensemble",
            "sklearn.ensemble",
            view="tree",
            settings={"n_estimators": 100},
        ),
        Spec("linear_svc", "LinearSVC", "ironlearn.svm", "sklearn.svm", view="scaled", sparse=True),
        Spec(
            "kmeans",
            "KMeans",
            "ironlearn.cluster",
            "sklearn.cluster",
            view="scaled",
            task="cluster",
            settings={"n_init": 3},
            derived=lambda prepare, n_classes: {"n_clusters": n_classes},
        ),
    )
}


def available() -> list[str]:
    """Return the names of the models that can be compared."""
    return [name for name, spec in SPECS.items() if spec.available]


def choose(models: str | Sequence[str]) -> list[Spec]:
    """Return the specs of model names, or of all for ``"all"``.

    Raises
    ------
    InvalidParameterError
        A name is not known or given twice, or none is given.
    """
    names = available()
    chosen = names if models == "all" else [models] if isinstance(models, str) else list(models)
    if not chosen:
        raise InvalidParameterError(f"no model was chosen; known are {', '.join(names)}.")
    for name in chosen:
        if name not in names:
            raise InvalidParameterError(f"unknown model {name!r}; known are {', '.join(names)}.")
        if chosen.count(name) > 1:
            raise InvalidParameterError(f"model {name!r} is given twice.")
    return [SPECS[name] for name in chosen]
