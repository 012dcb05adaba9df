"""Every example runs as a user would start it, and says what it found."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"

#: Arguments that keep an example short, and words that its output must have.
CASES: dict[str, tuple[list[str], str]] = {
    "gaussian_nb": ([], "batches and one fit agree: True"),
    "categorical_nb": ([], "accuracy 0."),
    "decision_tree": ([], "most important:"),
    "random_forest": (["--trees", "16"], "test accuracy 0.9"),
    "linear_svm": ([], "accuracy on new notes"),
    "kmeans": (["--step", "8"], "16 colours"),
    "mlp_classifier": ([], "test accuracy 0.9"),
    "cnn_classifier": (["--epochs", "3"], "the same answers: True"),
    "lstm_forecaster": (["--epochs", "3"], "between"),
    "lstm_text_classifier": (["--epochs", "6"], "the same answers: True"),
    "compare_models": ([], "random_forest"),
    "pipeline": ([], "accuracy 0.8"),
    "onnx_export": ([], "equal labels: True"),
    "onnx_networks": ([], "equal labels: True"),
    "unchanged_sklearn": ([], "the forest came from sklearn"),
    "serving": ([], "scikit-learn was loaded: False"),
}


@pytest.mark.parametrize("name", sorted(p.stem for p in EXAMPLES.glob("*.py")))
def test_example(name: str) -> None:
    arguments, words = CASES[name]
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / f"{name}.py"), *arguments],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert words in done.stdout


def test_unchanged_code_runs_on_the_patch() -> None:
    script = str(EXAMPLES / "unchanged_sklearn.py")
    done = subprocess.run(
        [sys.executable, "-m", "ironlearn.patch", "--report", "--fallback", "error", script],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "the forest came from ironlearn" in done.stdout
    assert "Why scikit-learn was used" not in done.stderr


def test_the_plot_of_a_tree_is_written(tmp_path: Path) -> None:
    out = tmp_path / "tree.png"
    subprocess.run(
        [sys.executable, str(EXAMPLES / "decision_tree.py"), "--plot", str(out)], check=True
    )
    assert out.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("name", "arguments", "files"),
    [
        ("mlp_classifier", ["training.png"], ["training.png"]),
        ("cnn_classifier", [".", "--epochs=1"], ["confusion.png", "samples.png", "training.png"]),
    ],
)
def test_the_plots_of_networks_are_written(
    name: str, arguments: list[str], files: list[str], tmp_path: Path
) -> None:
    subprocess.run(
        [sys.executable, str(EXAMPLES / f"{name}.py"), "--plot", *arguments],
        check=True,
        cwd=tmp_path,
        timeout=120,
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == files
    assert all((tmp_path / file).read_bytes().startswith(b"\x89PNG") for file in files)


def test_the_index_lists_every_example() -> None:
    index = (EXAMPLES / "README.md").read_text()
    for path in EXAMPLES.glob("*.py"):
        assert f"`{path.name}`" in index
