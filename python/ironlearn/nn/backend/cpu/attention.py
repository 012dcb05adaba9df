"""Attention on the CPU."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ironlearn import _core
from ironlearn._threads import resolve
from ironlearn.nn.backend.cpu.native import native
from ironlearn.nn.backend.device import Array
from ironlearn.nn.backend.ops.attention import AttentionOps


def _full(*arrays: Any, **_: Any) -> bool:
    """Tell whether no array is empty."""
    return all(a.size for a in arrays if isinstance(a, np.ndarray))


def four_axes(mask: Array | None) -> Array | None:
    """Return `mask` as bool with four axes."""
    if mask is None:
        return None
    return np.asarray(mask, bool).reshape((1,) * (4 - mask.ndim) + mask.shape)


def _factor(width: int, scale: float | None) -> float:
    return 1.0 / math.sqrt(width) if scale is None else scale


class CpuAttention(AttentionOps):
    """Attention by tiles: the weights are never stored, the gradient makes them again.

    Answers stand step by step in memory, so that joining the heads again moves nothing.
    """

    @native(_full)
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
        """Return softmax(scale q k') v and what the gradient needs."""
        n, heads, length, width = q.shape
        out = np.empty((n, length, heads, v.shape[3]), np.float32)
        lse = np.empty((n, heads, length), np.float32)
        factor = _factor(width, scale)
        _core.nn_attention(q, k, v, four_axes(mask), causal, factor, out, lse, resolve(None))
        return out.transpose(0, 2, 1, 3), (lse, out)

    @native(_full)
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
        lse, by_step = cache
        gq, gk, gv = (np.empty_like(a.transpose(0, 2, 1, 3), order="C") for a in (q, k, v))
        factor = _factor(q.shape[3], scale)
        allowed, n_threads = four_axes(mask), resolve(None)
        _core.nn_attention_backward(
            gout, q, k, v, by_step, lse, allowed, causal, factor, gq, gk, gv, n_threads
        )
        return gq.transpose(0, 2, 1, 3), gk.transpose(0, 2, 1, 3), gv.transpose(0, 2, 1, 3)

    @native(_full)
    def attention_packed(
        self,
        qkv: Array,
        heads: int,
        *,
        mask: Array | None = None,
        causal: bool = False,
        scale: float | None = None,
    ) -> tuple[Array, tuple[Array, ...]]:
        """Return attention of qkv (N, T, 3 h d) to itself, (N, T, h d), and a cache."""
        n, length, width = qkv.shape
        out = np.empty((n, length, width // 3), np.float32)
        lse = np.empty((n, heads, length), np.float32)
        factor = _factor(width // (3 * heads), scale)
        _core.nn_attention_packed(
            qkv, heads, four_axes(mask), causal, factor, out, lse, resolve(None)
        )
        return out, (lse,)

    @native(_full)
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
        gqkv = np.empty_like(qkv)
        factor = _factor(qkv.shape[2] // (3 * heads), scale)
        _core.nn_attention_packed_backward(
            gout, qkv, heads, out, cache[0], four_axes(mask), causal, factor, gqkv, resolve(None)
        )
        return gqkv
