"""One GPU: its memory, copies to it and from it, and what it is."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ironlearn.exceptions import MissingExtraError
from ironlearn.nn.backend.device import Array, Device

if TYPE_CHECKING:
    from ironlearn.nn.backend.cuda.operations import CudaOps

#: The oldest CUDA runtime that the kernels and CuPy itself are made for, as CUDA numbers it.
_OLDEST_RUNTIME = 12000
#: Copies to the device that may be under way at once.
_STAGES = 4
#: Arrays of fewer bytes are copied at once: the detour through pinned memory would take longer.
_STAGED_BYTES = 1 << 16


def _cupy() -> Any:
    try:
        import cupy
    except ImportError as error:
        raise MissingExtraError(
            "device='cuda' needs CuPy: pip install 'ironlearn[gpu]' (CUDA 12) or "
            "'ironlearn[gpu-cuda13]'."
        ) from error
    return cupy


def is_available() -> bool:
    """Tell whether CuPy is installed, is new enough and finds a GPU."""
    try:
        runtime = _cupy().cuda.runtime
        return (
            int(runtime.runtimeGetVersion()) >= _OLDEST_RUNTIME
            and int(runtime.getDeviceCount()) > 0
        )
    except Exception:
        return False


class CudaDevice(Device):
    """One GPU.

    Parameters
    ----------
    index : int
        The GPU's number.

    Raises
    ------
    ironlearn.exceptions.MissingExtraError
        CuPy is not installed.
    RuntimeError
        There is no driver, no GPU of that number, or CUDA is too old.

    Notes
    -----
    Work is queued on CuPy's current stream and nothing waits for it but `receive` and
    `synchronize`. Memory comes from CuPy's pool, which keeps what arrays give back.
    """

    asynchronous = True
    ops: CudaOps

    def __init__(self, index: int) -> None:
        from ironlearn.nn.backend.cuda.operations import CudaOps

        cupy = _cupy()
        runtime = cupy.cuda.runtime
        try:
            count, version = int(runtime.getDeviceCount()), int(runtime.runtimeGetVersion())
        except runtime.CUDARuntimeError as error:
            raise RuntimeError(f"device='cuda' needs a GPU and its driver: {error}") from error
        if version < _OLDEST_RUNTIME:
            raise RuntimeError(
                f"device='cuda' needs CUDA {_OLDEST_RUNTIME // 1000} or newer, CuPy "
                f"{cupy.__version__} runs on CUDA {version // 1000}.{version % 1000 // 10}."
            )
        if index >= count:
            found = {0: "no GPU was", 1: "one GPU was"}.get(count, f"{count} GPUs were")
            raise RuntimeError(f"device='cuda:{index}' is not there: {found} found.")
        self.name = f"cuda:{index}"
        self.alone = count == 1
        self.xp = cupy
        self.ops = CudaOps(cupy)
        self.out_of_memory = (cupy.cuda.memory.OutOfMemoryError,)
        self._device = cupy.cuda.Device(index)
        # Pinned memory, and the event after which it may be used again.
        self._stages: list[tuple[Any, Any] | None] = [None] * _STAGES
        self._next = 0

    def owns(self, array: Any) -> bool:
        """Tell whether `array` lives on this GPU."""
        return isinstance(array, self.xp.ndarray) and array.device == self._device

    def send(self, array: NDArray[Any]) -> Array:
        """Copy `array` to the GPU.

        `array` may be changed as soon as this returns. A large one goes by way of pinned memory,
        and the copy from there is queued: it takes place while the host goes on.
        """
        array = np.asarray(array)
        with self._device:
            if array.nbytes < _STAGED_BYTES:
                return self.xp.asarray(array)
            out = self.xp.empty(array.shape, array.dtype)
            stream = self.xp.cuda.get_current_stream()
            pinned = self._stage(array.nbytes)
            staged = pinned[: array.nbytes].view(array.dtype).reshape(array.shape)
            np.copyto(staged, array)
            out.set(staged, stream=stream)
            event = self.xp.cuda.Event(disable_timing=True)
            event.record(stream)
            self._stages[self._next] = (pinned, event)
            self._next = (self._next + 1) % _STAGES
            return out

    def _stage(self, size: int) -> Any:
        """Return pinned memory of `size` bytes or more that no copy reads from any more."""
        from cupyx import empty_pinned

        known = self._stages[self._next]
        if known is not None:
            pinned, event = known
            if not event.done:
                event.synchronize()
            if pinned.nbytes >= size:
                return pinned
        return empty_pinned((size,), np.uint8)

    def receive(self, array: Array) -> NDArray[Any]:
        """Copy `array` from the GPU, waiting for it."""
        with self._device:
            return np.asarray(self.xp.asnumpy(array))

    def context(self) -> contextlib.AbstractContextManager[Any]:
        """Make this GPU the current one."""
        # Asking CUDA twice for each operation takes as long as queueing it.
        return contextlib.nullcontext() if self.alone else self._device

    def synchronize(self) -> None:
        """Wait until everything queued is done."""
        with self._device:
            self.xp.cuda.get_current_stream().synchronize()

    def warmup(self, dtypes: Sequence[str] = ("float32",)) -> None:
        """Do now what would make the first step slow.

        Starts CUDA and cuBLAS and compiles the kernels (seconds each time CuPy's cache, the
        folder that the environment variable ``CUPY_CACHE_DIR`` names, does not have them).

        Parameters
        ----------
        dtypes : sequence of {"float32", "float64", "float16", "bfloat16"}
            The precisions whose kernels are wanted.
        """
        with self._device:
            for name in dtypes:
                self.ops.kernels.module(name).compile()
            one = self.xp.ones((8, 8), self.xp.float32)
            self.xp.matmul(one, one)
        self.synchronize()

    @contextlib.contextmanager
    def tf32(self) -> Iterator[None]:
        """Let products of float32 round their factors to TF32 (10 bits) inside this context.

        The accumulation stays in float32. It is the whole process's setting, as CuPy has it.
        """
        core = self.xp._core
        before = core.get_compute_type(np.float32)
        core.set_compute_type(np.float32, core._routines_linalg.COMPUTE_TYPE_TF32)
        try:
            yield
        finally:
            core.set_compute_type(np.float32, before)

    def memory(self) -> tuple[int, int]:
        """Return the free and the total bytes of the GPU; what no array uses counts as free."""
        with self._device:
            pool = self.xp.get_default_memory_pool()
            free, total = self._device.mem_info
            return int(free) + int(pool.total_bytes()) - int(pool.used_bytes()), int(total)
