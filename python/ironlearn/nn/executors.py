"""Who computes training steps: operation by operation, or many steps in one native call."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from typing import Any

from ironlearn.nn.autograd import backward
from ironlearn.nn.backend.device import Device
from ironlearn.nn.data import Batch, Batches, count, epoch_generator
from ironlearn.nn.diagnosis import keep_buffers
from ironlearn.nn.inference import dtype_of, receive, send, tensors
from ironlearn.nn.layers.base import Layer, Mode
from ironlearn.nn.metrics import Metric, Totals, measure

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


class Eager:
    """Training steps through the tape: any network, any device.

    Parameters
    ----------
    network, loss, optimizer, metrics, device, seed
        As in `Trainer`, resolved.
    accumulate : int
        Batches a step.
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
    ) -> None:
        self.network = network
        self.loss = loss
        self.optimizer = optimizer
        self.metrics = metrics
        self.device = device
        self.seed = seed
        self.accumulate = accumulate
        self.dtype = dtype_of(network)
        self.buffers = list(network.named_buffers().values())

    def steps(self, data: Batches, epoch: int, start: int) -> Iterator[list[Batch]]:
        """Yield the batches of each step of `epoch`, from batch `start` on."""
        stream = data.batches(epoch, epoch_generator(self.seed, epoch), start)
        while group := list(itertools.islice(stream, self.accumulate)):
            yield group

    def run(self, steps: list[list[Batch]], rates: list[float], first: int) -> list[Measured]:
        """Take `steps`, the first of which has the number `first`, at learning `rates`.

        Raises
        ------
        NotFinite
            A loss or a gradient is not finite; the network is as before that step.
        """
        done: list[Measured] = []
        for i, (batches, rate) in enumerate(zip(steps, rates, strict=True)):
            put_back = keep_buffers(self.buffers)
            try:
                done.append(self._step(batches, rate, first + i, done))
            except BaseException:
                self.optimizer.zero_grad()
                put_back()
                raise
        return done

    def _step(self, batches: list[Batch], rate: float, step: int, done: list[Measured]) -> Measured:
        weights = [float(count(x) if w is None else w.sum()) for x, _, w in batches]
        whole = sum(weights)
        totals = Totals(list(self.metrics))
        for part, (batch, weight) in enumerate(zip(batches, weights, strict=True)):
            x, y, w = batch
            # Each batch of a step draws other random numbers.
            mode = Mode(training=True, seed=self.seed, step=step * self.accumulate + part)
            outputs = self.network(*tensors(self.device, x, self.dtype), mode=mode)
            value = self.loss(
                outputs, send(self.device, y, self.dtype), send(self.device, w, self.dtype)
            )
            values = {"loss": float(self.device.receive(value.data))}
            if not math.isfinite(values["loss"]):
                raise NotFinite(done, f"the loss became {values['loss']}", batch, mode)
            if len(batches) == 1:
                backward(value)
            else:
                share = weight / whole if whole > 0 else 0.0
                backward(value, self.device.xp.full((), share, dtype=value.dtype))
            if self.metrics:
                values |= measure(self.metrics, receive(self.device, outputs), y, w)
            totals.add(weight, values)
        if not self._gradients_finite():
            raise NotFinite(done, "a gradient became NaN or infinite", batch, mode)
        self.optimizer.step(rate)
        return whole, totals.means()

    def _gradients_finite(self) -> bool:
        # A sum is finite only if its terms are; one number leaves the device.
        sums = [p.grad.sum() for p in self.optimizer.parameters if p.grad is not None]
        if not sums:
            return True
        return math.isfinite(float(self.device.receive(sum(sums[1:], sums[0]))))
