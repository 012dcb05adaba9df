"""Model files of task estimators that earlier versions wrote are still read, with their answers."""

from __future__ import annotations

import numpy as np
import pytest

import ironlearn
from common.make_golden_tasks import FOLDER, GOLDEN, images, sentences
from ironlearn import serving


def given(name: str) -> tuple[object, ...]:
    if name == "CNNClassifier":
        return (images(),)
    return (sentences(),) if name == "LSTMTextClassifier" else ()


@pytest.mark.parametrize("name", GOLDEN)
def test_estimators_are_read(name: str) -> None:
    model = ironlearn.load(FOLDER / f"{name}.ironlearn")
    assert type(model).__name__ == name
    answer = getattr(model, "predict_proba", model.predict)(*given(name))
    expected = np.load(FOLDER / f"{name}.npz")["answers"]
    np.testing.assert_allclose(answer, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", [name for name in GOLDEN if name != "LSTMForecaster"])
def test_predictors_are_read(name: str) -> None:
    model = serving.load(FOLDER / f"{name}.ironlearn")
    expected = np.load(FOLDER / f"{name}.npz")["answers"]
    np.testing.assert_allclose(model.predict_proba(*given(name)), expected, rtol=1e-4, atol=1e-5)
