"""PyTorch's checkpoints: the zip form, and the form before it.

The zip form holds ``<name>/data.pkl``, a pickle of the state, and ``<name>/data/<key>``, the raw
bytes of each storage. The older form is a chain of pickles (a magic number, a version, the
writer's sizes, the state, the keys) followed by the storages, each behind its number of elements. A
tensor is a window of a storage: offset, shape and strides in elements. A quantized tensor is such a
window of integers with the scale and the zero point that turn them into numbers.
"""

from __future__ import annotations

import io
import math
import struct
import sys
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ironlearn.exceptions import ModelFileError
from ironlearn.nn.pretrained.pickled import Attributes, interpret, pairs
from ironlearn.nn.pretrained.quantized import affine

_MAGIC = 0x1950A86A20F9469CFC6C
_VERSION = 1001
_MAX_AXES = 16
#: Tensors of one file.
_MAX_TENSORS = 1_000_000
#: Characters of a tensor's name.
_MAX_NAME = 4096
#: Bytes that may be taken for each byte of the file: tensors may share a storage, and int8 and
#: bfloat16 grow; more than this would be a small file that wants to fill the memory.
_GROWTH = 32

#: How PyTorch's storages store their elements; bfloat16 is the upper half of a float32.
_STORAGES: Mapping[str, str] = {
    "DoubleStorage": "<f8",
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "|i1",
    "ByteStorage": "|u1",
    "BoolStorage": "|b1",
    "QInt8Storage": "|i1",
    "QUInt8Storage": "|u1",
    "QInt32Storage": "<i4",
}
#: Names that a state holds as values: types of elements, and how tensors are quantized.
_NAMES = (
    *("float16", "float32", "float64", "bfloat16", "bool"),
    *("int8", "int16", "int32", "int64", "uint8", "qint8", "quint8", "qint32"),
    *("per_tensor_affine", "per_channel_affine", "per_channel_affine_float_qparams"),
)
_ITEM = {"bfloat16": 2}
#: What opening a damaged zip archive or reading a member of it may raise.
ZIP_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    ArithmeticError,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    ValueError,
)

Array = NDArray[Any]


class _Budget:
    """Bytes that a file's tensors may still take."""

    def __init__(self, file_size: int) -> None:
        self.left = _GROWTH * file_size

    def take(self, count: int) -> None:
        self.left -= count
        if self.left < 0:
            raise ModelFileError(
                f"the tensors would take more than {_GROWTH} times the size of the file."
            )


class _Storage:
    """Raw elements, read when a tensor needs them."""

    __slots__ = ("_data", "_read", "budget", "dtype", "size")

    def __init__(self, dtype: str, size: int, read: Callable[[], bytes], budget: _Budget) -> None:
        self.dtype = dtype
        self.size = size
        self.budget = budget
        self._read = read
        self._data: Array | None = None

    def elements(self) -> Array:
        """Return the elements; bfloat16 as uint16."""
        if self._data is None:
            kind = np.dtype("<u2" if self.dtype == "bfloat16" else self.dtype)
            raw = self._read()
            self.budget.take(len(raw))
            if len(raw) != self.size * kind.itemsize:
                raise ModelFileError(
                    f"a storage has {len(raw)} bytes, but {self.size} elements of "
                    f"{kind.itemsize} bytes were announced."
                )
            self._data = np.frombuffer(raw, kind)
        return self._data


class _Tensor:
    """A window of a storage, not read yet."""

    __slots__ = ("offset", "shape", "storage", "strides")

    def __init__(self, arguments: tuple[Any, ...]) -> None:
        storage, offset, shape, strides = arguments[:4]
        if not isinstance(storage, _Storage):
            raise ModelFileError("a tensor has no storage.")
        if (
            len(shape) != len(strides)
            or len(shape) > _MAX_AXES
            or not all(type(n) is int and 0 <= n < 1 << 48 for n in (offset, *shape, *strides))
        ):
            raise ModelFileError("a tensor's offset, shape and strides do not fit.")
        self.storage, self.offset = storage, offset
        self.shape, self.strides = tuple(shape), tuple(strides)
        count = math.prod(self.shape)
        # Strides of 0 would make a small file a huge array.
        last = offset + sum((n - 1) * s for n, s in zip(shape, strides, strict=True))
        if count and (count > storage.size or last >= storage.size):
            raise ModelFileError(
                f"a tensor of shape {self.shape} does not lie within its storage of "
                f"{storage.size} elements."
            )

    def read(self) -> Array:
        """Return the tensor as a C-ordered array of its own; bfloat16 as float32."""
        elements = self.storage.elements()
        width = 4 if self.storage.dtype == "bfloat16" else elements.itemsize
        self.storage.budget.take(width * math.prod(self.shape))
        if 0 in self.shape:
            window = np.zeros(self.shape, elements.dtype)
        else:
            step = elements.itemsize
            window = np.lib.stride_tricks.as_strided(
                elements[self.offset :], self.shape, [s * step for s in self.strides]
            )
        if self.storage.dtype == "bfloat16":
            return (window.astype(np.uint32) << np.uint32(16)).view(np.float32)
        return np.array(window, dtype=window.dtype.newbyteorder("="), order="C")


