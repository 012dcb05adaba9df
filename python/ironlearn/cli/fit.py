"""``ironlearn fit``: train one model on a file."""

from __future__ import annotations

import argparse
import time

from ironlearn.cli._data import add_data, check_output, integer

HELP = "train one model on a file and save it with its preprocessing"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments to `parser`."""
    add_data(parser, target=True, task=True)
    parser.add_argument("--model", required=True, metavar="NAME", help="a model that compare names")
    parser.add_argument(
        "--param",
        action="append",
        default=[],
        metavar="K=V",
        nargs="+",
        help="parameters of the model, such as max_depth=3",
    )
    parser.add_argument("--jobs", type=integer(1), metavar="N", help="threads (default: all)")
    parser.add_argument("--seed", type=integer(0), default=0, metavar="S", help="default 0")
    parser.add_argument("--out", required=True, metavar="MODEL.ironlearn", help="file to write")


def run(arguments: argparse.Namespace) -> int:
    """Train and save."""
    check_output(arguments.out, "--out")
    from ironlearn._table import read_dataset, read_table
    from ironlearn.evaluation.tablemodel import TableModel, parse_parameters

    parameters = parse_parameters([pair for group in arguments.param for pair in group])
    model = TableModel(
        arguments.model,
        parameters,
        jobs=arguments.jobs,
        seed=arguments.seed,
        task=arguments.task,
    )
    tasks = model.tasks
    header = not arguments.no_header
    start = time.perf_counter()
    if model.clusters and arguments.target is None:
        table = read_table(arguments.data, header=header)
        model.fit(table)
    else:
        task = tasks[0] if len(tasks) == 1 else "auto"
        data = read_dataset(arguments.data, arguments.target, header=header, task=task)
        table = data.table
        model.fit(table, data.y, target=data.target)
    model.save(arguments.out)
    if not model.clusters:
        print(f"  task: {model.task_} ({model.reason_})")
    for line in model.prepare_.describe():
        print(f"  {line}")
    print(
        f"{arguments.model} trained on {len(table)} rows in {time.perf_counter() - start:.2f} s; "
        f"saved as {arguments.out}"
    )
    return 0
