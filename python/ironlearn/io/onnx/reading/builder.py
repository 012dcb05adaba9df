"""What operators add layers to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ironlearn.io.onnx.reading import functions
from ironlearn.io.onnx.reading.file import Node
from ironlearn.io.onnx.reading.values import Atom, Axis, Value, fresh, length
from ironlearn.nn.layers import Activation, Flatten, Merge, Permute, Reshape, Scale
from ironlearn.nn.layers.base import Layer

#: Elementwise operators of two computed values, and the mode of `Merge`.
MERGES = {"Add": "add", "Sub": "sub", "Mul": "mul", "Div": "div", "Max": "max"}


@dataclass
class Part:
    """A layer of the network.

    Attributes
    ----------
    layer : Layer
        Not built.
    sources : tuple of int
        Parts that it reads; 0 is the input.
    given : tuple of Value
        The same, arranged as the layer takes them.
    arrays : dict of str to ndarray
        Its parameters and buffers, by their names.
    node : Node
        What it comes from.
    """

    layer: Layer
    sources: tuple[int, ...]
    given: tuple[Value, ...]
    arrays: dict[str, NDArray[Any]]
    node: Node


@dataclass(frozen=True, eq=False)
class Step:
    """An elementwise operator: on values, and on numbers that it holds."""

    node: Node
    operands: tuple[Value, ...]
    apply: Callable[..., Any]


class Symbol:
    """What a file computes on the way to a layer, and no layer gives by itself."""


@dataclass(frozen=True)
class Filled:
    """A constant of one number, however many times: its shape may not be known."""

    number: float


@dataclass
class Builder:
    """A network under construction.

    Attributes
    ----------
    opset : int
        Version of the operators.
    node : Node
        The node at work, for messages.
    constants : dict of str to ndarray or Filled
    values : dict of str to Value
    symbols : dict of str to Symbol
    parts : list of Part
    room : int
        Numbers that may still be made: a small file cannot ask for a large network.
    """

    opset: int
    constants: dict[str, Any] = field(default_factory=dict)
    values: dict[str, Value] = field(default_factory=dict)
    symbols: dict[str, Symbol] = field(default_factory=dict)
    parts: list[Part] = field(default_factory=list)
    node: Any = None
    room: int = 1 << 20
    _settled: dict[int, tuple[Value, Value]] = field(default_factory=dict)

    # Inputs of nodes --------------------------------------------------------------------------

    def raw(self, name: str) -> Value:
        """Return a computed value, perhaps with a function that has still to be applied."""
        if name in self.values:
            return self.values[name]
        if name in self.symbols:
            raise self.node.refuse(
                "what it takes is part of an attention or a table of places, which are read only "
                "as such."
            )
        if name in self.constants:
            raise self.node.refuse(f"{name!r} is constant where something computed is expected.")
        raise self.node.refuse(f"its input {name!r} is computed nowhere before it.")

    def value(self, name: str) -> Value:
        """Return a computed value."""
        return self.settle(self.raw(name))

    def constant(self, name: str, what: str) -> NDArray[Any]:
        """Return a constant; `what` is its part, for messages."""
        found = self.constants.get(name)
        if not isinstance(found, np.ndarray):
            if name in self.values or isinstance(found, Filled):
                raise self.node.refuse(f"{what} is not a constant of known shape.")
            raise self.node.refuse(f"{what} is missing.")
        return found

    def weights(self, name: str, what: str, *axes: int) -> NDArray[np.float32]:
        """Return a constant of floating-point numbers of so many axes."""
        found = self.constant(name, what)
        if found.dtype != np.float32 or (axes and found.ndim not in axes):
            raise self.node.refuse(f"{what} has the shape {found.shape} and dtype {found.dtype}.")
        return found

    def integers(self, name: str, what: str) -> list[int]:
        """Return a constant vector, or one number, of integers."""
        found = self.constant(name, what)
        if found.dtype.kind not in "iu" or found.ndim > 1 or found.size > 64:
            raise self.node.refuse(f"{what} has the shape {found.shape} and dtype {found.dtype}.")
        return [int(v) for v in found.ravel()]

    def take(self, count: int) -> None:
        """Account for numbers that are about to be made."""
        self.room -= count
        if self.room < 0:
            raise self.node.refuse(
                "the network would hold many times the numbers that the file holds."
            )

    def axis(self, axis: int, rank: int) -> int:
        """Return an axis counted from the front."""
        if not -rank <= axis < rank:
            raise self.node.refuse(f"there is no axis {axis} in a value of {rank} axes.")
        return axis % rank

    # Adding layers ----------------------------------------------------------------------------

    def add(
        self,
        layer: Layer,
        sources: Sequence[Value],
        order: Sequence[int | None],
        arrays: Mapping[str, NDArray[Any]] | None = None,
        rank: int | None = None,
    ) -> Value:
        """Add a layer that takes what its sources' parts give.

        Parameters
        ----------
        layer : Layer
            Not built.
        sources : sequence of Value
            Values arranged as the layer takes them.
        order : sequence of (int or None)
            Which axis the file sees at each axis of the output, the batch's first; ``None`` is an
            axis of length 1 that it does not see.
        arrays : mapping of str to ndarray, optional
            Parameters and buffers.
        rank : int, optional
            How many axes the file sees, if there are others than in `order`, of length 1.
        """
        shapes: Any = [source.inner for source in sources]
        try:
            shape = layer.output_shape(tuple(shapes) if isinstance(layer, Merge) else shapes[0])
        except ValueError as error:
            raise self.node.refuse(f"{error}") from error
        self.take(sum(array.size for array in (arrays or {}).values()))
        numbers = tuple(source.part for source in sources)
        self.parts.append(Part(layer, numbers, tuple(sources), dict(arrays or {}), self.node))
        made = fresh(len(self.parts), shape, _same_lengths(layer, sources[0]))
        made = replace(made, maker=self.parts[-1])
        seen = [place for place in order if place is not None]
        view: list[Axis] = [()] * (len(seen) if rank is None else rank)
        for place, axis in zip(order, made.axes, strict=True):
            if place is not None:
                view[place] = axis
        return made.seen(view)

    def arrange(self, value: Value, order: Sequence[int]) -> Value:
        """Return the value such that the file's axis ``order[k]`` is axis k of its part."""
        wanted = [value.view[place] for place in order]
        if tuple(wanted) == value.axes:
            return value
        if [atom for atom in wanted[0] if atom.size != 1] != [value.axes[0][0]]:
            raise self.node.refuse("the batch's axis is joined with others, or is none.")
        shown = {id(atom) for axis in wanted for atom in axis}
        if any(atom.size != 1 and id(atom) not in shown for axis in value.axes for atom in axis):
            raise self.node.refuse("axes were lost.")
        # The batch stays where it is; axes of length 1 may be anywhere.
        now = [atom for axis in value.axes[1:] for atom in axis if atom.size != 1]
        then = [atom for axis in wanted[1:] for atom in axis if atom.size != 1]
        shape = list(value.inner)
        if [id(atom) for atom in now] != [id(atom) for atom in then]:
            apart = [atom.size for atom in now]
            if any(len(axis) != 1 or axis[0].size == 1 for axis in value.axes[1:]):
                value = self._reshape(value, shape, apart)
            places = {id(atom): i for i, atom in enumerate(now, 1)}
            dims = tuple(places[id(atom)] for atom in then)
            value = self.add(Permute(dims), [value], range(len(now) + 1))
            shape = [atom.size for atom in then]
        goal = [length(axis) for axis in wanted[1:]]
        if shape != goal:
            value = self._reshape(value, shape, goal)
        view: list[Axis] = [()] * len(order)
        for place, axis in zip(order, value.axes, strict=True):
            view[place] = axis
        return value.seen(view)

    def _reshape(self, value: Value, now: list[int | None], goal: list[int | None]) -> Value:
        if None in now or None in goal:
            raise self.node.refuse(
                "the layer needs to know every length; give input_shape to from_onnx."
            )
        if len(goal) == 1 and len(now) > 1:
            return self.add(Flatten(), [value], range(2))
        sizes = tuple(size for size in goal if size is not None)
        return self.add(Reshape(sizes), [value], range(len(goal) + 1))

    def first_and_last(self, value: Value, last: int) -> list[int]:
        """Return an order with the batch first and this axis last, else as it is now."""
        batch = value.batch()
        if batch is None:
            raise self.node.refuse("the batch's axis is joined with others, or is none.")
        if batch == last:
            raise self.node.refuse("it works along the batch's axis.")
        places = {id(atom): i for i, axis in enumerate(value.axes) for atom in axis}

        def lies(place: int) -> tuple[int, int]:
            axis = value.view[place]
            return (places[id(axis[0])] if axis else 0, place)

        rest = sorted((p for p in range(value.rank) if p not in (batch, last)), key=lies)
        return [batch, *rest, last]

    def channels_last(self, value: Value) -> Value:
        """Return images or sequences, channels first in the file, as layers take them."""
        rank = value.rank
        return self.arrange(value, [0, *range(2, rank), 1])

    # Elementwise ------------------------------------------------------------------------------

    def settle(self, value: Value) -> Value:
        """Return the value with its function applied by a layer."""
        if value.function is None:
            return value
        if id(value) not in self._settled:
            # The value is kept, so that its number is not given to another one.
            self._settled[id(value)] = (value, self._applied(value))
        return self._settled[id(value)][1]

    def _applied(self, value: Value) -> Value:
        assert value.function is not None
        step: Step = value.step
        plain = replace(value, function=None, step=None, cost=0)
        simple = self._simple(plain, value.function)
        if simple is not None:
            return simple
        now, self.node = self.node, step.node
        try:
            for before in _before(value):
                # Perhaps one activation, and something else before it; the longest that is one.
                rest = _from(before, value)
                if rest is not None and functions.known_as(rest):
                    found = self._simple(self.settle(before), rest)
                    assert found is not None
                    return found
            if len(step.operands) == 2:
                return self.merged(step.node, [self.settle(part) for part in step.operands])
            raise step.node.refuse(
                "what it computes is none of the activations "
                f"{', '.join(functions.NAMES)}, nor a factor and an offset."
            )
        finally:
            self.node = now

    def _simple(self, value: Value, function: Callable[[Any], Any]) -> Value | None:
        name = functions.activation(function)
        if name == "linear":
            return value
        if name is not None:
            return self._same(value, Activation(name), {})
        line = functions.line(function)
        if line is None:
            return None
        width = value.inner[-1] if value.inner else None
        if width is None:
            raise self.node.refuse("a factor needs to know the width of what it is applied to.")
        self.take(2 * width)
        gain, offset = (np.full(width, part, np.float32) for part in line)
        return self._same(value, Scale(), {"gamma": gain, "beta": offset})

    def _same(self, value: Value, layer: Layer, arrays: Mapping[str, Any]) -> Value:
        """Add a layer that changes no shape, whatever the view is."""
        made = self.add(layer, [value], range(len(value.axes)), arrays)
        # The view's atoms are kept, which may be factors of axes.
        return replace(value, part=made.part, maker=made.maker)

    def merged(self, node: Node, values: Sequence[Value]) -> Value:
        """Return an elementwise operator of two computed values."""
        if node.kind not in MERGES:
            raise node.refuse("it takes two computed values, for which there is no layer.")
        return self.join(Merge(MERGES[node.kind]), values)

    def join(self, layer: Merge, values: Sequence[Value], axis: int | None = None) -> Value:
        """Add a merge of values in the same order of axes; `axis` is the file's for "concat"."""
        if len({value.rank for value in values}) != 1:
            raise self.node.refuse(
                f"it joins values of other numbers of axes: {[v.shape for v in values]}."
            )
        order = next((v.order() for v in values if v.order() is not None), None)
        if order is None:
            rank, batch = values[0].rank, values[0].batch()
            if batch is None:
                raise self.node.refuse("the batch's axis is joined with others, or is none.")
            order = (batch, *(place for place in range(rank) if place != batch))
        arranged = [self.arrange(value, order) for value in values]
        if axis is not None:
            place = order.index(axis)
            if place == 0:
                raise self.node.refuse("it joins along the batch's axis.")
            layer = Merge(layer.mode, place)
        return self.add(layer, arranged, order)


