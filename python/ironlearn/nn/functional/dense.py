"""Affine maps and matrix products."""

from __future__ import annotations

from ironlearn.nn.autograd import Context, Function, Tensor, as_tensor
from ironlearn.nn.backend.device import Array
from ironlearn.nn.backend.ops import Ops
from ironlearn.nn.backend.ops.activations import UNFUSED
from ironlearn.nn.functional.shape import reshape


class Affine(Function):
    """activation(x w + b)."""

    @staticmethod
    def forward(
        ctx: Context, ops: Ops, x: Array, w: Array, b: Array | None, *, activation: str
    ) -> Array:
        """Compute the outputs."""
        if activation in UNFUSED and any(ctx.needs):
            # Its derivative needs what it is taken of, which a fused operation does not keep.
            z = ops.affine(x, w, b)
            ctx.save(x, w, z, activation)
            return ops.activation(z, activation)
        y = ops.affine(x, w, b, activation)
        ctx.save(x, w, y if activation != "linear" else None, activation)
        return y

    @staticmethod
    def backward(ctx: Context, ops: Ops, g: Array) -> tuple[Array | None, ...]:
        """Compute the inputs' gradients."""
        x, w, y, activation = ctx.saved
        if activation in UNFUSED:
            g = ops.activation_input_backward(g, y, activation)
            return ops.affine_backward(g, x, w, None, "linear", ctx.needs)
        return ops.affine_backward(g, x, w, y, activation, ctx.needs)


class MatMul(Function):
    """The matrix product over the last two axes, the others broadcast."""

    @staticmethod
    def forward(ctx: Context, ops: Ops, a: Array, b: Array) -> Array:
        """Compute the outputs."""
        ctx.save(a, b)
        return ops.matmul(a, b)

    @staticmethod
    def backward(ctx: Context, ops: Ops, g: Array) -> tuple[Array | None, ...]:
        """Compute the inputs' gradients."""
        a, b = ctx.saved
        return (
            ops.unbroadcast(ops.matmul(g, b.swapaxes(-1, -2)), a.shape) if ctx.needs[0] else None,
            ops.unbroadcast(ops.matmul(a.swapaxes(-1, -2), g), b.shape) if ctx.needs[1] else None,
        )


def affine(
    x: Tensor | Array, w: Tensor, b: Tensor | None = None, activation: str = "linear"
) -> Tensor:
    """Return activation(x w + b).

    Parameters
    ----------
    x : Tensor of shape (..., I)
    w : Tensor of shape (I, O)
    b : Tensor of shape (O,), optional
    activation : str, default="linear"
        See `activation`.

    Returns
    -------
    Tensor of shape (..., O)
    """
    x = as_tensor(x)
    if x.ndim == 2:
        return Affine.apply(x, w, b, activation=activation)
    flat = reshape(x, (-1, x.shape[-1]))
    y = Affine.apply(flat, w, b, activation=activation)
    return reshape(y, (*x.shape[:-1], w.shape[1]))


def matmul(a: Tensor | Array, b: Tensor | Array) -> Tensor:
    """Return the matrix product of a (..., I, K) and b (..., K, J); leading axes broadcast.

    Parameters
    ----------
    a : Tensor or array of shape (..., I, K)
    b : Tensor or array of shape (..., K, J)

    Returns
    -------
    Tensor of shape (..., I, J)
    """
    return MatMul.apply(as_tensor(a), as_tensor(b))
