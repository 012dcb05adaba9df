"""Pooling of windows, and of whole images and sequences."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from ironlearn.exceptions import InvalidParameterError
from ironlearn.io.onnx.network.convolution import sides
from ironlearn.io.onnx.network.writer import LEAST, Value, Writer, value


def pool(w: Writer, layer: Any, x: Value) -> Value:
    """`MaxPool2D` and `AvgPool2D`."""
    x = w.first(x)
    padding = layer.geometry(x.shape[:2])
    return _pooled(w, layer, x, layer.pool_size, layer.strides, padding)


def pool_steps(w: Writer, layer: Any, x: Value) -> Value:
    """`MaxPool1D` and `AvgPool1D`."""
    x = w.first(x)
    padding = layer._pool.geometry((1, x.shape[0]))[1:]
    y = _pooled(w, layer, x, (layer.pool_size,), (layer.strides,), padding)
    return replace(y, mask=None)


def _pooled(w: Writer, layer: Any, x: Value, size: Any, strides: Any, padding: Any) -> Value:
    if any(max(pair) >= cells for pair, cells in zip(padding, size, strict=True)):
        raise InvalidParameterError(
            f"{layer._title()} cannot be exported to ONNX: its padding {layer.padding!r} is not "
            f"below its window of {size} cells, so that windows may lie outside of the input."
        )
    kind: str = "MaxPool"
    more: dict[str, Any] = {}
    if type(layer).__name__.startswith("Avg"):
        kind, more = "AveragePool", {"count_include_pad": 0}
    name = w.op(kind, x.name, kernel_shape=size, strides=strides, pads=sides(padding), **more)
    return replace(x, name=name, shape=layer.output_shape(x.shape))


def mean_of_image(w: Writer, layer: Any, x: Value) -> Value:
    """`GlobalAvgPool2D`: the axes are where they are, so nothing has to be turned."""
    return _reduced(w, layer, x, "ReduceMean")


def maximum_of_image(w: Writer, layer: Any, x: Value) -> Value:
    """`GlobalMaxPool2D`."""
    return _reduced(w, layer, x, "ReduceMax")


def _reduced(w: Writer, layer: Any, x: Value, kind: str) -> Value:
    axes = [x.place(axis) for axis in range(1, len(x.order) - 1)]
    return value(w.op(kind, x.name, axes=axes, keepdims=0), layer.output_shape(x.shape))


def mean_of_steps(w: Writer, layer: Any, x: Value) -> Value:
    """`GlobalAvgPool1D`: masked steps do not count."""
    if x.mask is None:
        return _reduced(w, layer, x, "ReduceMean")
    x = w.plain(x)
    keep = w.graph.cast(x.mask, np.float32)  # type: ignore[arg-type]
    count = w.op("Max", w.total(keep, 1, keep=True), w.number(1.0))
    share = w.unsqueeze(w.op("Div", keep, count), 2)
    name = w.total(w.op("Mul", x.name, share), 1)
    return value(name, layer.output_shape(x.shape))


def maximum_of_steps(w: Writer, layer: Any, x: Value) -> Value:
    """`GlobalMaxPool1D`: masked steps never win, and without any other the answer is 0."""
    if x.mask is None:
        return _reduced(w, layer, x, "ReduceMax")
    x = w.plain(x)
    assert x.mask is not None
    counts = w.unsqueeze(x.mask, 2)
    held = w.op("Where", counts, x.name, w.number(LEAST))
    top = w.op("ReduceMax", held, axes=[1], keepdims=0)
    some = w.op("ReduceMax", w.graph.cast(x.mask, np.float32), axes=[1], keepdims=1)
    return value(w.op("Mul", top, some), layer.output_shape(x.shape))
