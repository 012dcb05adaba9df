"""ONNX graphs of image classifiers."""

from __future__ import annotations

from typing import Any

from ironlearn.io.onnx.graph import Graph, probabilities
from ironlearn.io.onnx.network.network import given
from ironlearn.io.onnx.network.writer import Writer


def classifier(graph: Graph, model: Any, dtype: str) -> None:
    """The network, and a softmax in double precision, as `predict_proba` has it."""
    writer = Writer(graph)
    logits = writer.layer(model._model, given(writer, model._model, dtype))
    probabilities(graph, graph.double(writer.plain(logits).name), model.classes_)
