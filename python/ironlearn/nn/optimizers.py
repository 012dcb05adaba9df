"""Optimizers: how gradients change parameters.

An optimizer is bound to a list of parameters, keeps its arrays beside them, and steps over all at
once by one operation of the device.

Examples
--------
>>> import numpy as np
>>> from ironlearn.nn.layers import Parameter
>>> w = Parameter(np.array([1.0, -2.0]), "w")
>>> optimizer = SGD(learning_rate=0.5).bind([w])
>>> w.grad = np.array([1.0, 1.0])
>>> optimizer.step()
>>> w.data
array([ 0.5, -2.5])
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence
from typing import Any, Self, TypedDict, Unpack

import numpy as np
from numpy.typing import NDArray

from ironlearn.exceptions import InvalidParameterError
from ironlearn.nn.autograd import RowGradient
from ironlearn.nn.backend.device import Array, Device, device_of
from ironlearn.nn.backend.joined import scaled, total
from ironlearn.nn.backend.ops.optimizer import SLOTS
from ironlearn.nn.layers.base import Parameter
from ironlearn.nn.settings import Described


def _number(
    name: str, value: Any, low: float, *, open_low: bool = False, high: float = math.inf
) -> float:
    fits = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    if not fits or not (low < value if open_low else low <= value) or not value < high:
        left = "(" if open_low else "["
        raise InvalidParameterError(
            f"{name} must be a number in {left}{low}, {high}), got {value!r}."
        )
    return float(value)


class Common(TypedDict, total=False):
    """What every optimizer takes by name; see `Optimizer`."""

    l1: float
    l2: float
    weight_decay: float
    clip_norm: float | None
    clip_value: float | None
    max_norm: float | None


#: Names in a signature that `Optimizer.config` lists after the rule's own ones.
_BY_NAME = frozenset({"common", *Common.__annotations__})


class Optimizer(Described):
    """Base of optimizers.

    Parameters
    ----------
    learning_rate : float
        Step size; a schedule scales it.
    l1, l2 : float, default=0.0
        Penalties on kernels, added to their gradients: l1 sign(w) and l2 w.
    weight_decay : float, default=0.0
        Share of a kernel, times the learning rate, that each step takes away.
    clip_norm : float, optional
        Gradients are scaled so that their joint length is at most this (Pascanu et al.,
        arXiv:1211.5063).
    clip_value : float, optional
        Each gradient is held within plus and minus this.
    max_norm : float, optional
        After a step, the weights into each unit of a kernel are scaled to at most this length.

    Attributes
    ----------
    slots : dict of str to list of arrays
        What the rule keeps beside each parameter.
    steps : int
        Steps done.
    """

    kind: str

    def __init__(
        self,
        learning_rate: float,
        *,
        l1: float = 0.0,
        l2: float = 0.0,
        weight_decay: float = 0.0,
        clip_norm: float | None = None,
        clip_value: float | None = None,
        max_norm: float | None = None,
    ) -> None:
        self.learning_rate = _number("learning_rate", learning_rate, 0.0, open_low=True)
        self.l1 = _number("l1", l1, 0.0)
        self.l2 = _number("l2", l2, 0.0)
        self.weight_decay = _number("weight_decay", weight_decay, 0.0)
        for name, value in (
            ("clip_norm", clip_norm),
            ("clip_value", clip_value),
            ("max_norm", max_norm),
        ):
            setattr(self, name, None if value is None else _number(name, value, 0.0, open_low=True))
        self.clip_norm: float | None
        self.clip_value: float | None
        self.max_norm: float | None
        self.parameters: list[Parameter] = []
        self.slots: dict[str, list[Array]] = {}
        self.steps = 0

    def bind(self, parameters: Sequence[Parameter]) -> Self:
        """Take charge of the trainable ones of `parameters`, from step 0."""
        self.parameters = [p for p in parameters if p.trainable]
        self.steps = 0
        device = self._device()
        with device.context():
            self.slots = {
                name: [device.xp.zeros(p.data.shape, p.data.dtype) for p in self.parameters]
                for name in SLOTS[self.kind]
            }
        return self

    def _device(self) -> Device:
        return device_of(p.data for p in self.parameters)

    def rule(self) -> dict[str, float]:
        """Return the numbers of the rule itself, such as ``beta1``."""
        return {}

    def hyper(self, learning_rate: float | None = None) -> dict[str, float]:
        """Return every number that the next step needs."""
        return {
            "lr": self.learning_rate if learning_rate is None else learning_rate,
            "step": float(self.steps + 1),
            "scale": 1.0,
            "l1": self.l1,
            "l2": self.l2,
            "weight_decay": self.weight_decay,
            **self.rule(),
        }

    def step(self, learning_rate: float | None = None) -> None:
        """Change the parameters by their gradients, and clear those.

        A parameter without a gradient counts as one whose gradient is 0. Of one whose gradient is
        a `RowGradient`, only the rows in it, and the slots' rows, are touched.
        """
        if not self.parameters:
            return
        device = self._device()
        xp = device.xp
        with device.context():
            used: dict[int, Array] = {}
            params, grads = [], []
            slots: list[list[Array]] = [list(self.slots[name]) for name in SLOTS[self.kind]]
            for i, p in enumerate(self.parameters):
                if isinstance(p.grad, RowGradient):
                    ids, rows = p.grad.rows()
                    used[i] = ids
                    params.append(p.data[ids])
                    grads.append(rows)
                    for slot in slots:
                        slot[i] = slot[i][ids]
                else:
                    params.append(p.data)
                    grads.append(xp.zeros_like(p.data) if p.grad is None else p.grad)
            if self.clip_value is not None:
                grads = [xp.clip(g, -self.clip_value, self.clip_value) for g in grads]
            if self.clip_norm is not None:
                # Stays on the device: a comparison on the host would wait for it.
                square = total(device, grads, squared=True)
                factor = xp.minimum(1.0, self.clip_norm / (xp.sqrt(square) + 1e-12))
                grads = scaled(device, grads, grads[0].dtype, factor)
            device.ops.optimizer_step(
                self.kind,
                params,
                grads,
                slots,
                self.hyper(learning_rate),
                [p.decay for p in self.parameters],
            )
            for i, ids in used.items():
                self.parameters[i].data[ids] = params[i]
                for name, slot in zip(SLOTS[self.kind], slots, strict=True):
                    self.slots[name][i][ids] = slot[i]
            if self.max_norm is not None:
                for p in self.parameters:
                    if p.decay and p.ndim > 1:
                        w = p.data
                        axes = tuple(range(w.ndim - 1))
                        length = xp.sqrt((w * w).sum(axis=axes, keepdims=True))
                        w *= xp.minimum(1.0, self.max_norm / (length + 1e-12)).astype(w.dtype)
        self.steps += 1
        self.zero_grad()

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for p in self.parameters:
            p.grad = None

    def to_device(self, device: Device) -> Self:
        """Move the slots to `device`, where the parameters are."""
        for arrays in self.slots.values():
            for i, array in enumerate(arrays):
                source = device_of((array,))
                if source is not device:
                    arrays[i] = device.send(source.receive(array))
        return self

    def state(self) -> dict[str, NDArray[Any]]:
        """Return copies of the slots as NumPy arrays, and the number of steps."""
        device = self._device()
        held = {
            f"{name}.{i}": np.array(device.receive(array))
            for name, arrays in self.slots.items()
            for i, array in enumerate(arrays)
        }
        return {"steps": np.array([self.steps], np.int64), **held}

    def load_state(self, state: dict[str, NDArray[Any]]) -> Self:
        """Set what `state` returned.

        Raises
        ------
        ValueError
            The state is of another optimizer or of other parameters.
        """
        expected = {
            f"{name}.{i}": array
            for name, arrays in self.slots.items()
            for i, array in enumerate(arrays)
        }
        if set(state) != {"steps", *expected}:
            raise ValueError(f"the state does not fit {type(self).__name__} of these parameters.")
        for name, array in expected.items():
            if tuple(state[name].shape) != tuple(array.shape):
                raise ValueError(
                    f"{name} has the shape {tuple(state[name].shape)} in the state, but "
                    f"{tuple(array.shape)} is needed."
                )
        device = self._device()
        for name, arrays in self.slots.items():
            for i, array in enumerate(arrays):
                value = np.array(state[f"{name}.{i}"], dtype=array.dtype, order="C")
                arrays[i] = device.send(value)
        self.steps = int(state["steps"][0])
        return self

    def config(self) -> dict[str, Any]:
        """Return the settings as JSON values."""
        own = [p for p in inspect.signature(type(self)).parameters if p not in _BY_NAME]
        return {name: getattr(self, name) for name in (*own, *Common.__annotations__)}


class SGD(Optimizer):
    """Gradient descent, with momentum if wanted.

    Parameters
    ----------
    learning_rate : float, default=0.01
    momentum : float in [0, 1), default=0.0
        Share of the velocity that stays.
    nesterov : bool, default=False
        Look ahead along the velocity (Sutskever et al., ICML 2013).
    **common
        l1, l2, weight_decay, clip_norm, clip_value and max_norm: see `Optimizer`.

    Examples
    --------
    >>> SGD(0.1, momentum=0.9).kind
    'momentum'
    """

    def __init__(
        self,
        learning_rate: float = 0.01,
        momentum: float = 0.0,
        nesterov: bool = False,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(learning_rate, **common)
        self.momentum = _number("momentum", momentum, 0.0, high=1.0)
        self.nesterov = bool(nesterov)
        self.kind = "sgd" if not momentum else "nesterov" if nesterov else "momentum"

    def rule(self) -> dict[str, float]:
        """Return the numbers of the rule itself."""
        return {"momentum": self.momentum} if self.momentum else {}


class RMSprop(Optimizer):
    """Steps divided by a running root mean square of the gradients.

    Parameters
    ----------
    learning_rate : float, default=0.001
    rho : float in [0, 1), default=0.9
        Share of the running mean that stays.
    eps : float, default=1e-7
        Added to the root.
    **common
        l1, l2, weight_decay, clip_norm, clip_value and max_norm: see `Optimizer`.

    Notes
    -----
    Tieleman and Hinton, lecture 6.5 of "Neural networks for machine learning" (2012).

    Examples
    --------
    >>> RMSprop().kind
    'rmsprop'
    """

    kind = "rmsprop"

    def __init__(
        self,
        learning_rate: float = 0.001,
        rho: float = 0.9,
        eps: float = 1e-7,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(learning_rate, **common)
        self.rho = _number("rho", rho, 0.0, high=1.0)
        self.eps = _number("eps", eps, 0.0, open_low=True)

    def rule(self) -> dict[str, float]:
        """Return the numbers of the rule itself."""
        return {"rho": self.rho, "eps": self.eps}


class Adam(Optimizer):
    """Steps along a running mean of the gradients, divided by the root of their mean square.

    Parameters
    ----------
    learning_rate : float, default=0.001
    beta1, beta2 : float in [0, 1), default=0.9, 0.999
        Shares of the running means that stay.
    eps : float, default=1e-8
        Added to the root.
    **common
        l1, l2, weight_decay, clip_norm, clip_value and max_norm: see `Optimizer`.

    Notes
    -----
    Kingma and Ba, "Adam: a method for stochastic optimization" (arXiv:1412.6980).

    Examples
    --------
    >>> Adam().kind
    'adam'
    """

    kind = "adam"

    def __init__(
        self,
        learning_rate: float = 0.001,
        beta1: float = 0.9,
        beta2: float = 0.999,
        eps: float = 1e-8,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(learning_rate, **common)
        self.beta1 = _number("beta1", beta1, 0.0, high=1.0)
        self.beta2 = _number("beta2", beta2, 0.0, high=1.0)
        self.eps = _number("eps", eps, 0.0, open_low=True)

    def rule(self) -> dict[str, float]:
        """Return the numbers of the rule itself."""
        return {"beta1": self.beta1, "beta2": self.beta2, "eps": self.eps}


class AdamW(Adam):
    """Adam with weight decay of its own, apart from the gradients.

    Parameters
    ----------
    learning_rate, beta1, beta2, eps
        See `Adam`.
    **common
        l1, l2, weight_decay (here 0.01 by default), clip_norm, clip_value and max_norm: see
        `Optimizer`.

    Notes
    -----
    Loshchilov and Hutter, "Decoupled weight decay regularization" (arXiv:1711.05101).

    Examples
    --------
    >>> AdamW().weight_decay
    0.01
    """

    kind = "adamw"

    def __init__(
        self,
        learning_rate: float = 0.001,
        beta1: float = 0.9,
        beta2: float = 0.999,
        eps: float = 1e-8,
        **common: Unpack[Common],
    ) -> None:
        common.setdefault("weight_decay", 0.01)
        super().__init__(learning_rate, beta1, beta2, eps, **common)


class Adagrad(Optimizer):
    """Steps divided by the root of the sum of all squared gradients.

    Parameters
    ----------
    learning_rate : float, default=0.01
    eps : float, default=1e-7
        Added to the root.
    **common
        l1, l2, weight_decay, clip_norm, clip_value and max_norm: see `Optimizer`.

    Notes
    -----
    Duchi et al., "Adaptive subgradient methods", JMLR 12 (2011).

    Examples
    --------
    >>> Adagrad().kind
    'adagrad'
    """

    kind = "adagrad"

    def __init__(
        self,
        learning_rate: float = 0.01,
        eps: float = 1e-7,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(learning_rate, **common)
        self.eps = _number("eps", eps, 0.0, open_low=True)

    def rule(self) -> dict[str, float]:
        """Return the numbers of the rule itself."""
        return {"eps": self.eps}


class Lion(Optimizer):
    """Steps of one length: the sign of a running mean of the gradients.

    Parameters
    ----------
    learning_rate : float, default=1e-4
    beta1, beta2 : float in [0, 1), default=0.9, 0.99
        Shares of the running mean in the step, and of what stays of it.
    **common
        l1, l2, weight_decay, clip_norm, clip_value and max_norm: see `Optimizer`.

    Notes
    -----
    Chen et al., "Symbolic discovery of optimization algorithms" (arXiv:2302.06675).

    Examples
    --------
    >>> Lion().kind
    'lion'
    """

    kind = "lion"

    def __init__(
        self,
        learning_rate: float = 1e-4,
        beta1: float = 0.9,
        beta2: float = 0.99,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(learning_rate, **common)
        self.beta1 = _number("beta1", beta1, 0.0, high=1.0)
        self.beta2 = _number("beta2", beta2, 0.0, high=1.0)

    def rule(self) -> dict[str, float]:
        """Return the numbers of the rule itself."""
        return {"beta1": self.beta1, "beta2": self.beta2}


#: Optimizers by name.
OPTIMIZERS: dict[str, type[Optimizer]] = {
    "sgd": SGD,
    "rmsprop": RMSprop,
    "adam": Adam,
    "adamw": AdamW,
    "adagrad": Adagrad,
    "lion": Lion,
}


def get_optimizer(optimizer: str | Optimizer, **settings: Any) -> Optimizer:
    """Return the optimizer that `optimizer` names, with `settings`; one comes back itself.

    Raises
    ------
    InvalidParameterError
        There is no optimizer of that name.

    Examples
    --------
    >>> get_optimizer("adam", learning_rate=0.01).learning_rate
    0.01
    """
    if isinstance(optimizer, Optimizer):
        return optimizer
    if optimizer not in OPTIMIZERS:
        raise InvalidParameterError(
            f"optimizer must be one of {', '.join(OPTIMIZERS)} or an Optimizer, got {optimizer!r}."
        )
    return OPTIMIZERS[optimizer](**settings)
