"""What losses, optimizers and schedules are described by: their constructors' settings."""

from __future__ import annotations

import inspect
from typing import Any


class Described:
    """An object whose attributes are named as its constructor's parameters."""

    def config(self) -> dict[str, Any]:
        """Return the settings as JSON values."""
        return {name: getattr(self, name) for name in inspect.signature(type(self)).parameters}

    def __repr__(self) -> str:
        shown = ", ".join(f"{key}={value!r}" for key, value in self.config().items())
        return f"{type(self).__name__}({shown})"
