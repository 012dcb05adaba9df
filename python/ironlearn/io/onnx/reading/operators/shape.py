"""Operators that change shapes, and the arithmetic of shapes, which is done while reading."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ironlearn.io.onnx.reading.builder import Builder, Filled
from ironlearn.io.onnx.reading.file import Node
from ironlearn.io.onnx.reading.operators import attention, position
from ironlearn.io.onnx.reading.values import UNKNOWN, Value, length, regroup, signs
from ironlearn.nn.layers import Merge

#: Operators that leave a constant of one number, repeated, such a constant.
OF_FILLED = ("Cast", "Expand", "Gather", "Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze")
#: Constants that are computed while reading have at most so many numbers.
_MOST = 1 << 16


def _axes(b: Builder, node: Node, place: int = 1) -> list[int] | None:
    """Return the axes that a node names: an input since opset 13, before it an attribute."""
    if node.given(place):
        return b.integers(node.given(place), "axes")
    found = node.attributes.get("axes")
    return None if found is None else list(node.get("axes", ()))


def constant(b: Builder, node: Node) -> Any:
    """Constant."""
    attributes = node.attributes
    for name in ("value", "value_float", "value_int", "value_floats", "value_ints"):
        if name in attributes:
            found = np.asarray(attributes[name])
            return found.astype(np.float32) if found.dtype == np.float64 else found
    raise node.refuse("it holds no numbers.")


def constant_of_shape(b: Builder, node: Node) -> Any:
    """ConstantOfShape: only remembered, unless it is small."""
    dims = b.integers(node.given(0), "the shape")
    value = np.asarray(node.attributes.get("value", np.float32(0))).reshape(-1)[:1]
    if all(0 <= size <= _MOST for size in dims) and math.prod(dims) <= _MOST:
        return np.broadcast_to(value, dims).copy()
    return Filled(float(value[0]))


def expand(b: Builder, node: Node) -> Filled:
    """Expand, of one number however often: only remembered."""
    found = b.constants.get(node.given(0))
    if isinstance(found, np.ndarray) and found.size and (found == found.flat[0]).all():
        return Filled(float(found.flat[0]))
    raise node.refuse("only constants of one number can be expanded.")


def same(b: Builder, node: Node) -> Any:
    """Identity and Dropout, which does nothing in prediction."""
    if node.kind == "Dropout" and len(node.outputs) > 1 and node.outputs[1]:
        raise node.refuse("the mask of a dropout is not there in prediction.")
    name = node.given(0)
    for known in (b.constants, b.symbols):
        if name in known:
            return known[name]
    return b.raw(name)


def cast(b: Builder, node: Node) -> Any:
    """Cast: between floating-point types, and of shapes."""
    name, kind = node.given(0), node.get("to", 0)
    floats, integers = (1, 10, 11, 16), (6, 7)
    if kind not in (*floats, *integers):
        raise node.refuse(f"the type number {kind} is not supported.")
    if name in b.constants:
        found = b.constant(name, "its input")
        return found.astype(np.float32 if kind in floats else np.int64)
    value = b.raw(name)
    if kind in integers and value.part:
        raise node.refuse("computed values are not turned into integers.")
    return value


def shape(b: Builder, node: Node) -> Any:
    """Shape: lengths that are not known are signs, which only Reshape understands."""
    name = node.given(0)
    if name in b.constants:
        lengths = list(b.constant(name, "its input").shape)
    else:
        found = b.symbols.get(name)
        if isinstance(found, attention.Scores):
            values = [found.query, found.keys]
        else:
            values = [b.value(name)]
        try:
            lengths = [*signs(values[0])[:-1], signs(values[-1])[-1]]
        except ValueError as error:
            raise node.refuse(f"it {error}.") from error
    start, end = node.get("start", 0), node.get("end", len(lengths))
    return np.array(lengths[start:end], np.int64)


def reshape(b: Builder, node: Node) -> Any:
    """Reshape."""
    dims = b.integers(node.given(1), "the shape")
    copies = not node.get("allowzero", 0)
    name = node.given(0)
    if name in b.constants:
        found = b.constant(name, "its input")
        sizes = [
            found.shape[i] if n == 0 and copies and i < found.ndim else n
            for i, n in enumerate(dims)
        ]
        try:
            return found.reshape(sizes)
        except ValueError as error:
            raise node.refuse(f"{error}.") from error
    value = b.value(name)
    try:
        return regroup(value, dims, copies)
    except ValueError as error:
        raise node.refuse(f"it {error}.") from error


def flatten(b: Builder, node: Node) -> Value:
    """Flatten."""
    value = b.value(node.given(0))
    place = node.get("axis", 1)
    place = place + value.rank if place < 0 else place
    if not 0 < place <= value.rank:
        raise node.refuse(f"axis={place} leaves no axis for the batch.")
    joined = (value.view[:place], value.view[place:])
    return value.seen([tuple(atom for axis in part for atom in axis) for part in joined])


def transpose(b: Builder, node: Node) -> Any:
    """Transpose: nothing moves, only the view changes."""
    name = node.given(0)
    known = name in b.constants
    rank = b.constant(name, "its input").ndim if known else b.value(name).rank
    perm = node.get("perm", tuple(reversed(range(rank))))
    if sorted(perm) != list(range(rank)):
        raise node.refuse(f"perm={perm} does not order {rank} axes.")
    if known:
        return b.constants[name].transpose(perm)
    value = b.value(name)
    return value.seen([value.view[place] for place in perm])


def squeeze(b: Builder, node: Node) -> Any:
    """Squeeze."""
    name, axes = node.given(0), _axes(b, node)
    if name in b.constants:
        found = b.constant(name, "its input")
        try:
            return np.squeeze(found, None if axes is None else tuple(axes))
        except ValueError as error:
            raise node.refuse(f"{error}.") from error
    value = b.value(name)
    if axes is None:
        gone = {place for place, size in enumerate(value.shape) if size == 1}
    else:
        gone = {b.axis(axis, value.rank) for axis in axes}
    if any(length(value.view[place]) != 1 for place in gone):
        raise node.refuse(f"axes {sorted(gone)} of the shape {value.shape} have not the length 1.")
    return value.seen([axis for place, axis in enumerate(value.view) if place not in gone])


def unsqueeze(b: Builder, node: Node) -> Any:
    """Unsqueeze."""
    name, axes = node.given(0), _axes(b, node)
    if axes is None:
        raise node.refuse("it names no axes.")
    if name in b.symbols:
        return position.unsqueezed(node, b.symbols[name], axes)
    known = name in b.constants
    rank = b.constant(name, "its input").ndim if known else b.value(name).rank
    places = {b.axis(axis, rank + len(axes)) for axis in axes}
    if len(places) != len(axes):
        raise node.refuse(f"axes {axes} name one twice.")
    if known:
        return np.expand_dims(b.constants[name], tuple(places))
    value = b.value(name)
    rest = iter(value.view)
    return value.seen([() if p in places else next(rest) for p in range(rank + len(axes))])


def concat(b: Builder, node: Node) -> Any:
    """Concat."""
    names = [name for name in node.inputs if name]
    axis = node.get("axis", 0)
    if names and all(name in b.constants for name in names):
        parts = [b.constant(name, f"{name!r}") for name in names]
        try:
            return np.concatenate(parts, axis)
        except ValueError as error:
            raise node.refuse(f"{error}.") from error
    values = [b.value(name) for name in names]
    if not values:
        raise node.refuse("it joins nothing.")
    if len(values) == 1:
        return values[0]
    return b.join(Merge("concat"), values, b.axis(axis, values[0].rank))


def slices(b: Builder, node: Node) -> Any:
    """Slice, of shapes, and of columns of linear maps."""
    name = node.given(0)
    found = b.value(name) if name in b.values else _small(b, node)
    rank = found.rank if isinstance(found, Value) else found.ndim
    if b.opset < 10:
        starts, ends = list(node.get("starts", ())), list(node.get("ends", ()))
        axes = list(node.get("axes", tuple(range(len(starts)))))
        steps = [1] * len(starts)
    else:
        starts, ends = (b.integers(node.given(i), "bounds") for i in (1, 2))
        axes = b.integers(node.given(3), "axes") if node.given(3) else list(range(len(starts)))
        steps = b.integers(node.given(4), "steps") if node.given(4) else [1] * len(starts)
    if not len(starts) == len(ends) == len(axes) == len(steps) or 0 in steps:
        raise node.refuse("its bounds do not fit each other.")
    if isinstance(found, Value):
        if len(axes) != 1 or steps != [1]:
            raise node.refuse("of computed values only columns of linear maps are taken.")
        axis = b.axis(axes[0], rank)
        return attention.columns(b, node, found, axis, starts[0], ends[0])
    key = [slice(None)] * rank
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        key[b.axis(axis, rank)] = slice(start, end, step)
    return found[tuple(key)]


def _small(b: Builder, node: Node) -> NDArray[Any]:
    found = b.constant(node.given(0), "what it takes from")
    if found.size > _MOST:
        raise node.refuse(f"a constant of the shape {found.shape} is too large to be cut.")
    return found


def gather(b: Builder, node: Node, axis: int) -> NDArray[Any]:
    """Return parts of a constant at constant places: Gather, of shapes and tables."""
    found = b.constant(node.given(0), "what it takes from")
    places = b.constant(node.given(1), "indices")
    axis = b.axis(axis, found.ndim)
    if places.dtype.kind not in "iu":
        raise node.refuse("its indices are no integers.")
    b.take(places.size * (found.size // max(1, found.shape[axis])))
    if places.size and (places.min() < -found.shape[axis] or places.max() >= found.shape[axis]):
        raise node.refuse(f"an index is outside of the {found.shape[axis]} places.")
    return np.take(found, places, axis)


def product(b: Builder, node: Node) -> Any:
    """ReduceProd, of known lengths."""
    found = _small(b, node)
    if found.dtype.kind not in "iu" or (found <= UNKNOWN).any():
        raise node.refuse("only known lengths are multiplied.")
    whole = math.prod(int(n) for n in found.ravel())
    if abs(whole) > 1 << 62:
        raise node.refuse("the lengths are too large.")
    return np.array([whole] if node.get("keepdims", 1) else whole, np.int64)


OPERATORS = {
    "Cast": cast,
    "Concat": concat,
    "Constant": constant,
    "ConstantOfShape": constant_of_shape,
    "Dropout": same,
    "Expand": expand,
    "Flatten": flatten,
    "Identity": same,
    "ReduceProd": product,
    "Reshape": reshape,
    "Shape": shape,
    "Slice": slices,
    "Squeeze": squeeze,
    "Transpose": transpose,
    "Unsqueeze": unsqueeze,
}
