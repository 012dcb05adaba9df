"""Operators that treat each number by itself."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from ironlearn.io.onnx.reading import functions
from ironlearn.io.onnx.reading.builder import Builder, Filled, Step, one_number
from ironlearn.io.onnx.reading.file import Node
from ironlearn.io.onnx.reading.operators import attention, position
from ironlearn.io.onnx.reading.values import UNKNOWN, Value
from ironlearn.nn.layers import PositionEmbedding, Scale

#: No activation is written with more operators than this; longer chains are cut.
_MOST = 32
_UNARY: dict[str, Callable[[Any], Any]] = {
    "Abs": np.abs,
    "Erf": functions.erf,
    "Exp": np.exp,
    "Log": np.log,
    "Neg": np.negative,
    "Reciprocal": np.reciprocal,
    "Relu": functions.known("relu"),
    "Sigmoid": functions.known("sigmoid"),
    "Softplus": functions.known("softplus"),
    "Softsign": lambda x: x / (1 + np.abs(x)),
    "Sqrt": np.sqrt,
    "Tanh": np.tanh,
}
_BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "Add": np.add,
    "Greater": np.greater,
    "GreaterOrEqual": np.greater_equal,
    "Less": np.less,
    "Div": np.divide,
    "Max": np.maximum,
    "Min": np.minimum,
    "Mul": np.multiply,
    "Pow": np.power,
    "Sub": np.subtract,
}


def _then(b: Builder, node: Node, value: Value, apply: Callable[[Any], Any]) -> Value:
    """Return the value with one more function to apply."""
    value = value if value.cost < _MOST else b.settle(value)
    before = value.function
    function = apply if before is None else lambda x: apply(before(x))
    step = Step(node, (value,), apply)
    return replace(value, function=function, step=step, cost=value.cost + 1)


def unary(b: Builder, node: Node) -> Any:
    """Operators without settings; of constants they are computed at once."""
    name = node.given(0)
    if name in b.constants:
        return _UNARY[node.kind](b.constant(name, "its input"))
    return _then(b, node, b.raw(node.given(0)), _UNARY[node.kind])


def leaky_relu(b: Builder, node: Node) -> Value:
    """LeakyRelu, with the slope of our activation or another that makes one."""
    slope = node.get("alpha", 0.01)
    return _then(b, node, b.raw(node.given(0)), lambda x: np.where(x > 0, x, slope * x))


def elu(b: Builder, node: Node) -> Value:
    """Elu."""
    alpha = node.get("alpha", 1.0)
    apply = functools.partial(_elu, alpha=alpha)
    return _then(b, node, b.raw(node.given(0)), apply)


def _elu(x: Any, alpha: float) -> Any:
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


def gelu(b: Builder, node: Node) -> Value:
    """Gelu, exact or by the hyperbolic tangent."""
    kinds = {"none": "gelu", "tanh": "gelu_tanh"}
    kind = node.get("approximate", "none")
    if kind not in kinds:
        raise node.refuse(f"approximate={kind!r} is not supported.")
    return _then(b, node, b.raw(node.given(0)), functions.known(kinds[kind]))


def hard_sigmoid(b: Builder, node: Node) -> Value:
    """HardSigmoid; alone it is no activation of ours, as part of another it may be."""
    slope, offset = node.get("alpha", 0.2), node.get("beta", 0.5)
    apply = functools.partial(_hard, slope=slope, offset=offset)
    return _then(b, node, b.raw(node.given(0)), apply)


def _hard(x: Any, slope: float, offset: float) -> Any:
    return np.clip(slope * x + offset, 0, 1)


def clip(b: Builder, node: Node) -> Value:
    """Clip: bounds are attributes or constants."""
    low, high = node.get("min", -math.inf), node.get("max", math.inf)
    if node.given(1):
        low = _number(b, node, node.given(1))
    if node.given(2):
        high = _number(b, node, node.given(2))
    # Old exporters write the largest number instead of none.
    low, high = (v if abs(v) < 3e38 else math.copysign(math.inf, v) for v in (low, high))
    return _then(b, node, b.raw(node.given(0)), lambda x: np.minimum(np.maximum(x, low), high))


def _number(b: Builder, node: Node, name: str) -> float:
    found = one_number(b.constants.get(name))
    if found is None:
        raise node.refuse(f"{name!r} must be a constant of one number.")
    return found


def binary(b: Builder, node: Node) -> Any:
    """Arithmetic: of constants, of a value and constants, or of two values."""
    apply = _BINARY[node.kind]
    names = [name for name in node.inputs if name]
    if not names or (len(names) == 1 and node.kind not in ("Max", "Min")):
        raise node.refuse("it takes two inputs.")
    if len(names) == 2 and any(name in b.symbols for name in names):
        return _of_symbol(b, node, names)
    computed = [name for name in names if name in b.values]
    if not computed:
        return _folded(b, node, names, apply)
    if len(names) == 1:
        return b.raw(names[0])
    if len(names) > 2:
        raise node.refuse("more than two inputs are not supported.")
    if len(computed) == 2:
        return _of_two(b, node, apply, *(b.raw(name) for name in names))
    value = b.raw(computed[0])
    swapped = names[0] != computed[0]
    other = names[0] if swapped else names[1]
    constant = b.constants.get(other)
    number = one_number(constant)
    if number is not None:
        function = (lambda x: apply(number, x)) if swapped else (lambda x: apply(x, number))
        return _then(b, node, value, function)
    return _of_channels(b, node, b.settle(value), b.weights(other, f"{other!r}"), swapped)


def _of_symbol(b: Builder, node: Node, names: list[str]) -> Any:
    """Return products of an attention times a number, or a sequence with a table's rows added."""
    for name, other in (names, names[::-1]):
        found = b.symbols.get(name)
        number = one_number(b.constants.get(other))
        if isinstance(found, attention.Scores) and number is not None:
            if node.kind == "Mul":
                return attention.scaled(found, number)
            if node.kind == "Div" and name == names[0] and number:
                return attention.scaled(found, 1 / number)
        if isinstance(found, attention.Scores) and node.kind == "Add" and other in b.constants:
            return attention.lowered(node, found, b.constants[other])
        if isinstance(found, position.Places) and node.kind == "Add":
            if number == 0 and found.table is None:
                return found
            if other in b.values:
                return position.added(b, node, b.value(other), found)
    raise node.refuse(
        "of the products within an attention only multiples are taken, and the rows of a table of "
        "places are only added to a sequence; computed masks are not supported."
    )


