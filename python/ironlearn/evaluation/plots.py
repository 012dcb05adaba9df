"""Plots of reports with matplotlib, which the extra ``plot`` installs."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from ironlearn.evaluation.metrics import Curve, Report
from ironlearn.evaluation.regression import RegressionReport
from ironlearn.exceptions import MissingExtraError


def _axes(ax: Any) -> Any:
    if ax is not None:
        return ax
    try:
        pyplot = importlib.import_module("matplotlib.pyplot")
    except ImportError as error:
        raise MissingExtraError("plots need matplotlib: pip install 'ironlearn[plot]'") from error
    return pyplot.subplots()[1]


def _named(reports: Report | Mapping[str, Report]) -> Mapping[str, Report]:
    return {"": reports} if isinstance(reports, Report) else reports


def _label(name: str, curve: Curve) -> str:
    return f"{name + ', ' if name else ''}area {curve.area:.4f}"


def plot_roc(reports: Report | Mapping[str, Report], *, ax: Any = None) -> Any:
    """Plot ROC curves.

    Parameters
    ----------
    reports : Report or mapping of str to Report
        From `evaluate`; of several models with their names.
    ax : matplotlib Axes, default=None
        Where to plot; ``None`` makes a figure.

    Returns
    -------
    matplotlib Axes
        With the plot.

    Raises
    ------
    MissingExtraError
        matplotlib is not installed.
    ValueError
        A report has no curve because its model gives no scores.
    """
    ax = _axes(ax)
    for name, report in _named(reports).items():
        curve = _known(report.roc)
        ax.plot(curve.x, curve.y, label=_label(name, curve))
    ax.plot([0, 1], [0, 1], linestyle=":", color="grey")
    ax.set(xlabel="false positive rate", ylabel="true positive rate", title="ROC", aspect="equal")
    ax.legend(loc="lower right")
    return ax


def plot_precision_recall(reports: Report | Mapping[str, Report], *, ax: Any = None) -> Any:
    """Plot precision over recall.

    Parameters
    ----------
    reports : Report or mapping of str to Report
        From `evaluate`; of several models with their names.
    ax : matplotlib Axes, default=None
        Where to plot; ``None`` makes a figure.

    Returns
    -------
    matplotlib Axes
        With the plot.

    Raises
    ------
    MissingExtraError
        matplotlib is not installed.
    ValueError
        A report has no curve because its model gives no scores.
    """
    ax = _axes(ax)
    for name, report in _named(reports).items():
        curve = _known(report.precision_recall)
        ax.plot(curve.x, curve.y, label=_label(name, curve))
    ax.set(xlabel="recall", ylabel="precision", title="Precision and recall", ylim=(0, 1.02))
    ax.legend(loc="lower left")
    return ax


def plot_confusion(report: Report, *, ax: Any = None) -> Any:
    """Plot a confusion matrix, shaded by the share of each true class.

    Parameters
    ----------
    report : Report
        From `evaluate`.
    ax : matplotlib Axes, default=None
        Where to plot; ``None`` makes a figure.

    Returns
    -------
    matplotlib Axes
        With the plot.

    Raises
    ------
    MissingExtraError
        matplotlib is not installed.
    """
    ax = _axes(ax)
    counts = np.array(report.confusion)
    share = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    ax.imshow(share, cmap="Blues", vmin=0, vmax=1)
    places = range(len(report.classes))
    ax.set_xticks(places, report.classes, rotation=90)
    ax.set_yticks(places, report.classes)
    ax.set(xlabel="predicted", ylabel="true", title="Confusion matrix")
    if len(places) <= 20:
        for (i, j), count in np.ndenumerate(counts):
            colour = "white" if share[i, j] > 0.5 else "black"
            ax.text(j, i, str(count), ha="center", va="center", color=colour, fontsize=8)
    return ax


def plot_predictions(
    reports: RegressionReport | Mapping[str, RegressionReport], *, ax: Any = None
) -> Any:
    """Plot predicted over true values.

    Parameters
    ----------
    reports : RegressionReport or mapping of str to RegressionReport
        From `evaluate`; of several models with their names.
    ax : matplotlib Axes, default=None
        Where to plot; ``None`` makes a figure.

    Returns
    -------
    matplotlib Axes
        With the plot.

    Raises
    ------
    MissingExtraError
        matplotlib is not installed.
    """
    ax = _axes(ax)
    named = {"": reports} if isinstance(reports, RegressionReport) else reports
    for name, report in named.items():
        label = f"{name + ', ' if name else ''}RMSE {report.rmse:.4g}"
        ax.scatter(report.true, report.predicted, s=8, alpha=0.6, label=label)
    ends = [value for report in named.values() for value in (min(report.true), max(report.true))]
    ax.plot([min(ends), max(ends)], [min(ends), max(ends)], linestyle=":", color="grey")
    ax.set(xlabel="true", ylabel="predicted", title="Predicted and true")
    ax.legend(loc="upper left")
    return ax


def plot_residuals(
    reports: RegressionReport | Mapping[str, RegressionReport], *, ax: Any = None
) -> Any:
    """Plot residuals, true minus predicted values, over predicted values.

    Parameters
    ----------
    reports : RegressionReport or mapping of str to RegressionReport
        From `evaluate`; of several models with their names.
    ax : matplotlib Axes, default=None
        Where to plot; ``None`` makes a figure.

    Returns
    -------
    matplotlib Axes
        With the plot.

    Raises
    ------
    MissingExtraError
        matplotlib is not installed.
    """
    ax = _axes(ax)
    named = {"": reports} if isinstance(reports, RegressionReport) else reports
    for name, report in named.items():
        residuals = np.subtract(report.true, report.predicted)
        label = f"{name + ', ' if name else ''}MAE {report.mae:.4g}"
        ax.scatter(report.predicted, residuals, s=8, alpha=0.6, label=label)
    ax.axhline(0.0, linestyle=":", color="grey")
    ax.set(xlabel="predicted", ylabel="true minus predicted", title="Residuals")
    ax.legend(loc="upper left")
    return ax


def _known(curve: Curve | None) -> Curve:
    if curve is None:
        raise ValueError(
            "the report has no curve: its model gives neither probabilities nor decision values, "
            "or a class has no rows."
        )
    return curve
