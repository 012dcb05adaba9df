"""ONNX graphs of clusterings by centres."""

from __future__ import annotations

from typing import Any

import numpy as np

from ironlearn.io.onnx import inputs
from ironlearn.io.onnx.graph import Graph
from ironlearn.io.onnx.svm import squared_distances


def centres(graph: Graph, model: Any, dtype: Any) -> None:
    """Distances from the centres, and the nearest one."""
    points = np.asarray(model.cluster_centers_, dtype=np.float64)
    x = graph.double(inputs.matrix(graph, model, dtype))
    distances = graph.op("Sqrt", squared_distances(graph, x, points))
    nearest = graph.op("ArgMin", distances, axis=1, keepdims=0)
    graph.output("label", nearest, np.int64)
    graph.output("distances", distances, np.float64, len(points))
