"""Squashed vectors and routing by agreement."""

from __future__ import annotations

from ironlearn.nn.autograd import Context, Function, Tensor, as_tensor
from ironlearn.nn.backend.device import Array
from ironlearn.nn.backend.ops import Ops


class Squash(Function):
    """x with the length n^2 / (1 + n^2)."""

    @staticmethod
    def forward(ctx: Context, ops: Ops, x: Array) -> Array:
        """Compute the outputs."""
        ctx.save(x)
        return ops.squash(x)

    @staticmethod
    def backward(ctx: Context, ops: Ops, g: Array) -> Array:
        """Compute the inputs' gradients."""
        return ops.squash_backward(g, *ctx.saved)


class Routing(Function):
    """What capsules agree on."""

    @staticmethod
    def forward(ctx: Context, ops: Ops, votes: Array, *, rounds: int) -> Array:
        """Compute the outputs."""
        out, saved = ops.routing(votes, rounds)
        ctx.save(votes, saved)
        return out

    @staticmethod
    def backward(ctx: Context, ops: Ops, g: Array) -> Array:
        """Compute the inputs' gradients."""
        return ops.routing_backward(g, *ctx.saved)


def squash(x: Tensor | Array) -> Tensor:
    """Return x (..., D) with its direction and the length n^2 / (1 + n^2), n its length.

    Parameters
    ----------
    x : Tensor or array of shape (..., D)

    Returns
    -------
    Tensor of the shape of x
    """
    return Squash.apply(as_tensor(x))


def routing(votes: Tensor | Array, rounds: int = 3) -> Tensor:
    """Return what capsules agree on after some rounds; gradients pass through every round.

    Parameters
    ----------
    votes : Tensor or array of shape (N, K, I, D)
        What each of I capsules predicts for each of K.
    rounds : int, default=3
        Rounds of agreement.

    Returns
    -------
    Tensor of shape (N, K, D)
    """
    return Routing.apply(as_tensor(votes), rounds=rounds)
