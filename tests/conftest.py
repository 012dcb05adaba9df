"""Shared options and data."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from standin import nvrtc
from standin.compiled import compiler

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
    parser.addoption(
        "--require-compilers",
        action="store_true",
        help="fail, instead of skipping, where a C++ compiler or NVRTC is missing",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    _skip_without_compilers(config, items)
    if os.environ.get("IRONLEARN_DATA"):
        return
    if config.getoption("--require-data"):
        raise pytest.UsageError("--require-data needs IRONLEARN_DATA to point to the data sets")
    skip = pytest.mark.skip(reason="IRONLEARN_DATA is not set")
    for item in items:
        if "realdata" in item.keywords:
            item.add_marker(skip)


def _skip_without_compilers(config: pytest.Config, items: list[pytest.Item]) -> None:
    reasons = {}
    if compiler() is None:
        reasons["cxx"] = "the kernels' proof needs a C++ compiler (c++ or g++), none was found"
    if nvrtc.library() is None:
        reasons["nvrtc"] = "NVRTC was not found: pip install nvidia-cuda-nvrtc-cu12"
    if reasons and config.getoption("--require-compilers"):
        raise pytest.UsageError("; ".join(reasons.values()))
    for item in items:
        for name, reason in reasons.items():
            if name in item.keywords:
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real data sets."""
    return Path(os.environ["IRONLEARN_DATA"])
