"""Batches for training: from arrays, memory-mapped files, or iterators larger than memory.

Which rows an epoch's batches hold, and in which order, depends on the seed and the epoch alone; a
run that is resumed in the middle of an epoch gets the rest of the same batches.
"""

from __future__ import annotations

import inspect
import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ironlearn.exceptions import DataError, InvalidParameterError

#: Inputs of a network: an array, or a tuple of arrays where it takes several.
Inputs = Any
#: Inputs, targets and weights of some samples, as NumPy arrays.
Batch = tuple[Inputs, Any, NDArray[Any] | None]
#: Changes a batch's inputs at random: augmentation.
Transform = Callable[[Inputs, np.random.Generator], Inputs]


def take(values: Any, rows: Any) -> Any:
    """Return `rows` (indices or a slice) of an array, or of each array of a tuple."""
    if values is None:
        return None
    if isinstance(values, tuple):
        return tuple(take(value, rows) for value in values)
    return np.asarray(values[rows])


def join(parts: list[Any]) -> Any:
    """Return batches' values one after the other: the inverse of cutting by `take`."""
    if len(parts) == 1:
        return parts[0]
    if parts[0] is None:
        return None
    if isinstance(parts[0], tuple):
        return tuple(join(list(column)) for column in zip(*parts, strict=True))
    return np.concatenate(parts)


def count(values: Any) -> int:
    """Return the number of samples in `values`."""
    first = values[0] if isinstance(values, tuple) else values
    return int(first.shape[0])


class Batches(ABC):
    """A source of batches.

    Attributes
    ----------
    n_samples : int or None
        Samples in an epoch, where that is known.
    batch_size : int or None
        Samples in a batch, the last one perhaps excepted, where that is known.
    n_batches : int or None
        Batches in an epoch, where that is known.
    """

    n_samples: int | None = None
    batch_size: int | None = None
    n_batches: int | None = None

    @abstractmethod
    def batches(self, epoch: int, rng: np.random.Generator, start: int = 0) -> Iterator[Batch]:
        """Yield the batches of `epoch` from number `start` on.

        Parameters
        ----------
        epoch : int
            Number of the epoch, from 0.
        rng : numpy.random.Generator
            The epoch's source of random numbers: always in the same state for the same seed and
            epoch, whatever `start` is.
        start : int, default=0
            Batches to leave out.

        Yields
        ------
        tuple
            ``(x, y, weights)``: host arrays whose first axes are the samples; weights may be
            ``None``.
        """

    def signature(self) -> dict[str, Any]:
        """Return what a checkpoint remembers of the data, to refuse resuming with other ones."""
        return {
            "n_samples": self.n_samples,
            "batch_size": self.batch_size,
            "n_batches": self.n_batches,
        }


def epoch_generator(seed: int, epoch: int) -> np.random.Generator:
    """Return the source of random numbers of one epoch."""
    return np.random.Generator(np.random.PCG64([seed, epoch]))


