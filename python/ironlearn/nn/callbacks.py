"""What may happen while a network trains: stopping early, saving, showing progress."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ironlearn.exceptions import InvalidParameterError

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

    def on_steps(self, trainer: Trainer) -> None:
        """After one or more steps; how many run at once is the executor's choice."""

    def on_epoch_end(self, trainer: Trainer, record: dict[str, float]) -> None:
        """After an epoch and its validation; `record` is what the history will hold of it."""

    def on_fit_end(self, trainer: Trainer) -> None:
        """After the last step, also where Ctrl-C or an error ended the training."""

    def state(self) -> tuple[dict[str, Any], Tensors]:
        """Return what a checkpoint must hold of the callback: JSON values, and arrays."""
        return {}, {}

    def load_state(self, values: Mapping[str, Any], tensors: Tensors) -> None:
        """Set what `state` returned."""


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
        if self.best_epoch is None or sign * (self.best - value) > self.min_delta:
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

    def load_state(self, values: Mapping[str, Any], tensors: Tensors) -> None:
        """Set what `state` returned."""
        self.best = float(values["best"])
        epoch = values["best_epoch"]
        self.best_epoch = None if epoch is None else int(epoch)
        self._waited = int(values["waited"])
        self._weights = {name: np.array(value) for name, value in tensors.items()}
