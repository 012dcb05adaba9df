"""Attention: weighted sums whose weights are a softmax of scores."""

from __future__ import annotations

import math

from ironlearn.nn.backend.device import Array
from ironlearn.nn.backend.ops.basic import BasicOps


class AttentionOps(BasicOps):
    """Scaled dot-product attention of Vaswani et al. (arXiv:1706.03762), and pooling by scores.

    A query that may look at nothing gets zeros.
    """

    def attention(
        self,
        q: Array,
        k: Array,
        v: Array,
        *,
        mask: Array | None = None,
        causal: bool = False,
        scale: float | None = None,
    ) -> tuple[Array, tuple[Array, ...]]:
        """Return softmax(scale q k') v and what the gradient needs.

        q is (N, h, T, d), k (N, h, S, d), v (N, h, S, e), the output (N, h, T, e). `mask`, bool, is
        broadcast to (N, h, T, S): True may be looked at. `causal` lets query t look at keys up to
        t + S - T: the last query sees every key. `scale` is 1 / sqrt(d) by default.
        """
        weights = self.attention_weights(q, k, mask=mask, causal=causal, scale=scale)
        return self.matmul(weights, v), (weights,)

    def attention_backward(
        self,
        gout: Array,
        q: Array,
        k: Array,
        v: Array,
        out: Array,
        cache: tuple[Array, ...],
        *,
        mask: Array | None = None,
        causal: bool = False,
        scale: float | None = None,
    ) -> tuple[Array, Array, Array]:
        """Return the gradients of `attention`'s q, k and v."""
        (weights,) = cache
        gv = self.matmul(weights.swapaxes(-1, -2), gout)
        gweights = self.matmul(gout, v.swapaxes(-1, -2))
        # The softmax's adjoint; sum(gweights weights) over the keys is sum(gout out).
        gscores = weights * (gweights - (gout * out).sum(axis=-1, keepdims=True))
        gscores = gscores * gscores.dtype.type(_scale(q, scale))
        return self.matmul(gscores, k), self.matmul(gscores.swapaxes(-1, -2), q), gv

    def attention_weights(
        self,
        q: Array,
        k: Array,
        *,
        mask: Array | None = None,
        causal: bool = False,
        scale: float | None = None,
    ) -> Array:
        """Return the weights (N, h, T, S) that `attention` would use."""
        xp = self.xp
        scores = self.matmul(q, k.swapaxes(-1, -2)) * q.dtype.type(_scale(q, scale))
        length, keys = scores.shape[-2:]
        if causal:
            order = xp.arange(keys) <= xp.arange(length)[:, None] + (keys - length)
            mask = order if mask is None else mask & order
        return self.masked_softmax(scores, mask)

    def masked_softmax(self, scores: Array, mask: Array | None = None) -> Array:
        """Return the softmax over the last axis of scores where `mask` is True, 0 elsewhere."""
        xp = self.xp
        if scores.shape[-1] == 0:
            return scores
        if mask is not None:
            scores = xp.where(mask, scores, scores.dtype.type(-math.inf))
        top = scores.max(axis=-1, keepdims=True)
        if mask is not None:
            top = xp.where(xp.isfinite(top), top, scores.dtype.type(0))
        weights = xp.exp(scores - top)
        total = weights.sum(axis=-1, keepdims=True)
        return weights / (total if mask is None else xp.where(total == 0, 1, total))

    def masked_softmax_backward(self, gweights: Array, weights: Array) -> Array:
        """Return the gradient of `masked_softmax`'s scores."""
        return weights * (gweights - (gweights * weights).sum(axis=-1, keepdims=True))

    # All of queries, keys and values side by side, as one product gives them.

    def attention_packed(
        self,
        qkv: Array,
        heads: int,
        *,
        mask: Array | None = None,
        causal: bool = False,
        scale: float | None = None,
    ) -> tuple[Array, tuple[Array, ...]]:
        """Return attention of qkv (N, T, 3 h d) to itself, (N, T, h d), and a cache.

        The last axis has all queries, then all keys, then all values.
        """
        n, length, width = qkv.shape
        out, cache = self.attention(
            *self._unpack(qkv, heads), mask=mask, causal=causal, scale=scale
        )
        return out.transpose(0, 2, 1, 3).reshape(n, length, width // 3), cache

    def attention_packed_backward(
        self,
        gout: Array,
        qkv: Array,
        out: Array,
        cache: tuple[Array, ...],
        heads: int,
        *,
        mask: Array | None = None,
        causal: bool = False,
        scale: float | None = None,
    ) -> Array:
        """Return the gradient of `attention_packed`'s qkv."""
        n, length, width = qkv.shape
        by_head = (n, length, heads, width // (3 * heads))
        grads = self.attention_backward(
            gout.reshape(by_head).transpose(0, 2, 1, 3),
            *self._unpack(qkv, heads),
            out.reshape(by_head).transpose(0, 2, 1, 3),
            cache,
            mask=mask,
            causal=causal,
            scale=scale,
        )
        parts = [g.transpose(0, 2, 1, 3).reshape(n, length, width // 3) for g in grads]
        return self.xp.concatenate(parts, axis=-1)

    def _unpack(self, qkv: Array, heads: int) -> tuple[Array, Array, Array]:
        n, length, width = qkv.shape
        parts = qkv.reshape(n, length, 3, heads, width // (3 * heads)).transpose(2, 0, 3, 1, 4)
        return parts[0], parts[1], parts[2]

    # One vector of a sequence.

    def attention_pool(
        self, x: Array, scores: Array, mask: Array | None = None
    ) -> tuple[Array, Array]:
        """Return sum_t w_t x_t of x (N, T, D), w = softmax(scores (N, T)): (N, D), and w."""
        weights = self.masked_softmax(scores, mask)
        return self.matmul(weights[:, None, :], x)[:, 0], weights

    def attention_pool_backward(
        self, gout: Array, x: Array, out: Array, weights: Array
    ) -> tuple[Array, Array]:
        """Return the gradients of `attention_pool`'s x and scores."""
        gx = weights[:, :, None] * gout[:, None, :]
        gweights = self.matmul(x, gout[:, :, None])[:, :, 0]
        return gx, weights * (gweights - (gout * out).sum(axis=-1, keepdims=True))


def _scale(q: Array, scale: float | None) -> float:
    return 1.0 / math.sqrt(max(1, q.shape[-1])) if scale is None else scale
