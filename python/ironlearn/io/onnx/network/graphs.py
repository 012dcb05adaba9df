"""Graph convolution."""

from __future__ import annotations

from typing import Any

from ironlearn.io.onnx.network.writer import Value, Writer, value


def graph_convolution(w: Writer, layer: Any, x: Value, *, adjacency: tuple[str, str, str]) -> Value:
    """`GraphConvolution`: the weights of edges are inputs of the graph, row, column and value."""
    rows, columns, values = adjacency
    y = w.affine(w.plain(x).name, layer._dense.kernel)
    sent = w.op("Mul", w.op("Gather", y, columns, axis=0), w.unsqueeze(values, 1))
    zeros = w.op("Mul", y, w.number(0.0))
    name = w.op("ScatterND", zeros, w.unsqueeze(rows, 1), sent, reduction="add")
    if layer.use_bias:
        name = w.op("Add", name, w.weight(layer.bias))
    return w.activate(value(name, layer.output_shape(x.shape)), layer.activation)
