"""What every layer is made of: parameters, buffers, building, and walking over them."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from ironlearn.nn.autograd import Tensor, arrays_among
from ironlearn.nn.backend.device import Array, Device, device_of, get_device
from ironlearn.nn.backend.ops.activations import FUSED, UNFUSED
from ironlearn.nn.initializers import initial

Shape = tuple[int | None, ...]


@dataclass(frozen=True)
class Mode:
    """How a forward pass is meant.

    Attributes
    ----------
    training : bool
        Dropout drops, batch statistics are used and remembered.
    seed, step : int
        Key of the random numbers of this pass.
    """

    training: bool = False
    seed: int = 0
    step: int = 0


INFERENCE = Mode()


class Parameter(Tensor):
    """A trained array of a layer.

    Parameters
    ----------
    data : array
        The value.
    name : str
        Its name within its layer.
    decay : bool, default=True
        L1, L2 and weight decay apply to it.

    Attributes
    ----------
    name : str
        Its name within its layer.
    decay : bool
        L1, L2 and weight decay apply to it (kernels, not biases and gains).
    trainable : bool
        Optimizers change it.
    """

    __slots__ = ("decay", "name")

    def __init__(self, data: Array, name: str, decay: bool = True) -> None:
        super().__init__(data, requires_grad=True)
        self.name = name
        self.decay = decay

    @property
    def trainable(self) -> bool:
        """Optimizers change it."""
        return self.requires_grad

    @trainable.setter
    def trainable(self, value: bool) -> None:
        self.requires_grad = value


class Buffer:
    """An array that a layer keeps but no optimizer trains, such as running means.

    Parameters
    ----------
    data : array
        The value.
    name : str
        Its name within its layer.
    """

    __slots__ = ("data", "name")

    def __init__(self, data: Array, name: str) -> None:
        self.data = data
        self.name = name


class Layer:
    """Base of layers and networks.

    A subclass stores its settings in ``__init__`` under their own names, creates parameters with
    `add_parameter` in `build`, and computes in `forward`. Layers that are attributes, or in lists
    that are attributes, are its parts: their parameters are found by walking.

    Attributes
    ----------
    built : bool
        The parameters exist.
    label : str
        What error messages call the layer.
    number : int
        The layer's place in its network: the key of its random numbers.
    """

    #: `forward` takes ``mask``, bool (N, T): which steps of a sequence count.
    takes_mask: ClassVar[bool] = False
    #: Axes of the input, the batch's included; ``None`` takes any.
    input_ndim: ClassVar[int | None] = None

    built: bool = False
    input_shape: Shape | None = None
    label: str = ""
    number: int = 0

    # Building ---------------------------------------------------------------------------------

    def build(self, input_shape: Shape, rng: np.random.Generator) -> None:
        """Create the parameters for inputs of `input_shape`, the batch's axis left out."""

    def output_shape(self, input_shape: Shape) -> Shape:
        """Return the shape of the output, the batch's axis left out."""
        return input_shape

    def _build(self, input_shape: Shape, rng: np.random.Generator, label: str = "") -> Shape:
        """Check `input_shape`, build once, and return the output's shape."""
        if label and not self.label:
            self.label = label
        if self.input_ndim is not None and len(input_shape) + 1 != self.input_ndim:
            raise ValueError(
                f"{self._title()} takes inputs of {self.input_ndim} axes with the batch's first, "
                f"got shape {('N', *input_shape)}."
            )
        if not self.built:
            self.build(input_shape, rng)
            self.input_shape = tuple(input_shape)
            self.built = True
        return self.output_shape(input_shape)

    def add_parameter(
        self,
        name: str,
        shape: tuple[int, ...],
        initializer: str,
        rng: np.random.Generator,
        *,
        decay: bool = True,
        fans: tuple[float, float] | None = None,
    ) -> Parameter:
        """Create a parameter as the attribute `name`."""
        parameter = Parameter(initial(initializer, shape, rng, fans=fans), name, decay)
        setattr(self, name, parameter)
        return parameter

    def add_buffer(self, name: str, value: NDArray[Any]) -> Buffer:
        """Create a buffer as the attribute `name`."""
        buffer = Buffer(value, name)
        setattr(self, name, buffer)
        return buffer

    def _title(self) -> str:
        kind = type(self).__name__
        return f"layer {self.label} ({kind})" if self.label else f"layer {kind}"

    def _expect(self, x: Tensor) -> None:
        """Refuse an input whose shape is not the one that the layer was built for."""
        if not self.built:
            raise ValueError(f"{self._title()} is not built; call build with the input's shape.")
        assert self.input_shape is not None
        given = x.shape[1:]
        if len(given) != len(self.input_shape) or any(
            want is not None and have != want
            for have, want in zip(given, self.input_shape, strict=True)
        ):
            expected = ", ".join("any" if n is None else str(n) for n in self.input_shape)
            raise ValueError(
                f"{self._title()} expects inputs of shape (N, {expected}), got {x.shape}."
            )

    # Computing --------------------------------------------------------------------------------

    def forward(self, x: Tensor, mode: Mode = INFERENCE) -> Tensor:
        """Compute the output of `x`."""
        raise NotImplementedError

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call `forward`, on the device of the first input."""
        x = args[0] if args else None
        if isinstance(x, tuple | list) and x:
            x = x[0]
        try:
            if not isinstance(x, Tensor) or isinstance(x.data, np.ndarray):
                return self.forward(*args, **kwargs)
            # Layers also compute between their functions, which enter it each for itself.
            with x.device.context():
                return self.forward(*args, **kwargs)
        except TypeError:
            # A mask may be another device's.
            device_of(arrays_among((args, kwargs)))
            raise

    def compute_mask(self, x: Tensor, mask: Array | None) -> Array | None:
        """Return the mask of the output: by default that of the input."""
        return mask

    # Walking ----------------------------------------------------------------------------------

    def _members(self) -> Iterator[tuple[str, Any]]:
        for name, value in self.__dict__.items():
            if isinstance(value, Parameter | Buffer | Layer):
                yield name, value
            elif isinstance(value, list | tuple):
                for i, item in enumerate(value):
                    if isinstance(item, Parameter | Buffer | Layer):
                        yield f"{name}.{i}", item

    def _walk(self, prefix: str, seen: set[int]) -> Iterator[tuple[str, Any]]:
        if id(self) in seen:
            return
        seen.add(id(self))
        yield prefix, self
        for name, value in self._members():
            path = f"{prefix}.{name}" if prefix else name
            if isinstance(value, Layer):
                yield from value._walk(path, seen)
            elif id(value) not in seen:
                seen.add(id(value))
                yield path, value

    def layers_of(self) -> Iterator[Layer]:
        """Yield this layer and every layer within, each once, in the order of definition."""
        return (value for _, value in self._walk("", set()) if isinstance(value, Layer))

    def named_parameters(self) -> dict[str, Parameter]:
        """Return every parameter by its path; shared ones appear once."""
        return {p: v for p, v in self._walk("", set()) if isinstance(v, Parameter)}

    def parameters(self) -> list[Parameter]:
        """Return every parameter, in the order of definition."""
        return list(self.named_parameters().values())

    def named_buffers(self) -> dict[str, Buffer]:
        """Return every buffer by its path."""
        return {p: v for p, v in self._walk("", set()) if isinstance(v, Buffer)}

    def _held(self) -> dict[str, Any]:
        """Return every parameter and buffer by its path."""
        return {p: v for p, v in self._walk("", set()) if isinstance(v, Parameter | Buffer)}

    def state(self) -> dict[str, NDArray[Any]]:
        """Return copies of all parameters and buffers as NumPy arrays, by path."""
        held = self._held()
        return {
            path: np.array(get_device_of(value.data).receive(value.data))
            for path, value in held.items()
        }

    def load_state(self, state: dict[str, NDArray[Any]]) -> Self:
        """Set all parameters and buffers from `state`, all or none.

        Raises
        ------
        ValueError
            A name is missing or unknown, or a shape differs; the first such one is named.
        """
        held = self._held()
        missing = [path for path in held if path not in state]
        unknown = [path for path in state if path not in held]
        if missing or unknown:
            what = f"lacks {missing[0]!r}" if missing else f"has an unknown {unknown[0]!r}"
            raise ValueError(f"the state {what}: it is of another network.")
        for path, value in held.items():
            if tuple(state[path].shape) != tuple(value.data.shape):
                raise ValueError(
                    f"{path} has the shape {tuple(state[path].shape)} in the state, but "
                    f"{tuple(value.data.shape)} in the network."
                )
        for path, value in held.items():
            device = get_device_of(value.data)
            value.data = device.send(np.array(state[path], dtype=value.data.dtype, order="C"))
        return self

    def to_device(self, device: str | Device) -> Self:
        """Move all parameters and buffers to `device`; shared ones stay shared.

        Where that fails, for lack of memory for example, none has moved.
        """
        target = get_device(device)
        moved: list[tuple[Parameter | Buffer, Array]] = []
        for value in self._held().values():
            source = get_device_of(value.data)
            if source is not target:
                moved.append((value, target.send(source.receive(value.data))))
        for value, array in moved:
            value.data = array
            if isinstance(value, Parameter):
                value.grad = None
        return self

    def astype(self, dtype: Any) -> Self:
        """Turn all parameters and floating-point buffers into `dtype` (float32 or float64)."""
        for value in self._held().values():
            if value.data.dtype.kind == "f":
                value.data = value.data.astype(dtype)
        return self

    # Description ------------------------------------------------------------------------------

    def config(self) -> dict[str, Any]:
        """Return the constructor's settings as JSON values and layers' specs."""
        return {name: _plain(getattr(self, name)) for name in _settings(type(self))}

    def spec(self) -> dict[str, Any]:
        """Return the closed description of the layer: its type and its settings."""
        return {"type": type(self).__name__, "config": self.config()}

    def __repr__(self) -> str:
        shown = ", ".join(f"{k}={getattr(self, k)!r}" for k in _settings(type(self)))
        return f"{type(self).__name__}({shown})"


def get_device_of(array: Array) -> Device:
    """Return the device of one array."""
    return device_of((array,))


def _settings(kind: Any) -> tuple[str, ...]:
    return tuple(inspect.signature(kind).parameters)


def _plain(value: Any) -> Any:
    if isinstance(value, Layer):
        return value.spec()
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        return value.item()
    return value


def _is_int(value: Any) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def pair(owner: str, name: str, value: Any, low: int = 1) -> tuple[int, int]:
    """Return `value`, an int or two, as two ints of at least `low`."""
    values = (value, value) if isinstance(value, int | np.integer) else value
    if (
        not isinstance(values, tuple | list)
        or len(values) != 2
        or not all(_is_int(v) and v >= low for v in values)
    ):
        raise ValueError(
            f"{name} of {owner} must be an int >= {low} or two of them, got {value!r}."
        )
    return int(values[0]), int(values[1])


def positive(owner: str, name: str, value: Any) -> int:
    """Return `value`, an int of at least 1."""
    if not _is_int(value) or value < 1:
        raise ValueError(f"{name} of {owner} must be an int >= 1, got {value!r}.")
    return int(value)


def check_activation(owner: str, name: Any) -> None:
    """Refuse a name that is no activation."""
    known = (*FUSED, *UNFUSED, "softmax")
    if name is not None and name not in known:
        raise ValueError(f"activation of {owner} must be one of {known} or None, got {name!r}.")


def check_rate(owner: str, name: str, value: Any) -> float:
    """Return `value`, a probability below 1."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1:
        raise ValueError(f"{name} of {owner} must be a number in [0, 1), got {value!r}.")
    return float(value)
