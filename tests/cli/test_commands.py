"""The commands from outside: output, files, exit codes, and mistakes told in one line."""

from __future__ import annotations

import csv
import json
import re
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import dump_svmlight_file

import ironlearn
from ironlearn import _modelfile
from ironlearn.cli import COMMANDS, main
from ironlearn.evaluation import SPECS, TableModel, available
from ironlearn.exceptions import ModelFileError


def _frame(n: int = 200, seed: int = 0) -> pd.DataFrame:
    rng = np.random.RandomState(seed)
    kind = rng.choice(["low", "mid", "high"], n)
    centre = pd.Series(kind).map({"low": 0.0, "mid": 3.0, "high": 6.0}).to_numpy()
    frame = pd.DataFrame(
        {
            "size": centre + rng.randn(n),
            "colour": np.where(rng.rand(n) < 0.7, kind, "other"),
            "when": pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.randint(0, 400, n), unit="D"),
            "kind": kind,
        }
    )
    frame.loc[::9, "size"] = None
    return frame


def _parts() -> tuple[pd.DataFrame, pd.Series]:
    frame = _frame()
    return frame.drop(columns="kind"), frame["kind"]


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "table.csv"
    _frame().to_csv(path, index=False)
    return path


def _run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    try:
        code = main([str(argument) for argument in arguments])
    except SystemExit as stop:
        code = int(stop.code or 0)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_compare_without_arguments_is_digits() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ironlearn.cli", "compare", "--cv", "2"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("digits (of scikit-learn): 1797 rows, 10 classes")
    assert done.stdout.count("ROC AUC") == 1  # one table
    assert "task: classification (10 different whole numbers; --task to change it)" in done.stdout
    for name in available():
        assert len(re.findall(rf"^{name} *$", done.stdout, flags=re.MULTILINE)) == 1
    assert "Traceback" not in done.stderr


