"""Layer, batch and group normalization, and spectral normalization."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ironlearn.nn import functional as F
from ironlearn.nn.autograd import Tensor, backward
from ironlearn.nn.backend import get_device
from ironlearn.nn.backend.ops import Ops
from ironlearn.nn.layers import (
    BatchNorm,
    Conv2D,
    Dense,
    Dropout,
    GroupNorm,
    LayerNorm,
    Mode,
    SpectralNorm,
    layer_from_spec,
)
from nn.gradcheck import check_gradients, check_layer

BASE = Ops(np)
CPU = get_device("cpu").ops
TRAIN = Mode(training=True)


def close(have: Any, want: Any) -> None:
    """Compare float32 answers with float64 ones, or float64 ones with their like."""
    for h, w in zip(have, want, strict=True):
        tolerance = 2e-4 if h.dtype == np.float32 else 1e-10
        np.testing.assert_allclose(h, w, rtol=tolerance, atol=tolerance)


def arrays(seed: int, shape: list[int], width: int, dtype: Any, strided: bool) -> list[Any]:
    """Return x, residual, gy of that shape, and gamma and beta."""
    rng = np.random.default_rng(seed)
    step = 2 if strided else 1
    full = (*shape, step * width)
    big = [(rng.standard_normal(full) * 2 + 0.5).astype(dtype)[..., ::step] for _ in range(3)]
    return [*big, *[rng.standard_normal(width).astype(dtype) for _ in range(2)]]


def wide(values: list[Any]) -> list[Any]:
    return [v.astype(np.float64) for v in values]


SHAPES = dict(
    seed=st.integers(0, 10**6),
    shape=st.lists(st.integers(0, 6), min_size=1, max_size=3),
    width=st.integers(1, 70),
    dtype=st.sampled_from([np.float32, np.float64]),
    strided=st.booleans(),
)


@settings(max_examples=60, deadline=None)
@given(**SHAPES)
def test_layer_norm_equals_base(
    seed: int, shape: list[int], width: int, dtype: Any, strided: bool
) -> None:
    # One element a row has variance 0: the difference of equal numbers decides all digits.
    width += 1
    x, residual, gy, gamma, beta = arrays(seed, shape, width, dtype, strided)
    x64, r64, gy64, gamma64, beta64 = wide([x, residual, gy, gamma, beta])
    x64 += np.arange(width) / width
    x = x64.astype(dtype)
    y, mean, rstd = CPU.layer_norm(x, gamma, beta, 1e-3)
    assert y.dtype == dtype
    assert (y.shape, mean.shape) == (x.shape, tuple(shape))
    want = BASE.layer_norm(x.astype(np.float64), gamma64, beta64, 1e-3)
    close((y, mean, rstd), want)
    close(
        CPU.layer_norm_backward(gy, x, gamma, mean, rstd),
        BASE.layer_norm_backward(gy64, x.astype(np.float64), gamma64, *want[1:]),
    )
    have = CPU.add_layer_norm(x, residual, gamma, beta, 1e-3)
    want4 = BASE.add_layer_norm(x.astype(np.float64), r64, gamma64, beta64, 1e-3)
    close(have, want4)
    for extra in (None, residual):
        close(
            CPU.add_layer_norm_backward(extra, gy, have[0], gamma, *have[2:]),
            BASE.add_layer_norm_backward(
                None if extra is None else r64, gy64, want4[0], gamma64, *want4[2:]
            ),
        )


@settings(max_examples=60, deadline=None)
@given(activation=st.sampled_from(["linear", "relu", "sigmoid", "leaky_relu"]), **SHAPES)
def test_batch_norm_equals_base(
    seed: int, shape: list[int], width: int, dtype: Any, strided: bool, activation: str
) -> None:
    shape[0] += 1
    x, _, gy, gamma, beta = arrays(seed, shape, width, dtype, strided)
    if x.size == 0:
        return
    x64, gy64, gamma64, beta64 = wide([x, gy, gamma, beta])
    y, mean, var = CPU.batch_norm(x, gamma, beta, 0.1, activation)
    assert y.dtype == dtype
    want = BASE.batch_norm(x64, gamma64, beta64, 0.1, activation)
    close((y, mean, var), want)
    # A unit that is 0 up to rounding may lie on either side of the kink.
    away = np.abs(want[0]) > 1e-4
    gy, gy64 = gy * away, gy64 * away
    close(
        CPU.batch_norm_backward(gy, x, y, gamma, mean, var, 0.1, activation),
        BASE.batch_norm_backward(gy64, x64, want[0], gamma64, *want[1:], 0.1, activation),
    )
    var = np.abs(beta) + dtype(0.5)
    fixed = (gamma, beta, gamma, var, 0.1, activation)
    fixed64 = (gamma64, beta64, gamma64, var.astype(np.float64), 0.1, activation)
    close(
        (CPU.batch_norm_inference(x, *fixed),),
        (BASE.batch_norm_inference(x64, *fixed64),),
    )


@settings(max_examples=60, deadline=None)
@given(groups=st.integers(1, 5), **SHAPES)
def test_group_norm_equals_base(
    seed: int, shape: list[int], width: int, dtype: Any, strided: bool, groups: int
) -> None:
    width = (width // 4 + 1) * groups
    x, _, gy, gamma, beta = arrays(seed, shape, width, dtype, strided)
    if x.size == 0:
        return
    x64, gy64, gamma64, beta64 = wide([x, gy, gamma, beta])
    have = CPU.group_norm(x, gamma, beta, groups, 0.1)
    want = BASE.group_norm(x64, gamma64, beta64, groups, 0.1)
    close(have, want)
    close(
        CPU.group_norm_backward(gy, x, gamma, *have[1:], groups),
        BASE.group_norm_backward(gy64, x64, gamma64, *want[1:], groups),
    )


def test_one_group_of_one_sample_is_layer_norm() -> None:
    x, _, _, gamma, beta = arrays(0, [3], 8, np.float64, False)
    np.testing.assert_allclose(
        BASE.group_norm(x, gamma, beta, 1, 1e-5)[0], BASE.layer_norm(x, gamma, beta, 1e-5)[0]
    )


X = np.random.default_rng(0).standard_normal((4, 3, 6))
LAYERS: list[tuple[str, Callable[[], Any], Any]] = [
    ("layer", LayerNorm, Mode()),
    ("batch", BatchNorm, TRAIN),
    ("batch relu", lambda: BatchNorm(activation="relu"), TRAIN),
    ("batch gelu", lambda: BatchNorm(activation="gelu"), TRAIN),
    ("batch inference", lambda: BatchNorm(activation="sigmoid"), Mode()),
    ("group", lambda: GroupNorm(3), Mode()),
    ("spectral", lambda: SpectralNorm(Dense(4, "tanh")), Mode()),
]


def built(make: Callable[[], Any], x: Any) -> Any:
    layer = make()
    layer._build(x.shape[1:], np.random.default_rng(1))
    for i, parameter in enumerate(layer.parameters()):
        rng = np.random.default_rng(i)
        parameter.data = (parameter.data + 0.3 * rng.standard_normal(parameter.shape)).astype("f4")
    return layer


@pytest.mark.parametrize(("name", "make", "mode"), LAYERS, ids=[c[0] for c in LAYERS])
def test_layer_gradients(name: str, make: Callable[[], Any], mode: Mode) -> None:
    check_layer(built(make, X), X, mode=mode)


@pytest.mark.parametrize(("name", "make", "mode"), LAYERS, ids=[c[0] for c in LAYERS])
def test_strict_device_agrees(name: str, make: Callable[[], Any], mode: Mode) -> None:
    layer, other = built(make, X), built(make, X)
    x = X.astype(np.float32)
    y = layer(Tensor(x, requires_grad=True), mode)
    backward(F.sum(y))
    device = get_device("strict")
    other.to_device(device)
    z = other(Tensor(device.send(x), requires_grad=True), mode)
    backward(F.sum(z))
    close((z.numpy(),), (y.data,))
    for p, q in zip(layer.parameters(), other.parameters(), strict=True):
        close((device.receive(q.grad),), (p.grad,))
    for name, value in other.state().items():
        close((value,), (layer.state()[name],))


@pytest.mark.parametrize(("name", "make", "mode"), LAYERS, ids=[c[0] for c in LAYERS])
def test_spec_round_trip(name: str, make: Callable[[], Any], mode: Mode) -> None:
    layer = make()
    assert layer_from_spec(layer.spec()).spec() == layer.spec()


def test_add_layer_norm_gradients() -> None:
    x, r, gamma, beta = (np.random.default_rng(i).standard_normal((5, 4)) for i in range(4))
    check_gradients(
        lambda a, b, c, d: F.concatenate(F.add_layer_norm(a, b, c, d)), [x, r, gamma[0], beta[0]]
    )
    check_gradients(lambda a, b, c, d: F.add_layer_norm(a, b, c, d)[1], [x, r, gamma[0], beta[0]])
    check_gradients(lambda a, b, c, d: F.add_layer_norm(a, b, c, d)[0], [x, r, gamma[0], beta[0]])


def test_running_statistics() -> None:
    layer = BatchNorm(momentum=0.5)
    layer._build((2,), np.random.default_rng(0))
    held = layer.running_mean.data
    x = np.array([[1.0, 0.0], [3.0, 0.0], [5.0, 3.0]], np.float32)
    layer(Tensor(x), TRAIN)
    np.testing.assert_allclose(layer.running_mean.data, [1.5, 0.5])
    np.testing.assert_allclose(layer.running_var.data, 0.5 + 0.5 * x.var(axis=0, ddof=1))
    assert layer.running_mean.data is held
    before = layer.state()
    y = layer(Tensor(x)).data
    want = (x - before["running_mean"]) / np.sqrt(before["running_var"] + 1e-5)
    np.testing.assert_allclose(y, want, rtol=1e-5)
    for name, value in layer.state().items():
        np.testing.assert_array_equal(value, before[name])
    again = BatchNorm(momentum=0.5)
    again._build((2,), np.random.default_rng(1))
    again.load_state(before)
    np.testing.assert_array_equal(again(Tensor(x)).data, y)


def test_one_row_batch_is_finite() -> None:
    layer = BatchNorm()
    layer._build((3,), np.random.default_rng(0))
    x = Tensor(np.ones((1, 3), np.float32), requires_grad=True)
    backward(F.sum(layer(x, TRAIN)))
    assert np.isfinite(x.grad).all()
    assert np.isfinite(layer.running_var.data).all()


@pytest.mark.parametrize("make", [lambda: Dense(5), lambda: Conv2D(5, 3, padding="same")])
def test_spectral_norm_is_one(make: Callable[[], Any]) -> None:
    layer = SpectralNorm(make(), iterations=30)
    x = np.random.default_rng(0).standard_normal((2, 4, 4, 3)).astype(np.float32)
    layer._build(x.shape[1:], np.random.default_rng(0))
    for _ in range(3):
        y = layer(Tensor(x), TRAIN)
    inner = layer.layer
    kernel = inner.kernel.data
    norm = np.linalg.svd(kernel.reshape(-1, 5))[1][0]
    inner.kernel.data = kernel / norm
    np.testing.assert_allclose(inner(Tensor(x)).data, y.data, rtol=1e-3, atol=1e-4)
    assert [type(p).__name__ for p in layer.parameters()] == ["Parameter"] * 2


def test_bad_input() -> None:
    with pytest.raises(ValueError, match=r"momentum of BatchNorm must be a number in \[0, 1\)"):
        BatchNorm(momentum=1.0)
    with pytest.raises(ValueError, match="eps of LayerNorm must be a number above 0, got 0"):
        LayerNorm(eps=0)
    with pytest.raises(ValueError, match="groups=4 must divide the 6 channels"):
        GroupNorm(4)._build((6,), np.random.default_rng(0))
    with pytest.raises(ValueError, match="needs a layer with a kernel, got a Dropout"):
        SpectralNorm(Dropout(0.5))._build((6,), np.random.default_rng(0))
    with pytest.raises(ValueError, match="layer of SpectralNorm must be a layer"):
        SpectralNorm(3)  # type: ignore[arg-type]


@pytest.mark.oracle
def test_equals_pytorch() -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    x, gy = (rng.standard_normal((6, 10, 32)).astype(np.float32) for _ in range(2))
    gamma, beta = (rng.standard_normal(32).astype(np.float32) for _ in range(2))

    def ours(function: Callable[..., Tensor]) -> list[Any]:
        tensors = [Tensor(a, requires_grad=True) for a in (x, gamma, beta)]
        y = function(*tensors)
        backward(y, gy)
        return [y.data, *[t.grad for t in tensors]]

    def theirs(function: Callable[..., Any]) -> list[Any]:
        tensors = [torch.tensor(a, requires_grad=True) for a in (x, gamma, beta)]
        y = function(*tensors)
        y.backward(torch.tensor(gy))
        return [y.detach().numpy(), *[t.grad.numpy() for t in tensors]]

    close(
        ours(F.layer_norm),
        theirs(lambda a, g, b: torch.nn.functional.layer_norm(a, (32,), g, b)),
    )
    close(
        ours(lambda a, g, b: F.batch_norm(a, g, b)[0]),
        theirs(
            lambda a, g, b: torch.nn.functional.batch_norm(
                a.transpose(1, 2), None, None, g, b, training=True
            ).transpose(1, 2)
        ),
    )
    close(
        ours(lambda a, g, b: F.group_norm(a, g, b, 4)),
        theirs(
            lambda a, g, b: torch.nn.functional.group_norm(a.transpose(1, 2), 4, g, b).transpose(
                1, 2
            )
        ),
    )