def _folded(b: Builder, node: Node, names: list[str], apply: Any) -> Any:
    parts = [b.constants.get(name) for name in names]
    numbers = [one_number(part) for part in parts]
    known = [number for number in numbers if number is not None]
    if any(isinstance(part, Filled) for part in parts) and len(known) == len(parts):
        return Filled(float(functools.reduce(apply, known)))
    arrays = [b.constant(name, f"{name!r}") for name in names]
    shape = np.broadcast_shapes(*(a.shape for a in arrays))
    if math.prod(shape) > max(a.size for a in arrays):
        raise node.refuse(f"a constant of the shape {shape} is larger than what it is made of.")
    kind = arrays[0].dtype
    if kind.kind in "iu" and any((a <= UNKNOWN).any() for a in arrays):
        if node.kind != "Sub" or not np.array_equal(arrays[0], arrays[-1]):
            raise node.refuse("it computes with lengths that are not known.")
    with np.errstate(all="ignore"):
        if node.kind == "Div" and kind.kind in "iu":
            apply = np.floor_divide
        found = np.asarray(functools.reduce(apply, arrays))
        return found if found.dtype == bool else found.astype(kind)


def _of_two(b: Builder, node: Node, apply: Any, one: Value, other: Value) -> Value:
    cost = one.cost + other.cost + 1
    alike = one.part == other.part and one.axes == other.axes and one.view == other.view
    if alike and cost <= _MOST:
        f, g = (_or_itself(value.function) for value in (one, other))
        step = Step(node, (one, other), apply)
        return replace(one, function=lambda x: apply(f(x), g(x)), step=step, cost=cost)
    return b.merged(node, [b.settle(one), b.settle(other)])


