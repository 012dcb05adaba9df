"""Regression: scores, comparisons, table models, reports and commands."""

from __future__ import annotations

import csv
import json
import re
import xml.etree.ElementTree as ET
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import dump_svmlight_file, load_diabetes
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression
from sklearn.metrics import (
    mean_absolute_error,
    mean_pinball_loss,
    r2_score,
    root_mean_squared_error,
)
from sklearn.model_selection import RepeatedKFold
from sklearn.tree import DecisionTreeRegressor

from evaluation.stand_in import put_in
from ironlearn.cli import main
from ironlearn.cluster import KMeans
from ironlearn.evaluation import (
    REGRESSORS,
    TableModel,
    available,
    compare,
    corrected_paired_test,
    evaluate,
    pinball_loss,
    plot_predictions,
    plot_residuals,
)
from ironlearn.evaluation.models import Spec, choose
from ironlearn.evaluation.regression import MOST_POINTS, regression_report, regression_scores
from ironlearn.evaluation.svg import ticks
from ironlearn.exceptions import DataError, InvalidParameterError, ModelFileError

DIABETES = load_diabetes(return_X_y=True)


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    put_in(monkeypatch)


def _frame(n: int = 120, seed: int = 0) -> pd.DataFrame:
    rng = np.random.RandomState(seed)
    frame = pd.DataFrame({"size": rng.randn(n), "colour": rng.choice(["red", "green"], n)})
    frame["price"] = 3 * frame["size"] + 2 * (frame["colour"] == "red") + 0.3 * rng.randn(n) + 10
    frame.loc[::10, "size"] = None
    return frame


numbers = st.lists(st.floats(-1e6, 1e6, allow_subnormal=False), min_size=2, max_size=30)


@given(numbers, st.floats(0.01, 0.99), st.integers(0, 100))
def test_scores_are_those_of_scikit_learn(y: list[float], quantile: float, seed: int) -> None:
    true = np.array(y)
    predicted = true + np.random.RandomState(seed).randn(len(y))
    found = regression_scores(true, predicted, quantile)
    assert found["r2"] == pytest.approx(r2_score(true, predicted), rel=1e-6, abs=1e-9)
    assert found["mae"] == pytest.approx(mean_absolute_error(true, predicted))
    assert found["rmse"] == pytest.approx(root_mean_squared_error(true, predicted))
    loss = mean_pinball_loss(true, predicted, alpha=quantile)
    assert found["pinball"] == pytest.approx(loss)
    assert pinball_loss(true, predicted, quantile=quantile) == found["pinball"]


def test_scores_of_a_constant_are_those_of_scikit_learn() -> None:
    same = np.full(4, 2.5)
    assert regression_scores(same, same)["r2"] == r2_score(same, same) == 1.0
    assert regression_scores(same, same + 1)["r2"] == r2_score(same, same + 1) == 0.0


def test_report() -> None:
    X, y = DIABETES
    model = LinearRegression().fit(X[::2], y[::2])
    report = evaluate(model, X[1::2], y[1::2], quantile=0.9)
    predicted = model.predict(X[1::2])
    assert report.n_rows == 221
    assert report.r2 == pytest.approx(r2_score(y[1::2], predicted))
    assert report.pinball == pytest.approx(mean_pinball_loss(y[1::2], predicted, alpha=0.9))
    assert report.bias == pytest.approx((predicted - y[1::2]).mean())
    assert report.true == y[1::2].tolist()
    np.testing.assert_allclose(report.predicted, predicted, rtol=1e-5)
    assert json.loads(report.to_json())["quantile"] == 0.9
    text = report.to_text()
    assert f"R²       {report.r2:.4f}" in text
    assert "(quantile 0.9)" in text
    assert evaluate(model, X[:1], y[:1]).r2 is None
    assert "R²       -" in evaluate(model, X[:1], y[:1]).to_text()
    many = np.arange(5000.0)
    kept = regression_report(many, many + 1).true
    assert len(kept) == MOST_POINTS
    assert (kept[0], kept[-1]) == (0.0, 4999.0)


