"""``ironlearn bench``: times beside scikit-learn and other libraries."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from ironlearn.cli._data import check_output, integer

if TYPE_CHECKING:
    from ironlearn.bench import Case, Results

HELP = "time ironlearn beside scikit-learn and other libraries at equal threads"


def _names(text: str) -> list[str]:
    return [name for name in (part.strip() for part in text.split(",")) if name]


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a time; at least 0")
    return value


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments to `parser`."""
    parser.add_argument(
        "--suite", default="quick", metavar="S", help="quick (the default), standard or full"
    )
    parser.add_argument(
        "--cases",
        type=_names,
        default=[],
        metavar="PATTERN,...",
        help="only cases whose name matches, out of all suites",
    )
    parser.add_argument(
        "--models", type=_names, default=[], metavar="A,B", help="only these models"
    )
    parser.add_argument(
        "--libraries",
        type=_names,
        metavar="A,B",
        help="ironlearn, scikit-learn, ... (default: all that are installed)",
    )
    parser.add_argument(
        "--threads", type=integer(1), metavar="N", help="threads of each (default: all)"
    )
    parser.add_argument(
        "--repeats", type=integer(1), default=5, metavar="R", help="rounds (default 5)"
    )
    parser.add_argument(
        "--min-seconds",
        type=_seconds,
        default=0.2,
        metavar="T",
        help="least time of each library in a case (default 0.2)",
    )
    parser.add_argument(
        "--json", metavar="FILE", help="write results there; finished cases in it are kept"
    )
    parser.add_argument(
        "--fresh", action="store_true", help="measure finished cases again; replace other results"
    )
    parser.add_argument("--list", action="store_true", help="show the cases and end")
    parser.add_argument(
        "--markdown", metavar="FILE.json", help="print the results in a file as Markdown and end"
    )


def run(arguments: argparse.Namespace) -> int:
    """Measure and print the table; after Ctrl-C, the cases that are finished."""
    from rich.console import Console

    from ironlearn import bench

    if arguments.markdown is not None:
        print(bench.markdown(bench.Results.read(arguments.markdown)), end="")
        return 0
    check_output(arguments.json, "--json")
    cases = bench.select(arguments.suite, cases=arguments.cases, models=arguments.models)
    if arguments.list:
        for case in cases:
            print(f"{case.name}  ({case.suite})")
        return 0
    results = _measure(cases, arguments)
    chosen = {case.name for case in cases}
    shown = [cell for cell in results.cells if cell["case"] in chosen]
    console = Console()
    if not console.is_terminal:
        # The table is as wide as it needs where nobody's window limits it.
        console = Console(width=max(console.width, 170))
    console.print(bench.table(bench.Results(results.stamp, shown)))
    return 130 if results.interrupted else 0


def _measure(cases: list[Case], arguments: argparse.Namespace) -> Results:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from ironlearn import bench

    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
        # Redrawing from a thread would disturb the times.
        auto_refresh=False,
    ) as progress:
        task = progress.add_task("", total=len(cases))

        def advance(case: str, done: int, total: int) -> None:
            progress.update(task, description=case, completed=done)
            progress.refresh()

        return bench.run(
            cases,
            threads=arguments.threads,
            repeats=arguments.repeats,
            min_seconds=arguments.min_seconds,
            libraries=arguments.libraries,
            path=arguments.json,
            fresh=arguments.fresh,
            progress=advance,
        )
