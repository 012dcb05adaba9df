"""``ironlearn predict``: apply a saved model to a file."""

from __future__ import annotations

import argparse
import csv
import io
import sys

from ironlearn._modelfile import write_atomically
from ironlearn.cli._data import add_data, check_output

HELP = "apply a saved model to a file and write the answers as CSV"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments to `parser`."""
    parser.add_argument("--model", required=True, metavar="FILE", help="written by fit")
    add_data(parser, target=False)
    parser.add_argument("--out", metavar="FILE.csv", help="default: standard output")
    parser.add_argument("--proba", action="store_true", help="add a column of each probability")


def run(arguments: argparse.Namespace) -> int:
    """Predict and write."""
    check_output(arguments.out, "--out")
    from ironlearn._table import read_table
    from ironlearn.evaluation.tablemodel import TableModel
    from ironlearn.exceptions import DataError

    model = TableModel.load(arguments.model)
    if arguments.proba and not hasattr(model, "predict_proba"):
        raise DataError(f"--proba: {model.model} has no probabilities.")
    table = read_table(arguments.data, header=not arguments.no_header)
    predicted = model.predict(table)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    if arguments.proba:
        writer.writerow([model.target_, *(f"probability={c}" for c in model.classes_.tolist())])
        probabilities = model.predict_proba(table).tolist()
        writer.writerows(
            [label, *row] for label, row in zip(predicted.tolist(), probabilities, strict=True)
        )
    else:
        writer.writerow(["cluster" if model.clusters else model.target_])
        writer.writerows([label] for label in predicted.tolist())
    if arguments.out is None:
        sys.stdout.write(text.getvalue())
    else:
        write_atomically(arguments.out, text.getvalue().encode())
        print(f"{len(predicted)} rows written to {arguments.out}")
    return 0
