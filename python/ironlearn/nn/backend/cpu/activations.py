"""Activations on the CPU."""

from __future__ import annotations

import numpy as np

from ironlearn import _core
from ironlearn._threads import resolve
from ironlearn.nn.backend.cpu.native import native
from ironlearn.nn.backend.device import Array
from ironlearn.nn.backend.ops.activations import FUSED, UNFUSED, ActivationOps


class CpuActivations(ActivationOps):
    """Activations in one pass."""

    @native(lambda x, name: name != "linear" and name in FUSED + UNFUSED)
    def activation(self, x: Array, name: str) -> Array:
        """Return the activation `name` of `x`."""
        y = np.empty_like(x)
        _core.nn_activation(x, name, y, resolve(None))
        return y

    @native(lambda gy, y, name: name != "linear" and name in FUSED and gy.shape == y.shape)
    def activation_backward(self, gy: Array, y: Array, name: str) -> Array:
        """Return the input's gradient from the output."""
        gx = np.empty_like(gy)
        _core.nn_activation_backward(gy, y, name, gx, resolve(None))
        return gx

    @native(lambda gy, x, name: name in UNFUSED and gy.shape == x.shape)
    def activation_input_backward(self, gy: Array, x: Array, name: str) -> Array:
        """Return the input's gradient from the input."""
        gx = np.empty_like(gy)
        _core.nn_activation_backward(gy, x, name, gx, resolve(None))
        return gx
