"""``ironlearn tasks``: what ``ironlearn demo`` can run."""

from __future__ import annotations

import argparse

from ironlearn.cli.demos import TASKS

HELP = "list the tasks that demo runs"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments to `parser`: there are none."""


def run(arguments: argparse.Namespace) -> int:
    """Print the table."""
    name = max(map(len, TASKS))
    kind = max(len(task.estimator) for task in TASKS.values())
    for key, task in TASKS.items():
        print(f"{key:{name}}  {task.estimator:{kind}}  {task.title}")
    print("\nironlearn demo TASK trains one of them on data that come with it.")
    return 0
