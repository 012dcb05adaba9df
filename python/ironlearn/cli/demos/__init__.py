"""Small tasks that ``ironlearn demo`` runs: one module a task, data that come with the package.

A task's module has ``run(settings)``, which trains, measures and returns an `Outcome`. Its imports
of estimators are inside `run`, so that ``ironlearn tasks`` answers at once.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Settings:
    """What the command line asks of a demonstration.

    Attributes
    ----------
    seed : int
        Seed of everything that is random.
    epochs : int or None
        Passes over the data; ``None`` takes the demonstration's own number.
    plot : bool
        Draw a picture.
    verbose : bool
        Show progress.
    """

    seed: int = 0
    epochs: int | None = None
    plot: bool = True
    verbose: bool = False


@dataclass(frozen=True)
class Outcome:
    """What a demonstration found.

    Attributes
    ----------
    data : str
        What it was trained and tested on.
    measure : str
        The name of the score.
    score, baseline : float
        What the model reached, and what is reached without learning.
    baseline_name : str
        How that is.
    lines : list of str
        Further lines to print.
    figure : matplotlib Figure or None
        A picture.
    """

    data: str
    measure: str
    score: float
    baseline: float
    baseline_name: str
    lines: list[str] = field(default_factory=list)
    figure: Any = None


@dataclass(frozen=True)
class Task:
    """One row of the table of tasks.

    Attributes
    ----------
    title : str
        What is learned.
    estimator : str
        The class that does it, below ``ironlearn``.
    module : str
        The module below ``ironlearn.cli.demos`` with its `run`.
    """

    title: str
    estimator: str
    module: str

    @property
    def run(self) -> Callable[[Settings], Outcome]:
        """The demonstration."""
        found: Callable[[Settings], Outcome]
        found = importlib.import_module(f"ironlearn.cli.demos.{self.module}").run
        return found


#: Every task, by its name on the command line.
TASKS: dict[str, Task] = {
    "digits": Task("read handwritten digits", "vision.CNNClassifier", "digits"),
    "mlp": Task("tell tumours apart by measurements", "neural_network.MLPClassifier", "mlp"),
    "regression": Task(
        "predict the progression of diabetes", "neural_network.MLPRegressor", "regression"
    ),
    "forecast": Task("forecast airline passengers", "series.LSTMForecaster", "passengers"),
    "reviews": Task("tell praise from complaint", "text.LSTMTextClassifier", "reviews"),
}


def save_figure(figure: Any, path: Path) -> None:
    """Write a figure as a picture; the name's ending tells the format."""
    figure.savefig(path, dpi=120)
