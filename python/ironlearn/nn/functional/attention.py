"""Attention over sequences."""

from __future__ import annotations

from typing import Any

from ironlearn.nn.autograd import Context, Function, Tensor, as_tensor
from ironlearn.nn.backend.device import Array
from ironlearn.nn.backend.ops import Ops


class Attention(Function):
    """softmax(scale q k') v."""

    @staticmethod
    def forward(ctx: Context, ops: Ops, q: Array, k: Array, v: Array, **settings: Any) -> Array:
        """Compute the outputs."""
        out, cache = ops.attention(q, k, v, **settings)
        ctx.save((q, k, v, out, cache), settings)
        return out

    @staticmethod
    def backward(ctx: Context, ops: Ops, g: Array) -> tuple[Array, ...]:
        """Compute the inputs' gradients."""
        arrays, settings = ctx.saved
        return ops.attention_backward(g, *arrays, **settings)


class AttentionPacked(Function):
    """Attention of queries, keys and values that stand side by side."""

    @staticmethod
    def forward(ctx: Context, ops: Ops, qkv: Array, *, heads: int, **settings: Any) -> Array:
        """Compute the outputs."""
        out, cache = ops.attention_packed(qkv, heads, **settings)
        ctx.save((qkv, out, cache, heads), settings)
        return out

    @staticmethod
    def backward(ctx: Context, ops: Ops, g: Array) -> Array:
        """Compute the inputs' gradients."""
        arrays, settings = ctx.saved
        return ops.attention_packed_backward(g, *arrays, **settings)


class MaskedSoftmax(Function):
    """Softmax over the last axis, 0 where a mask is False."""

    @staticmethod
    def forward(ctx: Context, ops: Ops, scores: Array, *, mask: Array | None) -> Array:
        """Compute the outputs."""
        weights = ops.masked_softmax(scores, mask)
        ctx.save(weights)
        return weights

    @staticmethod
    def backward(ctx: Context, ops: Ops, g: Array) -> Array:
        """Compute the inputs' gradients."""
        return ops.masked_softmax_backward(g, *ctx.saved)


class AttentionPool(Function):
    """A weighted sum over the steps, and the weights."""

    several = True

    @staticmethod
    def forward(
        ctx: Context, ops: Ops, x: Array, scores: Array, *, mask: Array | None
    ) -> tuple[Array, Array]:
        """Compute the outputs."""
        out, weights = ops.attention_pool(x, scores, mask)
        ctx.save(x, out, weights)
        return out, weights

    @staticmethod
    def backward(
        ctx: Context, ops: Ops, g: Array | None, gweights: Array | None
    ) -> tuple[Array | None, ...]:
        """Compute the inputs' gradients; none passes through the weights as an output."""
        return (None, None) if g is None else ops.attention_pool_backward(g, *ctx.saved)


def attention(
    q: Tensor | Array,
    k: Tensor | Array,
    v: Tensor | Array,
    *,
    mask: Array | None = None,
    causal: bool = False,
    scale: float | None = None,
) -> Tensor:
    """Return softmax(scale q k') v.

    Parameters
    ----------
    q : Tensor of shape (N, h, T, d)
        Queries of h heads.
    k : Tensor of shape (N, h, S, d)
        Keys.
    v : Tensor of shape (N, h, S, e)
        Values.
    mask : bool array, optional
        Broadcast to (N, h, T, S): a query may look at keys where it is True. A query that may look
        at none gets zeros.
    causal : bool, default=False
        Query t may look at keys up to t + S - T, so that the last query sees every key.
    scale : float, optional
        Factor of the scores, 1 / sqrt(d) by default.

    Returns
    -------
    Tensor of shape (N, h, T, e)

    Notes
    -----
    Vaswani et al., "Attention is all you need" (arXiv:1706.03762).

    Examples
    --------
    >>> import numpy as np
    >>> v = np.arange(3.0).reshape(1, 1, 3, 1)
    >>> attention(np.zeros((1, 1, 3, 2)), np.zeros((1, 1, 3, 2)), v, causal=True).data[0, 0, :, 0]
    array([0. , 0.5, 1. ])
    """
    return Attention.apply(
        as_tensor(q), as_tensor(k), as_tensor(v), mask=mask, causal=causal, scale=scale
    )


def attention_packed(
    qkv: Tensor | Array,
    heads: int,
    *,
    mask: Array | None = None,
    causal: bool = False,
    scale: float | None = None,
) -> Tensor:
    """Return `attention` of a sequence to itself.

    Parameters
    ----------
    qkv : Tensor of shape (N, T, 3 h d)
        Queries of all heads, then keys, then values.
    heads : int
        Number of heads h.
    mask, causal, scale
        As of `attention`.

    Returns
    -------
    Tensor of shape (N, T, h d)
    """
    return AttentionPacked.apply(as_tensor(qkv), heads=heads, mask=mask, causal=causal, scale=scale)


def attention_pool(
    x: Tensor | Array, scores: Tensor | Array, mask: Array | None = None
) -> tuple[Tensor, Tensor]:
    """Return sum_t w_t x_t and the weights w = softmax(scores).

    Parameters
    ----------
    x : Tensor of shape (N, T, D)
    scores : Tensor of shape (N, T)
    mask : bool array of shape (N, T), optional
        Steps that count. A sequence without any gives zeros.

    Returns
    -------
    Tensor of shape (N, D), Tensor of shape (N, T)
        The weights are for looking at: no gradient passes through them.
    """
    out, weights = AttentionPool.apply(as_tensor(x), as_tensor(scores), mask=mask)
    return out, weights


def masked_softmax(scores: Tensor | Array, mask: Array | None = None) -> Tensor:
    """Return the softmax over the last axis of scores where `mask` is True, 0 elsewhere.

    Parameters
    ----------
    scores : Tensor
        Any shape.
    mask : bool array, optional
        Broadcast to the shape of `scores`. Where it is False all along the axis, all is 0.

    Returns
    -------
    Tensor of the shape of scores

    Examples
    --------
    >>> import numpy as np
    >>> masked_softmax(np.zeros((1, 3)), np.array([[True, True, False]])).data
    array([[0.5, 0.5, 0. ]])
    """
    return MaskedSoftmax.apply(as_tensor(scores), mask=mask)
