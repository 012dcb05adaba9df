"""What may happen while a network trains: stopping early, saving, showing progress."""

from __future__ import annotations

import glob
import math
import os
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ironlearn.exceptions import InvalidParameterError
from ironlearn.nn.checkpoint import capture, write_checkpoint

if TYPE_CHECKING:
    from ironlearn.nn.train import Trainer

Tensors = dict[str, NDArray[Any]]


class Callback:
    """Base of callbacks: each method is called at its moment, and does nothing by default.

    A callback ends the training by setting ``trainer.stop = True``.
    """

    def on_fit_begin(self, trainer: Trainer) -> None:
        """Before the first step, and after a checkpoint was read."""

    def on_epoch_begin(self, trainer: Trainer) -> None:
        """Before an epoch's first step."""

    def steps_ahead(self, trainer: Trainer) -> int | None:
        """Return the most steps that may run before `on_steps` is called; ``None`` for any."""
        return None

    def on_steps(self, trainer: Trainer) -> None:
        """After one or more steps; how many run at once is the executor's choice."""

    def on_epoch_end(self, trainer: Trainer, record: dict[str, float]) -> None:
        """After an epoch and its validation; `record` is what the history will hold of it."""

    def on_whole(self, trainer: Trainer) -> None:
        """After steps and after an epoch's end, when the run's state is complete."""

    def on_fit_end(self, trainer: Trainer) -> None:
        """After the last step, also where Ctrl-C or an error ended the training.

        ``trainer.interrupted_`` and ``trainer.error_`` tell which.
        """

    def state(self) -> tuple[dict[str, Any], Tensors]:
        """Return what a checkpoint must hold of the callback: JSON values, and arrays."""
        return {}, {}

    def load_state(self, trainer: Trainer, values: Mapping[str, Any], tensors: Tensors) -> None:
        """Set what `state` returned; raise ValueError where it does not fit."""


class FunctionCallback(Callback):
    """A plain function, called as ``function(trainer, record)`` after each epoch.

    Parameters
    ----------
    function : callable
        Training ends where it returns ``True``.
    """

    def __init__(self, function: Callable[[Any, dict[str, float]], Any]) -> None:
        self.function = function

    def on_epoch_end(self, trainer: Trainer, record: dict[str, float]) -> None:
        """Call the function."""
        if self.function(trainer, record) is True:
            trainer.stop = True


def as_callback(value: Any) -> Callback:
    """Return a callback or a function as a callback."""
    if isinstance(value, Callback):
        return value
    if callable(value) and not isinstance(value, type):
        return FunctionCallback(value)
    raise InvalidParameterError(
        f"callbacks must hold Callback objects or functions (trainer, record), got {value!r}."
    )


