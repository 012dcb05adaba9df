"""Encoder blocks on the CPU."""

from __future__ import annotations

from typing import Any

import numpy as np

from ironlearn import _core
from ironlearn._threads import resolve
from ironlearn.nn.backend.cpu.attention import four_axes
from ironlearn.nn.backend.cpu.native import native
from ironlearn.nn.backend.device import Array
from ironlearn.nn.backend.ops.activations import FUSED, UNFUSED
from ironlearn.nn.backend.ops.encoder import EncoderOps


def _takes(x: Array, weights: tuple[Array, ...], *, activation: str = "relu", **_: Any) -> bool:
    whole = bool(weights) and all(w.size for w in weights)
    return bool(x.size) and whole and activation in FUSED + UNFUSED


class CpuEncoder(EncoderOps):
    """All blocks in one call, a few sequences at a time: what lies between stays in the caches."""

    @native(_takes)
    def encoder_blocks(
        self,
        x: Array,
        weights: tuple[Array, ...],
        *,
        heads: int,
        activation: str = "relu",
        norm_first: bool = False,
        causal: bool = False,
        eps: float = 1e-5,
        mask: Array | None = None,
    ) -> Array:
        """Return what blocks, one after the other, make of x (N, T, D)."""
        y = np.array(x, order="C")
        _core.nn_encoder_blocks(
            y,
            list(weights),
            heads,
            activation,
            norm_first,
            causal,
            eps,
            four_axes(mask),
            resolve(None),
        )
        return y
