"""Activations on the GPU, one pass each."""

from __future__ import annotations

from typing import Any

from ironlearn.nn.backend.cuda.base import CudaBase
from ironlearn.nn.backend.cuda.kernel import fused
from ironlearn.nn.backend.device import Array
from ironlearn.nn.backend.ops.activations import FUSED, UNFUSED, ActivationOps

#: The kernels' numbers of activations (`enum Activation` in kernels/prelude.cuh).
NUMBERS = {
    "linear": 0,
    "relu": 1,
    "sigmoid": 2,
    "tanh": 3,
    "leaky_relu": 4,
    "elu": 5,
    "gelu": 6,
    "gelu_tanh": 7,
    "relu6": 8,
    "silu": 9,
    "softplus": 10,
}


def _known(x: Array, name: str) -> bool:
    return name in NUMBERS and name != "linear"


def _alike(names: tuple[str, ...]) -> Any:
    def accepts(gy: Array, other: Array, name: str) -> bool:
        return name in names and name != "linear" and gy.shape == other.shape

    return accepts


class CudaActivations(CudaBase, ActivationOps):
    """Activations by name."""

    @fused()
    def sigmoid(self, x: Array) -> Array:
        """Return 1 / (1 + exp(-x)), without overflow."""
        y = self.xp.empty_like(x)
        self.kernels.each("activation", x, x.size, x, y, x.size, NUMBERS["sigmoid"])
        return y

    @fused()
    def erfc(self, x: Array) -> Array:
        """Return 2 / sqrt(pi) times the integral of exp(-t^2) from x to infinity."""
        y = self.xp.empty_like(x)
        self.kernels.each("normal_tail", x, x.size, x, y, x.size, False)
        return y

    @fused()
    def normal_cdf(self, x: Array) -> Array:
        """Return the distribution function of the standard normal distribution."""
        y = self.xp.empty_like(x)
        self.kernels.each("normal_tail", x, x.size, x, y, x.size, True)
        return y

    @fused(_known)
    def activation(self, x: Array, name: str) -> Array:
        """Return the activation `name` of `x`."""
        y = self.xp.empty_like(x)
        self.kernels.each("activation", x, x.size, x, y, x.size, NUMBERS[name])
        return y

    @fused(_alike(FUSED))
    def activation_backward(self, gy: Array, y: Array, name: str) -> Array:
        """Return the input's gradient from the output `y`."""
        gx = self.xp.empty_like(gy)
        self.kernels.each("activation_backward", gy, gy.size, gy, y, gx, gy.size, NUMBERS[name])
        return gx

    @fused(_alike(UNFUSED))
    def activation_input_backward(self, gy: Array, x: Array, name: str) -> Array:
        """Return the input's gradient from the input `x`."""
        gx = self.xp.empty_like(gy)
        kind = NUMBERS[name]
        self.kernels.each("activation_input_backward", gy, gy.size, gy, x, gx, gy.size, kind)
        return gx
