"""Regression without a regressor of ironlearn: whatever of them a build has, this works."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.base import RegressorMixin

from ironlearn import base
from ironlearn.evaluation import REGRESSORS
from ironlearn.evaluation.models import Spec


class LeastSquares(RegressorMixin, base.Estimator):
    """The least-squares line, with everything that an estimator of ironlearn has."""

    _parameters: Any = {}

    def fit(self, X: Any, y: Any) -> LeastSquares:
        X = self._fit_input(X)
        self._model = np.linalg.lstsq(np.column_stack([X, np.ones(len(X))]), y, rcond=None)[0]
        return self

    def predict(self, X: Any) -> np.ndarray:
        X = self._predict_input(X)
        return X @ self._model[:-1] + self._model[-1]

    def _model_state(self) -> Any:
        return {}, {"weights": self._model}

    def _restore_model(self, attributes: dict[str, Any], tensors: Any) -> None:
        self._model = tensors["weights"]


#: scikit-learn's regressors on both sides, one a view.
THEIRS = {
    "their_tree": Spec(
        "their_tree",
        "DecisionTreeRegressor",
        "sklearn.tree",
        "sklearn.tree",
        view="tree",
        task="regress",
        settings={"max_depth": 4},
    ),
    "their_ridge": Spec(
        "their_ridge",
        "Ridge",
        "sklearn.linear_model",
        "sklearn.linear_model",
        view="scaled",
        task="regress",
    ),
}


def put_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let those be all the regressors that there are, and one that is ours."""
    for name in list(REGRESSORS):
        monkeypatch.delitem(REGRESSORS, name)
    for name, spec in THEIRS.items():
        monkeypatch.setitem(REGRESSORS, name, spec)
    # A name that stands for classifier and regressor, as random_forest does.
    line = Spec(
        "decision_tree",
        "LeastSquares",
        "evaluation.stand_in",
        "evaluation.stand_in",
        view="plain",
        task="regress",
    )
    monkeypatch.setitem(REGRESSORS, "decision_tree", line)
    monkeypatch.setitem(base.TYPES, "LeastSquares", "evaluation.stand_in")  # type: ignore[arg-type]
