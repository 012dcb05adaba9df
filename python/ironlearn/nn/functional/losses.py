"""Softmax and losses on logits."""

from __future__ import annotations

from ironlearn.nn.autograd import Context, Function, Tensor, as_tensor
from ironlearn.nn.backend.device import Array
from ironlearn.nn.backend.ops import Ops


class Softmax(Function):
    """exp(x) / sum(exp(x))."""

    @staticmethod
    def forward(ctx: Context, ops: Ops, x: Array, *, axis: int) -> Array:
        """Compute the outputs."""
        y = ops.softmax(x, axis)
        ctx.save(y, axis)
        return y

    @staticmethod
    def backward(ctx: Context, ops: Ops, g: Array) -> Array:
        """Compute the inputs' gradients."""
        return ops.softmax_backward(g, *ctx.saved)


class LogSoftmax(Function):
    """log(softmax(x))."""

    @staticmethod
    def forward(ctx: Context, ops: Ops, x: Array, *, axis: int) -> Array:
        """Compute the outputs."""
        y = ops.log_softmax(x, axis)
        ctx.save(y, axis)
        return y

    @staticmethod
    def backward(ctx: Context, ops: Ops, g: Array) -> Array:
        """Compute the inputs' gradients."""
        return ops.log_softmax_backward(g, *ctx.saved)


class SoftmaxCrossEntropy(Function):
    """The cross-entropy of each row of logits."""

    @staticmethod
    def forward(
        ctx: Context, ops: Ops, logits: Array, *, targets: Array, label_smoothing: float
    ) -> Array:
        """Compute the outputs."""
        losses, probabilities = ops.softmax_cross_entropy(logits, targets, label_smoothing)
        ctx.save(probabilities, targets, label_smoothing)
        return losses

    @staticmethod
    def backward(ctx: Context, ops: Ops, g: Array) -> Array:
        """Compute the inputs' gradients."""
        probabilities, targets, label_smoothing = ctx.saved
        return ops.softmax_cross_entropy_backward(probabilities, targets, g, label_smoothing)


class SigmoidCrossEntropy(Function):
    """The binary cross-entropy of each logit."""

    @staticmethod
    def forward(ctx: Context, ops: Ops, logits: Array, *, targets: Array) -> Array:
        """Compute the outputs."""
        targets = targets.astype(logits.dtype)
        ctx.save(logits, targets)
        return ops.sigmoid_cross_entropy(logits, targets)

    @staticmethod
    def backward(ctx: Context, ops: Ops, g: Array) -> Array:
        """Compute the inputs' gradients."""
        logits, targets = ctx.saved
        return ops.sigmoid_cross_entropy_backward(logits, targets, g)


def softmax(x: Tensor | Array, axis: int = -1) -> Tensor:
    """Return exp(x) / sum(exp(x)) over `axis`.

    Parameters
    ----------
    x : Tensor or array
        Any shape.
    axis : int, default=-1
        The axis whose elements share.

    Returns
    -------
    Tensor of the shape of x
    """
    return Softmax.apply(as_tensor(x), axis=axis)


def log_softmax(x: Tensor | Array, axis: int = -1) -> Tensor:
    """Return log(softmax(x)) over `axis`.

    Parameters
    ----------
    x : Tensor or array
        Any shape.
    axis : int, default=-1
        The axis whose elements share.

    Returns
    -------
    Tensor of the shape of x
    """
    return LogSoftmax.apply(as_tensor(x), axis=axis)


def softmax_cross_entropy(
    logits: Tensor | Array, targets: Array, label_smoothing: float = 0.0
) -> Tensor:
    """Return the cross-entropy (N,) of logits (N, C) and classes (N,).

    Parameters
    ----------
    logits : Tensor or array of shape (N, C)
    targets : array of int of shape (N,)
        The class of each row.
    label_smoothing : float, default=0.0
        Share of the target that is spread evenly over all classes.

    Returns
    -------
    Tensor of shape (N,)
    """
    return SoftmaxCrossEntropy.apply(
        as_tensor(logits), targets=targets, label_smoothing=label_smoothing
    )


def sigmoid_cross_entropy(logits: Tensor | Array, targets: Array) -> Tensor:
    """Return the binary cross-entropy of each logit and its target in [0, 1].

    Parameters
    ----------
    logits : Tensor or array
        Any shape.
    targets : array
        Of the same shape, in [0, 1].

    Returns
    -------
    Tensor of the shape of logits
    """
    return SigmoidCrossEntropy.apply(as_tensor(logits), targets=targets)