def _or_itself(function: Callable[[Any], Any] | None) -> Callable[[Any], Any]:
    return (lambda x: x) if function is None else function


def where(b: Builder, node: Node) -> Any:
    """Where, of an attention's mask or in an activation."""
    name, kept, filler = (node.given(i) for i in range(3))
    found = b.symbols.get(kept)
    if not isinstance(found, attention.Scores):
        return _chosen(b, node, (name, kept, filler))
    order = b.symbols.get(name, b.constants.get(name))
    return attention.masked(node, found, order, one_number(b.constants.get(filler)))


def _chosen(b: Builder, node: Node, names: tuple[str, str, str]) -> Value:
    """Return an elementwise choice between functions of one value, and numbers."""
    values = {name: b.raw(name) for name in names if name in b.values}
    numbers = {name: one_number(b.constants.get(name)) for name in names if name not in values}
    cost = sum(value.cost for value in values.values()) + 1
    one = next(iter(values.values()), None)
    if (
        one is None
        or None in numbers.values()
        or cost > _MOST
        or any(v.part != one.part or v.view != one.view for v in values.values())
    ):
        raise node.refuse("it chooses from other things than functions of one value and numbers.")

    def apply(*given: Any) -> Any:
        rest = iter(given)
        chosen: list[Any] = [next(rest) if name in values else numbers[name] for name in names]
        return np.where(*chosen)

    operands = tuple(values[name] for name in names if name in values)
    parts = [_or_itself(operand.function) for operand in operands]
    step = Step(node, operands, apply)
    return replace(
        one, function=lambda x: apply(*(part(x) for part in parts)), step=step, cost=cost
    )


def _of_channels(b: Builder, node: Node, value: Value, constant: Any, swapped: bool) -> Value:
    """Return arithmetic with a number for each channel, or for each step and channel."""
    rank = value.rank
    if constant.ndim > rank:
        raise node.refuse(f"a constant of the shape {constant.shape} is wider than its value.")
    shape = (1,) * (rank - constant.ndim) + constant.shape
    wide = [axis for axis, size in enumerate(shape) if size != 1]
    if node.kind == "Add" and wide == [rank - 2, rank - 1] and rank == 3:
        value = b.arrange(value, b.first_and_last(value, rank - 1))
        table = constant.reshape(shape[1:])
        if value.inner != table.shape:
            raise node.refuse(f"a constant of the shape {constant.shape} does not fit.")
        return b.add(PositionEmbedding(len(table)), [value], [0, 1, 2], {"embeddings": table})
    if len(wide) != 1 or node.kind not in ("Add", "Sub", "Mul", "Div"):
        raise node.refuse(
            f"its constant of the shape {constant.shape} is neither one number nor one for each "
            "channel."
        )
    order = b.first_and_last(value, wide[0])
    value = b.arrange(value, order)
    vector = constant.reshape(-1)
    if value.inner[-1] != len(vector):
        raise node.refuse(f"a constant of the shape {constant.shape} does not fit {value.shape}.")
    ones, zeros = np.ones_like(vector), np.zeros_like(vector)
    if node.kind == "Div" and (swapped or not vector.all()):
        raise node.refuse("it divides by a computed value or by zero.")
    with np.errstate(all="ignore"):
        gain, offset = {
            "Add": (ones, vector),
            "Sub": (-ones, vector) if swapped else (ones, -vector),
            "Mul": (vector, zeros),
            "Div": (ones / np.where(vector == 0, 1, vector), zeros),
        }[node.kind]
    return b.add(Scale(), [value], order, {"gamma": gain, "beta": offset})


OPERATORS = {
    **dict.fromkeys(_UNARY, unary),
    **dict.fromkeys(_BINARY, binary),
    "Clip": clip,
    "Elu": elu,
    "Gelu": gelu,
    "HardSigmoid": hard_sigmoid,
    "LeakyRelu": leaky_relu,
    "Where": where,
}