def test_compare_a_file(capsys: pytest.CaptureFixture[str], table: Path, tmp_path: Path) -> None:
    code, out, _ = _run(
        capsys, "compare", "--data", table, "--target", "kind", "--cv", 3, "--repeats", 2,
        "--models", "gaussian_nb, random_forest", "--jobs", 1, "--seed", 3,
        "--json", tmp_path / "r.json", "--report", tmp_path / "r.html",
    )  # fmt: skip
    assert code == 0
    assert "numeric (1): size" in out
    assert "categorical (1): colour" in out
    assert "date (1): when" in out
    assert "missing values (1): size" in out
    data = json.loads((tmp_path / "r.json").read_text())
    assert [row["model"] for row in data["rows"]] == ["gaussian_nb", "random_forest"]
    assert data["settings"] == {"cv": 3, "repeats": 2, "threads": 1, "seed": 3}
    assert len(data["rows"][0]["ours"]["fit_seconds"]) == 6
    ET.fromstring((tmp_path / "r.html").read_text().split("\n", 1)[1])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["r.html", "r.json"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["compare", "--cv", "1"], "argument --cv: 1 is too small; at least 2"),
        (["compare", "--cv", "x"], "'x' is not an integer"),
        (["compare", "--models", "svm"], "unknown model 'svm'; known are"),
        (["compare", "--models", ""], "unknown model ''"),
        (["compare", "--target", "a"], "--target needs --data"),
        (["compare", "--no-such"], "unrecognized arguments: --no-such"),
        (["compare", "--json", "/no/such/folder/f"], "--json /no/such/folder/f: the folder"),
        (["compare", "--report", "/"], "--report / is a folder"),
        (["compare", "--data", "no.csv"], "no.csv does not exist"),
        (["compare", "--data", "TABLE"], "name the column to predict (target); it has 'size'"),
        (["compare", "--data", "TABLE", "--target", "Kind"], "did you mean 'kind'?"),
        (["compare", "--data", "TABLE", "--target", "size"], "missing in 23 of 200 rows"),
        (["compare", "--data", "TABLE", "--target", "kind", "--cv", "90"], "fewer rows than"),
        (["no-such-command"], "invalid choice: 'no-such-command'"),
        ([], "required: COMMAND"),
        (["fit", "--data", "TABLE", "--model", "x", "--out", "m"], "unknown model 'x'"),
        (
            ["fit", "--data", "TABLE", "--target", "kind", "--model", "linear_svc", "--param",
             "D=1", "--out", "m"],
            "LinearSVC has no parameter 'D'; it has C,",
        ),
        (
            ["fit", "--data", "TABLE", "--target", "kind", "--model", "linear_svc", "--param",
             "C=-1", "--out", "m"],
            "The 'C' parameter of LinearSVC must be a float",
        ),
        (
            ["fit", "--data", "TABLE", "--target", "kind", "--model", "linear_svc", "--param", "C",
             "--out", "m"],
            "given as name=value, not 'C'",
        ),
        (["predict", "--model", "TABLE", "--data", "TABLE"], "is not an ironlearn model file"),
        (["predict", "--model", "no.ironlearn", "--data", "TABLE"], "No such file"),
        (["evaluate", "--data", "TABLE"], "the following arguments are required: --model"),
    ],
)  # fmt: skip
def test_mistakes_are_told_in_one_line(
    capsys: pytest.CaptureFixture[str],
    table: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    words: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = _run(capsys, *(str(table) if a == "TABLE" else a for a in arguments))
    assert code == 2
    assert words in err
    assert err.startswith("ironlearn")
    assert err.count("\n") == 1
    assert "ROC AUC" not in out
    assert list(tmp_path.iterdir()) == []


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = _run(capsys, "--help")
    assert code == 0
    assert all(name in out for name in COMMANDS)
    for name in COMMANDS:
        assert _run(capsys, name, "--help")[0] == 0


def test_help_of_compare_names_every_model(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = _run(capsys, "compare", "--help")
    assert all(name in out for name in SPECS)


def test_a_reader_that_goes_away(tmp_path: Path, table: Path) -> None:
    """As with ``ironlearn predict ... | head -1``: no traceback, no message."""
    model = tmp_path / "m"
    TableModel("gaussian_nb").fit(*_parts()).save(model)
    program = (
        "import io, os, sys\n"
        "class Gone(io.StringIO):\n"
        "    def write(self, text):\n"
        "        raise BrokenPipeError\n"
        "    def fileno(self):\n"
        "        return 1\n"
        "sys.stdout = Gone()\n"
        "from ironlearn.cli import main\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "predict", "--model", model, "--data", table],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "")


def test_help_is_light() -> None:
    program = (
        "import sys\n"
        "from ironlearn.cli import build_parser\n"
        "build_parser()\n"
        "print(sorted({'sklearn', 'pandas', 'scipy', 'rich'} & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_ctrl_c_keeps_and_writes_finished_rows(tmp_path: Path) -> None:
    """The second model takes for ever; its progress tells when to interrupt."""
    program = (
        "import sys, time\n"
        "from ironlearn.cli import main\n"
        "from ironlearn.ensemble import RandomForestClassifier\n"
        "def fit(self, X, y):\n"
        "    print('forest', flush=True)\n"
        "    time.sleep(60)\n"
        "RandomForestClassifier.fit = fit\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    process = subprocess.Popen(
        [
            sys.executable, "-c", program, "compare", "--models", "gaussian_nb,random_forest",
            "--cv", "2", "--json", str(tmp_path / "r.json"), "--report", str(tmp_path / "r.html"),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if line == "forest\n":
            break
    process.send_signal(signal.SIGINT)
    start = time.monotonic()
    out, err = process.communicate(timeout=30)
    assert time.monotonic() - start < 20
    assert process.returncode == 130, err
    assert "gaussian_nb" in out
    assert "random_forest" not in out
    assert "interrupted: only the finished models are shown" in out
    assert "Traceback" not in err
    data = json.loads((tmp_path / "r.json").read_text())
    assert data["interrupted"] is True
    assert [row["model"] for row in data["rows"]] == ["gaussian_nb"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["r.html", "r.json"]


def test_ctrl_c_in_native_code(tmp_path: Path) -> None:
    """A fit that takes long ends soon after Ctrl-C and leaves no file."""
    rng = np.random.RandomState(0)
    np.savez(tmp_path / "d.npz", X=rng.rand(40_000, 30), y=rng.randint(0, 10, 40_000))
    program = (
        "import sys\n"
        "from ironlearn.cli import main\n"
        "from ironlearn.ensemble import RandomForestClassifier\n"
        "fit = RandomForestClassifier.fit\n"
        "def told(self, X, y):\n"
        "    print('forest', flush=True)\n"
        "    return fit(self, X, y)\n"
        "RandomForestClassifier.fit = told\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    process = subprocess.Popen(
        [
            sys.executable, "-c", program, "fit", "--data", str(tmp_path / "d.npz"),
            "--model", "random_forest", "--param", "n_estimators=5000",
            "--out", str(tmp_path / "m.ironlearn"),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "forest\n"
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err == "ironlearn fit: interrupted\n"
    assert [p.name for p in tmp_path.iterdir()] == ["d.npz"]


@pytest.mark.parametrize("name", ["gaussian_nb", "random_forest", "linear_svc"])
def test_fit_predict_evaluate(
    capsys: pytest.CaptureFixture[str], table: Path, tmp_path: Path, name: str
) -> None:
    model, new = tmp_path / "m.ironlearn", tmp_path / "new.csv"
    code, out, _ = _run(
        capsys, "fit", "--data", table, "--target", "kind", "--model", name, "--out", model
    )
    assert code == 0
    assert f"{name} trained on 200 rows" in out
    # Other rows, another order of columns, unseen categories, no target.
    frame = _frame(seed=1)
    truth = frame.pop("kind")
    frame.loc[5, "colour"] = "never seen"
    frame[["when", "colour", "size"]].to_csv(new, index=False)
    code, out, _ = _run(
        capsys, "predict", "--model", model, "--data", new, "--out", tmp_path / "p.csv"
    )
    assert code == 0
    assert out == f"200 rows written to {tmp_path / 'p.csv'}\n"
    predicted = pd.read_csv(tmp_path / "p.csv")
    assert list(predicted) == ["kind"]
    assert (predicted["kind"] == truth).mean() > 0.75
    code, out, _ = _run(capsys, "predict", "--model", model, "--data", new)
    assert out.splitlines() == (tmp_path / "p.csv").read_text().splitlines()
    frame.assign(kind=truth).to_csv(new, index=False)
    code, out, _ = _run(
        capsys, "evaluate", "--model", model, "--data", new,
        "--json", tmp_path / "e.json", "--report", tmp_path / "e.html",
    )  # fmt: skip
    assert code == 0
    report = json.loads((tmp_path / "e.json").read_text())
    assert report["accuracy"] == pytest.approx((predicted["kind"] == truth).mean())
    assert f"accuracy {report['accuracy']:.4f}" in out
    ET.fromstring((tmp_path / "e.html").read_text().split("\n", 1)[1])


def test_probabilities(capsys: pytest.CaptureFixture[str], table: Path, tmp_path: Path) -> None:
    model = tmp_path / "m"
    arguments = ["fit", "--data", table, "--target", "kind", "--out", model, "--model"]
    assert _run(capsys, *arguments, "decision_tree", "--param", "max_depth=2")[0] == 0
    code, out, _ = _run(capsys, "predict", "--model", model, "--data", table, "--proba")
    rows = list(csv.DictReader(out.splitlines()))
    assert len(rows) == 200
    for row in rows:
        shares = {c: float(row[f"probability={c}"]) for c in ("high", "low", "mid")}
        assert sum(shares.values()) == pytest.approx(1)
        assert shares[row["kind"]] == max(shares.values())
    assert _run(capsys, *arguments, "linear_svc")[0] == 0
    code, _, err = _run(capsys, "predict", "--model", model, "--data", table, "--proba")
    assert (code, err) == (
        2,
        "ironlearn predict: error: --proba: linear_svc has no probabilities.\n",
    )


def test_a_column_that_is_missing_is_named(
    capsys: pytest.CaptureFixture[str], table: Path, tmp_path: Path
) -> None:
    model, new = tmp_path / "m", tmp_path / "new.csv"
    _run(
        capsys, "fit", "--data", table, "--target", "kind", "--model", "gaussian_nb", "--out", model
    )
    _frame().drop(columns="colour").to_csv(new, index=False)
    code, _, err = _run(
        capsys, "predict", "--model", model, "--data", new, "--out", tmp_path / "p.csv"
    )
    assert code == 2
    assert "lack the column 'colour' that the model was trained with" in err
    assert not (tmp_path / "p.csv").exists()


def test_model_files_of_tables_are_checked(table: Path, tmp_path: Path) -> None:
    path = tmp_path / "m"
    frame = _frame()
    y = frame.pop("kind")
    model = TableModel("random_forest", {"n_estimators": 5}).fit(frame, y, target="kind")
    model.save(path)
    back = TableModel.load(path)
    np.testing.assert_array_equal(back.predict(frame), model.predict(frame))
    np.testing.assert_array_equal(back.predict_proba(frame), model.predict_proba(frame))
    assert back.target_ == "kind"
    assert ironlearn.load(path).n_estimators == 5
    data = path.read_bytes()
    for position in (len(data) // 3, len(data) - 5):
        path.write_bytes(data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :])
        with pytest.raises(ModelFileError):
            TableModel.load(path)
    for change, words in (
        ({"model": "linear_svc"}, "'linear_svc' is not the name of a RandomForestClassifier"),
        ({"preprocessing": {}}, "no valid preprocessing"),
        ({"preprocessing": None}, "no valid preprocessing"),
    ):
        contents = model.estimator_._contents()
        state = {"model": "random_forest", "target": "kind", "preprocessing": {}, **change}
        contents.attributes["table"] = state
        _modelfile.write(path, contents)
        with pytest.raises(ModelFileError, match=words):
            TableModel.load(path)
    other = TableModel("random_forest", {"n_estimators": 5}).fit(frame[["size"]], y)
    contents.attributes["table"] = {
        "model": "random_forest",
        "target": "y",
        "preprocessing": other.prepare_.to_state(),
    }
    _modelfile.write(path, contents)
    with pytest.raises(ModelFileError, match="do not fit together"):
        TableModel.load(path)
    model.estimator_.save(path)
    with pytest.raises(ModelFileError, match=r"without the preprocessing.*ironlearn\.load"):
        TableModel.load(path)


@pytest.mark.parametrize("name", ["linear_svc", "random_forest"])
def test_sparse_files(capsys: pytest.CaptureFixture[str], tmp_path: Path, name: str) -> None:
    """A file whose last columns have no value is narrower than the one trained with."""
    rng = np.random.RandomState(0)
    X = rng.rand(120, 6) * (rng.rand(120, 6) < 0.5)
    y = np.where(X[:, 0] > 0.3, 2, 1)
    dump_svmlight_file(X, y, str(tmp_path / "train.svm"), zero_based=False)
    X[:, 4:] = 0
    dump_svmlight_file(X, y, str(tmp_path / "test.svm"), zero_based=False)
    model = tmp_path / "m"
    common = ["--model", model, "--data", tmp_path / "test.svm"]
    arguments = ["--data", tmp_path / "train.svm", "--model", name, "--out", model]
    assert _run(capsys, "fit", *arguments)[0] == 0
    code, out, _ = _run(capsys, "predict", *common)
    assert code == 0
    assert out.splitlines()[0] == "target"
    assert (np.array(out.splitlines()[1:], dtype=int) == y).mean() > 0.8
    code, out, _ = _run(capsys, "evaluate", *common)
    assert code == 0
    assert "accuracy 0.8" in out or "accuracy 0.9" in out or "accuracy 1" in out
    (tmp_path / "test.svm").write_text("1 9:5\n2 1:1\n")
    code, _, err = _run(capsys, "predict", *common)
    if name == "linear_svc":
        assert (code, "have 9 columns, but the model was trained with 6" in err) == (2, True)


@pytest.mark.skipif("kmeans" not in available(), reason="this build has no KMeans")
def test_clusters(capsys: pytest.CaptureFixture[str], table: Path, tmp_path: Path) -> None:
    model, new = tmp_path / "m", tmp_path / "new.csv"
    _parts()[0].to_csv(new, index=False)
    for options, count in ((["--param", "n_clusters=4"], 4), (["--target", "kind"], 3)):
        data = table if "--target" in options else new
        code, _, err = _run(
            capsys, "fit", "--data", data, "--model", "kmeans", "--out", model, *options
        )
        assert code == 0, err
        code, out, _ = _run(capsys, "predict", "--model", model, "--data", new)
        lines = out.splitlines()
        assert lines[0] == "cluster"
        assert set(lines[1:]) == {str(k) for k in range(count)}
    code, out, _ = _run(
        capsys, "evaluate", "--model", model, "--data", table, "--json", tmp_path / "e.json"
    )
    assert code == 0
    assert out.startswith("adjusted Rand index ")
    assert json.loads((tmp_path / "e.json").read_text())["n_rows"] == 200
    code, _, err = _run(
        capsys, "evaluate", "--model", model, "--data", table, "--report", tmp_path / "e.html"
    )
    assert (code, "--report needs a classifier" in err) == (2, True)


def test_negative_sparse_rows_are_refused_by_models_that_count(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "d.svm"
    path.write_text("1 1:1 2:-0.5\n2 2:3\n" * 5)
    code, _, err = _run(
        capsys, "fit", "--data", path, "--model", "multinomial_nb", "--out", tmp_path / "m"
    )
    assert (code, err.count("\n")) == (2, 1)
    assert "multinomial_nb needs values that are not negative, but the sparse rows have" in err


def test_tasks_and_demo(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from ironlearn.cli.demos import TASKS

    assert main(["tasks"]) == 0
    listed = capsys.readouterr().out
    assert all(name in listed and task.estimator in listed for name, task in TASKS.items())
    picture = tmp_path / "curve.png"
    assert main(["demo", "mlp", "--epochs", "10", "--plot", str(picture)]) == 0
    said = capsys.readouterr().out
    found = re.search(r"accuracy (\S+), against (\S+) for always", said)
    assert found is not None
    assert float(found[1]) > 0.85 > float(found[2])
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert main(["demo", "mlp", "--plot", str(tmp_path / "no" / "x.png")]) == 2
    assert "does not exist" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["demo", "nothing"])


@pytest.mark.parametrize(("task", "epochs"), [("digits", 3), ("regression", 15), ("reviews", 8)])
def test_demos_beat_their_baselines(task: str, epochs: int) -> None:
    from ironlearn.cli.demos import TASKS, Settings

    outcome = TASKS[task].run(Settings(epochs=epochs, plot=False))
    assert outcome.score > outcome.baseline + 0.2
    assert outcome.figure is None


def test_the_forecast_demo_errs_less_than_the_year_before() -> None:
    from ironlearn.cli.demos import TASKS, Settings

    outcome = TASKS["forecast"].run(Settings(epochs=3, plot=False))
    assert outcome.score < 0.7 * outcome.baseline
