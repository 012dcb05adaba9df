"""``ironlearn compare``: ironlearn beside scikit-learn."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from ironlearn._modelfile import write_atomically
from ironlearn.cli._data import add_data, add_quantile, check_output, integer

if TYPE_CHECKING:
    from ironlearn._table import Dataset
    from ironlearn.evaluation import Comparison
    from ironlearn.evaluation.models import Spec

#: Data that come with scikit-learn, and what their targets are called.
BUNDLED = {
    "digits": "digit",
    "iris": "species",
    "wine": "cultivar",
    "breast_cancer": "diagnosis",
    "diabetes": "disease progression",
}

HELP = "train models of ironlearn and scikit-learn on the same splits and print one table"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments to `parser`."""
    add_data(parser, target=True, task=True, required=False)
    parser.add_argument(
        "--dataset",
        choices=tuple(BUNDLED),
        help="data of scikit-learn instead of a file (default: digits)",
    )
    parser.add_argument(
        "--models",
        default="all",
        metavar="A,B",
        help="all (the default) or some of gaussian_nb, categorical_nb, multinomial_nb, "
        "complement_nb, bernoulli_nb, decision_tree, random_forest, extra_trees, linear_svc, svc, "
        "mlp, kmeans, mini_batch_kmeans, bisecting_kmeans; for regression of decision_tree, "
        "random_forest, extra_trees, linear_svr, svr, mlp",
    )
    parser.add_argument(
        "--cv",
        type=integer(2),
        default=5,
        metavar="N",
        help="folds (default 5), stratified for classification",
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
    add_quantile(parser)
    parser.add_argument("--json", metavar="FILE", help="write the results as JSON")
    parser.add_argument("--report", metavar="FILE.html", help="write a report with plots")


def run(arguments: argparse.Namespace) -> int:
    """Compare and print the table; after Ctrl-C, the rows that are finished."""
    check_output(arguments.json, "--json")
    check_output(arguments.report, "--report")
    from rich.console import Console

    from ironlearn.evaluation.models import plan
    from ironlearn.evaluation.preprocessing import describe
    from ironlearn.evaluation.schema import Schema
    from ironlearn.evaluation.text import renderables

    models = arguments.models
    if models != "all":
        models = [name.strip() for name in models.split(",")]
        _check_names(models)
    data = _dataset(arguments)
    specs, _ = plan(models, data.task, data.table)
    console = Console()
    if not console.is_terminal:
        # The table is as wide as it needs where nobody's window limits it.
        console = Console(width=max(console.width, 130))
    console.print(
        f"{data.name}: {data.table.n_rows} rows, {_target(data)}", highlight=False, markup=False
    )
    told = "" if arguments.task != "auto" else "; --task to change it"
    lines = [f"task: {data.task} ({data.reason}{told})"]
    for line in lines + describe(Schema.infer(data.table)) + data.notes:
        console.print(f"  {line}", style="dim", highlight=False, markup=False)
    result = _compare(data, models, specs, arguments)
    for part in renderables(result, console.width):
        console.print(part)
    if arguments.json:
        write_atomically(arguments.json, result.to_json().encode())
    if arguments.report:
        write_atomically(arguments.report, result.to_html().encode())
    return 130 if result.interrupted else 0


def _check_names(models: list[str]) -> None:
    """Raise for a name that no task knows, before the data are read."""
    from ironlearn.evaluation.models import choose, tasks_of

    for name in models:
        if not tasks_of(name):
            choose([name])


def _target(data: Dataset) -> str:
    if data.task == "classification":
        return f"{len(set(data.y.tolist()))} classes of {data.target}"
    return f"{data.target} from {data.y.min():.6g} to {data.y.max():.6g}, mean {data.y.mean():.6g}"


def _dataset(arguments: argparse.Namespace) -> Dataset:
    from ironlearn._table import read_dataset
    from ironlearn.exceptions import DataError

    if arguments.data is not None:
        if arguments.dataset is not None:
            raise DataError("--data and --dataset exclude each other.")
        return read_dataset(
            arguments.data,
            arguments.target,
            header=not arguments.no_header,
            folds=arguments.cv,
            task=arguments.task,
        )
    if arguments.target is not None:
        raise DataError("--target needs --data.")
    return _bundled(arguments.dataset or "digits", arguments.task)


def _bundled(name: str, task: str) -> Dataset:
    from sklearn import datasets

    from ironlearn._table import Dataset, Table, check_quantity, recognise_task

    bunch = getattr(datasets, f"load_{name}")()
    y, target = bunch.target, BUNDLED[name]
    found, reason = recognise_task(y, name=target, task=task)
    if found == "regression":
        y = check_quantity(y, name=target)
    table = Table.from_any(bunch.data, bunch.feature_names)
    return Dataset(f"{name} (of scikit-learn)", table, y, target, [], found, reason)


def _compare(
    data: Dataset,
    models: str | list[str],
    specs: list[Spec],
    arguments: argparse.Namespace,
) -> Comparison:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from ironlearn.evaluation import compare

    names = [spec.name for spec in specs]
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
        task = progress.add_task(names[0], total=splits * len(names))

        def advance(model: str, done: int, total: int) -> None:
            completed = names.index(model) * splits + done
            progress.update(task, description=model, completed=completed)
            progress.refresh()

        return compare(
            data.table,
            data.y,
            models=models,
            task=arguments.task,
            cv=arguments.cv,
            repeats=arguments.repeats,
            jobs=arguments.jobs,
            seed=arguments.seed,
            quantile=arguments.quantile,
            name=data.name,
            target=data.target,
            progress=advance,
            keep_partial=True,
        )
