"""The same models of ironlearn and scikit-learn on the same splits."""

from __future__ import annotations

import platform
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import sklearn
from numpy.typing import NDArray
from sklearn.metrics import adjusted_rand_score
from sklearn.model_selection import RepeatedKFold, RepeatedStratifiedKFold
from threadpoolctl import threadpool_limits

from ironlearn import __version__, _core, _threads
from ironlearn._table import Table, check_quantity, check_target, recognise_task
from ironlearn.evaluation.memory import peak_memory
from ironlearn.evaluation.metrics import class_scores, quick_scores, report
from ironlearn.evaluation.models import Spec, choose, plan
from ironlearn.evaluation.preprocessing import Preprocessor, describe
from ironlearn.evaluation.regression import check_quantile, regression_report, regression_scores
from ironlearn.evaluation.results import LIBRARIES, Comparison, Difference, Row, Side, adjust
from ironlearn.evaluation.schema import Schema
from ironlearn.evaluation.statistics import corrected_paired_test
from ironlearn.exceptions import DataError, InvalidParameterError

#: Called after each split with the model's name, splits done and splits in all.
Progress = Callable[[str, int, int], None]
_QUICK = 0.02  # seconds below which a timing is repeated
_WARM = 1.0  # seconds up to which a fit is done once more to measure its memory
_ROUNDS = 3


def compare(
    X: Any,
    y: Any,
    *,
    models: str | Sequence[str] = "all",
    task: str = "auto",
    cv: int = 5,
    repeats: int = 1,
    jobs: int | None = None,
    seed: int = 0,
    quantile: float = 0.5,
    name: str = "data",
    target: str = "y",
    progress: Progress | None = None,
    keep_partial: bool = False,
) -> Comparison:
    """Compare ironlearn with scikit-learn by cross-validation.

    Both libraries get the same matrices, splits, settings and numbers of threads, and take
    turns at going first. Preprocessing is learned from each split's training rows and is not
    part of the times; where a fit or prediction takes less than 20 ms, the best of three
    counts. Memory is measured in fits of its own, which are also the warm-up.

    Parameters
    ----------
    X : Table, DataFrame, mapping of columns, array-like or sparse matrix
        The features.
    y : array-like of shape (n_samples,)
        The class labels, or numbers to predict.
    models : "all" or sequence of str, default="all"
        Names as in `ironlearn.evaluation.available`. "all" leaves out, with a note, what
        cannot take the data, and kernel machines where there are more than 10,000 rows.
    task : {"auto", "classification", "regression"}, default="auto"
        What `y` is; "auto" decides as `ironlearn.io.recognise_task` does.
    cv : int, default=5
        Number of folds, stratified by class for classification.
    repeats : int, default=1
        How often the cross-validation is repeated with other folds.
    jobs : int, default=None
        Threads for either library; ``None`` takes all processors.
    seed : int, default=0
        Decides on the folds and on every model's ``random_state``.
    quantile : float, default=0.5
        The quantile of the pinball loss, for regression.
    name, target : str
        What the data and the target are called.
    progress : callable, default=None
        Called after each split with the model's name, splits done and splits in all.
    keep_partial : bool, default=False
        On Ctrl-C, return the finished models instead of raising ``KeyboardInterrupt``.

    Returns
    -------
    Comparison
        The table; `to_text`, `to_json` and `to_html` show it.

    Raises
    ------
    DataError
        X or y cannot be learned from, or a class has fewer rows than `cv`.
    InvalidParameterError
        A model's name is not known or of another task, or a number is out of its range.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from ironlearn.evaluation import compare
    >>> X, y = load_iris(return_X_y=True)
    >>> result = compare(X, y, models=["gaussian_nb"], cv=3)
    >>> row = result.rows[0]
    >>> row.ours.mean("accuracy") == row.theirs.mean("accuracy")
    True
    """
    for label, value, low in (("cv", cv, 2), ("repeats", repeats, 1), ("seed", seed, 0)):
        _check_integer(label, value, low)
    if jobs is not None and (isinstance(jobs, bool) or not isinstance(jobs, int) or jobs == 0):
        raise InvalidParameterError(f"jobs must be an integer other than 0 or None, got {jobs!r}.")
    check_quantile(quantile)
    found, reason = recognise_task(y, name=target, task=task)
    choose(models, found)
    table = Table.from_any(X)
    classes: list[str] = []
    values: NDArray[Any]
    splitter = RepeatedKFold(n_splits=cv, n_repeats=repeats, random_state=seed)
    if found == "regression":
        values = check_quantity(y, name=target, folds=cv)
        facts = {"mean": float(values.mean()), "deviation": float(values.std())}
    else:
        labels, values = np.unique(check_target(y, name=target, folds=cv), return_inverse=True)
        classes = [str(c) for c in labels.tolist()]
        facts = {"classes": len(classes)}
        splitter = RepeatedStratifiedKFold(n_splits=cv, n_repeats=repeats, random_state=seed)
    if len(table) != len(values):
        raise DataError(f"X has {len(table)} rows, but {target!r} has {len(values)}.")
    specs, notes = plan(models, found, table)
    schema = Schema.infer(table)
    threads = _threads.resolve(jobs)
    work = _Work(
        table, values, classes, schema, cv, repeats, threads, seed, float(quantile),
        list(splitter.split(np.zeros((len(values), 1)), values)), progress,
    )  # fmt: skip
    result = Comparison(
        dataset={
            "name": name,
            "target": target,
            "task": found,
            "reason": reason,
            "rows": len(table),
            "columns": len(table.names),
            **facts,
        },
        preprocessing=describe(schema),
        settings={"cv": cv, "repeats": repeats, "threads": threads, "seed": seed},
        machine=machine(),
        notes=notes,
    )
    if found == "regression":
        result.settings["quantile"] = float(quantile)
    try:
        with threadpool_limits(threads):
            for spec in specs:
                result.rows.append(work.row(spec))
    except KeyboardInterrupt:
        if not keep_partial:
            raise
        result.interrupted = True
    adjust(result.rows)
    return result


