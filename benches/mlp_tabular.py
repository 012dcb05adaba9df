"""Quality and time of the perceptrons on real tables, ironlearn beside scikit-learn.

``python benches/mlp_tabular.py --json mlp.json`` trains both libraries' ``MLPClassifier`` and
``MLPRegressor`` with equal settings on the same folds of the tables in ``IRONLEARN_DATA``
(``tabular/``), for several seeds. Features are standardised on the training rows, so are
quantities. Folds are taken in turns; a file given by ``--json`` is written after every fold and
gone on with when the command is run again.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import sklearn.neural_network as theirs
from sklearn.datasets import load_svmlight_file
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from ironlearn import _threads, neural_network
from ironlearn.bench.stamp import same, stamp

_Table = tuple[np.ndarray, np.ndarray]
SETTINGS: dict[str, dict[str, Any]] = {
    "default": {"max_iter": 30},
    "early": {"early_stopping": True, "max_iter": 60, "hidden_layer_sizes": (64, 32)},
}


def _adult(folder: Path) -> _Table:
    table = pd.read_csv(folder / "adult/adult-train.csv.gz", header=None, skipinitialspace=True)
    y = (table.pop(table.columns[-1]).astype(str).str.startswith(">")).to_numpy().astype(int)
    return pd.get_dummies(table, dtype=float).to_numpy(), y


def _a9a(folder: Path) -> _Table:
    X, y = load_svmlight_file(gzip.open(folder / "a9a/a9a.gz"), n_features=123)
    return X.toarray(), (y > 0).astype(int)


def _spambase(folder: Path) -> _Table:
    table = pd.read_csv(folder / "spambase/spambase.data.gz", header=None).to_numpy(float)
    return table[:, :-1], table[:, -1].astype(int)


def _letter(folder: Path) -> _Table:
    table = pd.read_csv(folder / "letter/letter-recognition.data.gz", header=None)
    return table.iloc[:, 1:].to_numpy(float), table.iloc[:, 0].to_numpy(str)


def _shuttle(folder: Path) -> _Table:
    table = np.loadtxt(folder / "shuttle/shuttle.trn.gz", delimiter=",")
    # Classes of a dozen rows would be missing in some folds.
    common = np.isin(table[:, -1], [1, 4, 5])
    return table[common, :-1], table[common, -1].astype(int)


def _higgs(folder: Path) -> _Table:
    table = np.loadtxt(folder / "higgs/binary.train.gz")
    return table[:, 1:], table[:, 0].astype(int)


def _covertype(folder: Path) -> _Table:
    table = pd.read_csv(folder / "covertype/covertype_17336.csv.gz").to_numpy(float)
    return table[:, :-1], table[:, -1].astype(int)


def _hours(folder: Path) -> _Table:
    """Hours of work a week, from the other columns of the census table."""
    table = pd.read_csv(folder / "adult/adult-train.csv.gz", header=None, skipinitialspace=True)
    y = table.pop(12).to_numpy(float)
    return pd.get_dummies(table, dtype=float).to_numpy(), y


def _last_column(folder: Path) -> _Table:
    """The last measurement of the physics table, from the others."""
    table = np.loadtxt(folder / "higgs/binary.train.gz")
    return table[:, 1:-1], table[:, -1]


#: Reader of each table, and whether its target is a quantity.
TABLES: dict[str, tuple[Callable[[Path], _Table], bool]] = {
    "adult": (_adult, False),
    "a9a": (_a9a, False),
    "spambase": (_spambase, False),
    "letter": (_letter, False),
    "shuttle": (_shuttle, False),
    "higgs": (_higgs, False),
    "covertype": (_covertype, False),
    "adult hours": (_hours, True),
    "higgs mass": (_last_column, True),
}


def measure(
    table: _Table, regression: bool, settings: dict[str, Any], seed: int, folds: int, rows: int
) -> dict[str, Any]:
    """Return scores on each fold and seconds of both libraries."""
    X, y = table
    if len(X) > rows:
        keep = np.random.default_rng(0).permutation(len(X))[:rows]
        X, y = X[keep], y[keep]
    name = "MLPRegressor" if regression else "MLPClassifier"
    splitter = (KFold if regression else StratifiedKFold)(folds, shuffle=True, random_state=seed)
    found: dict[str, Any] = {
        library: {"scores": [], "fit": 0.0, "cpu": 0.0, "passes": []}
        for library in ("ironlearn", "scikit-learn")
    }
    for number, (train, test) in enumerate(splitter.split(X, y)):
        scale = StandardScaler().fit(X[train])
        a, b = scale.transform(X[train]), scale.transform(X[test])
        c, d = y[train], y[test]
        if regression:
            middle, width = c.mean(), c.std()
            c, d = (c - middle) / width, (d - middle) / width
        order = [("ironlearn", neural_network), ("scikit-learn", theirs)]
        for library, module in order if number % 2 == 0 else order[::-1]:
            model = getattr(module, name)(**settings, random_state=seed)
            wall, cpu = time.perf_counter(), time.process_time()
            model.fit(a, c)
            entry = found[library]
            entry["fit"] += time.perf_counter() - wall
            entry["cpu"] += time.process_time() - cpu
            entry["scores"].append(float(model.score(b, d)))
            entry["passes"].append(int(model.n_iter_))
    for entry in found.values():
        entry["mean"] = float(np.mean(entry["scores"]))
    return found


def main(arguments: list[str]) -> int:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="write results to this file, go on from it")
    parser.add_argument("--tables", default=",".join(TABLES), help="some of " + ", ".join(TABLES))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=20_000, help="most rows of a table")
    parser.add_argument("--threads", type=int, default=_threads.available_cpus())
    chosen = parser.parse_args(arguments)
    data = os.environ.get("IRONLEARN_DATA")
    if not data:
        parser.error("IRONLEARN_DATA must name the folder that holds tabular/.")
    warnings.simplefilter("ignore")
    how = {"folds": chosen.folds, "rows": chosen.rows}
    results: dict[str, Any] = {"stamp": stamp(chosen.threads, ["scikit-learn"]), **how, "cells": {}}
    if chosen.json and chosen.json.exists():
        before = json.loads(chosen.json.read_text())
        if same(before["stamp"], results["stamp"]) and all(before[k] == how[k] for k in how):
            results["cells"] = before["cells"]
    print(f"{'case':32} {'ironlearn':>9} {'sklearn':>9} {'difference':>10} {'CPU time':>9}")
    with threadpool_limits(chosen.threads):
        for name in chosen.tables.split(","):
            read, regression = TABLES[name]
            table = None
            for label, settings in SETTINGS.items():
                for seed in range(chosen.seeds):
                    case = f"{name}/{label}/seed {seed}"
                    if case not in results["cells"]:
                        table = table or read(Path(data) / "tabular")
                        results["cells"][case] = measure(
                            table, regression, settings, seed, chosen.folds, chosen.rows
                        )
                        if chosen.json:
                            chosen.json.write_text(json.dumps(results, indent=1) + "\n")
                    _tell(case, [results["cells"][case]])
                cells = [results["cells"][f"{name}/{label}/seed {s}"] for s in range(chosen.seeds)]
                _tell(f"{name}/{label}", cells)
    return 0


def _tell(case: str, cells: list[dict[str, Any]]) -> None:
    ours, other = (
        np.array([cell[library]["mean"] for cell in cells])
        for library in ("ironlearn", "scikit-learn")
    )
    times = [sum(cell[k]["cpu"] for cell in cells) for k in ("scikit-learn", "ironlearn")]
    print(
        f"{case:32} {ours.mean():9.4f} {other.mean():9.4f} {ours.mean() - other.mean():+10.4f} "
        f"{times[0] / times[1]:8.2f}x",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
