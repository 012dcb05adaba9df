"""One reading under watch: what came of it, and what no input may make a reader do."""

from __future__ import annotations

import codecs
import json
import resource
import signal
import sys
import time
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import safetensors

import ironlearn
from ironlearn.exceptions import ModelFileError
from ironlearn.nn.pretrained import checkpoint, dequantize, hdf5, read_weights

#: Processor seconds that one small file may take.
SECONDS = 5.0
#: Bytes of arrays that may come out for each byte that goes in.
GROWTH = 64

#: Modules that readers import late: here, before imports count as execution.
LATE = (checkpoint, hdf5, json, safetensors, zipfile)
#: Events of Python's audit hooks that mean that a file made something run or left its place.
FORBIDDEN = (
    "os.",
    "subprocess.",
    "pty.",
    "socket.",
    "shutil.",
    "ctypes.",
    "pickle.find_class",
    "marshal.",
    "code.__new__",
    "compile",
    "exec",
    "import",
)
CODECS = (
    *("ascii", "cp437", "latin-1", "utf-8", "utf-8-sig", "raw_unicode_escape", "unicode_escape"),
    *(f"utf-{bits}{order}" for bits in (16, 32) for order in ("", "-le", "-be")),
)
_events: list[str] = []
_watching = False


class _TooLong(BaseException):
    """Raised by the timer, and by nothing else."""


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if not _watching:
        return
    if event.startswith(FORBIDDEN) or (
        event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+")
    ):
        _events.append(f"{event} {str(arguments)[:120]}")


def _stop(number: int, frame: FrameType | None) -> None:
    raise _TooLong


def _weights(path: Path) -> int:
    arrays = read_weights(path)
    for array in arrays.values():
        # Every byte is looked at: memory that is not there would show.
        array.tobytes()
    return sum(array.nbytes for array in dequantize(arrays).values())


def _model(path: Path) -> int:
    ironlearn.load(path)
    return 0


def reader_of(name: str) -> Callable[[Path], int]:
    """Return what reads files of this kind and says how many bytes of arrays came out."""
    return _model if name == "model-file" else _weights


def install() -> None:
    """Watch this process from now on."""
    # Python itself imports the codecs that pickles, archives and JSON ask for, when first asked.
    for codec in CODECS:
        codecs.lookup(codec)
    sys.addaudithook(_hook)
    signal.signal(signal.SIGVTALRM, _stop)


def limit_memory(more: int) -> None:
    """Let this process take `more` bytes beyond what it has."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + more
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def check(read: Callable[[Path], int], path: Path, size: int) -> tuple[str, str, float]:
    """Read `path` under watch.

    Returns
    -------
    outcome : str
        "read" or "refused"; "executed", "too long", "too much" or the type of an exception that is
        not documented: these must never be.
    detail : str
        More about the latter.
    seconds : float
        Processor time.
    """
    global _watching
    _events.clear()
    start = time.process_time()
    signal.setitimer(signal.ITIMER_VIRTUAL, SECONDS)
    outcome, detail = "read", ""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            _watching = True
            count = read(path)
        if count > GROWTH * size + 4096:
            outcome, detail = "too much", f"{count} bytes of arrays from {size}"
    except _TooLong:
        outcome = "too long"
    except ModelFileError:
        outcome = "refused"
    except Exception as error:
        outcome, detail = type(error).__name__, repr(error)[:300]
    finally:
        _watching = False
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    seconds = time.process_time() - start
    if _events:
        outcome, detail = "executed", "; ".join(_events[:3])
    return outcome, detail, seconds
