"""From parts to a network: what can be one layer becomes one, and a chain a `Sequential`."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np

from ironlearn.exceptions import ModelFileError
from ironlearn.io.onnx.reading.builder import Part
from ironlearn.nn.initializers import blank
from ironlearn.nn.layers import Activation, LayerGraph, Sequential
from ironlearn.nn.layers.base import Layer
from ironlearn.nn.layers.registry import layer_from_spec
from ironlearn.nn.layers.sequential import initialize

#: Layers that take an activation, and those whose outputs a factor and an offset can be part of,
#: with the names of their kernel and bias.
_ACTIVATED = ("Dense", "Conv2D", "Conv1D", "Conv2DTranspose", "BatchNorm")
_SCALED = {
    "Dense": ("kernel", "bias"),
    "Conv2D": ("kernel", "bias"),
    "Conv1D": ("_conv.kernel", "_conv.bias"),
    "MultiHeadAttention": ("output_kernel", "output_bias"),
    "Scale": ("gamma", "beta"),
}


def assemble(parts: list[Part], last: int, input_shape: tuple[int | None, ...]) -> Layer:
    """Return the network whose output is that of part number `last`, built."""
    with np.errstate(all="ignore"):
        parts, last = _fused(parts, last)
    needed = _needed(parts, last)
    numbers = {0: 0, **{number: i for i, number in enumerate(needed, 1)}}
    kept = [parts[number - 1] for number in needed]
    if not kept:
        return initialize(Sequential([Activation("linear")]), input_shape)
    wires = [[numbers[source] for source in part.sources] for part in kept]
    chain = all(wire == [i] for i, wire in enumerate(wires))
    for part in kept:
        for array in part.arrays.values():
            if not np.isfinite(array).all():
                raise part.node.refuse("its weights become too large for single precision.")
    layers = [part.layer for part in kept]
    network: Layer = Sequential(layers) if chain else LayerGraph(layers, wires)
    state = {
        f"layers.{i}.{name}": array
        for i, part in enumerate(kept)
        for name, array in part.arrays.items()
    }
    try:
        # No more than the file holds is taken.
        with blank(sum(array.size for array in state.values())):
            initialize(network, input_shape)
        network.load_state(state)
    except ModelFileError:
        raise
    except ValueError as error:
        raise ModelFileError(f"the file holds no valid network: {error}") from error
    return network


def _needed(parts: list[Part], last: int) -> list[int]:
    wanted = {last}
    for number in range(len(parts), 0, -1):
        if number in wanted:
            wanted.update(parts[number - 1].sources)
    return sorted(wanted - {0})


def _fused(parts: list[Part], last: int) -> tuple[list[Part], int]:
    """Return the parts with offsets, factors and activations taken into the layers before them."""
    needed = set(_needed(parts, last))
    uses = Counter(source for number in needed for source in parts[number - 1].sources)
    uses[last] += 1
    # What stands for each part: itself, or the one that it was taken into.
    stands = list(range(len(parts) + 1))
    found = [replace(part) for part in parts]
    for number in range(1, len(parts) + 1):
        part = found[number - 1]
        part.sources = tuple(stands[source] for source in part.sources)
        source = part.sources[0]
        if number not in needed or not source or uses[source] != 1:
            continue
        one = _as_one(found[source - 1], part)
        if one is not None:
            found[source - 1] = one
            stands[number] = source
            uses[source] = uses[number]
    return found, stands[last]


def _as_one(before: Part, part: Part) -> Part | None:
    kind, then = type(before.layer).__name__, type(part.layer).__name__
    config = before.layer.config()
    if config.get("activation") is not None:
        return None
    if then == "Activation" and kind in _ACTIVATED:
        config["activation"] = part.layer.config()["activation"]
        return replace(before, layer=_remade(kind, config))
    if then == "Dense" and kind == "MultiHeadAttention":
        return _projected(before, part)
    if then != "Scale" or kind not in _SCALED:
        return None
    kernel, bias = _SCALED[kind]
    gain, offset = part.arrays["gamma"], part.arrays["beta"]
    arrays = dict(before.arrays)
    if (gain != 1).any():
        arrays[kernel] = arrays[kernel] * gain
    arrays[bias] = arrays.get(bias, np.float32(0)) * gain + offset
    if "use_bias" in config:
        config["use_bias"] = True
    return replace(before, layer=_remade(kind, config), arrays=arrays)


def _projected(before: Part, part: Part) -> Part | None:
    """Return an attention with the dense layer behind it as its own, if it has none so far."""
    now, kernel = before.arrays["output_kernel"], part.arrays["kernel"]
    plain = np.array_equal(now, np.eye(len(now))) and not before.arrays["output_bias"].any()
    if not plain or kernel.shape != now.shape or part.layer.config()["activation"] is not None:
        return None
    bias = part.arrays.get("bias", before.arrays["output_bias"])
    return replace(before, arrays={**before.arrays, "output_kernel": kernel, "output_bias": bias})


def _remade(kind: str, config: dict[str, Any]) -> Layer:
    layer: Layer = layer_from_spec({"type": kind, "config": config})
    return layer
