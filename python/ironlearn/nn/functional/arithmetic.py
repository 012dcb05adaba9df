"""Elementwise arithmetic with broadcasting, and sums."""

from __future__ import annotations

from typing import Any

from ironlearn.nn.autograd import Context, Function, Tensor, as_tensor
from ironlearn.nn.backend.device import Array
from ironlearn.nn.backend.ops import Ops

Operand = Tensor | Array | float


def _pair(a: Operand, b: Operand) -> tuple[Tensor, Tensor]:
    """Return both operands as tensors; a number takes the other's device and dtype."""
    if isinstance(a, int | float):
        other = as_tensor(b)
        return _constant(a, other), other
    if isinstance(b, int | float):
        other = as_tensor(a)
        return other, _constant(b, other)
    return as_tensor(a), as_tensor(b)


def _constant(value: float, like: Tensor) -> Tensor:
    # Made there: the array of a number on the host would have to be copied to the device.
    device = like.device
    with device.context():
        return Tensor(device.xp.full((), value, dtype=like.dtype))


class Add(Function):
    """a + b."""

    @staticmethod
    def forward(ctx: Context, ops: Ops, a: Array, b: Array) -> Array:
        """Compute the outputs."""
        ctx.save(a.shape, b.shape)
        return a + b

    @staticmethod
    def backward(ctx: Context, ops: Ops, g: Array) -> tuple[Array, ...]:
        """Compute the inputs' gradients."""
        return ops.unbroadcast(g, ctx.saved[0]), ops.unbroadcast(g, ctx.saved[1])


class Sub(Function):
    """a - b."""

    @staticmethod
    def forward(ctx: Context, ops: Ops, a: Array, b: Array) -> Array:
        """Compute the outputs."""
        ctx.save(a.shape, b.shape)
        return a - b

    @staticmethod
    def backward(ctx: Context, ops: Ops, g: Array) -> tuple[Array, ...]:
        """Compute the inputs' gradients."""
        return ops.unbroadcast(g, ctx.saved[0]), ops.unbroadcast(-g, ctx.saved[1])


class Mul(Function):
    """a * b."""

    @staticmethod
    def forward(ctx: Context, ops: Ops, a: Array, b: Array) -> Array:
        """Compute the outputs."""
        ctx.save(a, b)
        return a * b

    @staticmethod
    def backward(ctx: Context, ops: Ops, g: Array) -> tuple[Array | None, ...]:
        """Compute the inputs' gradients."""
        a, b = ctx.saved
        return (
            ops.unbroadcast(g * b, a.shape) if ctx.needs[0] else None,
            ops.unbroadcast(g * a, b.shape) if ctx.needs[1] else None,
        )


class Div(Function):
    """a / b."""

    @staticmethod
    def forward(ctx: Context, ops: Ops, a: Array, b: Array) -> Array:
        """Compute the outputs."""
        y = a / b
        ctx.save(a.shape, b, y)
        return y

    @staticmethod
    def backward(ctx: Context, ops: Ops, g: Array) -> tuple[Array | None, ...]:
        """Compute the inputs' gradients."""
        shape, b, y = ctx.saved
        q = g / b
        return (
            ops.unbroadcast(q, shape) if ctx.needs[0] else None,
            ops.unbroadcast(-q * y, b.shape) if ctx.needs[1] else None,
        )


class Maximum(Function):
    """The larger of a and b; equal ones share the gradient."""

    @staticmethod
    def forward(ctx: Context, ops: Ops, a: Array, b: Array) -> Array:
        """Compute the outputs."""
        ctx.save(a, b)
        return ops.xp.maximum(a, b)

    @staticmethod
    def backward(ctx: Context, ops: Ops, g: Array) -> tuple[Array, ...]:
        """Compute the inputs' gradients."""
        a, b = ctx.saved
        share = (a > b).astype(g.dtype) + (a == b).astype(g.dtype) * g.dtype.type(0.5)
        return ops.unbroadcast(g * share, a.shape), ops.unbroadcast(g * (1 - share), b.shape)


class Power(Function):
    """x to a constant power."""

    @staticmethod
    def forward(ctx: Context, ops: Ops, x: Array, *, exponent: float) -> Array:
        """Compute the outputs."""
        ctx.save(x, exponent)
        return x**exponent

    @staticmethod
    def backward(ctx: Context, ops: Ops, g: Array) -> Array:
        """Compute the inputs' gradients."""
        x, exponent = ctx.saved
        return g * (exponent * x ** (exponent - 1))


class Unary(Function):
    """exp, log, sqrt, abs, tanh and others by name."""

    @staticmethod
    def forward(ctx: Context, ops: Ops, x: Array, *, name: str) -> Array:
        """Compute the outputs."""
        y = getattr(ops.xp, name)(x)
        ctx.save(x, y, name)
        return y

    @staticmethod
    def backward(ctx: Context, ops: Ops, g: Array) -> Array:
        """Compute the inputs' gradients."""
        x, y, name = ctx.saved
        if name == "exp":
            return g * y
        if name == "log":
            return g / x
        if name == "sqrt":
            return g / (2 * y)
        return g * ops.xp.sign(x)


class Clip(Function):
    """x held between two numbers; no gradient outside."""

    @staticmethod
    def forward(ctx: Context, ops: Ops, x: Array, *, low: float, high: float) -> Array:
        """Compute the outputs."""
        ctx.save((x >= low) & (x <= high))
        return ops.xp.clip(x, low, high)

    @staticmethod
    def backward(ctx: Context, ops: Ops, g: Array) -> Array:
        """Compute the inputs' gradients."""
        return g * ctx.saved[0]


