"""The models that are compared: a name, ours, scikit-learn's, and the same settings for both."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from sklearn.utils import get_tags

from ironlearn._table import Table
from ironlearn.evaluation.preprocessing import Preprocessor
from ironlearn.exceptions import DataError, InvalidParameterError

_MAX_DENSE_BYTES = 4 << 30
#: Rows from which on a kernel machine, whose time grows with their square, must be named.
_KERNEL_ROWS = 10_000


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
    task : {"classify", "regress", "cluster"}
        What it is compared by.
    settings : mapping
        Parameters that are the same on both sides.
    derived : callable
        Further ones, from the fitted preprocessor and the number of classes.
    most_rows : int or None
        With more rows it takes part in a comparison of all models only if it is named.
    """

    name: str
    class_name: str
    ours: str
    theirs: str
    view: str = "plain"
    task: Literal["classify", "regress", "cluster"] = "classify"
    settings: Mapping[str, Any] = field(default_factory=dict)
    derived: Callable[[Preprocessor, int], dict[str, Any]] = lambda prepare, n_classes: {}
    most_rows: int | None = None

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

    @property
    def sparse(self) -> bool:
        """Whether both libraries take sparse rows as they are."""
        # Trees take them by making them dense, once for each fit.
        return self.view != "tree" and all(
            get_tags(self.kind(library)()).input_tags.sparse
            for library in ("ironlearn", "scikit-learn")
        )

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
            Number of classes of the target; without meaning for a regressor.
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


def _naive_bayes(name: str, class_name: str, **more: Any) -> Spec:
    return Spec(name, class_name, "ironlearn.naive_bayes", "sklearn.naive_bayes", **more)


def _tree(name: str, class_name: str, **more: Any) -> Spec:
    package = "tree" if "DecisionTree" in class_name else "ensemble"
    return Spec(name, class_name, f"ironlearn.{package}", f"sklearn.{package}", view="tree", **more)


def _svm(name: str, class_name: str, **more: Any) -> Spec:
    return Spec(name, class_name, "ironlearn.svm", "sklearn.svm", view="scaled", **more)


def _k_means(name: str, class_name: str) -> Spec:
    return Spec(
        name,
        class_name,
        "ironlearn.cluster",
        "sklearn.cluster",
        view="scaled",
        task="cluster",
        settings={"n_init": 3},
        derived=lambda prepare, n_classes: {"n_clusters": n_classes},
    )


def _mlp(name: str, class_name: str, **more: Any) -> Spec:
    packages = "ironlearn.neural_network", "sklearn.neural_network"
    return Spec(name, class_name, *packages, view="scaled", settings=_MLP, **more)


_FOREST = {"n_estimators": 100}
#: Steps that suit tables of few rows, and an end that those of many rows come to sooner.
_MLP = {"learning_rate_init": 0.005, "tol": 1e-3, "n_iter_no_change": 5}

#: Classifiers and clusterers by name.
SPECS: dict[str, Spec] = {
    spec.name: spec
    for spec in (
        _naive_bayes("gaussian_nb", "GaussianNB"),
        _naive_bayes(
            "categorical_nb",
            "CategoricalNB",
            view="codes",
            # Codes that occur in test rows only must be known beforehand.
            derived=lambda prepare, n_classes: {"min_categories": prepare.n_categories_},
        ),
        _naive_bayes("multinomial_nb", "MultinomialNB", view="shares"),
        _naive_bayes("complement_nb", "ComplementNB", view="shares"),
        # Its threshold of 0 is the mean of a standardised number; other columns hold 0 or 1.
        _naive_bayes("bernoulli_nb", "BernoulliNB", view="scaled"),
        _tree("decision_tree", "DecisionTreeClassifier"),
        _tree("random_forest", "RandomForestClassifier", settings=_FOREST),
        _tree("extra_trees", "ExtraTreesClassifier", settings=_FOREST),
        _svm("linear_svc", "LinearSVC"),
        _svm("svc", "SVC", most_rows=_KERNEL_ROWS),
        _mlp("mlp", "MLPClassifier"),
        _k_means("kmeans", "KMeans"),
        _k_means("mini_batch_kmeans", "MiniBatchKMeans"),
        _k_means("bisecting_kmeans", "BisectingKMeans"),
    )
}