class _Quantized:
    """A tensor of integers that stand for numbers, not read yet."""

    __slots__ = ("axis", "scale", "tensor", "zero_point")

    def __init__(self, arguments: tuple[Any, ...]) -> None:
        storage, offset, shape, strides, parameters = arguments[:5]
        self.tensor = _Tensor((storage, offset, shape, strides))
        scheme = getattr(parameters[0], "name", "")
        self.axis: int | None = None
        if scheme == "torch.per_tensor_affine":
            _, self.scale, self.zero_point = parameters
            fits = type(self.scale) is float and type(self.zero_point) is int
        elif scheme in ("torch.per_channel_affine", "torch.per_channel_affine_float_qparams"):
            _, self.scale, self.zero_point, self.axis = parameters
            fits = (
                isinstance(self.scale, _Tensor)
                and isinstance(self.zero_point, _Tensor)
                and type(self.axis) is int
            )
        else:
            raise ModelFileError(f"a tensor is quantized in the unknown way {scheme!r}.")
        if not fits:
            raise ModelFileError("a quantized tensor's scale and zero point do not fit.")

    def read(self) -> Array:
        """Return the numbers that the integers stand for, as float32."""
        integers = self.tensor.read()
        self.tensor.storage.budget.take(4 * integers.size)
        parts = (self.scale, self.zero_point)
        scale, zero_point = (p.read() if isinstance(p, _Tensor) else np.array(p) for p in parts)
        return affine(integers, scale, zero_point, self.axis)


