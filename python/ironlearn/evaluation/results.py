"""What a comparison finds, as data."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from ironlearn.evaluation.metrics import Report
from ironlearn.evaluation.regression import RegressionReport
from ironlearn.evaluation.statistics import PairedTest

LIBRARIES = ("ironlearn", "scikit-learn")
#: Level at which an adjusted p-value marks a difference as real.
LEVEL = 0.05


@dataclass
class Side:
    """One library's results for one model.

    Attributes
    ----------
    library : str
        "ironlearn" or "scikit-learn".
    scores : dict of str to list of float
        Each score, split by split.
    fit_seconds, predict_seconds : list of float
        For each split; preprocessing is not included.
    memory_bytes : int or None
        Peak of extra resident memory during one fit, where it can be measured.
    report : Report or RegressionReport or None
        Of the predictions for all test rows of the first repeat together.
    notes : list of str
        Warnings that the library gave.
    """

    library: str
    scores: dict[str, list[float]] = field(default_factory=dict)
    fit_seconds: list[float] = field(default_factory=list)
    predict_seconds: list[float] = field(default_factory=list)
    memory_bytes: int | None = None
    report: Report | RegressionReport | None = None
    notes: list[str] = field(default_factory=list)

    def mean(self, score: str) -> float:
        """Return the mean of a score over the splits."""
        return float(np.mean(self.scores[score]))

    def spread(self, score: str) -> float:
        """Return the standard deviation of a score over the splits."""
        return float(np.std(self.scores[score], ddof=1))

    @property
    def fit_time(self) -> float:
        """Median of the fit seconds."""
        return float(np.median(self.fit_seconds))

    @property
    def predict_time(self) -> float:
        """Median of the predict seconds."""
        return float(np.median(self.predict_seconds))


@dataclass
class Difference:
    """A tested difference, ironlearn minus scikit-learn.

    Attributes
    ----------
    test : PairedTest
        The corrected paired test; for seconds, of their logarithms.
    adjusted : float
        The p-value after Holm's correction over the table's tests of that family.
    """

    test: PairedTest
    adjusted: float = 1.0

    @property
    def real(self) -> bool:
        """Whether the difference is real at the 5 % level."""
        return self.adjusted < LEVEL


@dataclass
class Row:
    """One model of a comparison.

    Attributes
    ----------
    model : str
        Its name.
    task : str
        "classify", "regress" or "cluster".
    ours, theirs : Side
        The results.
    differences : dict of str to Difference
        For each score, and for "fit_seconds" and "predict_seconds".
    parameters : dict of str to object
        Settings that both sides share.
    """

    model: str
    task: str
    ours: Side
    theirs: Side
    differences: dict[str, Difference] = field(default_factory=dict)
    parameters: dict[str, Any] = field(default_factory=dict)

    @property
    def sides(self) -> tuple[Side, Side]:
        """Both sides, ours first."""
        return self.ours, self.theirs

    @property
    def fit_ratio(self) -> float:
        """How many times faster ironlearn fits."""
        return self.theirs.fit_time / self.ours.fit_time

    @property
    def predict_ratio(self) -> float:
        """How many times faster ironlearn predicts."""
        return self.theirs.predict_time / self.ours.predict_time


@dataclass
class Comparison:
    """The result of `compare`.

    Attributes
    ----------
    dataset : dict of str to object
        Name, target, task (and why), rows and columns of the data; for classification the
        number of classes, for regression mean and deviation of the target.
    preprocessing : list of str
        What the columns were used as.
    settings : dict of str to object
        Folds, repeats, threads, seed; for regression the quantile of the pinball loss.
    machine : dict of str to object
        Versions of the libraries, processors.
    rows : list of Row
        The finished models.
    notes : list of str
        What else a reader should know.
    interrupted : bool
        Whether it was ended before all models were done.
    """

    dataset: dict[str, Any]
    preprocessing: list[str]
    settings: dict[str, Any]
    machine: dict[str, Any]
    rows: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    interrupted: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values."""
        values = asdict(self)
        for row, data in zip(self.rows, values["rows"], strict=True):
            data["fit_ratio"], data["predict_ratio"] = row.fit_ratio, row.predict_ratio
            for name, difference in row.differences.items():
                data["differences"][name]["real"] = difference.real
            for key, side in (("ours", row.ours), ("theirs", row.theirs)):
                data[key]["mean"] = {name: side.mean(name) for name in side.scores}
                data[key]["spread"] = {name: side.spread(name) for name in side.scores}
        return _plain(values)

    def to_json(self) -> str:
        """Return everything as JSON."""
        return json.dumps(self.to_dict(), indent=1, allow_nan=False) + "\n"

    def to_html(self) -> str:
        """Return a report as one self-contained page."""
        from ironlearn.evaluation.html import comparison_page

        return comparison_page(self)

    def to_text(self, width: int = 120) -> str:
        """Return the table as text.

        Parameters
        ----------
        width : int, default=120
            Columns of the terminal; 80 are enough.
        """
        from rich.console import Console

        from ironlearn.evaluation.text import renderables

        console = Console(width=width, color_system=None, force_terminal=False)
        with console.capture() as capture:
            for part in renderables(self, width):
                console.print(part)
        return capture.get()

    def __str__(self) -> str:
        """Return the table as text."""
        return self.to_text()


def _plain(value: Any) -> Any:
    """Return JSON values only; numbers that JSON has no name for become texts."""
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float) and not np.isfinite(value):
        return str(value)
    return value


def adjust(rows: Sequence[Row]) -> None:
    """Set the adjusted p-values of all tests of a table.

    Scores are one family of tests, seconds another: questions that are asked separately.
    """
    from ironlearn.evaluation.statistics import holm

    for timing in (False, True):
        family = [
            difference
            for row in rows
            for name, difference in row.differences.items()
            if name.endswith("_seconds") == timing
        ]
        for difference, value in zip(family, holm([d.test.p_value for d in family]), strict=True):
            difference.adjusted = value
