"""Devices: where arrays live and who computes on them."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ironlearn.exceptions import InvalidParameterError

if TYPE_CHECKING:
    from ironlearn.nn.backend.ops import Ops

#: Arrays of whichever device; only that device's `xp` and `ops` may touch them.
Array = Any


class Device:
    """A place for arrays.

    Attributes
    ----------
    name : str
        ``"cpu"``, ``"strict"``, ``"cuda:0"`` ...
    xp : module
        The array module: NumPy, CuPy, or what stands in for it.
    ops : Ops
        The operations of networks on this device's arrays.
    asynchronous : bool
        Work is queued: asking for a value waits for everything before it.
    out_of_memory : tuple of exception types
        What is raised where an array finds no place.
    alone : bool
        No other device has arrays of the same type.
    """

    name: str
    xp: Any
    ops: Ops
    asynchronous: bool = False
    out_of_memory: tuple[type[BaseException], ...] = (MemoryError,)
    alone: bool = True

    def owns(self, array: Any) -> bool:
        """Tell whether `array` is one of this device's."""
        raise NotImplementedError

    def send(self, array: NDArray[Any]) -> Array:
        """Return the host array `array` on this device."""
        raise NotImplementedError

    def receive(self, array: Array) -> NDArray[Any]:
        """Return this device's `array` as a NumPy array (waits for the device)."""
        raise NotImplementedError

    def context(self) -> contextlib.AbstractContextManager[Any]:
        """Return a context in which new arrays are this device's."""
        return contextlib.nullcontext()

    def tf32(self) -> contextlib.AbstractContextManager[Any] | None:
        """Return a context in which products round their factors; ``None`` without such."""
        return None

    def synchronize(self) -> None:
        """Wait until everything queued is done."""

    def memory(self) -> tuple[int, int] | None:
        """Return the free and the total bytes of the device; ``None`` where it cannot tell."""
        return None

    def __repr__(self) -> str:
        return f"<Device {self.name}>"


class CpuDevice(Device):
    """NumPy arrays, native kernels."""

    def __init__(self) -> None:
        from ironlearn.nn.backend.cpu import CpuOps

        self.name = "cpu"
        self.xp = np
        self.ops = CpuOps(np)

    def owns(self, array: Any) -> bool:
        """Tell whether `array` is a NumPy array."""
        return isinstance(array, np.ndarray)

    def send(self, array: NDArray[Any]) -> Array:
        """Return `array` itself."""
        return np.asarray(array)

    def receive(self, array: Array) -> NDArray[Any]:
        """Return `array` itself."""
        return np.asarray(array)


#: Every device that was asked for, by name.
_devices: dict[str, Device] = {}


def _device(name: str) -> Device:
    found = _devices.get(name)
    if found is None:
        found = _devices.setdefault(name, _make(name))
    return found


def _make(name: str) -> Device:
    if name == "cpu":
        return CpuDevice()
    if name == "strict":
        from ironlearn.nn.backend.strict import StrictDevice

        return StrictDevice()
    from ironlearn.nn.backend.cuda import CudaDevice

    return CudaDevice(int(name.partition(":")[2]))


def get_device(device: str | Device) -> Device:
    """Return the device that `device` names.

    Parameters
    ----------
    device : {"cpu", "cuda", "cuda:<n>", "strict", "auto"} or Device
        ``"auto"`` is the first GPU where there is one, else the CPU. ``"strict"`` computes on the
        CPU but refuses what a GPU's arrays would refuse; it is for tests.

    Returns
    -------
    Device

    Raises
    ------
    InvalidParameterError
        There is no device of that name.
    ironlearn.exceptions.MissingExtraError
        A GPU is asked for, but CuPy is not installed.
    RuntimeError
        A GPU is asked for, but there is none, or not that many.

    Examples
    --------
    >>> get_device("cpu")
    <Device cpu>
    """
    if isinstance(device, Device):
        return device
    if device == "auto":
        from ironlearn.nn.backend.cuda import is_available

        device = "cuda:0" if is_available() else "cpu"
    if device == "cuda":
        device = "cuda:0"
    if not isinstance(device, str) or not re.fullmatch(r"cpu|strict|cuda:[0-9]{1,3}", device):
        raise InvalidParameterError(
            f"device must be 'cpu', 'cuda', 'cuda:<n>' or 'auto', got {device!r}."
        )
    return _device(device)


def device_of(arrays: Iterable[Array]) -> Device:
    """Return the one device of `arrays`; that of no arrays is the CPU.

    Parameters
    ----------
    arrays : iterable of arrays

    Returns
    -------
    Device

    Raises
    ------
    ValueError
        The arrays live on different devices; both are named.
    """
    found: Device | None = None
    kind: type | None = None
    for array in arrays:
        if type(array) is kind and found is not None and found.alone:
            continue
        one = _owner(array)
        if found is None:
            found, kind = one, type(array)
        elif one is not found:
            raise ValueError(
                f"arrays of two devices cannot be combined: {found.name} and {one.name}; move one "
                "of them with to_device."
            )
    return _device("cpu") if found is None else found


def _owner(array: Array) -> Device:
    if isinstance(array, np.ndarray | np.generic):
        return _device("cpu")
    module = type(array).__module__
    if module == "ironlearn.nn.backend.strict":
        return _device("strict")
    if module.partition(".")[0] == "cupy":
        return _device(f"cuda:{array.device.id}")
    raise TypeError(f"{type(array).__name__} is no array of a known device.")
