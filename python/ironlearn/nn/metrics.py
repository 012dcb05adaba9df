"""Measures of a network's outputs while it trains: one number for each sample."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ironlearn.exceptions import InvalidParameterError

#: Takes outputs (N, ...) and targets (N, ...) as NumPy arrays; returns N numbers, or their mean.
Metric = Callable[[NDArray[Any], NDArray[Any]], Any]


def _means(values: NDArray[Any]) -> NDArray[np.float64]:
    """Return the mean over all axes but the first."""
    return values.reshape(len(values), -1).mean(axis=1, dtype=np.float64)


def accuracy(outputs: NDArray[Any], targets: NDArray[Any]) -> NDArray[np.float64]:
    """Return 1 where the largest logit is the target's class, or the sign of one logit its class.

    Outputs (N, C) or (N, T, C) with class numbers (N,) or (N, T), of which negative ones do not
    count; or one logit for each target in {0, 1}.

    Examples
    --------
    >>> accuracy(np.array([[1.0, 2.0], [3.0, 0.0]]), np.array([1, 1])).tolist()
    [1.0, 0.0]
    """
    if outputs.ndim == targets.ndim + 1 and outputs.shape[-1] > 1:
        right = outputs.argmax(axis=-1) == targets
        counted = targets >= 0
        if right.ndim == 1:
            return right.astype(np.float64)
        axes = tuple(range(1, right.ndim))
        return (right & counted).sum(axis=axes) / np.maximum(counted.sum(axis=axes), 1)
    if outputs.size != targets.size:
        raise ValueError(
            f"accuracy: outputs of shape {outputs.shape} do not fit targets of shape "
            f"{targets.shape}."
        )
    return _means((outputs.reshape(targets.shape) > 0) == (targets > 0.5))


def _same(outputs: NDArray[Any], targets: NDArray[Any]) -> NDArray[np.float64]:
    return outputs.reshape(targets.shape).astype(np.float64) - targets


def mean_absolute_error(outputs: NDArray[Any], targets: NDArray[Any]) -> NDArray[np.float64]:
    """Return the mean absolute error of each sample."""
    return _means(np.abs(_same(outputs, targets)))


def mean_squared_error(outputs: NDArray[Any], targets: NDArray[Any]) -> NDArray[np.float64]:
    """Return the mean squared error of each sample."""
    return _means(_same(outputs, targets) ** 2)


METRICS: Mapping[str, Metric] = {
    "accuracy": accuracy,
    "mae": mean_absolute_error,
    "mse": mean_squared_error,
}

#: Metrics that also take the arrays of another device, and answer with one of its arrays.
_ANYWHERE = frozenset(METRICS.values())

#: Losses of classifiers: "auto" measures the accuracy with them.
_CLASSIFYING = frozenset({"cross_entropy", "binary_cross_entropy", "focal"})


def resolve(metrics: str | Sequence[str | Metric] | None, loss_name: str) -> dict[str, Metric]:
    """Return metrics by name.

    Parameters
    ----------
    metrics : "auto", or sequence of str and callables, or None
        Names of `METRICS` and functions, whose names are their ``__name__``.
    loss_name : str
        The loss: ``"auto"`` is the accuracy for those of classifiers, else nothing.
    """
    if metrics is None:
        return {}
    if isinstance(metrics, str):
        if metrics == "auto":
            return {"accuracy": accuracy} if loss_name in _CLASSIFYING else {}
        metrics = (metrics,)
    found: dict[str, Metric] = {}
    for metric in metrics:
        if isinstance(metric, str) and metric in METRICS:
            found[metric] = METRICS[metric]
        elif callable(metric):
            found[str(getattr(metric, "__name__", type(metric).__name__))] = metric
        else:
            raise InvalidParameterError(
                f"metrics must hold names among {', '.join(METRICS)} or callables, got {metric!r}."
            )
    return found


class Totals:
    """Weighted sums of a loss and of metrics, in double precision."""

    def __init__(self, names: Sequence[str]) -> None:
        self.weight = 0.0
        self.sums = dict.fromkeys(("loss", *names), 0.0)

    def add(self, weight: float, values: Mapping[str, float]) -> None:
        """Add means over samples that weigh `weight` together."""
        self.weight += weight
        for name, value in values.items():
            self.sums[name] += weight * value

    def means(self, prefix: str = "") -> dict[str, float]:
        """Return the weighted means so far."""
        scale = 1.0 / self.weight if self.weight > 0 else 0.0
        return {prefix + name: value * scale for name, value in self.sums.items()}


def measure(
    metrics: Mapping[str, Metric],
    outputs: NDArray[Any],
    targets: NDArray[Any],
    weights: NDArray[Any] | None,
) -> dict[str, float]:
    """Return the weighted mean of each metric over a batch."""
    found = {}
    for name, metric in metrics.items():
        values = np.asarray(metric(outputs, targets), np.float64)
        if values.ndim == 0 or weights is None:
            found[name] = float(values.mean())
        else:
            total = float(weights.sum())
            found[name] = float((values * weights).sum() / total) if total > 0 else 0.0
    return found


def stays_on_device(metrics: Mapping[str, Metric], outputs: Any, targets: Any) -> bool:
    """Tell whether `measure_there` takes these metrics, of outputs and targets like these."""
    single = not isinstance(outputs, tuple | list) and not isinstance(targets, tuple)
    return not metrics or (single and all(metric in _ANYWHERE for metric in metrics.values()))


def measure_there(
    metrics: Mapping[str, Metric],
    outputs: Any,
    targets: Any,
    weights: Any,
    weight: float,
) -> list[Any]:
    """Return what `measure` returns, in its order, as a device's scalars; nothing waits for it.

    Parameters
    ----------
    metrics : dict
        Metrics that `stays_on_device` says can be measured so.
    outputs, targets : arrays of one device
    weights : array of that device of shape (N,), or None
    weight : float
        The sum of the weights.
    """
    found = []
    for metric in metrics.values():
        values = metric(outputs, targets)
        if weights is None:
            found.append(values.mean())
        else:
            scale = 1.0 / weight if weight > 0 else 0.0
            found.append((values * weights).sum() * scale)
    return found
