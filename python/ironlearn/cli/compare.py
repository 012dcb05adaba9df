"""``ironlearn compare``: ironlearn beside scikit-learn."""

from __future__ import annotations

import argparse
import time

HELP = "ironlearn beside scikit-learn on digits"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments to `parser`."""
    parser.add_argument("--cv", type=int, default=5, help="folds (default 5)")


def run(arguments: argparse.Namespace) -> int:
    """Compare and print the table."""
    cv = arguments.cv
    import numpy as np
    from rich.console import Console
    from rich.table import Table
    from sklearn.datasets import load_digits
    from sklearn.model_selection import StratifiedKFold
    from sklearn.naive_bayes import GaussianNB as Theirs

    from ironlearn.naive_bayes import GaussianNB as Ours

    X, y = load_digits(return_X_y=True)
    table = Table("model", "library", "accuracy", "fit (ms)", "predict (ms)")
    for library, kind in (("ironlearn", Ours), ("scikit-learn", Theirs)):
        rows = []
        for train, test in StratifiedKFold(cv, shuffle=True, random_state=0).split(X, y):
            t0 = time.perf_counter()
            model = kind().fit(X[train], y[train])
            t1 = time.perf_counter()
            right = model.predict(X[test]) == y[test]
            rows.append((right.mean(), 1e3 * (t1 - t0), 1e3 * (time.perf_counter() - t1)))
        score, fit, predict = np.median(rows, axis=0)
        table.add_row("GaussianNB", library, f"{score:.4f}", f"{fit:.2f}", f"{predict:.2f}")
    Console().print(table)
    return 0
