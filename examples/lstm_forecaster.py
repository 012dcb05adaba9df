"""Forecasts of airline passengers: intervals, a backtest, inputs that are known ahead, plots.

Without arguments it takes the 144 months that come with ironlearn. ``--csv FILE`` takes the second
column of another file, one row a month.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from ironlearn.cli.demos.passengers import PASSENGERS
from ironlearn.series import LSTMForecaster


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--csv", type=Path, metavar="FILE", help="months and numbers")
    parser.add_argument("--epochs", type=int, default=60, help="most passes over the windows")
    parser.add_argument("--plot", type=Path, metavar="FOLDER", help="write pictures to this folder")
    chosen = parser.parse_args()

    if chosen.csv:
        table = pd.read_csv(chosen.csv)
        y = pd.Series(table.iloc[:, 1].to_numpy(float), pd.PeriodIndex(table.iloc[:, 0], freq="M"))
    else:
        months = pd.period_range("1949-01", periods=144, freq="M")
        y = pd.Series(np.ravel(PASSENGERS).astype(float), months)
    y.name = "passengers"

    settings = {"window": 24, "horizon": 12, "seasonal_period": 12, "random_state": 0}
    model = LSTMForecaster(epochs=chosen.epochs, **settings).fit(y)
    print(f"on logarithms: {model.log_}; share of the network: {model.blend_[0]:.2f}")
    lower, upper = model.predict_interval(alpha=0.1)
    for month, value in model.predict().items():
        print(f"{month}: {value:6.1f}, between {lower[month]:6.1f} and {upper[month]:6.1f}")

    result = model.backtest(y, initial=108, step=6)
    print(f"\na year ahead from {len(result.origins)} months:")
    print(result.table())

    # The number of days in a month is known ahead.
    days = pd.DataFrame({"days": y.index.days_in_month.to_numpy(float)}, index=y.index)
    later = pd.period_range(y.index[-1] + 1, periods=12, freq="M")
    informed = LSTMForecaster(epochs=chosen.epochs, known_future="all", **settings).fit(y, days)
    ahead = pd.DataFrame({"days": later.days_in_month.to_numpy(float)}, index=later)
    print(f"\nwith days known ahead: {informed.predict(X_future=ahead).round(1).tolist()}")

    if chosen.plot is not None:
        chosen.plot.mkdir(parents=True, exist_ok=True)
        model.plot().savefig(chosen.plot / "forecast.png")
        result.plot().savefig(chosen.plot / "backtest.png")
        model.plot_history().savefig(chosen.plot / "training.png")
        print("wrote", ", ".join(sorted(path.name for path in chosen.plot.glob("*.png"))))


if __name__ == "__main__":
    main()