class ArrayData(Batches):
    """Batches of rows of arrays.

    Parameters
    ----------
    x : array or tuple of arrays
        Inputs; the first axis is the samples. A memory-mapped array stays on disk: only the rows
        of a batch are read. Bytes (uint8) reach the network divided by 255, other integers as
        they are.
    y : array or tuple of arrays, optional
        Targets, one for each sample.
    sample_weight : array of shape (n_samples,), optional
        Non-negative weights of the samples' losses.
    batch_size : int
        Samples in a batch; the last batch of an epoch has what is left.
    shuffle : bool, default=True
        Draw a new order for each epoch; else the samples come as they are.
    transform : callable, optional
        ``transform(x_batch, rng) -> x_batch``: augmentation, with random numbers of its own for
        each epoch and batch.
    drop_last : bool, default=False
        Leave out a last batch that is smaller than the others.

    Raises
    ------
    DataError
        There are no samples, or inputs, targets and weights are not of the same number, or weights
        are negative, not finite, or all zero.
    InvalidParameterError
        `batch_size` is no positive integer.

    Examples
    --------
    >>> import numpy as np
    >>> data = ArrayData(np.arange(5.0), batch_size=2, shuffle=False)
    >>> [x.tolist() for x, _, _ in data.batches(0, np.random.default_rng(0))]
    [[0.0, 1.0], [2.0, 3.0], [4.0]]
    """

    n_samples: int
    batch_size: int
    n_batches: int

    def __init__(
        self,
        x: Inputs,
        y: Any = None,
        sample_weight: Any = None,
        *,
        batch_size: int,
        shuffle: bool = True,
        transform: Transform | None = None,
        drop_last: bool = False,
    ) -> None:
        if (
            isinstance(batch_size, bool)
            or not isinstance(batch_size, int | np.integer)
            or batch_size < 1
        ):
            raise InvalidParameterError(f"batch_size must be an int >= 1, got {batch_size!r}.")
        if transform is not None and not callable(transform):
            raise InvalidParameterError(f"transform must be callable or None, got {transform!r}.")
        self.x = tuple(_array("x", v) for v in x) if isinstance(x, tuple) else _array("x", x)
        self.y: Any = None
        if y is not None:
            self.y = tuple(_array("y", v) for v in y) if isinstance(y, tuple) else _array("y", y)
        if isinstance(self.x, tuple) and not self.x:
            raise DataError("x is an empty tuple; it must hold at least one array.")
        self.n_samples = count(self.x)
        if self.n_samples == 0:
            raise DataError("x has no samples.")
        for name, given in (("x", self.x), ("y", self.y)):
            for value in given if isinstance(given, tuple) else (given,):
                if value is not None and value.shape[0] != self.n_samples:
                    raise DataError(
                        f"x and y must have as many samples, got {self.n_samples} and, in {name}, "
                        f"{value.shape[0]}."
                    )
        self.sample_weight = _weights(sample_weight, self.n_samples)
        self.batch_size = int(batch_size)
        self.shuffle = bool(shuffle)
        self.transform = transform
        self.drop_last = bool(drop_last)
        if self.drop_last and self.n_samples < self.batch_size:
            raise DataError(
                f"drop_last leaves no batch: {self.n_samples} samples, batch_size "
                f"{self.batch_size}."
            )
        whole, rest = divmod(self.n_samples, self.batch_size)
        self.n_batches = whole + (1 if rest and not self.drop_last else 0)

    def signature(self) -> dict[str, Any]:
        """Return what a checkpoint remembers of the data."""
        return {**super().signature(), "shuffle": self.shuffle}

    def _keyed(self, rng: np.random.Generator) -> tuple[int, NDArray[np.int64] | None]:
        """Return the key of the transform's random numbers and the epoch's order."""
        key = int(rng.integers(1 << 62))
        return key, rng.permutation(self.n_samples) if self.shuffle else None

    def rows(
        self, epoch: int, rng: np.random.Generator, start: int = 0
    ) -> Iterator[NDArray[np.int64]]:
        """Yield the row numbers of each batch that `batches` would yield."""
        _, order = self._keyed(rng)
        if order is None:
            order = np.arange(self.n_samples, dtype=np.int64)
        for i in range(start, self.n_batches):
            yield order[i * self.batch_size : (i + 1) * self.batch_size]

    def batches(self, epoch: int, rng: np.random.Generator, start: int = 0) -> Iterator[Batch]:
        """Yield the batches of `epoch` from number `start` on."""
        key, order = self._keyed(rng)
        for i in range(start, self.n_batches):
            span = slice(i * self.batch_size, min((i + 1) * self.batch_size, self.n_samples))
            rows = span if order is None else order[span]
            x = take(self.x, rows)
            if self.transform is not None:
                x = self.transform(x, np.random.Generator(np.random.PCG64([key, i])))
            yield x, take(self.y, rows), take(self.sample_weight, rows)


class IteratorData(Batches):
    """Batches of an iterator: data that are made, or read piece by piece.

    Parameters
    ----------
    factory : callable
        ``factory(epoch)`` or ``factory()`` returns a new iterable of ``(x, y)`` or ``(x, y,
        weights)`` for each epoch. It must yield the same batches for the same epoch; a run can
        then be resumed in the middle of one.
    steps_per_epoch : int, optional
        Batches in an epoch. Without it an epoch ends where the iterable does.

    Raises
    ------
    InvalidParameterError
        `factory` cannot be called, or `steps_per_epoch` is no positive integer.

    Examples
    --------
    >>> import numpy as np
    >>> data = IteratorData(lambda: ((np.ones((2, 3)), np.zeros(2)) for _ in range(4)))
    >>> sum(len(x) for x, _, _ in data.batches(0, np.random.default_rng(0)))
    8
    """

    def __init__(self, factory: Callable[..., Iterable[Any]], steps_per_epoch: int | None = None):
        if not callable(factory):
            raise InvalidParameterError(
                f"factory must be a function that returns a new iterator, got "
                f"{type(factory).__name__}; an iterator alone can be read only once."
            )
        if steps_per_epoch is not None and (
            isinstance(steps_per_epoch, bool)
            or not isinstance(steps_per_epoch, int | np.integer)
            or steps_per_epoch < 1
        ):
            raise InvalidParameterError(
                f"steps_per_epoch must be an int >= 1 or None, got {steps_per_epoch!r}."
            )
        self.factory = factory
        self.steps_per_epoch = None if steps_per_epoch is None else int(steps_per_epoch)
        self.n_batches = self.steps_per_epoch
        self._takes_epoch = _takes_argument(factory)

    def batches(self, epoch: int, rng: np.random.Generator, start: int = 0) -> Iterator[Batch]:
        """Yield the batches of `epoch` from number `start` on."""
        made = self.factory(epoch) if self._takes_epoch else self.factory()
        number = 0
        for number, item in enumerate(itertools.islice(made, self.steps_per_epoch), 1):
            if number > start:
                yield _batch(item, number)
        if number == 0:
            raise DataError(f"the iterator of epoch {epoch} yielded no batch.")
        if self.steps_per_epoch is not None and number < self.steps_per_epoch:
            raise DataError(
                f"the iterator of epoch {epoch} ended after {number} batches, but steps_per_epoch "
                f"is {self.steps_per_epoch}."
            )


