"""Attention: operations, layers, Transformer blocks, decoding step by step."""

from __future__ import annotations

import math
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
    AdditiveAttention,
    AttentionPooling,
    DotAttention,
    Embedding,
    Mode,
    MultiHeadAttention,
    PositionEmbedding,
    Sequential,
    SinePositionEncoding,
    TransformerDecoderBlock,
    TransformerEncoderBlock,
    layer_from_spec,
)
from nn.gradcheck import check_gradients, check_layer

BASE = Ops(np)
CPU = get_device("cpu").ops


def naive(q: Any, k: Any, v: Any, mask: Any, causal: bool, scale: float | None) -> Any:
    """Attention, one query at a time."""
    n, heads, length, width = q.shape
    keys = k.shape[2]
    allowed = np.ones((n, heads, length, keys), bool)
    if mask is not None:
        allowed = allowed & mask
    out = np.zeros((n, heads, length, v.shape[3]))
    for i, h, t in np.ndindex(n, heads, length):
        seen = [
            s for s in range(keys) if allowed[i, h, t, s] and (not causal or s <= t + keys - length)
        ]
        if seen:
            scores = k[i, h, seen] @ q[i, h, t] * (1 / math.sqrt(width) if scale is None else scale)
            weights = np.exp(scores - scores.max())
            out[i, h, t] = weights @ v[i, h, seen] / weights.sum()
    return out


@settings(max_examples=80, deadline=None)
@given(
    n=st.integers(0, 3),
    heads=st.integers(1, 3),
    length=st.integers(0, 70),
    keys=st.integers(0, 70),
    width=st.sampled_from([1, 2, 8, 16, 33, 64]),
    depth=st.sampled_from([1, 4, 16, 31, 64]),
    dtype=st.sampled_from([np.float32, np.float64]),
    masked=st.sampled_from(["none", "keys", "pairs", "queries"]),
    causal=st.booleans(),
    scale=st.sampled_from([None, 1.0, 0.1]),
    by_step=st.booleans(),
    seed=st.integers(0, 10**6),
)
def test_attention_equals_naive_and_base(
    n: int,
    heads: int,
    length: int,
    keys: int,
    width: int,
    depth: int,
    dtype: Any,
    masked: str,
    causal: bool,
    scale: float | None,
    by_step: bool,
    seed: int,
) -> None:
    rng = np.random.default_rng(seed)

    def draw(steps: int, size: int) -> Any:
        shape = (n, steps, heads, size) if by_step else (n, heads, steps, size)
        drawn = rng.standard_normal(shape).astype(dtype)
        return drawn.transpose(0, 2, 1, 3) if by_step else drawn

    q, k, v, gout = draw(length, width), draw(keys, width), draw(keys, depth), draw(length, depth)
    shapes = {
        "keys": (n, 1, 1, keys),
        "pairs": (length, keys),
        "queries": (n, heads, length, 1),
    }
    mask = rng.random(shapes[masked]) < 0.7 if masked in shapes else None
    given_ = dict(mask=mask, causal=causal, scale=scale)
    out, cache = CPU.attention(q, k, v, **given_)
    assert out.shape == (n, heads, length, depth)
    assert out.dtype == dtype
    want = naive(*(a.astype(np.float64) for a in (q, k, v)), mask, causal, scale)
    tolerance = 1e-4 if dtype == np.float32 else 1e-10
    np.testing.assert_allclose(out, want, rtol=tolerance, atol=tolerance)
    q64, k64, v64, g64 = (a.astype(np.float64) for a in (q, k, v, gout))
    out64, cache64 = BASE.attention(q64, k64, v64, **given_)
    np.testing.assert_allclose(out64, want, rtol=1e-9, atol=1e-9)
    have = CPU.attention_backward(gout, q, k, v, out, cache, **given_)
    grads = BASE.attention_backward(g64, q64, k64, v64, out64, cache64, **given_)
    for h, w in zip(have, grads, strict=True):
        assert h.dtype == dtype
        np.testing.assert_allclose(h, w, rtol=5 * tolerance, atol=5 * tolerance)


