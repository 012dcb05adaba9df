"""What the commands share: arguments about data, and checks of output files."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from ironlearn.exceptions import DataFileError


def add_data(
    parser: argparse.ArgumentParser, *, target: bool, task: bool = False, required: bool = True
) -> None:
    """Add the arguments that name a file of data."""
    parser.add_argument(
        "--data",
        metavar="FILE",
        required=required,
        help="CSV, Parquet, Feather, NPZ or libsvm file",
    )
    if target:
        parser.add_argument("--target", metavar="COLUMN", help="the column to predict")
    if task:
        parser.add_argument(
            "--task",
            choices=("auto", "classification", "regression"),
            default="auto",
            help="what the target is (default: told by its values)",
        )
    parser.add_argument(
        "--no-header",
        action="store_true",
        help="the first line of a CSV file is data; columns are called 0, 1, ...",
    )


def check_output(path: str | None, option: str) -> None:
    """Raise, before work starts, where a file cannot be written.

    Raises
    ------
    DataFileError
        The folder does not exist or may not be written to, or the path is a folder.
    """
    if path is None:
        return
    folder = Path(path).absolute().parent
    if Path(path).is_dir():
        raise DataFileError(f"{option} {path} is a folder; a file is expected.")
    if not folder.is_dir():
        raise DataFileError(f"{option} {path}: the folder {folder} does not exist.")
    if not os.access(folder, os.W_OK):
        raise DataFileError(f"{option} {path}: the folder {folder} may not be written to.")


def integer(low: int) -> type[int]:
    """Return a parser of integers of at least `low`, for argparse."""

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not an integer") from None
        if value < low:
            raise argparse.ArgumentTypeError(f"{value} is too small; at least {low}")
        return value

    return parse  # type: ignore[return-value]


def add_quantile(parser: argparse.ArgumentParser) -> None:
    """Add the argument that names the quantile of the pinball loss."""
    parser.add_argument(
        "--quantile",
        type=_quantile,
        default=0.5,
        metavar="Q",
        help="the quantile of the pinball loss, for regression (default 0.5)",
    )


def _quantile(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1")
    return value