def test_what_cannot_be_evaluated() -> None:
    X, y = DIABETES
    model = LinearRegression().fit(X, y)
    with pytest.raises(InvalidParameterError, match="quantile must be between 0 and 1, got 0"):
        evaluate(model, X, y, quantile=0)
    with pytest.raises(DataError, match="missing in 1 of 442"):
        evaluate(model, X, np.where(np.arange(442) == 3, np.nan, y))
    with pytest.raises(ValueError, match="inconsistent"):
        evaluate(model, X, y[:-1])
    with pytest.raises(ValueError, match="KMeans is a clusterer"):
        evaluate(KMeans(2, random_state=0).fit(X), X, y)


def test_plots() -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    X, y = DIABETES
    report = evaluate(LinearRegression().fit(X, y), X, y)
    axes = plot_predictions({"line": report})
    assert axes.get_legend_handles_labels()[1] == [f"line, RMSE {report.rmse:.4g}"]
    points = axes.collections[0].get_offsets()
    np.testing.assert_allclose(points, np.column_stack([report.true, report.predicted]))
    axes = plot_residuals(report)
    points = axes.collections[0].get_offsets()
    np.testing.assert_allclose(points[:, 1], np.subtract(report.true, report.predicted))
    pyplot.close("all")


@pytest.mark.parametrize(
    ("low", "high"), [(0, 1), (-3.2, 17), (1e-9, 2e-9), (-1e8, 3e9), (5, 5), (0, 0), (24.9, 346)]
)
def test_ticks_enclose_their_range(low: float, high: float) -> None:
    found = ticks(low, high)
    assert 3 <= len(found) <= 8
    assert found[0] <= low
    assert found[-1] >= high
    assert len({round(b - a, 12) for a, b in pairwise(found)}) <= 2


@pytest.mark.usefixtures("stand_in")
def test_compare() -> None:
    X, y = DIABETES
    progress: list[tuple[str, int, int]] = []
    result = compare(
        X, y, cv=3, repeats=2, seed=5, quantile=0.8, name="d", target="t",
        progress=lambda *event: progress.append(event),
    )  # fmt: skip
    assert [row.model for row in result.rows] == ["their_tree", "their_ridge", "decision_tree"]
    assert progress[:7] == [("their_tree", i, 6) for i in range(7)]
    assert result.dataset == {
        "name": "d",
        "target": "t",
        "task": "regression",
        "reason": "214 different whole numbers",
        "rows": 442,
        "columns": 10,
        "mean": pytest.approx(y.mean()),
        "deviation": pytest.approx(y.std()),
    }
    assert result.settings["quantile"] == 0.8
    row = result.rows[2]
    assert row.task == "regress"
    folds = RepeatedKFold(n_splits=3, n_repeats=2, random_state=5).split(X)
    expected = []
    for train, test in folds:
        predicted = LinearRegression().fit(X[train], y[train]).predict(X[test])
        expected.append(regression_scores(y[test], predicted, 0.8))
    for score in ("r2", "mae", "rmse", "pinball"):
        values = [found[score] for found in expected]
        for side in row.sides:
            assert side.scores[score] == pytest.approx(values, rel=1e-6)
            assert side.mean(score) == pytest.approx(np.mean(values), rel=1e-6)
        test = corrected_paired_test(
            row.ours.scores[score], row.theirs.scores[score], n_train=442 * 2 / 3, n_test=442 / 3
        )
        assert row.differences[score].test == test
    assert {"fit_seconds", "predict_seconds"} < set(row.differences)
    report = row.ours.report
    assert report is not None
    assert report.n_rows == 442
    data = json.loads(result.to_json())
    assert data["rows"][2]["ours"]["mean"]["r2"] == pytest.approx(row.ours.mean("r2"))
    assert data["rows"][2]["ours"]["report"]["quantile"] == 0.8