@settings(max_examples=40, deadline=None)
@given(
    n=st.integers(0, 3),
    heads=st.integers(1, 4),
    length=st.integers(0, 70),
    width=st.sampled_from([1, 8, 33, 64]),
    dtype=st.sampled_from([np.float32, np.float64]),
    masked=st.booleans(),
    causal=st.booleans(),
    seed=st.integers(0, 10**6),
)
def test_packed_equals_base(
    n: int,
    heads: int,
    length: int,
    width: int,
    dtype: Any,
    masked: bool,
    causal: bool,
    seed: int,
) -> None:
    rng = np.random.default_rng(seed)
    qkv = rng.standard_normal((n, length, 3 * heads * width)).astype(dtype)
    gout = rng.standard_normal((n, length, heads * width)).astype(dtype)
    mask = rng.random((n, 1, 1, length)) < 0.7 if masked else None
    tolerance = 5e-4 if dtype == np.float32 else 1e-10
    out, cache = CPU.attention_packed(qkv, heads, mask=mask, causal=causal)
    wide, gwide = qkv.astype(np.float64), gout.astype(np.float64)
    want, cache64 = BASE.attention_packed(wide, heads, mask=mask, causal=causal)
    assert out.dtype == dtype
    np.testing.assert_allclose(out, want, rtol=tolerance, atol=tolerance)
    have = CPU.attention_packed_backward(gout, qkv, out, cache, heads, mask=mask, causal=causal)
    grad = BASE.attention_packed_backward(
        gwide, wide, want, cache64, heads, mask=mask, causal=causal
    )
    np.testing.assert_allclose(have, grad, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_attention_gradients(causal: bool, masked: bool) -> None:
    rng = np.random.default_rng(0)
    q, k, v = (rng.standard_normal(s) for s in ((2, 2, 3, 4), (2, 2, 5, 4), (2, 2, 5, 3)))
    mask = rng.random((2, 1, 3, 5)) < 0.6 if masked else None
    check_gradients(lambda *a: F.attention(*a, mask=mask, causal=causal), [q, k, v])
    qkv = rng.standard_normal((2, 5, 24))
    mask = rng.random((2, 1, 1, 5)) < 0.6 if masked else None
    check_gradients(lambda a: F.attention_packed(a, 2, mask=mask, causal=causal), [qkv])


def test_masked_softmax_and_pool_gradients() -> None:
    rng = np.random.default_rng(0)
    mask = np.array([[True, False, True, True], [False] * 4])
    scores, x = rng.standard_normal((2, 4)), rng.standard_normal((2, 4, 3))
    check_gradients(lambda s: F.masked_softmax(s, mask), [scores])
    check_gradients(lambda a, s: F.attention_pool(a, s, mask)[0], [x, scores])
    out, weights = F.attention_pool(x, scores, mask)
    np.testing.assert_allclose(weights.data.sum(axis=1), [1, 0])
    np.testing.assert_array_equal(out.data[1], 0)


X = np.random.default_rng(0).standard_normal((2, 5, 6))
C = np.random.default_rng(1).standard_normal((2, 4, 6))
MASK = np.array([[True, True, True, False, False], [True, True, True, True, True]])
CONTEXT_MASK = np.array([[True, True, False, False], [True, True, True, False]])
SELF: list[tuple[str, Callable[[], Any]]] = [
    ("dot", lambda: DotAttention(scaled=True)),
    ("dot causal", lambda: DotAttention(causal=True)),
    ("additive", lambda: AdditiveAttention(3)),
    ("pooling", AttentionPooling),
    ("pooling hidden", lambda: AttentionPooling(4)),
    ("heads", lambda: MultiHeadAttention(2)),
    ("heads causal", lambda: MultiHeadAttention(3, 4, causal=True, use_bias=False)),
    ("encoder", lambda: TransformerEncoderBlock(2, 7)),
    ("encoder first", lambda: TransformerEncoderBlock(2, 7, "gelu", norm_first=True, causal=True)),
]
CROSS: list[tuple[str, Callable[[], Any]]] = [
    ("dot", DotAttention),
    ("additive", lambda: AdditiveAttention(3)),
    ("heads", lambda: MultiHeadAttention(2, context_width=6)),
    ("decoder", lambda: TransformerDecoderBlock(2, 7)),
    ("decoder first", lambda: TransformerDecoderBlock(3, 7, "silu", norm_first=True)),
]
EVERY = [*SELF, *CROSS]


def built(make: Callable[[], Any], random: bool = True) -> Any:
    layer = make()
    layer._build((None, 6), np.random.default_rng(1))
    for i, parameter in enumerate(layer.parameters()):
        rng = np.random.default_rng(i)
        if random:
            parameter.data += 0.3 * rng.standard_normal(parameter.shape).astype(np.float32)
    return layer


@pytest.mark.parametrize(("name", "make"), SELF, ids=[c[0] for c in SELF])
@pytest.mark.parametrize("mask", [None, MASK], ids=["all", "masked"])
def test_layer_gradients(name: str, make: Callable[[], Any], mask: Any) -> None:
    check_layer(built(make), X, mask=mask)


@pytest.mark.parametrize(("name", "make"), CROSS, ids=[c[0] for c in CROSS])
@pytest.mark.parametrize("mask", [None, CONTEXT_MASK], ids=["all", "masked"])
def test_context_gradients(name: str, make: Callable[[], Any], mask: Any) -> None:
    layer = built(make)
    check_layer(layer, X, context=Tensor(C), context_mask=mask)
    check_gradients(lambda c: layer(Tensor(X), context=c, context_mask=mask), [C])


def test_training_gradients_with_dropout() -> None:
    check_layer(built(lambda: TransformerEncoderBlock(2, 7, dropout=0.4)), X, mode=Mode(True, 3))


@pytest.mark.parametrize(("name", "make"), EVERY, ids=[c[0] for c in EVERY])
def test_spec_round_trip(name: str, make: Callable[[], Any]) -> None:
    layer = make()
    again = layer_from_spec(layer.spec())
    assert again.spec() == layer.spec()
    first, second = built(lambda: layer, False), built(lambda: again, False)
    second.load_state(first.state())
    context = {} if (name, make) in SELF else {"context": Tensor(C)}
    np.testing.assert_array_equal(
        first(Tensor(X), **context).data, second(Tensor(X), **context).data
    )


@pytest.mark.parametrize(("name", "make"), EVERY, ids=[c[0] for c in EVERY])
def test_strict_device_agrees(name: str, make: Callable[[], Any]) -> None:
    device = get_device("strict")
    layer, other = built(make), built(make)
    other.to_device(device)
    x, c = X.astype(np.float32), C.astype(np.float32)
    here: dict[str, Any] = {"mask": MASK}
    there: dict[str, Any] = {"mask": device.send(MASK)}
    if (name, make) in CROSS:
        here.update(context=Tensor(c), context_mask=CONTEXT_MASK)
        there.update(context=Tensor(device.send(c)), context_mask=device.send(CONTEXT_MASK))
    t, u = Tensor(x, requires_grad=True), Tensor(device.send(x), requires_grad=True)
    y, z = layer(t, **here), other(u, **there)
    np.testing.assert_allclose(z.numpy(), y.data, rtol=1e-4, atol=1e-5)
    backward(F.sum(y))
    backward(F.sum(z))
    np.testing.assert_allclose(device.receive(u.grad), t.grad, rtol=1e-3, atol=1e-4)
    for p, q in zip(layer.parameters(), other.parameters(), strict=True):
        np.testing.assert_allclose(device.receive(q.grad), p.grad, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("name", "make"), SELF, ids=[c[0] for c in SELF])
def test_masked_steps_do_not_matter(name: str, make: Callable[[], Any]) -> None:
    layer = built(make)
    changed = np.where(MASK[:, :, None], X, 100.0)
    want = layer(Tensor(X), mask=MASK).data
    have = layer(Tensor(changed), mask=MASK).data
    if have.ndim == 3:
        have, want = have[MASK], want[MASK]
    np.testing.assert_allclose(have, want, rtol=1e-6, atol=1e-9)
    assert not np.allclose(layer(Tensor(X)).data[0, :3], layer(Tensor(changed)).data[0, :3]) or (
        "causal" in name or "first" in name
    )


@pytest.mark.parametrize("name", ["dot causal", "heads causal", "encoder first"])
def test_causal_layers_do_not_look_ahead(name: str) -> None:
    layer = built(dict(SELF)[name])
    changed = X.copy()
    changed[:, 3:] = 7.0
    want, have = layer(Tensor(X)).data, layer(Tensor(changed)).data
    np.testing.assert_array_equal(have[:, :3], want[:, :3])
    assert not np.allclose(have[:, 3:], want[:, 3:])


@pytest.mark.parametrize(("name", "make"), EVERY[:3] + EVERY[5:7] + CROSS[:3])
def test_weights_are_those_of_the_output(name: str, make: Callable[[], Any]) -> None:
    layer = built(make)
    x, c = Tensor(X.astype(np.float32)), Tensor(C.astype(np.float32))
    context: dict[str, Any] = (
        {"context": c, "context_mask": CONTEXT_MASK} if (name, make) in CROSS else {"mask": MASK}
    )
    weights = layer.weights(x, **context)
    np.testing.assert_allclose(weights.sum(axis=-1), 1, rtol=1e-5)
    if weights.ndim == 3:
        looked = c.data if "context" in context else x.data
        np.testing.assert_allclose(layer(x, **context).data, weights @ looked, rtol=1e-4, atol=1e-5)
    pool = built(AttentionPooling)
    np.testing.assert_allclose(
        (pool.weights(x, MASK)[:, :, None] * x.data).sum(axis=1),
        pool(x, mask=MASK).data,
        rtol=1e-4,
        atol=1e-5,
    )


@pytest.mark.parametrize("norm_first", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("device", ["cpu", "strict"])
@pytest.mark.parametrize("masked", [False, True])
def test_cache_equals_full_pass(norm_first: bool, dtype: Any, device: str, masked: bool) -> None:
    place = get_device(device)
    tolerance = 2e-5 if dtype == np.float32 else 1e-11
    x, context = (Tensor(place.send(a.astype(dtype))) for a in (X, C))
    mask, context_mask = (place.send(m) if masked else None for m in (MASK, CONTEXT_MASK))
    decoder = built(lambda: TransformerDecoderBlock(2, 7, norm_first=norm_first)).astype(dtype)
    encoder = built(lambda: TransformerEncoderBlock(3, 7, norm_first=norm_first, causal=True))
    encoder.astype(dtype)
    decoder.to_device(place)
    encoder.to_device(place)
    whole = decoder(x, mask=mask, context=context, context_mask=context_mask).numpy()
    alone = encoder(x, mask=mask).numpy()
    for cuts in ([1, 2, 3, 4], [2], [3, 4]):
        cache, own = decoder.start(context, context_mask), encoder.start()
        for a, b in zip([0, *cuts], [*cuts, 5], strict=True):
            part = Tensor(x.data[:, a:b])
            steps = None if mask is None else mask[:, a:b]
            y = decoder.step(part, cache, steps)
            np.testing.assert_allclose(y.numpy(), whole[:, a:b], rtol=tolerance, atol=tolerance)
            y = encoder.step(part, own, steps)
            np.testing.assert_allclose(y.numpy(), alone[:, a:b], rtol=tolerance, atol=tolerance)
        assert own.length == cache[0].length == 5
        assert cache[1].length == 4


def test_cache_follows_the_beam() -> None:
    encoder = built(lambda: TransformerEncoderBlock(2, 7, causal=True)).astype(np.float64)
    cache = encoder.start()
    encoder.step(Tensor(X[:, :3]), cache)
    rows = np.array([1, 1, 0])
    y = encoder.step(Tensor(X[rows, 3:]), cache.select(rows))
    np.testing.assert_allclose(y.data, encoder(Tensor(X[rows])).data[:, 3:], rtol=1e-10)
    assert cache.length == 3


def test_step_by_step_needs_causal() -> None:
    block = built(lambda: TransformerEncoderBlock(2, 7))
    with pytest.raises(ValueError, match="step by step only with causal=True"):
        block.step(Tensor(X), block.start())


def test_positions() -> None:
    layer = SinePositionEncoding(scale_input=False)
    layer._build((None, 5), np.random.default_rng(0))
    table = layer(Tensor(np.zeros((1, 50, 5)))).data[0]
    for place, column in ((0, 0), (7, 0), (7, 3), (49, 4)):
        angle = place / 10000 ** ((column - column % 2) / 5)
        want = math.cos(angle) if column % 2 else math.sin(angle)
        assert abs(table[place, column] - want) < 1e-12
    tail = layer(Tensor(np.zeros((1, 3, 5))), start=47).data[0]
    np.testing.assert_array_equal(tail, table[47:])
    trained = PositionEmbedding(8)
    trained._build((None, 5), np.random.default_rng(0))
    assert layer_from_spec(trained.spec()).spec() == trained.spec()
    y = trained(Tensor(np.zeros((2, 3, 5), np.float32)), start=4).data
    np.testing.assert_array_equal(y[1], trained.embeddings.data[4:7])
    check_layer(trained, np.random.default_rng(0).standard_normal((2, 6, 5)))
    check_layer(built(SinePositionEncoding), X)
    with pytest.raises(ValueError, match="max_length=8 places, but a sequence has 9 steps"):
        trained(Tensor(np.zeros((2, 9, 5))))


def test_masks_travel_through_a_chain() -> None:
    net = Sequential(
        [
            Embedding(9, 6, mask_zero=True),
            SinePositionEncoding(),
            TransformerEncoderBlock(2, 7),
            AttentionPooling(),
        ]
    ).initialize((None,))
    a = net(Tensor(np.array([[3, 5, 0, 0]]))).data
    b = net(Tensor(np.array([[3, 5]]))).data
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("make", "call", "message"),
    [
        (lambda: MultiHeadAttention(4), None, "num_heads=4 must divide the input's width 6"),
        (lambda: MultiHeadAttention(0), None, "num_heads of MultiHeadAttention must be an int"),
        (lambda: MultiHeadAttention(2, context_width=3, causal=True), None, "causal of"),
        (
            lambda: MultiHeadAttention(2),
            {"context": Tensor(C)},
            "takes no context: context_width is None",
        ),
        (lambda: MultiHeadAttention(2, context_width=6), {}, "needs a context"),
        (
            lambda: MultiHeadAttention(2, context_width=7),
            {"context": Tensor(C)},
            r"expects a context of shape \(2, any, 7\), got \(2, 4, 6\)",
        ),
        (
            lambda: MultiHeadAttention(2),
            {"mask": MASK[:, :3]},
            r"expects mask of shape \(2, 5\), got \(2, 3\)",
        ),
        (DotAttention, {"context": Tensor(C[:1])}, r"expects a context of shape \(2, any, 6\)"),
        (lambda: TransformerEncoderBlock(2, 7, "nosuch"), None, "activation of Transformer"),
        (lambda: TransformerDecoderBlock(2, 7, dropout=1.0), None, "dropout of Transformer"),
        (lambda: AdditiveAttention(2.5), None, "units of AdditiveAttention must be an int"),
    ],
)
def test_bad_input(make: Callable[[], Any], call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        built(make)(Tensor(X), **(call or {}))


def _torch_heads(torch: Any, layer: MultiHeadAttention, cross: bool) -> Any:
    """Return PyTorch's layer with the parameters of `layer`."""
    other = torch.nn.MultiheadAttention(16, 4, batch_first=True)
    state = {p: torch.tensor(v) for p, v in layer.state().items()}
    if cross:
        kernel = torch.cat([state["query_kernel"], state["context_kernel"]], dim=1)
        bias = torch.cat([state["query_bias"], state["context_bias"]])
    else:
        kernel, bias = state["kernel"], state["bias"]
    with torch.no_grad():
        other.in_proj_weight.copy_(kernel.T)
        other.in_proj_bias.copy_(bias)
        other.out_proj.weight.copy_(state["output_kernel"].T)
        other.out_proj.bias.copy_(state["output_bias"])
    return other


@pytest.mark.oracle
@pytest.mark.parametrize("cross", [False, True])
def test_multi_head_equals_pytorch(cross: bool) -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    x, c, gy = (rng.standard_normal((3, t, 16)).astype(np.float32) for t in (7, 9, 7))
    keep = np.arange(9 if cross else 7) < np.array([3, 9, 5])[:, None]
    layer = MultiHeadAttention(4, context_width=16 if cross else None)
    layer._build((None, 16), np.random.default_rng(0))
    for p in layer.parameters():
        p.data += 0.1 * rng.standard_normal(p.shape).astype(np.float32)
    other = _torch_heads(torch, layer, cross)
    t, u = Tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    if cross:
        y = layer(t, context=Tensor(c), context_mask=keep)
        looked = torch.tensor(c)
    else:
        y = layer(t, mask=keep)
        looked = u
    z, _ = other(u, looked, looked, key_padding_mask=~torch.tensor(keep), need_weights=False)
    np.testing.assert_allclose(y.data, z.detach().numpy(), rtol=1e-4, atol=1e-5)
    backward(y, gy)
    z.backward(torch.tensor(gy))
    np.testing.assert_allclose(t.grad, u.grad.numpy(), rtol=1e-3, atol=1e-4)
    kernels = [layer.query_kernel.grad, layer.context_kernel.grad] if cross else [layer.kernel.grad]
    np.testing.assert_allclose(
        np.concatenate(kernels, axis=1).T, other.in_proj_weight.grad.numpy(), rtol=1e-3, atol=1e-4
    )
    np.testing.assert_allclose(
        layer.output_kernel.grad.T, other.out_proj.weight.grad.numpy(), rtol=1e-3, atol=1e-4
    )


@pytest.mark.oracle
@pytest.mark.parametrize("norm_first", [False, True])
def test_encoder_block_equals_pytorch(norm_first: bool) -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    x, gy = (rng.standard_normal((3, 7, 16)).astype(np.float32) for _ in range(2))
    block = TransformerEncoderBlock(4, 32, dropout=0.0, norm_first=norm_first)
    block._build((None, 16), np.random.default_rng(0))
    other = torch.nn.TransformerEncoderLayer(
        16, 4, 32, dropout=0.0, batch_first=True, norm_first=norm_first
    )
    with torch.no_grad():
        other.self_attn.load_state_dict(_torch_heads(torch, block.attention, False).state_dict())
        other.linear1.weight.copy_(torch.tensor(block.inner.kernel.data.T))
        other.linear1.bias.copy_(torch.tensor(block.inner.bias.data))
        other.linear2.weight.copy_(torch.tensor(block.outer.kernel.data.T))
        other.linear2.bias.copy_(torch.tensor(block.outer.bias.data))
    t, u = Tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    y, z = block(t, Mode(True)), other(u)
    np.testing.assert_allclose(y.data, z.detach().numpy(), rtol=1e-4, atol=1e-5)
    backward(y, gy)
    z.backward(torch.tensor(gy))
    np.testing.assert_allclose(t.grad, u.grad.numpy(), rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(
        block.inner.kernel.grad.T, other.linear1.weight.grad.numpy(), rtol=1e-3, atol=1e-4
    )
    np.testing.assert_allclose(
        block.outer_norm.gamma.grad, other.norm2.weight.grad.numpy(), rtol=1e-3, atol=1e-4
    )
