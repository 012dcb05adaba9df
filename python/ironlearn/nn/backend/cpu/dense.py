"""Affine maps on the CPU."""

from __future__ import annotations

from typing import Any

import numpy as np

from ironlearn import _core
from ironlearn._threads import resolve
from ironlearn.nn.backend.cpu.native import native
from ironlearn.nn.backend.device import Array
from ironlearn.nn.backend.ops.activations import FUSED, UNFUSED
from ironlearn.nn.backend.ops.dense import DenseOps


def _fits(x: Array, w: Array, b: Array | None = None, activation: str = "linear") -> bool:
    return (
        activation in FUSED + UNFUSED
        and x.ndim == w.ndim == 2
        and w.shape[0] == x.shape[1]
        and (b is None or b.shape == (w.shape[1],))
        and x.size > 0
        and w.size > 0
    )


def _sums(gy: Array, x: Array, w: Array, y: Any, activation: str = "linear", *_: Any) -> bool:
    return activation != "linear" and activation in FUSED and gy.shape == y.shape and gy.size > 0


class CpuDense(DenseOps):
    """Products whose tiles get bias and activation before they are written."""

    @native(_fits)
    def affine(
        self, x: Array, w: Array, b: Array | None = None, activation: str = "linear"
    ) -> Array:
        """Return activation(x w + b)."""
        y = np.empty((x.shape[0], w.shape[1]), np.float32)
        _core.nn_affine(x, w, b, activation, y, resolve(None))
        return y

    @native(_sums)
    def affine_backward(
        self,
        gy: Array,
        x: Array,
        w: Array,
        y: Array,
        activation: str = "linear",
        needs: tuple[bool, bool, bool] = (True, True, True),
    ) -> tuple[Array | None, Array | None, Array | None]:
        """Return the gradients of x, w and b, where `needs` asks for them."""
        gz = np.empty_like(gy)
        gb = _core.nn_bias_activation_backward(gy, y, activation, gy.shape[1], gz, resolve(None))
        return (
            self.matmul(gz, w.T) if needs[0] else None,
            self.matmul(x.T, gz) if needs[1] else None,
            gb if needs[2] else None,
        )