#: Regressors by name; a name that is also in `SPECS` stands for either, as the task says.
REGRESSORS: dict[str, Spec] = {
    spec.name: spec
    for spec in (
        _tree("decision_tree", "DecisionTreeRegressor", task="regress"),
        _tree("random_forest", "RandomForestRegressor", task="regress", settings=_FOREST),
        _tree("extra_trees", "ExtraTreesRegressor", task="regress", settings=_FOREST),
        _svm("linear_svr", "LinearSVR", task="regress"),
        _svm("svr", "SVR", task="regress", most_rows=_KERNEL_ROWS),
        _mlp("mlp", "MLPRegressor", task="regress"),
    )
}


def _specs(task: str) -> Mapping[str, Spec]:
    return REGRESSORS if task == "regression" else SPECS


def available(task: str = "classification") -> list[str]:
    """Return the names of the models that can be compared.

    Parameters
    ----------
    task : {"classification", "regression"}, default="classification"
        What the target is; clusterers are compared on classes.

    Returns
    -------
    list of str
        In the order of tables.
    """
    return [name for name, spec in _specs(task).items() if spec.available]


def tasks_of(model: str) -> list[str]:
    """Return the tasks that a model's name stands for in this build."""
    return [task for task in ("classification", "regression") if model in available(task)]


def choose(models: str | Sequence[str], task: str = "classification") -> list[Spec]:
    """Return the specs of model names, or of all for ``"all"``.

    Raises
    ------
    InvalidParameterError
        A name is not known or is of another task or given twice, or none is given.
    """
    names = available(task)
    if not names and models == "all":
        raise InvalidParameterError(f"this build of ironlearn has no model for {task}.")
    known = f"known are {', '.join(names)}" if names else f"this build has none for {task}"
    chosen = names if models == "all" else [models] if isinstance(models, str) else list(models)
    if not chosen:
        raise InvalidParameterError(f"no model was chosen; {known}.")
    for name in chosen:
        if name not in names:
            others = tasks_of(name)
            if others:
                raise InvalidParameterError(
                    f"the model {name!r} is for {others[0]}, but the task is {task}; {known}."
                )
            raise InvalidParameterError(f"unknown model {name!r}; {known}.")
        if chosen.count(name) > 1:
            raise InvalidParameterError(f"model {name!r} is given twice.")
    return [_specs(task)[name] for name in chosen]


def plan(models: str | Sequence[str], task: str, table: Table) -> tuple[list[Spec], list[str]]:
    """Return the specs to compare on a table, and notes on what is left out or changed.

    Of all models, those that cannot take the table, or take very long, are left out; models
    that are named are not.

    Raises
    ------
    InvalidParameterError
        As `choose`.
    DataError
        A named model cannot take the table, or no model can.
    """
    chosen, notes = [], []
    for spec in choose(models, task):
        reason = obstacle(spec, table)
        if reason is not None and models != "all":
            raise DataError(f"{spec.name} {reason}.")
        if reason is None and models == "all" and table.n_rows > (spec.most_rows or table.n_rows):
            reason = f"takes long with more than {spec.most_rows} rows; name it to have it"
        if reason is None:
            chosen.append(spec)
        else:
            notes.append(f"{spec.name} was left out: it {reason}")
    if not chosen:
        raise DataError(f"no model can take these data: {'; '.join(notes)}.")
    dense = [spec.name for spec in chosen if table.sparse is not None and not spec.sparse]
    if dense:
        notes.append(f"dense copies of the sparse rows were made for {', '.join(dense)}")
    return chosen, notes


def obstacle(spec: Spec, table: Table) -> str | None:
    """Return why a model cannot take a table, or ``None``."""
    if table.sparse is None:
        return None
    if spec.view == "shares" and table.sparse.nnz and table.sparse.data.min() < 0:
        return "needs values that are not negative, but the sparse rows have some"
    rows, columns = table.sparse.shape
    if rows * columns * 8 > _MAX_DENSE_BYTES and not spec.sparse:
        return f"needs dense rows, but {rows} x {columns} values are too many for that"
    return None