class Sum(Function):
    """Sum over axes."""

    @staticmethod
    def forward(ctx: Context, ops: Ops, x: Array, *, axis: Any, keepdims: bool) -> Array:
        """Compute the outputs."""
        ctx.save(x.shape, axis, keepdims)
        return x.sum(axis=axis, keepdims=keepdims)

    @staticmethod
    def backward(ctx: Context, ops: Ops, g: Array) -> Array:
        """Compute the inputs' gradients."""
        shape, axis, keepdims = ctx.saved
        if axis is not None and not keepdims:
            axes = (axis,) if isinstance(axis, int) else axis
            for one in sorted(a % len(shape) for a in axes):
                g = ops.xp.expand_dims(g, one)
        return ops.xp.broadcast_to(g, shape)


def add(a: Operand, b: Operand) -> Tensor:
    """Return a + b with broadcasting.

    Parameters
    ----------
    a, b : Tensor, array or float
        Of shapes that broadcast.

    Returns
    -------
    Tensor of the broadcast shape
    """
    return Add.apply(*_pair(a, b))


def sub(a: Operand, b: Operand) -> Tensor:
    """Return a - b with broadcasting.

    Parameters
    ----------
    a, b : Tensor, array or float
        Of shapes that broadcast.

    Returns
    -------
    Tensor of the broadcast shape
    """
    return Sub.apply(*_pair(a, b))


def mul(a: Operand, b: Operand) -> Tensor:
    """Return a * b, elementwise with broadcasting.

    Parameters
    ----------
    a, b : Tensor, array or float
        Of shapes that broadcast.

    Returns
    -------
    Tensor of the broadcast shape
    """
    return Mul.apply(*_pair(a, b))


def div(a: Operand, b: Operand) -> Tensor:
    """Return a / b, elementwise with broadcasting.

    Parameters
    ----------
    a, b : Tensor, array or float
        Of shapes that broadcast.

    Returns
    -------
    Tensor of the broadcast shape
    """
    return Div.apply(*_pair(a, b))


def maximum(a: Operand, b: Operand) -> Tensor:
    """Return the larger of a and b, elementwise with broadcasting.

    Parameters
    ----------
    a, b : Tensor, array or float
        Of shapes that broadcast.

    Returns
    -------
    Tensor of the broadcast shape
    """
    return Maximum.apply(*_pair(a, b))


def neg(x: Tensor | Array) -> Tensor:
    """Return -x.

    Parameters
    ----------
    x : Tensor or array
        Any shape.

    Returns
    -------
    Tensor of the shape of x
    """
    return mul(x, -1.0)


def power(x: Tensor | Array, exponent: float) -> Tensor:
    """Return x to the power `exponent`, a number.

    Parameters
    ----------
    x : Tensor or array
        Any shape.
    exponent : float
        The power.

    Returns
    -------
    Tensor of the shape of x
    """
    return Power.apply(as_tensor(x), exponent=exponent)


def square(x: Tensor | Array) -> Tensor:
    """Return the square of x.

    Parameters
    ----------
    x : Tensor or array
        Any shape.

    Returns
    -------
    Tensor of the shape of x
    """
    return mul(x, x)


def exp(x: Tensor | Array) -> Tensor:
    """Return e to the power x.

    Parameters
    ----------
    x : Tensor or array
        Any shape.

    Returns
    -------
    Tensor of the shape of x
    """
    return Unary.apply(as_tensor(x), name="exp")


def log(x: Tensor | Array) -> Tensor:
    """Return the natural logarithm of x.

    Parameters
    ----------
    x : Tensor or array
        Any shape.

    Returns
    -------
    Tensor of the shape of x
    """
    return Unary.apply(as_tensor(x), name="log")


def sqrt(x: Tensor | Array) -> Tensor:
    """Return the square root of x.

    Parameters
    ----------
    x : Tensor or array
        Any shape.

    Returns
    -------
    Tensor of the shape of x
    """
    return Unary.apply(as_tensor(x), name="sqrt")


def abs(x: Tensor | Array) -> Tensor:
    """Return the absolute value of x; its gradient at 0 is 0.

    Parameters
    ----------
    x : Tensor or array
        Any shape.

    Returns
    -------
    Tensor of the shape of x
    """
    return Unary.apply(as_tensor(x), name="abs")


def clip(x: Tensor | Array, low: float, high: float) -> Tensor:
    """Return x held between `low` and `high`; the gradient is 0 outside.

    Parameters
    ----------
    x : Tensor or array
        Any shape.
    low, high : float
        The limits.

    Returns
    -------
    Tensor of the shape of x
    """
    return Clip.apply(as_tensor(x), low=low, high=high)


def sum(
    x: Tensor | Array, axis: int | tuple[int, ...] | None = None, keepdims: bool = False
) -> Tensor:
    """Return the sum over `axis` (all axes by default).

    Parameters
    ----------
    x : Tensor or array
        Any shape.
    axis : int or tuple of int, optional
        Axes to go over; all by default.
    keepdims : bool, default=False
        Keep them with length 1.

    Returns
    -------
    Tensor without `axis`, or with 1 in its place
    """
    return Sum.apply(as_tensor(x), axis=axis, keepdims=keepdims)


def mean(
    x: Tensor | Array, axis: int | tuple[int, ...] | None = None, keepdims: bool = False
) -> Tensor:
    """Return the mean over `axis` (all axes by default).

    Parameters
    ----------
    x : Tensor or array
        Any shape.
    axis : int or tuple of int, optional
        Axes to go over; all by default.
    keepdims : bool, default=False
        Keep them with length 1.

    Returns
    -------
    Tensor without `axis`, or with 1 in its place
    """
    x = as_tensor(x)
    total = sum(x, axis, keepdims)
    count = x.data.size // max(1, total.data.size)
    return mul(total, 1.0 / max(1, count))
