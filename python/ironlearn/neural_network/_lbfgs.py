"""A multilayer perceptron's loss over all rows at once, and its minimum by L-BFGS."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from ironlearn._feedforward import FeedForward, softmax

Array = NDArray[Any]

#: Derivative of each hidden activation, from its output.
_SLOPES: dict[str, Callable[[Array], Array]] = {
    "identity": lambda h: np.ones_like(h),
    "logistic": lambda h: h * (1 - h),
    "tanh": lambda h: 1 - h * h,
    "relu": lambda h: (h > 0).astype(h.dtype),
}
_HIDDEN: dict[str, Callable[[Array], Array]] = {
    "identity": lambda z: z,
    "logistic": lambda z: 0.5 * (1 + np.tanh(0.5 * z)),
    "tanh": np.tanh,
    "relu": lambda z: np.maximum(z, 0),
}


class Problem(NamedTuple):
    """What is minimised.

    Attributes
    ----------
    X : array or sparse matrix of shape (n_samples, n_features)
    y : array of shape (n_samples, n_outputs)
        Targets: 0 and 1 for classes.
    weights : array of shape (n_samples,) or None
        Sample weights.
    hidden, output : str
        Activations.
    alpha : float
        Penalty on the squares of the weights.
    """

    X: Any
    y: Array
    weights: Array | None
    hidden: str
    output: str
    alpha: float


def loss_and_gradient(
    problem: Problem, weights: Sequence[Array], biases: Sequence[Array]
) -> tuple[float, float, list[Array], list[Array]]:
    """Return the mean loss, the penalty, and their gradients in weights and biases.

    A row's loss is the sum over its outputs.
    """
    activate, slope = _HIDDEN[problem.hidden], _SLOPES[problem.hidden]
    layers = [problem.X]
    for number, (w, b) in enumerate(zip(weights, biases, strict=True)):
        z = layers[-1] @ w + b
        layers.append(activate(z) if number < len(weights) - 1 else z)
    share = np.full(len(z), 1 / len(z)) if problem.weights is None else problem.weights
    total = 1.0 if problem.weights is None else float(problem.weights.sum())
    losses, delta = _last(problem.output, z, problem.y)
    loss = float(share @ losses) / total
    delta *= (share / total)[:, None]
    size = len(z) if problem.weights is None else total
    penalty = 0.5 * problem.alpha / size * sum(float((w * w).sum()) for w in weights)
    slopes_w: list[Array] = []
    slopes_b: list[Array] = []
    for number in reversed(range(len(weights))):
        slopes_w.append(layers[number].T @ delta + problem.alpha / size * weights[number])
        slopes_b.append(delta.sum(axis=0))
        if number:
            delta = delta @ weights[number].T
            delta *= slope(layers[number])
    return loss, penalty, slopes_w[::-1], slopes_b[::-1]


def _last(output: str, z: Array, y: Array) -> tuple[Array, Array]:
    """Return each row's loss, and its slope in the last sums `z`."""
    if output == "softmax":
        low = z.max(axis=1, keepdims=True)
        norm = np.log(np.exp(z - low).sum(axis=1, keepdims=True)) + low
        return ((norm - z) * y).sum(axis=1), softmax(z.copy()) - y
    if output == "logistic":
        losses = np.logaddexp(0, z) - y * z
        return losses.sum(axis=1), 0.5 * (1 + np.tanh(0.5 * z)) - y
    if output == "exp":
        with np.errstate(over="ignore"):
            rate = np.exp(z)
        return (rate - y * z + poisson_constant(y)).sum(axis=1), rate - y
    difference = z - y
    return 0.5 * (difference * difference).sum(axis=1), difference


def poisson_constant(y: Array) -> Array:
    """Return what a Poisson loss has to be 0 where the rate is the target: y log y - y."""
    return y * np.log(np.where(y > 0, y, 1)) - y


class Minimum(NamedTuple):
    """Where the solver ended."""

    model: FeedForward
    loss: float
    n_iter: int
    converged: bool
    message: str


def minimise(
    problem: Problem,
    weights: Sequence[Array],
    biases: Sequence[Array],
    *,
    max_iter: int,
    max_fun: int,
    tol: float,
    verbose: int,
) -> Minimum:
    """Minimise from the given weights on, in double precision.

    Parameters
    ----------
    problem : Problem
        What is minimised.
    weights, biases : sequence of ndarray
        The start.
    max_iter, max_fun : int
        Most iterations and most evaluations.
    tol : float
        Largest component of the gradient at the end.
    verbose : int
        Print the loss of each iteration.
    """
    shapes = [w.shape for w in (*weights, *biases)]
    ends = np.cumsum([int(np.prod(shape)) for shape in shapes])

    def unpack(vector: Array) -> list[Array]:
        parts = np.split(vector, ends[:-1])
        return [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]

    layers = len(weights)

    def evaluate(vector: Array) -> tuple[float, Array]:
        parts = unpack(vector)
        loss, penalty, slopes_w, slopes_b = loss_and_gradient(
            problem, parts[:layers], parts[layers:]
        )
        return loss + penalty, np.concatenate([g.ravel() for g in (*slopes_w, *slopes_b)])

    done = 0

    def tell(vector: Array) -> None:
        nonlocal done
        done += 1
        print(f"Iteration {done}, loss = {evaluate(vector)[0]:.8f}")

    start = np.concatenate([np.asarray(p, np.float64).ravel() for p in (*weights, *biases)])
    found = optimize.minimize(
        evaluate,
        start,
        method="L-BFGS-B",
        jac=True,
        callback=tell if verbose else None,
        options={"maxfun": max_fun, "maxiter": max_iter, "gtol": tol},
    )
    parts = unpack(found.x)
    model = FeedForward(parts[:layers], parts[layers:], problem.hidden, problem.output)
    loss, penalty, _, _ = loss_and_gradient(problem, parts[:layers], parts[layers:])
    shown = loss / (problem.y.shape[1] if problem.output == "identity" else 1) + penalty
    return Minimum(model, shown, int(found.nit), found.status == 0, str(found.message))
