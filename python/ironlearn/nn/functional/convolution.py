"""Convolution of images (N, H, W, C) with kernels (height, width, in, out)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ironlearn.nn.autograd import Context, Function, Tensor, as_tensor
from ironlearn.nn.backend.device import Array
from ironlearn.nn.backend.ops import Ops
from ironlearn.nn.backend.ops.convolution import Padding, Pair

_NONE: Padding = ((0, 0), (0, 0))


class Conv2D(Function):
    """activation(x * w + b)."""

    @staticmethod
    def forward(
        ctx: Context,
        ops: Ops,
        x: Array,
        w: Array,
        b: Array | None,
        *,
        activation: str,
        **geometry: Any,
    ) -> Array:
        """Compute the outputs."""
        y = ops.conv2d(x, w, b, activation=activation, **geometry)
        ctx.save(x, w, y if activation != "linear" else None, activation, geometry)
        return y

    @staticmethod
    def backward(ctx: Context, ops: Ops, g: Array) -> tuple[Array | None, ...]:
        """Compute the inputs' gradients."""
        x, w, y, activation, geometry = ctx.saved
        needs = ctx.needs
        return ops.conv2d_backward(g, y, x, w, activation=activation, needs=needs, **geometry)


class InvertedResiduals(Function):
    """Widening, depthwise convolution, narrowing and sum, block after block; no gradient."""

    @staticmethod
    def forward(ctx: Context, ops: Ops, x: Array, *weights: Array | None, **settings: Any) -> Array:
        """Compute the outputs."""
        if any(ctx.needs):
            raise RuntimeError("inverted_residuals has no gradient: call it within no_grad().")
        return ops.inverted_residuals(x, weights, **settings)


class Conv2DMaxPool(Function):
    """Maxima of windows of activation(x * w + b), in one pass."""

    @staticmethod
    def forward(
        ctx: Context, ops: Ops, x: Array, w: Array, b: Array | None, **geometry: Any
    ) -> Array:
        """Compute the outputs."""
        y, argmax = ops.conv2d_max_pool(x, w, b, **geometry)
        ctx.save(y, argmax, x, w, geometry)
        return y

    @staticmethod
    def backward(ctx: Context, ops: Ops, g: Array) -> tuple[Array | None, ...]:
        """Compute the inputs' gradients."""
        y, argmax, x, w, geometry = ctx.saved
        return ops.conv2d_max_pool_backward(g, y, argmax, x, w, needs=ctx.needs, **geometry)


class Conv2DTranspose(Function):
    """The adjoint of a convolution, with bias and activation."""

    @staticmethod
    def forward(
        ctx: Context,
        ops: Ops,
        x: Array,
        w: Array,
        b: Array | None,
        *,
        output_shape: tuple[int, ...],
        activation: str,
        **geometry: Any,
    ) -> Array:
        """Compute the outputs."""
        y = ops.conv2d_grad_input(x, w, output_shape, **geometry)
        if b is not None:
            y = y + b
        y = ops.activation(y, activation)
        ctx.save(x, w, y if activation != "linear" else None, activation, geometry)
        return y

    @staticmethod
    def backward(ctx: Context, ops: Ops, g: Array) -> tuple[Array | None, ...]:
        """Compute the inputs' gradients."""
        x, w, y, activation, geometry = ctx.saved
        g = ops.activation_backward(g, y, activation)
        return (
            ops.conv2d(g, w, **geometry) if ctx.needs[0] else None,
            ops.conv2d_grad_weight(g, x, w.shape, **geometry) if ctx.needs[1] else None,
            g.sum(axis=(0, 1, 2)) if ctx.needs[2] else None,
        )


