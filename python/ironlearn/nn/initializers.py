"""Initial values of parameters, drawn on the host so that every device starts alike."""

from __future__ import annotations

import contextlib
import contextvars
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ironlearn.exceptions import InvalidParameterError

NAMES = (
    "zeros",
    "ones",
    "glorot_uniform",
    "glorot_normal",
    "he_uniform",
    "he_normal",
    "lecun_uniform",
    "lecun_normal",
    "orthogonal",
    "uniform",
    "normal",
)


#: How many values may still be made, where only shapes are wanted.
_allowed: contextvars.ContextVar[list[int] | None] = contextvars.ContextVar("allowed", default=None)


@contextlib.contextmanager
def blank(limit: int) -> Iterator[None]:
    """Make zeros instead of drawing, and no more than `limit` of them.

    A network that a file describes is built this way: its values come later, and a description
    that asks for more than the file holds is refused before memory is.
    """
    token = _allowed.set([limit])
    try:
        yield
    finally:
        _allowed.reset(token)


def _fans(shape: tuple[int, ...]) -> tuple[float, float]:
    """Return how many inputs and outputs meet in one cell of a kernel (..., in, out)."""
    if len(shape) < 2:
        return float(max(1, *shape)), float(max(1, *shape))
    cells = math.prod(shape[:-2])
    return float(cells * shape[-2]), float(cells * shape[-1])


def initial(
    name: str,
    shape: tuple[int, ...],
    rng: np.random.Generator,
    dtype: Any = np.float32,
    fans: tuple[float, float] | None = None,
) -> NDArray[Any]:
    """Return initial values.

    Parameters
    ----------
    name : str
        ``"glorot_*"`` of Glorot and Bengio (AISTATS 2010), ``"he_*"`` of He et al.
        (arXiv:1502.01852), ``"lecun_*"`` of LeCun et al. (1998), ``"orthogonal"`` of Saxe et al.
        (arXiv:1312.6120), ``"uniform"`` in [-0.05, 0.05), ``"normal"`` of deviation 0.05,
        ``"zeros"``, ``"ones"``.
    shape : tuple of int
        The last two axes are inputs and outputs, the others a kernel's cells.
    rng : numpy.random.Generator
        The source of random numbers.
    dtype : dtype, default=float32
        Type of the values.
    fans : (float, float), optional
        Inputs and outputs of a cell, where the shape does not tell them.

    Returns
    -------
    ndarray
        Values of that shape and dtype.

    Examples
    --------
    >>> initial("glorot_uniform", (3, 2), np.random.default_rng(0)).shape
    (3, 2)
    """
    if name not in NAMES:
        raise InvalidParameterError(f"an initializer must be one of {NAMES}, got {name!r}.")
    left = _allowed.get()
    if left is not None:
        left[0] -= math.prod(shape)
        if left[0] < 0:
            raise ValueError(f"parameters of shape {shape} are more than the file holds.")
        return np.zeros(shape, dtype)
    fan_in, fan_out = fans or _fans(shape)
    if name == "zeros":
        return np.zeros(shape, dtype)
    if name == "ones":
        return np.ones(shape, dtype)
    if name == "uniform":
        return rng.uniform(-0.05, 0.05, shape).astype(dtype)
    if name == "normal":
        return (0.05 * rng.standard_normal(shape)).astype(dtype)
    if name == "orthogonal":
        rows, columns = math.prod(shape[:-1]), shape[-1]
        flat = rng.standard_normal((max(rows, columns), min(rows, columns)))
        q, r = np.linalg.qr(flat)
        q *= np.sign(np.diag(r))
        # Parameters are in C order: kernels ask for it, and sums come out the same after a file.
        return np.ascontiguousarray((q if rows >= columns else q.T).reshape(shape), dtype)
    kind, _, law = name.partition("_")
    variance = {"glorot": 2.0 / (fan_in + fan_out), "he": 2.0 / fan_in, "lecun": 1.0 / fan_in}[kind]
    if law == "uniform":
        limit = math.sqrt(3.0 * variance)
        return rng.uniform(-limit, limit, shape).astype(dtype)
    return (math.sqrt(variance) * rng.standard_normal(shape)).astype(dtype)
