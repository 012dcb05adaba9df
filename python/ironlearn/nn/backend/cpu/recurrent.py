"""Recurrent layers on the CPU."""

from __future__ import annotations

from typing import Any

import numpy as np

from ironlearn import _core, _threads
from ironlearn.nn.backend.cpu.native import native
from ironlearn.nn.backend.device import Array
from ironlearn.nn.backend.ops.recurrent import RecurrentOps

_Cache = tuple[Any, ...]


def _has_kernel(*_: Any, activation: str = "tanh", **__: Any) -> bool:
    return activation in ("tanh", "relu")


def _settings(mask: Array | None, reverse: bool) -> dict[str, Any]:
    if mask is not None:
        mask = np.ascontiguousarray(mask, bool).view(np.uint8)
    return {"mask": mask, "reverse": reverse, "n_threads": _threads.resolve(None)}


class CpuRecurrent(RecurrentOps):
    """Whole sequences in one native call."""

    @native()
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
        y, h, c, tape = _core.nn_recurrent(
            "lstm", x, w, u, b, None, h0, c0, keep=keep, **_settings(mask, reverse)
        )
        return y, h, c, () if tape is None else (tape,)

    @native()
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
        (tape,) = cache
        settings = _settings(mask, reverse)
        gx, gw, gu, gb, _, gh0, gc0 = _core.nn_recurrent_backward(
            "lstm", gy, gh, gc, x, w, u, b, None, h0, c0, tape, needs_x=needs_x, **settings
        )
        return gx, gw, gu, gb, gh0, gc0

    @native()
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
        y, h, _, tape = _core.nn_recurrent(
            "gru", x, w, u, b, bu, h0, None, keep=keep, **_settings(mask, reverse)
        )
        return y, h, () if tape is None else (tape,)

    @native()
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
        (tape,) = cache
        settings = _settings(mask, reverse)
        gx, gw, gu, gb, gbu, gh0, _ = _core.nn_recurrent_backward(
            "gru", gy, gh, None, x, w, u, b, bu, h0, None, tape, needs_x=needs_x, **settings
        )
        assert gbu is not None
        return gx, gw, gu, gb, gbu, gh0

    @native(_has_kernel)
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
        y, h, _, tape = _core.nn_recurrent(
            activation, x, w, u, b, None, h0, None, keep=keep, **_settings(mask, reverse)
        )
        return y, h, () if tape is None else (tape,)

    @native(_has_kernel)
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
        (tape,) = cache
        settings = _settings(mask, reverse)
        gx, gw, gu, gb, _, gh0, _ = _core.nn_recurrent_backward(
            activation, gy, gh, None, x, w, u, b, None, h0, None, tape, needs_x=needs_x, **settings
        )
        return gx, gw, gu, gb, gh0
