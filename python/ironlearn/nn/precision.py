"""In which precision a network computes: mixed precision and the scaling of losses."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ironlearn.exceptions import InvalidParameterError, MissingExtraError
from ironlearn.nn import functional as F
from ironlearn.nn.autograd import RowGradient, Tensor
from ironlearn.nn.backend.device import Device
from ironlearn.nn.backend.joined import scaled
from ironlearn.nn.layers.base import Layer, Parameter

PRECISIONS = ("float32", "tf32", "float16", "bfloat16")
#: Types of 16 bits.
_HALF = ("float16", "bfloat16")


class LossScale:
    """The factor of the loss that keeps small gradients above what float16 can hold.

    Gradients that are not finite halve it, and their step is left out; after `patience` good steps
    in a row it is doubled.

    Attributes
    ----------
    value : float
        The factor, a power of 2.
    good : int
        Good steps since it last changed.
    skipped : int
        Steps left out in the present epoch.

    Notes
    -----
    Micikevicius et al., "Mixed precision training" (arXiv:1710.03740), section 3.2.

    Examples
    --------
    >>> scale = LossScale()
    >>> scale.overflowed(), scale.value
    (True, 32768.0)
    """

    start = 2.0**16
    patience = 2000
    #: Beyond this it gains nothing, and the scaled loss itself could overflow.
    most = 2.0**32

    def __init__(self) -> None:
        self.value = self.start
        self.good = 0
        self.skipped = 0

    def succeeded(self) -> None:
        """Count a good step."""
        self.good += 1
        if self.good >= self.patience:
            self.value = min(2.0 * self.value, self.most)
            self.good = 0

    def overflowed(self) -> bool:
        """Count a step to be left out; ``False`` where a smaller factor would not help it."""
        if self.value <= 1.0:
            return False
        self.value *= 0.5
        self.good = 0
        self.skipped += 1
        return True

    def state(self) -> dict[str, Any]:
        """Return the state as JSON values."""
        return {"value": self.value, "good": self.good, "skipped": self.skipped}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Set what `state` returned.

        Raises
        ------
        ValueError
            It is no state of a loss scale.
        """
        value, good, skipped = state["value"], state["good"], state["skipped"]
        if (
            type(value) is not float
            or not 2.0**-1 < value <= self.most
            or any(type(n) is not int or n < 0 for n in (good, skipped))
        ):
            raise ValueError(f"{dict(state)} is no valid state of a loss scale.")
        self.value, self.good, self.skipped = value, good, skipped


class Precision:
    """How a network's numbers are held while it computes.

    Parameters
    ----------
    name : {"float32", "tf32", "float16", "bfloat16"}
        ``"float32"`` computes in the type of the parameters. ``"tf32"`` lets the device round the
        factors of products. The 16-bit types compute on copies of the parameters; those stay as
        they are and take the updates.
    network : Layer
        The network.
    device : Device
        Where it computes.

    Attributes
    ----------
    scale : LossScale or None
        The loss's factor, for float16.

    Raises
    ------
    InvalidParameterError
        There is no precision of that name, the device does not have it, or the network's parameters
        are not float32.
    ironlearn.exceptions.MissingExtraError
        bfloat16 is asked for, but ml_dtypes is not installed.

    Notes
    -----
    Micikevicius et al., "Mixed precision training" (arXiv:1710.03740).
    """

    def __init__(self, name: str, network: Layer, device: Device) -> None:
        if name not in PRECISIONS:
            raise InvalidParameterError(f"precision must be one of {PRECISIONS}, got {name!r}.")
        if name == "tf32" and device.tf32() is None:
            raise InvalidParameterError(
                f"precision='tf32' needs a GPU, the device is {device.name}."
            )
        self.name = name
        self.device = device
        self.half = _half(name) if name in _HALF else None
        self.scale = LossScale() if name == "float16" else None
        self._parameters: list[Parameter] = []
        if self.half is not None:
            self._parameters = network.parameters()
            kinds = sorted({str(p.data.dtype) for p in self._parameters} - {"float32"})
            if kinds:
                raise InvalidParameterError(
                    f"precision={name!r} needs a network of float32, its parameters are {kinds[0]}."
                )

    def computing(self) -> contextlib.AbstractContextManager[Any]:
        """Return a context to compute in: what the precision asks for holds there."""
        if self.name == "tf32" and (context := self.device.tf32()) is not None:
            return context
        if self.scale is not None:
            # Gradients may overflow, that is how the factor is found.
            return np.errstate(all="ignore")
        return contextlib.nullcontext()

    @contextlib.contextmanager
    def copies(self) -> Iterator[None]:
        """Let the network compute on 16-bit copies of its parameters, made now."""
        if self.half is None:
            yield
            return
        kept = [p.data for p in self._parameters]
        try:
            for p, copy in zip(self._parameters, scaled(self.device, kept, self.half), strict=True):
                p.data = copy
            yield
        finally:
            for p, data in zip(self._parameters, kept, strict=True):
                p.data = data

    def inputs(self, tensors: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Return a network's inputs in the type that it computes in; integers stay."""
        if self.half is None:
            return tensors
        with self.device.context():
            return tuple(
                Tensor(t.data.astype(self.half)) if t.dtype.kind == "f" else t for t in tensors
            )

    def outputs(self, outputs: Any) -> Any:
        """Return a network's outputs in float32, for losses and metrics."""
        if self.half is None:
            return outputs
        if isinstance(outputs, tuple | list):
            return tuple(self.outputs(part) for part in outputs)
        return F.cast(outputs, np.dtype(np.float32))

    def collect(self, before: list[Any] | None) -> list[Any] | None:
        """Take the gradients off the parameters, as they are without scale and in float32.

        Parameters
        ----------
        before : list of gradients or None
            What earlier batches of the step gave; it is added.

        Returns
        -------
        list or None
            A gradient for each parameter, or ``None`` where it has none; ``None`` alone where the
            parameters may keep theirs.
        """
        if self.half is None:
            return None
        grads: list[Any] = []
        for p in self._parameters:
            grads.append(p.grad)
            p.grad = None
        scale = 1.0 if self.scale is None else 1.0 / self.scale.value
        dense = [i for i, g in enumerate(grads) if g is not None and type(g) is not RowGradient]
        wide = scaled(self.device, [grads[i] for i in dense], np.dtype(np.float32), scale)
        for i, grad in zip(dense, wide, strict=True):
            grads[i] = grad
        with self.device.context():
            for i, grad in enumerate(grads):
                if isinstance(grad, RowGradient):
                    ids, rows = zip(*grad.parts, strict=True)
                    parts = scaled(self.device, list(rows), np.dtype(np.float32), scale)
                    grads[i] = RowGradient(list(zip(ids, parts, strict=True)), grad.shape)
                if before is not None and before[i] is not None:
                    grads[i] = before[i] if grad is None else before[i] + grads[i]
        return grads

    def give(self, gradients: list[Any] | None) -> None:
        """Give the parameters the gradients that `collect` returned."""
        if gradients is not None:
            for p, grad in zip(self._parameters, gradients, strict=True):
                p.grad = grad


def _half(name: str) -> np.dtype[Any]:
    if name == "float16":
        return np.dtype(np.float16)
    try:
        import ml_dtypes
    except ImportError as error:
        raise MissingExtraError(
            "precision='bfloat16' needs ml_dtypes: pip install ml_dtypes"
        ) from error
    return np.dtype(ml_dtypes.bfloat16)
