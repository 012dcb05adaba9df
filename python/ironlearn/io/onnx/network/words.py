"""Networks of `ironlearn.nn.pretrained` that read words."""

from __future__ import annotations

from typing import Any

import numpy as np

from ironlearn.io.onnx.network.normalization import normalized
from ironlearn.io.onnx.network.writer import Value, Writer, value


def bert(w: Writer, layer: Any, x: Value, *, segments: str | None = None) -> Value:
    """`BertEncoder`: sequences that are too long are an error of the runtime."""
    words = w.op("Gather", w.weight(layer.words.embeddings), x.name, axis=0)
    places = w.count(w.length(x.name, 1))
    y = w.op("Add", words, w.op("Gather", w.weight(layer.places.embeddings), places, axis=0))
    kinds = w.integer(0) if segments is None else segments
    y = w.op("Add", y, w.op("Gather", w.weight(layer.segments.embeddings), kinds, axis=0))
    out = value(normalized(w, layer.norm, y), layer.output_shape(x.shape), x.mask)
    for block in layer.blocks:
        out = w.layer(block, out)
    return out


def sentence(w: Writer, layer: Any, x: Value) -> str:
    """Return the mean of a `BertEncoder`'s vectors of the steps that count, with length 1."""
    vectors = bert(w, layer, x)
    assert x.mask is not None
    keep = w.unsqueeze(w.graph.cast(x.mask, np.float32), 2)
    total = w.total(w.op("Mul", vectors.name, keep), 1)
    mean = w.op("Div", total, w.op("Max", w.total(keep, 1), w.number(1.0)))
    length = w.op("Sqrt", w.total(w.op("Mul", mean, mean), 1, keep=True))
    return w.op("Div", mean, w.op("Max", length, w.number(1e-12)))
