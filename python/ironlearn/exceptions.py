"""Exceptions of ironlearn; all are also built-in exception types."""

from __future__ import annotations


class InvalidParameterError(ValueError, TypeError):
    """A constructor parameter has a type or a value that is not accepted."""


class ModelFileError(ValueError):
    """A model file cannot be read: not one, damaged, changed, or of a newer version."""


class DataError(ValueError):
    """Data do not fit the task: a target that cannot be learned, a column that is not there."""


class DataFileError(DataError):
    """A data file cannot be read or does not hold what was asked of it."""


class MissingExtraError(ImportError):
    """An optional dependency is not installed."""


class FallbackWarning(UserWarning):
    """Patched code runs scikit-learn's estimator where ironlearn's was meant to run."""


class FallbackError(ValueError):
    """What `FallbackWarning` tells, raised: the patch was told not to fall back."""


class DivergedError(ArithmeticError):
    """A loss or a gradient became NaN or infinite while a network was trained.

    Attributes
    ----------
    step : int
        The step in which it did, counted from 1.
    layer : str or None
        The first layer that gave a value that is not finite, if it was one.
    """

    def __init__(self, message: str, step: int = 0, layer: str | None = None) -> None:
        super().__init__(message)
        self.step = step
        self.layer = layer

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (str(self), self.step, self.layer)


class InterruptedWarning(UserWarning):
    """Ctrl-C ended a training; the network is usable."""
