"""The one place that decides whether a native kernel takes an input."""

from __future__ import annotations

from typing import Any

import numpy as np

from ironlearn.nn.backend.override import Override, Ready

_F32 = np.dtype(np.float32)


class native(Override):
    """Mark a method of the CPU's operations as a native override.

    Native kernels take arguments whose float arrays are float32; those that are not C-contiguous
    are copied into that order first.
    """

    @staticmethod
    def ready(ops: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Ready | None:
        """Return the arguments in C order, or ``None`` where some are of other floats."""
        values = [_ready(value) for value in args]
        named = {key: _ready(value) for key, value in kwargs.items()}
        if any(value is _OTHER for value in values) or any(
            value is _OTHER for value in named.values()
        ):
            return None
        return values, named


_OTHER = object()


def _ready(value: Any) -> Any:
    """Return `value` as a kernel takes it, or `_OTHER` where it takes none such."""
    if isinstance(value, np.ndarray):
        # bfloat16 is of a kind of its own.
        if value.dtype.kind not in "iub" and value.dtype != _F32:
            return _OTHER
        if not value.flags.c_contiguous or not value.flags.aligned:
            return np.ascontiguousarray(value)
    elif isinstance(value, tuple) and any(isinstance(item, np.ndarray) for item in value):
        items = tuple(_ready(item) for item in value)
        return _OTHER if any(item is _OTHER for item in items) else items
    return value
