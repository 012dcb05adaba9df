"""Real tables, read from files and compared."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from evaluation.stand_in import put_in
from ironlearn.cli import main
from ironlearn.evaluation import available, compare
from ironlearn.io import read_dataset, read_table

pytestmark = pytest.mark.realdata

NAMES = [
    "age", "workclass", "fnlwgt", "education", "education_num", "marital", "occupation",
    "relationship", "race", "sex", "gain", "loss", "hours", "country", "income",
]  # fmt: skip


@pytest.fixture(scope="module")
def adult(data_dir: Path) -> pd.DataFrame:
    """The first 2,000 rows of Adult: numbers, categories, and missing values as "?"."""
    path = data_dir / "tabular" / "adult" / "adult-train.csv.gz"
    frame = pd.read_csv(path, header=None, names=NAMES, skipinitialspace=True, nrows=2000)
    return frame.assign(seen=pd.Timestamp("1994-01-01") + pd.to_timedelta(frame["age"], unit="h"))


@pytest.mark.parametrize("ending", ["csv", "parquet", "feather"])
def test_adult_in_each_format(adult: pd.DataFrame, tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"adult.{ending}"
    if ending == "csv":
        adult.to_csv(path, index=False)
    else:
        getattr(adult.replace("?", None), f"to_{ending}")(path)
    data = read_dataset(path, "income", folds=5)
    assert len(data.table) == 2000
    assert sorted(set(data.y.tolist())) == ["<=50K", ">50K"]
    kinds = [data.table.kind(name) for name in data.table.names]
    assert (kinds.count("number"), kinds.count("category"), kinds.count("date")) == (6, 8, 1)
    missing = sum(v is None for v in data.table.values("occupation").tolist())
    assert missing == (adult["occupation"] == "?").sum() > 50


def test_compare_adult(
    adult: pd.DataFrame, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = tmp_path / "adult.parquet", tmp_path / "adult.json"
    adult.replace("?", None).to_parquet(path)
    arguments = ["--data", str(path), "--target", "income", "--cv", "3", "--json", str(out)]
    assert main(["compare", *arguments]) == 0
    text = capsys.readouterr().out
    assert "categorical (8): workclass, education" in text
    assert "date (1): seen" in text
    rows = {row["model"]: row for row in json.loads(out.read_text())["rows"]}
    assert list(rows) == available()
    share = (adult["income"] == "<=50K").mean()
    for name in ("random_forest", "linear_svc"):
        for side in ("ours", "theirs"):
            assert rows[name][side]["mean"]["accuracy"] > share + 0.05
            assert rows[name][side]["mean"]["roc_auc"] > 0.85
    # Deterministic models agree; LinearSVC's optimum is unique up to its tolerance.
    for name in ("gaussian_nb", "categorical_nb"):
        if name in rows:
            assert rows[name]["ours"]["scores"] == rows[name]["theirs"]["scores"]
    svc = rows["linear_svc"]
    assert svc["ours"]["mean"]["accuracy"] == pytest.approx(
        svc["theirs"]["mean"]["accuracy"], abs=0.005
    )


def test_fit_and_evaluate_on_the_official_split(
    data_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, model = data_dir / "tabular" / "adult", tmp_path / "m.ironlearn"
    common = ["--no-header", "--target", "14"]
    train = str(folder / "adult-train.csv.gz")
    options = ["--model", "linear_svc", "--out", str(model)]
    assert main(["fit", "--data", train, *common, *options]) == 0
    # The labels of the test file end in a full stop.
    test = tmp_path / "test.csv"
    with gzip.open(folder / "adult-test.csv.gz", "rt") as file:
        lines = [line.rstrip().removesuffix(".") for line in file]
    test.write_text("\n".join(line for line in lines if line.count(",") == 14) + "\n")
    scores = tmp_path / "scores.json"
    capsys.readouterr()
    arguments = ["--model", str(model), "--data", str(test), *common, "--json", str(scores)]
    assert main(["evaluate", *arguments]) == 0
    report = json.loads(scores.read_text())
    assert report["n_rows"] == 16281
    assert report["accuracy"] > 0.84
    assert report["roc_auc"] > 0.89


def test_sparse_a9a(data_dir: Path) -> None:
    data = read_dataset(data_dir / "tabular" / "a9a" / "a9a.gz")
    assert data.table.sparse is not None
    assert data.y.tolist()[:3] == [-1, -1, -1]
    row = compare(data.table, data.y, models=["linear_svc"], cv=2).rows[0]
    assert row.ours.mean("accuracy") == pytest.approx(row.theirs.mean("accuracy"), abs=0.002)
    assert row.ours.mean("accuracy") > 0.84


def test_regression_over_dates(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Oil temperature by load and date: the build's regressors, or else stand-ins."""
    if not available("regression"):
        put_in(monkeypatch)
    pd.read_csv(data_dir / "time_series" / "ETTh1.csv", nrows=1500).to_feather(tmp_path / "f")
    data = read_dataset(tmp_path / "f", "OT", folds=3)
    assert (data.task, data.reason) == ("regression", "numbers that are not whole")
    assert data.table.kind("date") == "date"
    y = (data.y - data.y.mean()) / data.y.std()
    result = compare(data.table, y, cv=3)
    assert [row.model for row in result.rows] == available("regression")
    for row in result.rows:
        assert row.ours.mean("r2") > 0.25, row.model
        assert row.ours.mean("rmse") == pytest.approx(row.theirs.mean("rmse"), rel=0.1), row.model


def test_columns_of_other_files(data_dir: Path) -> None:
    folder = data_dir / "tabular"
    letters = read_dataset(folder / "letter" / "letter-recognition.data.gz", "0", header=False)
    assert len(np.unique(letters.y)) == 26
    assert letters.table.matrix(letters.table.names).shape == (20000, 16)
    shuttle = read_table(folder / "shuttle" / "shuttle.trn.gz", header=False)
    assert (len(shuttle), len(shuttle.names)) == (43500, 10)
    cover = read_dataset(folder / "covertype" / "covertype_17336.csv.gz", "cover_type")
    assert len(cover.table.names) == 54
    spam = read_table(folder / "spambase" / "spambase.data.gz", header=False)
    assert len(spam.names) == 58
