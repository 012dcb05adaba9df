"""Who computes training steps: operation by operation, or many steps in one native call."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ironlearn.nn.autograd import RowGradient, Tensor, backward, no_grad
from ironlearn.nn.backend.device import Device, get_device
from ironlearn.nn.data import ArrayData, Batch, Batches, count, epoch_generator, join, take
from ironlearn.nn.diagnosis import keep_buffers
from ironlearn.nn.inference import check_labels, dtype_of, fits, receive, scaled, send, tensors
from ironlearn.nn.layers.base import Layer, Mode
from ironlearn.nn.metrics import Metric, Totals, accuracy, measure
from ironlearn.nn.precision import Precision

if TYPE_CHECKING:
    from ironlearn.nn.plan import LoweredNetwork

#: The samples' summed weight in a step, and the weighted means of the loss and the metrics.
Measured = tuple[float, dict[str, float]]


class NotFinite(Exception):
    """A step of a call gave a loss or a gradient that is not finite; the steps before are done.

    Attributes
    ----------
    done : list
        What the steps before it measured.
    what : str
        ``"the loss"`` or ``"a gradient"``.
    batch : tuple
        The batch that did it.
    mode : Mode
        As it was computed.
    """

    def __init__(self, done: list[Measured], what: str, batch: Batch, mode: Mode) -> None:
        super().__init__(what)
        self.done = done
        self.what = what
        self.batch = batch
        self.mode = mode


class Pulled:
    """An epoch's steps, fetched when they are asked for and kept until they are done.

    Each walk begins with the first step that is not done. What fetching raised is raised again
    there by every later walk.

    Parameters
    ----------
    source : iterator
        The steps.

    Examples
    --------
    >>> pulled = Pulled(iter("abc"))
    >>> next(iter(pulled)), list(pulled), pulled.done(2), list(pulled)
    ('a', ['a', 'b', 'c'], ['a', 'b'], ['c'])
    """

    def __init__(self, source: Iterator[Any]) -> None:
        self._source = source
        self._kept: list[Any] = []
        self._error: BaseException | None = None

    def __iter__(self) -> Iterator[Any]:
        yield from self._kept
        while True:
            if self._error is not None:
                raise self._error
            try:
                step = next(self._source)
            except StopIteration:
                return
            except Exception as error:
                self._error = error
                raise
            self._kept.append(step)
            yield step

    def more(self) -> bool:
        """Tell whether there is a step that is not done."""
        return any(True for _ in self)

    def done(self, n: int) -> list[Any]:
        """Forget the first `n` steps, and return them."""
        done, self._kept = self._kept[:n], self._kept[n:]
        return done


class Eager:
    """Training steps through the tape: any network, any device.

    Parameters
    ----------
    network, loss, optimizer, metrics, device, seed
        As in `Trainer`, resolved.
    accumulate : int
        Batches a step.
    precision : Precision
        In which the network computes.
    """

    name = "eager"
    #: Steps that the next call should have.
    size = 1

    def __init__(
        self,
        network: Layer,
        loss: Any,
        optimizer: Any,
        metrics: Mapping[str, Metric],
        device: Device,
        seed: int,
        accumulate: int,
        precision: Precision,
    ) -> None:
        self.network = network
        self.loss = loss
        self.optimizer = optimizer
        self.metrics = metrics
        self.device = device
        self.seed = seed
        self.accumulate = accumulate
        self.precision = precision
        self.dtype = dtype_of(network)
        self.buffers = list(network.named_buffers().values())

    def steps(self, data: Batches, epoch: int, start: int) -> Iterator[list[Batch]]:
        """Yield the batches of each step of `epoch`, from batch `start` on."""
        stream = data.batches(epoch, epoch_generator(self.seed, epoch), start)
        while group := list(itertools.islice(stream, self.accumulate)):
            yield group

    def run(
        self, steps: Iterable[list[Batch]], rates: Sequence[float], first: int
    ) -> list[Measured]:
        """Take `steps`, one for each learning rate, or as many as there are.

        Parameters
        ----------
        steps : iterable of list of batches
        rates : sequence of float
        first : int
            Number of the first step.

        Returns
        -------
        list
            What the steps measured; there may be fewer than asked for, but not none.

        Raises
        ------
        NotFinite
            A loss or a gradient is not finite; the network is as before that step.
        """
        done: list[Measured] = []
        # The rates first: no step is fetched for which there is none.
        for i, (rate, batches) in enumerate(zip(rates, steps, strict=False)):
            put_back = keep_buffers(self.buffers)
            try:
                done.append(self._step(batches, rate, first + i, done, put_back))
            except BaseException:
                self.optimizer.zero_grad()
                put_back()
                raise
        return done

    def _step(
        self,
        batches: list[Batch],
        rate: float,
        step: int,
        done: list[Measured],
        put_back: Callable[[], None],
    ) -> Measured:
        totals = Totals(list(self.metrics))
        gradients: list[Any] | None = None
        weights, whole = weights_of(batches)
        with self.precision.computing(), self.precision.copies():
            for part, (batch, weight) in enumerate(zip(batches, weights, strict=True)):
                mode = self._mode(step, part)
                outputs, value = self._forward(batch, mode)[:2]
                values = {"loss": float(self.device.receive(value.data))}
                if not math.isfinite(values["loss"]):
                    raise NotFinite(done, f"the loss became {values['loss']}", batch, mode)
                self._backward(value, weight, whole, len(batches))
                gradients = self.precision.collect(gradients)
                if self.metrics:
                    _, y, w = batch
                    values |= measure(self.metrics, receive(self.device, outputs), y, w)
                totals.add(weight, values)
        self.precision.give(gradients)
        scale = self.precision.scale
        with self.precision.computing():
            sound = self._gradients_finite()
        if not sound:
            if scale is None or not scale.overflowed():
                raise NotFinite(done, "a gradient became NaN or infinite", batch, mode)
            self.optimizer.zero_grad()
            put_back()
            return whole, totals.means()
        self.optimizer.step(rate)
        if scale is not None:
            scale.succeeded()
        return whole, totals.means()

    def _mode(self, step: int, part: int) -> Mode:
        # Each batch of a step draws other random numbers.
        return Mode(training=True, seed=self.seed, step=step * self.accumulate + part)

    def _forward(self, batch: Batch, mode: Mode) -> tuple[Any, Tensor, Any, Any]:
        """Return the outputs, the loss, and the targets and weights on the device."""
        x, y, w = batch
        inputs = self.precision.inputs(tensors(self.device, x, self.dtype))
        outputs = self.precision.outputs(self.network(*inputs, mode=mode))
        check_labels(self.loss, outputs, y)
        targets, weights = send(self.device, y, self.dtype), send(self.device, w, self.dtype)
        return outputs, self.loss(outputs, targets, weights), targets, weights

    def _backward(self, value: Tensor, weight: float, whole: float, parts: int) -> None:
        share = 1.0
        if parts > 1:
            share = weight / whole if whole > 0 else 0.0
        if self.precision.scale is not None:
            share *= self.precision.scale.value
        if parts == 1 and share == 1.0:
            backward(value)
        else:
            with self.device.context():
                grad = self.device.xp.full((), share, dtype=value.dtype)
            backward(value, grad)

    def _gradients_finite(self) -> bool:
        # A sum is finite only if its terms are; one number leaves the device.
        sums = [part.sum() for part in self._gradients()]
        if not sums:
            return True
        return math.isfinite(float(self.device.receive(sum(sums[1:], sums[0]))))

    def _gradients(self) -> list[Any]:
        """Return the arrays that the gradients are made of."""
        grads = [p.grad for p in self.optimizer.parameters if p.grad is not None]
        return [
            part
            for grad in grads
            for part in ([g for _, g in grad.parts] if isinstance(grad, RowGradient) else [grad])
        ]


def weights_of(batches: list[Batch]) -> tuple[list[float], float]:
    """Return the samples' summed weight in each batch and in all."""
    weights = [float(count(x) if w is None else w.sum()) for x, _, w in batches]
    return weights, sum(weights)


