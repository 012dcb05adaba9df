"""The benchmark: cases, file, resuming, reports, errors. Never a time."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_diabetes, load_digits, load_iris
from sklearn.svm import SVC, SVR, LinearSVC, LinearSVR

from ironlearn import _threads, bench
from ironlearn.base import TYPES
from ironlearn.bench import cases as cases_module
from ironlearn.bench import libraries, objectives, runner
from ironlearn.bench.data import EXTERNAL, REGRESSION, _source, load
from ironlearn.bench.report import score
from ironlearn.bench.session import Session
from ironlearn.bench.stamp import same
from ironlearn.cli import main
from ironlearn.exceptions import DataFileError, InvalidParameterError

BOTH = ["ironlearn", "scikit-learn"]


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bench.Results]:
    path = tmp_path_factory.mktemp("bench") / "r.json"
    results = bench.run(
        bench.select(cases=["GaussianNB/iris", "CategoricalNB/digits/one-row"]),
        threads=1,
        repeats=1,
        min_seconds=0.0,
        libraries=BOTH,
        path=path,
    )
    return path, results


def test_cells_hold_times_and_scores_of_both(measured: tuple[Path, bench.Results]) -> None:
    _, results = measured
    assert [cell["case"] for cell in results.cells] == [
        "GaussianNB/iris",
        "CategoricalNB/digits/one-row",
    ]
    for cell in results.cells:
        assert list(cell["libraries"]) == BOTH
        for entry in cell["libraries"].values():
            for what in ("predict",) if cell["one_row"] else ("fit", "predict"):
                assert 0 < entry[what]["best"] <= entry[what]["median"]
                assert entry[what]["runs"] == 1
            assert ("fit" in entry) is not cell["one_row"]
        ours, theirs = (cell["libraries"][name]["score"] for name in BOTH)
        assert ours == theirs
        assert ours["accuracy"] > 0.8


def test_the_file_is_stamped(measured: tuple[Path, bench.Results]) -> None:
    path, results = measured
    content = json.loads(path.read_text())
    assert content["format"] == "ironlearn-bench"
    assert content["format_version"] == 1
    stamp = content["stamp"]
    assert stamp["threads"] == 1
    assert stamp["release"] in (True, False)
    for key in ("ironlearn", "simd", "cpu", "system", "python", "numpy", "binary", "date"):
        assert isinstance(stamp[key], str), key
        assert stamp[key], key
    assert {"commit", "changed"} <= set(stamp)
    assert list(stamp["libraries"]) == ["scikit-learn"]
    back = bench.Results.read(path)
    assert back.cells == results.cells
    assert same(back.stamp, results.stamp)
    assert not same({**stamp, "binary": "other"}, stamp)
    assert same({**stamp, "date": "other"}, stamp)


def test_finished_cases_are_kept(
    measured: tuple[Path, bench.Results], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, results = measured
    copy = tmp_path / "r.json"
    copy.write_bytes(path.read_bytes())
    asked = []
    cell = results.cells[0]

    def watched(self: Any, case: bench.Case) -> Any:
        asked.append(case.name)
        return {**cell, "repeats": self.repeats, "min_seconds": self.min_seconds}

    monkeypatch.setattr(runner._Runner, "measure", watched)
    settings: dict[str, Any] = {
        "threads": 1,
        "repeats": 1,
        "min_seconds": 0.0,
        "libraries": BOTH,
        "path": copy,
    }
    cases = bench.select(cases=["GaussianNB/iris"])
    again = bench.run(cases, **settings)
    assert asked == []
    assert again.cells == results.cells
    bench.run(cases, **settings, fresh=True)
    assert asked == ["GaussianNB/iris"]
    # Other settings, or a failed library, are no reason to keep a cell.
    bench.run(cases, **{**settings, "min_seconds": 0.001})
    assert asked == ["GaussianNB/iris"] * 2
    content = json.loads(copy.read_text())
    content["cells"][0]["libraries"]["scikit-learn"] = {"error": "lost"}
    copy.write_text(json.dumps(content))
    bench.run(cases, **{**settings, "min_seconds": 0.001})
    assert asked == ["GaussianNB/iris"] * 3
    # A file of another machine is not overwritten unasked.
    content["stamp"]["cpu"] = "another"
    copy.write_text(json.dumps(content))
    with pytest.raises(DataFileError, match=r"differ in cpu.*--fresh"):
        bench.run(cases, **settings)
    assert json.loads(copy.read_text()) == content
    fresh = bench.run(cases, **settings, fresh=True)
    assert len(fresh.cells) == 1
    assert bench.Results.read(copy).stamp["cpu"] != "another"


def test_ctrl_c_keeps_finished_cases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measure = runner._Runner.measure

    def pressed(self: Any, case: bench.Case) -> Any:
        if case.name != "GaussianNB/iris":
            raise KeyboardInterrupt
        return measure(self, case)

    monkeypatch.setattr(runner._Runner, "measure", pressed)
    path = tmp_path / "r.json"
    results = bench.run(
        bench.select(models=["GaussianNB"]),
        threads=1,
        repeats=1,
        min_seconds=0.0,
        libraries=["ironlearn"],
        path=path,
    )
    assert results.interrupted
    assert [cell["case"] for cell in bench.Results.read(path).cells] == ["GaussianNB/iris"]


def test_a_library_that_fails_is_told_and_the_others_go_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("IRONLEARN_DATA", raising=False)
    work = runner._Runner(BOTH, 1, 1, 0.0)
    try:
        cell = work.measure(bench.CASES["GaussianNB/fmnist/float32"])
        assert "set IRONLEARN_DATA" in cell["libraries"]["ironlearn"]["error"]
        assert not work.is_finished(cell)
        cell = work.measure(bench.CASES["GaussianNB/iris"])
        assert work.is_finished(cell)
    finally:
        work.end()


def test_markdown_and_table(measured: tuple[Path, bench.Results]) -> None:
    path, results = measured
    text = bench.markdown(results)
    lines = text.splitlines()
    assert lines[0].startswith("| case | scikit-learn fit / predict | ironlearn fit / predict |")
    assert lines[2].startswith("| GaussianNB/iris | ")
    assert all(line.count("|") == lines[0].count("|") for line in lines[:4])
    assert "1 threads each" in lines[-1]
    assert "scikit-learn" in lines[-1]
    assert bench.table(results).row_count == 4
    results = bench.Results.read(path)
    results.cells[0]["libraries"]["scikit-learn"] = {"error": "lost"}
    results.cells[0]["libraries"]["XGBoost"] = results.cells[0]["libraries"]["ironlearn"]
    assert "| failed |" in bench.markdown(results)
    assert "XGBoost" in bench.markdown(results)
    assert bench.table(results).row_count == 5


def test_selection() -> None:
    quick, standard, full = (
        {case.name for case in bench.select(suite)} for suite in ("quick", "standard", "full")
    )
    assert quick < standard < full
    assert full == set(bench.CASES)
    for model in ("GaussianNB", "KMeans", "LinearSVC", "RandomForestClassifier"):
        names = {case.name for case in bench.select("standard", models=[model])}
        assert {f"{model}/iris", f"{model}/digits/one-row", f"{model}/100k"} <= names
    assert [c.name for c in bench.select(cases=["kmeans/FMNIST/k10/20*"])] == [
        "KMeans/fmnist/k10/20-steps"
    ]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"suite": "huge"}, "suite must be one of quick, standard, full, got 'huge'"),
        ({"cases": ["nothing"]}, "no case matches 'nothing'"),
        ({"models": ["SVD"]}, "no model 'SVD'; known are GaussianNB"),
        ({"cases": ["KMeans/*"], "models": ["LinearSVC"]}, "no case of LinearSVC matches"),
    ],
)
def test_bad_selections_are_named(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidParameterError, match=words):
        bench.select(**arguments)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"threads": 0}, "threads must be between 1 and"),
        ({"threads": _threads.available_cpus() + 1}, "threads must be between 1 and"),
        ({"repeats": 0}, "repeats must be at least 1"),
        ({"min_seconds": -1.0}, "min_seconds must be at least 0"),
        ({"libraries": ["numpy"]}, "no library 'numpy'"),
    ],
)
def test_bad_numbers_are_named(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidParameterError, match=words):
        bench.run(bench.select(), **arguments)


def test_other_files_are_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    for text, words in [
        ("not json", "cannot be read"),
        ("[1]", "holds no results"),
        ('{"format": "ironlearn-bench", "format_version": 9}', "version 9"),
        ('{"format": "ironlearn-bench", "format_version": 1, "stamp": {}}', "damaged"),
    ]:
        path.write_text(text)
        with pytest.raises(DataFileError, match=words):
            bench.run(bench.select(), path=path)
        assert path.read_text() == text


def test_command(
    measured: tuple[Path, bench.Results], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", "--list", "--models", "GaussianNB"]) == 0
    assert "GaussianNB/digits/one-row  (quick)" in capsys.readouterr().out
    assert main(["bench", "--markdown", str(measured[0])]) == 0
    assert capsys.readouterr().out == bench.markdown(measured[1])
    path = tmp_path / "r.json"
    arguments = ["--cases", "GaussianNB/iris", "--libraries", "ironlearn", "--json", str(path)]
    options = ["--threads", "1", "--repeats", "1", "--min-seconds", "0"]
    assert main(["bench", *arguments, *options]) == 0
    assert "GaussianNB/iris" in capsys.readouterr().out
    assert bench.Results.read(path).cell("GaussianNB/iris") is not None
    for bad, words in [
        (["--suite", "huge"], "suite must be one of"),
        (["--threads", "9999"], "threads must be between"),
        (["--json", str(tmp_path / "no" / "x.json")], "does not exist"),
        (["--markdown", str(tmp_path / "missing")], "cannot be read"),
    ]:
        assert main(["bench", *bad]) == 2
        assert words in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["bench", "--threads", "0"])


@pytest.mark.parametrize(
    "source", ["iris", "wine", "breast_cancer", "digits", "10k", "diabetes", "regression10k"]
)
@pytest.mark.parametrize("kind", ["float64", "float32", "unit", "codes"])
def test_data(source: str, kind: str) -> None:
    data = load(source, kind)
    for X, y in ((data.X, data.y), (data.X_test, data.y_test)):
        assert len(X) == len(y) > 0
        assert X.flags.c_contiguous
        assert X.dtype == {"codes": "int64", "unit": "float64"}.get(kind, kind)
        if kind == "codes":
            assert X.min() >= 0
            assert X.max() <= 15
        if kind == "unit":
            assert X.min() == 0
            assert X.max() == 1
    if source in REGRESSION:
        assert data.y.mean() == pytest.approx(0, abs=1e-9)
        assert data.y.std() == pytest.approx(1)
    else:
        assert set(data.y_test) <= set(data.y)
    few = load(source, kind, 50, 20)
    assert (len(few.X), len(few.y), len(few.X_test), len(few.y_test)) == (50, 50, 20, 20)


@pytest.mark.realdata
def test_images(data_dir: Path) -> None:
    data = load("fmnist", "float32", 20_000)
    assert data.X.shape == (20_000, 784)
    assert data.X_test.shape == (10_000, 784)
    assert data.X.max() == 1.0
    assert load("fmnist", "codes").X.max() == 15


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("source", "rows", "classes"),
    [("rt_polarity", (7997, 2665), 2), ("trec", (5452, 500), 6), ("ag_news", (5700, 1900), 4)],
)
def test_texts(data_dir: Path, source: str, rows: tuple[int, int], classes: int) -> None:
    data = load(source, "float64")
    assert (data.X.shape[0], data.X_test.shape[0]) == rows
    assert data.X.format == data.X_test.format == "csr"
    assert data.X.shape[1] == data.X_test.shape[1] > 5000
    assert len(set(data.y)) == len(set(data.y_test)) == classes
    case = bench.CASES[f"MultinomialNB/{source}"]
    found = []
    for library in BOTH:
        work = Session(library, case, 1)
        work.fit()
        found.append(work.score()["accuracy"])
    assert found[0] == found[1] > 0.7


def test_external_data_that_are_not_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for source in EXTERNAL:
        monkeypatch.delenv("IRONLEARN_DATA", raising=False)
        _source.cache_clear()
        with pytest.raises(DataFileError, match="is needed: set IRONLEARN_DATA to the folder"):
            load(source, "float64")
        monkeypatch.setenv("IRONLEARN_DATA", str(tmp_path))
        with pytest.raises(DataFileError, match="cannot be read"):
            load(source, "float64")


def test_objective_is_what_liblinear_minimises() -> None:
    X, y = load_iris(return_X_y=True)
    model = LinearSVC(C=0.5, tol=1e-8, max_iter=100_000).fit(X, y)
    best = objectives.linear_svc(model, X, y)
    for shift in (1e-3, -1e-3):
        model.coef_ = model.coef_ + shift
        assert objectives.linear_svc(model, X, y) > best
        model.coef_ = model.coef_ - shift
    one = model.coef_[0]
    margin = np.where(y == 0, 1, -1) * (X @ one + model.intercept_[0])
    single = 0.5 * (one @ one + model.intercept_[0] ** 2)
    single += 0.5 * (np.maximum(0, 1 - margin) ** 2).sum()
    assert single < best


def test_objective_of_linear_svr_is_least_at_its_solution() -> None:
    X, y = load_diabetes(return_X_y=True)
    X, y = 10 * X, (y - y.mean()) / y.std()
    model = LinearSVR(C=0.5, epsilon=0.2, tol=1e-8, max_iter=100_000).fit(X, y)
    best = objectives.linear_svr(model, X, y)
    error = np.abs(y - model.predict(X))
    by_hand = 0.5 * (model.coef_ @ model.coef_ + model.intercept_[0] ** 2)
    by_hand += 0.5 * np.maximum(0, error - 0.2).sum()
    assert best == pytest.approx(by_hand)
    for shift in (1e-3, -1e-3):
        model.coef_ = model.coef_ + shift
        assert objectives.linear_svr(model, X, y) > best
        model.coef_ = model.coef_ - shift


@pytest.mark.parametrize("gamma", ["scale", "auto", 0.01])
def test_dual_objectives_meet_primal_ones(gamma: Any) -> None:
    """At the solution they are equal but for their sign."""
    X, y = load_digits(return_X_y=True)
    X, y = X[y < 4] / 4, y[y < 4]
    model = SVC(C=0.7, gamma=gamma, tol=1e-6, decision_function_shape="ovo").fit(X, y)
    quadratic, hinge, pair = 0.0, 0.0, 0
    values = model.decision_function(X)
    for i in range(4):
        for j in range(i + 1, 4):
            rows = (y == i) | (y == j)
            sign = np.where(y[rows] == i, 1, -1)
            hinge += 0.7 * np.maximum(0, 1 - sign * values[rows, pair]).sum()
            pair += 1
    absolute = sum(
        np.abs(model.dual_coef_[j - (j > i)][_of(model, i)]).sum()
        for i in range(4)
        for j in range(4)
        if i != j
    )
    dual = objectives.svc(model, X)
    quadratic = 2 * (dual + absolute)
    assert 0.5 * quadratic + hinge == pytest.approx(-dual, rel=1e-4)
    X, y = load_diabetes(return_X_y=True)
    X, y = 10 * X, (y - y.mean()) / y.std()
    model = SVR(C=0.7, epsilon=0.1, gamma=gamma, tol=1e-6).fit(X, y)
    dual = objectives.svr(model, X, y)
    alpha = model.dual_coef_[0]
    quadratic = 2 * (dual - 0.1 * np.abs(alpha).sum() + y[model.support_] @ alpha)
    loss = 0.7 * np.maximum(0, np.abs(y - model.predict(X)) - 0.1).sum()
    assert 0.5 * quadratic + loss == pytest.approx(-dual, rel=1e-4)


def _of(model: SVC, k: int) -> slice:
    ends = np.concatenate([[0], np.cumsum(model.n_support_)])
    return slice(ends[k], ends[k + 1])


def test_regressors_are_scored(monkeypatch: pytest.MonkeyPatch) -> None:
    """By scikit-learn's own, whether or not this build has ours."""
    for model, module in (("DecisionTreeRegressor", "tree"), ("LinearSVR", "svm"), ("SVR", "svm")):
        monkeypatch.setitem(TYPES, model, f"ironlearn.{module}")  # type: ignore[arg-type]
        case = bench.Case(f"{model}/diabetes", model, "diabetes")
        work = Session("scikit-learn", case, 1)
        work.fit()
        found = work.score()
        assert found["r2"] == pytest.approx(work.model.score(work.data.X_test, work.data.y_test))
        assert ("objective" in found) is (model != "DecisionTreeRegressor")
        assert score({"score": found}).startswith(f"R² {found['r2']:.4f}")


