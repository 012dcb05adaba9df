"""Layers that walk over sequences with a state."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from ironlearn.nn import functional as F
from ironlearn.nn.autograd import Tensor, as_tensor
from ironlearn.nn.backend.device import Array
from ironlearn.nn.layers.attention import check_steps, known_width
from ironlearn.nn.layers.base import (
    INFERENCE,
    Layer,
    Mode,
    Parameter,
    Shape,
    check_rate,
    positive,
)
from ironlearn.nn.layers.dropout import task_of


class Recurrent(Layer):
    """What all recurrent layers share: settings, parameters, dropout, states.

    A subclass says how many blocks of `units` columns its kernels have and how its state moves.
    """

    input_ndim = 3
    takes_mask = True
    #: Blocks of columns of the kernels.
    blocks: ClassVar[int] = 1
    #: Arrays that make up the state.
    states: ClassVar[int] = 1

    units: int
    return_sequences: bool
    return_state: bool
    go_backwards: bool
    dropout: float
    recurrent_dropout: float
    kernel_initializer: str
    recurrent_initializer: str
    kernel: Parameter
    recurrent_kernel: Parameter
    bias: Parameter

    def _store(
        self,
        units: int,
        return_sequences: bool,
        return_state: bool,
        go_backwards: bool,
        dropout: float,
        recurrent_dropout: float,
        kernel_initializer: str,
        recurrent_initializer: str,
    ) -> None:
        owner = type(self).__name__
        self.units = positive(owner, "units", units)
        self.return_sequences = return_sequences
        self.return_state = return_state
        self.go_backwards = go_backwards
        self.dropout = check_rate(owner, "dropout", dropout)
        self.recurrent_dropout = check_rate(owner, "recurrent_dropout", recurrent_dropout)
        self.kernel_initializer = kernel_initializer
        self.recurrent_initializer = recurrent_initializer

    def build(self, input_shape: Shape, rng: np.random.Generator) -> None:
        """Create kernels and biases."""
        width, columns = known_width(self, input_shape), self.blocks * self.units
        self.add_parameter("kernel", (width, columns), self.kernel_initializer, rng)
        self.add_parameter(
            "recurrent_kernel", (self.units, columns), self.recurrent_initializer, rng
        )
        self.add_parameter("bias", (columns,), "zeros", rng, decay=False)

    def output_shape(self, input_shape: Shape) -> Shape:
        """Return (T, units), or (units,) for the last state alone."""
        return (input_shape[0], self.units) if self.return_sequences else (self.units,)

    def compute_mask(self, x: Tensor, mask: Array | None) -> Array | None:
        """Return the mask of the input as long as there are steps."""
        return mask if self.return_sequences else None

    def forward(
        self,
        x: Tensor,
        mode: Mode = INFERENCE,
        mask: Array | None = None,
        initial_state: tuple[Tensor, ...] | None = None,
    ) -> Any:
        """Compute the output of `x`.

        Parameters
        ----------
        x : Tensor of shape (N, T, F)
            The sequences.
        mode : Mode
            Dropout drops in training.
        mask : bool array of shape (N, T), optional
            Steps that count: at others the state is carried over.
        initial_state : tuple of Tensors of shape (N, units), optional
            State before the first step (an LSTM has two arrays), zeros by default.

        Returns
        -------
        Tensor of shape (N, T, units) or (N, units)
            With `return_state` a tuple of it and the arrays of the last state.
        """
        self._expect(x)
        check_steps(self, "mask", mask, x)
        state = self._state(x, initial_state)
        if mode.training and self.dropout > 0:
            # One mask for all steps: Gal and Ghahramani (arXiv:1512.05287).
            shape, task = (x.shape[0], 1, x.shape[2]), task_of(self, mode)
            x = F.dropout(x, self.dropout, seed=mode.seed, task=task, shape=shape)
        if mode.training and self.recurrent_dropout > 0:
            y, *last = self._step_by_step(x, state, mask, mode)
        else:
            y, *last = self._run(x, state, mask)
        out = y if self.return_sequences else last[0]
        return (out, *last) if self.return_state else out

    def _state(self, x: Tensor, given: Any) -> tuple[Tensor | None, ...]:
        if given is None:
            return (None,) * self.states
        parts = (given,) if isinstance(given, Tensor) else tuple(given)
        shape = (x.shape[0], self.units)
        if len(parts) != self.states or any(tuple(p.shape) != shape for p in parts):
            raise ValueError(
                f"{self._title()} expects an initial_state of {self.states} arrays of shape "
                f"{shape}, got shapes {[tuple(p.shape) for p in parts]}."
            )
        return tuple(as_tensor(part) for part in parts)

    def _run(
        self, x: Tensor, state: tuple[Tensor | None, ...], mask: Array | None
    ) -> tuple[Tensor, ...]:
        """Return all states, and the arrays of the last one."""
        raise NotImplementedError

    def _step(self, z: Tensor, seen: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Return the next state, given x w + b, the state that the products see, and the state."""
        raise NotImplementedError

    def _step_by_step(
        self, x: Tensor, state: tuple[Tensor | None, ...], mask: Array | None, mode: Mode
    ) -> tuple[Tensor, ...]:
        """Run with dropout of the state, of which the whole-sequence operations know nothing."""
        n, steps, _ = x.shape
        xp = x.device.xp
        zeros = Tensor(xp.zeros((n, self.units), x.dtype))
        now = tuple(zeros if part is None else part for part in state)
        projected = F.affine(x, self.kernel, self.bias)
        # The same units at every step.
        keep = F.dropout(
            Tensor(xp.ones((n, self.units), x.dtype)),
            self.recurrent_dropout,
            seed=mode.seed,
            task=task_of(self, mode, 1),
        )
        outputs = []
        for t in range(steps - 1, -1, -1) if self.go_backwards else range(steps):
            z = F.getitem(projected, (slice(None), t))
            after = self._step(z, F.mul(now[0], keep), now)
            if mask is not None:
                takes = Tensor(mask[:, t, None].astype(x.dtype))
                after = tuple(
                    F.add(old, F.mul(takes, F.sub(new, old)))
                    for new, old in zip(after, now, strict=True)
                )
            now = after
            outputs.append(now[0])
        if self.go_backwards:
            outputs.reverse()
        return (F.stack(outputs, axis=1), *now)

    def _part(self, z: Tensor, block: int) -> Tensor:
        return F.getitem(z, (slice(None), slice(block * self.units, (block + 1) * self.units)))


