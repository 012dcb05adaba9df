"""Operations of several layers in one, for prediction: against the base ones and against layers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ironlearn import _threads
from ironlearn.nn import functional as F
from ironlearn.nn.autograd import Tensor, backward, no_grad
from ironlearn.nn.backend import get_device
from ironlearn.nn.backend.ops import Ops
from ironlearn.nn.backend.ops.activations import UNFUSED
from ironlearn.nn.layers import Conv2D, Dense, DepthwiseConv2D, Mode, TransformerEncoderBlock
from ironlearn.nn.layers.base import INFERENCE, Layer
from ironlearn.nn.layers.sequential import initialize
from ironlearn.nn.layers.transformer import encode
from ironlearn.nn.pretrained.efficientnet_lite import EfficientNetLite0
from ironlearn.nn.pretrained.residual_chain import run_residuals

BASE = Ops(np)
CPU = get_device("cpu").ops


def _numbers(rng: np.random.Generator, *shape: int) -> Any:
    return rng.uniform(-0.5, 0.5, shape).astype(np.float32)


def _wide(arrays: Any) -> tuple[Any, ...]:
    return tuple(None if a is None else a.astype(np.float64) for a in arrays)


def _encoder(rng: np.random.Generator, width: int, span: int, inner: int, blocks: int) -> Any:
    shapes = [
        (width, 3 * span),
        (3 * span,),
        (span, width),
        (width,),
        (width,),
        (width,),
        (width, inner),
        (inner,),
        (inner, width),
        (width,),
        (width,),
        (width,),
    ]
    return tuple(_numbers(rng, *shape) for _ in range(blocks) for shape in shapes)


@settings(max_examples=40)
@given(
    n=st.integers(0, 40),
    steps=st.integers(1, 20),
    heads=st.integers(1, 3),
    depth=st.integers(1, 5),
    width=st.integers(1, 9),
    activation=st.sampled_from(["relu", "gelu", "silu", "tanh"]),
    norm_first=st.booleans(),
    causal=st.booleans(),
    masked=st.booleans(),
    seed=st.integers(0, 10**6),
)
def test_encoder_blocks_equal_the_base_operation(
    n: int,
    steps: int,
    heads: int,
    depth: int,
    width: int,
    activation: str,
    norm_first: bool,
    causal: bool,
    masked: bool,
    seed: int,
) -> None:
    rng = np.random.default_rng(seed)
    x = _numbers(rng, n, steps, width)
    weights = _encoder(rng, width, heads * depth, 7, 2)
    options: dict[str, Any] = {
        "heads": heads,
        "activation": activation,
        "norm_first": norm_first,
        "causal": causal,
        "eps": 1e-2,
        "mask": rng.random((n, 1, 1, steps)) < 0.7 if masked else None,
    }
    given = x.copy()
    got = CPU.encoder_blocks(x, weights, **options)
    np.testing.assert_array_equal(x, given)
    want = BASE.encoder_blocks(x.astype(np.float64), _wide(weights), **options)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, want, rtol=2e-4, atol=2e-4)


def _residuals(rng: np.random.Generator, sizes: list[tuple[int, int, int, int, int]]) -> Any:
    """Return weights and geometry of blocks (channels, wide, filters, kernel, stride)."""
    weights: list[Any] = []
    geometry = []
    for channels, wide, filters, kernel, stride in sizes:
        widening = (_numbers(rng, 1, 1, channels, wide), _numbers(rng, wide))
        weights += [None, None] if channels == wide else widening
        weights += [_numbers(rng, kernel, kernel, 1, wide), _numbers(rng, wide)]
        weights += [_numbers(rng, 1, 1, wide, filters), _numbers(rng, filters)]
        before = (kernel - 1) // 2
        geometry.append(((stride, stride), ((before, kernel - 1 - before),) * 2))
    return tuple(weights), tuple(geometry)


@settings(max_examples=40)
@given(
    n=st.integers(0, 6),
    height=st.integers(1, 40),
    width=st.integers(1, 9),
    wide=st.integers(1, 40),
    kernels=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    stride=st.integers(1, 2),
    activation=st.sampled_from(["relu6", "relu", "leaky_relu", "linear", "silu"]),
    seed=st.integers(0, 10**6),
)
def test_inverted_residuals_equal_the_base_operation(
    n: int,
    height: int,
    width: int,
    wide: int,
    kernels: tuple[int, int],
    stride: int,
    activation: str,
    seed: int,
) -> None:
    rng = np.random.default_rng(seed)
    weights, geometry = _residuals(
        rng, [(3, wide, 4, kernels[0], stride), (4, 2 * wide, 4, kernels[1], 1)]
    )
    x = _numbers(rng, n, height, width, 3)
    got = CPU.inverted_residuals(x, weights, geometry=geometry, activation=activation)
    want = BASE.inverted_residuals(
        x.astype(np.float64), _wide(weights), geometry=geometry, activation=activation
    )
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)


def test_the_same_bits_for_any_number_of_threads() -> None:
    rng = np.random.default_rng(0)
    weights, geometry = _residuals(rng, [(8, 48, 8, 5, 1), (8, 96, 16, 3, 2)])
    blocks = _encoder(rng, 64, 64, 256, 2)
    answers = []
    for threads in (1, 2, 3):
        with _threads.limited(threads):
            own = []
            for n in (1, 6):
                x = np.random.default_rng(1).random((n, 56, 56, 8), np.float32)
                own.append(CPU.inverted_residuals(x, weights, geometry=geometry))
            for n in (2, 24):
                x = np.random.default_rng(2).random((n, 40, 64), np.float32)
                own.append(CPU.encoder_blocks(x, blocks, heads=4))
            x = np.random.default_rng(3).random((600, 256), np.float32)
            own.append(CPU.affine(x, blocks[8], blocks[9], "gelu"))
            answers.append(own)
    for other in answers[1:]:
        for a, b in zip(answers[0], other, strict=True):
            np.testing.assert_array_equal(a, b)


def test_nan_stays() -> None:
    rng = np.random.default_rng(0)
    weights, geometry = _residuals(rng, [(2, 5, 2, 3, 1)])
    x = _numbers(rng, 1, 4, 4, 2)
    x[0, 0, 0, 0] = np.nan
    assert np.isnan(CPU.inverted_residuals(x, weights, geometry=geometry)[0, 0, 0]).all()
    y = CPU.encoder_blocks(x.reshape(1, 16, 2), _encoder(rng, 2, 2, 3, 1), heads=1)
    assert np.isnan(y).all()


def test_sizes_that_do_not_fit_are_refused() -> None:
    rng = np.random.default_rng(0)
    weights, geometry = _residuals(rng, [(2, 5, 2, 3, 1)])
    x = _numbers(rng, 1, 4, 4, 3)
    with pytest.raises(ValueError, match="weights"):
        CPU.inverted_residuals(x, weights, geometry=geometry)
    for ops in (CPU, BASE):
        for arrays, blocks in ((weights * 2, geometry), (weights[:4], geometry)):
            with pytest.raises(ValueError, match="6 arrays for each block"):
                ops.inverted_residuals(x, arrays, geometry=blocks)
    with pytest.raises(ValueError, match="weights"):
        CPU.encoder_blocks(_numbers(rng, 1, 4, 3), _encoder(rng, 2, 2, 3, 1), heads=1)
    with pytest.raises(ValueError, match="12 for each block"):
        CPU.encoder_blocks(_numbers(rng, 1, 4, 2), _encoder(rng, 2, 2, 3, 1)[:5], heads=1)


@pytest.mark.parametrize("device", ["cpu", "strict"])
@pytest.mark.parametrize("norm_first", [False, True])
def test_blocks_in_one_operation_are_the_blocks_one_by_one(device: str, norm_first: bool) -> None:
    def block() -> TransformerEncoderBlock:
        return TransformerEncoderBlock(2, 12, "gelu", norm_first=norm_first, causal=norm_first)

    blocks = [block(), block()]
    rng = np.random.default_rng(0)
    for one in blocks:
        one._build((None, 8), rng)
        one.to_device(device)
    send = get_device(device).send
    x = Tensor(send(_numbers(rng, 3, 5, 8)))
    mask = send(rng.random((3, 5)) < 0.8)
    pairs = send(rng.random((3, 1, 5, 5)) < 0.9)
    want = x
    for one in blocks:
        want = one._alone(want, Mode(), mask, pairs)
    with no_grad():
        got = encode(blocks, x, mask=mask, attention_mask=pairs)
        alone = blocks[1](blocks[0](x, mask=mask, attention_mask=pairs), mask=mask)
    np.testing.assert_allclose(got.numpy(), want.numpy(), rtol=2e-5, atol=2e-5)
    assert alone.shape == got.shape
    with no_grad(), pytest.raises(ValueError, match="mask of shape"):
        encode(blocks, x, mask=mask[:, :4])


def test_a_part_of_ones_own_is_not_left_out() -> None:
    class Doubled(Dense):
        def forward(self, x: Tensor, mode: Mode = INFERENCE) -> Tensor:
            return F.mul(super().forward(x, mode), Tensor(np.float32(2)))

    block = TransformerEncoderBlock(2, 12)
    rng = np.random.default_rng(0)
    block._build((None, 8), rng)
    x = Tensor(_numbers(rng, 2, 5, 8))
    with no_grad():
        before = block(x).data
        doubled = Doubled(12, "relu")
        doubled._build((None, 8), rng)
        doubled.kernel.data, doubled.bias.data = block.inner.kernel.data, block.inner.bias.data
        block.inner = doubled
        after = block(x).data
    assert np.abs(after - before).max() > 1e-3
    np.testing.assert_allclose(after, block(x).data, rtol=1e-5, atol=1e-5)


def test_chains_have_no_gradient() -> None:
    rng = np.random.default_rng(0)
    x = Tensor(_numbers(rng, 1, 4, 2), requires_grad=True)
    weights = [Tensor(w) for w in _encoder(rng, 2, 2, 3, 1)]
    with pytest.raises(RuntimeError, match="no_grad"):
        F.encoder_blocks(x, weights, heads=1)
    arrays, geometry = _residuals(rng, [(2, 5, 2, 3, 1)])
    tensors = [None if a is None else Tensor(a) for a in arrays]
    with pytest.raises(RuntimeError, match="no_grad"):
        F.inverted_residuals(F.reshape(x, (1, 2, 2, 2)), tensors, geometry=geometry)


def test_efficientnet_predicts_what_its_blocks_compute_one_by_one() -> None:
    net = EfficientNetLite0(include_top=False)
    initialize(net, (64, 96, 3))
    rng = np.random.default_rng(0)
    for parameter in net.parameters():
        parameter.data += _numbers(rng, *parameter.shape) * np.float32(0.1)
    x = Tensor(_numbers(rng, 2, 64, 96, 3))
    with no_grad():
        got = net(x).data
    want = net(x).data
    assert np.abs(want).max() > 0.1
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4 * np.abs(want).max())


@pytest.mark.parametrize("name", UNFUSED)
def test_affine_maps_with_activations_that_need_their_input(name: str) -> None:
    rng = np.random.default_rng(0)
    x, w, b = (_numbers(rng, *shape) for shape in ((5, 7), (7, 9), (9,)))
    arrays = [Tensor(a, requires_grad=True) for a in (x, w, b)]
    backward(F.sum(F.affine(*arrays, name)))
    apart = [Tensor(a, requires_grad=True) for a in (x, w, b)]
    backward(F.sum(F.activation(F.affine(*apart), name)))
    with no_grad():
        fused = F.affine(*arrays, name).data
    np.testing.assert_allclose(fused, F.activation(F.affine(*apart), name).data, rtol=1e-5)
    for one, other in zip(arrays, apart, strict=True):
        np.testing.assert_array_equal(one.grad, other.grad)


def test_chains_of_other_blocks_are_computed_block_by_block() -> None:
    class Block(Layer):
        """Widen, convolve, narrow: in other ways than `inverted_residuals` does."""

        def __init__(self, expand: Layer | None, depthwise: Layer, project: Layer) -> None:
            self.expand, self.depthwise, self.project = expand, depthwise, project
            self.adds = False

        def build(self, input_shape: Any, rng: np.random.Generator) -> None:
            for part in (self.expand, self.depthwise, self.project):
                if part is not None:
                    input_shape = part._build(input_shape, rng, "part")

        def forward(self, x: Tensor, mode: Mode = INFERENCE) -> Tensor:
            for part in (self.expand, self.depthwise, self.project):
                x = x if part is None else part(x, mode)
            return x

    for parts in (
        (None, DepthwiseConv2D(3, 1, "same", "relu6"), Conv2D(5, 1)),
        (Conv2D(7, 1, activation="relu"), DepthwiseConv2D(3, 1, "same", "relu"), Conv2D(2, 1)),
        (Conv2D(7, 1, activation="relu"), DepthwiseConv2D(3, 2, 1, "relu6"), Conv2D(2, 1)),
        (Conv2D(4, 3), DepthwiseConv2D(3, 2, 1), Conv2D(2, 1)),
        (Conv2D(4, 1), DepthwiseConv2D(3, 2, 1, depth_multiplier=2), Conv2D(2, 1)),
        (Conv2D(4, 1), DepthwiseConv2D(3, 2, 1, dilation_rate=2), Conv2D(2, 1)),
        (Conv2D(4, 1), DepthwiseConv2D(3, 2, 1), Conv2D(2, 1, activation="relu")),
        (Conv2D(4, 1), DepthwiseConv2D(3, 2, 1), Conv2D(2, 1, use_bias=False)),
    ):
        block = Block(*parts)
        rng = np.random.default_rng(0)
        block._build((9, 8, 2), rng)
        x = Tensor(_numbers(rng, 2, 9, 8, 2))
        want = run_residuals([block], x).data
        with no_grad():
            got = run_residuals([block], x).data
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)
