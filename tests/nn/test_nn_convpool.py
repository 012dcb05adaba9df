"""Convolution with pooling behind it: the kernel beside the base operations."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from ironlearn import _core
from ironlearn.nn.backend import get_device
from ironlearn.nn.backend.ops import Ops
from ironlearn.nn.backend.ops.activations import FUSED

BASE = Ops(np)
CPU = get_device("cpu").ops

sizes = st.integers(1, 9)


def _whole(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Return small whole numbers: exact in single precision, and full of ties."""
    return rng.integers(-2, 3, shape).astype(np.float32)


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(1, 40),
    size=st.tuples(sizes, sizes),
    channels=st.tuples(st.integers(1, 20), st.integers(1, 40)),
    kernel=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    padding=st.tuples(*[st.tuples(st.integers(0, 2), st.integers(0, 2))] * 2),
    activation=st.sampled_from(["relu", "linear"]),
    bias=st.booleans(),
    needs_x=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_equal_to_base(
    n: int,
    size: tuple[int, int],
    channels: tuple[int, int],
    kernel: tuple[int, int],
    padding: Any,
    activation: str,
    bias: bool,
    needs_x: bool,
    seed: int,
) -> None:
    height, width = size[0] + kernel[0], size[1] + kernel[1]
    rng = np.random.default_rng(seed)
    x, w = _whole(rng, n, height, width, channels[0]), _whole(rng, *kernel, *channels)
    b = _whole(rng, channels[1]) if bias else None
    options: dict[str, Any] = {"padding": padding, "activation": activation}
    y, argmax = CPU.conv2d_max_pool(x, w, b, **options)
    expected, places = BASE.conv2d_max_pool(x, w, b, **options)
    assert_array_equal(y, expected)
    assert_array_equal(argmax, places)
    assert (y.dtype, argmax.dtype) == (np.float32, np.int32)
    gy = _whole(rng, *y.shape)
    needs = (needs_x, True, bias)
    found = CPU.conv2d_max_pool_backward(gy, y, argmax, x, w, needs=needs, **options)
    wanted = BASE.conv2d_max_pool_backward(gy, y, argmax, x, w, needs=needs, **options)
    for one, other in zip(found, wanted, strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            assert_array_equal(one, other)


@pytest.mark.parametrize("activation", FUSED)
def test_every_activation(activation: str) -> None:
    rng = np.random.default_rng(3)
    x = rng.standard_normal((5, 9, 8, 3)).astype(np.float32)
    w = rng.standard_normal((3, 2, 3, 17)).astype(np.float32)
    b = rng.standard_normal(17).astype(np.float32)
    y, argmax = CPU.conv2d_max_pool(x, w, b, activation=activation)
    expected, places = BASE.conv2d_max_pool(x, w, b, activation=activation)
    assert_allclose(y, expected, rtol=1e-5, atol=1e-5)
    assert (argmax == places).mean() > 0.99
    gy = rng.standard_normal(y.shape).astype(np.float32)
    found = CPU.conv2d_max_pool_backward(gy, y, argmax, x, w, activation=activation)
    wanted = BASE.conv2d_max_pool_backward(gy, y, argmax, x, w, activation=activation)
    for one, other in zip(found, wanted, strict=True):
        assert_allclose(one, other, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("shape", "options"),
    [
        ((0, 6, 6, 2), {}),
        ((2, 6, 6, 2), {"pool": (3, 3)}),
        ((2, 7, 7, 2), {"stride": (2, 2)}),
    ],
)
def test_what_the_kernel_does_not_take(shape: tuple[int, ...], options: dict[str, Any]) -> None:
    rng = np.random.default_rng(4)
    x, w = _whole(rng, *shape), _whole(rng, 3, 3, 2, 4)
    expected = BASE.conv2d_max_pool(x, w, **options)
    found = CPU.conv2d_max_pool(x, w, **options)
    assert_allclose(found[0], expected[0], atol=1e-5)
    assert_array_equal(found[1], expected[1])


def test_threads_do_not_change_bits() -> None:
    rng = np.random.default_rng(5)
    x = rng.standard_normal((70, 14, 14, 8)).astype(np.float32)
    w = rng.standard_normal((3, 3, 8, 16)).astype(np.float32)
    answers = []
    for threads in (1, 3):
        y, argmax = np.empty((70, 6, 6, 16), np.float32), np.empty((70, 6, 6, 16), np.int32)
        options: dict[str, Any] = {
            "padding": ((0, 0), (0, 0)),
            "activation": "relu",
            "n_threads": threads,
        }
        _core.conv2d_max_pool(x, w, None, y, argmax, **options)
        gx, gw, gb = np.empty_like(x), np.empty_like(w), np.empty(16, np.float32)
        _core.conv2d_max_pool_backward(y, y, argmax, x, w, gx, gw, gb, **options)
        answers.append((y, argmax, gx, gw, gb))
    for one, three in zip(*answers, strict=True):
        assert_array_equal(one, three)


def test_bad_arrays_are_refused() -> None:
    x, w = np.zeros((2, 6, 6, 3), np.float32), np.zeros((3, 3, 3, 4), np.float32)
    y, argmax = np.zeros((2, 2, 2, 4), np.float32), np.zeros((2, 2, 2, 4), np.int32)
    options: dict[str, Any] = {
        "padding": ((0, 0), (0, 0)),
        "activation": "relu",
        "n_threads": 1,
    }
    with pytest.raises(ValueError, match="w"):
        _core.conv2d_max_pool(x, w[:, :, :2].copy(), None, y, argmax, **options)
    with pytest.raises(ValueError, match="y"):
        _core.conv2d_max_pool(x, w, None, y[:, :1].copy(), argmax, **options)
    with pytest.raises(ValueError, match="activation"):
        _core.conv2d_max_pool(x, w, None, y, argmax, **{**options, "activation": "gelu"})
    gx, gw, gb = np.empty_like(x), np.empty_like(w), np.empty(4, np.float32)
    argmax[1, 1, 1, 2] = 99
    with pytest.raises(ValueError, match="argmax"):
        _core.conv2d_max_pool_backward(y, y, argmax, x, w, gx, gw, gb, **options)