def test_clusterers_are_scored(monkeypatch: pytest.MonkeyPatch) -> None:
    for model, steps in (("MiniBatchKMeans", " steps)"), ("BisectingKMeans", "")):
        monkeypatch.setitem(TYPES, model, "ironlearn.cluster")  # type: ignore[arg-type]
        case = bench.Case(f"{model}/iris", model, "iris", settings={"n_clusters": 3})
        work = Session("scikit-learn", case, 1)
        work.fit()
        found = work.score()
        assert found["inertia"] == pytest.approx(-work.model.score(work.data.X), rel=0.1)
        assert score({"score": found}).startswith(f"inertia {found['inertia']:.6g}")
        assert score({"score": found}).endswith(steps)


@pytest.mark.realdata
def test_k_means_may_begin_with_sparse_rows(data_dir: Path) -> None:
    case = bench.CASES["KMeans/ag_news/k20/20-steps"]
    model = Session("scikit-learn", case, 1).make()
    assert type(model.init) is np.ndarray
    assert model.init.shape[0] == 20


def test_every_estimator_has_cases() -> None:
    every = [
        case
        for build in ("_ladder", "_bayes", "_trees", "_machines", "_perceptrons", "_clustering")
        for case in getattr(cases_module, build)()
    ]
    names = [case.name for case in every]
    assert len(set(names)) == len(names)
    assert set(TYPES) == set(bench.cases.MODELS) <= {case.model for case in every}
    assert list(bench.CASES) == [case.name for case in every if case.model in TYPES]
    for model in {case.model for case in every}:
        mine = [case for case in every if case.model == model]
        assert any(case.one_row and case.suite == "quick" for case in mine)
        assert any(not case.one_row and case.suite == "quick" for case in mine)
    assert {(model, source) for model, source in cases_module._HIGH_RUNGS} <= {
        (model, source)
        for ladder, models in (
            (cases_module._LADDER, cases_module._MODELS),
            (cases_module._REGRESSION_LADDER, cases_module._REGRESSORS),
        )
        for model in models
        for source in ladder
    }
    regressors = {case.model for case in every if case.regression}
    assert regressors == set(cases_module._REGRESSORS)


