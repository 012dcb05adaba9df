"""Normalizations."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ironlearn.io.onnx.network.writer import Value, Writer, array_of


def batch_norm(w: Writer, layer: Any, x: Value) -> Value:
    """`BatchNorm`: ONNX's, where channels come second; else a factor and an offset."""
    gamma, beta = array_of(layer.gamma.data), array_of(layer.beta.data)
    mean, var = array_of(layer.running_mean.data), array_of(layer.running_var.data)
    if x.place(-1) == 1:
        parts = [w.number(part) for part in (gamma, beta, mean, var)]
        name = w.op("BatchNormalization", x.name, *parts, epsilon=layer.eps)
    else:
        factor = gamma.astype(np.float64) / np.sqrt(var.astype(np.float64) + layer.eps)
        name = _scaled(w, x, factor, beta - mean * factor)
    return w.activate(x.named(name), layer.activation)


def scale(w: Writer, layer: Any, x: Value) -> Value:
    """`Scale`."""
    return x.named(_scaled(w, x, array_of(layer.gamma.data), array_of(layer.beta.data)))


def _scaled(w: Writer, x: Value, factor: Any, offset: Any) -> str:
    """Return x times a factor plus an offset of each channel, wherever channels lie."""
    shape = [1] * len(x.order)
    shape[x.place(-1)] = -1
    name = w.op("Mul", x.name, w.number(factor.reshape(shape)))
    return w.op("Add", name, w.number(offset.reshape(shape)))


def layer_norm(w: Writer, layer: Any, x: Value) -> Value:
    """`LayerNorm`."""
    if x.order[-1] != len(x.order) - 1:
        x = w.plain(x)
    return x.named(normalized(w, layer, x.name))


def normalized(w: Writer, layer: Any, name: str) -> str:
    """Return the output of a `LayerNorm` over the last axis."""
    gain, offset = w.weight(layer.gamma), w.weight(layer.beta)
    return w.op("LayerNormalization", name, gain, offset, axis=-1, epsilon=layer.eps)


def group_norm(w: Writer, layer: Any, x: Value) -> Value:
    """`GroupNorm`: each group of channels as one channel of an instance normalization."""
    x = w.first(x)
    channels = x.shape[-1] or 0
    known = [size for size in x.shape if size is not None]
    cells = math.prod(known) // layer.groups if len(known) == len(x.shape) else -1
    grouped = w.graph.reshape(x.name, 0, layer.groups, cells)
    ones, zeros = w.number(np.ones(layer.groups)), w.number(np.zeros(layer.groups))
    unit = w.op("InstanceNormalization", grouped, ones, zeros, epsilon=layer.eps)
    unit = w.op("Reshape", unit, w.op("Shape", x.name))
    shape = (channels, *[1] * (len(x.order) - 2))
    gain = w.number(array_of(layer.gamma.data).reshape(shape))
    offset = w.number(array_of(layer.beta.data).reshape(shape))
    return x.named(w.op("Add", w.op("Mul", unit, gain), offset))
