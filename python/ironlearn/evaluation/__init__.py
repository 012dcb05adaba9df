"""Judging models: reports, fair comparisons with scikit-learn, and which difference is real."""

from ironlearn.evaluation.comparison import compare
from ironlearn.evaluation.memory import peak_memory
from ironlearn.evaluation.metrics import Curve, Report, evaluate
from ironlearn.evaluation.models import REGRESSORS, SPECS, available
from ironlearn.evaluation.plots import (
    plot_confusion,
    plot_precision_recall,
    plot_predictions,
    plot_residuals,
    plot_roc,
)
from ironlearn.evaluation.preprocessing import Preprocessor
from ironlearn.evaluation.regression import RegressionReport, pinball_loss
from ironlearn.evaluation.results import Comparison, Difference, Row, Side
from ironlearn.evaluation.schema import Schema
from ironlearn.evaluation.statistics import PairedTest, corrected_paired_test, holm
from ironlearn.evaluation.tablemodel import TableModel

__all__ = [
    "REGRESSORS",
    "SPECS",
    "Comparison",
    "Curve",
    "Difference",
    "PairedTest",
    "Preprocessor",
    "RegressionReport",
    "Report",
    "Row",
    "Schema",
    "Side",
    "TableModel",
    "available",
    "compare",
    "corrected_paired_test",
    "evaluate",
    "holm",
    "peak_memory",
    "pinball_loss",
    "plot_confusion",
    "plot_precision_recall",
    "plot_predictions",
    "plot_residuals",
    "plot_roc",
]
