"""Running a network over data: predicting and measuring."""

from __future__ import annotations

import contextlib
import operator
import traceback
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ironlearn.exceptions import DataError, InvalidParameterError
from ironlearn.nn.autograd import Tensor, no_grad
from ironlearn.nn.backend.device import Array, Device, get_device
from ironlearn.nn.data import Batch, Inputs, as_batches, count, epoch_generator, join, take
from ironlearn.nn.layers.base import INFERENCE, Layer, Parameter
from ironlearn.nn.layers.sequential import Sequential
from ironlearn.nn.losses import Loss, get_loss
from ironlearn.nn.metrics import (
    Metric,
    Totals,
    measure,
    measure_there,
    resolve,
    stays_on_device,
)
from ironlearn.nn.plan import lower_for_prediction
from ironlearn.nn.precision import Precision


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
    return tuple(Tensor(_input(device, part, dtype)) for part in parts)


def _input(device: Device, part: Any, dtype: np.dtype[Any]) -> Array:
    if not device.asynchronous or part.dtype != np.uint8:
        return send(device, scaled(part, dtype), dtype)
    # A quarter of the bytes to copy, and the device turns them into the same numbers.
    with device.context():
        return scaled(device.send(part), dtype)


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


def no_memory(device: Device, error: BaseException, what: str, advice: str) -> MemoryError:
    """Return the error to raise where a device found no memory.

    Parameters
    ----------
    device : Device
        The device.
    error : BaseException
        What it raised. The arrays of the computation that it ended are let go.
    what : str
        What was computed, with the size of its batches.
    advice : str
        What would need less.
    """
    traceback.clear_frames(error.__traceback__)
    memory = device.memory()
    free = ""
    if memory is not None:
        free = f"; {memory[0] / 2**20:.0f} of its {memory[1] / 2**20:.0f} MiB are free without it"
    return MemoryError(f"{device.name} ran out of memory in {what}{free}. {advice}. ({error})")


