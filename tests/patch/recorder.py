"""A pytest plugin that writes, for each test, its outcome and what patched estimators did.

The file is named by the environment variable ``PATCH_RECORD``.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from typing import Any

import pytest

from ironlearn.patch import _events

_rows: dict[str, dict[str, Any]] = {}
_current: str | None = None


def _listen(event: _events.Event) -> None:
    if _current is None:
        return
    row = _rows[_current]
    row["events"][event.kind] += 1
    if event.kind == "fallback":
        row["reasons"].add(f"{event.name}.{event.method}: {event.reason}")
    row["estimators"].add(event.name)


_events.listeners.append(_listen)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Any:
    global _current
    # Node ids of installed packages lack the path.
    path = item.path.as_posix()
    _current = f"sklearn/{path.rpartition('/sklearn/')[2]}::{item.nodeid.partition('::')[2]}"
    _rows[_current] = {"events": Counter(), "reasons": set(), "estimators": set(), "outcome": ""}
    try:
        return (yield)
    finally:
        _current = None


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    assert _current is not None
    row = _rows[_current]
    if report.when == "call" or report.outcome != "passed":
        expected = hasattr(report, "wasxfail")
        row["outcome"] = f"x{report.outcome}" if expected else report.outcome
        if report.failed:
            row["failure"] = str(report.longrepr).splitlines()[-1][:300]
            crash = getattr(report.longrepr, "reprcrash", None)
            if crash is not None:
                row["failure"] = " ".join(crash.message.split())[:300]


def pytest_sessionfinish(session: pytest.Session) -> None:
    rows = {
        name: {
            **row,
            "events": dict(row["events"]),
            "reasons": sorted(row["reasons"]),
            "estimators": sorted(row["estimators"]),
        }
        for name, row in _rows.items()
    }
    with open(os.environ["PATCH_RECORD"], "w") as file:
        json.dump(rows, file, indent=1)
