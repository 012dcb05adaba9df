"""``ironlearn evaluate``: score a saved model on a file."""

from __future__ import annotations

import argparse
import json

from ironlearn._modelfile import write_atomically
from ironlearn.cli._data import add_data, add_quantile, check_output

HELP = "score a saved model on a file that has the true classes or values"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments to `parser`."""
    parser.add_argument("--model", required=True, metavar="FILE", help="written by fit")
    add_data(parser, target=True)
    add_quantile(parser)
    parser.add_argument("--json", metavar="FILE", help="write the scores as JSON")
    parser.add_argument("--report", metavar="FILE.html", help="write a report with plots")


def run(arguments: argparse.Namespace) -> int:
    """Score and print."""
    check_output(arguments.json, "--json")
    check_output(arguments.report, "--report")
    from ironlearn._table import read_dataset
    from ironlearn.evaluation.html import report_page
    from ironlearn.evaluation.metrics import evaluate
    from ironlearn.evaluation.tablemodel import TableModel, as_labels
    from ironlearn.exceptions import DataError

    model = TableModel.load(arguments.model)
    data = read_dataset(
        arguments.data,
        arguments.target,
        header=not arguments.no_header,
        min_classes=1,
        default_target=model.target_,
        task=model.task_,
    )
    if model.clusters:
        if arguments.report:
            raise DataError("--report needs a classifier or a regressor; the model is a clusterer.")
        from sklearn.metrics import adjusted_rand_score

        score = float(adjusted_rand_score(data.y, model.predict(data.table)))
        print(f"adjusted Rand index {score:.4f} over {len(data.y)} rows")
        if arguments.json:
            text = json.dumps({"adjusted_rand": score, "n_rows": len(data.y)}, indent=1) + "\n"
            write_atomically(arguments.json, text.encode())
        return 0
    truth = data.y if model.task_ == "regression" else as_labels(data.y, model.classes_)
    report = evaluate(model, data.table, truth, quantile=arguments.quantile)
    print(report.to_text())
    if arguments.json:
        write_atomically(arguments.json, report.to_json().encode())
    if arguments.report:
        page = report_page(report, f"{model.model} on {data.name}", model.prepare_.describe())
        write_atomically(arguments.report, page.encode())
    return 0
