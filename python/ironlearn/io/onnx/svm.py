"""ONNX graphs of support vector machines."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from ironlearn.io.onnx import inputs
from ironlearn.io.onnx.coupling import coupled, pairwise
from ironlearn.io.onnx.graph import Graph, labels


def linear_classifier(graph: Graph, model: Any, dtype: Any) -> None:
    """One product; the largest score, or for two classes its sign, gives the label."""
    scores = _affine(graph, inputs.matrix(graph, model, dtype), model.coef_, model.intercept_)
    _one_versus_rest(graph, scores, model.classes_)


def linear_regressor(graph: Graph, model: Any, dtype: Any) -> None:
    """One product."""
    coef = np.atleast_2d(model.coef_)
    answer = _affine(graph, inputs.matrix(graph, model, dtype), coef, model.intercept_)
    graph.output("prediction", graph.reshape(answer, -1), np.float64)


def _affine(graph: Graph, x: str, coef: NDArray[Any], intercept: Any) -> str:
    product = graph.op("MatMul", graph.double(x), graph.constant(coef.T, np.float64))
    shift = np.broadcast_to(np.asarray(intercept, dtype=np.float64), len(coef))
    return graph.op("Add", product, graph.constant(shift))


def _one_versus_rest(graph: Graph, scores: str, classes: NDArray[Any]) -> None:
    if len(classes) == 2:
        positive = graph.op("Greater", scores, graph.constant(0.0))
        labels(graph, classes, graph.reshape(graph.cast(positive, np.int64), -1))
        graph.output("scores", graph.reshape(scores, -1), np.float64)
        return
    labels(graph, classes, graph.first_largest(scores))
    graph.output("scores", scores, np.float64, len(classes))


def kernel_classifier(graph: Graph, model: Any, dtype: Any) -> None:
    """Kernel values with the support vectors, scores of the pairs, votes."""
    values, weights, intercept = _pairs(graph, model, dtype)
    product = graph.op("MatMul", values, graph.constant(weights))
    scores = graph.op("Add", product, graph.constant(intercept))
    classes = model.classes_
    k = len(classes)
    slopes, constants = model._sigmoids
    if len(slopes):
        pairs = pairwise(graph, scores, slopes, constants)
        graph.output("probabilities", coupled(graph, pairs, k), np.float64, k)
    if k == 2:
        # Above zero for the first class of the pair; a score is for the second.
        _one_versus_rest(graph, graph.op("Neg", scores), classes)
        return
    first, second = (np.zeros((len(intercept), k)) for _ in range(2))
    for pair, (i, j) in enumerate(combinations(range(k), 2)):
        first[pair, i] = second[pair, j] = 1.0
    wins = graph.double(graph.op("Greater", scores, graph.constant(0.0)))
    losses = graph.op("Sub", graph.constant(1.0), wins)
    votes = graph.op(
        "Add",
        graph.op("MatMul", wins, graph.constant(first)),
        graph.op("MatMul", losses, graph.constant(second)),
    )
    # As in scikit-learn: the sums of the scores, squeezed below a third of a vote.
    sums = graph.op("MatMul", scores, graph.constant(first - second))
    size = graph.op("Add", graph.op("Abs", sums), graph.constant(1.0))
    squeezed = graph.op("Div", sums, graph.op("Mul", size, graph.constant(3.0)))
    combined = graph.op("Add", votes, squeezed)
    ovr = model.decision_function_shape == "ovr"
    labels(graph, classes, graph.first_largest(combined if model.break_ties and ovr else votes))
    shown = combined if ovr else scores
    graph.output("scores", shown, np.float64, k if ovr else len(intercept))


def kernel_regressor(graph: Graph, model: Any, dtype: Any) -> None:
    """Kernel values with the support vectors, and their weighted sum."""
    values, _, coef, intercept = _values(graph, model, dtype)
    product = graph.op("MatMul", values, graph.constant(coef.T))
    answer = graph.op("Add", product, graph.constant(intercept))
    graph.output("prediction", graph.reshape(answer, -1), np.float64)


def _pairs(
    graph: Graph, model: Any, dtype: Any
) -> tuple[str, NDArray[np.float64], NDArray[np.float64]]:
    """Return kernel values, and what makes the scores of each pair of classes of them."""
    values, n_support, coef, intercept = _values(graph, model, dtype)
    ends = np.concatenate([[0], np.cumsum(n_support)])
    weights = np.zeros((coef.shape[1], len(intercept)))
    for pair, (i, j) in enumerate(combinations(range(len(n_support)), 2)):
        mine, other = slice(ends[i], ends[i + 1]), slice(ends[j], ends[j + 1])
        weights[mine, pair] = coef[j - 1, mine]
        weights[other, pair] = coef[i, other]
    return values, weights, intercept


def _values(
    graph: Graph, model: Any, dtype: Any
) -> tuple[str, NDArray[Any], NDArray[np.float64], NDArray[np.float64]]:
    """Return kernel values with the support vectors, and the native coefficients."""
    if callable(model.kernel):
        raise ValueError(
            f"The 'kernel' parameter of {type(model).__name__} is a callable, which ONNX cannot "
            "hold; use kernel='precomputed' and pass its values as X."
        )
    vectors, support, n_support, coef, intercept, kernel, gamma, coef0, degree, width = (
        model._model.parts()
    )
    x = graph.double(graph.input("X", dtype, width))
    if kernel == "precomputed":
        return graph.columns(x, support), n_support, coef, intercept
    if isinstance(vectors, tuple):
        data, indices, indptr, _ = vectors
        vectors = sparse.csr_matrix((data, indices, indptr), shape=(len(support), width)).toarray()
    vectors = vectors.astype(np.float64)
    product = graph.op("MatMul", x, graph.constant(vectors.T))
    if kernel == "rbf":
        value = graph.op("Exp", _scaled(graph, squared_distances(graph, x, vectors), -gamma))
    elif kernel == "linear":
        value = product
    else:
        value = graph.op("Add", _scaled(graph, product, gamma), graph.constant(coef0, np.float64))
        if kernel == "sigmoid":
            value = graph.op("Tanh", value)
        else:
            value = graph.op("Pow", value, graph.constant(degree, np.float64))
    return value, n_support, coef, intercept


def _scaled(graph: Graph, value: str, factor: float) -> str:
    return graph.op("Mul", value, graph.constant(factor, np.float64))


def squared_distances(graph: Graph, x: str, points: NDArray[np.float64]) -> str:
    """Return the squared distances of rows from points, about their mean for precision."""
    centre = points.mean(axis=0)
    points = points - centre
    x = graph.op("Sub", x, graph.constant(centre))
    own = graph.op("ReduceSum", graph.op("Mul", x, x), graph.constant([1], np.int64), keepdims=1)
    cross = graph.op("MatMul", x, graph.constant(-2.0 * points.T))
    whole = graph.op("Add", graph.op("Add", own, cross), graph.constant((points**2).sum(axis=1)))
    return graph.op("Max", whole, graph.constant(0.0))
