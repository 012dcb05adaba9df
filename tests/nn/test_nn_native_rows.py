"""Native softmax, cross-entropies, activations, affine maps and dropout against the base ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ironlearn.nn.backend import get_device
from ironlearn.nn.backend.ops import Ops
from ironlearn.nn.backend.ops.activations import FUSED, UNFUSED

BASE = Ops(np)
CPU = get_device("cpu").ops

ROWS = dict(
    shape=st.lists(st.integers(0, 9), min_size=1, max_size=3).map(tuple),
    width=st.integers(1, 80),
    dtype=st.sampled_from([np.float32, np.float64]),
    strided=st.booleans(),
    seed=st.integers(0, 10**6),
)


def draw(seed: int, shape: tuple[int, ...], dtype: Any, strided: bool, scale: float = 3.0) -> Any:
    rng = np.random.default_rng(seed)
    full = (*shape[:-1], shape[-1] * (2 if strided else 1))
    array = (scale * rng.standard_normal(full)).astype(dtype)
    return array[..., ::2] if strided else array


def close(have: Any, want: Any, dtype: Any) -> None:
    assert have.dtype == dtype
    assert have.shape == want.shape
    tolerance = 2e-5 if dtype == np.float32 else 1e-11
    np.testing.assert_allclose(have, want, rtol=tolerance, atol=tolerance)


@settings(max_examples=60)
@given(axis=st.sampled_from([-1, 0]), **ROWS)
def test_softmax(
    shape: tuple[int, ...], width: int, dtype: Any, strided: bool, seed: int, axis: int
) -> None:
    x = draw(seed, (*shape, width), dtype, strided)
    g = draw(seed + 1, (*shape, width), dtype, strided)
    if x.shape[axis] == 0:
        return
    x64, g64 = x.astype(np.float64), g.astype(np.float64)
    for name in ("softmax", "log_softmax"):
        y, y64 = getattr(CPU, name)(x, axis), getattr(BASE, name)(x64, axis)
        close(y, y64, dtype)
        backward = f"{name}_backward"
        have, want = getattr(CPU, backward)(g, y, axis), getattr(BASE, backward)(g64, y64, axis)
        close(have, want, dtype)


@settings(max_examples=60)
@given(
    rows=st.integers(0, 40),
    classes=st.integers(1, 200),
    smoothing=st.sampled_from([0.0, 0.1]),
    dtype=st.sampled_from([np.float32, np.float64]),
    index=st.sampled_from([np.int32, np.int64, np.uint8]),
    strided=st.booleans(),
    seed=st.integers(0, 10**6),
)
def test_softmax_cross_entropy(
    rows: int, classes: int, smoothing: float, dtype: Any, index: Any, strided: bool, seed: int
) -> None:
    logits = draw(seed, (rows, classes), dtype, strided)
    g = draw(seed + 1, (rows,), dtype, strided)
    targets = np.random.default_rng(seed).integers(0, classes, rows).astype(index)
    losses, p = CPU.softmax_cross_entropy(logits, targets, smoothing)
    want, p64 = BASE.softmax_cross_entropy(logits.astype(np.float64), targets, smoothing)
    close(losses, want, dtype)
    close(p, p64, dtype)
    close(
        CPU.softmax_cross_entropy_backward(p, targets, g, smoothing),
        BASE.softmax_cross_entropy_backward(p64, targets, g.astype(np.float64), smoothing),
        dtype,
    )


@pytest.mark.parametrize("bad", [-1, 3])
def test_a_target_that_is_no_class(bad: int) -> None:
    logits = np.zeros((2, 3), np.float32)
    with pytest.raises(ValueError, match=f"targets must be classes from 0 to 2, got {bad}"):
        CPU.softmax_cross_entropy(logits, np.array([0, bad]))


@settings(max_examples=60)
@given(**ROWS)
def test_sigmoid_cross_entropy(
    shape: tuple[int, ...], width: int, dtype: Any, strided: bool, seed: int
) -> None:
    z = draw(seed, (*shape, width), dtype, strided, 20.0)
    t = np.random.default_rng(seed).random(z.shape).astype(dtype)
    g = draw(seed + 1, (*shape, width), dtype, strided)
    z64, t64, g64 = (a.astype(np.float64) for a in (z, t, g))
    close(CPU.sigmoid_cross_entropy(z, t), BASE.sigmoid_cross_entropy(z64, t64), dtype)
    close(
        CPU.sigmoid_cross_entropy_backward(z, t, g),
        BASE.sigmoid_cross_entropy_backward(z64, t64, g64),
        dtype,
    )


@pytest.mark.parametrize("name", FUSED + UNFUSED)
@settings(max_examples=30)
@given(**ROWS)
def test_activations(
    name: str, shape: tuple[int, ...], width: int, dtype: Any, strided: bool, seed: int
) -> None:
    x = draw(seed, (*shape, width), dtype, strided, 4.0)
    g = draw(seed + 1, (*shape, width), dtype, strided)
    x64, g64 = x.astype(np.float64), g.astype(np.float64)
    y, y64 = CPU.activation(x, name), BASE.activation(x64, name)
    close(y, y64, dtype)
    if name in FUSED:
        have, want = (
            CPU.activation_backward(g, y, name),
            BASE.activation_backward(g64, y64, name),
        )
    else:
        have = CPU.activation_input_backward(g, x, name)
        want = BASE.activation_input_backward(g64, x64, name)
    close(have, want, dtype)


@settings(max_examples=60)
@given(
    rows=st.integers(0, 60),
    inputs=st.integers(1, 20),
    units=st.integers(1, 40),
    activation=st.sampled_from(FUSED + UNFUSED),
    bias=st.booleans(),
    dtype=st.sampled_from([np.float32, np.float64]),
    strided=st.booleans(),
    seed=st.integers(0, 10**6),
)
def test_affine(
    rows: int,
    inputs: int,
    units: int,
    activation: str,
    bias: bool,
    dtype: Any,
    strided: bool,
    seed: int,
) -> None:
    x = draw(seed, (rows, inputs), dtype, strided, 1.0)
    w = draw(seed + 1, (inputs, units), dtype, strided, 1.0)
    b = draw(seed + 2, (units,), dtype, strided, 1.0) if bias else None
    gy = draw(seed + 3, (rows, units), dtype, strided, 1.0)
    wide = [None if a is None else a.astype(np.float64) for a in (x, w, b, gy)]
    y = CPU.affine(x, w, b, activation)
    y64 = BASE.affine(wide[0], wide[1], wide[2], activation)
    close(y, y64, dtype)
    if activation in UNFUSED:
        return
    # Outputs that are 0 up to rounding may lie on either side of a kink.
    away = np.abs(y64) > 1e-5
    have = CPU.affine_backward(gy * away, x, w, y, activation)
    want = BASE.affine_backward(wide[3] * away, wide[0], wide[1], y64, activation)
    for h, w64 in zip(have, want, strict=True):
        tolerance = 1e-3 if dtype == np.float32 else 1e-10
        assert h.dtype == dtype
        np.testing.assert_allclose(h, w64, rtol=tolerance, atol=tolerance)


@settings(max_examples=40)
@given(
    shape=st.lists(st.integers(0, 40), min_size=1, max_size=3).map(tuple),
    rate=st.sampled_from([0.1, 0.25, 0.5, 0.9]),
    dtype=st.sampled_from([np.float32, np.float64]),
    seed=st.integers(0, 2**63),
    task=st.integers(0, 2**63),
)
def test_dropout_drops_the_same_cells(
    shape: tuple[int, ...], rate: float, dtype: Any, seed: int, task: int
) -> None:
    mask = BASE.dropout_mask(seed, task, shape, rate, dtype)
    have = CPU.dropout_mask(seed, task, shape, rate, dtype)
    assert have.dtype == dtype
    np.testing.assert_array_equal(have, mask)
    x = draw(seed % 1000, shape, dtype, False)
    np.testing.assert_array_equal(CPU.dropout(x, seed, task, rate), x * mask)


def test_large_arrays_in_parallel() -> None:
    # Large enough for several chunks and threads.
    x = draw(0, (700, 300), np.float32, False)
    g = draw(1, (700, 300), np.float32, False)
    close(CPU.softmax(x), BASE.softmax(x.astype(np.float64)), np.float32)
    close(CPU.activation(x, "silu"), BASE.activation(x.astype(np.float64), "silu"), np.float32)
    gamma, beta = draw(2, (300,), np.float32, False), draw(3, (300,), np.float32, False)
    wide = [a.astype(np.float64) for a in (x, g, gamma, beta)]
    y, mean, var = CPU.batch_norm(x, gamma, beta)
    want = BASE.batch_norm(wide[0], wide[2], wide[3])
    for h, w in zip((y, mean, var), want, strict=True):
        np.testing.assert_allclose(h, w, rtol=1e-4, atol=1e-4)
    have = CPU.batch_norm_backward(g, x, y, gamma, mean, var)
    for h, w in zip(
        have, BASE.batch_norm_backward(wide[1], wide[0], want[0], wide[2], *want[1:]), strict=True
    ):
        np.testing.assert_allclose(h, w, rtol=1e-3, atol=1e-3)
    y, mean, rstd = CPU.layer_norm(x, gamma, beta)
    for h, w in zip(
        CPU.layer_norm_backward(g, x, gamma, mean, rstd),
        BASE.layer_norm_backward(
            wide[1], wide[0], wide[2], *BASE.layer_norm(wide[0], wide[2], wide[3])[1:]
        ),
        strict=True,
    ):
        np.testing.assert_allclose(h, w, rtol=1e-3, atol=1e-3)
