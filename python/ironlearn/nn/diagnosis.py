"""Finding out which layer made a number that is not finite."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from ironlearn.nn.autograd import RowGradient, Tensor, backward
from ironlearn.nn.backend.device import Device
from ironlearn.nn.data import Batch
from ironlearn.nn.inference import dtype_of, send, tensors
from ironlearn.nn.layers.base import Buffer, Layer, Mode, get_device_of
from ironlearn.nn.precision import Precision


def finite(array: Any) -> bool:
    """Tell whether every element of a device's array, or of a tuple's, is a finite number."""
    if array is None:
        return True
    if isinstance(array, RowGradient):
        return finite([gradient for _, gradient in array.parts])
    if isinstance(array, tuple | list):
        return all(finite(part) for part in array)
    value = get_device_of(array).receive(array)
    if value.dtype.name == "bfloat16":
        value = value.astype(np.float32)
    return value.dtype.kind != "f" or bool(np.isfinite(value).all())


def all_finite(device: Device, arrays: list[Any]) -> bool:
    """Tell whether all elements of `arrays`, floats of `device`, are finite; ask it once."""
    if not device.asynchronous:
        return all(finite(array) for array in arrays)
    xp = device.xp
    with device.context():
        answers = [xp.isfinite(array).all() for array in arrays]
        return not answers or bool(device.receive(xp.stack(answers)).all())


def name_of(layer: Layer) -> str:
    """Return what messages call a layer."""
    kind = type(layer).__name__
    return f"layer {layer.label} ({kind})" if layer.label else f"layer {kind}"


def keep_buffers(buffers: Iterable[Buffer]) -> Callable[[], None]:
    """Return a function that gives a network's buffers the values that they have now."""
    kept = [(buffer, buffer.data.copy()) for buffer in buffers]

    def put_back() -> None:
        for buffer, value in kept:
            buffer.data = value.copy()

    return put_back


def first_not_finite(
    network: Layer,
    loss: Any,
    device: Device,
    batch: Batch,
    mode: Mode,
    precision: Precision,
) -> tuple[str, str | None]:
    """Compute a training step's loss and gradients again, looking at every layer.

    Parameters
    ----------
    network : Layer
        The network, with the weights from before the step; they are left as they are.
    loss : Loss
        The loss.
    device : Device
        Where to compute.
    batch : tuple
        Inputs, targets, weights.
    mode : Mode
        As in the step that failed.
    precision : Precision
        In which the step was computed.

    Returns
    -------
    what : str
        A clause that says what was not finite first.
    layer : str or None
        The layer, if one made it.
    """
    x, y, weights = batch
    for name, values in (("inputs", x), ("targets", y)):
        if not finite(values):
            return f"the {name} of the batch hold values that are not finite", None
    for layer in network.layers_of():
        for name, value in layer._members():
            if hasattr(value, "data") and not isinstance(value, Layer) and not finite(value.data):
                who = name_of(layer)
                return f"{name} of {who} was no longer finite before this step", who
    put_back = keep_buffers(network.named_buffers().values())
    watched = list(network.layers_of())
    found: list[Layer] = []
    for layer in watched:
        # An instance's attribute goes before its class's method.
        vars(layer)["forward"] = _watching(layer, layer.forward, found)
    try:
        dtype = dtype_of(network)
        with precision.computing(), precision.copies():
            outputs = network(*precision.inputs(tensors(device, x, dtype)), mode=mode)
            if found:
                who = name_of(found[0])
                return f"the first value that is not finite came out of {who}", who
            outputs = precision.outputs(outputs)
            value = loss(outputs, send(device, y, dtype), send(device, weights, dtype))
            if not finite(value.data):
                return "every layer's output is finite, the loss of it is not", None
            backward(value)
        # Gradients come from the last layer to the first.
        for layer in reversed(watched):
            for name, member in layer._members():
                if isinstance(member, Tensor) and not finite(member.grad):
                    who = name_of(layer)
                    return f"the first gradient that is not finite is that of {name} of {who}", who
    finally:
        for layer in watched:
            del vars(layer)["forward"]
        for parameter in network.parameters():
            parameter.grad = None
        put_back()
    return "computing the step again, layer by layer, gave finite values only", None


def _watching(layer: Layer, forward: Callable[..., Any], found: list[Layer]) -> Callable[..., Any]:
    @functools.wraps(forward)
    def watch(*args: Any, **kwargs: Any) -> Any:
        outputs = forward(*args, **kwargs)
        if not found:
            parts = outputs if isinstance(outputs, tuple | list) else (outputs,)
            if not all(finite(part.data) for part in parts if isinstance(part, Tensor)):
                found.append(layer)
        return outputs

    return watch
