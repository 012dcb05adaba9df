"""Running a network over data: predicting and measuring."""

from __future__ import annotations

import operator
import weakref
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ironlearn.exceptions import DataError, InvalidParameterError
from ironlearn.nn.autograd import Tensor, no_grad
from ironlearn.nn.backend.device import Array, Device, get_device
from ironlearn.nn.data import Inputs, as_batches, count, epoch_generator, join, take
from ironlearn.nn.layers.base import INFERENCE, Layer, Parameter
from ironlearn.nn.layers.sequential import Sequential
from ironlearn.nn.losses import Loss, get_loss
from ironlearn.nn.metrics import Metric, Totals, measure, resolve
from ironlearn.nn.plan import lower_for_prediction


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
    return tuple(Tensor(send(device, scaled(part, dtype), dtype)) for part in parts)


def scaled(part: Any, dtype: np.dtype[Any]) -> Any:
    """Return bytes as numbers from 0 to 1; other arrays as they are."""
    if part.dtype != np.uint8:
        return part
    return part.astype(dtype) * dtype.type(1.0 / 255.0)


def check_labels(loss: Loss, outputs: Any, y: Any) -> None:
    """Refuse class numbers that have no logit; in sequences negative ones mark what is left out."""
    if loss.name != "cross_entropy" or not isinstance(y, np.ndarray) or y.dtype.kind not in "iu":
        return
    classes = outputs.shape[-1]
    low, high = int(y.min(initial=0)), int(y.max(initial=0))
    if high >= classes or (low < 0 and y.ndim == 1):
        bad = high if high >= classes else low
        raise ValueError(
            f"a target is the class {bad}, but the network has {classes} outputs, for the classes "
            f"0 to {classes - 1}."
        )


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


#: Lowered networks, each with the parameters that its network had then.
_plans: weakref.WeakKeyDictionary[Layer, tuple[Any, list[Parameter]]] = weakref.WeakKeyDictionary()


def plan_of(network: Layer, device: Device, *, unchanged: bool = False) -> Any:
    """Return `network` lowered for prediction, or ``None`` where it cannot be.

    Parameters
    ----------
    network : Layer
        A built network.
    device : Device
        Where it computes.
    unchanged : bool, default=False
        Its layers are those of the call before; this need not be found out.
    """
    if device.name != "cpu" or not isinstance(network, Sequential):
        return None
    known = _plans.get(network)
    if known is None or not (unchanged or _same(known[1], network.parameters())):
        known = lower_for_prediction(network)[0], network.parameters()
        _plans[network] = known
    plan, parameters = known
    # The arrays may have become others, of another type or elsewhere.
    ready = all(type(p.data) is np.ndarray and p.data.dtype == np.float32 for p in parameters)
    return plan if ready else None


def fits(network: Layer, x: Inputs) -> bool:
    """Tell whether a lowered network takes inputs of this shape."""
    return not isinstance(x, tuple) and x.shape[1:] == network.input_shape


def _same(some: list[Parameter], others: list[Parameter]) -> bool:
    return len(some) == len(others) and all(map(operator.is_, some, others))


def predict(
    network: Layer,
    x: Inputs,
    *,
    batch_size: int = 256,
    device: str | Device = "cpu",
    executor: str = "auto",
    version: int | None = None,
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
    executor : {"auto", "eager"}, default="auto"
        ``"auto"`` computes chains of known layers on the CPU in one native call.
    version : int, optional
        Names a state of the network: calls with equal versions promise that nothing has changed
        since the first of them. One sample then takes microseconds.

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
    if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
        raise InvalidParameterError(f"batch_size must be an int >= 1, got {batch_size!r}.")
    run = _Runner(network, device, executor, version)
    x = tuple(np.asarray(part) for part in x) if isinstance(x, tuple) else np.asarray(x)
    n = count(x)
    if run.plan is not None:
        # Native code takes samples in small chunks itself; batches only bound what is converted.
        batch_size = max(batch_size, 4096)
    if n <= batch_size:
        return run(x)
    return join([run(take(x, slice(i, i + batch_size))) for i in range(0, n, batch_size)])


class _Runner:
    """Computes a network's outputs of one batch after another."""

    def __init__(
        self, network: Layer, device: str | Device, executor: str, version: int | None = None
    ) -> None:
        require_built(network)
        if executor not in ("auto", "eager", "plan"):
            raise InvalidParameterError(
                f"executor must be 'auto', 'eager' or 'plan', got {executor!r}."
            )
        self.network = network
        self.device = get_device(device)
        self.version = version
        self.plan: Any = None
        if executor != "eager":
            self.plan = plan_of(network, self.device, unchanged=version is not None)
            self.dtype = np.dtype(np.float32)
        if self.plan is None:
            # Where the parameters were elsewhere, this call is eager and the next may be lowered.
            network.to_device(self.device)
            self.dtype = dtype_of(network)

    def __call__(self, x: Inputs) -> Any:
        if self.plan is not None and fits(self.network, x):
            return self.plan.predict(scaled(x, self.dtype), version=self.version)
        # Also where the shape is wrong: the layer that refuses it says so best.
        with no_grad():
            return receive(
                self.device,
                self.network(*tensors(self.device, x, self.dtype), mode=INFERENCE),
            )


def evaluate(
    network: Layer,
    loss: Any,
    data: Any,
    *,
    metrics: str | Sequence[str | Metric] | Mapping[str, Metric] | None = "auto",
    device: str | Device = "cpu",
    executor: str = "auto",
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
    executor : {"auto", "eager"}, default="auto"
        As in `predict`.

    Returns
    -------
    dict of str to float
        ``loss`` and each metric.

    Raises
    ------
    DataError
        All weights are zero.

    Examples
    --------
    >>> from ironlearn.nn.layers import Dense, Sequential
    >>> net = Sequential([Dense(3)]).initialize((2,))
    >>> sorted(evaluate(net, "cross_entropy", (np.ones((5, 2)), np.arange(5) % 3)))
    ['accuracy', 'loss']
    """
    loss = get_loss(loss)
    run = _Runner(network, device, executor)
    found = metrics if isinstance(metrics, Mapping) else resolve(metrics, loss.name)
    totals = Totals(list(found))
    for x, y, weights in as_batches(data).batches(0, epoch_generator(0, 0)):
        outputs = run(x)
        check_labels(loss, outputs, y)
        with no_grad():
            value = loss(
                _as_tensors(run.device, outputs),
                send(run.device, y, run.dtype),
                send(run.device, weights, run.dtype),
            )
        values = {"loss": float(run.device.receive(value.data))}
        if found:
            values |= measure(found, outputs, y, weights)
        totals.add(float(count(x) if weights is None else weights.sum()), values)
    if totals.weight == 0:
        raise DataError("there is nothing to measure on: all weights are zero.")
    return totals.means()


def _as_tensors(device: Device, outputs: Any) -> Any:
    if isinstance(outputs, tuple):
        return tuple(_as_tensors(device, part) for part in outputs)
    return Tensor(device.send(outputs))