class EarlyStopping(Callback):
    """Ends the training when a monitored value no longer improves; keeps the best weights.

    Parameters
    ----------
    monitor : str, default="val_loss"
        A name of the history.
    patience : int, default=10
        Epochs without improvement after which training ends.
    min_delta : float, default=0.0
        A change of no more than this is no improvement.
    mode : {"auto", "min", "max"}, default="auto"
        Whether small or large values are good; ``"auto"`` takes large ones for names that end in
        ``accuracy``.
    restore_best : bool, default=True
        Give the network the weights of the best epoch when the training ends; after Ctrl-C it keeps
        those of the last step.

    Attributes
    ----------
    best : float
        The best value so far.
    best_epoch : int or None
        Its epoch, from 0.

    Notes
    -----
    Prechelt, "Early stopping - but when?" (Neural Networks: Tricks of the Trade, 1998).
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        patience: int = 10,
        *,
        min_delta: float = 0.0,
        mode: str = "auto",
        restore_best: bool = True,
    ) -> None:
        if isinstance(patience, bool) or not isinstance(patience, int) or patience < 1:
            raise InvalidParameterError(f"patience must be an int >= 1, got {patience!r}.")
        if mode not in ("auto", "min", "max"):
            raise InvalidParameterError(f"mode must be 'auto', 'min' or 'max', got {mode!r}.")
        if not min_delta >= 0:
            raise InvalidParameterError(f"min_delta must be a number >= 0, got {min_delta!r}.")
        self.monitor = monitor
        self.patience = patience
        self.min_delta = float(min_delta)
        self.mode = mode
        self.restore_best = restore_best
        self._reset()

    def _reset(self) -> None:
        self.best = float("nan")
        self.best_epoch: int | None = None
        self._waited = 0
        self._weights: Tensors = {}

    def _sign(self) -> float:
        large = self.mode == "max" or (self.mode == "auto" and self.monitor.endswith("accuracy"))
        return -1.0 if large else 1.0

    def on_fit_begin(self, trainer: Trainer) -> None:
        """Start anew, unless a checkpoint was read."""
        if not trainer.resumed:
            self._reset()
        elif self._waited >= self.patience:
            trainer.stop = True

    def on_epoch_end(self, trainer: Trainer, record: dict[str, float]) -> None:
        """Compare the monitored value with the best one."""
        if self.monitor not in record:
            raise InvalidParameterError(
                f"early stopping monitors {self.monitor!r}, but an epoch measures only "
                f"{', '.join(record)}."
            )
        value = record[self.monitor]
        sign = self._sign()
        better = sign * (self.best - value) > self.min_delta
        if better or self.best_epoch is None or (math.isnan(self.best) and not math.isnan(value)):
            self.best, self.best_epoch, self._waited = value, trainer.epoch, 0
            if self.restore_best:
                self._weights = trainer.network.state()
            return
        self._waited += 1
        if self._waited >= self.patience:
            trainer.stop = True

    def on_fit_end(self, trainer: Trainer) -> None:
        """Give the network the best weights."""
        if self._weights and not trainer.interrupted_ and trainer.error_ is None:
            trainer.network.load_state(self._weights)
            trainer.history_.best_epoch = self.best_epoch

    def state(self) -> tuple[dict[str, Any], Tensors]:
        """Return the best value, its epoch and its weights."""
        values = {"best": self.best, "best_epoch": self.best_epoch, "waited": self._waited}
        return values, dict(self._weights)

    def load_state(self, trainer: Trainer, values: Mapping[str, Any], tensors: Tensors) -> None:
        """Set what `state` returned."""
        own = {name: value.shape for name, value in trainer.network.state().items()}
        if tensors and {name: value.shape for name, value in tensors.items()} != own:
            raise ValueError("the best weights are those of another network.")
        self.best = float(values["best"])
        epoch = values["best_epoch"]
        self.best_epoch = None if epoch is None else int(epoch)
        self._waited = int(values["waited"])
        self._weights = {name: np.array(value) for name, value in tensors.items()}


class Checkpoint(Callback):
    """Writes all that a run needs to go on, so that a killed one loses little.

    Parameters
    ----------
    path : str or path-like
        The file. The one before it is kept beside it as ``<path>.previous``.
    every_seconds : float or None, default=30.0
        Write when this long has passed since the last time.
    every_steps, every_epochs : int, optional
        Write after this many steps or epochs, too.

    Notes
    -----
    A file holds weights, the optimizer's arrays, the schedule, the seed, the position within the
    epoch, the history and what callbacks keep, and a checksum. It is written beside its place,
    synced and renamed: a crash at any moment leaves a whole one. The last state of a run is written
    when it ends, Ctrl-C included, but not after an error.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        every_seconds: float | None = 30.0,
        every_steps: int | None = None,
        every_epochs: int | None = None,
    ) -> None:
        for name, value in (("every_steps", every_steps), ("every_epochs", every_epochs)):
            if value is not None and (type(value) is not int or value < 1):
                raise InvalidParameterError(f"{name} must be an int >= 1 or None, got {value!r}.")
        if every_seconds is not None and not every_seconds >= 0:
            raise InvalidParameterError(
                f"every_seconds must be a number >= 0 or None, got {every_seconds!r}."
            )
        self.path = Path(path)
        self.every_seconds = every_seconds
        self.every_steps = every_steps
        self.every_epochs = every_epochs

    def on_fit_begin(self, trainer: Trainer) -> None:
        """Check the folder, and take away what a killed run left half-written."""
        folder = self.path.parent
        if not folder.is_dir():
            raise FileNotFoundError(f"the folder {folder} of the checkpoint does not exist.")
        for left in folder.glob(f".{glob.escape(self.path.name)}.new.*"):
            left.unlink(missing_ok=True)
        self._note(trainer)

    def _note(self, trainer: Trainer) -> None:
        self._step, self._epoch, self._time = trainer.step, trainer.epoch, time.monotonic()

    def steps_ahead(self, trainer: Trainer) -> int | None:
        """Return the steps until the next one after which to write."""
        if self.every_steps is None:
            return None
        return max(1, self.every_steps - (trainer.step - self._step))

    def on_whole(self, trainer: Trainer) -> None:
        """Write, if it is time."""
        due = (
            (self.every_steps is not None and trainer.step - self._step >= self.every_steps)
            or (self.every_epochs is not None and trainer.epoch - self._epoch >= self.every_epochs)
            or (
                self.every_seconds is not None
                and time.monotonic() - self._time >= self.every_seconds
            )
        )
        if not due:
            return
        try:
            self.write(trainer)
        except OSError as error:
            # A full disk now is no reason to lose the run; the checkpoint before is still there.
            self._note(trainer)
            warnings.warn(
                f"the checkpoint {self.path} could not be written ({error}); the training goes on.",
                UserWarning,
                stacklevel=2,
            )

    def write(self, trainer: Trainer) -> None:
        """Write now."""
        write_checkpoint(self.path, capture(trainer))
        self._note(trainer)

    def on_fit_end(self, trainer: Trainer) -> None:
        """Write the last state."""
        if trainer.error_ is None:
            self.write(trainer)


