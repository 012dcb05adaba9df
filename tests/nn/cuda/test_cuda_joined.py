"""Passes over many arrays at once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ironlearn.nn.backend import get_device, joined
from ironlearn.nn.backend.joined import copied, scaled, total

_rng = np.random.default_rng(0)
_SHAPES = ((3,), (0, 4), (5, 7), (), (64,), (2, 3, 50), (40, 40))


def _arrays(dtype: Any = np.float32) -> list[Any]:
    return [_rng.standard_normal(shape).astype(dtype) for shape in _SHAPES]


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the largest array be too large to be joined."""
    monkeypatch.setattr(joined, "_SMALL", 4000)


def test_sums(gpu: Any) -> None:
    host = _arrays(np.float64)
    for squared in (False, True):
        expected = sum(float((a**2 if squared else a).sum()) for a in host)
        for device in (gpu, get_device("cpu")):
            got = total(device, [device.send(a) for a in host], squared=squared)
            assert got.shape == ()
            assert float(device.receive(got)) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("scale", [1.0, 0.25, "there"])
def test_casts(gpu: Any, scale: Any) -> None:
    host = [*_arrays(), np.float64(3.0) * np.ones(5)]
    arrays = [gpu.send(a) for a in host]
    factor = gpu.send(np.array(0.25, np.float32)) if scale == "there" else scale
    got = scaled(gpu, arrays, np.dtype(np.float16), factor)
    for one, array in zip(got, host, strict=True):
        expected = array.astype(np.float16) * np.float16(1.0 if scale == 1.0 else 0.25)
        assert (one.dtype, one.shape) == (np.float16, array.shape)
        assert one.flags.c_contiguous
        np.testing.assert_array_equal(gpu.receive(one), expected)


def test_copies(gpu: Any) -> None:
    host = [*_arrays(), np.arange(7), *_arrays(np.float16)]
    arrays = [gpu.send(a) for a in host]
    copies = copied(gpu, arrays)
    for array in arrays:
        array[...] = 0
    for copy, array in zip(copies, host, strict=True):
        assert (copy.dtype, copy.shape) == (array.dtype, array.shape)
        np.testing.assert_array_equal(gpu.receive(copy), array)
    # None of them shares its elements with another.
    copies[0][...] = 9
    np.testing.assert_array_equal(gpu.receive(copies[2]), host[2])
    assert copied(gpu, []) == []
