"""LSTM, GRU and RNN."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ironlearn.io.onnx.reading.builder import Builder, Filled
from ironlearn.io.onnx.reading.file import Node
from ironlearn.io.onnx.reading.values import Axis, Value, regroup
from ironlearn.nn.layers import GRU, LSTM, Bidirectional, SimpleRNN

#: Our gates' order as places among ONNX's, and the activations of one direction.
_KINDS: dict[str, tuple[tuple[int, ...], tuple[str, ...]]] = {
    "LSTM": ((0, 2, 3, 1), ("Sigmoid", "Tanh", "Tanh")),
    "GRU": ((0, 1, 2), ("Sigmoid", "Tanh")),
    "RNN": ((0,), ("Tanh",)),
}
_OF_RNN = {"Tanh": "tanh", "Relu": "relu", "Sigmoid": "sigmoid", "Affine": "linear"}


def recurrent(b: Builder, node: Node) -> Any:
    """A layer that gives all states, and one that gives the last, as far as they are used."""
    gates, usual = _KINDS[node.kind]
    way = node.get("direction", "forward")
    if way not in ("forward", "reverse", "bidirectional"):
        raise node.refuse(f"direction={way!r} is unknown.")
    directions = 2 if way == "bidirectional" else 1
    layout = node.get("layout", 0)
    value = b.value(node.given(0))
    if value.rank != 3 or layout not in (0, 1):
        raise node.refuse(f"its input has the shape {value.shape}, with layout={layout}.")
    order = [1, 0, 2] if layout == 0 else [0, 1, 2]
    if value.batch() != order[0]:
        raise node.refuse(f"the batch's axis is not axis {order[0]}, as layout={layout} says.")
    value = b.arrange(value, order)
    name = _settings(b, node, usual, directions)
    kernels = [b.weights(node.given(i), w, 3) for i, w in ((1, "W"), (2, "R"))]
    units = kernels[1].shape[2]
    shapes = [(directions, len(gates) * units, n) for n in (value.inner[-1], units)]
    if [k.shape for k in kernels] != shapes or units < 1 or node.get("hidden_size", units) != units:
        raise node.refuse(
            f"kernels of the shapes {[k.shape for k in kernels]} do not fit; expected {shapes}."
        )
    bias = np.zeros((directions, 2 * len(gates) * units), np.float32)
    if node.given(3):
        bias = b.weights(node.given(3), "B", 2)
        if bias.shape != (directions, 2 * len(gates) * units):
            raise node.refuse(f"a bias of the shape {bias.shape} does not fit.")
    kinds: dict[str, Any] = {
        "LSTM": lambda **more: LSTM(units, **more),
        "GRU": lambda **more: GRU(units, **more),
        "RNN": lambda **more: SimpleRNN(units, name, **more),
    }
    one = [_arrays(node, gates, kernels[0][d], kernels[1][d], bias[d]) for d in range(directions)]
    arrays = one[0]
    if directions == 2:
        arrays = {
            f"{side}_layer.{key}": array
            for side, part in zip(("forward", "backward"), one, strict=True)
            for key, array in part.items()
        }
    outputs: list[Any] = [None, None]
    for place, sequences in enumerate((True, False)):
        if not any(node.outputs[place : place + 1]):
            continue
        # Where both are used there are two layers of the same weights.
        layer = kinds[node.kind](return_sequences=sequences, go_backwards=way == "reverse")
        layer = layer if directions == 1 else Bidirectional(layer)
        made = b.add(layer, [value], range(3 if sequences else 2), arrays)
        outputs[place] = _seen(made, directions, units, layout, sequences)
    if any(node.outputs[2:]):
        raise node.refuse("the last cell state is not given.")
    return tuple(outputs)


def last_step(b: Builder, node: Node, value: Value, axis: int, index: int) -> Value | None:
    """Return what a recurrent layer gives at its last step; ``None`` if this is another step.

    Parameters
    ----------
    b : Builder
    node : Node
        Takes the step.
    value : Value
        Perhaps all steps of a recurrent layer.
    axis, index : int
        Which step is taken, of which axis.
    """
    part = b.parts[value.part - 1] if value.part else None
    if part is None or type(part.layer) not in (LSTM, GRU, SimpleRNN):
        return None
    config = part.layer.config()
    if not config["return_sequences"] or value.view[axis] != value.axes[1]:
        return None
    steps = value.shape[axis]
    ends = (0,) if config["go_backwards"] else (-1, None if steps is None else steps - 1)
    if index not in ends:
        return None
    layer = type(part.layer)(**{**config, "return_sequences": False})
    made = b.add(layer, part.given, range(2), part.arrays)
    # What is left of the file's axes: those of the batch, of the state, and of length 1.
    stands = {
        id(old[0]): new
        for old, new in zip((value.axes[0], value.axes[2]), made.axes, strict=True)
        if len(old) == 1
    }
    view = [v for place, v in enumerate(value.view) if place != axis]
    if any(v and (len(v) != 1 or id(v[0]) not in stands) for v in view):
        return None
    return made.seen([stands[id(v[0])] if v else () for v in view])


def _settings(b: Builder, node: Node, usual: tuple[str, ...], directions: int) -> str:
    """Refuse what layers cannot do; return the activation of a simple network."""
    for place, what in ((4, "lengths of sequences"), (7, "peepholes")):
        if node.given(place):
            raise node.refuse(f"{what} are not supported.")
    for place in (5, 6):
        start = b.constants.get(node.given(place), Filled(0.0))
        zero = start.number == 0 if isinstance(start, Filled) else not np.any(start)
        if (node.given(place) and node.given(place) in b.values) or not zero:
            raise node.refuse("states to begin with are not supported, other than zeros.")
    node.expect(input_forget=0)
    if node.attributes.get("clip"):
        raise node.refuse("clip is not supported.")
    if node.kind == "GRU" and not node.get("linear_before_reset", 0):
        raise node.refuse(
            "linear_before_reset=0 is not supported: the reset gate comes after the product here."
        )
    given = node.get("activations", usual * directions)
    one = given[: len(usual)]
    if given != one * directions:
        raise node.refuse(f"activations={given} differ between the directions.")
    if node.kind != "RNN":
        if one != usual:
            raise node.refuse(f"activations={given} are not supported, only {usual}.")
        return ""
    if one[0] not in _OF_RNN:
        raise node.refuse(f"activations={given} are not supported, only {tuple(_OF_RNN)}.")
    slopes = (node.get("activation_alpha", (1.0,)), node.get("activation_beta", (0.0,)))
    if one[0] == "Affine" and (set(slopes[0]) != {1.0} or set(slopes[1]) != {0.0}):
        raise node.refuse("an Affine other than x itself is not supported.")
    return _OF_RNN[one[0]]


def _arrays(
    node: Node, gates: tuple[int, ...], kernel: Any, recurrent_kernel: Any, bias: Any
) -> dict[str, NDArray[Any]]:
    def ordered(array: Any) -> Any:
        parts = np.split(array, len(gates))
        return np.concatenate([parts[gate] for gate in gates])

    of_input, of_state = (ordered(part) for part in np.split(bias, 2))
    arrays = {
        "kernel": ordered(kernel).T,
        "recurrent_kernel": ordered(recurrent_kernel).T,
    }
    if node.kind == "GRU":
        return {**arrays, "bias": of_input, "recurrent_bias": of_state}
    return {**arrays, "bias": of_input + of_state}


def _seen(made: Value, directions: int, units: int, layout: int, sequences: bool) -> Value:
    """Return an output as the file sees it, the directions an axis of their own."""
    if directions == 2:
        # Both directions' states lie side by side.
        apart = regroup(made, [*([0] * (made.rank - 1)), 2, units])
        *rest, way, state = apart.view
    else:
        apart, way = made, ()
        *rest, state = made.view
    batch: Axis = rest[0]
    if not sequences:
        view = [batch, way, state] if layout else [way, batch, state]
        return apart.seen(view)
    steps = rest[1]
    view = [batch, steps, way, state] if layout else [steps, way, batch, state]
    return apart.seen(view)


OPERATORS = dict.fromkeys(_KINDS, recurrent)
