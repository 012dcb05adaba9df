"""Texts: classifiers that take strings as they are.

Importing this package imports nothing; each class is loaded when it is first named.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ironlearn.text.lstm_text_classifier import LSTMTextClassifier as LSTMTextClassifier

#: Each public class, and the module that has it. Serving uses the helpers beside them without
#: scikit-learn, which the classes need.
_CLASSES = {"LSTMTextClassifier": "lstm_text_classifier"}

__all__ = ["LSTMTextClassifier"]


def __getattr__(name: str) -> Any:
    if name in _CLASSES:
        return getattr(importlib.import_module(f"ironlearn.text.{_CLASSES[name]}"), name)
    raise AttributeError(f"module 'ironlearn.text' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