class LSTM(Recurrent):
    """Long short-term memory.

    Parameters
    ----------
    units : int
        Width of the state.
    return_sequences : bool, default=False
        Return the states of all steps, not the last one alone.
    return_state : bool, default=False
        Return also the last state and the last cell state.
    go_backwards : bool, default=False
        Walk from the last step to the first. Outputs stay beside their inputs (in Keras they come
        in the order in which they were computed).
    dropout : float in [0, 1), default=0.0
        In training, part of the features that are dropped, the same at every step.
    recurrent_dropout : float in [0, 1), default=0.0
        The same of the state, as the products see it. Much slower, since every step is computed on
        its own.
    unit_forget_bias : bool, default=True
        Start the forget gates' biases at 1.
    kernel_initializer : str, default="glorot_uniform"
        Initial values of `kernel`; see `ironlearn.nn.initializers`.
    recurrent_initializer : str, default="orthogonal"
        Initial values of `recurrent_kernel`.

    Attributes
    ----------
    kernel : Parameter of shape (F, 4 units)
        Gates i, f, candidate g, gate o.
    recurrent_kernel : Parameter of shape (units, 4 units)
    bias : Parameter of shape (4 units,)

    Notes
    -----
    Input (N, T, F), output (N, units) or (N, T, units). Hochreiter and Schmidhuber, "Long
    short-term memory", Neural Computation 9 (1997).

    Examples
    --------
    >>> import numpy as np
    >>> layer = LSTM(6, return_sequences=True)
    >>> layer._build((None, 3), np.random.default_rng(0))
    (None, 6)
    >>> layer(Tensor(np.ones((2, 5, 3), np.float32))).shape
    (2, 5, 6)
    """

    blocks = 4
    states = 2

    def __init__(
        self,
        units: int,
        *,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        unit_forget_bias: bool = True,
        kernel_initializer: str = "glorot_uniform",
        recurrent_initializer: str = "orthogonal",
    ) -> None:
        self._store(
            units,
            return_sequences,
            return_state,
            go_backwards,
            dropout,
            recurrent_dropout,
            kernel_initializer,
            recurrent_initializer,
        )
        self.unit_forget_bias = unit_forget_bias

    def build(self, input_shape: Shape, rng: np.random.Generator) -> None:
        """Create kernels and biases."""
        super().build(input_shape, rng)
        if self.unit_forget_bias:
            self.bias.data[self.units : 2 * self.units] = 1

    def _run(
        self, x: Tensor, state: tuple[Tensor | None, ...], mask: Array | None
    ) -> tuple[Tensor, ...]:
        weights = (self.kernel, self.recurrent_kernel, self.bias)
        return F.lstm(x, *weights, *state, mask=mask, reverse=self.go_backwards)

    def _step(self, z: Tensor, seen: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        z = F.add(z, F.matmul(seen, self.recurrent_kernel))
        i, f, o = (F.activation(self._part(z, k), "sigmoid") for k in (0, 1, 3))
        g = F.activation(self._part(z, 2), "tanh")
        c = F.add(F.mul(f, state[1]), F.mul(i, g))
        return F.mul(o, F.activation(c, "tanh")), c


class GRU(Recurrent):
    """Gated recurrent unit, its reset gate applied after the product with the state.

    Parameters
    ----------
    units : int
        Width of the state.
    return_sequences : bool, default=False
        Return the states of all steps, not the last one alone.
    return_state : bool, default=False
        Return also the last state.
    go_backwards : bool, default=False
        Walk from the last step to the first; outputs stay beside their inputs.
    dropout : float in [0, 1), default=0.0
        In training, part of the features that are dropped, the same at every step.
    recurrent_dropout : float in [0, 1), default=0.0
        The same of the state, as the products see it. Much slower.
    kernel_initializer : str, default="glorot_uniform"
        Initial values of `kernel`; see `ironlearn.nn.initializers`.
    recurrent_initializer : str, default="orthogonal"
        Initial values of `recurrent_kernel`.

    Attributes
    ----------
    kernel : Parameter of shape (F, 3 units)
        Update gate z, reset gate r, candidate n.
    recurrent_kernel : Parameter of shape (units, 3 units)
    bias, recurrent_bias : Parameters of shape (3 units,)
        Of the products with the input and with the state.

    Notes
    -----
    Input (N, T, F), output (N, units) or (N, T, units). Cho et al., "Learning phrase
    representations using RNN encoder-decoder" (arXiv:1406.1078); Keras calls this form
    ``reset_after=True``.

    Examples
    --------
    >>> import numpy as np
    >>> layer = GRU(6)
    >>> layer._build((None, 3), np.random.default_rng(0))
    (6,)
    >>> layer(Tensor(np.ones((2, 5, 3), np.float32))).shape
    (2, 6)
    """

    blocks = 3
    recurrent_bias: Parameter

    def __init__(
        self,
        units: int,
        *,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        kernel_initializer: str = "glorot_uniform",
        recurrent_initializer: str = "orthogonal",
    ) -> None:
        self._store(
            units,
            return_sequences,
            return_state,
            go_backwards,
            dropout,
            recurrent_dropout,
            kernel_initializer,
            recurrent_initializer,
        )

    def build(self, input_shape: Shape, rng: np.random.Generator) -> None:
        """Create kernels and biases."""
        super().build(input_shape, rng)
        self.add_parameter("recurrent_bias", (3 * self.units,), "zeros", rng, decay=False)

    def _run(
        self, x: Tensor, state: tuple[Tensor | None, ...], mask: Array | None
    ) -> tuple[Tensor, ...]:
        weights = (self.kernel, self.recurrent_kernel, self.bias, self.recurrent_bias)
        return F.gru(x, *weights, *state, mask=mask, reverse=self.go_backwards)

    def _step(self, z: Tensor, seen: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        s = F.affine(seen, self.recurrent_kernel, self.recurrent_bias)
        update = F.activation(F.add(self._part(z, 0), self._part(s, 0)), "sigmoid")
        reset = F.activation(F.add(self._part(z, 1), self._part(s, 1)), "sigmoid")
        n = F.activation(F.add(self._part(z, 2), F.mul(reset, self._part(s, 2))), "tanh")
        return (F.add(n, F.mul(update, F.sub(state[0], n))),)


class SimpleRNN(Recurrent):
    """h' = activation(x W + h U + b).

    Parameters
    ----------
    units : int
        Width of the state.
    activation : {"tanh", "relu", "sigmoid", "linear"}, default="tanh"
        What is applied to the sum.
    return_sequences : bool, default=False
        Return the states of all steps, not the last one alone.
    return_state : bool, default=False
        Return also the last state.
    go_backwards : bool, default=False
        Walk from the last step to the first; outputs stay beside their inputs.
    dropout : float in [0, 1), default=0.0
        In training, part of the features that are dropped, the same at every step.
    recurrent_dropout : float in [0, 1), default=0.0
        The same of the state, as the products see it. Much slower.
    kernel_initializer : str, default="glorot_uniform"
        Initial values of `kernel`; see `ironlearn.nn.initializers`.
    recurrent_initializer : str, default="orthogonal"
        Initial values of `recurrent_kernel`.

    Attributes
    ----------
    kernel : Parameter of shape (F, units)
    recurrent_kernel : Parameter of shape (units, units)
    bias : Parameter of shape (units,)

    Notes
    -----
    Input (N, T, F), output (N, units) or (N, T, units). Elman, "Finding structure in time",
    Cognitive Science 14 (1990).

    Examples
    --------
    >>> import numpy as np
    >>> layer = SimpleRNN(6)
    >>> layer._build((None, 3), np.random.default_rng(0))
    (6,)
    >>> layer(Tensor(np.ones((2, 5, 3), np.float32))).shape
    (2, 6)
    """

    def __init__(
        self,
        units: int,
        activation: str = "tanh",
        *,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        kernel_initializer: str = "glorot_uniform",
        recurrent_initializer: str = "orthogonal",
    ) -> None:
        known = ("tanh", "relu", "sigmoid", "linear")
        if activation not in known:
            raise ValueError(f"activation of SimpleRNN must be one of {known}, got {activation!r}.")
        self.activation = activation
        self._store(
            units,
            return_sequences,
            return_state,
            go_backwards,
            dropout,
            recurrent_dropout,
            kernel_initializer,
            recurrent_initializer,
        )

    def _run(
        self, x: Tensor, state: tuple[Tensor | None, ...], mask: Array | None
    ) -> tuple[Tensor, ...]:
        weights = (self.kernel, self.recurrent_kernel, self.bias)
        settings = {"activation": self.activation, "reverse": self.go_backwards}
        return F.rnn(x, *weights, *state, mask=mask, **settings)  # type: ignore[arg-type]

    def _step(self, z: Tensor, seen: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        z = F.add(z, F.matmul(seen, self.recurrent_kernel))
        return (F.activation(z, self.activation),)
