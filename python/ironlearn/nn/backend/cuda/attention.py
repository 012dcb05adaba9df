"""Attention on the GPU, tile by tile: no array of queries times keys is ever stored."""

from __future__ import annotations

import math
from typing import NamedTuple

from ironlearn.nn.backend.cuda.base import CudaBase
from ironlearn.nn.backend.cuda.kernel import fused, rows_of
from ironlearn.nn.backend.cuda.source import PRECISIONS
from ironlearn.nn.backend.device import Array
from ironlearn.nn.backend.ops.attention import AttentionOps

#: The widest head that kernels take, and the threads of their blocks.
_WIDEST = 128
_THREADS = 256
#: Axes of what a mask is broadcast to.
_AXES = 4


class _Heads(NamedTuple):
    """Vectors of heads: the array, and the elements to the next sample, head and vector."""

    array: Array
    sample: int
    head: int
    vector: int

    @property
    def steps(self) -> tuple[int, int, int]:
        return self.sample, self.head, self.vector


def _by_head(array: Array) -> _Heads:
    """Return (N, h, T, d) in C order as heads."""
    _, heads, length, width = array.shape
    return _Heads(array, heads * length * width, length * width, width)


def _side_by_side(array: Array, heads: int, width: int, place: int = 0) -> _Heads:
    """Return the `place`-th h d columns of (N, T, ...) in C order as heads."""
    _, length, whole = array.shape
    start = array.reshape(-1)[place * heads * width :]
    return _Heads(start, length * whole, width, whole)


def _takes(lengths: tuple[int, ...], arrays: tuple[Array, ...]) -> bool:
    """Tell whether all have something in them and are of one of the kernels' dtypes."""
    dtypes = {str(a.dtype) for a in arrays}
    return 0 not in lengths and len(dtypes) == 1 and dtypes <= PRECISIONS.keys()


def _fits(shape: tuple[int, ...], mask: Array | None) -> bool:
    """Tell whether kernels take `mask` for what has `shape`."""
    if len(shape) > _AXES:
        return False
    if mask is None:
        return True
    return (
        mask.dtype.kind == "b"
        and mask.ndim <= len(shape)
        and all(
            have in (1, want) for have, want in zip(mask.shape[::-1], shape[::-1], strict=False)
        )
    )


def _steps_of(mask: Array | None) -> tuple[int, ...]:
    """Return the elements between neighbours of each of four axes, 0 where a mask is broadcast."""
    steps = [0] * _AXES
    if mask is not None:
        step = 1
        for axis in range(1, mask.ndim + 1):
            length = mask.shape[-axis]
            steps[-axis] = step if length > 1 else 0
            step *= length
    return tuple(steps)


def _softmax(scores: Array, mask: Array | None = None) -> bool:
    return scores.size > 0 and scores.ndim > 0 and _fits(scores.shape, mask)


def _softmax_backward(gweights: Array, weights: Array) -> bool:
    return weights.size > 0 and weights.ndim > 0 and gweights.shape == weights.shape


def _weights(
    q: Array,
    k: Array,
    *,
    mask: Array | None = None,
    causal: bool = False,
    scale: float | None = None,
) -> bool:
    shape = (*q.shape[:-1], k.shape[-2])
    return q.shape[:-2] == k.shape[:-2] and 0 not in (*q.shape, *shape) and _fits(shape, mask)


def _pool_backward(gout: Array, x: Array, out: Array, weights: Array) -> bool:
    return x.size > 0 and weights.shape == x.shape[:2] and gout.shape == out.shape


