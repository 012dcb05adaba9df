"""Arrays of other libraries, shared instead of copied, by DLPack."""

from __future__ import annotations

from typing import Any

import numpy as np

from ironlearn.nn.autograd import Tensor

#: Numbers of `DLDeviceType` in the DLPack specification, version 1.
_CPU, _CUDA = 1, 2
_NAMES = {
    3: "pinned memory",
    4: "OpenCL",
    7: "Vulkan",
    8: "Metal",
    10: "ROCm",
    13: "managed memory",
}


def from_dlpack(array: Any) -> Tensor:
    """Return a tensor that shares the memory of another library's array.

    Parameters
    ----------
    array : object with ``__dlpack__`` and ``__dlpack_device__``
        Of PyTorch, JAX, TensorFlow, CuPy, NumPy ..., in main memory or on an NVIDIA GPU; of real
        numbers or booleans. One that records gradients must be detached first.

    Returns
    -------
    Tensor
        On ``"cpu"`` or on ``"cuda:<n>"``, where the array lies. Who changes one changes the other.
        The way back is that library's own ``from_dlpack``, which takes tensors and NumPy and CuPy
        arrays.

    Raises
    ------
    TypeError
        `array` does not speak DLPack, lies elsewhere, or has a dtype that arrays here do not have
        (bfloat16 in main memory among them).
    ironlearn.exceptions.MissingExtraError
        It lies on a GPU and CuPy is not installed.

    Notes
    -----
    DLPack specification, https://dmlc.github.io/dlpack/latest.

    Examples
    --------
    >>> import numpy as np
    >>> shared = np.zeros(3)
    >>> from_dlpack(shared).data[0] = 1
    >>> shared
    array([1., 0., 0.])
    """
    if not hasattr(array, "__dlpack__") or not hasattr(array, "__dlpack_device__"):
        raise TypeError(
            f"array must have __dlpack__ and __dlpack_device__, got a {type(array).__name__}."
        )
    kind, index = (int(part) for part in array.__dlpack_device__())
    if kind == _CPU:
        module: Any = np
    elif kind == _CUDA:
        from ironlearn.nn.backend import get_device

        module = get_device(f"cuda:{index}").xp
    else:
        raise TypeError(
            "array must lie in main memory or on an NVIDIA GPU, got one on "
            f"{_NAMES.get(kind, f'the DLPack device type {kind}')}."
        )
    try:
        data = module.from_dlpack(array)
    except (BufferError, RuntimeError, ValueError) as error:
        raise TypeError(f"array cannot be shared by DLPack: {error}") from error
    if data.dtype.kind == "c":
        raise TypeError(f"array must hold real numbers, got the dtype {data.dtype}.")
    return Tensor(data)
