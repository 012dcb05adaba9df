"""``ironlearn compare``: ironlearn beside scikit-learn."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from ironlearn._modelfile import write_atomically
from ironlearn.cli._data import add_data, check_output, integer

if TYPE_CHECKING:
    from ironlearn._table import Dataset
    from ironlearn.evaluation import Comparison

HELP = "train models of ironlearn and scikit-learn on the same splits and print one table"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments to `parser`."""
    add_data(parser, target=True, required=False)
    parser.add_argument(
        "--models",
        default="all",
        metavar="A,B",
        help="all (the default) or some of gaussian_nb, categorical_nb, decision_tree, "
        "random_forest, linear_svc, kmeans",
    )
    parser.add_argument(
        "--cv", type=integer(2), default=5, metavar="N", help="stratified folds (default 5)"
    )
    parser.add_argument(
        "--repeats",
        type=integer(1),
        default=1,
        metavar="R",
        help="repeats of the folds (default 1)",
    )
    parser.add_argument(
        "--jobs", type=integer(1), metavar="N", help="threads for either library (default: all)"
    )
    parser.add_argument("--seed", type=integer(0), default=0, metavar="S", help="default 0")
    parser.add_argument("--json", metavar="FILE", help="write the results as JSON")
    parser.add_argument("--report", metavar="FILE.html", help="write a report with curves")


def run(arguments: argparse.Namespace) -> int:
    """Compare and print the table; after Ctrl-C, the rows that are finished."""
    check_output(arguments.json, "--json")
    check_output(arguments.report, "--report")
    from rich.console import Console

    from ironlearn.evaluation.models import choose
    from ironlearn.evaluation.preprocessing import describe
    from ironlearn.evaluation.schema import Schema
    from ironlearn.evaluation.text import renderables

    models = arguments.models
    specs = choose("all" if models == "all" else [m.strip() for m in models.split(",")])
    data = _dataset(arguments)
    console = Console()
    if not console.is_terminal:
        # The table is as wide as it needs where nobody's window limits it.
        console = Console(width=max(console.width, 130))
    console.print(
        f"{data.name}: {data.table.n_rows} rows, {len(set(data.y.tolist()))} classes of "
        f"{data.target}",
        highlight=False,
        markup=False,
    )
    for line in describe(Schema.infer(data.table)) + data.notes:
        console.print(f"  {line}", style="dim", highlight=False, markup=False)
    result = _compare(data, [spec.name for spec in specs], arguments)
    for part in renderables(result, console.width):
        console.print(part)
    if arguments.json:
        write_atomically(arguments.json, result.to_json().encode())
    if arguments.report:
        write_atomically(arguments.report, result.to_html().encode())
    return 130 if result.interrupted else 0


def _dataset(arguments: argparse.Namespace) -> Dataset:
    from ironlearn._table import Dataset, Table, read_dataset
    from ironlearn.exceptions import DataError

    if arguments.data is not None:
        return read_dataset(
            arguments.data,
            arguments.target,
            header=not arguments.no_header,
            folds=arguments.cv,
        )
    if arguments.target is not None:
        raise DataError("--target needs --data.")
    from sklearn.datasets import load_digits

    digits = load_digits()
    return Dataset(
        "digits (of scikit-learn)",
        Table.from_any(digits.data, digits.feature_names),
        digits.target,
        "digit",
    )


def _compare(data: Dataset, models: list[str], arguments: argparse.Namespace) -> Comparison:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from ironlearn.evaluation import compare

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
        splits = arguments.cv * arguments.repeats
        task = progress.add_task(models[0], total=splits * len(models))

        def advance(model: str, done: int, total: int) -> None:
            completed = models.index(model) * splits + done
            progress.update(task, description=model, completed=completed)
            progress.refresh()

        return compare(
            data.table,
            data.y,
            models=models,
            cv=arguments.cv,
            repeats=arguments.repeats,
            jobs=arguments.jobs,
            seed=arguments.seed,
            name=data.name,
            target=data.target,
            progress=advance,
            keep_partial=True,
        )
