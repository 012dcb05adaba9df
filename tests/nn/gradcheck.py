"""Directional gradient checks in float64."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ironlearn.nn.autograd import Tensor, backward


def check_gradients(
    function: Callable[..., Tensor],
    inputs: Sequence[np.ndarray[Any, Any]],
    *,
    seed: int = 0,
    step: float = 1e-6,
    tolerance: float = 1e-6,
    directions: int = 3,
) -> None:
    """Compare backward's gradients of `function` with central differences along random directions.

    `function` takes a tensor for each float64 array of `inputs` and returns one tensor of any
    shape; a random linear form of it is differentiated.
    """
    rng = np.random.default_rng(seed)
    tensors = [Tensor(np.array(x, np.float64), requires_grad=True) for x in inputs]
    output = function(*tensors)
    assert output.data.dtype == np.float64, output.data.dtype
    form = rng.standard_normal(output.shape)
    backward(output, form)

    def value(shift: float, along: Sequence[np.ndarray[Any, Any]]) -> float:
        moved = [Tensor(x + shift * d) for x, d in zip(inputs, along, strict=True)]
        return float((function(*moved).data * form).sum())

    for _ in range(directions):
        along = [rng.standard_normal(np.shape(x)) for x in inputs]
        numeric = (value(step, along) - value(-step, along)) / (2 * step)
        exact = sum(
            float((t.grad * d).sum()) if t.grad is not None else 0.0
            for t, d in zip(tensors, along, strict=True)
        )
        scale = max(1.0, abs(numeric), abs(exact))
        assert abs(numeric - exact) <= tolerance * scale, (numeric, exact)


def check_layer(
    layer: Any,
    x: np.ndarray[Any, Any],
    *,
    mode: Any = None,
    seed: int = 0,
    tolerance: float = 1e-6,
    **kwargs: Any,
) -> None:
    """Check the gradients of a built layer, turned into float64, in its input and parameters."""
    from ironlearn.nn.layers import INFERENCE

    layer.astype(np.float64)
    parameters = layer.parameters()
    values = [np.array(p.data) for p in parameters]

    def run(*tensors: Tensor) -> Tensor:
        # The layer's own parameters stand for the given ones, so that their gradients are kept.
        for parameter, tensor in zip(parameters, tensors[1:], strict=True):
            parameter.data = tensor.data
            parameter.requires_grad = tensor.requires_grad
            parameter.grad = None
        y = layer(tensors[0], INFERENCE if mode is None else mode, **kwargs)
        return y

    rng = np.random.default_rng(seed)
    first = Tensor(np.array(x, np.float64), requires_grad=True)
    output = run(first, *[Tensor(v, requires_grad=True) for v in values])
    form = rng.standard_normal(output.shape)
    backward(output, form)
    grads = [first.grad, *[p.grad for p in parameters]]
    step = 1e-6
    for _ in range(3):
        along = [rng.standard_normal(np.shape(v)) for v in [x, *values]]
        ends = []
        for sign in (1, -1):
            moved = [Tensor(v + sign * step * d) for v, d in zip([x, *values], along, strict=True)]
            ends.append(float((run(*moved).data * form).sum()))
        numeric = (ends[0] - ends[1]) / (2 * step)
        exact = sum(
            float((g * d).sum()) for g, d in zip(grads, along, strict=True) if g is not None
        )
        scale = max(1.0, abs(numeric), abs(exact))
        assert abs(numeric - exact) <= tolerance * scale, (numeric, exact)
    for parameter, data in zip(parameters, values, strict=True):
        parameter.data = data
