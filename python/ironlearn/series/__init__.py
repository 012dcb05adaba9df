"""Series: forecasts of what comes next.

Importing this package imports nothing; each class is loaded when it is first named.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ironlearn.series._backtest import Backtest as Backtest
    from ironlearn.series.lstm_forecaster import LSTMForecaster as LSTMForecaster

#: Each public class, and the module that has it. Serving uses the helpers beside them without
#: scikit-learn, which the estimator needs.
_CLASSES = {"Backtest": "_backtest", "LSTMForecaster": "lstm_forecaster"}

__all__ = ["Backtest", "LSTMForecaster"]


def __getattr__(name: str) -> Any:
    if name in _CLASSES:
        return getattr(importlib.import_module(f"ironlearn.series.{_CLASSES[name]}"), name)
    raise AttributeError(f"module 'ironlearn.series' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
