"""The tape, and the gradient of every elementary function."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from ironlearn.nn import functional as F
from ironlearn.nn.autograd import Function, Tensor, backward, no_grad
from ironlearn.nn.backend import get_device
from ironlearn.nn.backend.ops.activations import FUSED, UNFUSED
from ironlearn.nn.functional.capsules import routing, squash
from nn.gradcheck import check_gradients

RNG = np.random.default_rng(7)


def normal(*shape: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(sum(shape) + len(shape)).standard_normal(shape)


def positive(*shape: int) -> np.ndarray[Any, Any]:
    return np.abs(normal(*shape)) + 0.5


CASES: dict[str, tuple[Callable[..., Tensor], list[np.ndarray[Any, Any]]]] = {
    "add": (F.add, [normal(3, 4), normal(4)]),
    "sub": (F.sub, [normal(3, 1), normal(3, 4)]),
    "mul": (F.mul, [normal(2, 3, 4), normal(3, 1)]),
    "mul a number": (lambda x: F.mul(2.5, x), [normal(3)]),
    "div": (F.div, [normal(3, 4), positive(1, 4)]),
    "maximum": (F.maximum, [normal(5, 4), normal(4) + 0.1]),
    "power": (lambda x: F.power(x, 3.0), [positive(4)]),
    "exp": (F.exp, [normal(3, 2)]),
    "log": (F.log, [positive(3, 2)]),
    "sqrt": (F.sqrt, [positive(3, 2)]),
    "abs": (F.abs, [normal(3, 2)]),
    "square twice used": (lambda x: F.add(F.square(x), x), [normal(3)]),
    "clip": (lambda x: F.clip(x, -0.5, 0.5), [normal(10)]),
    "sum": (lambda x: F.sum(x, axis=1), [normal(2, 3, 4)]),
    "sum keepdims": (lambda x: F.sum(x, axis=(0, 2), keepdims=True), [normal(2, 3, 4)]),
    "sum negative axis": (lambda x: F.sum(x, axis=(-1, 0)), [normal(2, 3, 4)]),
    "mean": (lambda x: F.mean(x, axis=-1), [normal(2, 3)]),
    "reshape": (lambda x: F.reshape(x, (3, -1)), [normal(2, 6)]),
    "transpose": (lambda x: F.transpose(x, (2, 0, -2)), [normal(2, 3, 4)]),
    "concatenate": (lambda a, b: F.concatenate([a, b], axis=1), [normal(2, 3), normal(2, 1)]),
    "stack": (lambda a, b: F.stack([a, b], axis=1), [normal(2, 3), normal(2, 3)]),
    "getitem slice": (lambda x: F.getitem(x, (slice(1, 3), 0)), [normal(4, 3)]),
    "getitem rows": (lambda x: F.getitem(x, np.array([0, 2, 0])), [normal(4, 3)]),
    "pad": (lambda x: F.pad(x, ((1, 0), (0, 2))), [normal(2, 3)]),
    "matmul": (F.matmul, [normal(2, 3, 4), normal(4, 5)]),
    "matmul broadcast": (F.matmul, [normal(3, 4), normal(2, 4, 2)]),
    "affine": (F.affine, [normal(3, 4), normal(4, 2), normal(2)]),
    "affine 3d": (lambda x, w: F.affine(x, w), [normal(2, 3, 4), normal(4, 2)]),
    "softmax": (F.softmax, [normal(3, 4)]),
    "softmax axis": (lambda x: F.softmax(x, axis=1), [normal(2, 3, 4)]),
    "log_softmax": (F.log_softmax, [normal(3, 4)]),
    "softmax_cross_entropy": (
        lambda x: F.softmax_cross_entropy(x, np.array([0, 2, 1]), 0.1),
        [normal(3, 4)],
    ),
    "sigmoid_cross_entropy": (
        lambda x: F.sigmoid_cross_entropy(x, np.array([0.0, 1.0, 0.3])),
        [normal(3)],
    ),
    "upsample2d": (lambda x: F.upsample2d(x, (2, 3)), [normal(2, 2, 3, 2)]),
    "pixel_shuffle": (lambda x: F.pixel_shuffle(x, 2), [normal(2, 2, 3, 8)]),
    "max_pool2d": (
        lambda x: F.max_pool2d(x, (2, 3), stride=(1, 2), padding=((1, 0), (0, 1))),
        [normal(2, 5, 6, 3)],
    ),
    "avg_pool2d": (
        lambda x: F.avg_pool2d(x, (3, 2), stride=(2, 1), padding=((1, 1), (0, 1))),
        [normal(2, 5, 6, 3)],
    ),
    "conv2d": (F.conv2d, [normal(2, 5, 6, 3), normal(3, 2, 3, 4), normal(4)]),
    "conv2d everything": (
        lambda x, w, b: F.conv2d(
            x,
            w,
            b,
            stride=(2, 1),
            padding=((1, 2), (0, 1)),
            dilation=(1, 2),
            groups=2,
            activation="tanh",
        ),
        [normal(2, 6, 7, 4), normal(3, 2, 2, 6), normal(6)],
    ),
    "conv2d_max_pool": (
        lambda x, w, b: F.conv2d_max_pool(
            x, w, b, padding=((1, 1), (1, 1)), activation="elu", pool=(2, 2)
        ),
        [normal(2, 5, 6, 3), normal(3, 3, 3, 4), normal(4)],
    ),
    "conv2d_transpose": (
        lambda x, w, b: F.conv2d_transpose(
            x,
            w,
            b,
            output_size=(7, 9),
            stride=(2, 2),
            padding=((1, 0), (0, 1)),
            activation="sigmoid",
        ),
        [normal(2, 3, 4, 3), normal(4, 4, 2, 3), normal(2)],
    ),
    "dropout": (lambda x: F.dropout(x, 0.4, seed=1, task=2), [normal(5, 4)]),
    "squash": (squash, [normal(2, 3, 4)]),
    "routing once": (lambda x: routing(x, 1), [normal(2, 3, 4, 2)]),
    "routing": (lambda x: routing(x, 3), [normal(2, 3, 4, 2)]),
    "gaussian_noise": (lambda x: F.gaussian_noise(x, 0.4, seed=1, task=2), [normal(5, 4)]),
}
for _name in (*FUSED, *UNFUSED):
    CASES[f"activation {_name}"] = (
        lambda x, name=_name: F.activation(x, name),
        [normal(4, 5)],
    )


@pytest.mark.parametrize("case", CASES)
def test_gradient(case: str) -> None:
    function, inputs = CASES[case]
    check_gradients(function, inputs)


@pytest.mark.parametrize("case", [c for c in CASES if c != "getitem rows" and "cross" not in c])
def test_the_strict_device_gives_the_same(case: str) -> None:
    function, inputs = CASES[case]
    answers = []
    for name in ("cpu", "strict"):
        device = get_device(name)
        tensors = [Tensor(device.send(x), requires_grad=True) for x in inputs]
        y = function(*tensors)
        backward(y, device.send(np.ones(y.shape)))
        answers.append([device.receive(a) for a in [y.data, *[t.grad for t in tensors]]])
    for ours, theirs in zip(*answers, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("case", CASES)
def test_inputs_are_left_alone_and_dtypes_kept(case: str) -> None:
    function, inputs = CASES[case]
    for dtype in (np.float32, np.float64):
        given = [np.array(x, dtype) for x in inputs]
        tensors = [Tensor(np.array(x), requires_grad=True) for x in given]
        y = function(*tensors)
        assert y.dtype == dtype
        backward(y, np.ones(y.shape, dtype))
        for x, t in zip(given, tensors, strict=True):
            np.testing.assert_array_equal(t.data, x)
            assert t.grad is not None
            assert t.grad.dtype == dtype
            assert t.grad.shape == x.shape


def test_gradients_of_several_walks_add_up() -> None:
    x = Tensor(np.array([2.0]), requires_grad=True)
    for _ in range(2):
        backward(F.square(x))
    assert x.grad == 8.0


def test_a_tape_is_walked_once() -> None:
    x = Tensor(np.array([2.0]), requires_grad=True)
    y = F.square(x)
    backward(y)
    with pytest.raises(RuntimeError, match="walked already"):
        backward(y)


def test_backward_of_an_array_needs_a_gradient_of_its_shape() -> None:
    x = Tensor(np.ones(3), requires_grad=True)
    with pytest.raises(ValueError, match=r"shape \(3,\) needs grad"):
        backward(F.square(x))
    with pytest.raises(ValueError, match=r"shape \(3,\), got \(2,\)"):
        backward(F.square(x), np.ones(2))


def test_no_grad_leaves_no_nodes() -> None:
    x = Tensor(np.ones(3), requires_grad=True)
    with no_grad():
        y = F.square(x)
    assert y._node is None


def test_long_chains_do_not_recurse() -> None:
    x = y = Tensor(np.ones(1), requires_grad=True)
    for _ in range(5000):
        y = F.add(y, 0.0)
    backward(y)
    assert x.grad == 1.0


def test_nodes_are_freed_without_the_collector() -> None:
    class Watched(Function):
        @staticmethod
        def forward(ctx: Any, ops: Any, x: Any) -> Any:
            ctx.save(x)
            return x + 1

        @staticmethod
        def backward(ctx: Any, ops: Any, g: Any) -> Any:
            return g

    gc.collect()
    gc.disable()
    try:
        x = Tensor(np.ones(3), requires_grad=True)
        y = Watched.apply(x)
        node = weakref.ref(y)
        del y
        assert node() is None
    finally:
        gc.enable()


def test_devices_do_not_mix() -> None:
    a = Tensor(np.ones(3))
    b = Tensor(get_device("strict").send(np.ones(3)))
    with pytest.raises(ValueError, match=r"two devices.*cpu and strict"):
        F.add(a, b)


def test_unknown_devices_are_refused() -> None:
    with pytest.raises(ValueError, match="'cpu', 'cuda', 'cuda:<n>' or 'auto', got 'gpu'"):
        get_device("gpu")


def test_the_strict_device_refuses_hidden_transfers() -> None:
    x = get_device("strict").send(np.ones(3))
    for act in (
        lambda: float(x[0]),
        lambda: bool(x[0]),
        lambda: int(x[0]),
        lambda: np.asarray(x),
        lambda: x[0].item(),
        lambda: x.tolist(),
        lambda: x + np.ones(3),
        lambda: range(3)[x[0]],
    ):
        with pytest.raises(TypeError):
            act()


def test_the_complementary_error_function() -> None:
    import math

    x = np.concatenate([np.linspace(-6, 27, 2000), [0.0, 0.46875, 4.0, -0.46875, -4.0, 1e300]])
    expected = np.array([math.erfc(v) for v in x])
    ops = get_device("cpu").ops
    np.testing.assert_allclose(ops.erfc(x), expected, rtol=1e-13, atol=1e-300)
    small = x < 9
    single = ops.erfc(x[small].astype(np.float32))
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, expected[small], rtol=3e-5, atol=1e-37)
