"""Write the golden model files of tables: ``python tests/evaluation/make_golden_tables.py``.

They were written by the first version that had the type, and stay: later versions must read
them and answer the same. What is there is never written over.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from ironlearn.evaluation import TableModel, available
from ironlearn.io import read_dataset

GOLDEN = Path(__file__).parent / "golden"
MODELS = {
    "gaussian_nb": {},
    "categorical_nb": {},
    "decision_tree": {"max_depth": 4},
    "linear_svc": {},
    "multinomial_nb": {},
}
#: Of regression, where the target is the column "count".
REGRESSORS = {"decision_tree": {"max_depth": 4}}


def rows() -> pd.DataFrame:
    """Rows with every kind of column, gaps, and a column of many categories."""
    rng = np.random.RandomState(0)
    n = 80
    frame = pd.DataFrame(
        {
            "size": np.round(rng.randn(n), 3),
            "count": rng.randint(0, 40, n),
            "open": rng.rand(n) < 0.5,
            "colour": rng.choice(["rot", "grün", "blau"], n),
            "town": [f"town {v}" for v in rng.randint(0, 30, n)],
            "when": pd.to_datetime(1_704_067_200 + rng.randint(0, 10**7, n), unit="s"),
        }
    )
    frame.loc[::7, "size"] = None
    frame.loc[::9, "colour"] = None
    frame.loc[::11, "when"] = pd.NaT
    score = frame["size"].fillna(0) + (frame["colour"] == "rot") + 0.05 * frame["count"]
    frame["kind"] = pd.cut(score, [-9, 0.7, 1.7, 9], labels=["low", "mid", "high"]).astype(str)
    return frame


def main() -> None:
    GOLDEN.mkdir(exist_ok=True)
    path = GOLDEN / "rows.csv"
    if not path.exists():
        rows().to_csv(path, index=False)
    data = read_dataset(path, "kind")
    for name, parameters in MODELS.items():
        model = GOLDEN / f"{name}.ironlearn"
        if not model.exists():
            fitted = TableModel(name, parameters).fit(data.table, data.y, target="kind")
            fitted.save(model)
            method = "predict_proba" if hasattr(fitted, "predict_proba") else "decision_function"
            np.savez(
                GOLDEN / f"{name}.npz",
                predict=fitted.predict(data.table),
                **{method: getattr(fitted, method)(data.table)},
            )
    data = read_dataset(path, "count", task="regression")
    for name, parameters in REGRESSORS.items():
        model = GOLDEN / f"{name}-regression.ironlearn"
        if name in available("regression") and not model.exists():
            fitted = TableModel(name, parameters, task="regression")
            fitted.fit(data.table, data.y, target="count").save(model)
            np.savez(model.with_suffix(".npz"), predict=fitted.predict(data.table))


if __name__ == "__main__":
    main()
