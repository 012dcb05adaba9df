"""The command line: ``ironlearn COMMAND``; one module a command.

A command's module has ``HELP`` (one line), ``configure(parser)`` which adds its arguments,
and ``run(arguments)`` which returns the exit code. Its heavy imports are inside `run`, so
that help and errors of usage come at once.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from ironlearn.exceptions import DataError, InvalidParameterError, MissingExtraError, ModelFileError

#: Each command and the module that implements it.
COMMANDS = {
    "compare": "ironlearn.cli.compare",
    "bench": "ironlearn.cli.bench",
    "fit": "ironlearn.cli.fit",
    "predict": "ironlearn.cli.predict",
    "evaluate": "ironlearn.cli.evaluate",
    "tasks": "ironlearn.cli.tasks",
    "demo": "ironlearn.cli.demo",
}

#: What a user can cause and mend: told in one line, without a traceback.
_MENDABLE = (DataError, ModelFileError, InvalidParameterError, MissingExtraError, OSError)


class _Parser(argparse.ArgumentParser):
    """Tells errors of usage in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message} (see {self.prog} --help)\n")


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = _Parser(prog="ironlearn", description="Machine learning with a Rust core.")
    parsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, path in COMMANDS.items():
        module = importlib.import_module(path)
        command = parsers.add_parser(name, help=module.HELP, description=module.HELP)
        module.configure(command)
        command.set_defaults(run=module.run)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    arguments : sequence of str, default=None
        The arguments; ``None`` takes those of the process.

    Returns
    -------
    int
        The exit code: 0, 2 for a mistake in usage or data, 130 after Ctrl-C.
    """
    parsed = build_parser().parse_args(arguments)
    try:
        code = int(parsed.run(parsed))
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        # The reader, such as head, has seen enough; nothing is left to tell it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except _MENDABLE as error:
        text = " ".join(str(error).split())
        print(f"ironlearn {parsed.command}: error: {text}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"ironlearn {parsed.command}: interrupted", file=sys.stderr)
        return 130
