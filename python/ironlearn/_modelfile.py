"""Model file, version 1: one safetensors file that holds data and never code.

The metadata (strings only) holds the format's name and version, the model's type out of a
closed list, parameters and attributes as JSON, the library's version, and a SHA-256 over
all of that and every tensor. Files are written to a temporary name in the same folder,
synced and renamed, so a reader sees the old file or the new one.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ironlearn.exceptions import ModelFileError

FORMAT = "ironlearn"
VERSION = 1
_MAX_HEADER = 100_000_000
_KEYS = ("format", "format_version", "type", "library_version", "parameters", "attributes")

Tensors = dict[str, NDArray[Any]]

#: What reading values of a wrong kind may raise; loaders turn it into `ModelFileError`.
UNFIT = (
    ArithmeticError,
    AttributeError,
    LookupError,
    MemoryError,
    RecursionError,
    TypeError,
    ValueError,
)


@dataclass
class Contents:
    """What a model file holds."""

    type: str
    parameters: dict[str, Any]
    attributes: dict[str, Any]
    tensors: Tensors = field(default_factory=dict)


def _digest(metadata: Mapping[str, str], tensors: Mapping[str, NDArray[Any]]) -> str:
    digest = hashlib.sha256()
    digest.update(json.dumps({k: metadata[k] for k in _KEYS}, sort_keys=True).encode())
    for name in sorted(tensors):
        array = tensors[name]
        digest.update(json.dumps([name, str(array.dtype), list(array.shape)]).encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def write_atomically(path: str | os.PathLike[str], data: bytes) -> None:
    """Write `data` to `path` so that a reader sees the old file or the whole new one."""
    target = Path(path)
    descriptor, temporary = tempfile.mkstemp(dir=target.parent or Path(), prefix=f".{target.name}.")
    try:
        # mkstemp makes files private; give the mode an ordinary new file would have.
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(temporary, 0o666 & ~mask)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    sync_folder(target.parent)


def sync_folder(folder: Path) -> None:
    """Wait until the names in `folder` are on the disk, where the system can tell."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write(path: str | os.PathLike[str], contents: Contents) -> None:
    """Write a model file atomically."""
    from safetensors.numpy import save

    from ironlearn import _core

    metadata = {
        "format": FORMAT,
        "format_version": str(VERSION),
        "type": contents.type,
        "library_version": str(_core.build_info()["version"]),
        "parameters": json.dumps(contents.parameters, sort_keys=True),
        "attributes": json.dumps(contents.attributes, sort_keys=True),
    }
    tensors = {name: np.array(value, order="C") for name, value in contents.tensors.items()}
    metadata["checksum"] = _digest(metadata, tensors)
    write_atomically(path, save(tensors, metadata))


