"""Elementwise activations and their derivatives."""

from __future__ import annotations

import math

from ironlearn.nn.backend.device import Array
from ironlearn.nn.backend.ops.basic import BasicOps

#: Activations whose derivative follows from the output: these can be fused into other operations.
FUSED = ("linear", "relu", "sigmoid", "tanh", "leaky_relu", "elu")
#: Activations whose derivative needs the input.
UNFUSED = ("gelu", "silu", "softplus")

LEAK = 0.01
_GELU = math.sqrt(2.0 / math.pi)
_CUBIC = 0.044715


class ActivationOps(BasicOps):
    """Activations by name.

    ``gelu`` is the tanh form of Hendrycks and Gimpel, "Gaussian error linear units"
    (arXiv:1606.08415); ``elu`` is of Clevert et al. (arXiv:1511.07289) with alpha 1; ``silu`` is
    x times sigmoid(x); ``leaky_relu`` has the slope 0.01.
    """

    def sigmoid(self, x: Array) -> Array:
        """Return 1 / (1 + exp(-x)), without overflow."""
        xp = self.xp
        e = xp.exp(-xp.abs(x))
        return xp.where(x >= 0, 1, e) / (1 + e)

    def activation(self, x: Array, name: str) -> Array:
        """Return the activation `name` of `x`, elementwise."""
        xp = self.xp
        if name == "linear":
            return x
        if name == "relu":
            return xp.maximum(x, 0)
        if name == "sigmoid":
            return self.sigmoid(x)
        if name == "tanh":
            return xp.tanh(x)
        if name == "leaky_relu":
            return xp.where(x > 0, x, x * x.dtype.type(LEAK))
        if name == "elu":
            return xp.where(x > 0, x, xp.expm1(xp.minimum(x, 0)))
        if name == "gelu":
            return 0.5 * x * (1 + xp.tanh(_GELU * (x + _CUBIC * x * x * x)))
        if name == "silu":
            return x * self.sigmoid(x)
        if name == "softplus":
            return xp.maximum(x, 0) + xp.log1p(xp.exp(-xp.abs(x)))
        raise ValueError(f"activation must be one of {FUSED + UNFUSED}, got {name!r}.")

    def activation_backward(self, gy: Array, y: Array, name: str) -> Array:
        """Return the input's gradient of a fusible activation from its output `y`."""
        xp = self.xp
        if name == "linear":
            return gy
        if name == "relu":
            return gy * (y > 0)
        if name == "sigmoid":
            return gy * (y * (1 - y))
        if name == "tanh":
            return gy * (1 - y * y)
        if name == "leaky_relu":
            return xp.where(y > 0, gy, gy * gy.dtype.type(LEAK))
        if name == "elu":
            return xp.where(y > 0, gy, gy * (y + 1))
        raise ValueError(f"activation must be one of {FUSED}, got {name!r}.")

    def activation_input_backward(self, gy: Array, x: Array, name: str) -> Array:
        """Return the input's gradient of an activation that needs its input `x`."""
        xp = self.xp
        if name == "gelu":
            inner = xp.tanh(_GELU * (x + _CUBIC * x * x * x))
            slope = _GELU * (1 + 3 * _CUBIC * x * x)
            return gy * (0.5 * (1 + inner) + 0.5 * x * (1 - inner * inner) * slope)
        if name == "silu":
            s = self.sigmoid(x)
            return gy * (s * (1 + x * (1 - s)))
        if name == "softplus":
            return gy * self.sigmoid(x)
        raise ValueError(f"activation must be one of {UNFUSED}, got {name!r}.")
