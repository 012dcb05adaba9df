"""NVRTC by its C interface: compiles CUDA C++ where there is neither a GPU nor a driver."""

from __future__ import annotations

import ctypes
import ctypes.util
import dataclasses
import re
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


@dataclasses.dataclass(frozen=True)
class Usage:
    """What a kernel takes of a multiprocessor.

    Attributes
    ----------
    registers : int
        Registers of a thread.
    spilled : int
        Bytes of a thread's registers that had no place and went to memory.
    """

    registers: int
    spilled: int


_USAGE = re.compile(
    r"Compiling entry function '(\w+)' for '\w+'\s+ptxas info\s+: Function properties for \w+\s+"
    r"(?:ptxas[ .]+)?\d+ bytes stack frame, (\d+) bytes spill stores, \d+ bytes spill loads\s+"
    r"ptxas info\s+: Used (\d+) registers"
)


def compile_cubin(
    code: str, options: tuple[str, ...], architecture: str
) -> tuple[bytes, dict[str, Usage]]:
    """Compile `code` for a real architecture (``"sm_80"``).

    Returns
    -------
    cubin : bytes
        The machine code.
    usages : dict
        What each kernel takes.

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
    flags = [*options, f"--gpu-architecture={architecture}", "--ptxas-options=-v"]
    array = (ctypes.c_char_p * len(flags))(*(flag.encode() for flag in flags))
    try:
        status = nvrtc.nvrtcCompileProgram(program, len(flags), array)
        size = ctypes.c_size_t()
        nvrtc.nvrtcGetProgramLogSize(program, ctypes.byref(size))
        log = ctypes.create_string_buffer(size.value)
        nvrtc.nvrtcGetProgramLog(program, log)
        if status:
            raise RuntimeError(f"not valid CUDA C++ for {architecture}:\n{log.value.decode()}")
        _check(nvrtc, nvrtc.nvrtcGetCUBINSize(program, ctypes.byref(size)), "size")
        cubin = ctypes.create_string_buffer(size.value)
        _check(nvrtc, nvrtc.nvrtcGetCUBIN(program, cubin), "cubin")
        usages = {
            name: Usage(int(registers), int(spilled))
            for name, spilled, registers in _USAGE.findall(log.value.decode())
        }
        return cubin.raw, usages
    finally:
        nvrtc.nvrtcDestroyProgram(ctypes.byref(program))