def read(path: str | os.PathLike[str]) -> Contents:
    """Read and check a model file.

    Raises
    ------
    ModelFileError
        The file is not a model file, is damaged or changed, or is of a newer version.
    OSError
        The file cannot be opened.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    name = os.fspath(path)
    data = Path(path).read_bytes()
    metadata = _header(name, data).get("__metadata__")
    if not isinstance(metadata, dict) or metadata.get("format") != FORMAT:
        raise ModelFileError(f"{name} is not an ironlearn model file.")
    version = metadata.get("format_version")
    if not isinstance(version, str) or not re.fullmatch("[0-9]{1,9}", version):
        raise ModelFileError(f"{name} has no valid format version: {str(version)[:20]!r}.")
    if int(version) > VERSION:
        raise ModelFileError(
            f"{name} is of format version {version}, but this ironlearn reads up to {VERSION}: "
            "load it with a newer ironlearn."
        )
    missing = [key for key in (*_KEYS, "checksum") if not isinstance(metadata.get(key), str)]
    if missing:
        raise ModelFileError(f"{name} lacks the metadata {', '.join(missing)}.")
    try:
        tensors: Tensors = load(data)
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise ModelFileError(f"{name} is damaged: {error}") from error
    if _digest(metadata, tensors) != metadata["checksum"]:
        raise ModelFileError(
            f"{name} was changed after it was written: its checksum does not match."
        )
    try:
        parameters = json.loads(metadata["parameters"])
        attributes = json.loads(metadata["attributes"])
    except (ValueError, RecursionError) as error:
        raise ModelFileError(f"{name} holds unreadable parameters: {error}") from error
    if not isinstance(parameters, dict) or not isinstance(attributes, dict):
        raise ModelFileError(f"{name} holds parameters that are not a JSON object.")
    return Contents(metadata["type"], parameters, attributes, tensors)


def _header(name: str, data: bytes) -> dict[str, Any]:
    size = int.from_bytes(data[:8], "little")
    if len(data) < 8 or size > min(len(data) - 8, _MAX_HEADER):
        raise ModelFileError(
            f"{name} is not an ironlearn model file, or is truncated ({len(data)} bytes)."
        )
    try:
        header = json.loads(data[8 : 8 + size])
    except (ValueError, RecursionError) as error:
        raise ModelFileError(f"{name} is not an ironlearn model file: {error}") from error
    if not isinstance(header, dict):
        raise ModelFileError(f"{name} is not an ironlearn model file.")
    return header


def pack_values(name: str, values: NDArray[Any], into: Tensors) -> dict[str, Any]:
    """Store a vector of labels or categories in `into`; return its description.

    Numbers and booleans are stored as they are, strings as UTF-8 bytes plus offsets. A
    missing category (``None`` or NaN among strings) is not storable.
    """
    if values.dtype.kind in "biuf":
        stored = values.astype(values.dtype.newbyteorder("=")).copy()
        into[name] = stored
        return {"kind": "number"}
    strings = values.tolist()
    if not all(isinstance(v, str) for v in strings):
        kinds = sorted({type(v).__name__ for v in strings})
        raise ValueError(
            f"{name} holds values of type {', '.join(kinds)}; a model file can hold numbers, "
            "booleans and strings."
        )
    encoded = [v.encode() for v in strings]
    lengths = [len(v) for v in encoded]
    into[f"{name}.bytes"] = np.frombuffer(b"".join(encoded), np.uint8).copy()
    into[f"{name}.offsets"] = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return {"kind": "string", "object": values.dtype.kind == "O"}


def unpack_values(name: str, description: Mapping[str, Any], tensors: Tensors) -> NDArray[Any]:
    """Return the vector that `pack_values` stored."""
    try:
        if description["kind"] == "number":
            values = tensors[name]
            if values.ndim != 1:
                raise ModelFileError(f"{name} is not a vector.")
            return values
        data = tensors[f"{name}.bytes"].tobytes()
        offsets = tensors[f"{name}.offsets"].tolist()
        if (
            not offsets
            or offsets[0] != 0
            or offsets[-1] != len(data)
            or any(a > b for a, b in pairwise(offsets))
        ):
            raise ModelFileError(f"the offsets of {name} do not fit its bytes.")
        strings = [data[a:b].decode() for a, b in pairwise(offsets)]
        return np.array(strings, dtype=object if description.get("object") else np.str_)
    except (KeyError, UnicodeDecodeError, TypeError) as error:
        raise ModelFileError(f"the model file holds no valid {name}: {error}") from error


def check_floats(name: str, tensor: NDArray[Any], shape: tuple[int, ...]) -> None:
    """Refuse a tensor of another shape or type, or one with NaN or infinity."""
    if tensor.dtype != np.float64 or tensor.shape != shape or not np.isfinite(tensor).all():
        raise ModelFileError(f"{name} is not an array of finite float64 numbers of shape {shape}.")


def width_of(attributes: Mapping[str, Any]) -> int:
    """Return the number of features that a model takes."""
    width = attributes["n_features_in_"]
    if type(width) is not int or not 1 <= width < 1 << 31:
        raise ModelFileError(f"n_features_in_ is {width!r}, not a positive integer below 2**31.")
    return width
