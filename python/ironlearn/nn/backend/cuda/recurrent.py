"""Recurrent layers on the GPU: one launch a sequence, or a product and one launch a step."""

from __future__ import annotations

import dataclasses
from typing import Any

from ironlearn.nn.backend.cuda.activations import NUMBERS
from ironlearn.nn.backend.cuda.base import CudaBase
from ironlearn.nn.backend.cuda.kernel import fused
from ironlearn.nn.backend.device import Array
from ironlearn.nn.backend.ops.activations import FUSED
from ironlearn.nn.backend.ops.recurrent import RecurrentOps, _before, _order, _product

_Cache = tuple[Any, ...]

#: Shared memory of a block, in bytes.
_SHARED = 48 << 10
#: A block walks one sample while there are so few that more would leave parts of the GPU idle.
_ALONE = 256
#: Samples of a block otherwise (the kernels have 1 and 4).
_TOGETHER = 4
#: The largest u, in bytes, that a walk reads again each step.
_LARGEST = 256 << 10
#: Bytes of u that all blocks together may read from the second-level cache in a step. A product
#: and a launch of a step take the host some 15 microseconds; this many bytes pass in as many.
_READ = 64 << 20
_MOST_THREADS = 512
#: Sums of a unit, and numbers that its backward needs.
_SUMS = {"lstm": 4, "gru": 3, "rnn": 1}
_KEPT = {"lstm": 4, "gru": 4, "rnn": 0}


@dataclasses.dataclass(frozen=True)
class _Walk:
    """How a whole sequence is walked by one launch."""

    samples: int
    near: bool
    shared: int
    blocks: int
    threads: int