def detached(outputs: Any) -> Any:
    """Return a network's outputs without the tape that they hang on."""
    if isinstance(outputs, tuple | list):
        return tuple(detached(output) for output in outputs)
    return outputs.detach()


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
    precision: str = "float32",
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
    precision : {"float32", "tf32", "float16", "bfloat16"}, default="float32"
        As in `Trainer`; outputs of the 16-bit types come back as float32. While the call lasts, the
        network has its parameters in that type: other threads must not use it then.
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
    MemoryError
        The device has no memory for a batch.

    Examples
    --------
    >>> from ironlearn.nn.layers import Dense, Sequential
    >>> net = Sequential([Dense(3)]).initialize((2,))
    >>> predict(net, np.ones((5, 2), np.float32)).shape
    (5, 3)
    """
    if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
        raise InvalidParameterError(f"batch_size must be an int >= 1, got {batch_size!r}.")
    run = _Runner(network, device, executor, precision, version)
    x = tuple(np.asarray(part) for part in x) if isinstance(x, tuple) else np.asarray(x)
    n = count(x)
    if run.plan is not None:
        # Native code takes samples in small chunks itself; batches only bound what is converted.
        batch_size = max(batch_size, 4096)
    if n <= batch_size:
        with run.guarded(n):
            return run(x)
    parts: list[Any] = []
    waiting: list[Any] = []
    with run.guarded(batch_size):
        for i in range(0, n, batch_size):
            part = take(x, slice(i, i + batch_size))
            if not run.device.asynchronous:
                parts.append(run(part))
                continue
            # Outputs of several batches are fetched together: each time waits for the device.
            waiting.append(run.arrays(part))
            if _size(waiting) >= _FETCHED_BYTES:
                parts.append(run.fetch(waiting))
                waiting = []
        if waiting:
            parts.append(run.fetch(waiting))
    return join(parts)


#: Outputs of about so many bytes are fetched together.
_FETCHED_BYTES = 1 << 24


def _size(outputs: Any) -> int:
    if isinstance(outputs, tuple | list):
        return sum(_size(part) for part in outputs)
    return int(outputs.nbytes)


class _Runner:
    """Computes a network's outputs of one batch after another."""

    def __init__(
        self,
        network: Layer,
        device: str | Device,
        executor: str,
        precision: str = "float32",
        version: int | None = None,
    ) -> None:
        require_built(network)
        if executor not in ("auto", "eager", "plan"):
            raise InvalidParameterError(
                f"executor must be 'auto', 'eager' or 'plan', got {executor!r}."
            )
        if executor == "plan" and precision != "float32":
            raise InvalidParameterError(
                f"executor='plan' computes in float32 only, precision is {precision!r}."
            )
        self.network = network
        self.device = get_device(device)
        self.version = version
        self.plan: Any = None
        self.precision: Precision | None = None
        if executor != "eager" and precision == "float32":
            self.plan = plan_of(network, self.device, unchanged=version is not None)
            self.dtype = np.dtype(np.float32)
        if self.plan is None:
            # Where the parameters were elsewhere, this call is eager and the next may be lowered.
            network.to_device(self.device)
            self.dtype = dtype_of(network)
            if precision != "float32":
                self.precision = Precision(precision, network, self.device)

    def __call__(self, x: Inputs) -> Any:
        if self.plan is not None and fits(self.network, x):
            return self.plan.predict(scaled(x, self.dtype), version=self.version)
        # Also where the shape is wrong: the layer that refuses it says so best.
        return receive(self.device, self.tensors(x))

    def tensors(self, x: Inputs) -> Any:
        """Return the outputs of a batch on the device."""
        with no_grad():
            inputs = tensors(self.device, x, self.dtype)
            if self.precision is None:
                return self.network(*inputs, mode=INFERENCE)
            inputs = self.precision.inputs(inputs)
            return self.precision.outputs(self.network(*inputs, mode=INFERENCE))

    def arrays(self, x: Inputs) -> Any:
        """Return the outputs of a batch as arrays of the device."""
        return _data(self.tensors(x))

    def fetch(self, outputs: list[Any]) -> Any:
        """Return outputs of several batches, joined, as NumPy arrays."""
        if isinstance(outputs[0], tuple):
            return tuple(self.fetch(list(part)) for part in zip(*outputs, strict=True))
        with self.device.context():
            return self.device.receive(self.device.xp.concatenate(outputs))

    @contextlib.contextmanager
    def guarded(self, batch_size: int | None = None) -> Iterator[None]:
        """Compute in the precision that was asked for; say what was too large for the memory."""
        try:
            with self.device.context():
                if self.precision is None:
                    yield
                else:
                    with self.precision.computing(), self.precision.copies():
                        yield
        except self.device.out_of_memory as error:
            size = "" if batch_size is None else f" of {batch_size} samples"
            raise no_memory(
                self.device, error, f"computing batches{size}", "A smaller batch_size needs less"
            ) from None


