"""What patched estimators did: counted, warned of, reported."""

from __future__ import annotations

import logging
import os
import threading
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal

from ironlearn.exceptions import FallbackError, FallbackWarning, InvalidParameterError

Mode = Literal["warn", "log", "error"]
MODES: tuple[Mode, ...] = ("warn", "log", "error")

#: Sets the mode for a whole process and those that it starts.
VARIABLE = "IRONLEARN_PATCH_FALLBACK"

logger = logging.getLogger("ironlearn.patch")

#: Different reasons that are kept for a class; texts may hold numbers of the data.
_MOST_REASONS = 100


@dataclass(frozen=True)
class Event:
    """One training call of a patched estimator.

    Attributes
    ----------
    kind : {"native", "fallback", "error"}
        ironlearn did it; scikit-learn did it; or both refused it.
    name, method : str
        Class and method.
    reason : str
        Why ironlearn did not do it.
    seconds : float
        How long the call took.
    """

    kind: Literal["native", "fallback", "error"]
    name: str
    method: str
    reason: str
    seconds: float


@dataclass
class Report:
    """What ran where since the process began or `reset_report` was called.

    Attributes
    ----------
    native : dict of str to int
        Training calls that ironlearn did, by class.
    fallbacks : dict of tuple to int
        Training calls that scikit-learn did, by class, method and reason.
    errors : dict of str to int
        Training calls that both refused, by class.
    seconds : dict of tuple to float
        Time of training, by class and by "native" or "fallback".
    """

    native: Counter[str] = field(default_factory=Counter)
    fallbacks: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    seconds: dict[tuple[str, str], float] = field(default_factory=dict)

    def add(self, event: Event) -> None:
        """Count an event."""
        if event.kind == "error":
            self.errors[event.name] += 1
            return
        key = (event.name, event.kind)
        self.seconds[key] = self.seconds.get(key, 0.0) + event.seconds
        if event.kind == "native":
            self.native[event.name] += 1
            return
        row = (event.name, event.method, event.reason)
        if row not in self.fallbacks:
            known = sum(name == event.name for name, _, _ in self.fallbacks)
            if known >= _MOST_REASONS:
                row = (event.name, event.method, "other reasons")
        self.fallbacks[row] += 1

    def copy(self) -> Report:
        """Return a copy that no longer changes."""
        return Report(
            self.native.copy(), self.fallbacks.copy(), self.errors.copy(), dict(self.seconds)
        )

    def _lines(self) -> Iterator[str]:
        names = sorted({*self.native, *(row[0] for row in self.fallbacks), *self.errors})
        if not names:
            yield "ironlearn.patch: no patched estimator was trained."
            return
        width = max(len("estimator"), *map(len, names))
        yield f"{'estimator':<{width}}  {'ironlearn':>18}  {'scikit-learn':>18}  {'refused':>7}"
        for name in names:
            cells = []
            fallbacks = sum(n for row, n in self.fallbacks.items() if row[0] == name)
            for kind, count in (("native", self.native[name]), ("fallback", fallbacks)):
                seconds = self.seconds.get((name, kind), 0.0)
                cells.append(f"{f'{count} ({seconds:.3g} s)' if count else '0':>18}")
            yield f"{name:<{width}}  {cells[0]}  {cells[1]}  {self.errors[name]:>7}"
        if self.fallbacks:
            yield "Why scikit-learn was used:"
            for (name, method, reason), count in sorted(self.fallbacks.items()):
                yield f"  {name}.{method} ({count}): {reason}"

    def __str__(self) -> str:
        return "\n".join(self._lines())


_lock = threading.Lock()
_total = Report()
_mode: Mode | None = None

#: Called with each event, in the thread of the fit; tests listen here.
listeners: list[Callable[[Event], None]] = []


def report() -> Report:
    """Return what ran where.

    Returns
    -------
    Report
        Counts and reasons; ``print(report())`` shows a table. Calls in other processes, such
        as joblib's workers, are not in it.
    """
    with _lock:
        return _total.copy()


def reset_report() -> None:
    """Start the report anew."""
    global _total
    with _lock:
        _total = Report()


def set_mode(mode: str | None) -> str | None:
    """Set what a fallback does, or leave it to the environment for ``None``; return the old."""
    global _mode
    if mode is not None and mode not in MODES:
        raise InvalidParameterError(f"fallback must be one of {MODES} or None. Got {mode!r}.")
    before, _mode = _mode, mode
    return before


def mode() -> Mode:
    """Return what a fallback does now."""
    if _mode is not None:
        return _mode
    given = os.environ.get(VARIABLE, "").strip() or "warn"
    if given not in MODES:
        raise InvalidParameterError(f"{VARIABLE} must be one of {MODES}. Got {given!r}.")
    return given


def record(event: Event) -> None:
    """Count an event and tell the listeners."""
    with _lock:
        _total.add(event)
    for listener in listeners:
        listener(event)


def forbid(name: str, method: str, reason: str, cause: Exception | None) -> None:
    """Raise `FallbackError` if the mode is "error"."""
    if mode() == "error":
        raise FallbackError(f"{name}.{method} would fall back to scikit-learn: {reason}") from cause


def announce(name: str, method: str, reason: str, stacklevel: int) -> None:
    """Tell of a fallback."""
    text = f"{name}.{method} runs in scikit-learn, not in ironlearn: {reason}"
    if mode() == "warn":
        warnings.warn(text, FallbackWarning, stacklevel=stacklevel + 1)
    else:
        logger.warning(text)
