"""Reverse-mode differentiation over a tape of array operations.

A `Function` computes on plain arrays; `Function.apply` finds the device of its inputs, runs the
function there and, where an input needs a gradient, leaves a `Node` behind. `backward` walks the
nodes from last to first. Nodes hold what a backward step needs and nothing else, and are emptied as
the walk passes them, so that memory falls while gradients appear.

Examples
--------
>>> import numpy as np
>>> from ironlearn.nn import functional as F
>>> x = Tensor(np.array([1.0, 2.0, 3.0]), requires_grad=True)
>>> backward(F.sum(F.mul(x, x)))
>>> x.grad
array([2., 4., 6.])
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import threading
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ironlearn.nn.backend.device import Array, Device, device_of

if TYPE_CHECKING:
    from ironlearn.nn.backend.ops import Ops

_serial = itertools.count()
_state = threading.local()


def grad_enabled() -> bool:
    """Return whether computations leave nodes: not within `no_grad`."""
    return getattr(_state, "recording", True)


@contextlib.contextmanager
def no_grad() -> Iterator[None]:
    """Compute without leaving nodes: for prediction and for updates."""
    before = grad_enabled()
    _state.recording = False
    try:
        yield
    finally:
        _state.recording = before


class Tensor:
    """An array with a place on the tape.

    Parameters
    ----------
    data : array
        The value; an array of any device.
    requires_grad : bool, default=False
        `backward` shall leave this tensor's gradient in `grad`.

    Attributes
    ----------
    grad : array or None
        The gradient, of the shape of `data`; gradients of several walks add up.
    """

    __slots__ = ("__weakref__", "_index", "_node", "data", "grad", "requires_grad")

    def __init__(self, data: Array, requires_grad: bool = False) -> None:
        self.data = data
        self.grad: Array | None = None
        self.requires_grad = requires_grad
        self._node: Node | None = None
        self._index = 0

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of the axes."""
        return self.data.shape

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return self.data.ndim

    @property
    def dtype(self) -> Any:
        """Type of the elements."""
        return self.data.dtype

    @property
    def device(self) -> Device:
        """Where the array lives."""
        return device_of((self.data,))

    def detach(self) -> Tensor:
        """Return a tensor of the same array that no gradient passes through."""
        return Tensor(self.data)

    def numpy(self) -> Any:
        """Return the value as a NumPy array."""
        return self.device.receive(self.data)

    def __dlpack__(self, **wishes: Any) -> Any:
        """Share the array with another library: ``torch.from_dlpack(tensor)``.

        Raises
        ------
        BufferError
            The tensor is on the tape: `detach` it first.
        """
        if self.requires_grad or self._node is not None:
            raise BufferError("a tensor that records gradients cannot be shared: detach() it.")
        return self.data.__dlpack__(**wishes)

    def __dlpack_device__(self) -> tuple[int, int]:
        """Return where the array lies, as DLPack has it."""
        kind, index = self.data.__dlpack_device__()
        return int(kind), int(index)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(shape={self.shape}, dtype={self.dtype})"


def arrays_among(values: Any) -> Iterator[Array]:
    """Yield the arrays, and those of the tensors, among nested values."""
    if isinstance(values, Tensor):
        yield values.data
    elif isinstance(values, Mapping):
        yield from arrays_among(tuple(values.values()))
    elif isinstance(values, tuple | list):
        for value in values:
            yield from arrays_among(value)
    elif hasattr(values, "dtype") and not isinstance(values, np.generic | np.dtype):
        yield values


class RowGradient:
    """The gradient of a table of which few rows were used.

    Parameters
    ----------
    parts : list of (ids, gradients)
        Numbers of rows, any integer shape (...), and the rows' gradients (..., D); rows met several
        times add up.
    shape : tuple of int
        The table's shape, (V, D).
    """

    __slots__ = ("parts", "shape")
    #: Arrays leave sums with it to `__radd__`.
    __array_ufunc__ = None

    def __init__(self, parts: list[tuple[Array, Array]], shape: tuple[int, ...]) -> None:
        self.parts = parts
        self.shape = shape

    def __add__(self, other: Any) -> Any:
        """Return the sum with another gradient: by rows again, or dense if that one is."""
        if isinstance(other, RowGradient):
            return RowGradient([*self.parts, *other.parts], self.shape)
        return self.dense() + other

    __radd__ = __add__

    def rows(self) -> tuple[Array, Array]:
        """Return the sorted distinct numbers of rows and their gradients."""
        device = device_of(g for _, g in self.parts)
        with device.context():
            ids = device.xp.concatenate([i.reshape(-1) for i, _ in self.parts])
            width = self.shape[-1]
            grads = device.xp.concatenate([g.reshape(-1, width) for _, g in self.parts])
            return device.ops.embedding_rows(grads, ids)

    def dense(self) -> Array:
        """Return the gradient as an array of the table's shape."""
        ids, grads = self.rows()
        device = device_of((grads,))
        with device.context():
            return device.ops.embedding_backward(grads, ids, self.shape[0])


class Context:
    """What a forward computation leaves for its backward one.

    Attributes
    ----------
    saved : tuple
        Arrays (and anything else) that `save` was given.
    needs : tuple of bool
        For each array input, whether its gradient is asked for.
    """

    __slots__ = ("__dict__", "needs", "saved")

    def __init__(self, needs: tuple[bool, ...]) -> None:
        self.saved: tuple[Any, ...] = ()
        self.needs = needs

    def save(self, *values: Any) -> None:
        """Keep `values` for the backward computation."""
        self.saved = values


