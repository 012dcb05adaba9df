"""Model files of tables that earlier versions wrote are read, and answer as they did."""

from __future__ import annotations

import numpy as np
import pytest

from evaluation.make_golden_tables import GOLDEN, MODELS, REGRESSORS
from ironlearn.evaluation import SPECS, TableModel, available
from ironlearn.evaluation.preprocessing import VIEWS
from ironlearn.io import read_table


@pytest.mark.parametrize("name", MODELS)
def test_golden(name: str) -> None:
    table = read_table(GOLDEN / "rows.csv")
    model = TableModel.load(GOLDEN / f"{name}.ironlearn")
    assert model.target_ == "kind"
    with np.load(GOLDEN / f"{name}.npz") as stored:
        for method in stored:
            now = getattr(model, method)(table)
            if method == "predict":
                assert now.tolist() == stored[method].tolist()
            else:
                np.testing.assert_allclose(now, stored[method], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", [name for name in REGRESSORS if name in available("regression")])
def test_golden_regression(name: str) -> None:
    """As soon as the build has the model: make_golden_tables.py writes its file."""
    model = TableModel.load(GOLDEN / f"{name}-regression.ironlearn")
    assert (model.target_, model.task_) == ("count", "regression")
    with np.load(GOLDEN / f"{name}-regression.npz") as stored:
        now = model.predict(read_table(GOLDEN / "rows.csv"))
        np.testing.assert_allclose(now, stored["predict"], rtol=1e-9)


def test_every_view_has_one() -> None:
    assert {SPECS[name].view for name in MODELS} == set(VIEWS)
