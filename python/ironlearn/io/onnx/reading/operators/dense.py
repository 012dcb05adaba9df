"""Products with weights, tables of vectors, layer normalization."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ironlearn.io.onnx.reading.builder import Builder
from ironlearn.io.onnx.reading.file import Node
from ironlearn.io.onnx.reading.operators import attention, position, shape
from ironlearn.io.onnx.reading.operators.recurrent import last_step
from ironlearn.io.onnx.reading.values import Value, length
from ironlearn.nn.layers import Dense, Embedding, LayerNorm


def _product(b: Builder, node: Node, value: Value, kernel: NDArray[Any], bias: Any = None) -> Value:
    """Return the value times a kernel (in, out), over its last axis.

    Where that axis is an image flattened channels first, the kernel's rows are put in the order in
    which the image lies here, and the image stays as it is.
    """
    features = value.view[-1]
    if length(features) != len(kernel):
        raise node.refuse(f"a kernel of {len(kernel)} rows does not fit the shape {value.shape}.")
    place = {id(atom): i for i, atom in enumerate(a for axis in value.axes for a in axis)}
    order = sorted(range(len(features)), key=lambda i: place[id(features[i])])
    if order != list(range(len(features))):
        sizes = [int(atom.size or 0) for atom in features]
        numbers = np.arange(math.prod(sizes)).reshape(sizes).transpose(order)
        kernel = kernel[numbers.ravel()]
        value = value.seen([*value.view[:-1], tuple(features[i] for i in order)])
    places = b.first_and_last(value, value.rank - 1)
    value = b.arrange(value, places)
    arrays = {"kernel": np.ascontiguousarray(kernel)}
    if bias is not None:
        arrays["bias"] = bias
    return b.add(Dense(kernel.shape[1], use_bias=bias is not None), [value], places, arrays)


def gemm(b: Builder, node: Node) -> Value:
    """Gemm of rows."""
    value = b.value(node.given(0))
    node.expect(transA=0)
    kernel = b.weights(node.given(1), "the kernel", 2)
    if node.get("transB", 0):
        kernel = kernel.T
    if value.rank != 2 or not kernel.size:
        raise node.refuse(f"a kernel of the shape {kernel.shape} does not fit {value.shape}.")
    bias = None
    if node.given(2):
        given = b.weights(node.given(2), "the bias")
        if given.size not in (1, kernel.shape[1]) or given.shape[-1:] not in (
            *((), (1,)),
            (kernel.shape[1],),
        ):
            raise node.refuse(f"a bias of the shape {given.shape} does not fit.")
        bias = np.broadcast_to(given.reshape(-1), kernel.shape[1:]) * np.float32(
            node.get("beta", 1.0)
        )
    alpha = node.get("alpha", 1.0)
    return _product(b, node, value, kernel if alpha == 1 else kernel * np.float32(alpha), bias)


def matmul(b: Builder, node: Node) -> Any:
    """MatMul of computed rows and a constant matrix, or within an attention."""
    first, second = node.given(0), node.given(1)
    found = b.symbols.get(first)
    if isinstance(found, attention.Scores) and second in b.values:
        return attention.attend(b, node, found, b.value(second))
    if first in b.values and second in b.values:
        return attention.scores(b, node, b.value(first), b.value(second))
    if first not in b.values:
        raise node.refuse("a constant times a computed value is not supported, only the reverse.")
    kernel = b.weights(second, "the kernel", 2)
    if not kernel.size:
        raise node.refuse(f"a kernel of the shape {kernel.shape} is empty.")
    return _product(b, node, b.value(first), kernel)


def gather(b: Builder, node: Node) -> Any:
    """Gather: a table's rows by computed numbers, or a part of a shape."""
    table, places = node.given(0), node.given(1)
    axis = node.get("axis", 0)
    if table in b.constants and places in b.constants:
        return shape.gather(b, node, axis)
    if places in b.symbols:
        return position.rows(b, node, axis)
    if table not in b.constants:
        return _step(b, node, b.value(table), axis)
    vectors = b.weights(table, "the table", 2)
    if axis != 0 or not vectors.size:
        raise node.refuse(f"axis={axis} of a table of the shape {vectors.shape} is not supported.")
    value = b.value(places)
    if value.part:
        raise node.refuse("numbers of rows must be the network's input, not computed.")
    value = b.arrange(value, range(value.rank))
    layer = Embedding(*vectors.shape)
    return b.add(layer, [value], range(value.rank + 1), {"embeddings": vectors})


def _step(b: Builder, node: Node, value: Value, axis: int) -> Value:
    """Return one place of an axis: of a recurrent layer's steps the last, or the only one."""
    axis = b.axis(axis, value.rank)
    found = b.integers(node.given(1), "the index")
    if b.constant(node.given(1), "the index").ndim or not found:
        raise node.refuse("several places of computed values are not taken.")
    if length(value.view[axis]) == 1 and found[0] in (0, -1) and axis != value.batch():
        return value.seen([v for place, v in enumerate(value.view) if place != axis])
    step = last_step(b, node, value, axis, found[0])
    if step is None:
        raise node.refuse(
            "parts of computed values are not taken, other than the last step of a recurrent layer."
        )
    return step


def layer_norm(b: Builder, node: Node) -> Value:
    """LayerNormalization, over the last axis."""
    value = b.value(node.given(0))
    if b.axis(node.get("axis", -1), value.rank) != value.rank - 1:
        raise node.refuse("over several axes it is not supported.")
    if any(node.outputs[1:]):
        raise node.refuse("means and deviations are not given.")
    order = b.first_and_last(value, value.rank - 1)
    value = b.arrange(value, order)
    width = value.inner[-1]
    gain = b.weights(node.given(1), "the gain", 1)
    offset = b.weights(node.given(2), "the offset", 1) if node.given(2) else np.zeros_like(gain)
    if len(gain) != width or len(offset) != width:
        raise node.refuse(f"gain or offset do not have {width} numbers.")
    layer = LayerNorm(node.get("epsilon", 1e-5))
    return b.add(layer, [value], order, {"gamma": gain, "beta": offset})


OPERATORS = {"Gather": gather, "Gemm": gemm, "LayerNormalization": layer_norm, "MatMul": matmul}
