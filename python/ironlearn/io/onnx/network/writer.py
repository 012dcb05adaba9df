"""What exporters of layers share: values with their order of axes, constants, activations."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ironlearn.io.onnx.graph import Graph
from ironlearn.io.onnx.network.registry import exporter_of
from ironlearn.nn.backend.device import get_device
from ironlearn.nn.backend.ops.activations import LEAK
from ironlearn.nn.layers.base import Shape, get_device_of

#: Of scores that do not count; finite, since the difference of infinities is no number.
LEAST = np.float32(-1e30)


@dataclass(frozen=True)
class Value:
    """What flows between layers.

    Attributes
    ----------
    name : str
        Of the value in the graph.
    shape : tuple of (int or None)
        As the layers see it, the batch's axis left out: channels are last.
    order : tuple of int
        The axis of the layers at each place of the graph's value, the batch's included. Images
        between convolutions lie channels first, (0, 3, 1, 2).
    mask : str or None
        Name of bool (N, T): which steps count.
    """

    name: str
    shape: Shape
    order: tuple[int, ...]
    mask: str | None = None

    def place(self, axis: int) -> int:
        """Return where an axis of the layers lies in the graph."""
        return self.order.index(axis % len(self.order))

    def named(self, name: str) -> Value:
        """Return another value of the same shape, order and mask."""
        return replace(self, name=name)


def value(name: str, shape: Shape, mask: str | None = None) -> Value:
    """Return a value whose axes lie as the layers see them."""
    return Value(name, tuple(shape), tuple(range(len(shape) + 1)), mask)


def channels_first(axes: int) -> tuple[int, ...]:
    """Return the order of axes that ONNX's convolutions and poolings take."""
    return (0, axes - 1, *range(1, axes - 1))


class Writer:
    """Adds layers to a graph. Numbers are in single precision.

    Parameters
    ----------
    graph : Graph
        What is added to.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.op = graph.op
        self._weights: dict[tuple[int, Any], tuple[Any, str]] = {}
        self._turned: dict[tuple[str, tuple[int, ...]], str] = {}

    def layer(self, layer: Any, x: Any, **arguments: Any) -> Any:
        """Add a layer; return its output."""
        return exporter_of(layer)(self, layer, x, **arguments)

    # Orders of axes ---------------------------------------------------------------------------

    def turn(self, x: Value, order: tuple[int, ...]) -> Value:
        """Return the value with its axes in this order; there and back again is nothing."""
        if x.order == order:
            return x
        key = (x.name, order)
        if key not in self._turned:
            perm = [x.order.index(axis) for axis in order]
            self._turned[key] = self.op("Transpose", x.name, perm=perm)
            self._turned[self._turned[key], x.order] = x.name
        return replace(x, name=self._turned[key], order=order)

    def plain(self, x: Value) -> Value:
        """Return the value with its axes as the layers see them."""
        return self.turn(x, tuple(range(len(x.order))))

    def first(self, x: Value) -> Value:
        """Return the value with its channels before its cells or steps."""
        return self.turn(x, channels_first(len(x.order)))

    # Constants --------------------------------------------------------------------------------

    def weight(self, parameter: Any, *, axes: tuple[int, ...] | None = None) -> str:
        """Return the constant of a parameter, perhaps transposed; shared ones are stored once."""
        data = parameter.data if hasattr(parameter, "requires_grad") else parameter
        key = (id(data), axes)
        if key not in self._weights:
            array = array_of(data)
            # The array is kept, so that its number is not given to another one.
            name = self.number(array if axes is None else array.transpose(axes))
            self._weights[key] = (data, name)
        return self._weights[key][1]

    def number(self, value: Any) -> str:
        """Return a constant in single precision."""
        return self.graph.constant(value, np.float32)

    def integers(self, *values: int) -> str:
        """Return a constant vector of integers."""
        return self.graph.constant(values, np.int64)

    def integer(self, value: int) -> str:
        """Return a constant integer."""
        return self.graph.constant(value, np.int64)

    # Small steps ------------------------------------------------------------------------------

    def length(self, name: str, axis: int) -> str:
        """Return the length of an axis, an integer without axes."""
        shape = self.op("Shape", name, start=axis, end=axis + 1)
        return self.op("Squeeze", shape, self.integers(0))

    def count(self, length: str) -> str:
        """Return the integers from 0 to below `length`."""
        return self.op("Range", self.integer(0), length, self.integer(1))

    def unsqueeze(self, name: str, *axes: int) -> str:
        """Return the value with axes of length 1 at these places."""
        return self.op("Unsqueeze", name, self.integers(*axes))

    def squeeze(self, name: str, *axes: int) -> str:
        """Return the value without axes of length 1."""
        return self.op("Squeeze", name, self.integers(*axes))

    def total(self, name: str, *axes: int, keep: bool = False) -> str:
        """Return sums along axes."""
        return self.op("ReduceSum", name, self.integers(*axes), keepdims=int(keep))

    def affine(self, x: str, kernel: Any, bias: Any = None) -> str:
        """Return x times a kernel, over the last axis, plus a bias."""
        y = self.op("MatMul", x, self.weight(kernel))
        return y if bias is None else self.op("Add", y, self.weight(bias))

    def activate(self, x: Value, name: str | None) -> Value:
        """Return an activation of a value by its name."""
        if name is None or name == "linear":
            return x
        if name == "softmax":
            return x.named(self.op("Softmax", x.name, axis=x.place(-1)))
        return x.named(_ACTIVATIONS[name](self, x.name))


def array_of(data: Any) -> Any:
    """Return an array of any device as one of NumPy in single precision."""
    device = get_device_of(data)
    host = data if device is get_device("cpu") else device.receive(data)
    return np.asarray(host, dtype=np.float32)


def _gelu(w: Writer, x: str) -> str:
    inner = w.op("Erf", w.op("Mul", x, w.number(math.sqrt(0.5))))
    half = w.op("Mul", x, w.number(0.5))
    return w.op("Mul", half, w.op("Add", inner, w.number(1.0)))


def _gelu_tanh(w: Writer, x: str) -> str:
    cube = w.op("Mul", w.op("Mul", x, x), x)
    inner = w.op("Add", x, w.op("Mul", cube, w.number(0.044715)))
    inner = w.op("Tanh", w.op("Mul", inner, w.number(math.sqrt(2 / math.pi))))
    half = w.op("Mul", x, w.number(0.5))
    return w.op("Mul", half, w.op("Add", inner, w.number(1.0)))


_ACTIVATIONS: dict[str, Callable[[Writer, str], str]] = {
    "relu": lambda w, x: w.op("Relu", x),
    "sigmoid": lambda w, x: w.op("Sigmoid", x),
    "tanh": lambda w, x: w.op("Tanh", x),
    "leaky_relu": lambda w, x: w.op("LeakyRelu", x, alpha=LEAK),
    "elu": lambda w, x: w.op("Elu", x),
    "gelu": _gelu,
    "gelu_tanh": _gelu_tanh,
    "relu6": lambda w, x: w.op("Clip", x, w.number(0.0), w.number(6.0)),
    "silu": lambda w, x: w.op("Mul", x, w.op("Sigmoid", x)),
    "softplus": lambda w, x: w.op("Softplus", x),
}
