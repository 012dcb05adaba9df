"""Class probabilities of a kernel classifier as an ONNX graph.

Sigmoids give the probabilities of pairs (Lin, Lin and Weng, "A note on Platt's probabilistic
outputs for support vector machines", Machine Learning 2007); pairwise coupling makes those of the
classes (Wu, Lin and Weng, "Probability estimates for multi-class classification by pairwise
coupling", JMLR 2004, second method), step by step as LIBSVM does.
"""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ironlearn.io.onnx.graph import Graph

#: No pair is more certain than this.
_LEAST = 1e-7


def pairwise(
    graph: Graph, scores: str, slopes: NDArray[np.float64], constants: NDArray[np.float64]
) -> str:
    """Return the probabilities of the first class of each pair."""
    exponent = graph.op(
        "Add", graph.op("Mul", scores, graph.constant(slopes)), graph.constant(constants)
    )
    probability = graph.op("Sigmoid", graph.op("Neg", exponent))
    return graph.op("Clip", probability, graph.constant(_LEAST), graph.constant(1.0 - _LEAST))


def coupled(graph: Graph, pairs: str, k: int) -> str:
    """Return the probabilities of `k` classes from those of their pairs."""
    matrix = _quadratic(graph, pairs, k)
    lines = [graph.columns(matrix, np.arange(i * k, i * k + k)) for i in range(k)]
    diagonal = [graph.columns(matrix, [i * k + i]) for i in range(k)]
    square = graph.reshape(matrix, -1, k, k)
    # One row for each of the input, however many there are.
    zeros = graph.op("MatMul", graph.op("Mul", pairs, graph.constant(0.0)), _zeros(graph, k))
    start = graph.op("Add", zeros, graph.constant(np.full(k, 1.0 / k)))

    def body(inner: Graph, p: str) -> tuple[str, str]:
        products = inner.op("Squeeze", inner.op("MatMul", square, _column(inner, p)), _axis(inner))
        whole = _dot(inner, p, products)
        error = inner.op("Abs", inner.op("Sub", products, whole))
        largest = inner.op("ReduceMax", error, axes=[1], keepdims=1)
        wrong = inner.op("GreaterOrEqual", largest, inner.constant(0.005 / k))
        after = p
        for i in range(k):
            step = inner.op(
                "Div", inner.op("Sub", whole, inner.columns(products, [i])), diagonal[i]
            )
            size = inner.op("Add", step, inner.constant(1.0))
            unit = inner.constant(np.eye(k)[i])
            moved = inner.op("Add", after, inner.op("Mul", step, unit))
            after = inner.op("Div", moved, size)
            products = inner.op(
                "Div", inner.op("Add", products, inner.op("Mul", step, lines[i])), size
            )
            whole = _dot(inner, after, products)
        # Rows that are good enough stay as they are, as if each had a loop of its own.
        after = inner.op("Where", wrong, after, p)
        both = inner.constant([0, 1], np.int64)
        count = inner.op("ReduceSum", inner.cast(wrong, np.int64), both, keepdims=0)
        return inner.op("Greater", count, inner.constant(0, np.int64)), after

    return graph.loop(max(100, k), start, k, body)


def _zeros(graph: Graph, k: int) -> str:
    return graph.constant(np.zeros((k * (k - 1) // 2, k)))


def _column(graph: Graph, value: str) -> str:
    return graph.op("Unsqueeze", value, _axis(graph))


def _axis(graph: Graph) -> str:
    return graph.constant([2], np.int64)


def _dot(graph: Graph, a: str, b: str) -> str:
    product = graph.op("Mul", a, b)
    return graph.op("ReduceSum", product, graph.constant([1], np.int64), keepdims=1)


def _quadratic(graph: Graph, pairs: str, k: int) -> str:
    """Return the matrices whose form is minimised, one a row, line by line."""
    # Places in [pairs, 1 - pairs] of r[i][j], the probability of i in the pair of i and j.
    number = {pair: n for n, pair in enumerate(combinations(range(k), 2))}
    count = len(number)
    place = {(i, j): n for (i, j), n in number.items()}
    place |= {(j, i): n + count for (i, j), n in number.items()}
    both = graph.op("Concat", pairs, graph.op("Sub", graph.constant(1.0), pairs), axis=1)
    cells: list[tuple[Any, Any]] = [(i, j) for i in range(k) for j in range(k)]
    # The diagonal is filled afterwards; any place will do for it.
    first = [place.get((j, i), 0) for i, j in cells]
    second = [place.get((i, j), 0) for i, j in cells]
    off = np.array([0.0 if i == j else -1.0 for i, j in cells])
    products = graph.op("Mul", graph.columns(both, first), graph.columns(both, second))
    outer = graph.op("Mul", products, graph.constant(off))
    squares = graph.op("Mul", both, both)
    onto = np.zeros((2 * count, k * k))
    for (_, i), n in place.items():
        onto[n, i * k + i] = 1.0
    return graph.op("Add", outer, graph.op("MatMul", squares, graph.constant(onto)))