def _table() -> dict[str, Callable[[tuple[Any, ...]], Any]]:
    copied = 0

    def ordered(arguments: tuple[Any, ...]) -> Attributes:
        # Python 2 wrote the items as an argument. A file can name one long list again and again.
        nonlocal copied
        (items,) = arguments or ((),)
        copied += len(items)
        if copied > _MAX_TENSORS:
            raise ModelFileError(f"the ordered dicts have more than {_MAX_TENSORS} items.")
        return Attributes(pairs([value for key, item in items for value in (key, item)]))

    def size(arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        (numbers,) = arguments
        if len(numbers) > _MAX_AXES:
            raise ModelFileError(f"a size has more than {_MAX_AXES} numbers.")
        return tuple(numbers)

    def parameter(arguments: tuple[Any, ...]) -> Any:
        if not arguments or not isinstance(arguments[0], _Tensor | _Quantized):
            raise ModelFileError("a parameter has no tensor.")
        return arguments[0]

    def refused(arguments: tuple[Any, ...]) -> Any:
        raise ModelFileError("the pickle calls what is a name and no function.")

    table: dict[str, Callable[[tuple[Any, ...]], Any]] = {
        "collections.OrderedDict": ordered,
        "torch._utils._rebuild_tensor": _Tensor,
        "torch._utils._rebuild_tensor_v2": _Tensor,
        "torch._utils._rebuild_qtensor": _Quantized,
        "torch._utils._rebuild_parameter": parameter,
        "torch.Size": size,
    }
    table |= {f"torch.{name}": refused for name in (*_STORAGES, *_NAMES)}
    return table


def _storage_dtype(kind: Any) -> str:
    name = getattr(kind, "name", "").removeprefix("torch.")
    if name not in _STORAGES:
        raise ModelFileError(f"a storage is of the unknown type {name or kind!r}.")
    return _STORAGES[name]


def read_checkpoint(path: Path) -> dict[str, Array]:
    """Return every tensor of a PyTorch checkpoint by its name.

    Nested dicts are joined with dots. What is no tensor (numbers, strings, optimizer settings) is
    left out.

    Parameters
    ----------
    path : Path
        A file of ``torch.save``.

    Returns
    -------
    dict of str to ndarray
        C-ordered; bfloat16 becomes float32, which holds it exactly, and quantized tensors become
        the float32 numbers that they stand for.

    Raises
    ------
    ModelFileError
        The file is damaged, or holds anything but plain data.
    OSError
        The file cannot be read.
    """
    data = path.read_bytes()
    try:
        budget = _Budget(len(data))
        is_zip = data[:4] == b"PK\x03\x04"
        state = _from_zip(data, budget) if is_zip else _from_chain(data, budget)
        found: dict[str, Array] = {}
        _collect(state, "", found, [0], 0, budget)
    except ModelFileError as error:
        raise ModelFileError(f"{path}: {error}") from error
    except (ArithmeticError, LookupError, TypeError, ValueError, struct.error) as error:
        raise ModelFileError(f"{path} is damaged: {error}") from error
    if not found:
        raise ModelFileError(f"{path}: the checkpoint holds no tensors.")
    return found


def _collect(
    value: Any,
    prefix: str,
    found: dict[str, Array],
    visited: list[int],
    depth: int,
    budget: _Budget,
) -> None:
    visited[0] += 1
    if visited[0] > _MAX_TENSORS or depth > 32:
        raise ModelFileError("the checkpoint is nested too deeply or holds too much.")
    if len(prefix) > _MAX_NAME:
        raise ModelFileError(f"a name is longer than {_MAX_NAME} characters.")
    if isinstance(value, _Tensor | _Quantized):
        budget.take(len(prefix))
        found[prefix or "tensor"] = value.read()
    elif isinstance(value, dict):
        for key, item in value.items():
            name = f"{prefix}.{key}" if prefix else str(key)
            _collect(item, name, found, visited, depth + 1, budget)
    elif isinstance(value, list | tuple):
        for i, item in enumerate(value):
            name = f"{prefix}.{i}" if prefix else str(i)
            _collect(item, name, found, visited, depth + 1, budget)


def _from_zip(data: bytes, budget: _Budget) -> Any:
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
        names = {info.filename: info for info in archive.infolist()}
    except ZIP_ERRORS as error:
        raise ModelFileError(f"the zip archive is damaged: {error}") from error
    roots = [name.removesuffix("data.pkl") for name in names if name.endswith("/data.pkl")]
    if len(roots) != 1:
        raise ModelFileError(f"the archive has {len(roots)} pickles named data.pkl, not one.")
    (root,) = roots

    def member(name: str) -> bytes:
        info = names.get(name)
        if info is None:
            raise ModelFileError(f"the archive lacks {name!r}.")
        # PyTorch never compresses; a bomb would.
        if info.compress_type != zipfile.ZIP_STORED or info.file_size > len(data):
            raise ModelFileError(f"{name!r} is compressed, which no checkpoint is.")
        try:
            return archive.read(info)
        except ZIP_ERRORS as error:
            raise ModelFileError(f"{name!r} is damaged: {error}") from error

    order = member(f"{root}byteorder") if f"{root}byteorder" in names else b"little"
    if order.strip() != b"little" or sys.byteorder != "little":
        raise ModelFileError("only little-endian checkpoints can be read.")
    storages: dict[str, _Storage] = {}

    def persistent(identifier: Any) -> _Storage:
        kind, storage_type, key, _, size = identifier[:5]
        if kind != "storage" or not isinstance(key, str) or type(size) is not int or size < 0:
            raise ModelFileError("the pickle refers to something that is no storage.")
        if key not in storages:
            name = f"{root}data/{key}"
            kind = _storage_dtype(storage_type)
            storages[key] = _Storage(kind, size, lambda: member(name), budget)
        return storages[key]

    return interpret(io.BytesIO(member(f"{root}data.pkl")), _table(), persistent)


def _from_chain(data: bytes, budget: _Budget) -> Any:
    file = io.BytesIO(data)
    nothing: dict[str, Any] = {}

    def none(identifier: Any) -> Any:
        raise ModelFileError("the pickle refers to something outside of it.")

    if interpret(file, nothing, none) != _MAGIC:
        raise ModelFileError("the file is no checkpoint of PyTorch.")
    if interpret(file, nothing, none) != _VERSION:
        raise ModelFileError("the checkpoint is of an unknown version.")
    sizes = interpret(file, nothing, none)
    if not isinstance(sizes, dict) or sizes.get("little_endian") is not True:
        raise ModelFileError("only little-endian checkpoints can be read.")
    storages: dict[str, _Storage] = {}
    raw: dict[str, bytes] = {}

    def persistent(identifier: Any) -> _Storage:
        kind, storage_type, key, _, size, view = identifier
        if kind != "storage" or not isinstance(key, str) or type(size) is not int or size < 0:
            raise ModelFileError("the pickle refers to something that is no storage.")
        if view is not None:
            raise ModelFileError("views of storages are not read.")
        if key not in storages:
            kind = _storage_dtype(storage_type)
            storages[key] = _Storage(kind, size, lambda: raw[key], budget)
        return storages[key]

    state = interpret(file, _table(), persistent)
    keys = interpret(file, nothing, none)
    if (
        not isinstance(keys, list)
        or not all(isinstance(key, str) for key in keys)
        or set(storages) - set(keys)
    ):
        raise ModelFileError("the checkpoint lacks storages that its tensors need.")
    for key in keys:
        count = int.from_bytes(file.read(8), "little")
        storage = storages.get(key)
        if storage is None or count != storage.size:
            raise ModelFileError("a storage's size is not the announced one.")
        width = _ITEM.get(storage.dtype) or np.dtype(storage.dtype).itemsize
        raw[key] = file.read(count * width)
    return state
