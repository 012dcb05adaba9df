"""Ending a long run by Ctrl-C without losing it."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def first_ctrl_c() -> Iterator[list[bool]]:
    """Turn the first Ctrl-C into an item of a list; the second raises KeyboardInterrupt.

    Only where Python's own handler is set and in the main thread: elsewhere somebody else decides.
    """
    pressed: list[bool] = []

    def note(number: int, frame: Any) -> None:
        if pressed:
            raise KeyboardInterrupt
        pressed.append(True)

    ours = (
        threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    )
    if ours:
        signal.signal(signal.SIGINT, note)
    try:
        yield pressed
    finally:
        if ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)
