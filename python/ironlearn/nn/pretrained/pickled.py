"""A reader of pickled data that executes nothing.

A pickle is a program for a stack machine. `pickletools.genops` takes it apart without running it;
`interpret` then plays the few instructions that build numbers, strings, lists, dicts and tuples. A
name of a function or class in the file is looked up in a closed table that the caller gives; every
other name, and every instruction that would make an object of an unknown kind, is an error. The
format is described in the source of Python's module ``pickletools``.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Mapping
from typing import IO, Any

from ironlearn.exceptions import ModelFileError

#: Instructions of one file: more than any real checkpoint has.
MAX_INSTRUCTIONS = 20_000_000

#: The newest protocol of pickles.
_PROTOCOL = 5
#: Instructions with a number in decimal text, and how many letters may follow it.
_TEXTS = {"INT": (0,), "LONG": (0, 1)}
_MARK = object()

_VALUES = frozenset(
    {
        "BINBYTES",
        "BINBYTES8",
        "BINFLOAT",
        "BININT",
        "BININT1",
        "BININT2",
        "BINSTRING",
        "BINUNICODE",
        "BINUNICODE8",
        "BYTEARRAY8",
        "FLOAT",
        "INT",
        "LONG",
        "LONG1",
        "LONG4",
        "SHORT_BINBYTES",
        "SHORT_BINSTRING",
        "SHORT_BINUNICODE",
        "STRING",
        "UNICODE",
    }
)
_CONSTANTS: Mapping[str, Any] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_KEYS = (str, int, float, bool, type(None))


class Global:
    """A name in the file, found in the caller's table.

    Attributes
    ----------
    name : str
        Module and name, with a dot between.
    call : callable
        What stands for the function of that name: takes a tuple of arguments.
    """

    __slots__ = ("call", "name")

    def __init__(self, name: str, call: Callable[[tuple[Any, ...]], Any]) -> None:
        self.name = name
        self.call = call


class Attributes(dict[Any, Any]):
    """A dict that may be given attributes by the file, which are dropped."""


def interpret(
    file: IO[bytes],
    table: Mapping[str, Callable[[tuple[Any, ...]], Any]],
    persistent: Callable[[Any], Any],
) -> Any:
    """Return the data of the pickle that `file` stands at; leave `file` behind its end.

    Parameters
    ----------
    file : binary file
        Open for reading.
    table : mapping of str to callable
        For each accepted "module.name" a function of a tuple of arguments.
    persistent : callable
        Turns a persistent identifier (PyTorch's reference to a storage) into a value.

    Returns
    -------
    object
        Built of numbers, strings, bytes, lists, tuples, dicts and what `table` and `persistent`
        return.

    Raises
    ------
    ModelFileError
        The file is damaged, or holds anything else.
    """
    try:
        return _Machine(table, persistent).run(file)
    except ModelFileError:
        raise
    except RecursionError as error:
        raise ModelFileError("the pickle is nested too deeply.") from error
    except (
        ArithmeticError,
        AttributeError,
        LookupError,
        TypeError,
        ValueError,
    ) as error:
        raise ModelFileError(f"the pickle is damaged: {error}") from error


class _Machine:
    def __init__(
        self,
        table: Mapping[str, Callable[[tuple[Any, ...]], Any]],
        persistent: Callable[[Any], Any],
    ) -> None:
        self.table = table
        self.persistent = persistent
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def run(self, file: IO[bytes]) -> Any:
        frame_end = 0
        for count, (code, argument, place) in enumerate(pickletools.genops(file)):
            if count > MAX_INSTRUCTIONS:
                raise ModelFileError(f"the pickle has more than {MAX_INSTRUCTIONS} instructions.")
            name = code.name
            # A frame holds whole instructions, and no other frame.
            inside = frame_end > (place or 0)
            if inside and (name == "FRAME" or file.tell() > frame_end):
                raise ModelFileError("the pickle's frames do not fit its instructions.")
            if name in _TEXTS and type(argument) is int:
                # Python reads leading zeros as an octal number, or not at all.
                length = file.tell() - (place or 0) - 2
                if length - len(str(argument)) not in _TEXTS[name]:
                    raise ModelFileError("the pickle has a number with more digits than it needs.")
            if name in _VALUES:
                self.stack.append(argument)
            elif name in _CONSTANTS:
                self.stack.append(_CONSTANTS[name])
            elif name == "FRAME":
                frame_end = file.tell() + int(argument or 0)
            elif name == "STOP":
                if frame_end > file.tell():
                    raise ModelFileError("the pickle ends before what it says is its length.")
                (answer,) = self.stack
                if answer is _MARK:
                    raise ModelFileError("the pickle's marks do not fit.")
                if isinstance(answer, Global):
                    raise ModelFileError(f"the pickle is nothing but the name {answer.name}.")
                return answer
            elif name == "PROTO":
                if int(argument or 0) > _PROTOCOL:
                    raise ModelFileError(
                        f"the pickle has the protocol {argument}, known are 0 to {_PROTOCOL}."
                    )
            else:
                step = getattr(self, f"_{name.lower()}", None)
                if step is None:
                    raise ModelFileError(
                        f"the pickle uses the instruction {name}, which plain data does not need."
                    )
                step(argument)
        raise ModelFileError("the pickle has no end.")

    # Stack and memo ---------------------------------------------------------------------------

    def _take(self) -> Any:
        value = self.stack.pop()
        if value is _MARK:
            raise ModelFileError("the pickle's marks do not fit.")
        return value

    def _to_mark(self) -> list[Any]:
        items: list[Any] = []
        while (value := self.stack.pop()) is not _MARK:
            items.append(value)
        items.reverse()
        return items

    def _mark(self, _: Any) -> None:
        self.stack.append(_MARK)

    def _pop(self, _: Any) -> None:
        self.stack.pop()

    def _pop_mark(self, _: Any) -> None:
        self._to_mark()

    def _put(self, key: Any) -> None:
        if self.stack[-1] is _MARK:
            raise ModelFileError("the pickle's marks do not fit.")
        self.memo[int(key)] = self.stack[-1]

    _binput = _long_binput = _put

    def _memoize(self, _: Any) -> None:
        self._put(len(self.memo))

    def _get(self, key: Any) -> None:
        self.stack.append(self.memo[int(key)])

    _binget = _long_binget = _get

    # Containers -------------------------------------------------------------------------------

    def _empty_list(self, _: Any) -> None:
        self.stack.append([])

    def _empty_dict(self, _: Any) -> None:
        self.stack.append({})

    def _empty_tuple(self, _: Any) -> None:
        self.stack.append(())

    def _list(self, _: Any) -> None:
        self.stack.append(self._to_mark())

    def _tuple(self, _: Any) -> None:
        self.stack.append(tuple(self._to_mark()))

    def _dict(self, _: Any) -> None:
        self.stack.append(pairs(self._to_mark()))

    def _tuple1(self, _: Any) -> None:
        self.stack.append((self._take(),))

    def _tuple2(self, _: Any) -> None:
        b, a = self._take(), self._take()
        self.stack.append((a, b))

    def _tuple3(self, _: Any) -> None:
        c, b, a = self._take(), self._take(), self._take()
        self.stack.append((a, b, c))

    def _append(self, _: Any) -> None:
        value = self._take()
        self._container(list).append(value)

    def _appends(self, _: Any) -> None:
        items = self._to_mark()
        self._container(list).extend(items)

    def _setitem(self, _: Any) -> None:
        value, key = self._take(), self._take()
        self._container(dict).update(pairs([key, value]))

    def _setitems(self, _: Any) -> None:
        items = self._to_mark()
        self._container(dict).update(pairs(items))

    def _container(self, kind: type) -> Any:
        if not isinstance(self.stack[-1], kind):
            raise ModelFileError(f"the pickle fills a {type(self.stack[-1]).__name__}.")
        return self.stack[-1]

    # Names ------------------------------------------------------------------------------------

    def _find(self, module: Any, name: Any) -> None:
        full = f"{module}.{name}"
        call = self.table.get(full) if isinstance(module, str) and isinstance(name, str) else None
        if call is None:
            raise ModelFileError(
                f"the file names {full[:120]!r}, which is neither a tensor nor a container; "
                "nothing of it was executed."
            )
        self.stack.append(Global(full, call))

    def _global(self, argument: Any) -> None:
        module, _, name = argument.partition(" ")
        self._find(module, name)

    def _stack_global(self, _: Any) -> None:
        name, module = self._take(), self._take()
        self._find(module, name)

    def _reduce(self, _: Any) -> None:
        arguments, function = self._take(), self._take()
        if not isinstance(function, Global) or not isinstance(arguments, tuple):
            raise ModelFileError("the pickle calls what is no function.")
        self.stack.append(function.call(arguments))

    def _build(self, _: Any) -> None:
        self._take()
        if not isinstance(self.stack[-1], Attributes):
            raise ModelFileError(
                f"the pickle sets attributes of a {type(self.stack[-1]).__name__}."
            )

    def _binpersid(self, _: Any) -> None:
        self.stack.append(self.persistent(self._take()))


def pairs(items: list[Any]) -> dict[Any, Any]:
    """Return the dict of keys and values that take turns in `items`.

    Raises
    ------
    ModelFileError
        A key is neither a string, nor a number, nor a tuple of such.
    """
    if len(items) % 2:
        raise ModelFileError("the pickle has a key without a value.")
    keys = items[::2]
    # Only flat tuples: the hash of tuples within tuples that share their parts, of which a few
    # hundred bytes can make 60 levels, would take years.
    if not all(
        isinstance(part, _KEYS)
        for key in keys
        for part in (key if isinstance(key, tuple) else (key,))
    ):
        raise ModelFileError("the pickle has a key that is no string or number.")
    return dict(zip(keys, items[1::2], strict=True))
