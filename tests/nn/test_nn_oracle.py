"""PyTorch as judge: forward, gradients and ten training steps, in float32.

Run on purpose: ``pytest -m oracle tests/nn``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from ironlearn.nn import functional as F
from ironlearn.nn import layers as L
from ironlearn.nn.autograd import Tensor, backward
from ironlearn.nn.layers import Sequential
from ironlearn.nn.layers.sequential import initialize
from ironlearn.nn.losses import get_loss
from ironlearn.nn.optimizers import SGD, Adagrad, Adam, AdamW, RMSprop

pytestmark = pytest.mark.oracle
torch = pytest.importorskip("torch")

TOLERANCE = {"rtol": 2e-4, "atol": 2e-5}


def nchw(x: Any) -> Any:
    return np.ascontiguousarray(np.moveaxis(x, -1, 1))


def nhwc(x: Any) -> Any:
    return np.moveaxis(x, 1, -1)


def same(x: Any) -> Any:
    return x


def kernel(w: Any) -> Any:
    """Turn (height, width, in, out) into (out, in, height, width)."""
    return np.ascontiguousarray(w.transpose(3, 2, 0, 1))


def transposed_kernel(w: Any) -> Any:
    """Turn (height, width, out, in) into (in, out, height, width)."""
    return np.ascontiguousarray(w.transpose(3, 2, 0, 1))


# name: our layer, input shape, PyTorch's module, order of axes in and out, and how each of our
# parameters becomes one of PyTorch's.
CASES: dict[str, tuple[Any, tuple[int, ...], Any, Any, Any, list[Any]]] = {
    "dense": (
        lambda: L.Dense(5, "tanh"),
        (7,),
        lambda: torch.nn.Sequential(torch.nn.Linear(7, 5), torch.nn.Tanh()),
        same,
        same,
        [np.transpose, same],
    ),
    "conv2d": (
        lambda: L.Conv2D(6, (3, 2), (2, 1), 1, "relu"),
        (9, 8, 4),
        lambda: torch.nn.Sequential(torch.nn.Conv2d(4, 6, (3, 2), (2, 1), 1), torch.nn.ReLU()),
        nchw,
        nhwc,
        [kernel, same],
    ),
    "conv2d wide": (
        lambda: L.Conv2D(64, 3, activation="relu"),
        (13, 13, 32),
        lambda: torch.nn.Sequential(torch.nn.Conv2d(32, 64, 3), torch.nn.ReLU()),
        nchw,
        nhwc,
        [kernel, same],
    ),
    "conv2d dilated groups": (
        lambda: L.Conv2D(8, 3, padding=2, dilation_rate=2, groups=4, activation="sigmoid"),
        (9, 8, 4),
        lambda: torch.nn.Sequential(torch.nn.Conv2d(4, 8, 3, 1, 2, 2, 4), torch.nn.Sigmoid()),
        nchw,
        nhwc,
        [kernel, same],
    ),
    "depthwise": (
        lambda: L.DepthwiseConv2D(3, padding=1, depth_multiplier=2),
        (6, 7, 5),
        lambda: torch.nn.Conv2d(5, 10, 3, padding=1, groups=5),
        nchw,
        nhwc,
        [kernel, same],
    ),
    "conv2d transpose": (
        lambda: L.Conv2DTranspose(6, 3, 2, activation="elu"),
        (5, 4, 3),
        lambda: torch.nn.Sequential(torch.nn.ConvTranspose2d(3, 6, 3, 2), torch.nn.ELU()),
        nchw,
        nhwc,
        [transposed_kernel, same],
    ),
    "conv1d": (
        lambda: L.Conv1D(6, 3, 2),
        (11, 4),
        lambda: torch.nn.Conv1d(4, 6, 3, 2),
        nchw,
        nhwc,
        [lambda w: kernel(w)[:, :, 0], same],
    ),
    "max pool": (
        lambda: L.MaxPool2D(3, 2, 1),
        (9, 8, 4),
        lambda: torch.nn.MaxPool2d(3, 2, 1),
        nchw,
        nhwc,
        [],
    ),
    "avg pool": (
        lambda: L.AvgPool2D(3, 2, 1),
        (9, 8, 4),
        lambda: torch.nn.AvgPool2d(3, 2, 1, count_include_pad=False),
        nchw,
        nhwc,
        [],
    ),
    "pixel shuffle": (
        lambda: L.PixelShuffle(2),
        (3, 4, 4),
        lambda: torch.nn.PixelShuffle(2),
        nchw,
        nhwc,
        [],
    ),
    "upsample": (
        lambda: L.UpSample2D(3),
        (3, 4, 2),
        lambda: torch.nn.Upsample(scale_factor=3),
        nchw,
        nhwc,
        [],
    ),
    "layer norm": (
        lambda: L.LayerNorm(),
        (4, 6),
        lambda: torch.nn.LayerNorm(6),
        same,
        same,
        [same, same],
    ),
    "group norm": (
        lambda: L.GroupNorm(3),
        (4, 5, 6),
        lambda: torch.nn.GroupNorm(3, 6),
        nchw,
        nhwc,
        [same, same],
    ),
    "batch norm": (
        lambda: L.BatchNorm(),
        (4, 5, 6),
        lambda: torch.nn.BatchNorm2d(6),
        nchw,
        nhwc,
        [same, same],
    ),
}
for _name, _module in {
    "gelu": lambda: torch.nn.GELU(),
    "gelu_tanh": lambda: torch.nn.GELU("tanh"),
    "relu6": lambda: torch.nn.ReLU6(),
    "silu": lambda: torch.nn.SiLU(),
    "softplus": lambda: torch.nn.Softplus(),
    "elu": lambda: torch.nn.ELU(),
    "leaky_relu": lambda: torch.nn.LeakyReLU(0.01),
    "softmax": lambda: torch.nn.Softmax(-1),
}.items():
    CASES[f"activation {_name}"] = (
        lambda name=_name: L.Activation(name),
        (4, 9),
        _module,
        same,
        same,
        [],
    )


def both(case: str) -> tuple[Any, Any, np.ndarray[Any, Any], Any, Any, list[Any]]:
    make, shape, module, into, out, converts = CASES[case]
    layer = initialize(make(), shape, 1)
    theirs = module()
    with torch.no_grad():
        for p, convert, q in zip(layer.parameters(), converts, theirs.parameters(), strict=True):
            p.data = p.data + 0.1  # so that biases and gains count
            q.copy_(torch.from_numpy(np.array(convert(p.data))))
    x = np.random.default_rng(2).standard_normal((3, *shape)).astype(np.float32)
    return layer, theirs, x, into, out, converts


@pytest.mark.parametrize("case", CASES)
def test_outputs_and_gradients(case: str) -> None:
    layer, theirs, x, into, out, converts = both(case)
    ours = Tensor(x, requires_grad=True)
    y = layer(ours, L.Mode(training=True))
    given = torch.from_numpy(np.array(into(x))).requires_grad_()
    z = theirs(given)
    np.testing.assert_allclose(y.data, out(z.detach().numpy()), **TOLERANCE)
    form = np.random.default_rng(3).standard_normal(y.shape).astype(np.float32)
    backward(y, form)
    z.backward(torch.from_numpy(np.array(into(form))))
    np.testing.assert_allclose(ours.grad, out(given.grad.numpy()), **TOLERANCE)
    for p, convert, q in zip(layer.parameters(), converts, theirs.parameters(), strict=True):
        np.testing.assert_allclose(convert(p.grad), q.grad.numpy(), **TOLERANCE)


@pytest.mark.parametrize("case", [case for case in CASES if CASES[case][-1]])
def test_ten_training_steps(case: str) -> None:
    layer, theirs, x, into, _, converts = both(case)
    goal = np.random.default_rng(4).standard_normal(layer(Tensor(x)).shape).astype(np.float32)
    optimizer = SGD(0.05, 0.9).bind(layer.parameters())
    other = torch.optim.SGD(theirs.parameters(), 0.05, 0.9)
    for _ in range(10):
        loss = F.mean(F.square(F.sub(layer(Tensor(x), L.Mode(training=True)), Tensor(goal))))
        backward(loss)
        optimizer.step()
        other.zero_grad()
        value = torch.nn.functional.mse_loss(
            theirs(torch.from_numpy(np.array(into(x)))), torch.from_numpy(np.array(into(goal)))
        )
        value.backward()
        other.step()
        np.testing.assert_allclose(loss.data, value.item(), rtol=1e-4, atol=1e-6)
    for p, convert, q in zip(layer.parameters(), converts, theirs.parameters(), strict=True):
        np.testing.assert_allclose(convert(p.data), q.detach().numpy(), rtol=1e-3, atol=1e-4)


OPTIMIZERS: dict[str, tuple[Callable[[], Any], Callable[[Any], Any]]] = {
    "sgd": (lambda: SGD(0.1), lambda p: torch.optim.SGD(p, 0.1)),
    "momentum": (lambda: SGD(0.1, 0.9), lambda p: torch.optim.SGD(p, 0.1, 0.9)),
    "nesterov": (
        lambda: SGD(0.1, 0.9, True),
        lambda p: torch.optim.SGD(p, 0.1, 0.9, nesterov=True),
    ),
    "l2": (lambda: SGD(0.1, l2=0.2), lambda p: torch.optim.SGD(p, 0.1, weight_decay=0.2)),
    "rmsprop": (
        lambda: RMSprop(0.01, 0.9, 1e-7),
        lambda p: torch.optim.RMSprop(p, 0.01, 0.9, 1e-7),
    ),
    "adam": (lambda: Adam(0.01), lambda p: torch.optim.Adam(p, 0.01)),
    "adamw": (
        lambda: AdamW(0.01, weight_decay=0.1),
        lambda p: torch.optim.AdamW(p, 0.01, weight_decay=0.1),
    ),
    "adagrad": (
        lambda: Adagrad(0.1, 1e-7),
        lambda p: torch.optim.Adagrad(p, 0.1, eps=1e-7),
    ),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers(name: str) -> None:
    make, other = OPTIMIZERS[name]
    start = np.random.default_rng(0).standard_normal((40, 30)).astype(np.float32)
    p = L.Parameter(start.copy(), "kernel")
    q = torch.from_numpy(start.copy()).requires_grad_()
    ours, theirs = make().bind([p]), other([q])
    for step in range(10):
        g = np.random.default_rng(step).standard_normal(start.shape).astype(np.float32)
        p.grad = g.copy()
        ours.step()
        q.grad = torch.from_numpy(g.copy())
        theirs.step()
    np.testing.assert_allclose(p.data, q.detach().numpy(), rtol=1e-4, atol=1e-5)


T = torch.nn.functional
LOGITS = np.random.default_rng(5).standard_normal((6, 4)).astype(np.float32)
CODES = np.array([0, 3, 1, 1, 2, 0])
LOSSES: dict[str, tuple[Any, Any, Any]] = {
    "cross_entropy": (get_loss("cross_entropy"), CODES, T.cross_entropy),
    "smoothed": (
        get_loss("cross_entropy", label_smoothing=0.1),
        CODES,
        lambda x, y: T.cross_entropy(x, y, label_smoothing=0.1),
    ),
    "binary": (
        get_loss("binary_cross_entropy"),
        (LOGITS > 0.2).astype(np.float32),
        T.binary_cross_entropy_with_logits,
    ),
    "mse": (get_loss("mse"), LOGITS[::-1].copy(), T.mse_loss),
    "mae": (get_loss("mae"), LOGITS[::-1].copy(), T.l1_loss),
    "huber": (
        get_loss("huber", delta=0.6),
        LOGITS[::-1].copy(),
        lambda x, y: T.huber_loss(x, y, delta=0.6),
    ),
    "kl": (
        get_loss("kl_divergence"),
        np.abs(LOGITS) / np.abs(LOGITS).sum(axis=1, keepdims=True),
        lambda x, y: T.kl_div(T.log_softmax(x, 1), y, reduction="batchmean"),
    ),
}


@pytest.mark.parametrize("name", LOSSES)
def test_losses(name: str) -> None:
    loss, target, theirs = LOSSES[name]
    x = Tensor(LOGITS.copy(), requires_grad=True)
    y = loss(x, target)
    backward(y)
    given = torch.from_numpy(LOGITS.copy()).requires_grad_()
    z = theirs(given, torch.from_numpy(np.array(target)))
    z.backward()
    np.testing.assert_allclose(y.data, z.item(), rtol=1e-5)
    np.testing.assert_allclose(x.grad, given.grad.numpy(), rtol=1e-4, atol=1e-6)


def test_ctc() -> None:
    rng = np.random.default_rng(0)
    logits = rng.standard_normal((4, 9, 5)).astype(np.float32)
    targets = np.array([[1, 2, 2], [3, -1, -1], [1, 1, 1], [4, 3, -1]])
    lengths = np.array([9, 7, 5, 1])
    x = Tensor(logits, requires_grad=True)
    y = get_loss("ctc").per_sample(x, (targets, lengths))
    backward(y, np.ones(4, np.float32))
    given = torch.from_numpy(logits).requires_grad_()
    z = T.ctc_loss(
        given.log_softmax(-1).transpose(0, 1),
        torch.from_numpy(np.maximum(targets, 0)),
        torch.from_numpy(lengths),
        torch.from_numpy((targets >= 0).sum(axis=1)),
        reduction="none",
        zero_infinity=True,
    )
    z.sum().backward()
    np.testing.assert_allclose(y.data, z.detach().numpy(), rtol=1e-4)
    np.testing.assert_allclose(x.grad, given.grad.numpy(), rtol=1e-3, atol=1e-5)


def test_a_whole_network() -> None:
    net = Sequential(
        [
            L.Conv2D(8, 3, activation="relu"),
            L.MaxPool2D(2),
            L.Conv2D(16, 3, activation="relu"),
            L.Flatten(),
            L.Dense(12, "relu"),
            L.Dense(4),
        ]
    ).initialize((12, 12, 1), 0)
    theirs = torch.nn.Sequential(
        torch.nn.Conv2d(1, 8, 3),
        torch.nn.ReLU(),
        torch.nn.MaxPool2d(2),
        torch.nn.Conv2d(8, 16, 3),
        torch.nn.ReLU(),
        torch.nn.Flatten(),
        torch.nn.Linear(144, 12),
        torch.nn.ReLU(),
        torch.nn.Linear(12, 4),
    )

    def first_dense(w: Any) -> Any:
        """Rows in the order (height, width, channel) become (channel, height, width)."""
        return w.reshape(3, 3, 16, 12).transpose(2, 0, 1, 3).reshape(144, 12).T

    converts = [kernel, same, kernel, same, first_dense, same, np.transpose, same]
    with torch.no_grad():
        for p, convert, q in zip(net.parameters(), converts, theirs.parameters(), strict=True):
            q.copy_(torch.from_numpy(np.array(convert(p.data))))
    rng = np.random.default_rng(0)
    ours, other = Adam(1e-3).bind(net.parameters()), torch.optim.Adam(theirs.parameters(), 1e-3)
    loss = get_loss("cross_entropy")
    for _ in range(10):
        x = rng.standard_normal((8, 12, 12, 1)).astype(np.float32)
        y = rng.integers(0, 4, 8)
        value = loss(net(Tensor(x)), y)
        backward(value)
        ours.step()
        other.zero_grad()
        z = T.cross_entropy(theirs(torch.from_numpy(nchw(x))), torch.from_numpy(y))
        z.backward()
        other.step()
        np.testing.assert_allclose(value.data, z.item(), rtol=1e-4)
