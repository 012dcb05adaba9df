"""Model files that earlier versions wrote are read, and answer as they did."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ironlearn
from common import make_golden, registry
from common.make_golden import GOLDEN, MAKERS, METHODS
from ironlearn import serving

FILES = sorted(path.stem for path in GOLDEN.glob("*.ironlearn"))


def answers(name: str) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    with np.load(GOLDEN / f"{name}.npz") as stored:
        rows, expected = stored["X"], {key: stored[key] for key in stored if key != "X"}
    if rows.dtype.kind == "U":
        # A column of names beside columns of numbers, written as text.
        table = rows.astype(object)
        table[:, 1:] = rows[:, 1:].astype(float)
        table[rows == "None"] = None
        rows = table
    return rows, expected


def assert_answers(model: Any, name: str, *, anew: bool = False) -> None:
    """Compare answers with those of then; `anew` if the model was trained again."""
    rows, expected = answers(name)
    # Steps of networks are rounded to single precision, differently on other machines.
    about = anew and name.startswith("MLP")
    for method, then in expected.items():
        if not hasattr(model, method):
            continue
        now = getattr(model, method)(rows)
        if then.dtype.kind == "f":
            near = {"rtol": 1e-3, "atol": 1e-3} if about else {"rtol": 1e-10, "atol": 1e-12}
            np.testing.assert_allclose(now, then, **near, err_msg=method)
        elif not about:
            np.testing.assert_array_equal(now, then, err_msg=method)


@pytest.mark.parametrize("name", FILES)
def test_golden_files_answer_as_they_did(name: str) -> None:
    model = ironlearn.load(GOLDEN / f"{name}.ironlearn")
    assert type(model).__name__ == name.partition("-")[0]
    assert_answers(model, name)
    served = serving.load(GOLDEN / f"{name}.ironlearn")
    assert hasattr(served, "predict")
    assert_answers(served, name)


@pytest.mark.parametrize("name", FILES)
def test_a_golden_file_that_is_saved_again_answers_the_same(name: str, tmp_path: Path) -> None:
    ironlearn.load(GOLDEN / f"{name}.ironlearn").save(tmp_path / "again")
    assert_answers(ironlearn.load(tmp_path / "again"), name)


def test_every_type_has_a_golden_file() -> None:
    assert set(registry.names()) == {name.partition("-")[0] for name in FILES}
    assert set(FILES) <= set(MAKERS)
    # Classifiers store labels, and every file at least its predictions.
    assert all("predict" in answers(name)[1] for name in FILES)
    assert {"predict", "predict_proba", "apply"} <= set(answers("DecisionTreeClassifier")[1])
    assert set(METHODS) >= {"predict", "predict_proba", "decision_function", "transform"}


def test_golden_files_are_added_and_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "GaussianNB.ironlearn").write_bytes(b"old")
    make_golden.main(tmp_path)
    assert (tmp_path / "GaussianNB.ironlearn").read_bytes() == b"old"
    made = {path.stem for path in tmp_path.glob("*.npz")}
    assert made >= set(FILES) - {"GaussianNB"}
    for name in made & set(FILES):
        assert_answers(ironlearn.load(tmp_path / f"{name}.ironlearn"), name, anew=True)
