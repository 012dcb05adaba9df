"""Normalization by the statistics of a layer, a batch or a group, and its gradients.

All three have the same gradient: with ``u = (x - mean) rstd`` and ``g = gy gamma``, the input's is
``rstd (g - mean(g) - u mean(g u))``, means being over the elements that share the statistics.
"""

from __future__ import annotations

from ironlearn.nn.backend.device import Array
from ironlearn.nn.backend.ops.activations import ActivationOps


class NormalizationOps(ActivationOps):
    """Layer, batch and group normalization."""

    # Layer normalization, Ba et al. (arXiv:1607.06450) ----------------------------------------

    def layer_norm(
        self, x: Array, gamma: Array, beta: Array, eps: float = 1e-5
    ) -> tuple[Array, Array, Array]:
        """Return gamma (x - mean) / sqrt(var + eps) + beta over the last axis, mean and 1/sqrt.

        Mean and 1/sqrt have x's shape without the last axis.
        """
        mean = x.mean(axis=-1)
        centred = x - mean[..., None]
        variance = (centred * centred).mean(axis=-1)
        rstd = 1 / self.xp.sqrt(variance + x.dtype.type(eps))
        return centred * rstd[..., None] * gamma + beta, mean, rstd

    def layer_norm_backward(
        self, gy: Array, x: Array, gamma: Array, mean: Array, rstd: Array
    ) -> tuple[Array, Array, Array]:
        """Return the gradients of `layer_norm`'s x, gamma and beta."""
        unit = (x - mean[..., None]) * rstd[..., None]
        g = gy * gamma
        gx = g - g.mean(axis=-1, keepdims=True) - unit * (g * unit).mean(axis=-1, keepdims=True)
        axes = tuple(range(gy.ndim - 1))
        return gx * rstd[..., None], (gy * unit).sum(axis=axes), gy.sum(axis=axes)

    def add_layer_norm(
        self, x: Array, residual: Array, gamma: Array, beta: Array, eps: float = 1e-5
    ) -> tuple[Array, Array, Array, Array]:
        """Return the sum x + residual, and `layer_norm`'s three answers for it."""
        total = x + residual
        return total, *self.layer_norm(total, gamma, beta, eps)

    def add_layer_norm_backward(
        self,
        gtotal: Array | None,
        gy: Array,
        total: Array,
        gamma: Array,
        mean: Array,
        rstd: Array,
    ) -> tuple[Array, Array, Array]:
        """Return the gradients of either summand of `add_layer_norm`, of gamma and of beta."""
        gx, ggamma, gbeta = self.layer_norm_backward(gy, total, gamma, mean, rstd)
        return gx if gtotal is None else gx + gtotal, ggamma, gbeta

    # Batch normalization, Ioffe and Szegedy (arXiv:1502.03167) --------------------------------

    def batch_norm(
        self, x: Array, gamma: Array, beta: Array, eps: float = 1e-5, activation: str = "linear"
    ) -> tuple[Array, Array, Array]:
        """Return activation(gamma (x - mean) / sqrt(var + eps) + beta), mean and biased variance.

        Statistics are of each channel, the last axis, over all other axes.
        """
        axes = tuple(range(x.ndim - 1))
        mean = x.mean(axis=axes)
        centred = x - mean
        variance = (centred * centred).mean(axis=axes)
        rstd = 1 / self.xp.sqrt(variance + x.dtype.type(eps))
        return self.activation(centred * (rstd * gamma) + beta, activation), mean, variance

    def batch_norm_backward(
        self,
        gy: Array,
        x: Array,
        y: Array,
        gamma: Array,
        mean: Array,
        var: Array,
        eps: float = 1e-5,
        activation: str = "linear",
    ) -> tuple[Array, Array, Array]:
        """Return the gradients of `batch_norm`'s x, gamma and beta."""
        axes = tuple(range(x.ndim - 1))
        g = self.activation_backward(gy, y, activation)
        rstd = 1 / self.xp.sqrt(var + x.dtype.type(eps))
        unit = (x - mean) * rstd
        gbeta = g.sum(axis=axes)
        ggamma = (g * unit).sum(axis=axes)
        count = max(1, x.size // max(1, x.shape[-1]))
        gx = (g - gbeta / count - unit * (ggamma / count)) * (gamma * rstd)
        return gx, ggamma, gbeta

    def batch_norm_inference(
        self,
        x: Array,
        gamma: Array,
        beta: Array,
        mean: Array,
        var: Array,
        eps: float = 1e-5,
        activation: str = "linear",
    ) -> Array:
        """Return what `batch_norm` would with the given mean and variance.

        Those may be wider than x, as running statistics are when x has 16 bits.
        """
        factor = gamma / self.xp.sqrt(var + var.dtype.type(eps))
        offset = (beta - mean * factor).astype(x.dtype, copy=False)
        return self.activation(x * factor.astype(x.dtype, copy=False) + offset, activation)

    def batch_norm_inference_backward(
        self,
        gy: Array,
        x: Array,
        y: Array,
        gamma: Array,
        mean: Array,
        var: Array,
        eps: float = 1e-5,
        activation: str = "linear",
    ) -> tuple[Array, Array, Array]:
        """Return the gradients of `batch_norm_inference`'s x, gamma and beta."""
        axes = tuple(range(x.ndim - 1))
        g = self.activation_backward(gy, y, activation)
        rstd = 1 / self.xp.sqrt(var + var.dtype.type(eps))
        gx = g * (gamma * rstd).astype(x.dtype, copy=False)
        ggamma = (g * ((x - mean) * rstd)).sum(axis=axes).astype(gamma.dtype, copy=False)
        return gx, ggamma, g.sum(axis=axes)

    # Group normalization, Wu and He (arXiv:1803.08494) ----------------------------------------

    def group_norm(
        self, x: Array, gamma: Array, beta: Array, groups: int, eps: float = 1e-5
    ) -> tuple[Array, Array, Array]:
        """Return x (N, ..., C) normalized over each sample's `groups` groups of channels.

        Mean and 1/sqrt are (N, groups).
        """
        parts = self._groups(x, groups)
        mean = parts.mean(axis=(1, 3))
        centred = parts - mean[:, None, :, None]
        variance = (centred * centred).mean(axis=(1, 3))
        rstd = 1 / self.xp.sqrt(variance + x.dtype.type(eps))
        return (centred * rstd[:, None, :, None]).reshape(x.shape) * gamma + beta, mean, rstd

    def group_norm_backward(
        self, gy: Array, x: Array, gamma: Array, mean: Array, rstd: Array, groups: int
    ) -> tuple[Array, Array, Array]:
        """Return the gradients of `group_norm`'s x, gamma and beta."""
        scale = rstd[:, None, :, None]
        unit = (self._groups(x, groups) - mean[:, None, :, None]) * scale
        g = self._groups(gy * gamma, groups)
        gx = (
            g
            - g.mean(axis=(1, 3), keepdims=True)
            - unit * (g * unit).mean(axis=(1, 3), keepdims=True)
        )
        axes = tuple(range(x.ndim - 1))
        ggamma = (gy * unit.reshape(x.shape)).sum(axis=axes)
        return (gx * scale).reshape(x.shape), ggamma, gy.sum(axis=axes)

    def _groups(self, x: Array, groups: int) -> Array:
        """Return x (N, ..., C) as (N, cells, groups, C / groups)."""
        cells = 1
        for length in x.shape[1:-1]:
            cells *= length
        return x.reshape(x.shape[0], cells, groups, x.shape[-1] // groups)
