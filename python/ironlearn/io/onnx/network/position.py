"""Layers that tell steps apart by their places."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ironlearn.io.onnx.network.writer import Value, Writer, array_of
from ironlearn.nn.layers import position


def sine_positions(w: Writer, layer: Any, x: Value) -> Value:
    """`SinePositionEncoding`: a table, or computed where sequences may have any length."""
    x = w.plain(x)
    length, width = x.shape
    assert width is not None
    name = x.name
    if layer.scale_input:
        name = w.op("Mul", name, w.number(math.sqrt(width)))
    if length is not None:
        table = w.number(position.sine_positions(0, length, width))
    else:
        pairs = np.arange(width) // 2 * 2
        # A cosine is a sine a quarter of a turn later.
        shift = w.graph.constant(np.arange(width) % 2 * (math.pi / 2))
        speed = w.graph.constant(np.exp(pairs * (-math.log(10000.0) / width)))
        place = w.graph.double(w.unsqueeze(w.count(w.length(x.name, 1)), 1))
        angle = w.op("Add", w.op("Mul", place, speed), shift)
        table = w.graph.cast(w.op("Sin", angle), np.float32)
    return x.named(w.op("Add", name, table))


def position_embedding(w: Writer, layer: Any, x: Value) -> Value:
    """`PositionEmbedding`: a sequence that is too long is an error of the runtime."""
    x = w.plain(x)
    if x.shape[0] is not None:
        table = w.number(array_of(layer.embeddings.data)[: x.shape[0]])
    else:
        places = w.count(w.length(x.name, 1))
        table = w.op("Gather", w.weight(layer.embeddings), places, axis=0)
    return x.named(w.op("Add", x.name, table))
