"""A fitted multilayer perceptron: frozen weights that answer in double precision.

Weights are trained and stored in single precision as a rule. Sums of products are in double
precision nevertheless, so that a row's answer does not depend on the rows beside it, nor on the
machine's vector instructions, in any digit that matters.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ironlearn.exceptions import ModelFileError

Array = NDArray[Any]


def _relu(z: Array) -> Array:
    return np.maximum(z, 0.0, out=z)


def _logistic(z: Array) -> Array:
    # Either branch of the usual two is 1 / (1 + exp(-z)); tanh cannot overflow.
    z *= 0.5
    np.tanh(z, out=z)
    z += 1.0
    z *= 0.5
    return z


def _tanh(z: Array) -> Array:
    return np.tanh(z, out=z)


def _identity(z: Array) -> Array:
    return z


def _exp(z: Array) -> Array:
    with np.errstate(over="ignore"):
        return np.exp(z, out=z)


def softmax(z: Array) -> Array:
    """Return the softmax of each row of `z`, in place."""
    z -= z.max(axis=1, keepdims=True)
    np.exp(z, out=z)
    z /= z.sum(axis=1, keepdims=True)
    return z


_HIDDEN: dict[str, Callable[[Array], Array]] = {
    "relu": _relu,
    "logistic": _logistic,
    "tanh": _tanh,
    "identity": _identity,
}
_OUTPUT: dict[str, Callable[[Array], Array]] = {
    "softmax": softmax,
    "logistic": _logistic,
    "identity": _identity,
    "exp": _exp,
}


class FeedForward:
    """Fully connected layers: sums, then an activation.

    Parameters
    ----------
    weights : sequence of ndarray of shape (inputs, outputs)
        Of each layer, float32 or float64.
    biases : sequence of ndarray of shape (outputs,)
        Of each layer.
    hidden : {"relu", "logistic", "tanh", "identity"}
        Activation of all layers but the last.
    output : {"softmax", "logistic", "identity", "exp"}
        Activation of the last.

    Raises
    ------
    ModelFileError
        The arrays do not fit each other, or are not finite.

    Examples
    --------
    >>> model = FeedForward([np.eye(2), np.ones((2, 1))], [np.zeros(2), np.zeros(1)], "relu",
    ...                     "identity")
    >>> model(np.array([[-1.0, 3.0]]))
    array([[3.]])
    """

    def __init__(
        self, weights: Sequence[Array], biases: Sequence[Array], hidden: str, output: str
    ) -> None:
        if hidden not in _HIDDEN or output not in _OUTPUT:
            raise ModelFileError(f"{hidden!r} and {output!r} are no activations of a network.")
        if not weights or len(weights) != len(biases):
            raise ModelFileError(f"{len(weights)} weights do not fit {len(biases)} biases.")
        width = weights[0].shape[0] if weights[0].ndim == 2 else 0
        for number, (w, b) in enumerate(zip(weights, biases, strict=True)):
            kinds = {w.dtype, b.dtype}
            if len(kinds) > 1 or not kinds <= {np.dtype(np.float32), np.dtype(np.float64)}:
                raise ModelFileError(f"layer {number} holds {w.dtype} and {b.dtype}.")
            if w.ndim != 2 or w.shape[0] != width or b.shape != w.shape[1:] or not w.size:
                raise ModelFileError(
                    f"layer {number} has weights of shape {w.shape} and biases of shape "
                    f"{b.shape}, but {width} inputs."
                )
            if not (np.isfinite(w).all() and np.isfinite(b).all()):
                raise ModelFileError(f"layer {number} has weights that are not finite.")
            width = w.shape[1]
        self.hidden, self.output = hidden, output
        self.weights = tuple(_frozen(w) for w in weights)
        self.biases = tuple(_frozen(b) for b in biases)
        self._layers = [
            (w.astype(np.float64), b.astype(np.float64))
            for w, b in zip(weights, biases, strict=True)
        ]

    @property
    def n_inputs(self) -> int:
        """Width of a row."""
        return int(self.weights[0].shape[0])

    @property
    def n_outputs(self) -> int:
        """Numbers in an answer."""
        return int(self.weights[-1].shape[1])

    def scores(self, X: Any) -> Array:
        """Return the sums of the last layer for rows X, dense or sparse."""
        hidden = _HIDDEN[self.hidden]
        z = X
        # Numbers that overflow are refused by `__call__`, not warned of.
        with np.errstate(over="ignore", invalid="ignore"):
            for number, (w, b) in enumerate(self._layers):
                z = (hidden(z) if number else z) @ w
                z += b
        return z

    def __call__(self, X: Any) -> Array:
        """Return the outputs for rows X, shape (n_samples, n_outputs).

        Raises
        ------
        ValueError
            Rows hold NaN or infinity.
        """
        stored = X if isinstance(X, np.ndarray) else X.data
        if not np.isfinite(stored).all():
            what = "NaN" if np.isnan(stored).any() else "infinity"
            raise ValueError(f"Input X contains {what}.")
        z = self.scores(X)
        if not np.isfinite(z).all():
            raise ValueError("Input X contains values too large for the network.")
        return _OUTPUT[self.output](z)

    def tensors(self) -> dict[str, Array]:
        """Return the weights by name, as `from_tensors` takes them."""
        named = {f"coef_{i}": w for i, w in enumerate(self.weights)}
        return named | {f"intercept_{i}": b for i, b in enumerate(self.biases)}

    @classmethod
    def from_tensors(
        cls, tensors: dict[str, Array], layers: int, hidden: str, output: str
    ) -> FeedForward:
        """Return the network whose weights `tensors` holds."""
        if type(layers) is not int or not 1 <= layers <= len(tensors):
            raise ModelFileError(f"a network of {layers!r} layers does not fit the file.")
        return cls(
            [tensors[f"coef_{i}"] for i in range(layers)],
            [tensors[f"intercept_{i}"] for i in range(layers)],
            hidden,
            output,
        )


def _frozen(array: Array) -> Array:
    array = np.array(array, order="C")
    array.setflags(write=False)
    return array
