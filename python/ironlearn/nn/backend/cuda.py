"""The GPU through CuPy: the base operations in CuPy's arrays."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ironlearn.exceptions import MissingExtraError
from ironlearn.nn.backend.device import Array, Device
from ironlearn.nn.backend.ops import Ops


def _cupy() -> Any:
    try:
        import cupy
    except ImportError as error:
        raise MissingExtraError(
            "device='cuda' needs CuPy: pip install cupy-cuda12x (or the package for your CUDA)."
        ) from error
    return cupy


def is_available() -> bool:
    """Tell whether CuPy is installed and finds a GPU."""
    try:
        return int(_cupy().cuda.runtime.getDeviceCount()) > 0
    except Exception:
        return False


class CudaDevice(Device):
    """One GPU.

    Parameters
    ----------
    index : int
        The GPU's number.
    """

    def __init__(self, index: int) -> None:
        cupy = _cupy()
        try:
            count = int(cupy.cuda.runtime.getDeviceCount())
        except cupy.cuda.runtime.CUDARuntimeError as error:
            raise RuntimeError(f"device='cuda' needs a GPU and its driver: {error}") from error
        if index >= count:
            raise RuntimeError(f"device='cuda:{index}' is not there: {count} GPUs were found.")
        self.name = f"cuda:{index}"
        self.xp = cupy
        self.ops = Ops(cupy)
        self._device = cupy.cuda.Device(index)

    def owns(self, array: Any) -> bool:
        """Tell whether `array` lives on this GPU."""
        return isinstance(array, self.xp.ndarray) and array.device == self._device

    def send(self, array: NDArray[Any]) -> Array:
        """Copy `array` to the GPU."""
        with self._device:
            return self.xp.asarray(array)

    def receive(self, array: Array) -> NDArray[Any]:
        """Copy `array` from the GPU, waiting for it."""
        return np.asarray(self.xp.asnumpy(array))

    def context(self) -> contextlib.AbstractContextManager[Any]:
        """Make this GPU the current one."""
        return self._device
