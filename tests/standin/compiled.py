"""Kernels in CUDA C++, compiled for the CPU and run by `shim.hpp`."""

from __future__ import annotations

import ctypes
import hashlib
import math
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

SHIM = Path(__file__).with_name("shim.hpp")
#: Bytes around each array that a kernel sees; they must come back as they were.
_GUARD = 256
_KERNEL = re.compile(
    r'extern\s+"C"\s+__global__\s+void\s+(?:__launch_bounds__\([^)]*\)\s+)?(\w+)\s*\(([^)]*)\)'
)
_BOUNDS = re.compile(r"__launch_bounds__\(\s*(\d+)[^)]*\)\s+(\w+)\s*\(")


def compiler() -> str | None:
    """Return the C++ compiler's path; ``None`` where there is none.

    The shim needs POSIX beside it: on other systems there is none either.
    """
    if os.name != "posix":
        return None
    return shutil.which(os.environ.get("CXX", "c++")) or shutil.which("g++")


def signatures(code: str) -> dict[str, list[str]]:
    """Return each kernel's parameter types: ``pointer``, ``long long``, ``double`` or ``int``."""
    code = re.sub(r"//[^\n]*|/\*.*?\*/", "", code, flags=re.S)
    answer = {}
    for name, inside in _KERNEL.findall(code):
        kinds = []
        for part in filter(None, (p.strip() for p in inside.split(","))):
            kind = "pointer" if "*" in part else part.replace("const ", "").rpartition(" ")[0]
            if kind not in ("pointer", "long long", "double", "int"):
                raise TypeError(f"kernel {name}: the parameter {part!r} is of no known type")
            kinds.append(kind)
        answer[name] = kinds
    return answer


def launch_bounds(code: str) -> dict[str, int]:
    """Return the most threads of a block of each kernel that says so by ``__launch_bounds__``."""
    return {name: int(threads) for threads, name in _BOUNDS.findall(code)}


