"""Training steps on a device that works through a queue: many steps, one wait."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from ironlearn.nn.backend.device import Array
from ironlearn.nn.backend.joined import copied, total
from ironlearn.nn.data import ArrayData, Batch, Batches
from ironlearn.nn.executors import Eager, Measured, NotFinite, weights_of
from ironlearn.nn.inference import detached, gathered, receive
from ironlearn.nn.metrics import Totals, measure, measure_there, stays_on_device


@dataclasses.dataclass
class _Part:
    """What one batch of a queued step measured, still on the device."""

    weight: float
    loss: Array
    metrics: list[Array]
    #: Outputs, targets and weights for metrics that only the host can compute.
    outputs: Any = None
    batch: Batch | None = None


@dataclasses.dataclass
class _Step:
    """One queued step."""

    weight: float
    parts: list[_Part]
    #: Finite only if all gradients are.
    check: Array


class Queued(Eager):
    """Training steps through the tape, many of them before the first answer is waited for.

    Parameters
    ----------
    network, loss, optimizer, metrics, device, seed, accumulate, precision
        As in `Eager`.

    Notes
    -----
    A call queues as many steps as take about `seconds`, as if all numbers were finite, and then
    receives all that they measured at once. Where a step's loss or gradient was not finite, the
    network, the optimizer and the loss's factor get back the values from before the call, which
    were copied on the device; the steps before the bad one are queued again, and that one is taken
    by itself as `Eager` takes it. What is computed does not depend on where calls begin and end.

    Where there is no room for the copies, each step is taken as `Eager` does. Gradients of rows
    (`RowGradient`) make each step wait: how many rows there are decides shapes.
    """

    #: Length of a call.
    seconds = 0.1
    #: Steps of a call at most.
    most = 1024
    #: There is memory for the copies; ``None`` before that is known.
    _room: bool | None = None

    def steps(self, data: Batches, epoch: int, start: int) -> Iterator[list[Batch]]:
        """Yield the batches of each step of `epoch`, from batch `start` on."""
        if isinstance(data, ArrayData):
            return super().steps(data, epoch, start)
        # An iterator may use its arrays again for the next batch; ours are needed for longer.
        return (_copied(step) for step in super().steps(data, epoch, start))

    def run(
        self, steps: Iterable[list[Batch]], rates: Sequence[float], first: int
    ) -> list[Measured]:
        """Take `steps`, one for each learning rate, or as many as there are.

        Raises
        ------
        NotFinite
            A loss or a gradient is not finite; the network is as before that step.
        """
        started = time.perf_counter()
        put_back = self._keep()
        if put_back is None:
            return super().run(steps, rates[:1], first)
        taken: list[list[Batch]] = []
        queued: list[_Step] = []
        complete = 0
        answers: list[Measured | None] = []
        try:
            # The rates first: no step is fetched for which there is none.
            for i, (rate, batches) in enumerate(zip(rates, steps, strict=False)):
                taken.append(batches)
                queued.append(self._queue(batches, first + i))
                self.optimizer.step(rate)
                if self.precision.scale is not None:
                    self.precision.scale.succeeded()
                complete += 1
            answers = self._answers(queued)
        except BaseException as error:
            self.optimizer.zero_grad()
            put_back()
            if not complete and isinstance(error, self.device.out_of_memory):
                # It may fit without the copies.
                self._room = False
            elif not complete or not isinstance(error, Exception):
                raise
        else:
            if None not in answers:
                self._adapt(time.perf_counter() - started, complete)
                return [answer for answer in answers if answer is not None]
            put_back()
            complete = answers.index(None)
        # Out of the handler: what the failed step left in memory is gone by now.
        queued.clear()
        if self._room is False:
            return super().run(taken, rates[:1], first)
        done = self.run(taken[:complete], rates[:complete], first) if complete else []
        if len(done) < complete or not answers:
            # The next call begins with the step that failed, and fails.
            return done
        try:
            bad = slice(complete, complete + 1)
            return done + super().run(taken[bad], rates[bad], first + complete)
        except NotFinite as failure:
            failure.done = done
            raise

    def _adapt(self, elapsed: float, n: int) -> None:
        fit = int(self.seconds / max(elapsed, 1e-9) * n)
        self.size = max(1, min(fit, 4 * self.size, self.most))

    def _queue(self, batches: list[Batch], step: int) -> _Step:
        """Compute the gradients of a step."""
        gradients: list[Any] | None = None
        parts = []
        with self.precision.computing(), self.precision.copies():
            weights, whole = weights_of(batches)
            for number, (batch, weight) in enumerate(zip(batches, weights, strict=True)):
                outputs, value, targets, shares = self._forward(batch, self._mode(step, number))
                self._backward(value, weight, whole, len(batches))
                gradients = self.precision.collect(gradients)
                part = _Part(weight, value.data, [])
                with self.device.context():
                    if stays_on_device(self.metrics, outputs, targets):
                        part.metrics = measure_there(
                            self.metrics, outputs.data, targets, shares, weight
                        )
                    else:
                        part.outputs, part.batch = detached(outputs), batch
                parts.append(part)
        self.precision.give(gradients)
        return _Step(whole, parts, self._check())

    def _check(self) -> Array:
        """Return a number that is finite only if all gradients are."""
        gradients = self._gradients()
        if gradients:
            return total(self.device, gradients)
        with self.device.context():
            return self.device.xp.zeros((), np.float32)

    def _answers(self, queued: list[_Step]) -> list[Measured | None]:
        """Receive what steps measured; ``None`` stands for one that was not finite."""
        scalars: list[Array] = []
        for step in queued:
            scalars.append(step.check)
            for part in step.parts:
                scalars += [part.loss, *part.metrics]
        numbers = iter(gathered(self.device, scalars).tolist())
        answers: list[Measured | None] = []
        for step in queued:
            finite = np.isfinite(next(numbers))
            totals = Totals(list(self.metrics))
            for part in step.parts:
                values = {"loss": next(numbers)}
                finite = finite and np.isfinite(values["loss"])
                if part.batch is None:
                    values |= {name: next(numbers) for name in self.metrics}
                elif finite:
                    _, y, w = part.batch
                    values |= measure(self.metrics, receive(self.device, part.outputs), y, w)
                totals.add(part.weight, values)
            answers.append((step.weight, totals.means()) if finite else None)
        return answers

    def _keep(self) -> Any:
        """Copy on the device what steps change; return a function that puts it back.

        ``None`` where that would take too much memory.
        """
        optimizer = self.optimizer
        parameters = optimizer.parameters
        arrays = [*(p.data for p in parameters), *(b.data for b in self.buffers)]
        for slot in optimizer.slots.values():
            arrays += slot
        if self._room is None:
            memory = self.device.memory()
            self._room = memory is None or 2 * sum(a.nbytes for a in arrays) <= memory[0]
        if not self._room:
            return None
        try:
            copies = copied(self.device, arrays)
        except self.device.out_of_memory:
            self._room = False
            return None
        steps = optimizer.steps
        scale = self.precision.scale
        scaling = None if scale is None else scale.state()

        def put_back() -> None:
            with self.device.context():
                for array, copy in zip(arrays, copies, strict=True):
                    # In place: others may share the array.
                    array[...] = copy
            rest = iter(arrays)
            for holder in (*parameters, *self.buffers):
                holder.data = next(rest)
            for slot in optimizer.slots.values():
                slot[:] = [next(rest) for _ in slot]
            optimizer.steps = steps
            if scale is not None and scaling is not None:
                scale.load_state(scaling)

        return put_back


def _copied(step: list[Batch]) -> list[Batch]:
    return [tuple(_copy(part) for part in batch) for batch in step]


def _copy(part: Any) -> Any:
    if isinstance(part, tuple):
        return tuple(_copy(p) for p in part)
    return None if part is None else np.array(part)