def test_models_that_the_build_lacks_have_no_cases() -> None:
    for name in ("FancyForest", *cases_module._MODELS, *cases_module._REGRESSORS):
        if name not in TYPES:
            assert not any(case.model == name for case in bench.CASES.values())
            with pytest.raises(InvalidParameterError, match=f"there is no model '{name}'"):
                bench.select(models=[name])


def test_the_benches_have_every_model() -> None:
    found: list[str] = []
    for path in sorted((Path(__file__).parents[2] / "benches").glob("test_*.py")):
        line = re.search(r"^MODELS = (\([^)]*\))", path.read_text(), flags=re.MULTILINE)
        assert line is not None, path
        found += ast.literal_eval(line[1])
    assert sorted(found) == sorted([*cases_module._MODELS, *cases_module._REGRESSORS])


def test_every_case_can_be_made() -> None:
    data = load("iris", "float64")
    for case in bench.CASES.values():
        model = libraries.maker("scikit-learn", case, data, 1)()
        assert type(model).__name__ == case.model
        assert libraries.takes("ironlearn", case)
    named = {
        library: {c.model for c in bench.CASES.values() if libraries.takes(library, c)}
        for library in ("scikit-learn-intelex", "LightGBM", "XGBoost", "faiss")
    }
    assert named == {
        "scikit-learn-intelex": libraries._INTELEX & set(TYPES),
        "LightGBM": {"RandomForestClassifier"},
        "XGBoost": {"RandomForestClassifier"},
        "faiss": {"KMeans"},
    }
