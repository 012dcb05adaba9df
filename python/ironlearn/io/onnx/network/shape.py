"""Layers that change the shape, and those that enlarge images."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from ironlearn.io.onnx.network.writer import Value, Writer, value


def flatten(w: Writer, layer: Any, x: Value) -> Value:
    """`Flatten`: in the layers' order of axes."""
    return _reshaped(w, layer, x)


def reshape(w: Writer, layer: Any, x: Value) -> Value:
    """`Reshape`."""
    return _reshaped(w, layer, x)


def _reshaped(w: Writer, layer: Any, x: Value) -> Value:
    shape = layer.output_shape(x.shape)
    if shape == x.shape:
        return replace(x, mask=None)
    # Images of one cell are the same in either order.
    if len(shape) != 1 or any(size != 1 for size in x.shape[:-1]):
        x = w.plain(x)
    return value(w.graph.reshape(x.name, 0, *shape), shape)


def permute(w: Writer, layer: Any, x: Value) -> Value:
    """`Permute`: only remembered, until somebody wants the axes in their order."""
    now = (0, *layer.dims)
    order = tuple(now.index(axis) for axis in x.order)
    return Value(x.name, layer.output_shape(x.shape), order)


def flattened(w: Writer, x: Value) -> Value:
    """Return all axes but the batch's as one, in the layers' order."""
    size = math.prod(n or 0 for n in x.shape)
    return value(w.graph.reshape(w.plain(x).name, 0, size), (size,))


def zero_pad(w: Writer, layer: Any, x: Value) -> Value:
    """`ZeroPad2D`."""
    before, after = [0] * 4, [0] * 4
    for axis, (low, high) in enumerate(layer.padding, 1):
        before[x.place(axis)], after[x.place(axis)] = low, high
    name = w.op("Pad", x.name, w.integers(*before, *after))
    return replace(x, name=name, shape=layer.output_shape(x.shape))


def upsample(w: Writer, layer: Any, x: Value) -> Value:
    """`UpSample2D`."""
    x = w.first(x)
    factors = w.number(np.array([1, 1, *layer.size]))
    name = w.op(
        "Resize",
        x.name,
        "",
        factors,
        mode="nearest",
        nearest_mode="floor",
        coordinate_transformation_mode="asymmetric",
    )
    return replace(x, name=name, shape=layer.output_shape(x.shape))


def pixel_shuffle(w: Writer, layer: Any, x: Value) -> Value:
    """`PixelShuffle`."""
    x = w.first(x)
    name = w.op("DepthToSpace", x.name, blocksize=layer.factor, mode="DCR")
    return replace(x, name=name, shape=layer.output_shape(x.shape))
