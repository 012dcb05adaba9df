"""``ironlearn demo``: one task on small data that come with the package."""

from __future__ import annotations

import argparse
import importlib.util
import time
from pathlib import Path

from ironlearn.cli._data import check_output, integer
from ironlearn.cli.demos import TASKS, Settings, save_figure

HELP = "train one task on small data and print what it is worth"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments to `parser`."""
    parser.add_argument("task", choices=tuple(TASKS), metavar="TASK", help=", ".join(TASKS))
    parser.add_argument("--epochs", type=integer(1), metavar="N", help="passes over the data")
    parser.add_argument("--seed", type=integer(0), default=0, metavar="S", help="default 0")
    parser.add_argument(
        "--plot",
        metavar="FILE.png",
        help="the picture's file (default: TASK.png here, where matplotlib is installed)",
    )
    parser.add_argument("--no-plot", action="store_true", help="draw nothing")
    parser.add_argument("--verbose", action="store_true", help="show the training")


def run(arguments: argparse.Namespace) -> int:
    """Train, measure, print, and save the picture."""
    check_output(arguments.plot, "--plot")
    task = TASKS[arguments.task]
    drawn = arguments.plot is not None or importlib.util.find_spec("matplotlib") is not None
    settings = Settings(
        seed=arguments.seed,
        epochs=arguments.epochs,
        plot=drawn and not arguments.no_plot,
        verbose=arguments.verbose,
    )
    print(f"{arguments.task}: {task.title} with {task.estimator}")
    start = time.perf_counter()
    outcome = task.run(settings)
    print(f"  {outcome.data}")
    for line in outcome.lines:
        print(f"  {line}")
    print(
        f"{outcome.measure} {outcome.score:.4f}, against {outcome.baseline:.4f} for "
        f"{outcome.baseline_name} ({time.perf_counter() - start:.1f} s)"
    )
    if outcome.figure is not None:
        path = Path(arguments.plot or f"{arguments.task}.png")
        save_figure(outcome.figure, path)
        print(f"picture: {path}")
    return 0
