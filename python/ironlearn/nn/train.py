"""The training loop."""

from __future__ import annotations

import contextlib
import math
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ironlearn import _random
from ironlearn.exceptions import (
    DivergedError,
    InterruptedWarning,
    InvalidParameterError,
    ModelFileError,
)
from ironlearn.nn.backend.device import Device, get_device
from ironlearn.nn.backend.ops.optimizer import SLOTS
from ironlearn.nn.callbacks import (
    Callback,
    Checkpoint,
    EarlyStopping,
    FunctionCallback,
    Progress,
    as_callback,
)
from ironlearn.nn.checkpoint import read_checkpoint, restore
from ironlearn.nn.data import Batches, as_batches, count
from ironlearn.nn.diagnosis import all_finite, first_not_finite
from ironlearn.nn.executors import Eager, NotFinite, Planned, Pulled, reason_against_plan
from ironlearn.nn.history import History
from ironlearn.nn.inference import evaluate, no_memory, predict, require_built
from ironlearn.nn.interrupt import first_ctrl_c
from ironlearn.nn.layers.base import Layer
from ironlearn.nn.losses import get_loss
from ironlearn.nn.metrics import Metric, Totals, resolve
from ironlearn.nn.optimizers import get_optimizer
from ironlearn.nn.plan import lower
from ironlearn.nn.precision import Precision
from ironlearn.nn.queued import Queued
from ironlearn.nn.schedules import Constant, Plateau, WarmUp, get_schedule

__all__ = ["History", "Trainer", "evaluate", "predict"]

