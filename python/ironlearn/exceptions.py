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