def reason_against_plan(
    metrics: Mapping[str, Metric], accumulate: int, precision: str = "float32"
) -> str:
    """Return what a plan cannot do of these settings; empty if there is nothing."""
    if precision != "float32":
        return f"the precision {precision} has no lowering"
    other = [name for name, metric in metrics.items() if metric is not accuracy]
    if other:
        return f"the metric {other[0]} has no lowering"
    if accumulate > 1:
        return "accumulating gradients has no lowering"
    return ""


class Planned:
    """Training steps in native code, many in one call.

    Parameters
    ----------
    network : Layer
        A chain of known layers.
    plan : LoweredNetwork
        It, lowered with its loss and its optimizer.
    metrics : dict
        Nothing, or the accuracy.
    seed : int
        As in `Trainer`.

    Notes
    -----
    A call has as many steps as take about `seconds`: enough to make the way in and out of native
    code cheap, few enough to hear Ctrl-C and to show progress. What is computed does not depend on
    where calls begin and end.
    """

    name = "plan"
    #: Length of a call.
    seconds = 0.05

    def __init__(
        self, network: Layer, plan: LoweredNetwork, metrics: Mapping[str, Metric], seed: int
    ) -> None:
        self.network = network
        self.plan = plan
        self.metrics = metrics
        self.seed = seed
        self.size = 1
        self._data: ArrayData | None = None
        self._arrays: tuple[Any, Any, Any] = (None, None, None)

    def steps(self, data: Batches, epoch: int, start: int) -> Iterator[Any]:
        """Yield each step of `epoch`, from batch `start` on: its row numbers, or its batch."""
        rng = epoch_generator(self.seed, epoch)
        if self._prepare(data):
            assert isinstance(data, ArrayData)
            yield from data.rows(epoch, rng, start)
        else:
            for batch in data.batches(epoch, rng, start):
                yield [batch]

    def _prepare(self, data: Batches) -> bool:
        """Tell whether native code may pick the rows itself; get the arrays ready for it."""
        if data is self._data:
            return True
        if not isinstance(data, ArrayData) or data.transform is not None or data.y is None:
            return False
        if isinstance(data.x, tuple) or isinstance(data.y, tuple):
            return False
        if data.x.dtype == np.uint8 or (isinstance(data.x, np.memmap) and not _ready(data.x)):
            # Turning all of it into another type would take the memory that the user saved.
            return False
        self._check(data.x)
        weights = data.sample_weight
        self._arrays = (
            self.plan._samples(data.x),
            self.plan._targets(data.y, data.n_samples),
            None if weights is None else weights.astype(np.float32),
        )
        self._data = data
        return True

    def _check(self, x: Any) -> None:
        """Refuse inputs of a wrong shape, in the words of the layer that they do not fit."""
        if not fits(self.network, x):
            first = take(x, slice(0, 1))
            with no_grad():
                self.network(*tensors(get_device("cpu"), first, np.dtype(np.float32)))

    def run(self, steps: Iterable[Any], rates: Sequence[float], first: int) -> list[Measured]:
        """Take `steps`, the first of which has the number `first`, at learning `rates`.

        Raises
        ------
        NotFinite
            A loss is not finite; the network is as before that step.
        """
        steps = list(itertools.islice(steps, len(rates)))
        rates = list(rates[: len(steps)])
        started = time.perf_counter()
        picked = isinstance(steps[0], np.ndarray)
        if picked:
            x, y, weights = self._arrays
            rows = steps
        else:
            batches: list[Batch] = [step[0] for step in steps]
            sizes = [count(x) for x, _, _ in batches]
            ends = list(itertools.accumulate(sizes, initial=0))
            rows = [np.arange(a, b) for a, b in itertools.pairwise(ends)]
            x = join([x for x, _, _ in batches])
            self._check(x)
            x = scaled(x, np.dtype(np.float32))
            y = join([y for _, y, _ in batches])
            weights = None
            if any(w is not None for _, _, w in batches):
                weights = np.concatenate(
                    [
                        np.ones(n, np.float32) if w is None else w.astype(np.float32)
                        for (_, _, w), n in zip(batches, sizes, strict=True)
                    ]
                )
        answer = self.plan.train(
            x, y, rows, rates=rates, weights=weights, seed=self.seed, first_draw=first
        )
        done: list[Measured] = []
        for i, loss in enumerate(answer.losses.tolist()):
            weight = float(len(rows[i]) if weights is None else weights[rows[i]].sum())
            values = {"loss": loss}
            for name in self.metrics:
                values[name] = float(answer.hits[i])
            done.append((weight, values))
        if answer.diverged is not None:
            batch = (
                (take(x, rows[len(done)]), take(y, rows[len(done)]), take(weights, rows[len(done)]))
                if picked
                else batches[len(done)]
            )
            mode = Mode(training=True, seed=self.seed, step=first + len(done))
            raise NotFinite(done, f"the loss became {answer.diverged}", batch, mode)
        elapsed = max(time.perf_counter() - started, 1e-9)
        fit = int(self.seconds / elapsed * len(steps))
        self.size = max(1, min(fit, 4 * self.size, 4096))
        return done


def _ready(x: NDArray[Any]) -> bool:
    """Tell whether native code takes the array as it lies there."""
    return bool(x.flags.c_contiguous and x.dtype in (np.float32, np.int32))
