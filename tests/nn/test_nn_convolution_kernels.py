"""The CPU's convolution and pooling against the base operations."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ironlearn.nn.backend import get_device
from ironlearn.nn.backend.ops import Ops
from ironlearn.nn.backend.ops.activations import FUSED
from ironlearn.nn.backend.ops.convolution import output_size

BASE = Ops(np)
CPU = get_device("cpu").ops


def _pair(low, high):
    return st.tuples(st.integers(low, high), st.integers(low, high))


def _numbers(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def _out(shape, kernel, stride, padding, dilation=(1, 1)):
    return tuple(
        output_size(shape[i + 1], kernel[i], stride[i], padding[i], dilation[i]) for i in range(2)
    )


def _close(got, expected, scale):
    assert got.dtype == expected.dtype
    assert got.shape == expected.shape
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5 * scale)


@st.composite
def _convolutions(draw):
    groups = draw(st.sampled_from([1, 1, 2, 5]))
    images = draw(st.integers(0, 3))
    height, width = draw(_pair(1, 12))
    inner, outer = draw(_pair(1, 9))
    if draw(st.booleans()):
        # Depthwise.
        inner = outer = 1
    kernel = (*draw(_pair(1, 4)), inner, outer * groups)
    geometry = {
        "stride": draw(_pair(1, 3)),
        "padding": draw(st.tuples(_pair(0, 3), _pair(0, 3))),
        "dilation": draw(_pair(1, 2)),
        "groups": groups,
    }
    return (images, height, width, inner * groups), kernel, geometry


@settings(max_examples=60, deadline=None)
@given(_convolutions(), st.sampled_from(FUSED), st.booleans())
def test_convolution_equals_base(case, activation, bias):
    shape, kernel, geometry = case
    x, w = _numbers(0, *shape), _numbers(1, *kernel)
    b = _numbers(2, kernel[3]) if bias else None
    y = BASE.conv2d(x, w, b, activation=activation, **geometry)
    scale = kernel[0] * kernel[1] * kernel[2]
    _close(CPU.conv2d(x, w, b, activation=activation, **geometry), y, scale)
    gy = _numbers(3, *y.shape)
    args = (gy, y, x, w)
    expected = BASE.conv2d_backward(*args, activation=activation, **geometry)
    found = CPU.conv2d_backward(*args, activation=activation, **geometry)
    for got, wanted in zip(found, expected, strict=True):
        _close(got, wanted, scale + gy.size)


def test_only_needed_gradients_are_computed():
    x, w = _numbers(0, 2, 6, 6, 3), _numbers(1, 3, 3, 3, 4)
    y = BASE.conv2d(x, w, activation="relu")
    gy = _numbers(2, *y.shape)
    for needs in [(True, False, False), (False, True, False), (False, False, True)]:
        for activation in ["linear", "relu"]:
            args = (gy, y if activation == "relu" else None, x, w)
            found = CPU.conv2d_backward(*args, activation=activation, needs=needs)
            expected = BASE.conv2d_backward(*args, activation=activation, needs=needs)
            for got, wanted, need in zip(found, expected, needs, strict=True):
                assert (got is not None) == need
                if need:
                    _close(got, wanted, 100)


@pytest.mark.parametrize(
    ("shape", "kernel", "stride", "same"),
    [
        ((2, 28, 28, 1), (3, 3, 1, 32), 1, True),
        ((2, 28, 28, 32), (3, 3, 32, 1), 1, True),
        ((1, 24, 24, 1), (9, 9, 1, 64), 1, True),
        ((1, 20, 20, 64), (5, 5, 64, 3), 1, True),
        ((2, 30, 31, 3), (7, 7, 3, 40), 2, False),
        ((1, 14, 14, 130), (3, 3, 130, 70), 1, True),
        ((9, 18, 17, 66), (3, 3, 66, 64), 1, True),
        ((9, 19, 18, 64), (3, 3, 64, 90), 1, False),
        ((3, 13, 11, 40), (1, 1, 40, 33), 1, False),
        ((3, 13, 11, 40), (1, 1, 40, 33), 2, False),
    ],
)
def test_shapes_of_networks(shape, kernel, stride, same):
    pad = (kernel[0] // 2, kernel[1] // 2) if same else (0, 0)
    geometry = {"stride": (stride, stride), "padding": (pad, pad)}
    x, w, b = _numbers(0, *shape), _numbers(1, *kernel), _numbers(2, kernel[3])
    w /= np.sqrt(w[..., 0].size)
    wide = [v.astype(np.float64) for v in (x, w, b)]
    y = BASE.conv2d(*wide, activation="relu", **geometry)
    got = CPU.conv2d(x, w, b, activation="relu", **geometry)
    np.testing.assert_allclose(got, y, atol=5e-5)
    gy = _numbers(3, *y.shape)
    # From the same outputs: a rectifier's slope jumps where they change their sign.
    expected = BASE.conv2d_backward(
        gy.astype(np.float64), got.astype(np.float64), *wide[:2], activation="relu", **geometry
    )
    found = CPU.conv2d_backward(gy, got, x, w, activation="relu", **geometry)
    for got, wanted in zip(found, expected, strict=True):
        np.testing.assert_allclose(got, wanted, atol=5e-5 * max(1.0, np.abs(wanted).max()))


def test_double_precision_and_other_activations_are_the_base_operation():
    x, w = _numbers(0, 2, 5, 5, 3).astype(np.float64), _numbers(1, 2, 2, 3, 4).astype(np.float64)
    assert np.array_equal(CPU.conv2d(x, w), BASE.conv2d(x, w))
    x, w = x.astype(np.float32), w.astype(np.float32)
    _close(CPU.conv2d(x, w, activation="gelu"), BASE.conv2d(x, w, activation="gelu"), 12)


def test_arrays_in_any_order():
    x, w = _numbers(0, 3, 4, 6, 5), _numbers(1, 5, 4, 3, 2)
    x, w = x.transpose(1, 2, 3, 0), w.transpose(3, 2, 1, 0)[:, :, :3]
    _close(CPU.conv2d(x[..., ::-1], w), BASE.conv2d(x[..., ::-1], w), 30)


def test_bad_arguments_are_named():
    x, w = _numbers(0, 1, 5, 5, 4), _numbers(1, 2, 2, 4, 4)
    with pytest.raises(ValueError, match=r"groups must be a divisor"):
        CPU.conv2d(x, w, groups=3)
    with pytest.raises(ValueError, match=r"w has 4 input channels"):
        CPU.conv2d(x, w, groups=2)
    with pytest.raises(ValueError, match=r"stride must be two integers of at least 1"):
        _raw(x, w, stride=(0, 1))
    with pytest.raises(ValueError, match=r"b has 3 elements, but 4 is needed"):
        CPU.conv2d(x, w, _numbers(2, 3))
    with pytest.raises(ValueError, match=r"gy has shape"):
        CPU.conv2d_grad_input(x, w, x.shape)


def _raw(x, w, stride):
    from ironlearn import _core

    _core.conv2d(
        x,
        w,
        None,
        np.empty((1, 4, 4, 4), np.float32),
        stride=stride,
        padding=((0, 0), (0, 0)),
        dilation=(1, 1),
        groups=1,
        activation="linear",
        n_threads=1,
    )


@st.composite
def _pools(draw):
    size = draw(_pair(1, 4))
    padding = tuple(
        (draw(st.integers(0, cells - 1)), draw(st.integers(0, cells - 1))) for cells in size
    )
    shape = (draw(st.integers(0, 3)), *draw(_pair(1, 10)), draw(st.integers(1, 40)))
    return shape, size, {"stride": draw(_pair(1, 4)), "padding": padding}


@settings(max_examples=60, deadline=None)
@given(_pools())
def test_pooling_equals_base(case):
    shape, size, geometry = case
    # Few different values, so that there are ties.
    x = np.random.default_rng(0).integers(-3, 3, shape).astype(np.float32)
    y, place = BASE.max_pool2d(x, size, **geometry)
    got, at = CPU.max_pool2d(x, size, **geometry)
    assert np.array_equal(got, y)
    assert at.dtype == np.int32
    assert np.array_equal(at, place)
    gy = _numbers(1, *y.shape)
    _close(
        CPU.max_pool2d_backward(gy, at, shape, size, **geometry),
        BASE.max_pool2d_backward(gy, place, shape, size, **geometry),
        size[0],
    )
    _close(CPU.avg_pool2d(x, size, **geometry), BASE.avg_pool2d(x, size, **geometry), 1)
    _close(
        CPU.avg_pool2d_backward(gy, shape, size, **geometry),
        BASE.avg_pool2d_backward(gy, shape, size, **geometry),
        size[0] * size[1],
    )


def test_nan_wins_the_maximum():
    x = np.array([[1, np.nan, 2, 3]], np.float32).reshape(1, 1, 4, 1)
    y, at = CPU.max_pool2d(x, (1, 2), stride=(1, 2))
    assert np.isnan(y[0, 0, 0, 0])
    assert at.ravel().tolist() == [1, 3]


def test_places_outside_the_image_are_refused():
    gy = np.ones((1, 1, 1, 1), np.float32)
    at = np.full((1, 1, 1, 1), 4, np.int32)
    with pytest.raises(ValueError, match=r"argmax has a place outside"):
        CPU.max_pool2d_backward(gy, at, (1, 2, 2, 1), (2, 2), stride=(2, 2))


def test_the_same_bits_for_any_number_of_threads(monkeypatch):
    x, w = _numbers(0, 5, 40, 40, 16), _numbers(1, 3, 3, 16, 24)
    gy = _numbers(2, 5, 38, 38, 24)
    answers = []
    for threads in ["1", "2"]:
        monkeypatch.setenv("IRONLEARN_NUM_THREADS", threads)
        y = CPU.conv2d(x, w, activation="relu")
        answers.append((y, *CPU.conv2d_backward(gy, y, x, w, activation="relu")))
    for one, two in zip(*answers, strict=True):
        assert np.array_equal(one, two)


@pytest.mark.parametrize(
    ("shape", "kernel", "stride", "padding"),
    [
        ((4, 20, 20, 32), (9, 9, 32, 64), (2, 2), ((0, 0), (0, 0))),
        ((3, 17, 16, 24), (7, 8, 24, 96), (3, 2), ((2, 1), (0, 3))),
        ((8, 12, 12, 40), (9, 9, 40, 64), (1, 1), ((0, 0), (0, 0))),
    ],
)
def test_large_kernels_scatter_their_gradient(
    shape: Any, kernel: Any, stride: Any, padding: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ironlearn.nn.backend.cpu import convolution

    monkeypatch.setattr(convolution, "_LARGE", 0)
    rng = np.random.default_rng(0)
    w = rng.standard_normal(kernel).astype(np.float32)
    y = CPU.conv2d(np.zeros(shape, np.float32), w, stride=stride, padding=padding)
    gy = rng.standard_normal(y.shape).astype(np.float32)
    assert convolution._is_sparse(gy, w, shape, stride, padding, (1, 1), 1)
    got = CPU.conv2d_grad_input(gy, w, shape, stride=stride, padding=padding)
    exact = BASE.conv2d_grad_input(
        gy.astype(np.float64), w.astype(np.float64), shape, stride=stride, padding=padding
    )
    assert got.shape == shape
    np.testing.assert_allclose(got, exact, rtol=1e-3, atol=1e-3)