def build(code: str, options: tuple[str, ...]) -> Path:
    """Compile `code` into a shared library, unless that was done before."""
    launchers = []
    for name, kinds in signatures(code).items():
        values = ", ".join(
            f"*(const ShimPointer *)a[{i}]" if kind == "pointer" else f"*({kind} *)a[{i}]"
            for i, kind in enumerate(kinds)
        )
        launchers.append(
            f"static void shim_body_{name}(void **a) {{ {name}({values}); }}\n"
            f'extern "C" const char *shim_launch_{name}(void **a, const unsigned *grid, const '
            f"unsigned *block, unsigned shared, int order) {{ return shim::launch(shim_body_{name},"
            f" a, grid, block, shared, order); }}"
        )
    pointer = (
        "struct ShimPointer { void *at; template <typename T> operator T *() const "
        "{ return (T *)at; } };\n"
    )
    whole = SHIM.read_text() + code + "\n" + pointer + "\n".join(launchers) + "\n"
    flags = ["-std=c++17", "-O1", "-fPIC", "-shared", "-w", "-ffp-contract=off", "-x", "c++"]
    if sys.platform.startswith("linux"):
        # A kernel may have the name of a function of the C library.
        flags += ["-Wl,-Bsymbolic"]
    flags += [option for option in options if option.startswith("-D")]
    key = hashlib.sha256(("\0".join(flags) + whole).encode()).hexdigest()[:32]
    folder = Path(tempfile.gettempdir()) / f"ironlearn-standin-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid():
        raise PermissionError(f"{folder} belongs to somebody else")
    library = folder / f"{key}.so"
    import fcntl

    # Of several test processes one compiles, the others wait.
    with open(folder / f"{key}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not library.exists():
            found = compiler()
            if found is None:
                raise RuntimeError("kernels cannot be compiled: no C++ compiler was found")
            source, fresh = folder / f"{key}.cpp", folder / f"{key}.new"
            source.write_text(whole)
            run = subprocess.run(
                [found, *flags, str(source), "-o", str(fresh)], capture_output=True, text=True
            )
            if run.returncode:
                raise RuntimeError(f"the kernels do not compile as C++:\n{run.stderr[:4000]}")
            fresh.replace(library)
    return library


class Compiled:
    """The kernels of one source."""

    #: Counts launches, so that threads go in another order each time.
    launches = 0

    def __init__(self, code: str, options: tuple[str, ...]) -> None:
        self.signatures = signatures(code)
        self._bounds = launch_bounds(code)
        self._library = ctypes.CDLL(str(build(code, options)))

    def launch(
        self,
        name: str,
        grid: tuple[int, ...],
        block: tuple[int, ...],
        arguments: tuple[Any, ...],
        shared: int,
    ) -> None:
        """Run a kernel; NumPy arrays stand for pointers.

        Raises
        ------
        RuntimeError
            The launch is not valid, a barrier was missed, or the kernel wrote beside an array.
        """
        kinds = self.signatures[name]
        if len(kinds) != len(arguments):
            raise TypeError(f"kernel {name} takes {len(kinds)} arguments, got {len(arguments)}")
        grid = tuple(grid) + (1,) * (3 - len(grid))
        block = tuple(block) + (1,) * (3 - len(block))
        limits = (2**31 - 1, 65535, 65535)
        if any(not 1 <= g <= most for g, most in zip(grid, limits, strict=True)):
            raise RuntimeError(f"kernel {name}: a grid of {grid} blocks is not valid")
        bound = self._bounds.get(name)
        if bound is not None and math.prod(block) > bound:
            raise RuntimeError(f"kernel {name}: {block} threads are more than its launch bounds")
        guarded: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        values = []
        for kind, argument in zip(kinds, arguments, strict=True):
            values.append(self._value(name, kind, argument, guarded))
        pointers = (ctypes.c_void_p * len(values))(
            *(ctypes.cast(ctypes.pointer(v), ctypes.c_void_p) for v in values)
        )
        function = getattr(self._library, f"shim_launch_{name}")
        function.restype = ctypes.c_char_p
        Compiled.launches += 1
        failure = function(
            pointers,
            (ctypes.c_uint * 3)(*grid),
            (ctypes.c_uint * 3)(*block),
            ctypes.c_uint(shared),
            ctypes.c_int(Compiled.launches % 3),
        )
        if failure:
            raise RuntimeError(f"kernel {name}: {failure.decode()}")
        for base, copy in guarded.values():
            if (copy[:_GUARD] != 0xFF).any() or (copy[_GUARD + base.nbytes :] != 0xFF).any():
                raise RuntimeError(f"kernel {name} wrote outside an array of {base.shape}")
            base.reshape(-1).view(np.uint8)[:] = copy[_GUARD : _GUARD + base.nbytes]

    def _value(self, name: str, kind: str, argument: Any, guarded: dict[int, Any]) -> Any:
        if kind == "pointer":
            if isinstance(argument, np.ndarray):
                return ctypes.c_void_p(self._guard(name, argument, guarded))
            if int(argument) == 0:
                return ctypes.c_void_p(0)
            raise TypeError(f"kernel {name}: a pointer is wanted, got {argument!r}")
        wanted = {"long long": int, "int": np.int32, "double": float}[kind]
        # A Python number is passed as eight bytes; a NumPy one as what it is.
        if type(argument) is not wanted:
            raise TypeError(f"kernel {name}: a {kind} is wanted, got {argument!r}")
        if kind != "double" and not -(2**63) <= argument < 2**63:
            raise OverflowError(f"kernel {name}: {argument} has more than 64 bits")
        make = {"long long": ctypes.c_longlong, "int": ctypes.c_int, "double": ctypes.c_double}
        return make[kind](argument)

    @staticmethod
    def _guard(name: str, array: np.ndarray, guarded: dict[int, Any]) -> int:
        if not array.flags.c_contiguous:
            raise RuntimeError(f"kernel {name}: an array of strides {array.strides} was passed")
        base = array
        while isinstance(base.base, np.ndarray) and base.base.flags.c_contiguous:
            base = base.base
        if id(base) not in guarded:
            copy = np.full(base.nbytes + 2 * _GUARD, 0xFF, np.uint8)
            copy[_GUARD : _GUARD + base.nbytes] = base.reshape(-1).view(np.uint8)
            guarded[id(base)] = (base, copy)
        copy = guarded[id(base)][1]
        offset = array.__array_interface__["data"][0] - base.__array_interface__["data"][0]
        return int(copy.ctypes.data) + _GUARD + offset
