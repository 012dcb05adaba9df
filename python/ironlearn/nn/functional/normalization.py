"""Normalization by the statistics of a layer, a batch or a group."""

from __future__ import annotations

from ironlearn.nn.autograd import Context, Function, Tensor, as_tensor
from ironlearn.nn.backend.device import Array
from ironlearn.nn.backend.ops import Ops


class LayerNorm(Function):
    """Normalization over the last axis."""

    @staticmethod
    def forward(
        ctx: Context, ops: Ops, x: Array, gamma: Array, beta: Array, *, eps: float
    ) -> Array:
        """Compute the outputs."""
        y, mean, rstd = ops.layer_norm(x, gamma, beta, eps)
        ctx.save(x, gamma, mean, rstd)
        return y

    @staticmethod
    def backward(ctx: Context, ops: Ops, g: Array) -> tuple[Array, ...]:
        """Compute the inputs' gradients."""
        return ops.layer_norm_backward(g, *ctx.saved)


class AddLayerNorm(Function):
    """A sum, and its normalization over the last axis."""

    several = True

    @staticmethod
    def forward(
        ctx: Context,
        ops: Ops,
        x: Array,
        residual: Array,
        gamma: Array,
        beta: Array,
        *,
        eps: float,
    ) -> tuple[Array, Array]:
        """Compute the outputs."""
        total, y, mean, rstd = ops.add_layer_norm(x, residual, gamma, beta, eps)
        ctx.save(total, gamma, mean, rstd)
        return total, y

    @staticmethod
    def backward(
        ctx: Context, ops: Ops, gtotal: Array | None, gy: Array | None
    ) -> tuple[Array | None, ...]:
        """Compute the inputs' gradients."""
        if gy is None:
            return gtotal, gtotal, None, None
        gx, ggamma, gbeta = ops.add_layer_norm_backward(gtotal, gy, *ctx.saved)
        return gx, gx, ggamma, gbeta


class BatchNorm(Function):
    """Normalization of each channel by the batch's statistics, which are outputs as well."""

    several = True

    @staticmethod
    def forward(
        ctx: Context,
        ops: Ops,
        x: Array,
        gamma: Array,
        beta: Array,
        *,
        eps: float,
        activation: str,
    ) -> tuple[Array, Array, Array]:
        """Compute the outputs."""
        y, mean, var = ops.batch_norm(x, gamma, beta, eps, activation)
        ctx.save(x, y, gamma, mean, var, eps, activation)
        return y, mean, var

    @staticmethod
    def backward(
        ctx: Context, ops: Ops, g: Array | None, gmean: Array | None, gvar: Array | None
    ) -> tuple[Array | None, ...]:
        """Compute the inputs' gradients; none passes through the statistics themselves."""
        return (None, None, None) if g is None else ops.batch_norm_backward(g, *ctx.saved)


class BatchNormInference(Function):
    """Normalization of each channel by given statistics."""

    @staticmethod
    def forward(
        ctx: Context,
        ops: Ops,
        x: Array,
        gamma: Array,
        beta: Array,
        mean: Array,
        var: Array,
        *,
        eps: float,
        activation: str,
    ) -> Array:
        """Compute the outputs."""
        y = ops.batch_norm_inference(x, gamma, beta, mean, var, eps, activation)
        ctx.save(x, y, gamma, mean, var, eps, activation)
        return y

    @staticmethod
    def backward(ctx: Context, ops: Ops, g: Array) -> tuple[Array | None, ...]:
        """Compute the inputs' gradients."""
        return *ops.batch_norm_inference_backward(g, *ctx.saved), None, None


class GroupNorm(Function):
    """Normalization over groups of channels of each sample."""

    @staticmethod
    def forward(
        ctx: Context, ops: Ops, x: Array, gamma: Array, beta: Array, *, groups: int, eps: float
    ) -> Array:
        """Compute the outputs."""
        y, mean, rstd = ops.group_norm(x, gamma, beta, groups, eps)
        ctx.save(x, gamma, mean, rstd, groups)
        return y

    @staticmethod
    def backward(ctx: Context, ops: Ops, g: Array) -> tuple[Array, ...]:
        """Compute the inputs' gradients."""
        return ops.group_norm_backward(g, *ctx.saved)