def _before(value: Value) -> list[Value]:
    """Return what a function is made of, the earliest first."""
    found: dict[int, Value] = {}
    waiting = list(value.step.operands)
    while waiting:
        one = waiting.pop()
        if one.function is not None and id(one) not in found:
            found[id(one)] = one
            waiting.extend(one.step.operands)
    return sorted(found.values(), key=lambda one: one.cost)


def _from(before: Value, value: Value) -> Callable[[Any], Any] | None:
    """Return the function from one value to a later one, if it is a function of that alone."""
    if value is before:
        return lambda x: x
    if value.function is None:
        return None
    parts = [_from(before, operand) for operand in value.step.operands]
    known = [part for part in parts if part is not None]
    if len(known) < len(parts):
        return None
    apply = value.step.apply
    return lambda x: apply(*(part(x) for part in known))


def _same_lengths(layer: Layer, source: Value) -> list[Atom]:
    """Return the atoms of the source's axes of unknown length where a layer keeps them.

    Every layer that takes such axes leaves them as long as they are and where they are.
    """
    axes = source.axes
    if isinstance(layer, Permute):
        axes = (axes[0], *(axes[place] for place in layer.dims))
    joined = layer.axis if isinstance(layer, Merge) and layer.mode == "concat" else None
    return [
        axis[0] if len(axis) == 1 and place != joined else Atom(None)
        for place, axis in enumerate(axes)
    ]


def one_number(array: Any) -> float | None:
    """Return the number that a constant is, however many axes it has."""
    if isinstance(array, Filled):
        return array.number
    if isinstance(array, np.ndarray) and array.size == 1:
        return float(array.reshape(-1)[0])
    return None
