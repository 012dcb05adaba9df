"""Recurrent layers over whole sequences."""

from __future__ import annotations

from typing import Any

from ironlearn.nn.autograd import Context, Function, Tensor, as_tensor
from ironlearn.nn.backend.device import Array
from ironlearn.nn.backend.ops import Ops


def _first(ops: Ops, state: Array | None, x: Array, u: Array) -> Array:
    """Return the state before the first step: zeros unless given."""
    return ops.xp.zeros((x.shape[0], u.shape[0]), x.dtype) if state is None else state


class Lstm(Function):
    """All states, the last state and the last cell state of an LSTM."""

    several = True

    @staticmethod
    def forward(
        ctx: Context,
        ops: Ops,
        x: Array,
        w: Array,
        u: Array,
        b: Array,
        h0: Array | None,
        c0: Array | None,
        **settings: Any,
    ) -> tuple[Array, ...]:
        """Compute the outputs."""
        h0, c0 = _first(ops, h0, x, u), _first(ops, c0, x, u)
        y, h, c, cache = ops.lstm(x, w, u, b, h0, c0, keep=any(ctx.needs), **settings)
        ctx.save((x, w, u, b, h0, c0, y, cache), settings)
        return y, h, c

    @staticmethod
    def backward(ctx: Context, ops: Ops, *grads: Any) -> tuple[Array | None, ...]:
        """Compute the inputs' gradients."""
        arrays, settings = ctx.saved
        return ops.lstm_backward(*grads, *arrays, needs_x=ctx.needs[0], **settings)


class Gru(Function):
    """All states and the last state of a GRU."""

    several = True

    @staticmethod
    def forward(
        ctx: Context,
        ops: Ops,
        x: Array,
        w: Array,
        u: Array,
        b: Array,
        bu: Array,
        h0: Array | None,
        **settings: Any,
    ) -> tuple[Array, ...]:
        """Compute the outputs."""
        h0 = _first(ops, h0, x, u)
        y, h, cache = ops.gru(x, w, u, b, bu, h0, keep=any(ctx.needs), **settings)
        ctx.save((x, w, u, b, bu, h0, y, cache), settings)
        return y, h

    @staticmethod
    def backward(ctx: Context, ops: Ops, *grads: Any) -> tuple[Array | None, ...]:
        """Compute the inputs' gradients."""
        arrays, settings = ctx.saved
        return ops.gru_backward(*grads, *arrays, needs_x=ctx.needs[0], **settings)


class Rnn(Function):
    """All states and the last state of a simple recurrent layer."""

    several = True

    @staticmethod
    def forward(
        ctx: Context,
        ops: Ops,
        x: Array,
        w: Array,
        u: Array,
        b: Array,
        h0: Array | None,
        **settings: Any,
    ) -> tuple[Array, ...]:
        """Compute the outputs."""
        h0 = _first(ops, h0, x, u)
        y, h, cache = ops.rnn(x, w, u, b, h0, keep=any(ctx.needs), **settings)
        ctx.save((x, w, u, b, h0, y, cache), settings)
        return y, h

    @staticmethod
    def backward(ctx: Context, ops: Ops, *grads: Any) -> tuple[Array | None, ...]:
        """Compute the inputs' gradients."""
        arrays, settings = ctx.saved
        return ops.rnn_backward(*grads, *arrays, needs_x=ctx.needs[0], **settings)


