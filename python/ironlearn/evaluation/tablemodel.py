"""One model for a table: preprocessing and estimator, fitted together, saved in one file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import NotFittedError

from ironlearn import _modelfile
from ironlearn._table import TASKS, Table, check_quantity, check_target, recognise_task
from ironlearn.base import estimator_from
from ironlearn.evaluation.models import REGRESSORS, SPECS, Spec, choose, obstacle, tasks_of
from ironlearn.evaluation.preprocessing import Preprocessor
from ironlearn.exceptions import DataError, InvalidParameterError, ModelFileError


class TableModel:
    """An estimator of ironlearn behind the automatic preprocessing of tables.

    Parameters
    ----------
    model : str
        A name as in `ironlearn.evaluation.available`.
    parameters : mapping of str to object, default=None
        Parameters of the estimator.
    jobs : int, default=None
        Threads; ``None`` uses all processors.
    seed : int, default=0
        The estimator's ``random_state``, where it has one.
    task : {"auto", "classification", "regression"}, default="auto"
        What a model is whose name stands for either, such as "random_forest"; "auto" decides
        by the target, as `ironlearn.io.recognise_task` does.

    Attributes
    ----------
    prepare_ : Preprocessor
        The fitted preprocessing.
    estimator_ : Estimator
        The fitted estimator.
    classes_ : ndarray of shape (n_classes,)
        The class labels, where it is a classifier.
    target_ : str
        What the target was called.
    task_ : {"classification", "regression"}
        What the model is; "classification" for a clusterer.
    reason_ : str
        Why.

    Examples
    --------
    >>> from ironlearn.evaluation import TableModel
    >>> X = {"size": [1.0, 1.2, None, 5.0, 5.1, 4.9], "colour": ["r", "r", "g", "g", "b", "b"]}
    >>> model = TableModel("gaussian_nb").fit(X, ["small"] * 3 + ["large"] * 3)
    >>> model.predict({"size": [1.1, 5.2], "colour": ["r", "violet"]}).tolist()
    ['small', 'large']
    """

    prepare_: Preprocessor
    estimator_: Any
    target_: str
    task_: str
    reason_: str

    def __init__(
        self,
        model: str,
        parameters: Mapping[str, Any] | None = None,
        *,
        jobs: int | None = None,
        seed: int = 0,
        task: str = "auto",
    ) -> None:
        self.model = model
        self.parameters = dict(parameters or {})
        self.jobs = jobs
        self.seed = seed
        self.task = task

    @property
    def tasks(self) -> list[str]:
        """What the model may be: its name and `task` leave one or two of the tasks.

        Raises
        ------
        InvalidParameterError
            The model is not known, or not for `task`.
        """
        if self.task not in TASKS:
            raise InvalidParameterError(
                f"task must be one of {', '.join(TASKS)}, got {self.task!r}."
            )
        found = tasks_of(self.model)
        if self.task != "auto" or not found:
            # Raises where the name does not fit.
            task = "classification" if self.task == "auto" else self.task
            choose([self.model], task)
            return [task]
        return found

    @property
    def clusters(self) -> bool:
        """Whether the model is a clusterer, which needs no target."""
        return self.tasks == ["classification"] and SPECS[self.model].task == "cluster"

    def _recognise(self, y: Any, target: str) -> tuple[str, str]:
        tasks = self.tasks
        if len(tasks) == 1:
            reason = "as chosen" if self.task != "auto" else f"the task of {self.model}"
            return tasks[0], reason
        return recognise_task(y, name=target)

    @property
    def classes_(self) -> NDArray[Any]:
        """The class labels."""
        return self.estimator_.classes_

    def fit(self, X: Any, y: Any = None, *, target: str = "y") -> Self:
        """Fit preprocessing and estimator.

        Parameters
        ----------
        X : Table, DataFrame, mapping of columns, array-like or sparse matrix
            The features.
        y : array-like of shape (n_samples,)
            The class labels, or numbers to predict; may be left out for a clusterer.
        target : str, default="y"
            What the target is called.

        Returns
        -------
        self : TableModel
            The fitted model.

        Raises
        ------
        DataError
            X or y cannot be learned from.
        InvalidParameterError
            The model or a parameter is not known, or a value is not accepted.
        """
        tasks = self.tasks
        table = Table.from_any(X)
        values = None
        if y is not None:
            self.task_, self.reason_ = self._recognise(y, target)
            check = check_quantity if self.task_ == "regression" else check_target
            values = check(y, name=target)
            if len(values) != len(table):
                raise DataError(f"X has {len(table)} rows, but {target!r} has {len(values)}.")
        elif not self.clusters:
            raise DataError(f"{self.model} needs a target.")
        else:
            self.task_, self.reason_ = tasks[0], f"the task of {self.model}"
        spec = choose([self.model], self.task_)[0]
        reason = obstacle(spec, table)
        if reason is not None:
            raise DataError(f"{self.model} {reason}.")
        if table.sparse is not None and not spec.sparse:
            table = Table.from_any(table.sparse.toarray(), table.names)
        self.prepare_ = Preprocessor(spec.view).fit(table)
        # A clusterer without a target has as many clusters as its class gives by default.
        n_classes = 8 if values is None else len(np.unique(values))
        estimator = spec.make(
            "ironlearn",
            self.prepare_,
            n_classes,
            jobs=self.jobs,
            seed=self.seed,
            parameters=self.parameters,
        )
        estimator._validate_parameters()
        matrix = self.prepare_.transform(table)
        self.estimator_ = estimator.fit(matrix) if values is None else estimator.fit(matrix, values)
        self.target_ = target
        return self

    def _matrix(self, X: Any) -> Any:
        if not hasattr(self, "estimator_"):
            raise NotFittedError("This TableModel is not fitted yet; call fit first.")
        return self.prepare_.transform(Table.from_any(X))

    def predict(self, X: Any) -> NDArray[Any]:
        """Return the class, value or cluster of each row.

        Parameters
        ----------
        X : Table, DataFrame, mapping of columns, array-like or sparse matrix
            Rows with the columns of the training data, in any order; others are ignored.
        """
        matrix = self._matrix(X)
        return self.estimator_.predict(matrix)

    def __getattr__(self, name: str) -> Any:
        # Only the methods that the estimator has exist here.
        if name in ("predict_proba", "decision_function") and "estimator_" in self.__dict__:
            method = getattr(self.estimator_, name)
            return lambda X: method(self._matrix(X))
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write preprocessing and estimator to one model file, atomically.

        Parameters
        ----------
        path : str or path-like
            The file to write; ``ironlearn.load`` reads the estimator alone from it.
        """
        if not hasattr(self, "estimator_"):
            raise NotFittedError("This TableModel is not fitted yet; call fit first.")
        contents = self.estimator_._contents()
        contents.attributes["table"] = {
            "model": self.model,
            "target": self.target_,
            "preprocessing": self.prepare_.to_state(),
        }
        _modelfile.write(path, contents)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read what `save` wrote.

        Parameters
        ----------
        path : str or path-like
            The file.

        Raises
        ------
        ModelFileError
            The file is not a model file, was changed, is of a newer version, or holds an
            estimator without preprocessing.
        """
        contents = _modelfile.read(path)
        name = os.fspath(path)
        state = contents.attributes.get("table")
        if state is None:
            raise ModelFileError(
                f"{name} holds a {contents.type} without the preprocessing of a table; load it "
                "with ironlearn.load."
            )
        try:
            model, target = str(state["model"]), str(state["target"])
            preprocessing = state["preprocessing"]
        except (KeyError, TypeError) as error:
            raise ModelFileError(f"{name} holds no valid preprocessing: {error}") from error
        task, spec = _named(model, contents.type)
        if spec is None:
            raise ModelFileError(f"{name}: {model!r} is not the name of a {contents.type}.")
        self = cls(model, task=task)
        self.task_, self.reason_ = task, "as trained"
        self.prepare_ = Preprocessor.from_state(preprocessing)
        self.estimator_ = estimator_from(contents, path)
        self.target_ = target
        if (
            self.prepare_.view != spec.view
            or len(self.prepare_.feature_names_) != self.estimator_.n_features_in_
        ):
            raise ModelFileError(f"{name}: preprocessing and {contents.type} do not fit together.")
        parameters = self.estimator_.get_params(deep=False)
        self.parameters = {k: v for k, v in parameters.items() if k != "n_jobs"}
        return self


def _named(model: str, class_name: str) -> tuple[str, Spec | None]:
    """Return the task and the spec of a model's name that is of the given class."""
    for task, specs in (("classification", SPECS), ("regression", REGRESSORS)):
        spec = specs.get(model)
        if spec is not None and spec.class_name == class_name:
            return task, spec
    return "classification", None


