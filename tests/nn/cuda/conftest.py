"""The device that the tests of this folder compute on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ironlearn.nn.backend import get_device
from standin import cupy as standin_cupy


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what runs kernels on the CPU; the hook sees the items of all folders."""
    for item in items:
        if item.path.parent == Path(__file__).parent and "nvrtc" not in item.keywords:
            item.add_marker("cxx")


@pytest.fixture(params=["standin", pytest.param("gpu", marks=pytest.mark.gpu)])
def gpu(request: pytest.FixtureRequest) -> Iterator[Any]:
    """A GPU: its stand-in, and in runs with ``-m gpu`` a real one."""
    if request.param == "gpu":
        yield get_device("cuda")
        return
    with standin_cupy.install():
        yield get_device("cuda")
