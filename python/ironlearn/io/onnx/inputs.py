"""Inputs of exported graphs: one matrix, or one column each where some hold categories."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from ironlearn.io.onnx.graph import Graph

#: dtypes that an exported graph can take.
DTYPES = ("float32", "float64")


def matrix(graph: Graph, estimator: Any, dtype: Any) -> str:
    """Add the input ``X``."""
    return graph.input("X", dtype, int(estimator.n_features_in_))


def names(estimator: Any) -> list[str]:
    """Return the name of each column's input."""
    known = getattr(estimator, "feature_names_in_", None)
    if known is not None:
        return [str(name) for name in known]
    return [f"x{j}" for j in range(int(estimator.n_features_in_))]


def codes(
    graph: Graph,
    estimator: Any,
    vocabularies: Sequence[NDArray[Any] | None],
    dtype: Any,
    other: Any,
    numbers: Any,
) -> list[str]:
    """Add an input for each column; return each as a column of codes or as it is.

    Parameters
    ----------
    graph : Graph
        What they are added to.
    estimator : Estimator
        Whose columns they are.
    vocabularies : sequence of (ndarray or None)
        Sorted values of each column, whose places are the codes; ``None`` for numbers.
    dtype : dtype
        Of what is returned.
    other : number
        Code of a value that is not in the vocabulary; one for all, or one a column.
    numbers : dtype
        Of the inputs of columns without a vocabulary.
    """
    unknown = np.broadcast_to(np.asarray(other), len(vocabularies))
    out = []
    for name, words, missing in zip(names(estimator), vocabularies, unknown, strict=True):
        if words is None:
            out.append(graph.cast(graph.input(name, numbers, 1), dtype))
            continue
        found = _place(graph, name, words)
        absent = graph.op("Less", found, graph.constant(0, np.int64))
        code = graph.cast(found, dtype)
        out.append(graph.op("Where", absent, graph.constant(missing, dtype), code))
    return out


def _place(graph: Graph, name: str, words: NDArray[Any]) -> str:
    """Add the input of a column; return the place of each value, -1 where it has none."""
    if words.dtype.kind in "OU":
        value = graph.input(name, np.dtype("U"), 1)
        return graph.op(
            "LabelEncoder",
            value,
            domain="ai.onnx.ml",
            keys_strings=[str(word) for word in words],
            values_int64s=list(range(len(words))),
            default_int64=-1,
        )
    value = graph.input(name, np.float64, 1)
    equal = graph.op("Equal", value, graph.constant(words.astype(np.float64)[None, :]))
    # One more column says whether none is equal: its weight is the least above zero.
    hits = graph.cast(equal, np.int64)
    places = graph.constant(np.arange(1, len(words) + 1)[:, None], np.int64)
    place = graph.op("MatMul", graph.double(hits), graph.double(places))
    return graph.op("Sub", graph.cast(place, np.int64), graph.constant(1, np.int64))
