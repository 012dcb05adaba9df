"""The device that the tests of this folder compute on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from ironlearn.nn.backend import get_device
from standin import cupy as standin_cupy
from standin.compiled import compiler


@pytest.fixture(params=["standin", pytest.param("gpu", marks=pytest.mark.gpu)])
def gpu(request: pytest.FixtureRequest) -> Iterator[Any]:
    """A GPU: its stand-in, and in runs with ``-m gpu`` a real one."""
    if request.param == "gpu":
        yield get_device("cuda")
        return
    if compiler() is None:
        pytest.fail("the kernels' proof needs a C++ compiler (c++ or g++) and found none")
    with standin_cupy.install():
        yield get_device("cuda")
