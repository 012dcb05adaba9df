"""All forests beside scikit-learn's on real tables, over twenty seeds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.model_selection import train_test_split

from ensemble.forests import ours, theirs

pytestmark = pytest.mark.realdata

#: File, column of the target, and separator of each table.
TABLES = {
    "letter": ("tabular/letter/letter-recognition.data.gz", 0, ","),
    "higgs": ("tabular/higgs/binary.train.gz", 0, "\t"),
    # A number out of the table as the target: the second feature of letters is a height, the
    # first of the Higgs data a momentum.
    "letter-height": ("tabular/letter/letter-recognition.data.gz", 4, ","),
    "higgs-momentum": ("tabular/higgs/binary.train.gz", 1, "\t"),
}


def load(name: str, data_dir: Path, rows: int) -> tuple[np.ndarray, np.ndarray]:
    file, target, separator = TABLES[name]
    frame = pd.read_csv(data_dir / file, header=None, sep=separator).sample(rows, random_state=0)
    y = frame.pop(target).to_numpy()
    return frame.select_dtypes("number").to_numpy(dtype=np.float32), y


@pytest.mark.parametrize(
    ("kind", "table", "settings"),
    [
        ("ExtraTreesClassifier", "letter", {}),
        ("ExtraTreesClassifier", "higgs", {"max_features": None, "min_samples_leaf": 3}),
        ("RandomForestRegressor", "letter-height", {"max_features": "sqrt"}),
        ("RandomForestRegressor", "higgs-momentum", {"min_samples_leaf": 5, "max_features": 0.5}),
        ("ExtraTreesRegressor", "letter-height", {}),
        ("ExtraTreesRegressor", "higgs-momentum", {"max_features": 8, "bootstrap": True}),
    ],
)
def test_mean_scores_over_seeds(
    kind: str, table: str, settings: dict[str, Any], data_dir: Path
) -> None:
    train, test, y_train, y_test = train_test_split(
        *load(table, data_dir, 1800), train_size=1000, random_state=0
    )
    here, there = (
        np.array(
            [
                forest(15, random_state=seed, **settings).fit(train, y_train).score(test, y_test)
                for seed in range(20)
            ]
        )
        for forest in (ours(kind), theirs(kind))
    )
    noise = np.sqrt((here.var(ddof=1) + there.var(ddof=1)) / 20)
    assert abs(here.mean() - there.mean()) < 3 * noise + 1e-3
