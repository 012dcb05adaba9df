"""NVRTC by its C interface: compiles CUDA C++ where there is neither a GPU nor a driver."""

from __future__ import annotations

import ctypes
import ctypes.util
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any


@cache
def library() -> ctypes.CDLL | None:
    """Return NVRTC of one of NVIDIA's packages or of the system; ``None`` where there is none."""
    places: list[str] = []
    spec = find_spec("nvidia")
    for folder in [] if spec is None else spec.submodule_search_locations or []:
        places += sorted(map(str, Path(folder).glob("*/lib/libnvrtc.so.*")), reverse=True)
    found = ctypes.util.find_library("nvrtc")
    for place in [*places, *([found] if found else [])]:
        try:
            return ctypes.CDLL(place)
        except OSError:
            continue
    return None


def _check(nvrtc: Any, status: int, what: str) -> None:
    if status:
        nvrtc.nvrtcGetErrorString.restype = ctypes.c_char_p
        raise RuntimeError(f"{what}: {nvrtc.nvrtcGetErrorString(status).decode()}")


def version() -> tuple[int, int]:
    """Return NVRTC's version."""
    nvrtc = library()
    major, minor = ctypes.c_int(), ctypes.c_int()
    assert nvrtc is not None
    _check(nvrtc, nvrtc.nvrtcVersion(ctypes.byref(major), ctypes.byref(minor)), "version")
    return major.value, minor.value


def compile_cubin(code: str, options: tuple[str, ...], architecture: str) -> bytes:
    """Compile `code` for a real architecture (``"sm_80"``) and return the machine code.

    Raises
    ------
    RuntimeError
        It does not compile; the message is the compiler's.
    """
    nvrtc = library()
    assert nvrtc is not None
    program = ctypes.c_void_p()
    status = nvrtc.nvrtcCreateProgram(
        ctypes.byref(program), code.encode(), b"kernels.cu", 0, None, None
    )
    _check(nvrtc, status, "create")
    flags = [*options, f"--gpu-architecture={architecture}"]
    array = (ctypes.c_char_p * len(flags))(*(flag.encode() for flag in flags))
    try:
        status = nvrtc.nvrtcCompileProgram(program, len(flags), array)
        if status:
            size = ctypes.c_size_t()
            nvrtc.nvrtcGetProgramLogSize(program, ctypes.byref(size))
            log = ctypes.create_string_buffer(size.value)
            nvrtc.nvrtcGetProgramLog(program, log)
            raise RuntimeError(f"not valid CUDA C++ for {architecture}:\n{log.value.decode()}")
        size = ctypes.c_size_t()
        _check(nvrtc, nvrtc.nvrtcGetCUBINSize(program, ctypes.byref(size)), "size")
        cubin = ctypes.create_string_buffer(size.value)
        _check(nvrtc, nvrtc.nvrtcGetCUBIN(program, cubin), "cubin")
        return cubin.raw
    finally:
        nvrtc.nvrtcDestroyProgram(ctypes.byref(program))
