"""Layers one after the other."""

from __future__ import annotations

import math
from typing import Any, Self

import numpy as np

from ironlearn.nn.autograd import Tensor
from ironlearn.nn.backend.device import Array
from ironlearn.nn.layers.base import INFERENCE, Layer, Mode, Shape


class Sequential(Layer):
    """A chain of layers.

    Parameters
    ----------
    layers : list of Layer
        The first takes the input, each other the output of the one before.

    Notes
    -----
    A mask of steps (of an `Embedding` with ``mask_zero``, or given to `forward`) travels along the
    chain to the layers that take one.

    Examples
    --------
    >>> import numpy as np
    >>> from ironlearn.nn.layers import Dense
    >>> net = Sequential([Dense(8, "relu"), Dense(3)]).initialize((4,), random_state=0)
    >>> net(Tensor(np.ones((2, 4), np.float32))).shape
    (2, 3)
    """

    takes_mask = True

    def __init__(self, layers: list[Layer]) -> None:
        if not isinstance(layers, list | tuple) or not all(isinstance(x, Layer) for x in layers):
            raise ValueError("layers of Sequential must be a list of layers.")
        self.layers = list(layers)

    def initialize(self, input_shape: Shape, random_state: int | np.random.Generator = 0) -> Self:
        """Build every layer for inputs of `input_shape` (without the batch's axis)."""
        return initialize(self, input_shape, random_state)

    def build(self, input_shape: Shape, rng: np.random.Generator) -> None:
        """Build every layer."""
        shape = tuple(input_shape)
        for i, layer in enumerate(self.layers):
            prefix = f"{self.label}." if self.label else ""
            shape = layer._build(shape, rng, f"{prefix}{i}")

    def output_shape(self, input_shape: Shape) -> Shape:
        """Return the shape after the last layer."""
        for layer in self.layers:
            input_shape = layer.output_shape(input_shape)
        return input_shape

    def forward(self, x: Tensor, mode: Mode = INFERENCE, mask: Array | None = None) -> Tensor:
        """Compute the output of `x`."""
        for layer in self.layers:
            y = layer(x, mode, mask=mask) if layer.takes_mask else layer(x, mode)
            mask = layer.compute_mask(x, mask)
            x = y
        return x

    def compute_mask(self, x: Tensor, mask: Array | None) -> Array | None:
        """Return no mask: a chain keeps it to itself."""
        return None

    def summary(self) -> str:
        """Return a table of the layers, their output shapes and their numbers of parameters."""
        return summary(self)


def initialize(
    network: Any, input_shape: Shape, random_state: int | np.random.Generator = 0
) -> Any:
    """Build `network` for inputs of `input_shape`, drawing from `random_state`; number its layers.

    Examples
    --------
    >>> from ironlearn.nn.layers import Dense
    >>> initialize(Dense(3), (2,)).kernel.shape
    (2, 3)
    """
    rng = (
        random_state
        if isinstance(random_state, np.random.Generator)
        else np.random.default_rng(random_state)
    )
    network._build(tuple(input_shape), rng)
    for number, layer in enumerate(network.layers_of()):
        layer.number = number
    return network


def summary(network: Layer) -> str:
    """Return a table of `network`'s parts, their output shapes and their numbers of parameters."""
    rows = [("layer", "output shape", "parameters")]
    parts = network.layers if isinstance(network, Sequential) else [network]
    shape = network.input_shape
    total = trained = 0
    seen: set[int] = set()
    for layer in parts:
        if shape is not None:
            shape = layer.output_shape(shape)
        own = [p for p in layer.parameters() if id(p) not in seen]
        seen.update(id(p) for p in own)
        count = sum(math.prod(p.shape) for p in own)
        total += count
        trained += sum(math.prod(p.shape) for p in own if p.trainable)
        shown = "?" if shape is None else str(("N", *("any" if n is None else n for n in shape)))
        rows.append((f"{layer.label or '-'} {type(layer).__name__}", shown, f"{count:,}"))
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    lines = [f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c:>{widths[2]}}".rstrip() for a, b, c in rows]
    lines.insert(1, "-" * (sum(widths) + 4))
    lines.append(f"parameters: {total:,} ({trained:,} trainable, {total - trained:,} frozen)")
    return "\n".join(lines)