@pytest.mark.usefixtures("stand_in")
def test_a_worse_regressor_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    original = Spec.make

    def stumps(self: Spec, library: str, *args: Any, **kwargs: Any) -> Any:
        model = original(self, library, *args, **kwargs)
        return model.set_params(max_depth=1) if library == "ironlearn" else model

    monkeypatch.setattr(Spec, "make", stumps)
    X = np.random.RandomState(0).rand(600, 3)
    row = compare(X, 5 * X[:, 0] + X[:, 1], models=["their_tree"], cv=4).rows[0]
    for score, sign in (("r2", -1), ("mae", 1), ("rmse", 1), ("pinball", 1)):
        assert row.differences[score].real
        assert np.sign(row.differences[score].test.difference) == sign


@pytest.mark.usefixtures("stand_in")
@pytest.mark.parametrize("width", [80, 130])
def test_table(width: int) -> None:
    X, y = DIABETES
    text = compare(X, y, models=["their_ridge"], cv=2).to_text(width)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    assert re.search(r"R² +MAE +RMSE +pinball", text)
    assert "pinball loss of the quantile 0.5" in text
    ours, theirs = (line for line in text.splitlines() if re.match(r"  (iron|scikit)", line))
    assert ours.split()[1:3] == theirs.split()[1:3]


@pytest.mark.usefixtures("stand_in")
def test_page() -> None:
    X, y = DIABETES
    result = compare(X, y, cv=2, name="<i>", target="</p>")
    html = result.to_html()
    page = ET.fromstring(html.split("\n", 1)[1])
    charts = [e for e in page.iter() if e.tag.endswith("svg")]
    labels = [chart.attrib["aria-label"] for chart in charts]
    assert len(charts) == 2 + 3 * 4
    assert labels.count("ironlearn: predicted and true") == 3
    assert labels.count("scikit-learn: residuals") == 3
    points = [e for e in page.iter() if e.tag.endswith("circle")]
    assert len(points) == 3 * 4 * MOST_POINTS
    for point in points:
        assert 0 < float(point.attrib["cx"]) < 300
        assert 20 < float(point.attrib["cy"]) < 240
    assert "confusion" not in html
    assert "ROC" not in html
    assert "task: regression (214 different whole numbers)" in html


@pytest.mark.usefixtures("stand_in")
def test_interruption_keeps_finished_rows() -> None:
    def stop(model: str, done: int, total: int) -> None:
        if model == "their_ridge" and done == 1:
            raise KeyboardInterrupt

    result = compare(*DIABETES, cv=2, progress=stop, keep_partial=True)
    assert [row.model for row in result.rows] == ["their_tree"]
    assert "interrupted" in result.to_text()
    ET.fromstring(result.to_html().split("\n", 1)[1])


@pytest.mark.usefixtures("stand_in")
def test_names_belong_to_tasks() -> None:
    assert available("regression") == ["their_tree", "their_ridge", "decision_tree"]
    X, y = DIABETES
    with pytest.raises(InvalidParameterError, match="'gaussian_nb' is for classification, but the"):
        compare(X, y, models=["gaussian_nb"])
    with pytest.raises(InvalidParameterError, match="'their_tree' is for regression, but the task"):
        compare(X, y > 100, models=["their_tree"])
    with pytest.raises(InvalidParameterError, match="unknown model 'x'; known are their_tree, the"):
        compare(X, y, models=["x"])
    row = compare(X, y > 100, models=["decision_tree"], cv=2).rows[0]
    assert row.task == "classify"
    row = compare(X, y, models=["decision_tree"], cv=2).rows[0]
    assert row.task == "regress"
    codes = (y > 100).astype(int)
    row = compare(X, codes, models=["decision_tree"], cv=2, task="regression").rows[0]
    assert row.task == "regress"


