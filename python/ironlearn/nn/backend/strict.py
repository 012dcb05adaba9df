"""A device on the CPU that refuses what a GPU's arrays refuse.

Code that runs here would run through CuPy: arrays of this device never mix with NumPy arrays,
never turn into one implicitly, and a value never leaves the device unnoticed (``float(x)``,
``if x``, ``for`` over values, ``x.item()``), because on a GPU each of these waits for everything
queued before it. `StrictDevice.receive` is the one way out.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin
from numpy.typing import NDArray

from ironlearn.nn.backend.device import Device


def _refuse(what: str) -> Any:
    raise TypeError(
        f"{what} would wait for the device (or copy from it) without saying so; use "
        "Device.receive where a value must reach the host."
    )


def _unwrap(value: Any) -> Any:
    if isinstance(value, StrictArray):
        return value._value
    if isinstance(value, tuple | list):
        return type(value)(_unwrap(item) for item in value)
    if isinstance(value, dict):
        return {key: _unwrap(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        raise TypeError("a NumPy array cannot be combined with arrays of the device 'strict'.")
    return value


def _wrap(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        return StrictArray(np.asarray(value))
    if isinstance(value, tuple):
        return tuple(_wrap(item) for item in value)
    if isinstance(value, list):
        return [_wrap(item) for item in value]
    return value


class StrictArray(NDArrayOperatorsMixin):
    """An array that only this device's operations may touch."""

    __slots__ = ("__weakref__", "_value")
    __array_priority__ = 1000

    def __init__(self, value: NDArray[Any]) -> None:
        self._value = value

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        out = kwargs.get("out")
        if out is not None and not all(isinstance(o, StrictArray) for o in out):
            return NotImplemented
        answer = getattr(ufunc, method)(*_unwrap(inputs), **_unwrap(kwargs))
        if out is not None:
            return out[0] if len(out) == 1 else out
        return _wrap(answer)

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        return _wrap(func(*_unwrap(args), **_unwrap(kwargs)))

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        return _refuse("an implicit conversion to a NumPy array")

    def __bool__(self) -> bool:
        return bool(_refuse("bool()"))

    def __float__(self) -> float:
        return float(_refuse("float()"))

    def __int__(self) -> int:
        return int(_refuse("int()"))

    def __index__(self) -> int:
        return int(_refuse("use as an index"))

    def item(self, *args: Any) -> Any:
        """Refuse: it would wait for the device."""
        return _refuse("item()")

    def tolist(self) -> Any:
        """Refuse: it would wait for the device."""
        return _refuse("tolist()")

    def __len__(self) -> int:
        return len(self._value)

    def __getitem__(self, key: Any) -> StrictArray:
        return StrictArray(np.asarray(self._value[_unwrap(key)]))

    def __setitem__(self, key: Any, value: Any) -> None:
        self._value[_unwrap(key)] = _unwrap(value)

    def __repr__(self) -> str:
        return f"StrictArray(shape={self.shape}, dtype={self.dtype})"

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of the axes."""
        return self._value.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the elements."""
        return self._value.dtype

    @property
    def T(self) -> StrictArray:
        """The array with its axes reversed."""
        return StrictArray(self._value.T)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name in ("data", "base", "ctypes", "tobytes", "dump", "tofile"):
            raise AttributeError(name)
        attribute = getattr(self._value, name)
        if not callable(attribute):
            return _wrap(attribute)

        def method(*args: Any, **kwargs: Any) -> Any:
            return _wrap(attribute(*_unwrap(args), **_unwrap(kwargs)))

        return method


class StrictModule:
    """What NumPy and CuPy have in common, for arrays of this device."""

    _CREATE = frozenset({"arange", "empty", "eye", "full", "linspace", "ones", "tri", "zeros"})
    ndarray = StrictArray

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(np, name)
        if name in self._CREATE:
            return lambda *args, **kwargs: _wrap(attribute(*_unwrap(args), **kwargs))
        return attribute

    def asarray(self, value: Any, dtype: Any = None) -> StrictArray:
        """Return `value` on the device: an explicit copy where it is a host array."""
        if isinstance(value, StrictArray):
            return StrictArray(np.asarray(value._value, dtype))
        return StrictArray(np.array(value, dtype))

    array = asarray

    def ascontiguousarray(self, value: StrictArray) -> StrictArray:
        """Return `value` in C order."""
        return StrictArray(np.ascontiguousarray(_unwrap(value)))


class StrictDevice(Device):
    """The device of `StrictArray`."""

    def __init__(self) -> None:
        from ironlearn.nn.backend.ops import Ops

        self.name = "strict"
        self.xp = StrictModule()
        self.ops = Ops(self.xp)

    def owns(self, array: Any) -> bool:
        """Tell whether `array` is a `StrictArray`."""
        return isinstance(array, StrictArray)

    def send(self, array: NDArray[Any]) -> StrictArray:
        """Return a copy of `array` on the device."""
        return StrictArray(np.array(array))

    def receive(self, array: Any) -> NDArray[Any]:
        """Return a copy of `array` on the host."""
        return np.array(array._value)
