"""Multilayer perceptrons beside scikit-learn's."""

from __future__ import annotations

from typing import Any

import pytest

from ironlearn.bench import Case
from ironlearn.bench.session import Session

MODELS = ("MLPClassifier", "MLPRegressor")
pytestmark = pytest.mark.filterwarnings("ignore")


def test_fit(case: Case, session: Session, time: Any) -> None:
    if case.one_row:
        pytest.skip("only prediction is timed")
    time("fit", session.fit)


def test_predict(session: Session, time: Any) -> None:
    session.fit()
    time("predict", session.predict)
