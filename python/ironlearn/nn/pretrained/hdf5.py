"""The part of HDF5 that Keras writes, read without HDF5's own library.

That library is made for files one trusts: a few changed bytes can make it loop without end inside
of native code, where nothing can stop it. What Keras needs of the format is little: a superblock,
groups as B-trees of names, and arrays in one piece. Everything here is bounds-checked by slicing,
every structure is visited once, and what is not of this part is refused by name.

The format: The HDF Group, "HDF5 File Format Specification", version 3.0 (sections II.A, III.A-D,
IV.A).
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ironlearn.exceptions import ModelFileError

SIGNATURE = b"\x89HDF\r\n\x1a\n"

_UNDEFINED = 2**64 - 1
_DEPTH = 32
_MAX_AXES = 32
#: Bytes of arrays for each byte of the file: bfloat16 doubles, an array may have two names.
_GROWTH = 8

# Kinds of messages in an object's header.
_DATASPACE, _LINK_INFO, _DATATYPE, _LINK, _EXTERNAL, _LAYOUT = 0x01, 0x02, 0x03, 0x06, 0x07, 0x08
_ATTRIBUTE, _CONTINUATION, _SYMBOL_TABLE = 0x0C, 0x10, 0x11
_SHARED = 2


def read_hdf5(data: bytes) -> dict[str, NDArray[Any]]:
    """Return the arrays of an HDF5 file by their paths.

    Parameters
    ----------
    data : bytes
        The whole file.

    Returns
    -------
    dict of str to ndarray
        Arrays of integers, floats and booleans, in native byte order. Opaque pairs of bytes that
        Keras marks as bfloat16 become float32, which holds them exactly.

    Raises
    ------
    ModelFileError
        The file is damaged, or uses a part of HDF5 that Keras does not: chunks, compression, links,
        external or virtual data, the form of ``libver="latest"``.

    Examples
    --------
    >>> read_hdf5(b"something else")
    Traceback (most recent call last):
        ...
    ironlearn.exceptions.ModelFileError: not an HDF5 file.
    """
    try:
        return _File(data).arrays()
    except (struct.error, ArithmeticError, LookupError, TypeError, ValueError) as error:
        if isinstance(error, ModelFileError):
            raise
        raise ModelFileError(f"the HDF5 file is damaged: {error}") from error


class _File:
    def __init__(self, data: bytes) -> None:
        self.data = memoryview(data)
        self.left = _GROWTH * len(data)
        self.visited: set[int] = set()
        # Each part takes 8 bytes or more, so a file whose parts do not overlap has no more.
        self.steps = len(data) // 8
        if data[:8] != SIGNATURE:
            raise ModelFileError("not an HDF5 file.")
        version = self.number(8, 1)
        if version > 1:
            raise ModelFileError(
                f"the HDF5 file has a superblock of version {version} (libver='latest'); Keras "
                "writes the earliest form, which alone is read."
            )
        if (self.number(13, 1), self.number(14, 1)) != (8, 8):
            raise ModelFileError("the HDF5 file's addresses have not 8 bytes.")
        start = 24 if version == 0 else 28
        if self.number(start, 8) != 0:
            raise ModelFileError("the HDF5 file does not begin at its first byte.")
        self.root = self.number(start + 40, 8)

    # Bytes ------------------------------------------------------------------------------------

    def slice(self, start: int, size: int) -> memoryview:
        """Return `size` bytes from `start`, or refuse."""
        if start + size > len(self.data):
            raise ModelFileError(
                f"the HDF5 file has {len(self.data)} bytes, but bytes {start} to {start + size} "
                "are referred to: it is truncated or damaged."
            )
        return self.data[start : start + size]

    def number(self, start: int, size: int) -> int:
        return int.from_bytes(self.slice(start, size), "little")

    def once(self, address: int, what: str) -> None:
        if address in self.visited:
            raise ModelFileError(f"the HDF5 file refers to the same {what} more than once.")
        self.visited.add(address)

    def step(self, count: int = 1) -> None:
        self.steps -= count
        if self.steps < 0:
            raise ModelFileError("the parts of the HDF5 file overlap.")

    def signed(self, address: int, signature: bytes) -> None:
        if bytes(self.slice(address, 4)) != signature:
            raise ModelFileError(f"the HDF5 file has no {signature.decode()} at byte {address}.")

    # Objects ----------------------------------------------------------------------------------

    def arrays(self) -> dict[str, NDArray[Any]]:
        found: dict[str, NDArray[Any]] = {}
        waiting = [("", self.root)]
        while waiting:
            path, address = waiting.pop()
            self.once(address, "object")
            newer = bytes(self.slice(address, 4)) == b"OHDR"
            messages = [] if newer else list(self.messages(address))
            kinds = {kind for kind, _, _ in messages}
            if newer or kinds & {_LINK_INFO, _LINK}:
                raise ModelFileError(
                    f"the group {path!r} is in HDF5's newer form (track_order, or names that are "
                    "not ASCII), which Keras does not write."
                )
            if _SYMBOL_TABLE in kinds:
                if path.count("/") > _DEPTH:
                    raise ModelFileError("the HDF5 file's groups are nested too deeply.")
                (table,) = (content for kind, _, content in messages if kind == _SYMBOL_TABLE)
                tree, heap = struct.unpack_from("<QQ", table)
                children = list(self.links(tree, heap))
                waiting += [(f"{path}/{name}" if path else name, at) for name, at in children]
            elif _LAYOUT in kinds:
                try:
                    found[path] = self.array(messages)
                except ModelFileError as error:
                    raise ModelFileError(f"{path!r}: {error}") from error
        return dict(sorted(found.items()))

    def messages(self, address: int) -> Iterator[tuple[int, int, memoryview]]:
        """Yield kind, flags and content of each message of the object at `address`."""
        if self.number(address, 1) != 1:
            raise ModelFileError(f"the HDF5 file has no object at byte {address}.")
        count, size = self.number(address + 2, 2), self.number(address + 8, 4)
        blocks = [(address + 16, size)]
        seen = {address + 16}
        while blocks:
            start, size = blocks.pop(0)
            block = self.slice(start, size)
            place = 0
            while place + 8 <= size and count > 0:
                kind, length, flags = struct.unpack_from("<HHB", block, place)
                content = block[place + 8 : place + 8 + length]
                if len(content) != length:
                    raise ModelFileError("a message of the HDF5 file is cut off.")
                place += 8 + length
                count -= 1
                self.step()
                if kind == _CONTINUATION:
                    start_next, size_next = struct.unpack_from("<QQ", content)
                    if start_next in seen:
                        raise ModelFileError("an object of the HDF5 file goes on in a circle.")
                    seen.add(start_next)
                    blocks.append((start_next, size_next))
                else:
                    yield kind, flags, content

    def links(self, tree: int, heap: int) -> Iterator[tuple[str, int]]:
        """Yield name and address of each member of a group."""
        self.signed(heap, b"HEAP")
        size, _, start = struct.unpack_from("<QQQ", self.slice(heap, 32), 8)
        names = self.slice(start, size)
        waiting = [tree]
        while waiting:
            node = waiting.pop()
            self.once(node, "node")
            if bytes(self.slice(node, 4)) == b"TREE":
                kind, level, used = struct.unpack_from("<BBH", self.slice(node, 8), 4)
                if kind != 0 or level > _DEPTH:
                    raise ModelFileError("a group of the HDF5 file has a tree of another kind.")
                self.step(used)
                # Keys and children take turns, behind the addresses of the two neighbours.
                table = self.slice(node + 24, 16 * used + 8)
                waiting += [struct.unpack_from("<Q", table, 16 * i + 8)[0] for i in range(used)]
                continue
            self.signed(node, b"SNOD")
            used = self.number(node + 6, 2)
            self.step(used)
            table = self.slice(node + 8, 40 * used)
            for i in range(used):
                place, address, cache = struct.unpack_from("<QQI", table, 40 * i)
                if cache == 2:
                    raise ModelFileError("the HDF5 file has symbolic links, which are not read.")
                name = bytes(names[place : place + 1024]).partition(b"\0")[0].decode()
                if not name:
                    raise ModelFileError("a member of a group of the HDF5 file has no name.")
                yield name, address

    # Arrays -----------------------------------------------------------------------------------

    def array(self, messages: list[tuple[int, int, memoryview]]) -> NDArray[Any]:
        parts: dict[int, memoryview] = {}
        for message, flags, content in messages:
            if message == _EXTERNAL:
                raise ModelFileError("its data are in another file.")
            if message in (_DATASPACE, _DATATYPE, _LAYOUT):
                if flags & _SHARED:
                    raise ModelFileError("its description is shared, which Keras never writes.")
                parts[message] = content
        shape = _shape(parts[_DATASPACE])
        kind = _dtype(parts[_DATATYPE])
        wide = kind == "bfloat16"
        if wide and self.attribute(messages, "dtype") != b"bfloat16":
            raise ModelFileError("it is of opaque bytes, which are no numbers.")
        dtype = np.dtype("<u2") if wide else np.dtype(kind)
        size = math.prod(shape) * dtype.itemsize
        self.left -= 2 * size if wide else size
        if self.left < 0:
            raise ModelFileError("the arrays are larger than their file can hold.")
        layout = parts[_LAYOUT]
        version, place = layout[0], layout[1]
        if version not in (3, 4) or place not in (0, 1):
            raise ModelFileError(
                "it is stored in chunks, virtually or in an old form; Keras stores in one piece."
            )
        if place == 0:
            length = struct.unpack_from("<H", layout, 2)[0]
            raw = layout[4 : 4 + length]
        else:
            address, length = struct.unpack_from("<QQ", layout, 2)
            raw = self.slice(address, length) if address != _UNDEFINED else self.data[:0]
        if len(raw) != size:
            raise ModelFileError(f"an array of shape {shape} has {len(raw)} bytes, not {size}.")
        array = np.frombuffer(raw, dtype).reshape(shape)
        if wide:
            return (array.astype(np.uint32) << np.uint32(16)).view(np.float32)
        if dtype == np.bool_:
            return np.frombuffer(raw, np.uint8).reshape(shape) != 0
        return np.array(array, dtype=dtype.newbyteorder("="), order="C")

    def attribute(self, messages: list[tuple[int, int, memoryview]], name: str) -> bytes | None:
        """Return the text of an attribute, or ``None`` where there is none of that name."""
        for kind, _, content in messages:
            if kind != _ATTRIBUTE:
                continue
            version, _, *sizes = struct.unpack_from("<BBHHH", content)
            place = 9 if version == 3 else 8
            if version == 1:
                sizes = [-(-size // 8) * 8 for size in sizes]
            label = bytes(content[place : place + sizes[0]]).partition(b"\0")[0]
            if label != name.encode():
                continue
            datatype = content[place + sizes[0] : place + sizes[0] + sizes[1]]
            value = content[place + sum(sizes) :]
            if datatype[0] & 15 == 3:
                return bytes(value).partition(b"\0")[0]
            if datatype[0] & 15 == 9:
                length, heap, index = struct.unpack_from("<IQI", value)
                return self.heap_object(heap, index)[:length]
        return None

    def heap_object(self, heap: int, index: int) -> bytes:
        """Return an object of a global heap."""
        self.signed(heap, b"GCOL")
        size = self.number(heap + 8, 8)
        place = heap + 16
        while place + 16 <= heap + size:
            self.step()
            number, _, _, length = struct.unpack_from("<HHIQ", self.slice(place, 16))
            if number == index:
                return bytes(self.slice(place + 16, length))
            if number == 0:
                break
            place += 16 + -(-length // 8) * 8
        raise ModelFileError("the HDF5 file lacks a text that it refers to.")


def _shape(message: memoryview) -> tuple[int, ...]:
    version, rank = message[0], message[1]
    if version not in (1, 2) or rank > _MAX_AXES:
        raise ModelFileError(f"its shape has {rank} axes or is in an unknown form.")
    if version == 2 and message[3] == 2:
        raise ModelFileError("it has no elements, not even none.")
    return struct.unpack_from(f"<{rank}Q", message, 8 if version == 1 else 4)


def _dtype(message: memoryview) -> str:
    """Return NumPy's name of a datatype, or "bfloat16" for two opaque bytes."""
    kind, bits = message[0] & 15, message[1]
    size = struct.unpack_from("<I", message, 4)[0]
    order = ">" if bits & 1 else "<"
    if kind == 0 and size in (1, 2, 4, 8):
        return f"{order}{'i' if bits & 8 else 'u'}{size}"
    if kind == 1 and size in (2, 4, 8):
        # Places and widths of exponent and mantissa, and the exponent's bias, of IEEE 754.
        exponent, mantissa = {2: (5, 10), 4: (8, 23), 8: (11, 52)}[size]
        expected = (0, 8 * size, mantissa, exponent, 0, mantissa, 2 ** (exponent - 1) - 1)
        if struct.unpack_from("<HHBBBBI", message, 8) == expected and not bits & 0x40:
            return f"{order}f{size}"
    if kind == 5 and size == 2:
        return "bfloat16"
    if kind == 8 and size == 1 and _dtype(message[8:]) in ("<i1", ">i1", "<u1"):
        # h5py's booleans: an enumeration of FALSE and TRUE.
        return "|b1"
    raise ModelFileError("it is no array of integers, floats or booleans.")