def parse_parameters(pairs: list[str]) -> dict[str, Any]:
    """Return parameters from texts such as ``max_depth=3`` or ``criterion=entropy``.

    Raises
    ------
    InvalidParameterError
        A text has no ``=``, or a name comes twice.

    Examples
    --------
    >>> from ironlearn.evaluation.tablemodel import parse_parameters
    >>> parse_parameters(["max_depth=3", "criterion=entropy", "max_features=None"])
    {'max_depth': 3, 'criterion': 'entropy', 'max_features': None}
    """
    import ast

    found: dict[str, Any] = {}
    for pair in pairs:
        name, sign, text = (part.strip() for part in pair.partition("="))
        if not sign or not name:
            raise InvalidParameterError(f"a parameter is given as name=value, not {pair!r}.")
        if name in found:
            raise InvalidParameterError(f"the parameter {name!r} is given twice.")
        try:
            found[name] = ast.literal_eval(text)
        except (ValueError, SyntaxError):
            found[name] = {"true": True, "false": False, "null": None}.get(text, text)
    return found


def as_labels(y: NDArray[Any], classes: NDArray[Any]) -> NDArray[Any]:
    """Return labels in the type of the classes that were learned.

    A file of few rows may spell its labels so that they are read as another type.

    Raises
    ------
    DataError
        The labels cannot be of that type.
    """
    if y.dtype.kind == classes.dtype.kind or {y.dtype.kind, classes.dtype.kind} <= set("iu"):
        return y
    if classes.dtype.kind == "U":
        return y.astype(np.str_)
    try:
        return y.astype(np.int64) if y.dtype.kind != "b" else y
    except ValueError:
        raise DataError(
            f"the model knows the classes {', '.join(map(str, classes[:5].tolist()))}, but the "
            f"target holds {y[0].item()!r}."
        ) from None
