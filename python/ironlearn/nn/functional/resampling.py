"""Enlarging images (N, H, W, C)."""

from __future__ import annotations

from ironlearn.nn.autograd import Context, Function, Tensor, as_tensor
from ironlearn.nn.backend.device import Array
from ironlearn.nn.backend.ops import Ops
from ironlearn.nn.backend.ops.convolution import Pair


class UpSample2D(Function):
    """Each cell several times."""

    @staticmethod
    def forward(ctx: Context, ops: Ops, x: Array, *, factor: Pair) -> Array:
        """Compute the outputs."""
        ctx.save(factor)
        return ops.upsample2d(x, factor)

    @staticmethod
    def backward(ctx: Context, ops: Ops, g: Array) -> Array:
        """Compute the inputs' gradients."""
        return ops.upsample2d_backward(g, *ctx.saved)


class PixelShuffle(Function):
    """Channels become cells."""

    @staticmethod
    def forward(ctx: Context, ops: Ops, x: Array, *, factor: int) -> Array:
        """Compute the outputs."""
        ctx.save(factor)
        return ops.pixel_shuffle(x, factor)

    @staticmethod
    def backward(ctx: Context, ops: Ops, g: Array) -> Array:
        """Compute the inputs' gradients."""
        return ops.pixel_unshuffle(g, *ctx.saved)


def upsample2d(x: Tensor | Array, factor: Pair) -> Tensor:
    """Return x with each cell repeated `factor` times along height and width.

    Parameters
    ----------
    x : Tensor or array of shape (N, H, W, C)
    factor : (int, int)
        Times along height and along width.

    Returns
    -------
    Tensor of shape (N, H * factor[0], W * factor[1], C)
    """
    return UpSample2D.apply(as_tensor(x), factor=factor)


def pixel_shuffle(x: Tensor | Array, factor: int) -> Tensor:
    """Return (N, H r, W r, C) of x (N, H, W, r r C), r = `factor`: channels become cells.

    Shi et al., "Real-time single image and video super-resolution using an efficient sub-pixel
    convolutional neural network" (arXiv:1609.05158).

    Parameters
    ----------
    x : Tensor or array of shape (N, H, W, r r C)
    factor : int
        The factor r.

    Returns
    -------
    Tensor of shape (N, H r, W r, C)
    """
    return PixelShuffle.apply(as_tensor(x), factor=factor)
