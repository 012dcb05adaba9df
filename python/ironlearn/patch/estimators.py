"""The patched classes, by their names; pickles of patched estimators name this module.

Each is made when it is first asked for, so that loading a model needs no patch in place.
"""

from __future__ import annotations

from typing import Any

from ironlearn.patch import _build


def __getattr__(name: str) -> Any:
    if not _build.is_covered(name):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return _build.patched_class(name)


def __dir__() -> list[str]:
    return _build.covered_names()
