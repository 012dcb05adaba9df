"""Random zeros and noise, from counter-based streams."""

from __future__ import annotations

from ironlearn.nn.autograd import Context, Function, Tensor, as_tensor
from ironlearn.nn.backend.device import Array
from ironlearn.nn.backend.ops import Ops


class Dropout(Function):
    """x times a random mask."""

    @staticmethod
    def forward(
        ctx: Context,
        ops: Ops,
        x: Array,
        *,
        rate: float,
        seed: int,
        task: int,
        shape: tuple[int, ...] | None,
    ) -> Array:
        """Compute the outputs."""
        if shape is None or shape == x.shape:
            # The same numbers come again in the backward pass: that is cheaper than to keep them.
            ctx.save(seed, task, rate)
            return ops.dropout(x, seed, task, rate)
        mask = ops.dropout_mask(seed, task, shape, rate, x.dtype)
        ctx.save(mask)
        return x * mask

    @staticmethod
    def backward(ctx: Context, ops: Ops, g: Array) -> Array:
        """Compute the inputs' gradients."""
        if len(ctx.saved) > 1:
            return ops.dropout(g, *ctx.saved)
        return g * ctx.saved[0]


class GaussianNoise(Function):
    """x plus normal noise."""

    @staticmethod
    def forward(ctx: Context, ops: Ops, x: Array, *, stddev: float, seed: int, task: int) -> Array:
        """Compute the outputs."""
        return x + ops.random_normal(seed, task, x.shape, x.dtype) * x.dtype.type(stddev)

    @staticmethod
    def backward(ctx: Context, ops: Ops, g: Array) -> Array:
        """Compute the inputs' gradients."""
        return g


def dropout(
    x: Tensor | Array,
    rate: float,
    *,
    seed: int,
    task: int,
    shape: tuple[int, ...] | None = None,
) -> Tensor:
    """Return x with elements zeroed with probability `rate`, the others scaled by 1/(1-rate).

    Parameters
    ----------
    x : Tensor
        Any shape.
    rate : float in [0, 1)
        Probability of a zero. Srivastava et al., "Dropout", JMLR 15 (2014).
    seed, task : int
        The random stream: equal ones give equal masks.
    shape : tuple of int, optional
        The mask's shape, broadcast to x's: 1 on an axis drops it as a whole.

    Returns
    -------
    Tensor of the shape of x
    """
    return Dropout.apply(as_tensor(x), rate=rate, seed=seed, task=task, shape=shape)


def gaussian_noise(x: Tensor | Array, stddev: float, *, seed: int, task: int) -> Tensor:
    """Return x plus normal noise of standard deviation `stddev`.

    Parameters
    ----------
    x : Tensor or array
        Any shape.
    stddev : float
        Standard deviation of the noise.
    seed, task : int
        The random stream: equal ones give equal noise.

    Returns
    -------
    Tensor of the shape of x
    """
    return GaussianNoise.apply(as_tensor(x), stddev=stddev, seed=seed, task=task)
