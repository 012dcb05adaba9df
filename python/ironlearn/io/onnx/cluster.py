"""ONNX graphs of clusterings by centres."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ironlearn.io.onnx import inputs
from ironlearn.io.onnx.graph import Graph
from ironlearn.io.onnx.svm import squared_distances


def centres(graph: Graph, model: Any, dtype: Any) -> None:
    """Distances from the centres, and the nearest one."""
    distances = _distances(graph, model, graph.double(inputs.matrix(graph, model, dtype)))
    _label_nearest(graph, distances)


def bisecting(graph: Graph, model: Any, dtype: Any) -> None:
    """Distances from the centres, and the leaf that the nearer centre of each fork leads to."""
    x = graph.double(inputs.matrix(graph, model, dtype))
    distances = _distances(graph, model, x)
    children, normals, levels = model._tree.arrays()
    if not len(children):
        _label_nearest(graph, distances)
        return
    # One column a leaf: 1 at a fork that it is to the left of, -1 at one to the right of.
    paths = _paths(children)
    side = graph.op("MatMul", x, graph.constant(normals.T))
    left = graph.double(graph.op("GreaterOrEqual", side, graph.constant(levels)))
    # How many turns to a leaf are not taken, below zero: the row's own leaf misses none.
    taken = graph.op("MatMul", left, graph.constant(paths))
    missed = graph.op("Sub", taken, graph.constant((paths > 0).sum(axis=0).astype(float)))
    graph.output("label", graph.first_largest(missed), np.int64)


def _label_nearest(graph: Graph, distances: str) -> None:
    graph.output("label", graph.op("ArgMin", distances, axis=1, keepdims=0), np.int64)


def _paths(children: NDArray[np.int32]) -> NDArray[np.float64]:
    paths = np.zeros((len(children), len(children) + 1))
    stack: list[tuple[int, list[tuple[int, float]]]] = [(0, [])]
    while stack:
        fork, turns = stack.pop()
        for child, side in zip(children[fork].tolist(), (1.0, -1.0), strict=True):
            path = [*turns, (fork, side)]
            if child >= 0:
                stack.append((child, path))
                continue
            for passed, turn in path:
                paths[passed, -1 - child] = turn
    return paths


def _distances(graph: Graph, model: Any, x: str) -> str:
    points = np.asarray(model.cluster_centers_, dtype=np.float64)
    distances = graph.op("Sqrt", squared_distances(graph, x, points))
    graph.output("distances", distances, np.float64, len(points))
    return distances
