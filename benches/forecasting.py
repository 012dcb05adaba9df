"""Errors of `LSTMForecaster` on real series, beside seasonal-naive and ridge forecasts.

``python benches/forecasting.py --json forecasting.json`` reads the series of ``IRONLEARN_DATA``:
airline passengers, daily minimum temperatures, monthly sunspots, and ETTh1 (seven columns, 24 and
96 hours ahead; 12 months to learn, 4 to hold out, 4 to test; in the end both forecasters learn from
all 16 months). Ridge regression reads the same lags of the series as it is, and chooses its penalty
by generalised cross-validation. The file is written after each case; started again with the same
file, the run goes on with the cases that are missing.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ironlearn import _threads
from ironlearn._modelfile import write_atomically
from ironlearn.bench.stamp import stamp
from ironlearn.series import LSTMForecaster

#: Hours of a month, as the splits of ETTh1 count them (Zhou et al., "Informer", AAAI 2021).
_MONTH = 30 * 24


@dataclass(frozen=True)
class Case:
    """One series and what is asked of it.

    Attributes
    ----------
    file : str
        Below ``time_series/``.
    initial : float or int
        Steps before the first origin.
    step : int
        Steps from one origin to the next.
    settings : dict
        Parameters of the estimator.
    stop : int or None
        Steps of the file that are used.
    scaled : bool
        Errors are of columns standardised by the training steps, as they are published.
    """

    file: str
    initial: float | int
    step: int
    settings: dict[str, Any] = field(default_factory=dict)
    stop: int | None = None
    scaled: bool = False


def _ett(horizon: int) -> Case:
    return Case(
        "ETTh1.csv",
        16 * _MONTH,
        1,
        {
            "window": 336,
            "horizon": horizon,
            "seasonal_period": 24,
            "log": False,
            "shared": True,
            "segment": 24,
            "skip": "last",
            "validation_fraction": 0.25,
            "batch_size": 256,
            "epochs": 10,
            "patience": 3,
            "learning_rate": 1e-3,
        },
        20 * _MONTH,
        True,
    )


CASES: dict[str, Case] = {
    "passengers/12": Case(
        "airline-passengers.csv",
        0.67,
        1,
        {"window": 24, "horizon": 12, "seasonal_period": 12},
    ),
    "temperatures/30": Case(
        "daily-min-temperatures.csv",
        0.8,
        1,
        {"window": 60, "horizon": 30, "seasonal_period": 365, "epochs": 15, "patience": 4},
    ),
    "sunspots/24": Case(
        "monthly-sunspots.csv",
        0.85,
        1,
        {
            "window": 132,
            "horizon": 24,
            "seasonal_period": 132,
            "segment": 12,
            "skip": "last",
            "epochs": 40,
            "patience": 6,
        },
    ),
    "etth1/24": _ett(24),
    "etth1/96": _ett(96),
}


def read(path: Path) -> np.ndarray:
    """Return the columns of numbers behind the first one."""
    with path.open(newline="") as stream:
        rows = list(csv.reader(stream))[1:]
    return np.array([[float(cell) for cell in row[1:]] for row in rows if len(row) > 1])


def measure(case: Case, folder: Path) -> dict[str, Any]:
    """Return the errors of all forecasters."""
    y = read(folder / case.file)[: case.stop]
    if case.scaled:
        train = y[: 12 * _MONTH]
        y = (y - train.mean(axis=0)) / train.std(axis=0)
    y = y[:, 0] if y.shape[1] == 1 else y
    start, cpu = time.perf_counter(), time.process_time()
    model = LSTMForecaster(**case.settings, random_state=0)
    result = model.backtest(y, initial=case.initial, step=case.step)
    squares = {
        name: float(np.mean((forecast - result.truth) ** 2))
        for name, forecast in result.forecasts.items()
    }
    return {
        "origins": len(result.origins),
        "metrics": {
            name: {**values, "mse": squares[name]} for name, values in result.metrics.items()
        },
        "wins": squares["lstm"] < min(squares["ridge"], squares["seasonal naive"]),
        "seconds": time.perf_counter() - start,
        "cpu_seconds": time.process_time() - cpu,
    }


def main(arguments: list[str]) -> int:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="write the results to this file, and go on there")
    parser.add_argument("--case", action="append", choices=list(CASES), help="only these cases")
    chosen = parser.parse_args(arguments)
    data = os.environ.get("IRONLEARN_DATA")
    if not data:
        parser.error("IRONLEARN_DATA must name the folder that holds time_series/.")
    results: dict[str, Any] = {}
    if chosen.json and chosen.json.exists():
        results = json.loads(chosen.json.read_text())["results"]
    for name in chosen.case or CASES:
        described = CASES[name].settings
        if results.get(name, {}).get("settings") != described:
            found = measure(CASES[name], Path(data) / "time_series")
            results[name] = {"settings": described, **found}
            if chosen.json:
                stamped = {"stamp": stamp(_threads.available_cpus(), ["scikit-learn"])}
                whole = json.dumps({**stamped, "results": results}, indent=1) + "\n"
                write_atomically(chosen.json, whole.encode())
        found = results[name]
        print(f"{name} ({found['origins']} origins, {found['seconds']:.0f} s)")
        for forecaster, values in found["metrics"].items():
            shown = ", ".join(f"{metric} {value:.4g}" for metric, value in values.items())
            print(f"  {forecaster:15} {shown}")
        if not found["wins"]:
            print("  the LSTM does not have the least squared error here")
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
