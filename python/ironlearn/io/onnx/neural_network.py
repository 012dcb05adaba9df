"""ONNX graphs of multilayer perceptrons."""

from __future__ import annotations

from typing import Any

import numpy as np

from ironlearn.io.onnx import inputs
from ironlearn.io.onnx.graph import Graph, labels, probabilities


def classifier(graph: Graph, model: Any, dtype: Any) -> None:
    """The layers' sums; the largest one or its sign gives the label, an activation the rest."""
    scores = _scores(graph, model, dtype)
    if model.out_activation_ == "softmax":
        probabilities(graph, scores, model.classes_)
        return
    positive = graph.cast(graph.op("Greater", scores, graph.constant(0.0)), np.int64)
    answers = _activated(graph, "logistic", scores)
    if model._several:
        graph.output("label", positive, np.int64, model.n_outputs_)
        graph.output("probabilities", answers, np.float64, model.n_outputs_)
        return
    labels(graph, model.classes_, graph.reshape(positive, -1))
    rest = graph.op("Sub", graph.constant(1.0), answers)
    graph.output("probabilities", graph.op("Concat", rest, answers, axis=1), np.float64, 2)


def regressor(graph: Graph, model: Any, dtype: Any) -> None:
    """The layers' sums, or their exponentials."""
    answers = _scores(graph, model, dtype)
    if model.out_activation_ == "exp":
        answers = graph.op("Exp", answers)
    if model.n_outputs_ == 1:
        graph.output("prediction", graph.reshape(answers, -1), np.float64)
    else:
        graph.output("prediction", answers, np.float64, model.n_outputs_)


def _scores(graph: Graph, model: Any, dtype: Any) -> str:
    value = graph.double(inputs.matrix(graph, model, dtype))
    for number, (coef, intercept) in enumerate(zip(model.coefs_, model.intercepts_, strict=True)):
        if number:
            value = _activated(graph, model._model.hidden, value)
        value = graph.op("MatMul", value, graph.constant(coef, np.float64))
        value = graph.op("Add", value, graph.constant(intercept, np.float64))
    return value


def _activated(graph: Graph, name: str, value: str) -> str:
    if name == "relu":
        return graph.op("Max", value, graph.constant(0.0))
    if name == "tanh":
        return graph.op("Tanh", value)
    if name == "logistic":
        half = graph.op("Tanh", graph.op("Mul", value, graph.constant(0.5)))
        return graph.op("Mul", graph.op("Add", half, graph.constant(1.0)), graph.constant(0.5))
    return value