def as_batches(data: Any, batch_size: int = 256, *, shuffle: bool = False) -> Batches:
    """Return `data`, a source of batches or ``(x, y)`` or ``(x, y, weights)``, as a source."""
    if isinstance(data, Batches):
        return data
    if isinstance(data, tuple) and len(data) in (2, 3):
        return ArrayData(*data, batch_size=batch_size, shuffle=shuffle)
    raise InvalidParameterError(
        "data must be Batches (ArrayData, IteratorData) or a tuple (x, y) or (x, y, weights), got "
        f"{type(data).__name__}."
    )


def weights_by_class(
    codes: NDArray[Any], class_weight: Any, classes: Any, sample_weight: Any = None
) -> NDArray[np.float64] | None:
    """Return sample weights that hold class weights.

    Parameters
    ----------
    codes : array of int, shape (n_samples,)
        Index of each sample's class.
    class_weight : dict, "balanced" or None
        Weights by label, 1 where a label is left out; ``"balanced"`` gives all classes the same sum
        (with `sample_weight`, of weights).
    classes : array of shape (n_classes,)
        The labels.
    sample_weight : array of shape (n_samples,), optional
        Multiplied in.

    Raises
    ------
    InvalidParameterError
        `class_weight` is something else, names an unknown class, or has a negative weight.

    Examples
    --------
    >>> import numpy as np
    >>> weights_by_class(np.array([0, 0, 0, 1]), "balanced", ["a", "b"]).round(2).tolist()
    [0.67, 0.67, 0.67, 2.0]
    """
    base = _weights(sample_weight, len(codes))
    if class_weight is None:
        return base
    labels = list(np.asarray(classes).tolist())
    factors = np.ones(len(labels))
    if isinstance(class_weight, str) and class_weight == "balanced":
        sums = np.bincount(codes, base, len(labels))
        present = sums > 0
        factors[present] = sums.sum() / (present.sum() * sums[present])
    elif isinstance(class_weight, Mapping):
        for label, weight in class_weight.items():
            value = label.item() if isinstance(label, np.generic) else label
            if value not in labels:
                raise InvalidParameterError(
                    f"class_weight names the class {label!r}, which y has not."
                )
            if not np.isfinite(weight) or weight < 0:
                raise InvalidParameterError(
                    f"class_weight of {label!r} must be a finite number >= 0, got {weight!r}."
                )
            factors[labels.index(value)] = weight
    else:
        raise InvalidParameterError(
            f"class_weight must be a dict, 'balanced' or None, got {class_weight!r}."
        )
    weights: NDArray[np.float64] = factors[codes]
    return weights if base is None else weights * base


def _array(name: str, value: Any) -> NDArray[Any]:
    array = value if isinstance(value, np.ndarray) else np.asarray(value)
    if array.dtype.kind not in "biuf":
        raise DataError(f"{name} must hold numbers, got dtype {array.dtype}.")
    if array.ndim == 0:
        raise DataError(f"{name} must have an axis of samples, got a single number.")
    return array


def _weights(value: Any, n_samples: int) -> NDArray[np.float64] | None:
    if value is None:
        return None
    weights = np.asarray(value, np.float64)
    if weights.shape != (n_samples,):
        raise DataError(f"sample_weight must have shape ({n_samples},), got {weights.shape}.")
    if not np.isfinite(weights).all() or (weights < 0).any():
        raise DataError("sample_weight must hold finite numbers >= 0.")
    if not weights.any():
        raise DataError("all sample_weight values are zero; at least one must be positive.")
    return weights


def _batch(item: Any, number: int) -> Batch:
    if not isinstance(item, tuple | list) or len(item) not in (2, 3):
        raise DataError(
            f"batch {number} of the iterator must be (x, y) or (x, y, weights), got "
            f"{type(item).__name__}."
        )
    x, y = (
        tuple(_array(name, v) for v in value)
        if isinstance(value, tuple)
        else (None if value is None and name == "y" else _array(name, value))
        for name, value in zip("xy", item[:2], strict=True)
    )
    n = count(x)
    if n == 0 or (y is not None and count(y) != n):
        raise DataError(
            f"batch {number} of the iterator has {n} samples in x and "
            f"{0 if y is None else count(y)} in y."
        )
    weights = item[2] if len(item) == 3 else None
    return x, y, None if weights is None else _batch_weights(weights, n)


def _batch_weights(value: Any, n: int) -> NDArray[np.float64]:
    weights = np.asarray(value, np.float64)
    if weights.any():
        checked = _weights(weights, n)
        assert checked is not None
        return checked
    # A batch of weight zero may occur where others weigh something.
    return np.zeros(n)


def _takes_argument(factory: Callable[..., Any]) -> bool:
    try:
        parameters = inspect.signature(factory).parameters.values()
    except (TypeError, ValueError):
        return False
    return any(
        p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD, p.VAR_POSITIONAL)
        and p.default is p.empty
        for p in parameters
    )
