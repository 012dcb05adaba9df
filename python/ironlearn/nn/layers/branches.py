"""Networks that are no chain: layers wired to each other, and where branches meet."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from ironlearn.nn import functional as F
from ironlearn.nn.autograd import Tensor
from ironlearn.nn.backend.device import Array
from ironlearn.nn.layers.base import INFERENCE, Layer, Mode, Shape

_MODES = {"add": F.add, "sub": F.sub, "mul": F.mul, "div": F.div, "max": F.maximum}


class Merge(Layer):
    """Several tensors as one: elementwise, or side by side.

    Parameters
    ----------
    mode : {"add", "sub", "mul", "div", "max", "concat"}, default="add"
        What is done; "sub" and "div" take two tensors. Lengths of 1 are stretched, except by
        "concat".
    axis : int, default=-1
        Axis along which "concat" joins; 0 is the batch's and cannot be joined.

    Notes
    -----
    `forward` takes a sequence of tensors of as many axes each; a `LayerGraph` gives it one.

    Examples
    --------
    >>> import numpy as np
    >>> one, two = Tensor(np.ones((1, 2))), Tensor(np.full((1, 2), 3.0))
    >>> Merge("add")([one, two]).data
    array([[4., 4.]])
    >>> Merge("concat")([one, two]).data
    array([[1., 1., 3., 3.]])
    """

    def __init__(self, mode: str = "add", axis: int = -1) -> None:
        if mode not in (*_MODES, "concat"):
            known = (*_MODES, "concat")
            raise ValueError(f"mode of Merge must be one of {known}, got {mode!r}.")
        if isinstance(axis, bool) or not isinstance(axis, int) or axis == 0:
            raise ValueError(f"axis of Merge must be an int other than 0, got {axis!r}.")
        self.mode = mode
        self.axis = axis

    def output_shape(self, input_shape: Any) -> Shape:
        """Return the shape of what the inputs, whose shapes are given, become."""
        shapes = tuple(input_shape)
        self._check(shapes)
        if self.mode == "concat":
            # The batch's axis is not among these.
            axis = self.axis - 1 if self.axis > 0 else self.axis
            lengths = [shape[axis] for shape in shapes]
            joined = list(shapes[0])
            joined[axis] = None if None in lengths else sum(lengths)
            return tuple(joined)
        return tuple(_stretched(lengths) for lengths in zip(*shapes, strict=True))

    def _check(self, shapes: tuple[Any, ...]) -> None:
        pair = self.mode in ("sub", "div")
        if len(shapes) < 2 or (pair and len(shapes) > 2):
            raise ValueError(
                f"{self._title()} with mode={self.mode!r} takes {'' if pair else 'at least '}two "
                f"tensors, got {len(shapes)}."
            )
        if any(not isinstance(shape, tuple | list) for shape in shapes):
            raise ValueError(f"{self._title()} takes several tensors, got one of shape {shapes}.")
        axes = {len(shape) for shape in shapes}
        joined = self.mode == "concat"
        place = self.axis - 1 if self.axis > 0 else self.axis
        if joined and len(axes) == 1 and not -len(shapes[0]) <= place < len(shapes[0]):
            raise ValueError(f"{self._title()}: shapes {shapes} have no axis {self.axis}.")
        fits = len(axes) == 1 and all(
            _fit(lengths, stretch=not joined)
            for axis, lengths in enumerate(zip(*shapes, strict=True))
            if not joined or axis != place % len(shapes[0])
        )
        if not fits:
            raise ValueError(f"{self._title()}: shapes {shapes} do not fit for {self.mode!r}.")

    def forward(self, x: Sequence[Tensor], mode: Mode = INFERENCE) -> Tensor:  # type: ignore[override]
        """Compute the output of the tensors `x`."""
        parts = [x] if isinstance(x, Tensor) else list(x)
        self._check(tuple(part.shape[1:] for part in parts))
        if self.mode == "concat":
            return F.concatenate(parts, axis=self.axis)
        return functools.reduce(_MODES[self.mode], parts)


def _fit(lengths: tuple[Any, ...], stretch: bool) -> bool:
    known = {n for n in lengths if n is not None and not (stretch and n == 1)}
    return len(known) <= 1


def _stretched(lengths: tuple[Any, ...]) -> int | None:
    longer = [n for n in lengths if n is not None and n != 1]
    if longer:
        return int(longer[0])
    return None if None in lengths else 1


class LayerGraph(Layer):
    """Layers wired to each other without circles, such as residual connections and branches.

    Parameters
    ----------
    layers : list of Layer
        In an order in which they can be computed. The last one gives the output.
    sources : list of lists of int
        For each layer where its input comes from: 0 is the network's input, k the output of layer
        number k, counted from 1. A `Merge` has several.

    Notes
    -----
    A mask of steps travels along the wires to the layers that take one; where several meet, the
    first one counts.

    Examples
    --------
    A dense layer with a residual connection around it:

    >>> import numpy as np
    >>> from ironlearn.nn.layers import Dense, Merge
    >>> from ironlearn.nn.layers.sequential import initialize
    >>> net = LayerGraph([Dense(4, "relu"), Merge("add")], [[0], [0, 1]])
    >>> initialize(net, (4,))(Tensor(np.ones((2, 4), np.float32))).shape
    (2, 4)
    """

    takes_mask = True

    def __init__(self, layers: list[Layer], sources: Sequence[Sequence[int]]) -> None:
        if (
            not isinstance(layers, list | tuple)
            or not layers
            or not all(isinstance(layer, Layer) for layer in layers)
        ):
            raise ValueError("layers of LayerGraph must be a list of at least one layer.")
        try:
            wires = tuple(tuple(source) for source in sources)
        except TypeError:
            wires = ()
        if len(wires) != len(layers) or not all(
            wire
            and all(type(k) is int and 0 <= k <= i for k in wire)
            and (len(wire) == 1 or isinstance(layer, Merge))
            for i, (wire, layer) in enumerate(zip(wires, layers, strict=True))
        ):
            raise ValueError(
                "sources of LayerGraph must hold a list for each layer: 0 for the input, k for "
                f"layer number k before it, several for a Merge alone; got {sources!r}."
            )
        self.layers = list(layers)
        self.sources = wires
        # After which layer each value is no longer needed.
        self._last = {k: i for i, wire in enumerate(wires) for k in wire}

    def build(self, input_shape: Shape, rng: np.random.Generator) -> None:
        """Build every layer."""
        self._shapes(input_shape, rng)

    def output_shape(self, input_shape: Shape) -> Shape:
        """Return the shape after the last layer."""
        return self._shapes(input_shape, None)

    def _shapes(self, input_shape: Shape, rng: np.random.Generator | None) -> Shape:
        shapes: list[Any] = [tuple(input_shape)]
        for i, (layer, wire) in enumerate(zip(self.layers, self.sources, strict=True)):
            shape = shapes[wire[0]]
            if isinstance(layer, Merge):
                shape = tuple(shapes[k] for k in wire)
            if rng is None:
                shapes.append(layer.output_shape(shape))
            else:
                prefix = f"{self.label}." if self.label else ""
                shapes.append(layer._build(shape, rng, f"{prefix}{i}"))
        return tuple(shapes[-1])

    def forward(self, x: Tensor, mode: Mode = INFERENCE, mask: Array | None = None) -> Tensor:
        """Compute the output of `x`."""
        values: list[Any] = [x]
        masks: list[Array | None] = [mask]
        for i, (layer, wire) in enumerate(zip(self.layers, self.sources, strict=True)):
            if isinstance(layer, Merge):
                values.append(layer([values[k] for k in wire], mode))
                masks.append(next((masks[k] for k in wire if masks[k] is not None), None))
            else:
                given, known = values[wire[0]], masks[wire[0]]
                y = layer(given, mode, mask=known) if layer.takes_mask else layer(given, mode)
                values.append(y)
                masks.append(layer.compute_mask(given, known))
            for k in wire:
                if self._last[k] == i:
                    values[k] = None
        out: Tensor = values[-1]
        return out

    def compute_mask(self, x: Tensor, mask: Array | None) -> Array | None:
        """Return no mask: the network keeps it to itself."""
        return None
