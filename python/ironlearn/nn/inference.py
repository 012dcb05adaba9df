"""Running a network over data: predicting and measuring."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ironlearn.exceptions import DataError, InvalidParameterError
from ironlearn.nn.autograd import Tensor, no_grad
from ironlearn.nn.backend.device import Array, Device, get_device
from ironlearn.nn.data import Inputs, as_batches, count, epoch_generator, join, take
from ironlearn.nn.layers.base import INFERENCE, Layer
from ironlearn.nn.metrics import Metric, Totals, measure, resolve


def dtype_of(network: Layer) -> np.dtype[Any]:
    """Return the dtype that a network computes in: that of its parameters."""
    for parameter in network.parameters():
        return np.dtype(str(parameter.data.dtype))
    return np.dtype(np.float32)


def send(device: Device, value: Any, dtype: np.dtype[Any]) -> Array:
    """Return `value` on `device`; real numbers and booleans as `dtype`, integers as they are.

    A tuple's arrays are sent one by one; ``None`` stays.
    """
    if value is None:
        return None
    if isinstance(value, tuple):
        return tuple(send(device, part, dtype) for part in value)
    array = np.asarray(value)
    if array.dtype.kind in "fb":
        array = array.astype(dtype, copy=False)
    elif array.dtype.kind == "u" and array.dtype.itemsize > 4:
        array = array.astype(np.int64)
    return device.send(array)


def tensors(device: Device, x: Inputs, dtype: np.dtype[Any]) -> tuple[Tensor, ...]:
    """Return a network's inputs as tensors on `device`; bytes stand for 0 to 1."""
    parts = x if isinstance(x, tuple) else (x,)
    return tuple(Tensor(send(device, _scaled(part, dtype), dtype)) for part in parts)


def _scaled(part: Any, dtype: np.dtype[Any]) -> Any:
    if part.dtype != np.uint8:
        return part
    return part.astype(dtype) * dtype.type(1.0 / 255.0)


def receive(device: Device, outputs: Any) -> Any:
    """Return a network's outputs, a tensor or several, as NumPy arrays."""
    if isinstance(outputs, tuple | list):
        return tuple(receive(device, output) for output in outputs)
    return device.receive(outputs.data)


def require_built(network: Layer) -> None:
    """Refuse a network that has no parameters yet."""
    if not network.built:
        raise ValueError(
            f"{type(network).__name__} is not built: call initialize with the input's shape."
        )


def predict(
    network: Layer,
    x: Inputs,
    *,
    batch_size: int = 256,
    device: str | Device = "cpu",
) -> Any:
    """Return the raw outputs of `network`, such as logits, as NumPy arrays.

    Parameters
    ----------
    network : Layer
        A built network.
    x : array or tuple of arrays
        Inputs; the first axis is the samples. Bytes (uint8) are divided by 255.
    batch_size : int, default=256
        Samples computed at once.
    device : str or Device, default="cpu"
        Where to compute; the network's parameters are moved there.

    Returns
    -------
    ndarray
        Outputs of all samples; a tuple where the network has several outputs.

    Raises
    ------
    ValueError
        The network is not built, or the inputs have another shape than it was built for.

    Examples
    --------
    >>> from ironlearn.nn.layers import Dense, Sequential
    >>> net = Sequential([Dense(3)]).initialize((2,))
    >>> predict(net, np.ones((5, 2), np.float32)).shape
    (5, 3)
    """
    require_built(network)
    if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
        raise InvalidParameterError(f"batch_size must be an int >= 1, got {batch_size!r}.")
    x = tuple(np.asarray(part) for part in x) if isinstance(x, tuple) else np.asarray(x)
    where = get_device(device)
    network.to_device(where)
    dtype = dtype_of(network)
    n = count(x)
    outputs = []
    # One empty batch gives the outputs of no samples their shape.
    for start in range(0, max(n, 1), batch_size):
        part = take(x, slice(start, start + batch_size))
        with no_grad():
            outputs.append(receive(where, network(*tensors(where, part, dtype), mode=INFERENCE)))
    return join(outputs)


def evaluate(
    network: Layer,
    loss: Any,
    data: Any,
    *,
    metrics: str | Sequence[str | Metric] | Mapping[str, Metric] | None = "auto",
    device: str | Device = "cpu",
) -> dict[str, float]:
    """Return the loss and the metrics of `network` over `data`, weighted means.

    Parameters
    ----------
    network : Layer
        A built network.
    loss : str or Loss
        The loss.
    data : Batches or (x, y) or (x, y, weights)
        What to measure on; of a source of batches, the first epoch.
    metrics : optional
        As in `Trainer`.
    device : str or Device, default="cpu"
        Where to compute.

    Examples
    --------
    >>> from ironlearn.nn.layers import Dense, Sequential
    >>> net = Sequential([Dense(3)]).initialize((2,))
    >>> sorted(evaluate(net, "cross_entropy", (np.ones((5, 2)), np.arange(5) % 3)))
    ['accuracy', 'loss']
    """
    from ironlearn.nn.losses import get_loss

    require_built(network)
    loss = get_loss(loss)
    where = get_device(device)
    network.to_device(where)
    found = metrics if isinstance(metrics, Mapping) else resolve(metrics, loss.name)
    totals = Totals(list(found))
    dtype = dtype_of(network)
    for x, y, weights in as_batches(data).batches(0, epoch_generator(0, 0)):
        outputs, value = _measured(network, loss, where, dtype, x, y, weights)
        weight = float(count(x) if weights is None else weights.sum())
        values = {"loss": value}
        if found:
            values |= measure(found, outputs, y, weights)
        totals.add(weight, values)
    if totals.weight == 0:
        raise DataError("there is nothing to measure on: all weights are zero.")
    return totals.means()


def _measured(
    network: Layer,
    loss: Any,
    device: Device,
    dtype: np.dtype[Any],
    x: Inputs,
    y: Any,
    weights: NDArray[Any] | None,
) -> tuple[Any, float]:
    """Return the outputs and the loss of a batch."""
    with no_grad():
        outputs = network(*tensors(device, x, dtype), mode=INFERENCE)
        value = loss(
            outputs,
            send(device, y, dtype),
            send(device, weights, dtype),
        )
    return receive(device, outputs), float(device.receive(value.data))
