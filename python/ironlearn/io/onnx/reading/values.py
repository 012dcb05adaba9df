"""How the axes of a file's values lie in what the layers give.

A layer here gives images channels last and sequences batch first, a file's operators want them
otherwise. So a value is what a layer gives, and a view of it: each axis that the file sees is a row
of atoms, and each axis of the layer's output is one too. Transposing, flattening and splitting axes
only change the view; `Builder.arrange` adds layers where the data themselves have to move.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

#: Lengths that are not known yet, as numbers in shapes that a file computes: this and below.
UNKNOWN = -(1 << 40)


class Atom:
    """An axis or a factor of one; two are the same only if they are one.

    Parameters
    ----------
    size : int or None
        Its length; ``None`` is any.
    batch : bool, default=False
        It is the batch's.
    declared : int, optional
        Length of the batch that the file was made for.
    """

    _numbers = itertools.count(1)

    def __init__(self, size: int | None, batch: bool = False, declared: int | None = None) -> None:
        self.size = size
        self.batch = batch
        self.declared = declared
        #: Stands for the length where it is not known.
        self.sign = UNKNOWN - next(Atom._numbers)


Axis = tuple[Atom, ...]


@dataclass(frozen=True, eq=False)
class Value:
    """What a part of the network gives, as the file sees it.

    Attributes
    ----------
    part : int
        0 is the network's input, k what part k gives.
    axes : tuple of tuples of Atom
        The axes of that, the batch's first.
    view : tuple of tuples of Atom
        The axes that the file sees; one without atoms has the length 1.
    function : callable or None
        Has still to be applied to each number.
    step : Step or None
        How that function came about.
    cost : int
        Operators that one value of the function takes, repetitions counted.
    maker : Part or None
        The part itself, unless it is the input.
    """

    part: int
    axes: tuple[Axis, ...]
    view: tuple[Axis, ...]
    function: Callable[[Any], Any] | None = None
    step: Any = None
    cost: int = 0
    maker: Any = None

    @property
    def rank(self) -> int:
        """How many axes the file sees."""
        return len(self.view)

    @property
    def shape(self) -> tuple[int | None, ...]:
        """Lengths of the axes that the file sees."""
        return tuple(length(axis) for axis in self.view)

    @property
    def inner(self) -> tuple[int | None, ...]:
        """Shape of what the part gives, the batch's axis left out."""
        return tuple(length(axis) for axis in self.axes[1:])

    def seen(self, view: Sequence[Axis]) -> Value:
        """Return the value under another view."""
        return replace(self, view=tuple(tuple(axis) for axis in view))

    def batch(self) -> int | None:
        """Return the axis, as the file sees it, that is the batch's alone."""
        for place, axis in enumerate(self.view):
            if [atom for atom in axis if atom.size != 1] == [self.axes[0][0]]:
                return place
        return None

    def order(self) -> tuple[int, ...] | None:
        """Return which axis the file sees at each of the part's; ``None`` if they are mixed."""
        if any(axis and axis not in self.axes for axis in self.view):
            return None
        places = [self.view.index(axis) if axis in self.view else -1 for axis in self.axes]
        return None if -1 in places or len(places) != self.rank else tuple(places)


def length(axis: Axis) -> int | None:
    """Return the length of an axis, ``None`` if it is not known."""
    sizes = [atom.size for atom in axis]
    return None if None in sizes else math.prod(size for size in sizes if size is not None)


def fresh(part: int, shape: Sequence[int | None], known: Sequence[Atom]) -> Value:
    """Return what a part gives, seen as it is.

    Parameters
    ----------
    part : int
        Its number.
    shape : sequence of (int or None)
        Of its output, without the batch's axis.
    known : sequence of Atom
        The batch's, and those of the axes behind it, to be used again where a length is unknown.
    """
    axes: list[Axis] = [(known[0],)]
    for place, size in enumerate(shape, 1):
        again = size is None and place < len(known) and known[place].size is None
        axes.append((known[place] if again else Atom(size),))
    return Value(part, tuple(axes), tuple(axes))


def signs(value: Value) -> list[int]:
    """Return the shape as the file computes with it: unknown lengths are signs."""
    found = []
    for axis in value.view:
        size = length(axis)
        if size is not None:
            found.append(size)
            continue
        unknown = [atom for atom in axis if atom.size is None]
        rest = math.prod(atom.size for atom in axis if atom.size is not None)
        if len(unknown) > 1 or rest != 1:
            raise ValueError("asks for the length of axes that are joined and not known")
        found.append(unknown[0].sign)
    return found


