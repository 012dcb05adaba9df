"""Neural networks: layers, losses, optimizers, one training loop.

Importing this package imports NumPy and nothing heavier; each module is loaded when it is first
named.
"""

from __future__ import annotations

import importlib
from typing import Any

_MODULES = frozenset(
    {
        "autograd",
        "backend",
        "callbacks",
        "data",
        "functional",
        "initializers",
        "interchange",
        "layers",
        "losses",
        "models",
        "optimizers",
        "pair_losses",
        "plan",
        "pretrained",
        "schedules",
        "sequence_losses",
        "state",
        "train",
    }
)

#: Names that stand here as well, and where they are.
_NAMES = {
    "Sequential": "layers",
    "Tensor": "autograd",
    "backward": "autograd",
    "from_dlpack": "interchange",
    "get_device": "backend",
    "no_grad": "autograd",
}

__all__ = [*sorted(_MODULES), *sorted(_NAMES)]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"ironlearn.nn.{name}")
    if name in _NAMES:
        return getattr(importlib.import_module(f"ironlearn.nn.{_NAMES[name]}"), name)
    raise AttributeError(f"module 'ironlearn.nn' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
