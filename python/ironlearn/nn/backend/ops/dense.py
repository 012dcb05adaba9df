"""Affine maps."""

from __future__ import annotations

from ironlearn.nn.backend.device import Array
from ironlearn.nn.backend.ops.activations import ActivationOps


class DenseOps(ActivationOps):
    """The dense layer's map and its gradients."""

    def affine(
        self, x: Array, w: Array, b: Array | None = None, activation: str = "linear"
    ) -> Array:
        """Return activation(x w + b) of x (N, I), w (I, O) and b (O,)."""
        y = self.matmul(x, w)
        if b is not None:
            y = y + b
        return self.activation(y, activation)

    def affine_backward(
        self,
        gy: Array,
        x: Array,
        w: Array,
        y: Array,
        activation: str = "linear",
        needs: tuple[bool, ...] = (True, True, True),
    ) -> tuple[Array | None, Array | None, Array | None]:
        """Return the gradients of x, w and b, where `needs` asks for them."""
        gz = self.activation_backward(gy, y, activation)
        return (
            self.matmul(gz, w.T) if needs[0] else None,
            self.matmul(x.T, gz) if needs[1] else None,
            gz.sum(axis=0) if needs[2] else None,
        )
