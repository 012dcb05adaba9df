"""Comparisons: the same for both sides, honest, and complete as data."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.datasets import load_digits, load_iris
from sklearn.model_selection import RepeatedStratifiedKFold
from sklearn.naive_bayes import GaussianNB as Theirs

from ironlearn.evaluation import SPECS, available, compare, corrected_paired_test, peak_memory
from ironlearn.evaluation.models import Spec, plan
from ironlearn.evaluation.results import adjust
from ironlearn.exceptions import DataError, InvalidParameterError
from ironlearn.io import Table

IRIS = load_iris(return_X_y=True)


def test_all_models_on_iris() -> None:
    progress: list[tuple[str, int, int]] = []
    result = compare(*IRIS, cv=3, progress=lambda *event: progress.append(event), name="iris")
    assert [row.model for row in result.rows] == available()
    assert progress[:4] == [("gaussian_nb", i, 3) for i in range(4)]
    assert len(progress) == 4 * len(result.rows)
    assert not result.interrupted
    for row in result.rows:
        for side in row.sides:
            assert len(side.fit_seconds) == len(side.predict_seconds) == 3
            assert min(side.fit_seconds + side.predict_seconds) > 0
            assert all(len(values) == 3 for values in side.scores.values())
        if row.task == "classify":
            assert set(row.ours.scores) == {"accuracy", "precision", "recall", "f1", "roc_auc"}
            # Those three see counts in lengths, or only whether one is above the mean.
            rough = row.model in ("multinomial_nb", "complement_nb", "bernoulli_nb")
            assert row.ours.mean("accuracy") > (0.6 if rough else 0.85), row.model
            assert abs(row.ours.mean("accuracy") - row.theirs.mean("accuracy")) < 0.05
            for side in row.sides:
                assert side.report is not None
                assert side.report.n_rows == 150
        else:
            assert set(row.ours.scores) == {"adjusted_rand", "inertia"}
            assert row.ours.mean("adjusted_rand") > 0.5
    text = result.to_text()
    assert text == str(result)
    for name in available():
        assert len(re.findall(rf"^{name} *$", text, flags=re.MULTILINE)) == 1
    assert "±" in text


def test_the_table_fits_a_terminal_of_80_columns() -> None:
    result = compare(*IRIS, models=["gaussian_nb", "categorical_nb"], cv=2)
    for side in (side for row in result.rows for side in row.sides):
        side.fit_seconds, side.predict_seconds = [0.1234, 0.1236], [9.996e-4, 9.997e-4]
        side.memory_bytes = 123_456_789
    text = result.to_text(80)
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= 80
    assert text.count("117.7 MB") == 4
    assert text.count("124 ms") + text.count("123 ms") == 4
    assert text.count("1 ms") == 4  # not 1e+03 us
    assert "…" not in result.to_text(120)


def test_scores_are_those_of_the_same_splits() -> None:
    X, y = load_digits(return_X_y=True)
    keep = X.std(axis=0) > 0
    row = compare(X, y, models=["gaussian_nb"], cv=3, seed=7).rows[0]
    splits = RepeatedStratifiedKFold(n_splits=3, n_repeats=1, random_state=7).split(X, y)
    accuracy = [
        Theirs().fit(X[train][:, keep], y[train]).score(X[test][:, keep], y[test])
        for train, test in splits
    ]
    assert row.theirs.scores["accuracy"] == pytest.approx(accuracy)
    assert row.ours.scores["accuracy"] == pytest.approx(accuracy)
    test = corrected_paired_test(
        row.ours.scores["roc_auc"], row.theirs.scores["roc_auc"], n_train=1198, n_test=599
    )
    assert row.differences["roc_auc"].test.statistic == pytest.approx(test.statistic, abs=1e-9)


def test_repeats_have_other_folds() -> None:
    row = compare(*IRIS, models=["gaussian_nb"], cv=2, repeats=3).rows[0]
    scores = row.ours.scores["accuracy"]
    assert len(scores) == 6
    assert len(set(scores)) > 2
    assert row.differences["accuracy"].test.degrees == 5


def test_a_worse_model_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    X, y = load_digits(return_X_y=True)
    worse = Spec(
        "worse",
        "DecisionTreeClassifier",
        "ironlearn.tree",
        "sklearn.tree",
        view="tree",
    )
    original = Spec.make

    def stumps(self: Spec, library: str, *args: Any, **kwargs: Any) -> Any:
        model = original(self, library, *args, **kwargs)
        return model.set_params(max_depth=2) if library == "ironlearn" else model

    monkeypatch.setattr(Spec, "make", stumps)
    monkeypatch.setitem(SPECS, "worse", worse)
    row = compare(X, y, models=["worse"], cv=3).rows[0]
    assert row.differences["accuracy"].real
    assert row.differences["accuracy"].test.difference < -0.3
    assert row.differences["accuracy"].adjusted >= row.differences["accuracy"].test.p_value


def test_holm_over_the_whole_table() -> None:
    result = compare(*IRIS, models=["gaussian_nb", "decision_tree"], cv=3)
    adjust(result.rows)
    for timing, count in ((False, 10), (True, 4)):
        family = [
            d
            for row in result.rows
            for name, d in row.differences.items()
            if name.endswith("_seconds") == timing
        ]
        assert len(family) == count
        smallest = min(family, key=lambda d: d.test.p_value)
        assert smallest.adjusted == pytest.approx(min(1.0, count * smallest.test.p_value))


def test_results_do_not_depend_on_threads() -> None:
    one, two = (
        compare(*IRIS, models=["random_forest", "linear_svc"], cv=2, jobs=jobs) for jobs in (1, 2)
    )
    for a, b in zip(one.rows, two.rows, strict=True):
        assert a.ours.scores == b.ours.scores
        assert a.theirs.scores == b.theirs.scores
    assert one.settings["threads"] == 1


def test_json_holds_everything() -> None:
    result = compare(*IRIS, models=["gaussian_nb", "linear_svc"], cv=2, name="iris", target="kind")
    data = json.loads(result.to_json())
    assert data["dataset"] == {
        "name": "iris",
        "target": "kind",
        "task": "classification",
        "reason": "3 different whole numbers",
        "rows": 150,
        "columns": 4,
        "classes": 3,
    }
    assert data["settings"]["cv"] == 2
    assert {"ironlearn", "scikit-learn", "numpy", "python", "processors"} <= set(data["machine"])
    row = data["rows"][1]
    assert row["model"] == "linear_svc"
    assert row["parameters"]["C"] == 1.0
    assert row["ours"]["mean"]["accuracy"] == pytest.approx(
        np.mean(row["ours"]["scores"]["accuracy"])
    )
    assert set(row["differences"]["accuracy"]) == {"test", "adjusted", "real"}
    assert row["fit_ratio"] == result.rows[1].fit_ratio


def _page(html: str) -> ET.Element:
    assert html.startswith("<!DOCTYPE html>\n")
    return ET.fromstring(html.split("\n", 1)[1])


def test_report_is_well_formed_self_contained_and_escaped() -> None:
    X, y = IRIS
    evil = '<script>alert("1")</script>&\x00'
    names = np.array([evil, "b<i>", "c&d"])
    result = compare(X, names[y], cv=2, models=["gaussian_nb"], name=evil, target="<t>")
    result.notes.append("<b>note</b>")
    html = result.to_html()
    page = _page(html)
    assert "<script" not in html
    assert "&lt;script&gt;" in html
    tags = {element.tag.rpartition("}")[2] for element in page.iter()}
    assert {"table", "svg", "polyline", "rect"} <= tags
    assert not tags & {"script", "link", "img", "iframe", "b", "i"}
    for element in page.iter():
        assert not set(element.attrib) & {"href", "src", "onload", "onclick"}
    # ROC, precision-recall and two confusion matrices, and two charts of times.
    assert len([e for e in page.iter() if e.tag.endswith("svg")]) == 6
    assert "prefers-color-scheme: dark" in html
    assert "http" not in html.replace("http://www.w3.org/2000/svg", "")


def test_reports_of_many_classes_and_of_no_row() -> None:
    rng = np.random.RandomState(0)
    y = np.repeat(np.arange(50), 4)
    X = y[:, None] + rng.rand(200, 2)
    result = compare(X, y, models=["gaussian_nb"], cv=2)
    _page(result.to_html())
    result.rows.clear()
    _page(result.to_html())
    assert "no model was finished" in result.to_text()


def test_interruption_keeps_finished_rows() -> None:
    def stop(model: str, done: int, total: int) -> None:
        if model == "decision_tree" and done == 1:
            raise KeyboardInterrupt

    models = ["gaussian_nb", "decision_tree", "linear_svc"]
    result = compare(*IRIS, models=models, cv=2, progress=stop, keep_partial=True)
    assert result.interrupted
    assert [row.model for row in result.rows] == ["gaussian_nb"]
    assert "interrupted" in result.to_text()
    assert "Interrupted" in result.to_html()
    with pytest.raises(KeyboardInterrupt):
        compare(*IRIS, models=models, cv=2, progress=stop)


def test_sparse_rows() -> None:
    X, y = load_digits(return_X_y=True)
    sparse = sp.csr_matrix(X)
    result = compare(sparse, y, models=["linear_svc", "gaussian_nb"], cv=2)
    assert result.preprocessing == ["sparse: 64 columns, used as they are"]
    assert result.notes == ["dense copies of the sparse rows were made for gaussian_nb"]
    dense = compare(X, y, models=["gaussian_nb"], cv=2).rows[0]
    assert result.rows[1].ours.scores == dense.ours.scores
    wide = sp.csr_matrix((600, 10**6))
    with pytest.raises(DataError, match="gaussian_nb needs dense rows, but 600 x 1000000"):
        compare(wide, np.arange(600) % 2, models=["gaussian_nb"], cv=2)


def test_what_cannot_take_sparse_rows_is_left_out_of_all_and_told() -> None:
    wide = Table.from_any(sp.csr_matrix((600, 10**6)))
    specs, notes = plan("all", "classification", wide)
    names = [spec.name for spec in specs]
    assert {"multinomial_nb", "complement_nb", "bernoulli_nb", "linear_svc", "svc"} <= set(names)
    assert not {"gaussian_nb", "categorical_nb", "decision_tree", "random_forest"} & set(names)
    assert notes[0].startswith("gaussian_nb was left out: it needs dense rows, but 600 x 1000000")
    signed = Table.from_any(sp.csr_matrix(np.array([[1.0, -2.0], [0.0, 3.0]])))
    specs, notes = plan("all", "classification", signed)
    assert "multinomial_nb" not in [spec.name for spec in specs]
    assert "multinomial_nb was left out: it needs values that are not negative" in notes[0]
    with pytest.raises(DataError, match="multinomial_nb needs values that are not negative"):
        plan(["multinomial_nb"], "classification", signed)


def test_kernel_machines_on_many_rows_must_be_named() -> None:
    for rows, there in ((10_000, True), (10_001, False)):
        table = Table.from_any(np.zeros((rows, 1)))
        specs, notes = plan("all", "classification", table)
        assert ("svc" in [spec.name for spec in specs]) is there
        assert any("svc was left out: it takes long" in note for note in notes) is not there
        assert [spec.name for spec in plan(["svc"], "classification", table)[0]] == ["svc"]


def test_warnings_become_notes(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.RandomState(0)
    X, y = rng.randn(200, 5), rng.randint(0, 2, 200)
    limited = replace(SPECS["linear_svc"], settings={"max_iter": 1})
    monkeypatch.setitem(SPECS, "linear_svc", limited)
    result = compare(X, y, models=["linear_svc"], cv=2)
    assert any("ConvergenceWarning" in note for note in result.rows[0].theirs.notes)
    assert "note: linear_svc, scikit-learn: ConvergenceWarning" in result.to_text()


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"models": ["no_such"]}, InvalidParameterError, "unknown model 'no_such'; known are gau"),
        ({"models": []}, InvalidParameterError, "no model was chosen"),
        ({"models": ["linear_svc"] * 2}, InvalidParameterError, "given twice"),
        ({"cv": 1}, InvalidParameterError, "cv must be an integer of at least 2, got 1"),
        ({"cv": 2.0}, InvalidParameterError, "cv must be an integer"),
        ({"repeats": 0}, InvalidParameterError, "repeats must be"),
        ({"seed": -1}, InvalidParameterError, "seed must be"),
        ({"jobs": 0}, InvalidParameterError, "jobs must be"),
        ({"cv": 51}, DataError, "fewer rows than the 51 folds: 0 .50 rows"),
        ({"y": np.zeros(150)}, DataError, "one class only"),
        ({"y": IRIS[1][:100]}, DataError, "X has 150 rows, but 'y' has 100"),
        (
            {"y": np.linspace(0, 1, 150), "task": "classification"},
            DataError,
            r"continuous .0\.0067\d* in row 1. and has no classes; it needs the task regression",
        ),
        ({"task": "ranking"}, InvalidParameterError, "task must be one of auto, classification, r"),
        ({"quantile": 1}, InvalidParameterError, "quantile must be between 0 and 1, got 1"),
        ({"y": np.where(np.arange(150) == 7, np.nan, 0.5)}, DataError, "missing in 1 of 150 rows"),
        ({"y": np.where(np.arange(150) == 7, np.inf, 0.5)}, DataError, "holds infinity"),
        ({"X": IRIS[0] * np.inf}, DataError, "'x0' holds inf in row 0"),
    ],
)
def test_bad_input(change: dict[str, Any], error: type[Exception], words: str) -> None:
    settings = {"X": IRIS[0], "y": IRIS[1], **change}
    with np.errstate(invalid="ignore"), pytest.raises(error, match=words):
        compare(settings.pop("X"), settings.pop("y"), **settings)


def test_peak_memory_sees_what_is_touched() -> None:
    megabytes = 2**20

    def work() -> int:
        block = np.ones(64 * megabytes // 8)
        return int(block.sum())

    result, extra = peak_memory(work)
    assert result == 8 * megabytes
    assert extra is not None
    assert 60 * megabytes < extra < 72 * megabytes
    # Leavings of the first call are not taken for free.
    assert abs((peak_memory(work)[1] or 0) - extra) < 4 * megabytes
    small = peak_memory(lambda: None)[1]
    assert small is not None
    assert small < 2 * megabytes


def test_peak_memory_by_sampling(monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    from ironlearn.evaluation import memory

    def work() -> int:
        block = np.ones(2**23)
        time.sleep(0.05)
        return len(block)

    monkeypatch.setattr(memory, "_reset_mark", lambda: False)
    result, extra = peak_memory(work)
    assert result == 2**23
    assert extra is not None
    assert 60 * 2**20 < extra < 72 * 2**20
    with pytest.raises(ZeroDivisionError):
        peak_memory(lambda: 1 // 0)