class Progress(Callback):
    """Shows how the training goes.

    Parameters
    ----------
    verbose : {1, 2}, default=1
        1 is a bar with the metrics and the time left, 2 a line for each epoch.
    """

    def __init__(self, verbose: int = 1) -> None:
        self.verbose = verbose
        self._bar: Any = None

    def on_fit_begin(self, trainer: Trainer) -> None:
        """Show the bar."""
        from rich.console import Console

        self._console = Console(stderr=True)
        if self.verbose != 1:
            return
        from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        self._bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %"),
            TextColumn("{task.fields[values]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self._console,
        )
        batches = trainer.data.n_batches
        total = None if batches is None else batches * trainer.epochs
        done = 0 if batches is None else batches * trainer.epoch + trainer.position
        self._task = self._bar.add_task(
            self._title(trainer), total=total, completed=done, values=""
        )
        self._shown = 0.0
        self._bar.start()

    @staticmethod
    def _title(trainer: Trainer) -> str:
        return f"epoch {min(trainer.epoch + 1, trainer.epochs)}/{trainer.epochs}"

    def on_steps(self, trainer: Trainer) -> None:
        """Move the bar, some times a second."""
        now = time.monotonic()
        if self._bar is None or now - self._shown < 0.1:
            return
        self._shown = now
        self._move(trainer, trainer.totals.means(), trainer.position)

    def _move(self, trainer: Trainer, values: Mapping[str, float], position: int) -> None:
        batches = trainer.data.n_batches
        done = position if batches is None else batches * trainer.epoch + position
        self._bar.update(
            self._task,
            description=self._title(trainer),
            completed=done,
            values=_shown(values),
        )

    def on_epoch_end(self, trainer: Trainer, record: dict[str, float]) -> None:
        """Show the epoch's values."""
        if self._bar is not None:
            self._move(trainer, record, trainer.position)
        else:
            self._console.print(
                f"{self._title(trainer)}  {_shown(record)}  {record['seconds']:.1f} s",
                highlight=False,
            )

    def on_fit_end(self, trainer: Trainer) -> None:
        """Leave the last state of the bar."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def _shown(values: Mapping[str, float]) -> str:
    return "  ".join(
        f"{name} {value:.4g}"
        for name, value in values.items()
        if name not in ("learning_rate", "seconds")
    )
