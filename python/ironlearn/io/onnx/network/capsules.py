"""Capsules, with as many rounds of agreement as the layer has."""

from __future__ import annotations

from typing import Any

from ironlearn.io.onnx.network.convolution import conv
from ironlearn.io.onnx.network.writer import Value, Writer, value
from ironlearn.nn.backend.ops.capsule import TINY
from ironlearn.nn.layers import capsules


def _square(w: Writer, x: str, keep: bool) -> str:
    return w.total(w.op("Mul", x, x), -1, keep=keep)


def _squash(w: Writer, x: str) -> str:
    square = _square(w, x, True)
    root = w.op("Sqrt", w.op("Add", square, w.number(TINY)))
    factor = w.op("Div", root, w.op("Add", square, w.number(1 + TINY)))
    return w.op("Mul", x, factor)


def primary(w: Writer, layer: Any, x: Value) -> Value:
    """`PrimaryCapsules`."""
    shape = layer.output_shape(x.shape)
    y = w.plain(conv(w, layer._conv, x))
    return value(_squash(w, w.graph.reshape(y.name, 0, *shape)), shape, x.mask)


def routing(w: Writer, layer: Any, x: Value) -> Value:
    """`RoutingCapsules`."""
    mask, kinds, dim = x.mask, layer.n_capsules, layer.dim
    # Each capsule of the input has a kernel of its own: (I, N, D) times (I, D, K dim).
    turned = w.turn(x, (1, 0, 2))
    votes = w.op("MatMul", turned.name, w.weight(layer.kernel))
    votes = w.graph.reshape(votes, 0, 0, kinds, dim)
    votes = w.op("Transpose", votes, perm=[1, 2, 0, 3])
    whole = w.op("Mul", w.total(votes, 2), w.number(1 / kinds))
    agreement = ""
    for _ in range(layer.routings - 1):
        out = w.unsqueeze(_squash(w, whole), 3)
        more = w.squeeze(w.op("MatMul", votes, out), 3)
        agreement = w.op("Add", agreement, more) if agreement else more
        shares = w.unsqueeze(w.op("Softmax", agreement, axis=1), 2)
        whole = w.squeeze(w.op("MatMul", shares, votes), 2)
    return value(_squash(w, whole), layer.output_shape(x.shape), mask)


def capsule_length(w: Writer, layer: Any, x: Value) -> Value:
    """`CapsuleLength`."""
    square = _square(w, w.plain(x).name, False)
    name = w.op("Sqrt", w.op("Add", square, w.number(capsules._TINY)))
    return value(name, layer.output_shape(x.shape), x.mask)
