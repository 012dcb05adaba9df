"""How good a model is; of a classifier, one report of scores, confusion matrix and curves."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import (
    average_precision_score,
    confusion_matrix,
    precision_recall_curve,
    precision_recall_fscore_support,
    roc_auc_score,
    roc_curve,
)
from sklearn.utils.validation import check_consistent_length, column_or_1d

from ironlearn._table import check_quantity
from ironlearn.evaluation.regression import RegressionReport, check_quantile, regression_report

#: Scores that reports and comparisons of classifiers have, with their titles.
SCORES = {
    "accuracy": "accuracy",
    "precision": "precision",
    "recall": "recall",
    "f1": "F1",
    "roc_auc": "ROC AUC",
}
_GRID = np.linspace(0.0, 1.0, 101)


@dataclass(frozen=True)
class Curve:
    """Points of a curve and what lies below it.

    Attributes
    ----------
    x, y : list of float
        Coordinates: false and true positive rate, or recall and precision.
    area : float
        ROC AUC, or average precision.
    """

    x: list[float]
    y: list[float]
    area: float


@dataclass(frozen=True)
class Report:
    """What `evaluate` found.

    Attributes
    ----------
    classes : list of str
        Names of the classes, in the order of everything else.
    n_rows : int
        Number of rows.
    accuracy : float
        Share of rows that were predicted right.
    precision, recall, f1 : list of float
        For each class.
    support : list of int
        Rows of each class.
    macro, weighted : dict of str to float
        Means of precision, recall and f1 over the classes, plain and by support.
    roc_auc : float or None
        Mean over the classes of one against the rest; ``None`` without scores or where a
        class has no rows.
    confusion : list of list of int
        Rows are true classes, columns predicted ones.
    roc, precision_recall : Curve or None
        For two classes of the second one, else the mean of one against the rest.
    """

    classes: list[str]
    n_rows: int
    accuracy: float
    precision: list[float]
    recall: list[float]
    f1: list[float]
    support: list[int]
    macro: dict[str, float]
    weighted: dict[str, float]
    roc_auc: float | None
    confusion: list[list[int]]
    roc: Curve | None
    precision_recall: Curve | None

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain values."""
        return asdict(self)

    def to_json(self) -> str:
        """Return the report as JSON."""
        return json.dumps(self.to_dict(), indent=1, allow_nan=False) + "\n"

    def to_text(self) -> str:
        """Return the report as a table of text."""
        width = max(12, *(len(name) for name in self.classes))
        lines = [f"{'':{width}}  precision  recall      f1    rows"]
        for i, name in enumerate(self.classes):
            lines.append(
                f"{name:{width}}  {self.precision[i]:9.4f}  {self.recall[i]:6.4f}  "
                f"{self.f1[i]:6.4f}  {self.support[i]:6d}"
            )
        for title, mean in (("macro mean", self.macro), ("weighted", self.weighted)):
            lines.append(
                f"{title:{width}}  {mean['precision']:9.4f}  {mean['recall']:6.4f}  "
                f"{mean['f1']:6.4f}  {self.n_rows:6d}"
            )
        auc = "" if self.roc_auc is None else f", ROC AUC {self.roc_auc:.4f}"
        return "\n".join([*lines, f"accuracy {self.accuracy:.4f}{auc}"])


def evaluate(estimator: Any, X: Any, y: Any, *, quantile: float = 0.5) -> Report | RegressionReport:
    """Report how well a fitted classifier or regressor predicts.

    Parameters
    ----------
    estimator : classifier or regressor
        With ``predict``; a classifier has ``classes_`` and, for ROC, ``predict_proba`` or
        ``decision_function``.
    X : array-like of shape (n_samples, n_features)
        Rows, or whatever the estimator predicts from.
    y : array-like of shape (n_samples,)
        Their true labels or values.
    quantile : float, default=0.5
        The quantile of a regressor's pinball loss.

    Returns
    -------
    Report or RegressionReport
        Scores, confusion matrix and curves; for a regressor, scores and points to plot.

    Raises
    ------
    ValueError
        X and y have different lengths, y has no rows, or the estimator is a clusterer.
    InvalidParameterError
        `quantile` is not between 0 and 1.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes, load_iris
    >>> from sklearn.linear_model import LinearRegression
    >>> from ironlearn.evaluation import evaluate
    >>> from ironlearn.naive_bayes import GaussianNB
    >>> X, y = load_iris(return_X_y=True)
    >>> report = evaluate(GaussianNB().fit(X, y), X, y)
    >>> report.accuracy, report.confusion[1]
    (0.96, [0, 47, 3])
    >>> X, y = load_diabetes(return_X_y=True)
    >>> round(evaluate(LinearRegression().fit(X, y), X, y).r2, 3)
    0.518
    """
    check_quantile(quantile)
    y = column_or_1d(y)
    if not len(y):
        raise ValueError("y has no rows.")
    classifies = hasattr(estimator, "classes_")
    if not classifies and hasattr(estimator, "cluster_centers_"):
        raise ValueError(f"{type(estimator).__name__} is a clusterer; it has no classes to judge.")
    predicted = np.asarray(estimator.predict(X))
    check_consistent_length(predicted, y)
    if classifies:
        return report(y, predicted, class_scores(estimator, X), estimator.classes_)
    return regression_report(check_quantity(y, min_values=1), column_or_1d(predicted), quantile)


