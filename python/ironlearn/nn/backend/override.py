"""Overrides of base operations, and what happens to inputs that one does not take."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

#: Arguments as a kernel takes them: by position and by name.
Ready = tuple[list[Any], dict[str, Any]]


class Override:
    """Mark a method as an override of the base operation of the same name.

    The override is called when `ready` knows how to hand the arguments to it and `accepts`, if
    given, agrees; otherwise the base operation is.

    Parameters
    ----------
    accepts : callable, optional
        Called with the override's arguments; tells whether the kernel takes them.
    """

    def __init__(self, accepts: Callable[..., bool] | None = None) -> None:
        self.accepts = accepts

    def __call__(self, method: Callable[..., Any]) -> Any:
        """Mark `method`."""
        return _Marked(self, method)

    @staticmethod
    def ready(ops: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Ready | None:
        """Return the arguments as a kernel takes them, or ``None`` where it takes none such."""
        raise NotImplementedError


class _Marked:
    def __init__(self, gate: Override, method: Callable[..., Any]) -> None:
        self._gate = gate
        self._method = method
        self.__doc__ = method.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        method, make_ready, accepts = self._method, self._gate.ready, self._gate.accepts

        @functools.wraps(method)
        def call(self: Any, *args: Any, **kwargs: Any) -> Any:
            ready = make_ready(self, args, kwargs)
            if ready is None or (accepts is not None and not accepts(*ready[0], **ready[1])):
                return getattr(super(owner, self), name)(*args, **kwargs)
            return method(self, *ready[0], **ready[1])

        setattr(owner, name, call)
