"""Reshaping, joining and picking."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ironlearn.nn.autograd import Context, Function, Tensor, as_tensor
from ironlearn.nn.backend.device import Array
from ironlearn.nn.backend.ops import Ops


class Reshape(Function):
    """The same elements in another shape."""

    @staticmethod
    def forward(ctx: Context, ops: Ops, x: Array, *, shape: tuple[int, ...]) -> Array:
        """Compute the outputs."""
        ctx.save(x.shape)
        return x.reshape(shape)

    @staticmethod
    def backward(ctx: Context, ops: Ops, g: Array) -> Array:
        """Compute the inputs' gradients."""
        return g.reshape(ctx.saved[0])


class Transpose(Function):
    """The axes in another order."""

    @staticmethod
    def forward(ctx: Context, ops: Ops, x: Array, *, axes: tuple[int, ...]) -> Array:
        """Compute the outputs."""
        inverse = [0] * len(axes)
        for place, axis in enumerate(axes):
            inverse[axis] = place
        ctx.save(tuple(inverse))
        return x.transpose(axes)

    @staticmethod
    def backward(ctx: Context, ops: Ops, g: Array) -> Array:
        """Compute the inputs' gradients."""
        return g.transpose(ctx.saved[0])


class Concatenate(Function):
    """Arrays side by side along an axis."""

    @staticmethod
    def forward(ctx: Context, ops: Ops, *arrays: Array, axis: int) -> Array:
        """Compute the outputs."""
        ctx.save(axis, [a.shape[axis] for a in arrays])
        return ops.xp.concatenate(arrays, axis=axis)

    @staticmethod
    def backward(ctx: Context, ops: Ops, g: Array) -> tuple[Array, ...]:
        """Compute the inputs' gradients."""
        axis, lengths = ctx.saved
        parts, start = [], 0
        for length in lengths:
            index = [slice(None)] * g.ndim
            index[axis] = slice(start, start + length)
            parts.append(g[tuple(index)])
            start += length
        return tuple(parts)


class GetItem(Function):
    """Part of an array by slices, integers or integer arrays."""

    @staticmethod
    def forward(ctx: Context, ops: Ops, x: Array, *, key: Any) -> Array:
        """Compute the outputs."""
        ctx.save(x.shape, key)
        return x[key]

    @staticmethod
    def backward(ctx: Context, ops: Ops, g: Array) -> Array:
        """Compute the inputs' gradients."""
        shape, key = ctx.saved
        keys = key if isinstance(key, tuple) else (key,)
        if all(isinstance(k, int | slice) or k is Ellipsis or k is None for k in keys):
            gx = ops.xp.zeros(shape, g.dtype)
            gx[key] = g
            return gx
        return ops.scatter_add(shape, key, g)


class Pad(Function):
    """An array with a constant around it."""

    @staticmethod
    def forward(
        ctx: Context, ops: Ops, x: Array, *, widths: Sequence[tuple[int, int]], value: float
    ) -> Array:
        """Compute the outputs."""
        ctx.save(tuple(slice(a, a + n) for (a, _), n in zip(widths, x.shape, strict=True)))
        return ops.xp.pad(x, widths, constant_values=value)

    @staticmethod
    def backward(ctx: Context, ops: Ops, g: Array) -> Array:
        """Compute the inputs' gradients."""
        return g[ctx.saved[0]]


def reshape(x: Tensor | Array, shape: tuple[int, ...]) -> Tensor:
    """Return x in the shape `shape`; one length may be -1.

    Parameters
    ----------
    x : Tensor or array
        Any shape.
    shape : tuple of int
        The new shape; one length may be -1.

    Returns
    -------
    Tensor of shape `shape`
    """
    return Reshape.apply(as_tensor(x), shape=shape)


def transpose(x: Tensor | Array, axes: Sequence[int]) -> Tensor:
    """Return x with its axes in the order `axes`.

    Parameters
    ----------
    x : Tensor or array
        Any shape.
    axes : sequence of int
        The old number of each new axis.

    Returns
    -------
    Tensor with its axes in the new order
    """
    x = as_tensor(x)
    return Transpose.apply(x, axes=tuple(axis % x.ndim for axis in axes))


def concatenate(tensors: Sequence[Tensor | Array], axis: int = -1) -> Tensor:
    """Return the tensors joined along `axis`.

    Parameters
    ----------
    tensors : sequence of Tensor or array
        Of equal shapes but for `axis`.
    axis : int, default=-1
        Where to join.

    Returns
    -------
    Tensor with the lengths along `axis` added up
    """
    parts = [as_tensor(x) for x in tensors]
    return Concatenate.apply(*parts, axis=axis % parts[0].ndim)


def stack(tensors: Sequence[Tensor | Array], axis: int = 0) -> Tensor:
    """Return the tensors joined along a new axis `axis`.

    Parameters
    ----------
    tensors : sequence of Tensor or array
        Of equal shapes.
    axis : int, default=0
        The new axis.

    Returns
    -------
    Tensor with one axis more
    """
    parts = [as_tensor(x) for x in tensors]
    axis %= parts[0].ndim + 1
    return concatenate(
        [reshape(x, (*x.shape[:axis], 1, *x.shape[axis:])) for x in parts], axis=axis
    )


def getitem(x: Tensor | Array, key: Any) -> Tensor:
    """Return ``x[key]``; index arrays are of x's device.

    Parameters
    ----------
    x : Tensor or array
        Any shape.
    key : slices, ints, index arrays or a tuple of them
        What to take.

    Returns
    -------
    Tensor of what was taken
    """
    return GetItem.apply(as_tensor(x), key=key)


def pad(x: Tensor | Array, widths: Sequence[tuple[int, int]], value: float = 0.0) -> Tensor:
    """Return x with `value` around it: (before, after) for each axis.

    Parameters
    ----------
    x : Tensor or array
        Any shape.
    widths : sequence of (int, int)
        Cells before and after, for each axis.
    value : float, default=0.0
        What to put there.

    Returns
    -------
    Tensor of the larger shape
    """
    return Pad.apply(as_tensor(x), widths=tuple(widths), value=value)
