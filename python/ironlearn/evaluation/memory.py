"""How much memory a call needs beyond what the process already holds."""

from __future__ import annotations

import ctypes
import functools
import gc
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

_Result = TypeVar("_Result")
_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")


def peak_memory(call: Callable[[], _Result]) -> tuple[_Result, int | None]:
    """Call a function; return its result and the peak of extra resident memory in bytes.

    Free pages of the allocator are given back to the system first, so that memory which the
    call takes from earlier leavings counts like fresh memory. Then the kernel's high-water
    mark of resident memory is reset, the function called, and the mark read: everything that
    is touched in between is seen, whatever library allocates it. Where the mark cannot be
    reset, a thread samples the resident memory every millisecond; where neither is there
    (not on Linux), the answer is ``None``. Freed memory that the allocator cannot give back
    (parts of pages) makes the figure uncertain by some hundred kilobytes.

    Parameters
    ----------
    call : callable
        A function without arguments.

    Returns
    -------
    result : object
        What the function returned.
    extra : int or None
        Peak of resident memory during the call minus that before it.
    """
    if not _STATUS.exists():
        return call(), None
    gc.collect()
    _trim()
    if not _reset_mark():
        with _Sampler() as sampler:
            result = call()
        return result, sampler.extra
    before = _status("VmRSS")
    result = call()
    return result, max(0, _status("VmHWM") - before)


@functools.lru_cache(maxsize=1)
def _malloc_trim() -> Callable[[int], int] | None:
    try:
        library: Any = ctypes.CDLL(None)
        return library.malloc_trim
    except (OSError, AttributeError, TypeError):  # not glibc
        return None


def _trim() -> None:
    trim = _malloc_trim()
    if trim is not None:
        trim(0)


def _reset_mark() -> bool:
    try:
        _CLEAR.write_text("5")
    except OSError:
        return False
    return True


def _status(field: str) -> int:
    for line in _STATUS.read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    return 0


class _Sampler:
    """Watches the resident memory from a thread."""

    def __init__(self) -> None:
        self._before = _status("VmRSS")
        self.extra = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def _watch(self) -> None:
        while not self._stop.is_set():
            self.extra = max(self.extra, _status("VmRSS") - self._before)
            time.sleep(1e-3)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.extra = max(self.extra, _status("VmRSS") - self._before)
        self._stop.set()
        self._thread.join()