def class_scores(estimator: Any, X: Any) -> NDArray[np.float64] | None:
    """Return probabilities or decision values, or ``None`` where there are none.

    The shape is (n_samples,) for two classes, of the second one, else (n_samples, n_classes).
    """
    for method in ("predict_proba", "decision_function"):
        if hasattr(estimator, method):
            scores = np.asarray(getattr(estimator, method)(X), dtype=np.float64)
            return scores[:, 1] if scores.ndim == 2 and scores.shape[1] == 2 else scores
    return None


def report(
    y: NDArray[Any],
    predicted: NDArray[Any],
    scores: NDArray[np.float64] | None,
    classes: ArrayLike,
    names: Sequence[str] | None = None,
) -> Report:
    """Report on given predictions.

    Parameters
    ----------
    y, predicted : ndarray of shape (n_samples,)
        True and predicted labels.
    scores : ndarray of shape (n_samples,) or (n_samples, n_classes) or None
        As `class_scores` returns them, columns in the order of `classes`.
    classes : array-like of shape (n_classes,)
        The labels that were learned; labels of y that are not among them are added.
    names : sequence of str, default=None
        What to call the classes; ``None`` uses the labels.
    """
    learned = np.asarray(classes)
    others = np.setdiff1d(y, learned)
    labels = np.concatenate([learned, others]) if len(others) else learned
    precision, recall, f1, support = precision_recall_fscore_support(
        y, predicted, labels=labels, zero_division=0.0
    )
    share = support / support.sum()
    columns = {"precision": precision, "recall": recall, "f1": f1}
    roc = precision_recall = None
    auc = None
    counts = support[: len(learned)]
    if scores is not None and not len(others) and (counts > 0).all() and (counts < len(y)).all():
        truth, columns_of = _one_against_rest(y, learned, scores)
        auc = _mean_auc(truth, columns_of)
        roc = _mean_roc(truth, columns_of, auc)
        precision_recall = _mean_precision_recall(truth, columns_of)
    return Report(
        classes=[str(v) for v in labels.tolist()] if names is None else list(names),
        n_rows=len(y),
        accuracy=float((predicted == y).mean()),
        precision=precision.tolist(),
        recall=recall.tolist(),
        f1=f1.tolist(),
        support=support.tolist(),
        macro={k: float(v.mean()) for k, v in columns.items()},
        weighted={k: float(v @ share) for k, v in columns.items()},
        roc_auc=auc,
        confusion=confusion_matrix(y, predicted, labels=labels).tolist(),
        roc=roc,
        precision_recall=precision_recall,
    )


def quick_scores(
    y: NDArray[Any],
    predicted: NDArray[Any],
    scores: NDArray[np.float64] | None,
    classes: NDArray[Any],
) -> dict[str, float]:
    """Return the numbers that a comparison has for each split: macro means, and ROC AUC."""
    precision, recall, f1, _ = precision_recall_fscore_support(
        y, predicted, labels=classes, average="macro", zero_division=0.0
    )
    found = {
        "accuracy": float((predicted == y).mean()),
        "precision": float(precision),
        "recall": float(recall),
        "f1": float(f1),
    }
    if scores is not None:
        found["roc_auc"] = _mean_auc(*_one_against_rest(y, classes, scores))
    return found


def _one_against_rest(
    y: NDArray[Any], classes: NDArray[Any], scores: NDArray[np.float64]
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    if len(classes) == 2:
        return (y == classes[1])[:, None], scores.reshape(-1, 1)
    return y[:, None] == classes, scores


def _mean_auc(truth: NDArray[np.bool_], scores: NDArray[np.float64]) -> float:
    # Decision values are no probabilities, so each class is judged by itself.
    columns = [roc_auc_score(truth[:, k], scores[:, k]) for k in range(truth.shape[1])]
    return float(np.mean(columns))


def _mean_roc(truth: NDArray[np.bool_], scores: NDArray[np.float64], area: float) -> Curve:
    total = np.zeros(len(_GRID))
    for k in range(truth.shape[1]):
        x, y, _ = roc_curve(truth[:, k], scores[:, k])
        total += np.interp(_GRID, x, y)
    mean = total / truth.shape[1]
    return Curve([0.0, *_GRID.tolist()], [0.0, *np.round(mean, 6).tolist()], area)


def _mean_precision_recall(truth: NDArray[np.bool_], scores: NDArray[np.float64]) -> Curve:
    total, area = np.zeros(len(_GRID)), 0.0
    for k in range(truth.shape[1]):
        precision, recall, _ = precision_recall_curve(truth[:, k], scores[:, k])
        total += np.interp(_GRID, recall[::-1], precision[::-1])
        area += float(average_precision_score(truth[:, k], scores[:, k]))
    mean = total / truth.shape[1]
    return Curve(_GRID.tolist(), np.round(mean, 6).tolist(), area / truth.shape[1])