@pytest.mark.usefixtures("stand_in")
@pytest.mark.parametrize(
    ("y", "words"),
    [
        (["a", "b"] * 10, "holds 'a'; regression needs numbers"),
        ([True, False] * 10, "holds booleans; regression needs numbers"),
        (np.full(20, 3.5), r"one value only \(3.5\)"),
        (np.r_[np.arange(19.0), np.nan], r"missing in 1 of 20 rows \(first: row 19\)"),
        (np.r_[np.arange(19.0), -np.inf], "holds -inf in row 19; regression needs finite"),
        (np.arange(20) * 1e200, "squares of its errors would overflow"),
        (np.arange(20) * 1j, "regression needs numbers"),
        (np.arange(19.0), "X has 20 rows, but 'y' has 19"),
    ],
)
def test_bad_targets(y: Any, words: str) -> None:
    X = np.random.RandomState(0).rand(20, 2)
    with pytest.raises(DataError, match=words):
        compare(X, y, task="regression", cv=2)


@pytest.mark.usefixtures("stand_in")
def test_each_fold_needs_two_rows() -> None:
    X, y = DIABETES
    with pytest.raises(DataError, match="has 7 rows, but each of 4 folds needs two"):
        compare(X[:7], y[:7], cv=4, task="regression")


def test_a_build_without_regressors_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(REGRESSORS):
        monkeypatch.delitem(REGRESSORS, name)
    with pytest.raises(InvalidParameterError, match="this build of ironlearn has no model for reg"):
        compare(*DIABETES)
    with pytest.raises(InvalidParameterError, match="random_forest' is for classification, but "):
        TableModel("random_forest", task="regression").fit(*DIABETES)


def test_every_regressor_of_the_build_is_compared() -> None:
    """Whatever of them there is: the same splits give about the same scores."""
    if not available("regression"):
        assert all(spec.task == "regress" for spec in REGRESSORS.values())
        return
    X, y = DIABETES
    result = compare(X, (y - y.mean()) / y.std(), cv=3)
    assert [row.model for row in result.rows] == available("regression")
    for row in result.rows:
        assert row.ours.mean("r2") > (-0.3 if row.model == "decision_tree" else 0.3), row.model
        assert row.ours.mean("mae") == pytest.approx(row.theirs.mean("mae"), rel=0.1), row.model


@pytest.mark.usefixtures("stand_in")
def test_table_model(tmp_path: Path) -> None:
    frame = _frame()
    y = frame.pop("price")
    model = TableModel("decision_tree").fit(frame, y, target="price")
    assert (model.task_, model.reason_) == ("regression", "numbers that are not whole")
    assert not hasattr(model, "classes_")
    assert not hasattr(model, "predict_proba")
    assert not model.clusters
    predicted = model.predict(frame)
    assert r2_score(y, predicted) > 0.8
    assert evaluate(model, frame, y).r2 == pytest.approx(r2_score(y, predicted))
    model.save(tmp_path / "m")
    back = TableModel.load(tmp_path / "m")
    assert (back.model, back.target_, back.task_) == ("decision_tree", "price", "regression")
    np.testing.assert_array_equal(back.predict(frame), predicted)
    # The same name, but classes.
    kind = np.where(y > y.median(), "dear", "cheap")
    model = TableModel("decision_tree", {"max_depth": 2}).fit(frame, kind)
    assert model.task_ == "classification"
    model.save(tmp_path / "c")
    assert TableModel.load(tmp_path / "c").classes_.tolist() == ["cheap", "dear"]


@pytest.mark.usefixtures("stand_in")
def test_what_table_models_refuse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frame = _frame()
    y = frame.pop("price")
    with pytest.raises(NotFittedError):
        TableModel("decision_tree").predict(frame)
    with pytest.raises(DataError, match="decision_tree needs a target"):
        TableModel("decision_tree").fit(frame)
    with pytest.raises(InvalidParameterError, match="task must be one of auto, classification"):
        TableModel("decision_tree", task="rank").fit(frame, y)
    with pytest.raises(InvalidParameterError, match="'linear_svc' is for classification, but the"):
        TableModel("linear_svc", task="regression").fit(frame, y)
    with pytest.raises(DataError, match="is continuous .* needs the task regression"):
        TableModel("decision_tree", task="classification").fit(frame, y)
    with pytest.raises(InvalidParameterError, match="LeastSquares has no parameter 'max_depth'"):
        TableModel("decision_tree", {"max_depth": 3}).fit(frame, y)
    TableModel("decision_tree").fit(frame, y).save(tmp_path / "m")
    monkeypatch.delitem(REGRESSORS, "decision_tree")
    with pytest.raises(ModelFileError, match="'decision_tree' is not the name of a LeastSquares"):
        TableModel.load(tmp_path / "m")


