"""Layers of one step: dense, embedding, activations, and what does nothing in prediction."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ironlearn.io.onnx.network.writer import Value, Writer, value


def activation(w: Writer, layer: Any, x: Value) -> Value:
    """`Activation`."""
    return w.activate(x, layer.activation)


def unchanged(w: Writer, layer: Any, x: Value) -> Value:
    """Dropout and noise, which are for training alone."""
    return x


def dense(w: Writer, layer: Any, x: Value) -> Value:
    """`Dense`: any order of axes will do that keeps the last one last."""
    if x.order[-1] != len(x.order) - 1:
        x = w.plain(x)
    bias = layer.bias if layer.use_bias else None
    if len(x.order) == 2 and bias is not None:
        name = w.op("Gemm", x.name, w.weight(layer.kernel), w.weight(bias))
    else:
        name = w.affine(x.name, layer.kernel, bias)
    return w.activate(replace(x, name=name, shape=layer.output_shape(x.shape)), layer.activation)


def embedding(w: Writer, layer: Any, x: Value) -> Value:
    """`Embedding`: the input holds integers; 0 may stand for no step at all."""
    x = w.plain(x)
    mask = x.mask
    if layer.mask_zero:
        mask = w.op("Not", w.op("Equal", x.name, w.integer(0)))
    name = w.op("Gather", w.weight(layer.embeddings), x.name, axis=0)
    return value(name, layer.output_shape(x.shape), mask)