def conv2d(
    x: Tensor | Array,
    w: Tensor,
    b: Tensor | None = None,
    *,
    stride: Pair = (1, 1),
    padding: Padding = _NONE,
    dilation: Pair = (1, 1),
    groups: int = 1,
    activation: str = "linear",
) -> Tensor:
    """Return activation(x * w + b).

    Parameters
    ----------
    x : Tensor of shape (N, H, W, C)
    w : Tensor of shape (kh, kw, C / groups, O)
    b : Tensor of shape (O,), optional
    stride, dilation : (int, int)
    padding : ((int, int), (int, int))
        Zeros before and after, along height and along width.
    groups : int
        Channels fall into so many groups that do not see each other.
    activation : str
        One whose derivative follows from the output.

    Returns
    -------
    Tensor of shape (N, OH, OW, O)
    """
    return Conv2D.apply(
        as_tensor(x),
        w,
        b,
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
        activation=activation,
    )


def inverted_residuals(
    x: Tensor | Array,
    weights: Sequence[Tensor | None],
    *,
    geometry: Sequence[tuple[Pair, Padding]],
    activation: str = "relu6",
) -> Tensor:
    """Return what inverted residuals, one after the other, make of x; for prediction only.

    Each widens pixels, convolves each wide channel, and narrows pixels; where the result has the
    shape of the input, this is added (Sandler et al., "MobileNetV2", arXiv:1801.04381).

    Parameters
    ----------
    x : Tensor of shape (N, H, W, C)
    weights : sequence of Tensor
        For each block kernel (1, 1, C, D) and bias of the widening, or ``None`` twice where D is C;
        kernel (kh, kw, 1, D) and bias of the depthwise convolution; kernel (1, 1, D, O) and bias of
        the narrowing.
    geometry : sequence of (stride, padding)
        Of each block's depthwise convolution, as of `conv2d`.
    activation : str, default="relu6"
        After widening and depthwise convolution.

    Returns
    -------
    Tensor of shape (N, OH, OW, O)

    Raises
    ------
    RuntimeError
        A gradient would be needed: there is none, see `ironlearn.nn.autograd.no_grad`.
    """
    return InvertedResiduals.apply(
        as_tensor(x), *weights, geometry=tuple(geometry), activation=activation
    )


def conv2d_max_pool(
    x: Tensor | Array,
    w: Tensor,
    b: Tensor | None = None,
    *,
    stride: Pair = (1, 1),
    padding: Padding = _NONE,
    activation: str = "linear",
    pool: Pair = (2, 2),
) -> Tensor:
    """Return the maxima of `conv2d`'s windows of `pool` cells side by side.

    The shapes are those of `conv2d`; rows and columns that fill no window are left out.

    Parameters
    ----------
    x, w, b, stride, padding, activation
        As for `conv2d`.
    pool : (int, int), default=(2, 2)
        Height and width of a window.

    Returns
    -------
    Tensor of shape (N, OH // pool[0], OW // pool[1], O)
    """
    return Conv2DMaxPool.apply(
        as_tensor(x), w, b, stride=stride, padding=padding, activation=activation, pool=pool
    )


def conv2d_transpose(
    x: Tensor | Array,
    w: Tensor,
    b: Tensor | None = None,
    *,
    output_size: Pair,
    stride: Pair = (1, 1),
    padding: Padding = _NONE,
    dilation: Pair = (1, 1),
    activation: str = "linear",
) -> Tensor:
    """Return the adjoint of a convolution: images of `output_size` from x.

    Parameters
    ----------
    x : Tensor of shape (N, H, W, C)
    w : Tensor of shape (kh, kw, O, C)
    b : Tensor of shape (O,), optional
    output_size : (int, int)
        Height and width of the result; the convolution of such an image with `stride`, `padding`
        and `dilation` must have the size of x.
    stride, padding, dilation, activation
        As for `conv2d`.

    Returns
    -------
    Tensor of shape (N, *output_size, O)
    """
    x = as_tensor(x)
    return Conv2DTranspose.apply(
        x,
        w,
        b,
        output_shape=(x.shape[0], *output_size, w.shape[2]),
        stride=stride,
        padding=padding,
        dilation=dilation,
        activation=activation,
    )
