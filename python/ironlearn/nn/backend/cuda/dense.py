"""Affine maps on the GPU: cuBLAS's product, then all that follows it in one pass."""

from __future__ import annotations

from ironlearn.nn.backend.cuda.activations import NUMBERS
from ironlearn.nn.backend.cuda.base import CudaBase
from ironlearn.nn.backend.cuda.kernel import fused
from ironlearn.nn.backend.cuda.reduce import column_sums
from ironlearn.nn.backend.device import Array
from ironlearn.nn.backend.ops.activations import FUSED
from ironlearn.nn.backend.ops.dense import DenseOps


def _adds(x: Array, w: Array, b: Array | None = None, activation: str = "linear") -> bool:
    return (
        b is not None
        and activation in NUMBERS
        and x.ndim == 2
        and w.ndim == 2
        and b.shape == w.shape[1:]
    )


def _sums(
    gy: Array,
    x: Array,
    w: Array,
    y: Array | None,
    activation: str = "linear",
    needs: tuple[bool, ...] = (True, True, True),
) -> bool:
    return (
        needs[2]
        and activation in FUSED
        and gy.ndim == 2
        and gy.size > 0
        and (activation == "linear" or (y is not None and gy.shape == y.shape))
    )


class CudaDense(CudaBase, DenseOps):
    """The dense layer's map and its gradients."""

    @fused(_adds)
    def affine(
        self, x: Array, w: Array, b: Array | None = None, activation: str = "linear"
    ) -> Array:
        """Return activation(x w + b) of x (N, I), w (I, O) and b (O,)."""
        z = self.matmul(x, w)
        self.kernels.each(
            "bias_activation", z, z.size, z, b, z.size, w.shape[1], NUMBERS[activation]
        )
        return z

    @fused(_sums)
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
        kind = NUMBERS[activation]
        gz, gb = column_sums(self, gy, y if kind else None, kind)
        return (
            self.matmul(gz, w.T) if needs[0] else None,
            self.matmul(x.T, gz) if needs[1] else None,
            gb,
        )
