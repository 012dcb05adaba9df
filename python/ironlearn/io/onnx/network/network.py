"""A network as the whole of a graph: its inputs and outputs."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ironlearn.exceptions import InvalidParameterError
from ironlearn.io.onnx.graph import Graph
from ironlearn.io.onnx.network.registry import exporter_of
from ironlearn.io.onnx.network.writer import Value, Writer, value
from ironlearn.nn.layers.base import Layer, Shape

#: dtypes of the input of a network.
DTYPES = ("float32", "float64", "uint8")
#: Layers whose input is numbers of words.
_OF_NUMBERS = ("Embedding", "BertEncoder")
#: What bytes are turned into: (v - offset) / scale.
_BYTES = {"EfficientNetLite0": (127.0, 128.0)}


def network(graph: Graph, layer: Layer, dtype: str, arguments: Sequence[str] = ()) -> None:
    """The layers' outputs, raw: logits of a classifier."""
    writer = Writer(graph)
    known = _known(layer)
    unknown = [name for name in arguments if name not in known]
    if unknown:
        accepted = ", ".join(known) or "none"
        raise InvalidParameterError(
            f"The 'arguments' parameter of to_onnx names {unknown[0]!r}; accepted for "
            f"{layer._title()}: {accepted}."
        )
    names = [name for name, needed in known.items() if needed or name in arguments]
    assert layer.input_shape is not None
    x = given(writer, layer, dtype)
    extra = {name: _ARGUMENTS[name](graph, layer) for name in names}
    x = replace(x, mask=extra.pop("mask", None))
    out = writer.layer(layer, x, **extra)
    if isinstance(out, Value):
        give(writer, "output", out)
        return
    first, *states = out
    give(writer, "output", first)
    for number, state in enumerate(states):
        give(writer, f"state_{number}", state)


def given(writer: Writer, layer: Layer, dtype: str, name: str = "X") -> Value:
    """Add the input of a network; bytes are scaled as its preprocessing does."""
    graph, shape = writer.graph, tuple(layer.input_shape or ())
    kind = _first(layer)
    if type(kind).__name__ in _OF_NUMBERS:
        return value(graph.input(name, np.int64, *_free(shape)), shape)
    if dtype == "uint8" and hasattr(kind, "preprocess") and type(kind).__name__ not in _BYTES:
        raise InvalidParameterError(
            f"The 'dtype' parameter of to_onnx cannot be 'uint8' for a {type(kind).__name__}: it "
            "takes what its preprocess gives, in floating point."
        )
    x = graph.input(name, np.dtype(dtype), *_free(shape))
    if dtype != "float32":
        x = graph.cast(x, np.float32)
    if dtype == "uint8":
        offset, scale = _BYTES.get(type(kind).__name__, (0.0, 255.0))
        if offset:
            x = graph.op("Sub", x, writer.number(offset))
        x = graph.op("Mul", x, writer.number(1.0 / scale))
    return value(x, shape)


def give(writer: Writer, name: str, out: Value) -> None:
    """Add an output, its axes as the layers see them."""
    writer.graph.output(name, writer.plain(out).name, np.float32, *_free(out.shape))


def _free(shape: Shape) -> list[int | str]:
    """Return a shape whose unknown lengths have names."""
    return [f"length_{axis}" if size is None else size for axis, size in enumerate(shape, 1)]


def _first(layer: Any) -> Any:
    """Return the layer that takes a network's input."""
    while type(layer).__name__ == "Sequential" and layer.layers:
        layer = layer.layers[0]
    return layer


def _known(layer: Any) -> dict[str, bool]:
    """Return the further inputs that a layer may have, and whether it needs them."""
    signature = inspect.signature(exporter_of(layer)).parameters.values()
    own = [p for p in signature if p.kind is inspect.Parameter.KEYWORD_ONLY]
    # Cross-attention cannot do without what it looks at; attention to itself takes nothing else.
    crossed = getattr(layer, "context_width", None) is not None
    if type(layer).__name__ == "MultiHeadAttention" and not crossed:
        own = []
    known = {"mask": False} if layer.takes_mask else {}
    for p in own:
        needed = p.default is inspect.Parameter.empty or (p.name == "context" and crossed)
        known[p.name] = needed
    return known


def _context(graph: Graph, layer: Any) -> str:
    width = getattr(layer, "context_width", None) or layer.input_shape[-1]
    return graph.input("context", np.float32, "length_of_context", width)


def _adjacency(graph: Graph, layer: Any) -> tuple[str, str, str]:
    return (
        graph.input("rows", np.int64),
        graph.input("columns", np.int64),
        graph.input("values", np.float32),
    )


def _initial_state(graph: Graph, layer: Any) -> tuple[str, ...]:
    return tuple(
        graph.input(f"initial_state_{number}", np.float32, layer.units)
        for number in range(layer.states)
    )


def _steps(name: str, dtype: Any, axis: str) -> Callable[[Graph, Any], str]:
    return lambda graph, layer: graph.input(name, dtype, axis)


_ARGUMENTS: dict[str, Callable[[Graph, Any], Any]] = {
    "mask": lambda graph, layer: graph.input("mask", np.bool_, *_free(layer.input_shape[:1])),
    "context": _context,
    "context_mask": _steps("context_mask", np.bool_, "length_of_context"),
    "segments": _steps("segments", np.int64, "length_1"),
    "initial_state": _initial_state,
    "adjacency": _adjacency,
}
