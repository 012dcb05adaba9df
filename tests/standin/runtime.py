"""The CUDA runtime of the stand-in: devices, streams, events, memory, and what is counted of them.

Enough of each for the host code, all of them doing their work at once.
"""

from __future__ import annotations

import contextlib
import dataclasses
import types
from typing import Any

import numpy as np

#: How many devices there are.
DEVICES = 2


@dataclasses.dataclass
class Counts:
    """What crossed between host and device since the last `reset`."""

    to_device: int = 0
    to_host: int = 0
    waits: int = 0
    launches: int = 0

    def reset(self) -> None:
        """Start again at 0."""
        self.to_device = self.to_host = self.waits = self.launches = 0


counts = Counts()
#: Numbers of the devices that contexts have made the current one; the last is.
current = [0]


class Device:
    """A device; as a context, the current one."""

    compute_capability = "80"

    def __init__(self, device: int | None = None) -> None:
        self.id = current[-1] if device is None else device

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Device) and other.id == self.id

    def __hash__(self) -> int:
        return self.id

    def __enter__(self) -> Device:
        current.append(self.id)
        return self

    def __exit__(self, *error: Any) -> None:
        current.pop()

    def use(self) -> None:
        """Make it the current one."""
        current[-1] = self.id

    def synchronize(self) -> None:
        """Wait."""
        counts.waits += 1

    @property
    def mem_info(self) -> tuple[int, int]:
        """Free and all bytes."""
        return (1 << 33, 1 << 34)

    @property
    def attributes(self) -> dict[str, int]:
        """What the runtime says of the device."""
        return {"MultiProcessorCount": 4, "ClockRate": 1_000_000, "MaxSharedMemoryPerBlock": 49152}


class Stream:
    """A queue of work that is always done."""

    null: Stream
    ptr = 0

    def __init__(self, null: bool = False, non_blocking: bool = False, ptds: bool = False) -> None:
        self.non_blocking = non_blocking

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *error: Any) -> None:
        pass

    def use(self) -> Stream:
        """Return itself."""
        return self

    def synchronize(self) -> None:
        """Wait."""
        counts.waits += 1

    def wait_event(self, event: Event) -> None:
        """Let the device wait, not the host."""

    def record(self, event: Event | None = None) -> Event:
        """Return an event after the work so far."""
        return event or Event()


Stream.null = Stream()


class Event:
    """A place in a stream."""

    done = True

    def __init__(self, block: bool = False, disable_timing: bool = False) -> None:
        pass

    def record(self, stream: Stream | None = None) -> None:
        """Mark this place."""

    def synchronize(self) -> None:
        """Wait."""
        counts.waits += 1


class MemoryPool:
    """The memory of the device."""

    def used_bytes(self) -> int:
        """Bytes of arrays: not known."""
        return 0

    def total_bytes(self) -> int:
        """Bytes taken: not known."""
        return 0

    def free_all_blocks(self, stream: Any = None) -> None:
        """Give back nothing."""

    def set_limit(self, size: int | None = None, fraction: float | None = None) -> None:
        """Limit nothing."""

    def malloc(self, size: int) -> Any:
        """Unused."""
        raise NotImplementedError


class OutOfMemoryError(MemoryError):
    """As CuPy's, which also is a MemoryError."""


class CUDARuntimeError(RuntimeError):
    """As CuPy's."""


pool = MemoryPool()


class Cuda(types.ModuleType):
    Device, Stream, Event, MemoryPool = Device, Stream, Event, MemoryPool
    runtime = types.SimpleNamespace(
        getDeviceCount=lambda: DEVICES,
        CUDARuntimeError=CUDARuntimeError,
        runtimeGetVersion=lambda: 12090,
        driverGetVersion=lambda: 12090,
        getDeviceProperties=lambda index: {"name": b"stand-in", "totalGlobalMem": 1 << 34},
        deviceSynchronize=lambda: Device().synchronize(),
    )
    memory = types.SimpleNamespace(OutOfMemoryError=OutOfMemoryError)

    @staticmethod
    def get_current_stream(device_id: int | None = None) -> Stream:
        return Stream.null

    @staticmethod
    def is_available() -> bool:
        return True

    @staticmethod
    def using_allocator(allocator: Any = None) -> Any:
        return contextlib.nullcontext()


class Core:
    """What is used of ``cupy._core``: how products are computed."""

    _routines_linalg = types.SimpleNamespace(COMPUTE_TYPE_TF32=7)

    def __init__(self) -> None:
        self._types: dict[Any, int] = {}

    def get_compute_type(self, dtype: Any) -> int:
        """Return the setting for products of `dtype`; 1 is CuPy's default."""
        return self._types.get(np.dtype(dtype), 1)

    def set_compute_type(self, dtype: Any, compute_type: int) -> None:
        """Change the setting. Products stay as NumPy has them."""
        self._types[np.dtype(dtype)] = compute_type