def lstm(
    x: Tensor | Array,
    w: Tensor,
    u: Tensor,
    b: Tensor,
    h0: Tensor | None = None,
    c0: Tensor | None = None,
    *,
    mask: Array | None = None,
    reverse: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:
    """Run an LSTM over sequences.

    Parameters
    ----------
    x : Tensor of shape (N, T, F)
        The sequences.
    w, u : Tensors of shapes (F, 4 H) and (H, 4 H)
        Weights of the gates i, f, the candidate g and the gate o, side by side.
    b : Tensor of shape (4 H,)
        Their biases.
    h0, c0 : Tensors of shape (N, H), optional
        State and cell state before the first step, zeros by default.
    mask : bool array of shape (N, T), optional
        Steps that count: at others the state is carried over and y repeats it.
    reverse : bool, default=False
        Walk from the last step to the first; y stays beside x.

    Returns
    -------
    y, h, c : Tensors of shapes (N, T, H), (N, H) and (N, H)
        The states after each step, the last state and the last cell state.

    Notes
    -----
    Hochreiter and Schmidhuber, "Long short-term memory", Neural Computation 9 (1997), with the
    forget gate of Gers et al. (2000).

    Examples
    --------
    >>> import numpy as np
    >>> w, u, b = (Tensor(np.ones(s)) for s in ((3, 8), (2, 8), (8,)))
    >>> y, h, c = lstm(np.zeros((5, 4, 3)), w, u, b)
    >>> y.shape, h.shape, c.shape
    ((5, 4, 2), (5, 2), (5, 2))
    """
    answer: tuple[Tensor, Tensor, Tensor] = Lstm.apply(
        as_tensor(x), w, u, b, h0, c0, mask=mask, reverse=reverse
    )
    return answer


def gru(
    x: Tensor | Array,
    w: Tensor,
    u: Tensor,
    b: Tensor,
    bu: Tensor,
    h0: Tensor | None = None,
    *,
    mask: Array | None = None,
    reverse: bool = False,
) -> tuple[Tensor, Tensor]:
    """Run a GRU over sequences; its reset gate applies to the product with the state.

    Parameters
    ----------
    x : Tensor of shape (N, T, F)
        The sequences.
    w, u : Tensors of shapes (F, 3 H) and (H, 3 H)
        Weights of the update gate z, the reset gate r and the candidate n, side by side.
    b, bu : Tensors of shape (3 H,)
        Biases of the products with x and with the state.
    h0 : Tensor of shape (N, H), optional
        State before the first step, zeros by default.
    mask : bool array of shape (N, T), optional
        Steps that count: at others the state is carried over and y repeats it.
    reverse : bool, default=False
        Walk from the last step to the first; y stays beside x.

    Returns
    -------
    y, h : Tensors of shapes (N, T, H) and (N, H)
        The states after each step, and the last state.

    Notes
    -----
    Cho et al., "Learning phrase representations using RNN encoder-decoder" (arXiv:1406.1078), in
    the form of cuDNN, whose reset gate comes after the product.

    Examples
    --------
    >>> import numpy as np
    >>> w, u, b = (Tensor(np.ones(s)) for s in ((3, 6), (2, 6), (6,)))
    >>> y, h = gru(np.zeros((5, 4, 3)), w, u, b, b)
    >>> y.shape, h.shape
    ((5, 4, 2), (5, 2))
    """
    answer: tuple[Tensor, Tensor] = Gru.apply(
        as_tensor(x), w, u, b, bu, h0, mask=mask, reverse=reverse
    )
    return answer


def rnn(
    x: Tensor | Array,
    w: Tensor,
    u: Tensor,
    b: Tensor,
    h0: Tensor | None = None,
    *,
    activation: str = "tanh",
    mask: Array | None = None,
    reverse: bool = False,
) -> tuple[Tensor, Tensor]:
    """Run h' = activation(x w + h u + b) over sequences.

    Parameters
    ----------
    x : Tensor of shape (N, T, F)
        The sequences.
    w, u : Tensors of shapes (F, H) and (H, H)
        Weights of the inputs and of the state.
    b : Tensor of shape (H,)
        Biases.
    h0 : Tensor of shape (N, H), optional
        State before the first step, zeros by default.
    activation : str, default="tanh"
        One whose derivative follows from the output.
    mask : bool array of shape (N, T), optional
        Steps that count: at others the state is carried over and y repeats it.
    reverse : bool, default=False
        Walk from the last step to the first; y stays beside x.

    Returns
    -------
    y, h : Tensors of shapes (N, T, H) and (N, H)
        The states after each step, and the last state.

    Notes
    -----
    Elman, "Finding structure in time", Cognitive Science 14 (1990).

    Examples
    --------
    >>> import numpy as np
    >>> w, u, b = (Tensor(np.ones(s)) for s in ((3, 2), (2, 2), (2,)))
    >>> y, h = rnn(np.zeros((5, 4, 3)), w, u, b)
    >>> y.shape, h.shape
    ((5, 4, 2), (5, 2))
    """
    answer: tuple[Tensor, Tensor] = Rnn.apply(
        as_tensor(x), w, u, b, h0, activation=activation, mask=mask, reverse=reverse
    )
    return answer