def _walk(unit: str, u: Array, n: int, backward: bool) -> _Walk | None:
    """Return how to walk `n` samples at once; ``None`` where a launch a step is better."""
    units, columns = u.shape
    samples = 1 if n <= _ALONE else _TOGETHER
    blocks = -(-n // samples)
    rows = 2 + _SUMS[unit] * (2 if backward or unit == "gru" else 1)
    shared = samples * units * rows * (8 if u.dtype == "float64" else 4)
    near = shared + u.nbytes <= _SHARED
    if not near and (u.nbytes > _LARGEST or blocks * u.nbytes > _READ):
        return None
    threads = min(-(-columns // 32) * 32, _MOST_THREADS)
    return _Walk(samples, near, shared + near * u.nbytes, blocks, threads)


def _usual(*_: Any, mask: Array | None = None, activation: str = "tanh", **__: Any) -> bool:
    return activation in FUSED and (mask is None or mask.dtype == bool)


class CudaRecurrent(CudaBase, RecurrentOps):
    """LSTM, GRU and simple recurrent layers."""

    @fused(_usual)
    def lstm(
        self,
        x: Array,
        w: Array,
        u: Array,
        b: Array,
        h0: Array,
        c0: Array,
        *,
        mask: Array | None = None,
        reverse: bool = False,
        keep: bool = True,
    ) -> tuple[Array, Array, Array, _Cache]:
        """Return all states, the last state, the last cell state, and a cache."""
        y, h, c, gates, cells = self._recurrent_ahead(
            "lstm", x, w, u, b, None, h0, c0, mask, reverse, keep
        )
        return y, h, c, ((gates, cells) if keep else ())

    @fused(_usual)
    def lstm_backward(
        self,
        gy: Array | None,
        gh: Array | None,
        gc: Array | None,
        x: Array,
        w: Array,
        u: Array,
        b: Array,
        h0: Array,
        c0: Array,
        y: Array,
        cache: _Cache,
        *,
        mask: Array | None = None,
        reverse: bool = False,
        needs_x: bool = True,
    ) -> tuple[Array | None, Array, Array, Array, Array, Array]:
        """Return the gradients of x, w, u, b, h0 and c0."""
        gates, cells = cache
        gz, gs, dh, dc = self._recurrent_back(
            "lstm", gy, gh, gc, u, cells, c0, gates, mask, reverse
        )
        gu = _product(self, _before(self.xp, y, h0, reverse), gs)
        return (
            *self._recurrent_inputs(x, w, gz, needs_x),
            gu,
            self.unbroadcast(gz, b.shape),
            dh,
            dc,
        )

    @fused(_usual)
    def gru(
        self,
        x: Array,
        w: Array,
        u: Array,
        b: Array,
        bu: Array,
        h0: Array,
        *,
        mask: Array | None = None,
        reverse: bool = False,
        keep: bool = True,
    ) -> tuple[Array, Array, _Cache]:
        """Return all states, the last state, and a cache."""
        y, h, _, gates, _ = self._recurrent_ahead(
            "gru", x, w, u, b, bu, h0, None, mask, reverse, keep
        )
        return y, h, ((gates,) if keep else ())

    @fused(_usual)
    def gru_backward(
        self,
        gy: Array | None,
        gh: Array | None,
        x: Array,
        w: Array,
        u: Array,
        b: Array,
        bu: Array,
        h0: Array,
        y: Array,
        cache: _Cache,
        *,
        mask: Array | None = None,
        reverse: bool = False,
        needs_x: bool = True,
    ) -> tuple[Array | None, Array, Array, Array, Array, Array]:
        """Return the gradients of x, w, u, b, bu and h0."""
        (gates,) = cache
        gx, gs, dh, _ = self._recurrent_back("gru", gy, gh, None, u, y, h0, gates, mask, reverse)
        gu = _product(self, _before(self.xp, y, h0, reverse), gs)
        gb, gbu = self.unbroadcast(gx, b.shape), self.unbroadcast(gs, bu.shape)
        return (*self._recurrent_inputs(x, w, gx, needs_x), gu, gb, gbu, dh)

    @fused(_usual)
    def rnn(
        self,
        x: Array,
        w: Array,
        u: Array,
        b: Array,
        h0: Array,
        *,
        activation: str = "tanh",
        mask: Array | None = None,
        reverse: bool = False,
        keep: bool = True,
    ) -> tuple[Array, Array, _Cache]:
        """Return all states, the last state, and a cache."""
        kind = NUMBERS[activation]
        y, h, *_ = self._recurrent_ahead(
            "rnn", x, w, u, b, None, h0, None, mask, reverse, keep, kind
        )
        return y, h, ()

    @fused(_usual)
    def rnn_backward(
        self,
        gy: Array | None,
        gh: Array | None,
        x: Array,
        w: Array,
        u: Array,
        b: Array,
        h0: Array,
        y: Array,
        cache: _Cache,
        *,
        activation: str = "tanh",
        mask: Array | None = None,
        reverse: bool = False,
        needs_x: bool = True,
    ) -> tuple[Array | None, Array, Array, Array, Array]:
        """Return the gradients of x, w, u, b and h0."""
        kind = NUMBERS[activation]
        gz, gs, dh, _ = self._recurrent_back(
            "rnn", gy, gh, None, u, y, h0, None, mask, reverse, kind
        )
        gu = _product(self, _before(self.xp, y, h0, reverse), gs)
        return (*self._recurrent_inputs(x, w, gz, needs_x), gu, self.unbroadcast(gz, b.shape), dh)

    def _recurrent_ahead(
        self,
        unit: str,
        x: Array,
        w: Array,
        u: Array,
        b: Array,
        bu: Array | None,
        h0: Array,
        c0: Array | None,
        mask: Array | None,
        reverse: bool,
        keep: bool,
        kind: int = 0,
    ) -> tuple[Array, Array, Array | None, Array | None, Array | None]:
        """Return y, the last states, and what the units keep for backward."""
        xp = self.xp
        (n, steps, width), (units, columns) = x.shape, u.shape
        # Of two axes: with three, CuPy would call cuBLAS for each sample's own small product.
        zx = self.matmul(x.reshape(n * steps, width), w).reshape(n, steps, columns)
        y = xp.empty((n, steps, units), x.dtype)
        gates = None
        if keep and _KEPT[unit]:
            # A unit reads all its sums before it writes, so its numbers may take their place.
            same = _KEPT[unit] == _SUMS[unit]
            gates = zx if same else xp.empty((n, steps, _KEPT[unit] * units), x.dtype)
        cells = xp.empty_like(y) if keep and c0 is not None else None
        arrays: tuple[Any, ...]
        walk = _walk(unit, u, n, backward=False)
        if walk is not None:
            h, c = xp.empty_like(h0), None if c0 is None else xp.empty_like(c0)
            arrays = (zx, u, b, bu, mask, h0, c0, y, gates, cells, h, c)
            self._recurrent_walk(f"{unit}_walk", walk, u, arrays, (n, steps, units, reverse, kind))
            return y, h, c, gates, cells
        h, c = self._recurrent_state(h0, h0), None if c0 is None else self._recurrent_state(c0, c0)
        rounded = h if h.dtype == x.dtype else h0.copy()
        for t in _order(steps, reverse):
            arrays = (zx, self.matmul(rounded, u), b, bu, mask, h, c, rounded, y, gates, cells)
            self.kernels.each(f"{unit}_step", y, n * units, *arrays, n, steps, t, units, kind)
        return y, rounded, None if c is None else self._recurrent_rest(c, None, x), gates, cells

    def _recurrent_back(
        self,
        unit: str,
        gy: Array | None,
        gh: Array | None,
        gc: Array | None,
        u: Array,
        states: Array,
        first: Array,
        gates: Array | None,
        mask: Array | None,
        reverse: bool,
        kind: int = 0,
    ) -> tuple[Array, Array, Array, Array | None]:
        """Return the gradients of the sums of x, of those of h, and of the first states."""
        xp = self.xp
        n, steps, units = states.shape
        gx = xp.empty((n, steps, u.shape[1]), u.dtype)
        gs = xp.empty_like(gx) if unit == "gru" else gx
        has_cell = unit == "lstm"
        arrays: tuple[Any, ...]
        sizes: tuple[int, ...]
        walk = _walk(unit, u, n, backward=True)
        if walk is not None:
            dh, dc = xp.empty_like(first), xp.empty_like(first) if has_cell else None
            ut = xp.ascontiguousarray(u.T)
            arrays = (gy, gh, gc, ut, states, first, gates, mask, gx, gs, dh, dc)
            sizes = (n, steps, units, reverse, kind)
            self._recurrent_walk(f"{unit}_walk_backward", walk, u, arrays, sizes)
            return gx, gs, dh, dc
        kept = self._recurrent_state(gh, first)
        dc = self._recurrent_state(gc, first) if has_cell else None
        dz = xp.empty((n, u.shape[1]), u.dtype)
        product = None
        for t in _order(steps, not reverse):
            arrays = (gy, product, states, first, gates, mask, kept, dc, gx, gs, dz)
            sizes = (n, steps, t, reverse, units, kind)
            self.kernels.each(f"{unit}_step_backward", u, n * units, *arrays, *sizes)
            product = self.matmul(dz, u.T)
        dh = self._recurrent_rest(kept, product, u)
        return gx, gs, dh, None if dc is None else self._recurrent_rest(dc, None, u)

    def _recurrent_inputs(
        self, x: Array, w: Array, gz: Array, needs_x: bool
    ) -> tuple[Array | None, Array]:
        """Return the gradients of x and w, given those of x w."""
        rows = gz.reshape(gz.shape[0] * gz.shape[1], gz.shape[2])
        gx = self.matmul(rows, w.T).reshape(x.shape) if needs_x else None
        return gx, _product(self, x, gz)

    def _recurrent_walk(
        self, name: str, walk: _Walk, like: Array, arrays: tuple[Any, ...], sizes: tuple[int, ...]
    ) -> None:
        """Queue a walk over whole sequences."""
        self.kernels.launch(
            name,
            like.dtype,
            walk.blocks,
            walk.threads,
            *arrays,
            *sizes,
            walk.near,
            walk.samples,
            shared=walk.shared,
        )

    def _recurrent_state(self, given: Array | None, like: Array) -> Array:
        """Return a copy of a state, zeros without one, in the precision of computing."""
        dtype = self.xp.float64 if like.dtype == "float64" else self.xp.float32
        return self.xp.zeros(like.shape, dtype) if given is None else given.astype(dtype)

    def _recurrent_rest(self, state: Array, product: Array | None, like: Array) -> Array:
        """Return `state` plus `product` as storage takes it."""
        if product is None and state.dtype == like.dtype:
            return state
        out = self.xp.empty(state.shape, like.dtype)
        self.kernels.each("recurrent_rest", out, out.size, state, product, out, out.size)
        return out
