"""Weights from files of other libraries, by their names."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from ironlearn.exceptions import ModelFileError

#: Bytes that a compressed archive may hold for each byte that it has.
_GROWTH = 64
_HDF5 = b"\x89HDF\r\n\x1a\n"


def read_weights(path: str | os.PathLike[str]) -> dict[str, NDArray[Any]]:
    """Return the arrays in a file of weights, by their names.

    Parameters
    ----------
    path : str or path-like
        A safetensors file, a PyTorch checkpoint (of ``torch.save``, in the zip form or the older
        one), or Keras's ``.weights.h5``, ``.keras`` or older ``.h5``. The content decides, not the
        name.

    Returns
    -------
    dict of str to ndarray
        In the file's own order of axes. float16 stays float16; bfloat16 becomes float32, which
        holds it exactly; PyTorch's quantized tensors become the float32 numbers that they stand
        for. Other integers stay integers: `dequantize` finds scales that are arrays of their own.

    Raises
    ------
    ModelFileError
        The file is none of these, is damaged, or holds anything but plain data. Nothing in a file
        is ever executed.
    OSError
        The file cannot be read.

    Examples
    --------
    >>> import os, tempfile
    >>> import numpy as np
    >>> from safetensors.numpy import save_file
    >>> path = os.path.join(tempfile.mkdtemp(), "weights.safetensors")
    >>> save_file({"kernel": np.ones((2, 2), np.float32)}, path)
    >>> list(read_weights(path))
    ['kernel']
    """
    file = Path(path)
    with file.open("rb") as opened:
        head = opened.read(9)
    if head[:8] == _HDF5:
        return _read_hdf5(file, file.read_bytes())
    from ironlearn.nn.pretrained.checkpoint import ZIP_ERRORS, read_checkpoint

    if head[:4] == b"PK\x03\x04":
        from zipfile import ZipFile

        try:
            with ZipFile(file) as archive:
                names = archive.namelist()
        except ZIP_ERRORS as error:
            raise ModelFileError(f"{file} is a damaged zip archive: {error}") from error
        if "model.weights.h5" in names:
            return _read_keras(file)
    elif head[8:] == b"{" or head[:1] != b"\x80":
        # The length of its header may begin with the byte that a pickle begins with.
        return _read_safetensors(file)
    return read_checkpoint(file)


def _read_safetensors(path: Path) -> dict[str, NDArray[Any]]:
    import json

    import numpy as np

    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    if len(data) < 10 or size > len(data) - 8 or data[8:9] != b"{":
        raise ModelFileError(
            f"{path} is neither safetensors, nor a PyTorch checkpoint, nor weights of Keras."
        )
    from safetensors import SafetensorError, deserialize

    try:
        # Its own parser of JSON is not ours: what is nested too deeply is refused before it.
        json.loads(data[8 : 8 + size])
        entries = deserialize(data)
    except (SafetensorError, ValueError, RecursionError) as error:
        raise ModelFileError(f"{path} is damaged: {error}") from error
    kinds = {
        "F64": "<f8",
        "F32": "<f4",
        "F16": "<f2",
        "BF16": "<u2",
        "I64": "<i8",
        "U64": "<u8",
        "I32": "<i4",
        "U32": "<u4",
        "I16": "<i2",
        "U16": "<u2",
        "I8": "|i1",
        "U8": "|u1",
        "BOOL": "|b1",
    }
    found = {}
    for name, entry in entries:
        kind = entry["dtype"]
        if kind not in kinds:
            raise ModelFileError(f"{path}: {name!r} is of the type {kind}, which is not read.")
        try:
            array = np.frombuffer(bytearray(entry["data"]), kinds[kind]).reshape(entry["shape"])
        except (OverflowError, TypeError, ValueError) as error:
            # Arrays without elements may claim sizes that NumPy does not have.
            raise ModelFileError(
                f"{path}: {name!r} has an impossible shape {entry['shape']}: {error}"
            ) from error
        if kind == "BF16":
            array = (array.astype(np.uint32) << np.uint32(16)).view(np.float32)
        found[name] = array
    return found


def _read_keras(path: Path) -> dict[str, NDArray[Any]]:
    import io
    from zipfile import ZipFile

    from ironlearn.nn.pretrained.checkpoint import ZIP_ERRORS

    with path.open("rb") as opened:
        size = opened.seek(0, io.SEEK_END)
        try:
            archive = ZipFile(opened)
            info = archive.getinfo("model.weights.h5")
            if info.file_size > _GROWTH * min(size, max(1, info.compress_size)):
                raise ModelFileError("model.weights.h5 is compressed beyond belief.")
            data = archive.read(info)
        except ZIP_ERRORS as error:
            raise ModelFileError(f"{path} is damaged: {error}") from error
    return _read_hdf5(path, data)


def _read_hdf5(path: Path, data: bytes) -> dict[str, NDArray[Any]]:
    from ironlearn.nn.pretrained.hdf5 import read_hdf5

    try:
        found = read_hdf5(data)
    except ModelFileError as error:
        raise ModelFileError(f"{path}: {error}") from error
    if not found:
        raise ModelFileError(f"{path} holds no arrays.")
    return found
