"""An override of the CPU's takes what the base operation takes, and falls back to it."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

from ironlearn.nn.backend import get_device
from ironlearn.nn.backend.cpu import CpuOps
from ironlearn.nn.backend.ops import Ops

OVERRIDES = sorted(
    name
    for name in dir(Ops)
    if not name.startswith("_") and getattr(CpuOps, name) is not getattr(Ops, name)
)


def test_there_are_overrides_of_every_family() -> None:
    assert {"adam" if name == "optimizer_step" else name for name in OVERRIDES} >= {
        "adam",
        "conv2d",
        "max_pool2d",
        "lstm",
        "layer_norm",
        "attention",
        "embedding",
    }


@pytest.mark.parametrize("name", OVERRIDES)
def test_signatures_are_the_same(name: str) -> None:
    base = inspect.signature(getattr(Ops, name)).parameters
    own = inspect.signature(getattr(CpuOps, name)).parameters
    assert list(own) == list(base)
    for key in base:
        assert own[key].kind == base[key].kind, key
        assert own[key].default == base[key].default, key


def test_public_operations_are_defined_in_the_base() -> None:
    extra = {n for n in dir(CpuOps) if not n.startswith("_")} - set(dir(Ops))
    assert not extra, "an operation that only the CPU has cannot run elsewhere"


def test_double_precision_is_the_base_operation() -> None:
    cpu, base = get_device("cpu").ops, Ops(np)
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((2, 5, 5, 3)), rng.standard_normal((3, 3, 3, 4))
    np.testing.assert_array_equal(cpu.conv2d(x, w), base.conv2d(x, w))
    g = rng.standard_normal(6)
    for a, b in zip(
        cpu.layer_norm(x.reshape(-1, 3), g[:3], g[3:]),
        base.layer_norm(x.reshape(-1, 3), g[:3], g[3:]),
        strict=True,
    ):
        np.testing.assert_array_equal(a, b)