def evaluate(
    network: Layer,
    loss: Any,
    data: Any,
    *,
    metrics: str | Sequence[str | Metric] | Mapping[str, Metric] | None = "auto",
    device: str | Device = "cpu",
    executor: str = "auto",
    precision: str = "float32",
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
    precision : {"float32", "tf32", "float16", "bfloat16"}, default="float32"
        As in `predict`.

    Returns
    -------
    dict of str to float
        ``loss`` and each metric.

    Raises
    ------
    DataError
        All weights are zero.
    MemoryError
        The device has no memory for a batch.

    Examples
    --------
    >>> from ironlearn.nn.layers import Dense, Sequential
    >>> net = Sequential([Dense(3)]).initialize((2,))
    >>> sorted(evaluate(net, "cross_entropy", (np.ones((5, 2)), np.arange(5) % 3)))
    ['accuracy', 'loss']
    """
    loss = get_loss(loss)
    run = _Runner(network, device, executor, precision)
    found = metrics if isinstance(metrics, Mapping) else resolve(metrics, loss.name)
    batches = as_batches(data)
    measure_all = _measure_queued if run.device.asynchronous else _measure
    with run.guarded(batches.batch_size):
        totals = measure_all(run, loss, found, batches.batches(0, epoch_generator(0, 0)))
    if totals.weight == 0:
        raise DataError("there is nothing to measure on: all weights are zero.")
    return totals.means()


def _measure(
    run: _Runner, loss: Loss, metrics: Mapping[str, Metric], batches: Iterable[Batch]
) -> Totals:
    totals = Totals(list(metrics))
    for x, y, weights in batches:
        outputs = run(x)
        check_labels(loss, outputs, y)
        with no_grad():
            value = loss(
                _as_tensors(run.device, outputs),
                send(run.device, y, run.dtype),
                send(run.device, weights, run.dtype),
            )
        values = {"loss": float(run.device.receive(value.data))}
        if metrics:
            values |= measure(metrics, outputs, y, weights)
        totals.add(float(count(x) if weights is None else weights.sum()), values)
    return totals


def _measure_queued(
    run: _Runner, loss: Loss, metrics: Mapping[str, Metric], batches: Iterable[Batch]
) -> Totals:
    """Measure without waiting for the device, but where a metric needs outputs on the host."""
    totals = Totals(list(metrics))
    names = ["loss", *metrics]
    waiting: list[Array] = []
    known: list[dict[str, float]] = []
    heavy: list[float] = []

    def settle() -> None:
        numbers = iter(gathered(run.device, waiting).tolist())
        for weight, values in zip(heavy, known, strict=True):
            totals.add(weight, {n: values[n] if n in values else next(numbers) for n in names})
        for part in (waiting, known, heavy):
            part.clear()

    for x, y, w in batches:
        outputs = run.tensors(x)
        check_labels(loss, outputs, y)
        targets, weights = send(run.device, y, run.dtype), send(run.device, w, run.dtype)
        heavy.append(float(count(x) if w is None else w.sum()))
        with no_grad(), run.device.context():
            waiting.append(loss(outputs, targets, weights).data)
            if stays_on_device(metrics, outputs, targets):
                waiting += measure_there(metrics, outputs.data, targets, weights, heavy[-1])
                known.append({})
            else:
                known.append(measure(metrics, receive(run.device, outputs), y, w))
        if len(waiting) >= _MOST_WAITING:
            settle()
    settle()
    return totals


#: Measured numbers that may stay on the device before they are fetched.
_MOST_WAITING = 4096


def _as_tensors(device: Device, outputs: Any) -> Any:
    if isinstance(outputs, tuple):
        return tuple(_as_tensors(device, part) for part in outputs)
    return Tensor(device.send(outputs))


def _data(outputs: Any) -> Any:
    if isinstance(outputs, tuple | list):
        return tuple(_data(part) for part in outputs)
    return outputs.data


def gathered(device: Device, scalars: list[Array]) -> NDArray[np.float64]:
    """Receive scalars of a device in one copy, as double precision.

    Examples
    --------
    >>> gathered(get_device("cpu"), [np.float32(0.5), np.float64(2.0)]).tolist()
    [0.5, 2.0]
    """
    if not scalars:
        return np.zeros(0)
    xp = device.xp
    with device.context():
        places: dict[str, list[int]] = {}
        for i, scalar in enumerate(scalars):
            places.setdefault(str(scalar.dtype), []).append(i)
        # Arrays of one type are joined in one pass.
        joined = [
            xp.stack([scalars[i] for i in rows]).astype(np.float64) for rows in places.values()
        ]
        whole = device.receive(joined[0] if len(joined) == 1 else xp.concatenate(joined))
    numbers = np.empty(len(scalars))
    numbers[[i for rows in places.values() for i in rows]] = whole
    return numbers
