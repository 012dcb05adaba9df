"""Recurrent layers.

ONNX's operators know sequences that end early, not steps left out in between. So the steps that
count are moved to the front, in their order, and each step takes its output from where it went, or
from the step that it follows if it does not count: exact for every mask.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ironlearn.io.onnx.network.writer import Value, Writer, array_of, value

#: ONNX's operator, and the order of its gates as places among ours.
_KINDS = {
    "LSTM": ("LSTM", (0, 3, 1, 2)),
    "GRU": ("GRU", (0, 1, 2)),
    "SimpleRNN": ("RNN", (0,)),
}
_ACTIVATIONS = {"tanh": "Tanh", "relu": "Relu", "sigmoid": "Sigmoid", "linear": "Affine"}


@dataclass(frozen=True)
class _Steps:
    """Sequences whose steps that count come first.

    Attributes
    ----------
    x : str
        (N, T, F) in that order.
    lengths : str
        How many count, (N, 1).
    before : str
        How many count before each step, (N, T).
    until : str
        The same with the step itself.
    """

    x: str
    lengths: str
    before: str
    until: str


def recurrent(
    w: Writer, layer: Any, x: Value, *, initial_state: tuple[str, ...] | None = None
) -> Any:
    """`LSTM`, `GRU` and `SimpleRNN`."""
    return _outputs(layer, x, *_run(w, layer, x, initial_state))


def _outputs(layer: Any, x: Value, y: str, states: list[str]) -> Any:
    shape = layer.output_shape(x.shape)
    if layer.return_sequences:
        # As ONNX gives it: the next layer may take it so.
        out = Value(y, shape, (1, 0, 2), x.mask)
    else:
        out = value(states[0], shape)
    if not layer.return_state:
        return out
    return (out, *(value(state, (layer.units,)) for state in states))


def _run(
    w: Writer, layer: Any, x: Value, initial: tuple[str, ...] | None = None
) -> tuple[str, list[str]]:
    """Return all states (T, N, units), and the last ones (N, units)."""
    steps = None if x.mask is None else _moved(w, w.plain(x).name, x.mask)
    lengths = ""
    if steps is None:
        given = w.turn(x, (1, 0, 2)).name
    else:
        given = w.op("Transpose", steps.x, perm=[1, 0, 2])
        lengths = w.graph.cast(w.squeeze(steps.lengths, 1), np.int32)
    kind, gates = _KINDS[type(layer).__name__]
    more: dict[str, Any] = {}
    if kind == "GRU":
        more["linear_before_reset"] = 1
    if kind == "RNN":
        more["activations"] = [_ACTIVATIONS[layer.activation]]
        if layer.activation == "linear":
            more.update(activation_alpha=[1.0], activation_beta=[0.0])
    starts = [w.unsqueeze(part, 0) for part in initial or ()]
    y, *last = w.graph.ops(
        kind,
        1 + layer.states,
        given,
        w.number(_gates(layer.kernel, gates)),
        w.number(_gates(layer.recurrent_kernel, gates)),
        w.number(_biases(layer, gates)),
        lengths,
        *starts,
        hidden_size=layer.units,
        direction="reverse" if layer.go_backwards else "forward",
        **more,
    )
    y = w.squeeze(y, 1)
    states = [w.squeeze(part, 0) for part in last]
    if steps is None:
        return y, states
    if initial is not None:
        # A sequence without any step stays where it began.
        some = w.op("Greater", steps.lengths, w.integer(0))
        states = [w.op("Where", some, *pair) for pair in zip(states, initial, strict=True)]
    if layer.return_sequences:
        first = w.number(0.0) if initial is None else w.unsqueeze(initial[0], 1)
        y = _moved_back(w, layer, w.op("Transpose", y, perm=[1, 0, 2]), steps, first)
        y = w.op("Transpose", y, perm=[1, 0, 2])
    return y, states


def _gates(kernel: Any, gates: tuple[int, ...]) -> Any:
    """Return a kernel (rows, gates units) as (1, gates units, rows)."""
    array = array_of(kernel.data)
    parts = np.split(array, len(gates), axis=1)
    return np.concatenate([parts[gate].T for gate in gates])[None]


def _biases(layer: Any, gates: tuple[int, ...]) -> Any:
    own = array_of(layer.bias.data)
    other = getattr(layer, "recurrent_bias", None)
    both = (own, np.zeros_like(own) if other is None else array_of(other.data))
    parts = [np.split(part, len(gates))[gate] for part in both for gate in gates]
    return np.concatenate(parts)[None]


def _moved(w: Writer, x: str, mask: str) -> _Steps:
    counts = w.graph.cast(mask, np.int64)
    until = w.op("CumSum", counts, w.integer(1))
    before = w.op("Sub", until, counts)
    lengths = w.total(counts, 1, keep=True)
    number = w.count(w.length(x, 1))
    # Steps that count go to the place of how many count before; the others behind all of them.
    behind = w.op("Add", lengths, w.op("Sub", number, before))
    place = w.op("Where", mask, before, behind)
    zeros = w.op("Mul", counts, w.integer(0))
    source = w.op("ScatterElements", zeros, place, w.op("Add", zeros, number), axis=1)
    moved = w.op("GatherND", x, w.unsqueeze(source, 2), batch_dims=1)
    return _Steps(moved, lengths, before, until)


def _moved_back(w: Writer, layer: Any, y: str, steps: _Steps, first: str) -> str:
    """Return the states (N, T, units) at the steps where they were before `_moved`."""
    if layer.go_backwards:
        place, known = steps.before, w.op("Less", steps.before, steps.lengths)
    else:
        known = w.op("Greater", steps.until, w.integer(0))
        place = w.op("Max", w.op("Sub", steps.until, w.integer(1)), w.integer(0))
    found = w.op("GatherND", y, w.unsqueeze(place, 2), batch_dims=1)
    return w.op("Where", w.unsqueeze(known, 2), found, first)


def bidirectional(w: Writer, layer: Any, x: Value) -> Any:
    """`Bidirectional`."""
    one, other = layer.forward_layer, layer.backward_layer
    y1, states1 = _run(w, one, x)
    y2, states2 = _run(w, other, x)
    if not one.return_sequences:
        y1, y2 = states1[0], states2[0]
    name = _merged(w, layer.merge_mode, y1, y2)
    shape = layer.output_shape(x.shape)
    out = Value(name, shape, (1, 0, 2), x.mask) if one.return_sequences else value(name, shape)
    if not one.return_state:
        return out
    return (out, *(value(state, (one.units,)) for state in (*states1, *states2)))


def _merged(w: Writer, mode: str, a: str, b: str) -> str:
    if mode == "concat":
        return w.op("Concat", a, b, axis=-1)
    if mode == "mul":
        return w.op("Mul", a, b)
    total = w.op("Add", a, b)
    return total if mode == "sum" else w.op("Mul", total, w.number(0.5))
