"""ONNX graphs of naive Bayes classifiers."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ironlearn.io.onnx import inputs
from ironlearn.io.onnx.graph import Graph, finite, probabilities


def gaussian(graph: Graph, model: Any, dtype: Any) -> None:
    """Sum the squared standardised distances from each class."""
    x = graph.double(inputs.matrix(graph, model, dtype))
    mean, var = model.theta_, model.var_
    each = graph.op("Unsqueeze", x, graph.constant([1], np.int64))
    scaled = graph.op(
        "Mul",
        graph.op("Sub", each, graph.constant(mean[None])),
        graph.constant(1.0 / np.sqrt(var)[None]),
    )
    squares = graph.sum(graph.op("Mul", scaled, scaled), axis=2)
    with np.errstate(divide="ignore"):
        constant = np.log(model.class_prior_) - 0.5 * np.log(2.0 * np.pi * var).sum(axis=1)
    half = graph.op("Mul", squares, graph.constant(-0.5))
    joint = graph.op("Add", half, graph.constant(finite(constant)))
    probabilities(graph, joint, model.classes_)


def discrete(graph: Graph, model: Any, dtype: Any) -> None:
    """Add up the logarithms of present and, for BernoulliNB, absent features."""
    x = graph.double(inputs.matrix(graph, model, dtype))
    present, absent, log_prior, threshold = model._model.arrays()
    if threshold is not None:
        x = graph.double(graph.op("Greater", x, graph.constant(threshold, np.float64)))
    joint = graph.op("MatMul", x, graph.constant(finite(present).T))
    if absent is not None:
        rest = graph.op("Sub", graph.constant(1.0), x)
        joint = graph.op("Add", joint, graph.op("MatMul", rest, graph.constant(finite(absent).T)))
    joint = graph.op("Add", joint, graph.constant(finite(log_prior)))
    probabilities(graph, joint, model.classes_)


def categorical(graph: Graph, model: Any, dtype: Any) -> None:
    """Look each category's logarithms up in one table of all features."""
    (count, categories, cells), log_prior, alpha = model._model.arrays()
    vocabularies = model.categories_
    width = len(categories)
    if any(words is not None for words in vocabularies):
        columns = inputs.codes(graph, model, vocabularies, np.int64, categories, np.int64)
        x = graph.op("Concat", *columns, axis=1)
    else:
        x = graph.cast(graph.input("X", np.int64, width), np.int64)
    known = graph.op(
        "And",
        graph.op("Less", x, graph.constant(categories, np.int64)),
        graph.op("GreaterOrEqual", x, graph.constant(0, np.int64)),
    )
    code = graph.op("Where", known, x, graph.constant(categories, np.int64))
    # Each feature has one more place, for values that training did not have.
    starts = np.concatenate([[0], np.cumsum(categories + 1)[:-1]])
    at = graph.op("Add", code, graph.constant(starts, np.int64))
    table = _logarithms(count, categories, cells, alpha)
    joint = graph.sum(graph.pick(finite(table), at), axis=1)
    joint = graph.op("Add", joint, graph.constant(finite(log_prior)))
    probabilities(graph, joint, model.classes_)


def _logarithms(
    count: NDArray[np.float64],
    categories: NDArray[np.int64],
    cells: NDArray[np.float64],
    alpha: float,
) -> NDArray[np.float64]:
    """Return the smoothed logarithms, one row a category, one column a class."""
    k = len(count)
    parts = []
    start = 0
    for n in categories.tolist():
        counts = cells[start : start + k * n].reshape(k, n)
        start += k * n
        with np.errstate(divide="ignore"):
            top = np.log(np.hstack([counts, np.zeros((k, 1))]) + alpha)
            total = np.log(counts.sum(axis=1) + alpha * n)
        parts.append((np.maximum(top, -1e300) - np.maximum(total, -1e300)[:, None]).T)
    return np.vstack(parts)