def layer_norm(x: Tensor | Array, gamma: Tensor, beta: Tensor, eps: float = 1e-5) -> Tensor:
    """Return gamma (x - mean) / sqrt(var + eps) + beta, statistics over the last axis.

    Parameters
    ----------
    x : Tensor of shape (..., D)
    gamma, beta : Tensor of shape (D,)
    eps : float, default=1e-5
        Added to the variance.

    Returns
    -------
    Tensor of the shape of x

    Notes
    -----
    Ba et al., "Layer normalization" (arXiv:1607.06450).
    """
    return LayerNorm.apply(as_tensor(x), gamma, beta, eps=eps)


def add_layer_norm(
    x: Tensor | Array, residual: Tensor | Array, gamma: Tensor, beta: Tensor, eps: float = 1e-5
) -> tuple[Tensor, Tensor]:
    """Return x + residual and its `layer_norm`, in one pass over both.

    Parameters
    ----------
    x, residual : Tensor or array of shape (..., D)
    gamma, beta : Tensor of shape (D,)
    eps : float, default=1e-5
        Added to the variance.

    Returns
    -------
    total, y : Tensor of shape (..., D)
    """
    total, y = AddLayerNorm.apply(as_tensor(x), as_tensor(residual), gamma, beta, eps=eps)
    return total, y


def batch_norm(
    x: Tensor | Array,
    gamma: Tensor,
    beta: Tensor,
    eps: float = 1e-5,
    activation: str = "linear",
) -> tuple[Tensor, Tensor, Tensor]:
    """Return activation(gamma (x - mean) / sqrt(var + eps) + beta), mean and biased variance.

    Parameters
    ----------
    x : Tensor of shape (..., C)
        Statistics are over all axes but the last.
    gamma, beta : Tensor of shape (C,)
    eps : float, default=1e-5
        Added to the variance.
    activation : str, default="linear"
        One whose derivative follows from the output.

    Returns
    -------
    y : Tensor of shape (..., C)
    mean, var : Tensor of shape (C,)

    Notes
    -----
    Ioffe and Szegedy, "Batch normalization" (arXiv:1502.03167).
    """
    y, mean, var = BatchNorm.apply(as_tensor(x), gamma, beta, eps=eps, activation=activation)
    return y, mean, var


def batch_norm_inference(
    x: Tensor | Array,
    gamma: Tensor,
    beta: Tensor,
    mean: Tensor | Array,
    var: Tensor | Array,
    eps: float = 1e-5,
    activation: str = "linear",
) -> Tensor:
    """Return what `batch_norm` would with the given mean and variance.

    Parameters
    ----------
    x : Tensor or array of shape (..., C)
    gamma, beta : Tensor of shape (C,)
    mean, var : Tensor or array of shape (C,)
    eps : float, default=1e-5
        Added to the variance.
    activation : str, default="linear"
        One whose derivative follows from the output.

    Returns
    -------
    Tensor of the shape of x
    """
    return BatchNormInference.apply(
        as_tensor(x), gamma, beta, as_tensor(mean), as_tensor(var), eps=eps, activation=activation
    )


def group_norm(
    x: Tensor | Array, gamma: Tensor, beta: Tensor, groups: int, eps: float = 1e-5
) -> Tensor:
    """Return gamma (x - mean) / sqrt(var + eps) + beta, statistics over groups of channels.

    Parameters
    ----------
    x : Tensor of shape (N, ..., C)
        Each sample and each of `groups` equal groups of neighbouring channels has its statistics.
    gamma, beta : Tensor of shape (C,)
    groups : int
        1 is layer normalization over all axes, C is instance normalization.
    eps : float, default=1e-5
        Added to the variance.

    Returns
    -------
    Tensor of the shape of x

    Notes
    -----
    Wu and He, "Group normalization" (arXiv:1803.08494).
    """
    return GroupNorm.apply(as_tensor(x), gamma, beta, groups=groups, eps=eps)
