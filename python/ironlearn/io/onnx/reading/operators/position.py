"""Vectors of the places of steps: a table's rows from the first on, however long a sequence is."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ironlearn.io.onnx.reading.builder import Builder, Symbol
from ironlearn.io.onnx.reading.file import Node
from ironlearn.io.onnx.reading.values import UNKNOWN, Value
from ironlearn.nn.layers import PositionEmbedding

#: Numbers that a range of known length may have.
_MOST = 1 << 16


@dataclass(frozen=True, eq=False)
class Places(Symbol):
    """The numbers from 0 to below a length that is not known.

    Attributes
    ----------
    sign : int
        Stands for the length.
    table : ndarray or None
        Whose rows are taken.
    axis : int or None
        Where an axis of length 1 was put: 0 makes a row, 1 a column.
    """

    sign: int
    table: NDArray[Any] | None = None
    axis: int | None = None


@dataclass(frozen=True, eq=False)
class Order(Symbol):
    """Which step may see which, bool (T, T): itself and those before it."""


def count(b: Builder, node: Node) -> Any:
    """Range, by ones."""
    start, end, step = (b.integers(node.given(i), "bounds") for i in range(3))
    if not len(start) == len(end) == len(step) == 1 or step != [1]:
        raise node.refuse("only ranges by ones are supported.")
    if end[0] <= UNKNOWN and start == [0]:
        return Places(end[0])
    if not 0 <= end[0] - start[0] <= _MOST:
        raise node.refuse(f"from {start[0]} to {end[0]} it is too long.")
    return np.arange(start[0], end[0])


def unsqueezed(node: Node, places: Any, axes: list[int]) -> Places:
    """Return a range as a row or as a column."""
    if not isinstance(places, Places) or places.axis is not None or axes not in ([0], [1], [-1]):
        raise node.refuse("only a range is made a row or a column.")
    return replace(places, axis=0 if axes == [0] else 1)


def compared(b: Builder, node: Node) -> Any:
    """LessOrEqual: of constants, or of a row of places with a column of them."""
    names = (node.given(0), node.given(1))
    row, column = (b.symbols.get(name) for name in names)
    if isinstance(row, Places) and isinstance(column, Places):
        if (row.axis, column.axis) == (0, 1) and row.sign == column.sign:
            return Order()
    elif row is None and column is None:
        one, other = (b.constant(name, f"{name!r}") for name in names)
        b.take(int(np.prod(np.broadcast_shapes(one.shape, other.shape))))
        return one <= other
    raise node.refuse("only places of steps are compared.")


def rows(b: Builder, node: Node, axis: int) -> Places:
    """Return the rows of a constant table: Gather by a range."""
    places = b.symbols[node.given(1)]
    table = b.weights(node.given(0), "the table", 2)
    if not isinstance(places, Places) or places.table is not None or axis:
        raise node.refuse("it takes no rows of a table.")
    return Places(places.sign, table)


def added(b: Builder, node: Node, value: Value, places: Places) -> Value:
    """Return a sequence with the rows of a table added."""
    table = places.table
    fits = table is not None and value.rank == 3 and len(value.view[1]) == 1
    if table is None or not fits or value.view[1][0].sign != places.sign:
        raise node.refuse("the rows of a table are only added to a sequence of their length.")
    value = b.arrange(value, b.first_and_last(value, 2))
    if value.inner[-1] != table.shape[1]:
        raise node.refuse(f"rows of {table.shape[1]} numbers do not fit {value.shape}.")
    return b.add(PositionEmbedding(len(table)), [value], range(3), {"embeddings": table})


OPERATORS = {"LessOrEqual": compared, "Range": count}
