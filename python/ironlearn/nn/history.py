"""What a training run measured, epoch by epoch."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any


class History(Mapping[str, list[float]]):
    """Measured values by name: a list with one number for each finished epoch.

    Attributes
    ----------
    epochs : int
        Finished epochs.
    best_epoch : int or None
        The epoch (from 0) whose weights early stopping restored.
    interrupted : bool
        Ctrl-C ended the run.

    Notes
    -----
    The names are ``loss``, the metrics, the same with ``val_`` before them where there was a
    validation, ``skipped_steps`` (left out for gradients that overflowed, in float16),
    ``learning_rate`` (of the epoch's last step) and ``seconds``.

    Examples
    --------
    >>> history = History()
    >>> history.append({"loss": 0.5})
    >>> history.append({"loss": 0.25})
    >>> history["loss"], history.epochs
    ([0.5, 0.25], 2)
    """

    def __init__(self) -> None:
        self._values: dict[str, list[float]] = {}
        self.best_epoch: int | None = None
        self.interrupted = False

    @property
    def epochs(self) -> int:
        """Finished epochs."""
        return len(next(iter(self._values.values()), ()))

    def __getitem__(self, name: str) -> list[float]:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def append(self, record: Mapping[str, float]) -> None:
        """Add the values of one more epoch; one that was not measured is NaN."""
        done = self.epochs
        for name in record:
            self._values.setdefault(name, [math.nan] * done)
        for name, values in self._values.items():
            values.append(float(record.get(name, math.nan)))

    def last(self) -> dict[str, float]:
        """Return the values of the last epoch."""
        return {name: values[-1] for name, values in self._values.items()}

    def to_dict(self) -> dict[str, list[float]]:
        """Return a copy as a plain dict of lists."""
        return {name: list(values) for name, values in self._values.items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, list[float]]) -> History:
        """Return the history that `to_dict` copied."""
        history = cls()
        history._values = {name: [float(v) for v in column] for name, column in values.items()}
        if len({len(column) for column in history._values.values()}) > 1:
            raise ValueError("the columns of a history must be of one length.")
        return history

    def __repr__(self) -> str:
        if not self.epochs:
            return "History(epochs=0)"
        shown = ", ".join(f"{name}={value:.4g}" for name, value in self.last().items())
        return f"History(epochs={self.epochs}, last: {shown})"

    def plot(self, axes: Any = None) -> Any:
        """Draw the loss and the metrics over the epochs, training and validation together.

        Parameters
        ----------
        axes : sequence of matplotlib Axes, optional
            One for each drawn quantity; a new figure by default.

        Returns
        -------
        matplotlib.figure.Figure
            The figure.

        Raises
        ------
        ironlearn.exceptions.MissingExtraError
            matplotlib is not installed.
        """
        from ironlearn.exceptions import MissingExtraError

        try:
            from matplotlib.backends.backend_agg import FigureCanvasAgg
            from matplotlib.figure import Figure
        except ImportError as error:
            raise MissingExtraError("plots need matplotlib: pip install ironlearn[plot]") from error
        skip = {"learning_rate", "seconds", "skipped_steps"}
        names = [n for n in self._values if not n.startswith("val_") and n not in skip]
        if axes is None:
            figure = Figure(figsize=(4.8 * max(1, len(names)), 3.6), layout="constrained")
            FigureCanvasAgg(figure)
            axes = [figure.add_subplot(1, len(names), i + 1) for i in range(len(names))]
        else:
            axes = (
                list(axes) if isinstance(axes, list | tuple) or hasattr(axes, "__len__") else [axes]
            )
            if len(axes) < len(names):
                raise ValueError(f"plot needs {len(names)} axes for {', '.join(names)}.")
            figure = axes[0].figure
        epochs = range(1, self.epochs + 1)
        for ax, name in zip(axes, names, strict=False):
            ax.plot(epochs, self._values[name], marker=".", label="training")
            if f"val_{name}" in self._values:
                ax.plot(epochs, self._values[f"val_{name}"], marker=".", label="validation")
            if self.best_epoch is not None:
                ax.axvline(self.best_epoch + 1, color="0.7", linewidth=1, label="best weights")
            ax.set_xlabel("epoch")
            ax.set_ylabel(name.replace("_", " "))
            ax.legend()
        return figure
