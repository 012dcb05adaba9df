"""Layers made of layers."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import numpy as np

from ironlearn.io.onnx.network.writer import Value, Writer, array_of


def sequential(w: Writer, layer: Any, x: Value) -> Any:
    """`Sequential`: a mask goes along the chain, and ends with it."""
    y: Any = x
    for part in layer.layers:
        y = w.layer(part, y)
    return replace(y, mask=None) if isinstance(y, Value) else y


def layer_graph(w: Writer, layer: Any, x: Value) -> Value:
    """`LayerGraph`."""
    values = [x]
    for part, wire in zip(layer.layers, layer.sources, strict=True):
        given = [values[k] for k in wire]
        values.append(w.layer(part, given if type(part).__name__ == "Merge" else given[0]))
    return replace(values[-1], mask=None)


_MERGES = {"add": "Add", "sub": "Sub", "mul": "Mul", "div": "Div", "max": "Max"}


def merge(w: Writer, layer: Any, x: list[Value]) -> Value:
    """`Merge`: in the order of axes of the first value."""
    first = x[0]
    names = [w.turn(part, first.order).name for part in x]
    if layer.mode == "concat":
        name = w.op("Concat", *names, axis=first.place(layer.axis))
    else:
        name = names[0]
        for other in names[1:]:
            name = w.op(_MERGES[layer.mode], name, other)
    shape = layer.output_shape(tuple(part.shape for part in x))
    mask = next((part.mask for part in x if part.mask is not None), None)
    return replace(first, name=name, shape=shape, mask=mask)


def spectral_norm(w: Writer, layer: Any, x: Value) -> Value:
    """`SpectralNorm`: the layer within, with the kernel that it has in prediction."""
    kernel = array_of(layer.layer.kernel.data)
    matrix = kernel.reshape(-1, kernel.shape[-1])
    right = array_of(layer.direction.data)
    left = matrix @ right
    left /= max(float(np.sqrt((left * left).sum())), 1e-12)
    norm = (kernel * (left[:, None] * right).reshape(kernel.shape)).sum()
    inner = copy.copy(layer.layer)
    inner.kernel = kernel / norm
    return w.layer(inner, x)