class Node:
    """One application of a function."""

    __slots__ = ("context", "device", "function", "grads", "outputs", "parents", "serial")

    def __init__(
        self,
        function: type[Function],
        context: Context,
        device: Device,
        parents: tuple[Tensor | None, ...],
        outputs: int,
    ) -> None:
        self.function = function
        self.context = context
        self.device = device
        self.parents = parents
        self.outputs = outputs
        self.grads: list[Array | None] | None = None
        self.serial = next(_serial)


class Function:
    """A differentiable operation: `forward` and its adjoint `backward`, on plain arrays.

    A subclass implements both as static methods. `forward` takes the context, the device's
    operations, the input arrays (``None`` where an optional input was not given) and parameters;
    it returns one array or a tuple of arrays. `backward` takes a gradient for each output
    (``None`` where nothing depends on one, if `several`) and returns one for each input array.
    """

    #: `forward` returns a tuple of arrays.
    several: ClassVar[bool] = False

    @staticmethod
    def forward(ctx: Context, ops: Ops, *arrays: Any, **parameters: Any) -> Any:
        """Compute the outputs."""
        raise NotImplementedError

    @staticmethod
    def backward(ctx: Context, ops: Ops, *grads: Any) -> Any:
        """Compute the inputs' gradients."""
        raise NotImplementedError

    @classmethod
    def apply(cls, *inputs: Tensor | None, **parameters: Any) -> Any:
        """Run `forward` on the inputs' device and return its outputs as tensors."""
        arrays = [None if x is None else x.data for x in inputs]
        device = device_of([a for a in arrays if a is not None])
        recording = grad_enabled()
        needs = tuple(
            recording and x is not None and (x.requires_grad or x._node is not None) for x in inputs
        )
        ctx = Context(needs)
        try:
            with device.context():
                answer = cls.forward(ctx, device.ops, *arrays, **parameters)
        except TypeError:
            # What comes beside the tensors, a mask for example, may be another device's.
            device_of(arrays_among((arrays, parameters)))
            raise
        outputs = answer if cls.several else (answer,)
        tensors = tuple(Tensor(array) for array in outputs)
        if any(needs):
            parents = tuple(x if need else None for x, need in zip(inputs, needs, strict=True))
            node = Node(cls, ctx, device, parents, len(tensors))
            for index, tensor in enumerate(tensors):
                tensor._node = node
                tensor._index = index
        return tensors if cls.several else tensors[0]


def backward(tensor: Tensor, grad: Array | None = None) -> None:
    """Add to `grad` of every tensor that asked for it the gradient of `tensor`.

    Parameters
    ----------
    tensor : Tensor
        What to differentiate; a scalar unless `grad` is given.
    grad : array, optional
        The gradient with respect to `tensor` itself, of its shape; 1 by default.

    Raises
    ------
    ValueError
        `tensor` has several elements and no `grad` was given, or `grad` has another shape.
    RuntimeError
        The tape behind `tensor` was walked already.
    """
    if grad is None:
        if tensor.data.size != 1:
            raise ValueError(
                f"backward of a tensor of shape {tensor.shape} needs grad of the same shape."
            )
        with tensor.device.context():
            grad = tensor.device.xp.ones_like(tensor.data)
    elif grad.shape != tensor.shape:
        raise ValueError(f"grad must have the tensor's shape {tensor.shape}, got {grad.shape}.")
    if tensor._node is None:
        if tensor.requires_grad:
            _accumulate(tensor, grad)
        return
    # All nodes are of one device; what is added up between them is, too.
    with tensor.device.context():
        _walk(tensor, grad)


def _walk(tensor: Tensor, grad: Array) -> None:
    # A node is younger than its inputs', so the youngest waiting one has all its gradients.
    waiting: list[tuple[int, Node]] = []
    _deliver(tensor, grad, waiting)
    while waiting:
        _, node = heapq.heappop(waiting)
        grads, node.grads = node.grads, None
        if node.context is None or grads is None:
            raise RuntimeError("the tape was walked already: compute the forward pass again.")
        with no_grad():
            answer = node.function.backward(node.context, node.device.ops, *grads)
        if not isinstance(answer, tuple):
            answer = (answer,)
        parents = node.parents
        node.context = None  # type: ignore[assignment]
        node.parents = ()
        for parent, gradient in zip(parents, answer, strict=True):
            if parent is not None and gradient is not None:
                _deliver(parent, gradient, waiting)


def _deliver(tensor: Tensor, grad: Array, waiting: list[tuple[int, Node]]) -> None:
    if tensor.requires_grad:
        _accumulate(tensor, grad)
    node = tensor._node
    if node is None:
        return
    if node.grads is None:
        node.grads = [None] * node.outputs
        heapq.heappush(waiting, (-node.serial, node))
    have = node.grads[tensor._index]
    node.grads[tensor._index] = grad if have is None else have + grad


def _accumulate(tensor: Tensor, grad: Array) -> None:
    tensor.grad = grad if tensor.grad is None else tensor.grad + grad


def as_tensor(value: Tensor | Array) -> Tensor:
    """Return `value` as a tensor; one that is a tensor comes back itself."""
    return value if isinstance(value, Tensor) else Tensor(value)