def test_choose_without_a_task_is_classification() -> None:
    assert choose("decision_tree")[0].class_name == "DecisionTreeClassifier"


def _run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    try:
        code = main([str(argument) for argument in arguments])
    except SystemExit as stop:
        code = int(stop.code or 0)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.mark.usefixtures("stand_in")
def test_command_compare(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, out, _ = _run(
        capsys, "compare", "--dataset", "diabetes", "--cv", 2, "--models", "their_tree",
        "--quantile", 0.1, "--json", tmp_path / "r.json", "--report", tmp_path / "r.html",
    )  # fmt: skip
    assert code == 0
    lines = out.splitlines()
    assert lines[0] == (
        "diabetes (of scikit-learn): 442 rows, disease progression from 25 to 346, mean 152.133"
    )
    assert lines[1] == "  task: regression (214 different whole numbers; --task to change it)"
    assert "their_tree" in out
    assert "quantile 0.1" in out
    data = json.loads((tmp_path / "r.json").read_text())
    assert data["dataset"]["task"] == "regression"
    assert data["settings"]["quantile"] == 0.1
    ET.fromstring((tmp_path / "r.html").read_text().split("\n", 1)[1])


@pytest.mark.usefixtures("stand_in")
@pytest.mark.parametrize("ending", ["csv", "parquet", "feather", "npz", "svm"])
def test_files(capsys: pytest.CaptureFixture[str], tmp_path: Path, ending: str) -> None:
    frame, path = _frame(), tmp_path / f"d.{ending}"
    options = ["--target", "price"]
    if ending == "csv":
        frame.to_csv(path, index=False)
    elif ending == "npz":
        np.savez(path, **{name: frame[name].to_numpy(dtype="U8") if name == "colour" else
                          frame[name].to_numpy() for name in frame})  # fmt: skip
    elif ending == "svm":
        dump_svmlight_file(frame[["size"]].fillna(0), frame["price"], str(path), zero_based=False)
        options = []
    else:
        getattr(frame, f"to_{ending}")(path)
    code, out, err = _run(
        capsys, "compare", "--data", path, *options, "--cv", 2, "--models", "their_ridge"
    )
    assert code == 0, err
    assert "task: regression (numbers that are not whole; --task to change it)" in out
    assert ("sparse: 1 columns" in out) is (ending == "svm")


@pytest.mark.usefixtures("stand_in")
def test_commands_fit_predict_evaluate(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    train, new, model = tmp_path / "t.csv", tmp_path / "n.csv", tmp_path / "m.ironlearn"
    _frame().to_csv(train, index=False)
    code, out, err = _run(
        capsys, "fit", "--data", train, "--target", "price", "--model", "decision_tree",
        "--out", model,
    )  # fmt: skip
    assert code == 0, err
    assert "task: regression (numbers that are not whole)" in out
    frame = _frame(seed=1)
    frame.drop(columns="price").to_csv(new, index=False)
    code, out, _ = _run(capsys, "predict", "--model", model, "--data", new)
    rows = list(csv.DictReader(out.splitlines()))
    predicted = np.array([float(row["price"]) for row in rows])
    assert r2_score(frame["price"], predicted) > 0.8
    code, _, err = _run(capsys, "predict", "--model", model, "--data", new, "--proba")
    assert (code, "decision_tree has no probabilities" in err) == (2, True)
    frame.to_csv(new, index=False)
    code, out, _ = _run(
        capsys, "evaluate", "--model", model, "--data", new, "--quantile", 0.25,
        "--json", tmp_path / "e.json", "--report", tmp_path / "e.html",
    )  # fmt: skip
    assert code == 0
    report = json.loads((tmp_path / "e.json").read_text())
    assert report["r2"] == pytest.approx(r2_score(frame["price"], predicted))
    assert f"R²       {report['r2']:.4f}" in out
    loss = mean_pinball_loss(frame["price"], predicted, alpha=0.25)
    assert report["pinball"] == pytest.approx(loss)
    page = ET.fromstring((tmp_path / "e.html").read_text().split("\n", 1)[1])
    assert len([e for e in page.iter() if e.tag.endswith("svg")]) == 2
    # One row, all the same value: nothing is divided by zero.
    frame[:1].to_csv(new, index=False)
    code, out, _ = _run(capsys, "evaluate", "--model", model, "--data", new)
    assert (code, "R²       -" in out) == (0, True)


@pytest.mark.usefixtures("stand_in")
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["compare", "--dataset", "moons"], "argument --dataset: invalid choice: 'moons'"),
        (["compare", "--dataset", "iris", "--data", "TABLE"], "--data and --dataset exclude each"),
        (["compare", "--dataset", "iris", "--target", "x"], "--target needs --data"),
        (["compare", "--task", "rank"], "argument --task: invalid choice: 'rank'"),
        (["compare", "--quantile", "1"], "argument --quantile: 1 is not between 0 and 1"),
        (["compare", "--quantile", "x"], "argument --quantile: 'x' is not a number"),
        (
            ["compare", "--dataset", "diabetes", "--models", "linear_svc"],
            "the model 'linear_svc' is for classification, but the task is regression; known are",
        ),
        (
            ["compare", "--data", "TABLE", "--target", "price", "--task", "classification"],
            "is continuous",
        ),
        (
            ["compare", "--data", "TABLE", "--target", "colour", "--task", "regression"],
            "the target 'colour' holds 'red'; regression needs numbers",
        ),
        (
            ["compare", "--data", "TABLE", "--target", "size", "--task", "regression"],
            "missing in 12 of 120 rows (first: row 0)",
        ),
        (["compare", "--data", "TABLE", "--target", "endless"], "holds infinity"),
        (
            ["fit", "--data", "TABLE", "--target", "price", "--model", "gaussian_nb", "--task",
             "regression", "--out", "m"],
            "the model 'gaussian_nb' is for classification, but the task is regression",
        ),
        (
            ["fit", "--data", "TABLE", "--target", "price", "--model", "gaussian_nb", "--out", "m"],
            "is continuous",
        ),
    ],
)  # fmt: skip
def test_mistakes_are_told_in_one_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, arguments: list[str], words: str
) -> None:
    path = tmp_path / "t.csv"
    frame = _frame().assign(endless=1.5)
    frame.loc[3, "endless"] = np.inf
    frame.to_csv(path, index=False)
    code, out, err = _run(capsys, *(str(path) if a == "TABLE" else a for a in arguments))
    assert code == 2
    assert words in err
    assert err.startswith("ironlearn")
    assert err.count("\n") == 1
    assert "MAE" not in out
    assert not (tmp_path / "m").exists()


def test_trees_keep_missing_numbers_in_regression(stand_in: None) -> None:
    frame = _frame()
    y = frame.pop("price").to_numpy()
    row = compare(frame, y, models=["their_tree"], cv=2, seed=1).rows[0]
    X = np.column_stack([frame["size"], frame["colour"] == "green", frame["colour"] == "red"])
    splits = RepeatedKFold(n_splits=2, n_repeats=1, random_state=1).split(X)
    expected = [
        r2_score(
            y[test],
            DecisionTreeRegressor(max_depth=4, random_state=1 + k)
            .fit(X[train], y[train])
            .predict(X[test]),
        )
        for k, (train, test) in enumerate(splits)
    ]
    assert row.ours.scores["r2"] == pytest.approx(expected)
