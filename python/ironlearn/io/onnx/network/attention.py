"""Attention: products of queries and keys, a softmax, a weighted sum."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from ironlearn.io.onnx.network.writer import LEAST, Value, Writer, value


def masked_softmax(w: Writer, scores: str, mask: str | None) -> str:
    """Return the softmax over the last axis where the mask is True, and 0 elsewhere.

    Where nothing counts, all weights are 0.
    """
    if mask is None:
        return w.op("Softmax", scores, axis=-1)
    weights = w.op("Softmax", w.op("Where", mask, scores, w.number(LEAST)), axis=-1)
    return w.op("Where", mask, weights, w.number(0.0))


def _order(w: Writer, scores: str) -> str:
    """Return which key a query may see if none may see a later one: bool (T, S)."""
    shape = w.op("Shape", scores)
    length, keys = (w.op("Gather", shape, w.integer(axis), axis=0) for axis in (-2, -1))
    last = w.op("Add", w.unsqueeze(w.count(length), 1), w.op("Sub", keys, length))
    return w.op("LessOrEqual", w.unsqueeze(w.count(keys), 0), last)


def attend(
    w: Writer,
    query: str,
    keys: str,
    values: str,
    *,
    mask: str | None = None,
    causal: bool = False,
    scale: float = 1.0,
) -> str:
    """Return softmax(scale q k') v of q (..., T, d), k transposed (..., d, S) and v (..., S, e)."""
    scores = w.op("MatMul", query, keys)
    if scale != 1.0:
        scores = w.op("Mul", scores, w.number(scale))
    if causal:
        order = _order(w, scores)
        mask = order if mask is None else w.op("And", mask, order)
    return w.op("MatMul", masked_softmax(w, scores, mask), values)


def dot(
    w: Writer, layer: Any, x: Value, *, context: str | None = None, context_mask: str | None = None
) -> Value:
    """`DotAttention`."""
    x = w.plain(x)
    if context is None:
        context, context_mask = x.name, x.mask
    keys = w.op("Transpose", context, perm=[0, 2, 1])
    wide = None if context_mask is None else w.unsqueeze(context_mask, 1)
    scale = 1.0 / math.sqrt(x.shape[1] or 1) if layer.scaled else 1.0
    name = attend(w, x.name, keys, context, mask=wide, causal=layer.causal, scale=scale)
    return x.named(name)


def additive(
    w: Writer, layer: Any, x: Value, *, context: str | None = None, context_mask: str | None = None
) -> Value:
    """`AdditiveAttention`."""
    x = w.plain(x)
    if context is None:
        context, context_mask = x.name, x.mask
    query = w.unsqueeze(w.affine(x.name, layer.query_kernel), 2)
    keys = w.unsqueeze(w.affine(context, layer.key_kernel, layer.bias), 1)
    hidden = w.op("Tanh", w.op("Add", query, keys))
    scores = w.squeeze(w.affine(hidden, layer.score_kernel), 3)
    wide = None if context_mask is None else w.unsqueeze(context_mask, 1)
    name = w.op("MatMul", masked_softmax(w, scores, wide), context)
    return replace(x, name=name, shape=layer.output_shape(x.shape))


def attention_pooling(w: Writer, layer: Any, x: Value) -> Value:
    """`AttentionPooling`."""
    x = w.plain(x)
    hidden = x.name
    if layer.units is not None:
        hidden = w.op("Tanh", w.affine(hidden, layer.kernel, layer.bias))
    scores = w.squeeze(w.affine(hidden, layer.score_kernel), 2)
    weights = w.unsqueeze(masked_softmax(w, scores, x.mask), 1)
    name = w.squeeze(w.op("MatMul", weights, x.name), 1)
    return value(name, layer.output_shape(x.shape))


def multi_head(
    w: Writer, layer: Any, x: Value, *, context: str | None = None, context_mask: str | None = None
) -> Value:
    """`MultiHeadAttention`: with a context, if it was made for one."""
    x = w.plain(x)
    heads = layer.num_heads
    inner = layer.output_kernel.shape[0]

    def bias(name: str) -> Any:
        return layer._bias(name)

    if layer.context_width is None:
        packed = w.affine(x.name, layer.kernel, bias("bias"))
        query, keys, values = w.graph.ops("Split", 3, packed, axis=2)
        mask = x.mask
    else:
        assert context is not None
        query = w.affine(x.name, layer.query_kernel, bias("query_bias"))
        both = w.affine(context, layer.context_kernel, bias("context_bias"))
        keys, values = w.graph.ops("Split", 2, both, axis=2)
        mask = context_mask

    def by_head(part: str, *perm: int) -> str:
        parts = w.graph.reshape(part, 0, 0, heads, inner // heads)
        return w.op("Transpose", parts, perm=perm)

    out = attend(
        w,
        by_head(query, 0, 2, 1, 3),
        by_head(keys, 0, 2, 3, 1),
        by_head(values, 0, 2, 1, 3),
        mask=None if mask is None else w.unsqueeze(mask, 1, 2),
        causal=layer.causal,
        scale=1.0 / math.sqrt(inner // heads),
    )
    flat = w.graph.reshape(w.op("Transpose", out, perm=[0, 2, 1, 3]), 0, 0, inner)
    return x.named(w.affine(flat, layer.output_kernel, bias("output_bias")))
