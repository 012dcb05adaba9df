"""Attention as files write it: products, a softmax, and a weighted sum, as one layer."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ironlearn.io.onnx.reading.builder import Builder, Symbol
from ironlearn.io.onnx.reading.file import Node
from ironlearn.io.onnx.reading.operators import position
from ironlearn.io.onnx.reading.values import Value, length, regroup
from ironlearn.nn.layers import Dense, MultiHeadAttention, Scale

#: What is added to or stands for a product that does not count is below this.
_LOW = -1e4


@dataclass(frozen=True, eq=False)
class Scores(Symbol):
    """Products of queries and keys, perhaps after a softmax: no value, but part of an attention.

    Attributes
    ----------
    query, keys : Value
        Axes (N, T, d) and (N, d, T), with heads perhaps as axis 1.
    scale : float
        Factor of the products.
    weighted : bool
        A softmax over the keys was applied.
    causal : bool
        No query sees a later key.
    """

    query: Value
    keys: Value
    scale: float = 1.0
    weighted: bool = False
    causal: bool = False


def scores(b: Builder, node: Node, query: Value, keys: Value) -> Scores:
    """Return the products of two computed values."""
    if query.rank != keys.rank or query.rank not in (3, 4):
        raise node.refuse(
            f"a product of computed values of the shapes {query.shape} and {keys.shape} is no "
            "attention."
        )
    return Scores(query, keys)


def scaled(found: Scores, factor: float) -> Scores:
    """Return products times a factor."""
    return replace(found, scale=found.scale * factor)


def weighted(b: Builder, node: Node, found: Scores, axis: int) -> Scores:
    """Return the softmax of products over the keys."""
    if axis not in (-1, found.query.rank - 1) or found.weighted:
        raise node.refuse("of products it is not supported but once, over the last axis.")
    return replace(found, weighted=True)


def masked(node: Node, found: Scores, order: Any, filler: Any) -> Scores:
    """Return products, or weights, with those of later keys left out.

    Parameters
    ----------
    node : Node
    found : Scores
    order : Order or ndarray
        Where it is True something else stands.
    filler : float or None
        What stands there.
    """
    if not isinstance(order, position.Order) and not _triangle(order):
        raise node.refuse("of masks within an attention only those of later steps are supported.")
    if filler is None or not (filler <= _LOW if not found.weighted else filler == 0):
        raise node.refuse(f"{filler} in place of later steps is not supported.")
    if found.weighted and not found.causal:
        raise node.refuse("weights are left out after a softmax that they are part of.")
    return replace(found, causal=True)


def lowered(node: Node, found: Scores, table: Any) -> Scores:
    """Return products with a table added that is far below zero for later keys, 0 for others."""
    if not isinstance(table, np.ndarray) or found.weighted or table.dtype.kind != "f":
        raise node.refuse("masks that are no constants are not supported.")
    if not _triangle(table == 0) or (table[table != 0] > _LOW).any():
        raise node.refuse("of masks within an attention only those of later steps are supported.")
    return replace(found, causal=True)


def _triangle(seen: Any) -> bool:
    """Tell whether a table, (..., T, T), is True for each step and those before it."""
    if not isinstance(seen, np.ndarray) or seen.dtype != bool or seen.ndim < 2:
        return False
    length = seen.shape[-1]
    square = seen.shape[-2] == length and seen.size == length * length
    return square and np.array_equal(seen.reshape(length, length), np.tri(length, dtype=bool))


def attend(b: Builder, node: Node, found: Scores, values: Value) -> Value:
    """Return the weighted sum of values: one layer, if all are linear maps of one sequence."""
    if not found.weighted:
        raise node.refuse("a product of three computed values without a softmax has no layer.")
    rank = found.query.rank
    last = {3: (0, 1, 2), 4: (0, 2, 1, 3)}[rank]
    turned = (*range(rank - 2), rank - 1, rank - 2)
    parts = [
        _by_head(node, value, last)
        for value in (
            found.query,
            found.keys.seen([found.keys.view[place] for place in turned]),
            values,
        )
    ]
    sources, kernels, biases, sizes = zip(*parts, strict=True)
    if len({id(source) for source in sources}) != 1 and not _alike(sources):
        raise node.refuse("queries, keys and values are not made of one and the same sequence.")
    if len(set(sizes)) != 1:
        raise node.refuse(f"queries, keys and values have other heads: {sizes}.")
    heads, width = sizes[0]
    inner, source = heads * width, sources[0]
    if source.inner[-1] != inner:
        raise node.refuse(
            f"{heads} heads of the width {width} do not give the sequence's width "
            f"{source.inner[-1]}."
        )
    # The layer divides by the root of a head's width.
    factor = np.float32(found.scale * math.sqrt(width))
    b.take(3 * inner * (inner + 1) + inner * inner)
    arrays = {
        "kernel": np.concatenate([kernels[0] * factor, *kernels[1:]], axis=1),
        "bias": np.concatenate([biases[0] * factor, *biases[1:]]),
        "output_kernel": np.eye(inner, dtype=np.float32),
        "output_bias": np.zeros(inner, np.float32),
    }
    made = b.add(MultiHeadAttention(heads, width, causal=found.causal), [source], range(3), arrays)
    if rank == 3:
        return made
    split = regroup(made, [0, 0, heads, width])
    batch, steps, head, rest = split.view
    return split.seen([batch, head, steps, rest])


def _by_head(
    node: Node, value: Value, order: tuple[int, ...]
) -> tuple[Value, NDArray[Any], NDArray[Any], tuple[int, int]]:
    """Return source, kernel and bias of a linear map, and how many heads of which width."""
    axes = [value.view[place] for place in order]
    *heads, last = axes[2:]
    joined = [atom for axis in (*heads, last) for atom in axis]
    own = [atom for atom in value.axes[-1] if atom.size != 1]
    if (
        len(value.axes) != 3
        or tuple(axes[:2]) != value.axes[:2]
        or [id(atom) for atom in joined if atom.size != 1] != [id(atom) for atom in own]
    ):
        raise node.refuse("its factors are no sequences, batch first, with heads side by side.")
    source, kernel, bias = linear_map(node, value)
    width = length(last) or 0
    return source, kernel, bias, (kernel.shape[1] // max(1, width), width)


def linear_map(node: Node, value: Value) -> tuple[Value, NDArray[Any], NDArray[Any]]:
    """Return the sequence, the kernel and the bias of which a value is made."""
    part = node_part(node, value)
    layer, arrays = part.layer, part.arrays
    if isinstance(layer, Dense) and layer.activation is None:
        kernel = arrays["kernel"]
        bias = arrays.get("bias", np.zeros(kernel.shape[1], np.float32))
        return part.given[0], kernel, bias
    if isinstance(layer, Scale):
        source, kernel, bias = linear_map(node, part.given[0])
        gain, offset = arrays["gamma"], arrays["beta"]
        return source, kernel * gain, bias * gain + offset
    raise node.refuse("it takes parts or products of what is no linear map of a sequence.")


def node_part(node: Node, value: Value) -> Any:
    """Return the part that gives a value."""
    if value.maker is None:
        raise node.refuse("it takes parts or products of what is no linear map of a sequence.")
    return value.maker


def _alike(sources: Any) -> bool:
    first = sources[0]
    return all(s.part == first.part and s.axes == first.axes for s in sources)


def split(b: Builder, node: Node) -> Any:
    """Split of a linear map: as many linear maps."""
    value = b.value(node.given(0))
    axis = b.axis(node.get("axis", 0), value.rank)
    count = len(node.outputs)
    if axis != value.rank - 1 or value.view[axis] != value.axes[-1]:
        raise node.refuse("only the last axis of a linear map is split.")
    width = length(value.axes[-1]) or 0
    if node.given(1):
        sizes = b.integers(node.given(1), "the lengths")
    else:
        sizes = list(node.get("split", (width // max(1, count),) * count))
    if len(sizes) != count or sum(sizes) != width or min(sizes) < 1:
        raise node.refuse(f"{width} columns are not split into {sizes}.")
    source, kernel, bias = linear_map(node, value)
    order = value.order()
    if order is None:
        raise node.refuse("only the last axis of a linear map is split.")
    made, start = [], 0
    for size in sizes:
        part = slice(start, start + size)
        arrays = {"kernel": kernel[:, part], "bias": bias[part]}
        made.append(b.add(Dense(size), [source], order, arrays))
        start += size
    return tuple(made)


def columns(b: Builder, node: Node, value: Value, axis: int, start: int, stop: int) -> Value:
    """Return some columns of a linear map, as one of their own: Slice."""
    order = value.order()
    if order is None or value.view[axis] != value.axes[-1]:
        raise node.refuse("of computed values only columns of linear maps are taken.")
    source, kernel, bias = linear_map(node, value)
    part = slice(start, stop)
    arrays = {"kernel": kernel[:, part], "bias": bias[part]}
    if not len(arrays["bias"]):
        raise node.refuse(f"from {start} to {stop} there are no columns.")
    return b.add(Dense(len(arrays["bias"])), [source], order, arrays)


OPERATORS = {"Split": split}
