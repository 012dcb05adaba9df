"""A layer whose kernel has spectral norm 1."""

from __future__ import annotations

from typing import Any

import numpy as np

from ironlearn.nn import functional as F
from ironlearn.nn.autograd import Tensor
from ironlearn.nn.backend.device import Array
from ironlearn.nn.layers.base import INFERENCE, Buffer, Layer, Mode, Parameter, Shape, positive


class SpectralNorm(Layer):
    """A layer whose kernel is divided by its largest singular value.

    The kernel is seen as a matrix of one column for each of its last axis. Each training pass
    brings an estimate of its leading singular vector closer by `iterations` steps of the power
    method; the gradient passes through the division, not through that estimate.

    Parameters
    ----------
    layer : Layer
        A layer with a parameter ``kernel``, such as `Dense` or `Conv2D`.
    iterations : int, default=1
        Steps of the power method a training pass.

    Attributes
    ----------
    direction : Buffer of shape (columns of the kernel,)
        The estimate of the right singular vector.

    Notes
    -----
    Miyato et al., "Spectral normalization for generative adversarial networks" (arXiv:1802.05957).

    Examples
    --------
    >>> import numpy as np
    >>> from ironlearn.nn.layers import Dense
    >>> layer = SpectralNorm(Dense(3, use_bias=False), iterations=50)
    >>> layer._build((3,), np.random.default_rng(0))
    (3,)
    >>> out = layer(Tensor(np.eye(3, dtype=np.float32)), Mode(training=True))
    >>> round(float(np.linalg.svd(out.data)[1][0]), 3)
    1.0
    """

    direction: Buffer

    def __init__(self, layer: Layer, iterations: int = 1) -> None:
        if not isinstance(layer, Layer):
            raise ValueError(f"layer of SpectralNorm must be a layer, got {layer!r}.")
        self.layer = layer
        self.iterations = positive("SpectralNorm", "iterations", iterations)

    def build(self, input_shape: Shape, rng: np.random.Generator) -> None:
        """Build the layer and draw the first estimate."""
        self.layer._build(input_shape, rng, f"{self.label}.layer" if self.label else "")
        kernel = getattr(self.layer, "kernel", None)
        if not isinstance(kernel, Parameter):
            raise ValueError(
                f"{self._title()} needs a layer with a kernel, got a {type(self.layer).__name__}."
            )
        drawn = rng.standard_normal(kernel.shape[-1]).astype(np.float32)
        self.add_buffer("direction", drawn / np.linalg.norm(drawn))

    def output_shape(self, input_shape: Shape) -> Shape:
        """Return the layer's."""
        return self.layer.output_shape(input_shape)

    def forward(self, x: Tensor, mode: Mode = INFERENCE) -> Tensor:
        """Compute the layer's output of `x` with the divided kernel."""
        self._expect(x)
        held: Any = self.layer
        kernel = held.kernel
        matrix = kernel.data.reshape(-1, kernel.shape[-1])
        right = self.direction.data.astype(matrix.dtype)
        left = _unit(x, matrix @ right)
        if mode.training:
            for _ in range(self.iterations):
                right = _unit(x, matrix.T @ left)
                left = _unit(x, matrix @ right)
            self.direction.data[...] = right
        outer = (left[:, None] * right[None, :]).reshape(kernel.shape)
        norm = F.sum(F.mul(kernel, Tensor(outer)))
        held.kernel = F.div(kernel, norm)
        try:
            y: Tensor = held(x, mode)
        finally:
            held.kernel = kernel
        return y

    def compute_mask(self, x: Tensor, mask: Array | None) -> Array | None:
        """Return the layer's."""
        return self.layer.compute_mask(x, mask)


def _unit(x: Tensor, vector: Array) -> Array:
    xp = x.device.xp
    return vector / xp.maximum(xp.sqrt((vector * vector).sum()), 1e-12)
