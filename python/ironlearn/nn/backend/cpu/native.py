"""The one place that decides whether a native kernel takes an input."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

_F32 = np.dtype(np.float32)


class native:
    """Mark a method of the CPU's operations as a native override.

    The override is called when every float array among the arguments is float32 (those that are
    not C-contiguous are copied into that order first) and `accepts`, if given, agrees; otherwise
    the base operation of the same name is.

    Parameters
    ----------
    accepts : callable, optional
        Called with the override's arguments; tells whether the kernel takes them.
    """

    def __init__(self, accepts: Callable[..., bool] | None = None) -> None:
        self._accepts = accepts

    def __call__(self, method: Callable[..., Any]) -> Any:
        """Mark `method`."""
        return _Native(method, self._accepts)


class _Native:
    def __init__(self, method: Callable[..., Any], accepts: Callable[..., bool] | None) -> None:
        self._method = method
        self._accepts = accepts
        self.__doc__ = method.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        method, accepts = self._method, self._accepts

        @functools.wraps(method)
        def call(self: Any, *args: Any, **kwargs: Any) -> Any:
            ready = [_ready(value) for value in args]
            named = {key: _ready(value) for key, value in kwargs.items()}
            if (
                any(value is _OTHER for value in ready)
                or any(value is _OTHER for value in named.values())
                or (accepts is not None and not accepts(*ready, **named))
            ):
                return getattr(super(owner, self), name)(*args, **kwargs)
            return method(self, *ready, **named)

        setattr(owner, name, call)


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
