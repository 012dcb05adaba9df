"""From an ONNX file to a network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ironlearn.exceptions import InvalidParameterError, ModelFileError
from ironlearn.io.onnx.reading.assemble import assemble
from ironlearn.io.onnx.reading.builder import Builder, Filled, Symbol
from ironlearn.io.onnx.reading.file import Model, Node, read
from ironlearn.io.onnx.reading.operators import OPERATORS
from ironlearn.io.onnx.reading.operators.shape import OF_FILLED
from ironlearn.io.onnx.reading.values import Atom, Value, fresh
from ironlearn.nn.layers.base import Layer

#: Operators that take channels first, and those that say nothing of the order of axes.
_CHANNELS_FIRST = (
    *("AveragePool", "BatchNormalization", "Conv", "ConvTranspose", "DepthToSpace"),
    *("GlobalAveragePool", "GlobalMaxPool", "GroupNormalization", "InstanceNormalization"),
    *("MaxPool", "Resize", "Upsample"),
)
_EITHER = (
    *("Add", "Cast", "Clip", "Div", "Dropout", "Elu", "Greater", "Identity", "LeakyRelu"),
    *("Max", "Min", "Mul", "Neg", "Pad", "Relu", "Sigmoid", "Sub", "Tanh", "Where"),
)
_RECURRENT = ("LSTM", "GRU", "RNN")
#: How many times the numbers of a file a network and what leads to it may hold, as weights that
#: are used several times are held several times.
_TIMES = 8
_MOST_AXES = 16


def network(
    source: Any, output: str | None = None, input_shape: Sequence[int | None] | None = None
) -> Layer:
    """Return the network in a file; see `ironlearn.io.onnx.from_onnx`."""
    model = read(source)
    name = _output(model, output)
    nodes = _needed(model, name)
    given, (dtype, lengths) = _input(model, nodes, name)
    # Which node uses an output tells recurrent layers what to give.
    used = {one for node in nodes for one in node.inputs} | {name}
    nodes = [_using(node, used) for node in nodes]
    order = _order(given, lengths, nodes)
    shape = _shape(lengths, order, input_shape)
    if dtype == np.uint8:
        raise ModelFileError(
            f"the input {given!r} takes bytes; a network takes numbers: export the model without "
            "their scaling."
        )
    builder = Builder(model.opset, constants=dict(model.constants))
    builder.room += _TIMES * sum(array.size for array in model.constants.values())
    start = fresh(0, shape, [Atom(None, batch=True, declared=lengths[order[0]])])
    axes = sorted(range(len(order)), key=order.__getitem__)
    builder.values[given] = start.seen([start.axes[axis] for axis in axes])
    # What overflows is refused in the end.
    with np.errstate(all="ignore"):
        for node in nodes:
            _apply(builder, node)
    if name in builder.constants:
        raise ModelFileError(f"the output {name!r} is constant.")
    images = order == _channels_last(len(order)) and len(order) > 2
    with np.errstate(all="ignore"):
        last = _given(builder, builder.value(name), images)
    return assemble(builder.parts, last.part, shape)


def _output(model: Model, output: str | None) -> str:
    if output is None:
        if len(model.outputs) != 1:
            raise InvalidParameterError(
                f"the graph has the outputs {', '.join(model.outputs)}; a network has one: name it "
                "by the 'output' parameter of from_onnx."
            )
        return model.outputs[0]
    known = {name for node in model.nodes for name in node.outputs}
    if not isinstance(output, str) or output not in known:
        raise InvalidParameterError(
            f"The 'output' parameter of from_onnx must be the name of a value that the graph "
            f"computes, such as its outputs {', '.join(model.outputs)}; got {output!r}."
        )
    return output


def _needed(model: Model, name: str) -> list[Node]:
    """Return the nodes that the output needs."""
    wanted = {name}
    found = []
    for node in reversed(model.nodes):
        if wanted.intersection(node.outputs):
            wanted.update(node.inputs)
            found.append(node)
    return found[::-1]


def _input(model: Model, nodes: list[Node], name: str) -> tuple[str, Any]:
    used = {one for node in nodes for one in node.inputs} | {name}
    given = [one for one in model.inputs if one in used]
    if len(given) != 1:
        raise ModelFileError(
            f"{name!r} is computed from the inputs {given}; a network has one input."
        )
    return given[0], model.inputs[given[0]]


def _using(node: Node, used: set[str]) -> Node:
    outputs = tuple(name if name in used else "" for name in node.outputs)
    return Node(node.kind, node.name, node.inputs, outputs, node.attributes)


def _channels_last(rank: int) -> tuple[int, ...]:
    return (0, *range(2, rank), 1)


def _order(given: str, lengths: Sequence[int | None], nodes: list[Node]) -> tuple[int, ...]:
    """Return which axis of the file's input each of the network's is.

    The first operators that say anything about the order of axes decide: images and sequences that
    they take channels first are channels last in the network, sequences that they take time first
    are batch first.
    """
    rank = len(lengths)
    plain = tuple(range(rank))
    names = {given}
    for node in nodes:
        if not names.intersection(node.inputs[:2]):
            continue
        if node.kind in _CHANNELS_FIRST and node.inputs[0] in names and rank > 2:
            return _channels_last(rank)
        if node.kind in _RECURRENT and rank == 3:
            return plain if node.get("layout", 0) else (1, 0, 2)
        if node.kind not in _EITHER:
            return plain
        names.update(node.outputs)
    return plain


def _shape(
    lengths: Sequence[int | None], order: Sequence[int], given: Sequence[int | None] | None
) -> tuple[int | None, ...]:
    found = tuple(lengths[axis] for axis in order[1:])
    if given is None:
        return found
    wanted = tuple(given) if isinstance(given, tuple | list) else ()
    fits = len(wanted) == len(found) and all(
        one is None or (type(one) is int and 0 < one < 1 << 31 and own in (None, one))
        for one, own in zip(wanted, found, strict=True)
    )
    if not fits:
        raise InvalidParameterError(
            "The 'input_shape' parameter of from_onnx must fit the graph's input, which has the "
            f"shape {found} without the batch's axis; got {given!r}."
        )
    return tuple(own if one is None else one for one, own in zip(wanted, found, strict=True))


def _apply(builder: Builder, node: Node) -> None:
    builder.node = node
    if node.kind not in OPERATORS:
        raise node.refuse(
            f"the operator is not supported; known are {', '.join(sorted(OPERATORS))}."
        )
    first = builder.constants.get(node.given(0))
    if isinstance(first, Filled) and node.kind in OF_FILLED:
        _keep(builder, node.outputs[0], first)
        return
    try:
        given = OPERATORS[node.kind](builder, node)
    except ModelFileError:
        raise
    except (ValueError, TypeError, IndexError, OverflowError) as error:
        raise node.refuse(f"its settings do not fit: {error}") from error
    results = given if isinstance(given, tuple) else (given,)
    for name, result in zip(node.outputs, results, strict=False):
        if name and result is not None:
            _keep(builder, name, result)


def _keep(builder: Builder, name: str, result: Any) -> None:
    node = builder.node
    if any(name in known for known in (builder.values, builder.constants, builder.symbols)):
        raise node.refuse(f"its output {name!r} is there already.")
    if isinstance(result, Symbol):
        builder.symbols[name] = result
        return
    rank = result.rank if isinstance(result, Value) else np.ndim(result)
    if rank > _MOST_AXES:
        raise node.refuse(f"its output has {rank} axes; more than {_MOST_AXES} are not supported.")
    if isinstance(result, Value):
        builder.values[name] = result
        return
    if not isinstance(result, Filled):
        result = np.asarray(result)
        builder.take(result.size)
    builder.constants[name] = result


def _given(builder: Builder, value: Value, images: bool) -> Value:
    """Return the output with the axes that a network gives: the batch first.

    Channels come last if the network's input has them there, and if they do in the last layer.
    """
    rank, batch = value.rank, value.batch()
    if batch is None:
        raise ModelFileError("the output's batch is joined with other axes, or not there.")
    if images and rank > 2 and batch == 0 and set(value.view[1]) <= set(value.axes[-1]):
        return builder.arrange(value, _channels_last(rank))
    rest = [axis for axis in range(rank) if axis != batch]
    return builder.arrange(value, [batch, *rest])