EXECUTORS = ("auto", "eager", "plan")
#: A network whose arrays take no more than this is copied at each epoch's start, to go back to.
_COPIED_BYTES = 256 << 20
#: Schedules that need not know how many steps there will be.
_UNPLANNED = (Constant, Plateau, WarmUp)


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
    schedule : str or Schedule, optional
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
    precision : {"float32", "tf32", "float16", "bfloat16"}, default="float32"
        In which to compute. ``"float32"`` is the type of the parameters, whichever it is. With the
        16-bit types, the network computes on copies of its parameters in that type, made for each
        step; parameters, optimizer and losses stay in float32. With float16 the loss is scaled, and
        a step whose gradients overflow is left out (the history counts them as
        ``skipped_steps``). ``"tf32"`` lets a GPU round the factors of products to 10 bits.
    random_state : int, RandomState or None, default=0
        Seed of the order of samples, of dropout and noise. ``None`` draws one.
    verbose : int, default=0
        1 shows a progress bar, 2 prints a line for each epoch.
    callbacks : sequence of Callback and callables
        See `ironlearn.nn.callbacks`; a function is called as ``function(trainer, record)`` after
        each epoch and ends the training by returning ``True``.

    Raises
    ------
    InvalidParameterError
        A parameter is not accepted.
    MemoryError
        The device has no memory for the network.

    Attributes
    ----------
    history_ : History
        What the last run measured.
    interrupted_ : bool
        Ctrl-C ended the last run.
    executor_ : str
        The executor of the last run: ``"eager"`` or ``"plan"``.
    epoch, position, step : int
        Where the run is: finished epochs, batches done of the present one, steps done.
    totals : Totals
        The loss and the metrics of the present epoch so far.
    stop : bool
        Callbacks set it to end the training.
    resumed : bool
        The run goes on from a checkpoint.
    error_ : BaseException or None
        What ended the last run, if an error did.

    Notes
    -----
    The order of samples in an epoch depends on the seed and the epoch's number alone, dropout on
    the seed, the layer and the step's number. A run that goes on from a checkpoint therefore ends
    in the same bits as one that was never stopped, on one machine.

    Ctrl-C ends the training after the step at hand, with an `InterruptedWarning` and without an
    exception: the network has the weights of the last finished step, the history is kept, and
    ``interrupted_`` is True. A second Ctrl-C raises KeyboardInterrupt at once.

    A GPU gets the steps of about 0.1 s at once, and is waited for after them: callbacks see the
    steps in such groups.

    Mixed precision is that of Micikevicius et al., "Mixed precision training" (arXiv:1710.03740).
    Validations compute in float32, or in TF32 where the training does.

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

    data: Batches

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
        precision: str = "float32",
        random_state: Any = 0,
        verbose: int = 0,
        callbacks: Sequence[Any] = (),
    ) -> None:
        if isinstance(accumulate, bool) or not isinstance(accumulate, int) or accumulate < 1:
            raise InvalidParameterError(f"accumulate must be an int >= 1, got {accumulate!r}.")
        if executor not in EXECUTORS:
            raise InvalidParameterError(f"executor must be one of {EXECUTORS}, got {executor!r}.")
        require_built(network)
        self.network = network
        self.loss = get_loss(loss)
        self.optimizer = get_optimizer(optimizer)
        self.schedule = get_schedule(schedule)
        self.metrics = resolve(metrics, self.loss.name)
        self.accumulate = accumulate
        self.device = get_device(device)
        self.executor = executor
        self.seed = _random.seed_from(random_state)
        self._seed_drawn = not isinstance(random_state, int)
        self.verbose = int(verbose)
        self.callbacks = [as_callback(callback) for callback in callbacks or ()]
        self.precision = Precision(precision, network, self.device)
        try:
            network.to_device(self.device)
            self.optimizer.bind(network.parameters())
        except self.device.out_of_memory as error:
            raise self._no_room(error) from None
        self._run: list[Callback] = list(self.callbacks)
        self._begin(0)

    def _begin(self, epochs: int) -> None:
        self.epochs = epochs
        self.history_ = History()
        self.interrupted_ = self.resumed = self.stop = False
        self.error_: BaseException | None = None
        self.executor_ = "eager"
        self.epoch = self.position = self.step = 0
        self.totals = Totals(list(self.metrics))
        self._elapsed = 0.0
        self._last_rate = float(self.optimizer.learning_rate)
        self._kept: tuple[int, dict[str, Any]] | None = None

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
        data : Batches or (x, y) or (x, y, weights)
            `ArrayData`, `IteratorData` or another source. A tuple is cut into batches of 32.
        epochs : int
            Passes over the data, those before a resumed checkpoint included.
        validation : Batches or (x, y) or (x, y, weights), optional
            Measured after each epoch.
        early_stopping : bool, default=False
            End when `monitor` has not improved for `patience` epochs, and keep the best weights.
        patience : int, default=10
            See `early_stopping`.
        monitor : str, default="val_loss"
            Name in the history that early stopping and the schedule watch; without a validation the
            schedule watches the loss.
        checkpoint : path or Checkpoint, optional
            Where to write the run's state; a path stands for ``Checkpoint(path)``.
        resume : bool, default=False
            Go on from the checkpoint; where there is none yet, begin. Network, loss, optimizer,
            schedule, seed and data must be those of the checkpoint's run.

        Returns
        -------
        History
            What was measured.

        Raises
        ------
        DivergedError
            A loss or a gradient became NaN or infinite. The error has the step and the layer; the
            network has the last good weights.
        MemoryError
            The device has no memory for a batch. The network has the weights of the last finished
            step.
        ModelFileError
            The checkpoint is damaged or of another run; the network is as before.
        InvalidParameterError
            A parameter is not accepted, or early stopping watches what is not measured.
        """
        if isinstance(epochs, bool) or not isinstance(epochs, int) or epochs < 0:
            raise InvalidParameterError(f"epochs must be an int >= 0, got {epochs!r}.")
        self.data = as_batches(data, 32, shuffle=True)
        held_out = None if validation is None else as_batches(validation)
        measured = [*self.totals.sums, *(f"val_{n}" for n in self.totals.sums if held_out)]
        if early_stopping and monitor not in measured:
            raise InvalidParameterError(
                f"early stopping watches {monitor!r}, but measured are only {', '.join(measured)}"
                f"{'' if held_out else '; val_ values need validation='}."
            )
        if self.data.n_batches is None and not isinstance(
            self.schedule, Constant | Plateau | WarmUp
        ):
            raise InvalidParameterError(
                f"the schedule {type(self.schedule).__name__} needs to know how long an epoch is: "
                "give IteratorData steps_per_epoch."
            )
        run = list(self.callbacks)
        if checkpoint is not None:
            run.append(checkpoint if isinstance(checkpoint, Checkpoint) else Checkpoint(checkpoint))
        if early_stopping:
            run.append(EarlyStopping(monitor, patience))
        if self.verbose:
            run.append(Progress(self.verbose))
        # Checkpoints end first: they keep the last weights, not yet the best ones.
        self._run = sorted(run, key=lambda callback: not isinstance(callback, Checkpoint))
        self._begin(epochs)
        if resume:
            if not self._run or not isinstance(self._run[0], Checkpoint):
                raise InvalidParameterError("resume=True needs checkpoint=, where to go on from.")
            self._resume(self._run[0])
        self._executor = self._choose()
        self.executor_ = self._executor.name
        self._train(held_out, monitor)
        return self.history_

    def _resume(self, checkpoint: Checkpoint) -> None:
        contents = read_checkpoint(checkpoint.path)
        if contents is None:
            return
        if self._seed_drawn:
            stored = contents.attributes.get("settings", {}).get("seed")
            if type(stored) is not int or not 0 <= stored < 1 << 64:
                raise ModelFileError(f"{checkpoint.path} holds no valid seed.")
            self.seed = stored
        restore(self, contents, checkpoint.path)
        self.resumed = True

    def _choose(self) -> Any:
        """Return the executor of a run."""
        if self.executor != "eager":
            plan, reason = (
                None,
                reason_against_plan(self.metrics, self.accumulate, self.precision.name),
            )
            if not reason and self.device.name != "cpu":
                reason = f"the device is {self.device.name}"
            if not reason:
                plan, reason = lower(self.network, self.loss, self.optimizer)
            if plan is not None:
                return Planned(self.network, plan, self.metrics, self.seed)
            if self.executor == "plan":
                raise InvalidParameterError(f"executor='plan' cannot be used: {reason}.")
        kind = Queued if self.device.asynchronous else Eager
        return kind(
            self.network,
            self.loss,
            self.optimizer,
            self.metrics,
            self.device,
            self.seed,
            self.accumulate,
            self.precision,
        )

    # The loop ---------------------------------------------------------------------------------

    def _train(self, validation: Batches | None, monitor: str) -> None:
        begun: list[Callback] = []
        try:
            with first_ctrl_c() as pressed, self.device.context():
                self._pressed = pressed
                for callback in self._run:
                    begun.append(callback)
                    callback.on_fit_begin(self)
                while self.epoch < self.epochs and not self.stop:
                    self._run_epoch(validation, monitor)
        except BaseException as error:
            self.error_ = error
            raise
        finally:
            self._kept = None
            self.history_.interrupted = self.interrupted_
            # All of them, whatever one of them raises.
            with contextlib.ExitStack() as ends:
                for callback in reversed(begun):
                    ends.callback(callback.on_fit_end, self)
        if self.interrupted_:
            warnings.warn(
                f"Ctrl-C ended the training in epoch {self.epoch + 1} after step {self.step}; the "
                "network has the weights of that step.",
                InterruptedWarning,
                stacklevel=3,
            )

    def _run_epoch(self, validation: Batches | None, monitor: str) -> None:
        started = time.perf_counter() - self._elapsed
        if self.position == 0:
            self.totals = Totals(list(self.metrics))
            if self.precision.scale is not None:
                self.precision.scale.skipped = 0
            for callback in self._run:
                callback.on_epoch_begin(self)
        self._kept = self._copy()
        steps = Pulled(self._executor.steps(self.data, self.epoch, self.position))
        while steps.more():
            self._advance(steps)
            self._elapsed = time.perf_counter() - started
            for callback in self._run:
                callback.on_steps(self)
            for callback in self._run:
                callback.on_whole(self)
            if self._ended():
                return
        if not self._weights_finite():
            # An update after a finite loss: no loss of this epoch could tell.
            raise DivergedError(
                f"the weights became NaN or infinite before the end of epoch {self.epoch + 1}; "
                f"{self._go_back()}. A smaller learning rate or clip_norm= may help.",
                self.step,
            )
        record = self.totals.means()
        if validation is not None:
            measured = evaluate(
                self.network,
                self.loss,
                validation,
                metrics=self.metrics,
                device=self.device,
                executor=self.executor_,
                precision="tf32" if self.precision.name == "tf32" else "float32",
            )
            record |= {f"val_{name}": value for name, value in measured.items()}
        if self.precision.scale is not None:
            record["skipped_steps"] = float(self.precision.scale.skipped)
        record["learning_rate"] = self._last_rate
        record["seconds"] = time.perf_counter() - started
        self.schedule.observe(record.get(monitor, record["loss"]))
        for callback in self._run:
            callback.on_epoch_end(self, record)
        self.history_.append(record)
        self.epoch += 1
        self.position = 0
        self._elapsed = 0.0
        for callback in self._run:
            callback.on_whole(self)
        self._ended()

    def _steps_ahead(self) -> int:
        wishes = [callback.steps_ahead(self) for callback in self._run]
        return max(1, min([self._executor.size, *(n for n in wishes if n is not None)]))

    def _ended(self) -> bool:
        if self._pressed:
            self.interrupted_ = self.stop = True
        return self.stop

    def _advance(self, steps: Pulled) -> None:
        """Take some of `steps`."""
        rates = [self._rate(self.step + i) for i in range(self._steps_ahead())]
        failure: NotFinite | None = None
        try:
            done = self._executor.run(steps, rates, self.step)
        except NotFinite as error:
            failure, done = error, error.done
        except self.device.out_of_memory as error:
            raise self._too_large(error, next(iter(steps))) from None
        for (weight, values), taken, rate in zip(done, steps.done(len(done)), rates, strict=False):
            self.totals.add(weight, values)
            self.position += len(taken) if isinstance(taken, list) else 1
            self._last_rate = rate
        self.step += len(done)
        if failure is not None:
            raise self._diverged(failure) from None

    def _rate(self, step: int) -> float:
        per_epoch = -(-(self.data.n_batches or 1) // self.accumulate)
        base = float(self.optimizer.learning_rate)
        return float(self.schedule.rate(base, step, per_epoch, per_epoch * self.epochs))

    # Going back -------------------------------------------------------------------------------

    def _copy(self) -> tuple[int, dict[str, Any]] | None:
        """Return a copy of the network to go back to, unless it is very large."""
        size = sum(math.prod(p.shape) * p.dtype.itemsize for p in self.network.parameters())
        if size > _COPIED_BYTES:
            return None
        with self.device.context():
            return self.step, {path: held.data.copy() for path, held in self._held().items()}

    def _held(self) -> dict[str, Any]:
        return self.network.named_parameters() | self.network.named_buffers()

    def _weights_finite(self) -> bool:
        return all_finite(self.device, [p.data for p in self.network.parameters()])

    def _go_back(self) -> str:
        """Give the network the weights of the epoch's start; say so."""
        if self._kept is None:
            return "the network is too large for a copy to go back to"
        step, copies = self._kept
        for path, held in self._held().items():
            held.data = copies[path]
        # From now on they are the network's own.
        self._kept = None
        self.optimizer.bind(self.network.parameters())
        return f"the network has the weights of step {step} again"

    def _no_room(self, error: BaseException) -> MemoryError:
        """Return the error that says that the network itself found no memory."""
        size = sum(p.data.nbytes for p in self.network.parameters()) / 2**20
        slots = len(SLOTS[self.optimizer.kind])
        return no_memory(
            self.device,
            error,
            f"placing a network of {size:.0f} MiB and the optimizer's {slots} arrays of that size",
            "A smaller network, or an optimizer that keeps fewer arrays, needs less",
        )

    def _too_large(self, error: BaseException, step: Any) -> MemoryError:
        """Return the error that says what found no memory."""
        sizes = [count(x) for x, _, _ in step] if isinstance(step, list) else [len(step)]
        self.optimizer.zero_grad()
        return no_memory(
            self.device,
            error,
            f"step {self.step + 1} with batches of {max(sizes)} samples",
            "A smaller batch_size needs less (with accumulate=, several batches make a step); the "
            f"network keeps the weights of step {self.step}",
        )

    def _diverged(self, failure: NotFinite) -> DivergedError:
        """Return the error that says what happened; give the network its last good weights."""
        step = self.step + 1
        what, layer = first_not_finite(
            self.network, self.loss, self.device, failure.batch, failure.mode, self.precision
        )
        kept = f"the network keeps the weights of step {self.step}"
        if not self._weights_finite():
            kept = self._go_back()
        advice = "" if layer is None else " A smaller learning rate or clip_norm= may help."
        return DivergedError(
            f"{failure.what} in step {step} (epoch {self.epoch + 1}): {what}; {kept}.{advice}",
            step,
            layer,
        )

    # What a checkpoint holds ------------------------------------------------------------------

    def named_callbacks(self) -> Iterator[tuple[str, Callback]]:
        """Yield the run's callbacks that may have a state, by type and number."""
        numbers: dict[str, int] = {}
        for callback in self._run:
            kind = type(callback).__name__
            if isinstance(callback, FunctionCallback | Checkpoint | Progress):
                continue
            number = numbers.get(kind, 0)
            numbers[kind] = number + 1
            yield f"{kind}.{number}", callback

    def progress(self) -> dict[str, Any]:
        """Return where the run is, as JSON values."""
        return {
            "epoch": self.epoch,
            "position": self.position,
            "step": self.step,
            "weight": self.totals.weight,
            "sums": dict(self.totals.sums),
            "learning_rate": self._last_rate,
            "elapsed": self._elapsed,
        }

    def set_progress(self, progress: Mapping[str, Any], history: Mapping[str, Any]) -> None:
        """Put the run where `progress` says."""
        places = [progress[name] for name in ("epoch", "position", "step")]
        if any(type(place) is not int or place < 0 for place in places):
            raise ValueError(f"the position {places} of the run is not valid.")
        if self.data.n_batches is not None and progress["position"] > self.data.n_batches:
            raise ValueError(
                f"the run stands at batch {progress['position']} of {self.data.n_batches}."
            )
        totals = Totals(list(self.metrics))
        totals.weight = float(progress["weight"])
        if set(progress["sums"]) != set(totals.sums):
            raise ValueError(
                f"the run measured {', '.join(progress['sums'])}, not {', '.join(totals.sums)}."
            )
        totals.sums = {name: float(progress["sums"][name]) for name in totals.sums}
        self.history_ = History.from_dict(history)
        self.epoch, self.position, self.step = places
        self.totals = totals
        self._last_rate = float(progress["learning_rate"])
        self._elapsed = float(progress["elapsed"])
