"""Activations by name."""

from __future__ import annotations

from ironlearn.nn.autograd import Context, Function, Tensor, as_tensor
from ironlearn.nn.backend.device import Array
from ironlearn.nn.backend.ops import Ops
from ironlearn.nn.backend.ops.activations import FUSED


class FromOutput(Function):
    """An activation whose derivative follows from its output."""

    @staticmethod
    def forward(ctx: Context, ops: Ops, x: Array, *, name: str) -> Array:
        """Compute the outputs."""
        y = ops.activation(x, name)
        ctx.save(y, name)
        return y

    @staticmethod
    def backward(ctx: Context, ops: Ops, g: Array) -> Array:
        """Compute the inputs' gradients."""
        return ops.activation_backward(g, *ctx.saved)


class FromInput(Function):
    """An activation whose derivative needs its input."""

    @staticmethod
    def forward(ctx: Context, ops: Ops, x: Array, *, name: str) -> Array:
        """Compute the outputs."""
        ctx.save(x, name)
        return ops.activation(x, name)

    @staticmethod
    def backward(ctx: Context, ops: Ops, g: Array) -> Array:
        """Compute the inputs' gradients."""
        return ops.activation_input_backward(g, *ctx.saved)


def activation(x: Tensor | Array, name: str) -> Tensor:
    """Return the activation `name` of x: elementwise, of the same shape.

    Parameters
    ----------
    x : Tensor
        Any shape.
    name : {"linear", "relu", "sigmoid", "tanh", "leaky_relu", "elu", "gelu", "gelu_tanh", \
"relu6", "silu", "softplus"}
        See `ironlearn.nn.backend.ops.activations`.

    Returns
    -------
    Tensor of the shape of x
    """
    if name == "linear":
        return as_tensor(x)
    kind = FromOutput if name in FUSED else FromInput
    return kind.apply(as_tensor(x), name=name)


def split_activation(name: str | None) -> tuple[str, str]:
    """Return the part of an activation that can be fused into an operation, and the rest."""
    name = name or "linear"
    return (name, "linear") if name in FUSED else ("linear", name)