def _check_integer(label: str, value: Any, low: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < low:
        raise InvalidParameterError(f"{label} must be an integer of at least {low}, got {value!r}.")


def machine() -> dict[str, Any]:
    """Return the versions and the processors that a result belongs to."""
    info = _core.build_info()
    return {
        "ironlearn": __version__,
        "scikit-learn": sklearn.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        "processors": _threads.available_cpus(),
        "simd": info["simd"],
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


@dataclass
class _Work:
    """All that the models of one comparison share."""

    table: Table
    y: NDArray[Any]
    class_names: list[str]
    schema: Schema
    cv: int
    repeats: int
    threads: int
    seed: int
    quantile: float
    splits: list[tuple[NDArray[np.intp], NDArray[np.intp]]]
    progress: Progress | None

    def row(self, spec: Spec) -> Row:
        """Return the results of one model."""
        table, schema = self.table, self.schema
        if table.sparse is not None and not spec.sparse:
            table = Table.from_any(table.sparse.toarray(), table.names)
            schema = Schema.infer(table)
        row = Row(spec.name, spec.task, Side(LIBRARIES[0]), Side(LIBRARIES[1]))
        pooled = [_Pool(self.y) for _ in row.sides]
        for number, (train, test) in enumerate(self.splits):
            if self.progress:
                self.progress(spec.name, number, len(self.splits))
            part = table.take(train)
            prepare = Preprocessor(spec.view).fit(part, schema)
            data = _Split(
                prepare.transform(part),
                self.y[train],
                prepare.transform(table.take(test)),
                self.y[test],
            )
            del part

            def make(library: str, prepare: Preprocessor = prepare, number: int = number) -> Any:
                return spec.make(
                    library,
                    prepare,
                    len(self.class_names),
                    jobs=self.threads,
                    seed=self.seed + number,
                )

            if number == 0:
                row.parameters = _shared(make(LIBRARIES[1]))
                for side in row.sides:
                    side.memory_bytes = _memory(make, side.library, data)
            fitted = _fit_both(row, make, data, number)
            for side, (model, predicted), pool in zip(row.sides, fitted, pooled, strict=True):
                with warnings.catch_warnings(record=True) as caught:
                    warnings.simplefilter("always")
                    found, scores = self._judge(spec, model, predicted, data)
                _note(side, caught)
                for score, value in found.items():
                    side.scores.setdefault(score, []).append(value)
                if spec.task != "cluster" and number < self.cv:
                    pool.add(test, predicted, scores)
        if self.progress:
            self.progress(spec.name, len(self.splits), len(self.splits))
        for side, pool in zip(row.sides, pooled, strict=True):
            if spec.task == "classify":
                classes = np.arange(len(self.class_names))
                side.report = report(self.y, pool.predicted, pool.scores, classes, self.class_names)
            elif spec.task == "regress":
                side.report = regression_report(self.y, pool.predicted, self.quantile)
        self._test(row)
        return row

    def _judge(
        self, spec: Spec, model: Any, predicted: NDArray[Any], data: _Split
    ) -> tuple[dict[str, float], NDArray[np.float64] | None]:
        """Return the scores of one split, and the values behind a ROC curve."""
        if spec.task == "cluster":
            found = {
                "adjusted_rand": float(adjusted_rand_score(data.y_test, predicted)),
                "inertia": float(model.inertia_),
            }
            return found, None
        if spec.task == "regress":
            return regression_scores(data.y_test, predicted, self.quantile), None
        scores = class_scores(model, data.X_test)
        classes = np.arange(len(self.class_names))
        return quick_scores(data.y_test, predicted, scores, classes), scores

    def _test(self, row: Row) -> None:
        n_test = len(self.y) / self.cv
        sizes = {"n_train": len(self.y) - n_test, "n_test": n_test}
        for score in row.ours.scores:
            if score in row.theirs.scores:
                row.differences[score] = Difference(
                    corrected_paired_test(row.ours.scores[score], row.theirs.scores[score], **sizes)
                )
        for name in ("fit_seconds", "predict_seconds"):
            # Times differ by factors, so their logarithms are compared.
            ours, theirs = (np.log(getattr(side, name)) for side in row.sides)
            row.differences[name] = Difference(corrected_paired_test(ours, theirs, **sizes))


@dataclass
class _Split:
    X_train: Any
    y_train: NDArray[Any]
    X_test: Any
    y_test: NDArray[Any]


class _Pool:
    """Predictions of all test rows of one repeat, put together."""

    def __init__(self, y: NDArray[Any]) -> None:
        self.predicted = np.zeros_like(y)
        self.scores: NDArray[np.float64] | None = None

    def add(
        self, rows: NDArray[np.intp], predicted: NDArray[Any], scores: NDArray[np.float64] | None
    ) -> None:
        self.predicted[rows] = predicted
        if scores is not None:
            if self.scores is None:
                self.scores = np.zeros((len(self.predicted), *scores.shape[1:]))
            self.scores[rows] = scores


def _memory(make: Callable[[str], Any], library: str, data: _Split) -> int | None:
    """Return the peak of extra memory during a fit that is not timed.

    The first fit of a model also loads code and starts threads; where it is quick, a second
    one counts.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        start = time.perf_counter()
        extra = peak_memory(partial(make(library).fit, data.X_train, data.y_train))[1]
        if time.perf_counter() - start < _WARM:
            extra = peak_memory(partial(make(library).fit, data.X_train, data.y_train))[1]
    return extra


def _shared(theirs: Any) -> dict[str, Any]:
    """Return the settings of an estimator that JSON can hold."""
    values = theirs.get_params(deep=False)
    return {
        name: value
        for name, value in sorted(values.items())
        if name != "random_state" and isinstance(value, bool | int | float | str)
    }


def _fit_both(
    row: Row, make: Callable[[str], Any], data: _Split, number: int
) -> list[tuple[Any, NDArray[Any]]]:
    """Fit and predict with both libraries in turns; return the models and their answers."""
    order = row.sides if number % 2 == 0 else row.sides[::-1]
    models: dict[str, Any] = {}
    answers: dict[str, NDArray[Any]] = {}
    fits: dict[str, list[float]] = {side.library: [] for side in order}
    predictions: dict[str, list[float]] = {side.library: [] for side in order}
    for round_ in range(_ROUNDS):
        for side in order:
            if round_ == 0 or min(fits[side.library]) < _QUICK:
                model = models[side.library] = make(side.library)
                _timed(side, fits, partial(model.fit, data.X_train, data.y_train))
        for side in order:
            if round_ == 0 or min(predictions[side.library]) < _QUICK:
                model = models[side.library]
                answers[side.library] = np.asarray(
                    _timed(side, predictions, partial(model.predict, data.X_test))
                )
    for side in row.sides:
        side.fit_seconds.append(min(fits[side.library]))
        side.predict_seconds.append(min(predictions[side.library]))
    return [(models[side.library], answers[side.library]) for side in row.sides]


def _timed(side: Side, seconds: dict[str, list[float]], call: Callable[[], Any]) -> Any:
    """Call, note the seconds and the warnings of a side, and return the answer."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        start = time.perf_counter()
        answer = call()
        seconds[side.library].append(time.perf_counter() - start)
    _note(side, caught)
    return answer


def _note(side: Side, caught: Sequence[warnings.WarningMessage]) -> None:
    for warning in caught:
        text = f"{warning.category.__name__}: {' '.join(str(warning.message).split())}"
        if text not in side.notes:
            side.notes.append(text)
