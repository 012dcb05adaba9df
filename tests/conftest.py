"""Shared options and data."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    # Started in the background: children would inherit that and never see the Ctrl-C of a test.
    signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile(
    "default",
    deadline=None,
    max_examples=40,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("default")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--require-data",
        action="store_true",
        help="fail, instead of skipping, where IRONLEARN_DATA is not set",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if os.environ.get("IRONLEARN_DATA"):
        return
    if config.getoption("--require-data"):
        raise pytest.UsageError("--require-data needs IRONLEARN_DATA to point to the data sets")
    skip = pytest.mark.skip(reason="IRONLEARN_DATA is not set")
    for item in items:
        if "realdata" in item.keywords:
            item.add_marker(skip)


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real data sets."""
    return Path(os.environ["IRONLEARN_DATA"])
