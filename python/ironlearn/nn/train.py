"""The training loop."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Sequence
from typing import Any

from ironlearn import _random
from ironlearn.exceptions import InvalidParameterError
from ironlearn.nn.backend.device import Device, get_device
from ironlearn.nn.callbacks import Callback, EarlyStopping, as_callback
from ironlearn.nn.data import Batch, Batches, as_batches, epoch_generator
from ironlearn.nn.executors import Eager
from ironlearn.nn.history import History
from ironlearn.nn.inference import evaluate, predict, require_built
from ironlearn.nn.layers.base import Layer
from ironlearn.nn.metrics import Metric, Totals, resolve

__all__ = ["History", "Trainer", "evaluate", "predict"]

EXECUTORS = ("auto", "eager", "plan")


class Trainer:
    """Trains a network on batches.

    Parameters
    ----------
    network : Layer
        A built network (see `Sequential.initialize`).
    loss : str or Loss
        What to make small; see `ironlearn.nn.losses`.
    optimizer : str or Optimizer
        How; see `ironlearn.nn.optimizers`.
    schedule : Schedule, optional
        Learning rate of each step; see `ironlearn.nn.schedules`.
    metrics : "auto", sequence of str and callables, or None, default="auto"
        Measured beside the loss; see `ironlearn.nn.metrics`. ``"auto"`` is the accuracy for losses
        of classifiers, else nothing.
    accumulate : int, default=1
        Batches whose gradients are added up before a step, as if they were one batch.
    device : str or Device, default="cpu"
        Where to compute; the network's parameters are moved there.
    executor : {"auto", "eager", "plan"}, default="auto"
        ``"plan"`` runs whole steps in native code, ``"eager"`` operation by operation. ``"auto"``
        takes the plan where the network, the loss, the optimizer and the device allow it.
    random_state : int, RandomState or None, default=0
        Seed of the order of samples, of dropout and noise. ``None`` draws one.
    verbose : int, default=0
        1 shows a progress bar, 2 prints a line for each epoch.
    callbacks : sequence of Callback and callables
        See `ironlearn.nn.callbacks`; a function is called as ``function(trainer, record)`` after
        each epoch and ends the training by returning ``True``.

    Attributes
    ----------
    history_ : History
        What the last run measured.
    interrupted_ : bool
        Ctrl-C ended the last run.
    executor_ : str
        The executor of the last run: ``"eager"`` or ``"plan"``.
    epoch, step : int
        Position of the run: the number of the epoch, and of the optimizer's steps done.
    stop : bool
        Callbacks set it to end the training.

    Examples
    --------
    >>> import numpy as np
    >>> from ironlearn.nn.data import ArrayData
    >>> from ironlearn.nn.layers import Dense, Sequential
    >>> rng = np.random.default_rng(0)
    >>> x = rng.standard_normal((200, 2)).astype(np.float32)
    >>> y = (x.sum(axis=1) > 0).astype(np.int64)
    >>> net = Sequential([Dense(8, "tanh"), Dense(2)]).initialize((2,))
    >>> trainer = Trainer(net, "cross_entropy", "adam")
    >>> history = trainer.fit(ArrayData(x, y, batch_size=10), epochs=20)
    >>> history["accuracy"][-1] > 0.9
    True
    """

    def __init__(
        self,
        network: Layer,
        loss: Any,
        optimizer: Any,
        *,
        schedule: Any = None,
        metrics: str | Sequence[str | Metric] | None = "auto",
        accumulate: int = 1,
        device: str | Device = "cpu",
        executor: str = "auto",
        random_state: Any = 0,
        verbose: int = 0,
        callbacks: Sequence[Any] = (),
    ) -> None:
        from ironlearn.nn.losses import get_loss
        from ironlearn.nn.optimizers import get_optimizer

        if isinstance(accumulate, bool) or not isinstance(accumulate, int) or accumulate < 1:
            raise InvalidParameterError(f"accumulate must be an int >= 1, got {accumulate!r}.")
        if executor not in EXECUTORS:
            raise InvalidParameterError(f"executor must be one of {EXECUTORS}, got {executor!r}.")
        require_built(network)
        self.network = network
        self.loss = get_loss(loss)
        self.optimizer = get_optimizer(optimizer)
        self.schedule = schedule
        self.metrics = resolve(metrics, self.loss.name)
        self.accumulate = accumulate
        self.device = get_device(device)
        self.executor = executor
        self.seed = _random.seed_from(random_state)
        self.verbose = int(verbose)
        self.callbacks = [as_callback(callback) for callback in callbacks]
        network.to_device(self.device)
        self.optimizer.bind(network.parameters())
        self.history_ = History()
        self.interrupted_ = False
        self.error_: BaseException | None = None
        self.executor_ = "eager"
        self.resumed = False
        self.stop = False
        self.epoch = self.position = self.step = 0

    def fit(
        self,
        data: Batches | tuple[Any, ...],
        *,
        epochs: int,
        validation: Batches | tuple[Any, ...] | None = None,
        early_stopping: bool = False,
        patience: int = 10,
        monitor: str = "val_loss",
        checkpoint: Any = None,
        resume: bool = False,
    ) -> History:
        """Train for `epochs` passes over `data`.

        Parameters
        ----------
        data : Batches
            `ArrayData`, `IteratorData` or another source.
        epochs : int
            Passes over the data.
        validation : Batches or (x, y) or (x, y, weights), optional
            Measured after each epoch.
        early_stopping : bool, default=False
            End when `monitor` has not improved for `patience` epochs, and keep the best weights.
        patience : int, default=10
            See `early_stopping`.
        monitor : str, default="val_loss"
            Name of the history that early stopping and schedules watch.

        Returns
        -------
        History
            What was measured.
        """
        if isinstance(epochs, bool) or not isinstance(epochs, int) or epochs < 0:
            raise InvalidParameterError(f"epochs must be an int >= 0, got {epochs!r}.")
        data = as_batches(data)
        validation = None if validation is None else as_batches(validation)
        self.epochs = epochs
        self.data = data
        run = list(self.callbacks)
        if early_stopping:
            run.append(EarlyStopping(monitor, patience))
        self.history_ = History()
        self.stop = self.interrupted_ = False
        self.error_ = None
        self.epoch = self.position = self.step = 0
        self._executor = Eager(
            self.network, self.loss, self.optimizer, self.metrics, self.device, self.seed
        )
        for callback in run:
            callback.on_fit_begin(self)
        try:
            while self.epoch < epochs and not self.stop:
                self._run_epoch(data, validation, run, monitor)
        except BaseException as error:
            self.error_ = error
            raise
        finally:
            for callback in run:
                callback.on_fit_end(self)
        return self.history_

    def _run_epoch(
        self, data: Batches, validation: Batches | None, run: list[Callback], monitor: str
    ) -> None:
        start = time.perf_counter()
        totals = Totals(list(self.metrics))
        rate = self._rate(data)
        for callback in run:
            callback.on_epoch_begin(self)
        for batches in self._groups(data):
            rate = self._rate(data)
            weight, values = self._executor.run(batches, rate, self.step)
            totals.add(weight, values)
            self.position += len(batches)
            self.step += 1
            for callback in run:
                callback.on_steps(self)
            if self.stop:
                return
        record = totals.means()
        if validation is not None:
            measured = evaluate(
                self.network, self.loss, validation, metrics=self.metrics, device=self.device
            )
            record |= {f"val_{name}": value for name, value in measured.items()}
        record["learning_rate"] = rate
        record["seconds"] = time.perf_counter() - start
        if self.schedule is not None:
            self.schedule.observe(record.get(monitor, record["loss"]))
        for callback in run:
            callback.on_epoch_end(self, record)
        self.history_.append(record)
        self.epoch += 1
        self.position = 0

    def _groups(self, data: Batches) -> Iterator[list[Batch]]:
        """Yield the batches of each step that is left of the epoch."""
        stream = data.batches(self.epoch, epoch_generator(self.seed, self.epoch), self.position)
        while group := list(itertools.islice(stream, self.accumulate)):
            yield group

    def _rate(self, data: Batches) -> float:
        base = float(self.optimizer.learning_rate)
        if self.schedule is None:
            return base
        per_epoch = -(-(data.n_batches or 1) // self.accumulate)
        return float(self.schedule.rate(base, self.step, per_epoch, per_epoch * self.epochs))