def regroup(value: Value, dims: Sequence[int], copies: bool = True) -> Value:
    """Return the value reshaped to `dims`, by its view alone.

    Parameters
    ----------
    value : Value
    dims : sequence of int
        As ONNX's Reshape takes them: -1 is what is left. Signs stand for lengths not known.
    copies : bool, default=True
        0 is the length that stands there before.

    Raises
    ------
    ValueError
        The shape does not fit, or needs lengths that are not known.
    """
    view = list(value.view)
    atoms = [atom for axis in view for atom in axis]
    by_sign = {atom.sign: atom for atom in atoms}
    goals: list[Any] = []
    for place, size in enumerate(dims):
        if size == 0 and copies:
            if place >= len(view):
                raise ValueError(f"copies the length of axis {place}, which is not there")
            goals.append(view[place])
        elif size <= UNKNOWN:
            if size not in by_sign:
                raise ValueError("uses the length of another value's axis")
            goals.append((by_sign[size],))
        elif size < -1 or size == 0:
            raise ValueError(f"asks for the length {size}")
        else:
            goals.append(int(size))
    if goals.count(-1) > 1:
        raise ValueError("leaves more than one length open")
    if -1 in goals:
        goals[goals.index(-1)] = _left(atoms, goals)
    return _walked(value, atoms, goals)


def _left(atoms: list[Atom], goals: list[Any]) -> Any:
    """Return what -1 stands for: a length, or the one axis of unknown length that is left."""
    taken = {id(atom) for goal in goals if isinstance(goal, tuple) for atom in goal}
    rest = [atom for atom in atoms if id(atom) not in taken]
    asked = math.prod(goal for goal in goals if isinstance(goal, int) and goal != -1)
    unknown = [atom for atom in rest if atom.size is None]
    known = math.prod(atom.size for atom in rest if atom.size is not None)
    if not unknown:
        if asked == 0 or known % asked:
            raise ValueError("asks for lengths that do not fit")
        return known // asked
    if len(unknown) == 1 and unknown[0].batch and unknown[0].declared is not None:
        # The file's other lengths may count on the batch that it was made for.
        whole = known * unknown[0].declared
        if asked and whole % asked == 0 and asked != known:
            return whole // asked
    if len(unknown) > 1 or asked != known:
        raise ValueError("joins or splits axes of unknown length")
    return (unknown[0],)


def _walked(value: Value, atoms: list[Atom], goals: list[Any]) -> Value:
    axes = list(value.axes)
    view: list[list[Atom]] = []
    place = 0
    for goal in goals:
        axis: list[Atom] = []
        view.append(axis)
        if isinstance(goal, tuple):
            for wanted in goal:
                while place < len(atoms) and atoms[place] is not wanted and atoms[place].size == 1:
                    place += 1
                if place == len(atoms) or atoms[place] is not wanted:
                    raise ValueError("moves axes of unknown length")
                axis.append(wanted)
                place += 1
            continue
        if _is_batch(atoms, place, goal):
            axis.append(atoms[place])
            place += 1
            continue
        rest = goal
        while rest > 1:
            if place == len(atoms):
                raise ValueError(f"asks for {goals} of a value of shape {value.shape}")
            atom = atoms[place]
            if atom.size is None:
                raise ValueError("joins or splits axes of unknown length")
            if atom.size == 0 or (rest % atom.size and atom.size % rest):
                raise ValueError(f"asks for {goals} of a value of shape {value.shape}")
            if rest % atom.size:
                parts = Atom(rest), Atom(atom.size // rest)
                atoms[place : place + 1] = parts
                axes = [_split(one, atom, parts) for one in axes]
                atom = parts[0]
            axis.append(atom)
            rest //= atom.size or 1
            place += 1
    if any(atom.size != 1 for atom in atoms[place:]):
        raise ValueError(f"asks for {goals} of a value of shape {value.shape}")
    return replace(value, axes=tuple(axes), view=tuple(tuple(axis) for axis in view))


def _is_batch(atoms: list[Atom], place: int, goal: int) -> bool:
    if place == len(atoms) or not atoms[place].batch:
        return False
    return goal == atoms[place].declared


def _split(axis: Axis, atom: Atom, parts: tuple[Atom, Atom]) -> Axis:
    return tuple(new for old in axis for new in (parts if old is atom else (old,)))
