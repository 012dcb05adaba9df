"""ONNX graphs of networks that read texts, from numbers of words on.

No operator of ONNX cuts texts into words as ironlearn does, so that is left to whoever runs the
graph; for text classifiers the file holds what it takes, as metadata.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np

from ironlearn.io.onnx.graph import Graph, probabilities
from ironlearn.io.onnx.network.network import given
from ironlearn.io.onnx.network.words import sentence
from ironlearn.io.onnx.network.writer import Writer


def classifier(graph: Graph, model: Any, dtype: str) -> None:
    """The network, and a softmax, or both signs' sigmoid of a single logit."""
    writer = Writer(graph)
    x = given(writer, model._model, dtype, "ids")
    logits = graph.double(writer.plain(writer.layer(model._model, x)).name)
    if len(model.classes_) == 2:
        zeros = graph.op("Mul", logits, graph.constant(0.0))
        logits = graph.op("Concat", zeros, logits, axis=1)
    encoder = model._encoder
    graph.properties["ironlearn.words"] = json.dumps(
        {
            "words": encoder.vocabulary.words,
            "lowercase": bool(encoder.lowercase),
            "punctuation": bool(encoder.punctuation),
            "max_length": int(encoder.max_length),
        },
        ensure_ascii=False,
    )
    probabilities(graph, logits, model.classes_)


def sentence_encoder(graph: Graph, model: Any, dtype: str) -> None:
    """The encoder's vectors, their mean over the steps that count, with length 1."""
    writer = Writer(graph)
    x = given(writer, model.network, dtype, "ids")
    mask = graph.input("mask", np.bool_, "length_1")
    name = sentence(writer, model.network, replace(x, mask=mask))
    graph.output("embeddings", name, np.float32, model.network.hidden_size)