class CudaAttention(CudaBase, AttentionOps):
    """Attention and pooling by scores.

    Notes
    -----
    `attention` and its gradient are not marked `fused`: what one hands to the other, the
    logarithms (N, h, T) of each query's sum, is of the type that kernels compute in, which for
    16-bit arrays is not theirs; and whether the gradient is a kernel's turn follows from it. Where
    the base operation was used, the weights (N, h, T, S) are handed on.
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
        """Return softmax(scale q k') v and what the gradient needs."""
        if not (
            q.ndim == k.ndim == v.ndim == _AXES
            and q.shape[:2] == k.shape[:2] == v.shape[:2]
            and _takes((*q.shape, *k.shape, *v.shape), (q, k, v))
            and max(q.shape[3], v.shape[3]) <= _WIDEST
            and _fits((*q.shape[:3], k.shape[2]), mask)
        ):
            return super().attention(q, k, v, mask=mask, causal=causal, scale=scale)
        whole = self.xp.ascontiguousarray
        out = self.xp.empty((*q.shape[:3], v.shape[3]), q.dtype)
        parts = [_by_head(whole(a)) for a in (q, k, v)]
        shape = (*q.shape, k.shape[2], v.shape[3])
        return out, (self._attend(parts, _by_head(out), shape, mask, causal, scale),)

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
        (logs,) = cache
        if logs.ndim == _AXES:
            return super().attention_backward(
                gout, q, k, v, out, cache, mask=mask, causal=causal, scale=scale
            )
        xp = self.xp
        given = [_by_head(xp.ascontiguousarray(a, q.dtype)) for a in (gout, out, q, k, v)]
        grads = tuple(xp.empty(a.shape, a.dtype) for a in (q, k, v))
        shape = (*q.shape, k.shape[2], v.shape[3])
        self._attend_backward(given, logs, grads, shape, mask, causal, scale)
        return grads

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
        n, length, columns = qkv.shape
        width = columns // (3 * heads)
        if not (
            _takes(qkv.shape, (qkv,))
            and width <= _WIDEST
            and _fits((n, heads, length, length), mask)
        ):
            return super().attention_packed(qkv, heads, mask=mask, causal=causal, scale=scale)
        packed = self.xp.ascontiguousarray(qkv)
        out = self.xp.empty((n, length, heads * width), qkv.dtype)
        parts = [_side_by_side(packed, heads, width, place) for place in range(3)]
        shape = (n, heads, length, width, length, width)
        logs = self._attend(parts, _side_by_side(out, heads, width), shape, mask, causal, scale)
        return out, (logs,)

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
        (logs,) = cache
        if logs.ndim == _AXES:
            return super().attention_packed_backward(
                gout, qkv, out, cache, heads, mask=mask, causal=causal, scale=scale
            )
        xp = self.xp
        n, length, columns = qkv.shape
        width = columns // (3 * heads)
        packed = xp.ascontiguousarray(qkv)
        gqkv = xp.empty(qkv.shape, qkv.dtype)
        given = [
            _side_by_side(xp.ascontiguousarray(a, qkv.dtype), heads, width) for a in (gout, out)
        ]
        given += [_side_by_side(packed, heads, width, place) for place in range(3)]
        grads = tuple(_side_by_side(gqkv, heads, width, place).array for place in range(3))
        shape = (n, heads, length, width, length, width)
        self._attend_backward(given, logs, grads, shape, mask, causal, scale)
        return gqkv

    @fused(_weights)
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
        scores = self.matmul(q, k.swapaxes(-1, -2))
        return self._softmax_rows(scores, scores, mask, causal, _scale(q.shape[-1], scale))

    @fused(_softmax)
    def masked_softmax(self, scores: Array, mask: Array | None = None) -> Array:
        """Return the softmax over the last axis of scores where `mask` is True, 0 elsewhere."""
        return self._softmax_rows(scores, self.xp.empty_like(scores), mask, False, 1.0)

    @fused(_softmax_backward)
    def masked_softmax_backward(self, gweights: Array, weights: Array) -> Array:
        """Return the gradient of `masked_softmax`'s scores."""
        gscores = self.xp.empty_like(weights)
        columns = weights.shape[-1]
        rows = weights.size // columns
        blocks, threads = rows_of(rows, columns)
        self.kernels.launch(
            "masked_softmax_backward",
            weights.dtype,
            blocks,
            threads,
            *(gweights, weights, gscores, rows, columns),
        )
        return gscores

    @fused(_pool_backward)
    def attention_pool_backward(
        self, gout: Array, x: Array, out: Array, weights: Array
    ) -> tuple[Array, Array]:
        """Return the gradients of `attention_pool`'s x and scores."""
        gx, gscores = self.xp.empty_like(x), self.xp.empty_like(weights)
        n, length, width = x.shape
        blocks, threads = rows_of(n * length, width)
        self.kernels.launch(
            "attention_pool_backward",
            x.dtype,
            blocks,
            threads,
            *(gout, x, out, weights, gx, gscores, n * length, length, width),
        )
        return gx, gscores

    def _compact(self, mask: Array | None) -> Array | None:
        """Return `mask` in C order, axes along which one element stands for all with that one."""
        if mask is None:
            return None
        short = (slice(0, 1) if step == 0 else slice(None) for step in mask.strides)
        return self.xp.ascontiguousarray(mask[tuple(short)])

    def _attend(
        self,
        qkv: list[_Heads],
        out: _Heads,
        shape: tuple[int, ...],
        mask: Array | None,
        causal: bool,
        scale: float | None,
    ) -> Array:
        """Compute `out` and return the logarithms; `shape` is (N, h, T, d, S, e)."""
        n, heads, queries, width, keys, value_width = shape
        dtype = out.array.dtype
        logs = self.xp.empty((n, heads, queries), self._wide(dtype))
        mask = self._compact(mask)
        self.kernels.launch(
            "attention_forward",
            dtype,
            _tiles(queries, dtype) * n * heads,
            _THREADS,
            *(part.array for part in qkv),
            *(mask, out.array, logs),
            *(step for part in (*qkv, out) for step in part.steps),
            *_steps_of(mask),
            *(heads, queries, keys, width, value_width, causal, _scale(width, scale)),
        )
        return logs

    def _attend_backward(
        self,
        given: list[_Heads],
        logs: Array,
        grads: tuple[Array, ...],
        shape: tuple[int, ...],
        mask: Array | None,
        causal: bool,
        scale: float | None,
    ) -> None:
        """Compute the gradients of queries, keys and values, which are laid out as those are.

        `given` are the output's gradient, the output, queries, keys and values.
        """
        gout, out, *qkv = given
        n, heads, queries, width, keys, value_width = shape
        dtype = gout.array.dtype
        shares = self.xp.empty_like(logs)
        self.kernels.launch(
            "attention_shares",
            dtype,
            -(-n * heads * queries // 4),
            (32, 4),
            *(gout.array, out.array, shares, *gout.steps),
            *(n * heads * queries, heads, queries, value_width),
        )
        mask = self._compact(mask)
        arrays = (gout.array, *(part.array for part in qkv), mask, logs, shares)
        numbers = (
            *(step for part in (gout, *qkv) for step in part.steps),
            *_steps_of(mask),
            *(heads, queries, keys, width, value_width, causal, _scale(width, scale)),
        )
        for name, length, results in (
            ("attention_query_gradient", queries, grads[:1]),
            ("attention_key_gradient", keys, grads[1:]),
        ):
            blocks = _tiles(length, dtype) * n * heads
            self.kernels.launch(name, dtype, blocks, _THREADS, *arrays, *results, *numbers)

    def _softmax_rows(
        self, scores: Array, y: Array, mask: Array | None, causal: bool, scale: float
    ) -> Array:
        columns = scores.shape[-1]
        rows = scores.size // columns
        _, b, c, _ = (1,) * (_AXES - scores.ndim) + scores.shape
        blocks, threads = rows_of(rows, columns)
        self.kernels.launch(
            "masked_softmax",
            scores.dtype,
            blocks,
            threads,
            *(scores, mask, y, rows, columns, b, c, *_steps_of(mask), causal, scale),
        )
        return y


def _tiles(length: int, dtype: object) -> int:
    """Return the tiles of `length` queries or keys (ATTENTION_TILE in kernels/attention.cu)."""
    return -(-length // (32 if str(dtype) == "float64" else 64))


def _scale(width: int, scale: float | None) -> float:
    return 1.0 / math.sqrt(width) if scale is None else float(scale)
