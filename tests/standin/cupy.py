"""A module with CuPy's names on NumPy arrays.

It refuses what CuPy refuses (NumPy arrays among its own, implicit copies to the host, functions and
parameters that CuPy does not have, by the list in `cupy_api.json`), counts every copy between host
and device and every wait for the device, fills `empty` with NaN, and runs kernels through
`compiled.Compiled`. `install` puts it where ``import cupy`` finds it.
"""

from __future__ import annotations

import contextlib
import json
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from standin.compiled import Compiled
from standin.runtime import (
    Core,
    Counts,
    Cuda,
    Device,
    MemoryPool,
    counts,
    current,
    pool,
)

_API = json.loads(Path(__file__).with_name("cupy_api.json").read_text())
_UFUNCS = frozenset(_API["ufuncs"])
_UFUNC_OPTIONS = frozenset({"out", "dtype", "casting"})
#: Functions whose answer's shape depends on values: they wait for the device.
#: Sorting waits too: Thrust ends each call so, the way that CuPy calls it.
_WAITING = frozenset(
    {
        "argpartition",
        "argsort",
        "lexsort",
        "msort",
        "partition",
        "sort",
        "argwhere",
        "compress",
        "extract",
        "flatnonzero",
        "nonzero",
        "setdiff1d",
        "union1d",
        "unique",
    }
)
_HOST_ANSWERS = frozenset(
    {
        "result_type",
        "can_cast",
        "iscomplexobj",
        "isscalar",
        "issubdtype",
        "ndim",
        "size",
        "shape",
        "shares_memory",
        "may_share_memory",
        "broadcast_shapes",
        "promote_types",
        "common_type",
        "min_scalar_type",
    }
)
_CREATING = frozenset({"empty", "empty_like"})
#: Methods that move nothing: any device may be the current one.
_VIEWING = frozenset({"reshape", "squeeze", "swapaxes", "transpose", "view"})


def _wait(copies: int = 1) -> None:
    counts.waits += 1
    counts.to_host += copies


def _unwrap(value: Any) -> Any:
    if isinstance(value, ndarray):
        if value._place != current[-1]:
            raise ValueError(
                "Array device must be same as the current device: array device = "
                f"{value._place} while current = {current[-1]}"
            )
        return value._value
    if isinstance(value, np.ndarray):
        raise TypeError("Unsupported type <class 'numpy.ndarray'>")
    if isinstance(value, tuple | list):
        return type(value)(_unwrap(item) for item in value)
    if isinstance(value, dict):
        return {key: _unwrap(item) for key, item in value.items()}
    return value


def _wrap(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        return ndarray._of(np.asarray(value))
    if isinstance(value, tuple | list):
        return (
            type(value)(_wrap(item) for item in value)
            if type(value) in (tuple, list)
            else (tuple(_wrap(item) for item in value))
        )
    return value


def _check(name: str, known: list[str] | None, args: tuple[Any, ...], kwargs: Any) -> None:
    """Refuse parameters that CuPy's function does not have."""
    if known is None or any(k.startswith("**") for k in known):
        return
    names = [k.lstrip("*") for k in known]
    starred = any(k.startswith("*") for k in known)
    for key in kwargs:
        if key not in names:
            raise TypeError(f"{name}() got a keyword argument {key!r} that CuPy's lacks")
    if len(args) > len(names) and not starred:
        raise TypeError(f"{name}() takes {len(names)} arguments, got {len(args)}")


class ndarray(NDArrayOperatorsMixin):
    """An array "on the GPU"."""

    __slots__ = ("__weakref__", "_place", "_value")
    __array_priority__ = 100

    @classmethod
    def _of(cls, value: np.ndarray, place: int | None = None) -> ndarray:
        array = object.__new__(cls)
        array._value = value
        array._place = current[-1] if place is None else place
        return array

    def __init__(self, shape: Any, dtype: Any = float) -> None:
        self._value = _garbage(shape, dtype)
        self._place = current[-1]

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        name = ufunc.__name__
        if name not in _UFUNCS and not (name == "matmul"):
            raise TypeError(f"CuPy has no ufunc {name}")
        if method not in ("__call__", "at"):
            raise TypeError(f"the stand-in knows no {name}.{method}")
        if set(kwargs) - _UFUNC_OPTIONS:
            raise TypeError(f"{name}() got {sorted(set(kwargs) - _UFUNC_OPTIONS)}, unknown to CuPy")
        out = kwargs.pop("out", None)
        kwargs = _unwrap(kwargs)
        if out is not None:
            if not all(isinstance(o, ndarray) for o in out):
                raise TypeError(f"{name}: out must be arrays of the device")
            kwargs["out"] = tuple(_unwrap(out))
        with np.errstate(all="ignore"):
            answer = getattr(ufunc, method)(*_unwrap(inputs), **kwargs)
        if name == "matmul" and out is None:
            answer = _rounded_product(answer, inputs)
        if out is not None:
            return out[0] if len(out) == 1 else out
        return _wrap(answer)

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        return getattr(module, func.__name__)(*args, **kwargs)

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError(
            "Implicit conversion to a NumPy array is not allowed. Please use `.get()` to construct "
            "a NumPy array explicitly."
        )

    def __bool__(self) -> bool:
        _wait()
        return bool(self._value)

    def __float__(self) -> float:
        _wait()
        return float(self._value)

    def __int__(self) -> int:
        _wait()
        return int(self._value)

    def __index__(self) -> int:
        _wait()
        return self._value.__index__()

    def __len__(self) -> int:
        return len(self._value)

    def __iter__(self) -> Iterator[ndarray]:
        return (ndarray._of(np.asarray(part), self._place) for part in self._value)

    def __getitem__(self, key: Any) -> ndarray:
        _note_masks(key)
        return ndarray._of(np.asarray(self._value[_unwrap(key)]), self._place)

    def __setitem__(self, key: Any, value: Any) -> None:
        _unwrap(self)[_unwrap(key)] = _unwrap(value)

    def __repr__(self) -> str:
        _wait()
        return repr(self._value)

    def __copy__(self) -> ndarray:
        return ndarray._of(self._value.copy(), self._place)

    def __deepcopy__(self, memo: Any) -> ndarray:
        return ndarray._of(self._value.copy(), self._place)

    def __dlpack__(self, **kwargs: Any) -> Any:
        return self._value.__dlpack__()

    def __dlpack_device__(self) -> tuple[int, int]:
        return (1, 0)

    @property
    def device(self) -> Device:
        """Where the array lives."""
        return Device(self._place)

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of the axes."""
        return self._value.shape

    @shape.setter
    def shape(self, shape: tuple[int, ...]) -> None:
        self._value = self._value.reshape(shape, copy=False)

    @property
    def data(self) -> Any:
        """A pointer that only tells whether arrays share memory."""
        return types.SimpleNamespace(ptr=self._value.__array_interface__["data"][0])

    def get(
        self, stream: Any = None, order: str = "C", out: Any = None, blocking: bool = True
    ) -> np.ndarray:
        """Copy to the host."""
        _wait()
        if out is not None:
            out[...] = self._value
            return out
        return self._value.copy()

    def set(self, arr: np.ndarray, stream: Any = None) -> None:
        """Copy from the host."""
        if not isinstance(arr, np.ndarray) or arr.dtype != self._value.dtype:
            raise TypeError("set() wants a NumPy array of the same dtype")
        if arr.shape != self._value.shape:
            raise ValueError(f"Shape mismatch. Old shape: {self._value.shape}, new: {arr.shape}")
        counts.to_device += 1
        self._value[...] = arr

    def item(self, *args: Any) -> Any:
        """Copy one value to the host."""
        _wait()
        return self._value.item(*args)

    def tolist(self) -> Any:
        """Copy to the host as lists."""
        _wait()
        return self._value.tolist()

    def scatter_add(self, slices: Any, value: Any) -> None:
        """Add at indices, equal ones several times."""
        np.add.at(_unwrap(self), _unwrap(slices), _unwrap(value))

    def __getattr__(self, name: str) -> Any:
        known = _API["methods"].get(name)
        if known is None or name in ("toDlpack", "cstruct", "dump", "dumps", "tofile"):
            raise AttributeError(f"CuPy's arrays have no {name!r}")
        if known == "attribute":
            value = getattr(self._value, name)
            if name in ("T", "mT", "real", "imag", "base") and value is not None:
                return ndarray._of(value, self._place)
            return value
        if name in _WAITING:
            _wait()

        def method(*args: Any, **kwargs: Any) -> Any:
            _check(name, known, args, kwargs)
            held = self._value if name in _VIEWING else _unwrap(self)
            with np.errstate(all="ignore"):
                answer = getattr(held, name)(*_unwrap(args), **_unwrap(kwargs))
            if isinstance(answer, np.ndarray | np.generic):
                return ndarray._of(np.asarray(answer), self._place)
            return answer

        return method


ndarray.__module__ = "cupy"


def _rounded_product(answer: Any, factors: Any) -> Any:
    """Round a product of bfloat16 back to it, as cuBLAS does; NumPy leaves it in float32.

    Stacks of such matrices are refused, as by CuPy 14.2.
    """
    if any(str(a.dtype) == "bfloat16" and a.ndim > 2 for a in factors):
        raise TypeError("CuPy multiplies no stacks of bfloat16 matrices")
    return answer.astype(np.promote_types(*(a.dtype for a in factors)), copy=False)


def _note_masks(key: Any) -> None:
    for part in key if isinstance(key, tuple) else (key,):
        if isinstance(part, ndarray) and part._value.dtype == bool and part._value.ndim:
            _wait()


def _garbage(shape: Any, dtype: Any) -> np.ndarray:
    array = np.empty(shape, dtype)
    array.reshape(-1).view(np.uint8)[:] = 0xFF
    return array


class RawModule:
    """Kernels, compiled for the CPU."""

    def __init__(
        self,
        *,
        code: str,
        options: tuple[str, ...] = (),
        backend: str = "nvrtc",
        name_expressions: Any = None,
        jitify: bool = False,
    ) -> None:
        self.code, self.options = code, options
        self._compiled: Compiled | None = None

    def compile(self, log_stream: Any = None) -> None:
        """Compile now instead of at the first use."""
        self._ready()

    def _ready(self) -> Compiled:
        if self._compiled is None:
            self._compiled = Compiled(self.code, self.options)
        return self._compiled

    def get_function(self, name: str) -> Any:
        """Return a kernel."""
        compiled = self._ready()
        if name not in compiled.signatures:
            raise RuntimeError(f"the module has no kernel {name!r}")

        def kernel(
            grid: Any, block: Any, args: Any, *, shared_mem: int = 0, stream: Any = None
        ) -> None:
            counts.launches += 1
            ready = tuple(_unwrap(a) if isinstance(a, ndarray) else a for a in args)
            if any(isinstance(a, np.ndarray) for a in args):
                raise TypeError("a kernel takes arrays of the device, not NumPy arrays")
            compiled.launch(name, grid, block, ready, shared_mem)

        return kernel


class _Module(types.ModuleType):
    """The module ``cupy``."""

    ndarray, RawModule = ndarray, RawModule
    cuda = Cuda("cupy.cuda")
    _core = Core()
    __version__ = f"{_API['cupy']}+standin"

    def __getattr__(self, name: str) -> Any:
        if name in _API["other"]:
            return getattr(np, name)
        if name in _UFUNCS:
            return _Ufunc(getattr(np, name))
        if name not in _API["functions"]:
            raise AttributeError(f"module 'cupy' has no attribute {name!r}")
        known = _API["functions"][name]

        def function(*args: Any, **kwargs: Any) -> Any:
            _check(name, known, args, kwargs)
            if name in _WAITING or (name == "where" and len(args) + len(kwargs) == 1):
                _wait()
            if name == "repeat" and isinstance(args[1] if len(args) > 1 else 0, ndarray):
                raise TypeError("cupy.repeat takes repeats as a number or a list")
            with np.errstate(all="ignore"):
                answer = getattr(np, name)(*_unwrap(args), **_unwrap(kwargs))
            if name == "matmul" and kwargs.get("out") is None:
                answer = _rounded_product(answer, args)
            if name in _CREATING:
                answer = _garbage(answer.shape, answer.dtype)
            return answer if name in _HOST_ANSWERS else _wrap(answer)

        function.__name__ = name
        return function

    def array(
        self, object: Any, dtype: Any = None, copy: Any = True, order: Any = "K", **kwargs: Any
    ) -> ndarray:
        """Return an array of the device; a host's is copied there."""
        if isinstance(object, ndarray):
            return ndarray._of(np.array(object._value, dtype, copy=copy or None, order=order))
        counts.to_device += 1
        return ndarray._of(np.array(_unwrap_lists(object), dtype))

    def asarray(
        self,
        a: Any,
        dtype: Any = None,
        order: Any = None,
        *,
        copy: Any = None,
        blocking: bool = False,
    ) -> ndarray:
        """Return `a` on the device, itself if it is there."""
        if isinstance(a, ndarray):
            value = np.asarray(a._value, dtype, order)
            return a if value is a._value else ndarray._of(value)
        return self.array(a, dtype)

    asanyarray = asarray

    def ascontiguousarray(self, a: Any, dtype: Any = None) -> ndarray:
        """Return `a` in C order, itself if it is."""
        return self.asarray(a, dtype, "C") if isinstance(a, ndarray) else self.array(a, dtype)

    def asnumpy(
        self,
        a: Any,
        stream: Any = None,
        order: str = "C",
        out: Any = None,
        *,
        blocking: bool = True,
    ) -> np.ndarray:
        """Copy to the host."""
        return a.get() if isinstance(a, ndarray) else np.asarray(a)

    def from_dlpack(self, array: Any, **kwargs: Any) -> ndarray:
        """Share another library's array of this device."""

        class Host:
            # The memory is the host's, whatever the array says.
            def __dlpack__(self, **wishes: Any) -> Any:
                return array.__dlpack__()

            def __dlpack_device__(self) -> tuple[int, int]:
                return (1, 0)

        return ndarray._of(np.from_dlpack(Host()))

    def get_array_module(self, *args: Any) -> Any:
        """Return the module of the arrays."""
        return self if any(isinstance(a, ndarray) for a in args) else np

    def get_default_memory_pool(self) -> MemoryPool:
        """Return the device's memory."""
        return pool

    def get_default_pinned_memory_pool(self) -> MemoryPool:
        """Return the pinned memory."""
        return pool


class _Ufunc:
    """A ufunc as CuPy's: it takes arrays of the device."""

    def __init__(self, ufunc: Any) -> None:
        self._ufunc = ufunc
        self.__name__ = ufunc.__name__

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if any(isinstance(a, np.ndarray) for a in args):
            raise TypeError("Unsupported type <class 'numpy.ndarray'>")
        if kwargs.keys() - _UFUNC_OPTIONS:
            raise TypeError(f"{self.__name__}() got parameters unknown to CuPy: {sorted(kwargs)}")
        if not any(isinstance(a, ndarray) for a in args):
            return _wrap(self._ufunc(*args, **_unwrap(kwargs)))
        return self._ufunc(*args, **kwargs)

    def at(self, a: ndarray, indices: Any, b: Any = None) -> None:
        """Apply in place at indices, equal ones several times."""
        if self.__name__ not in ("add", "subtract", "maximum", "minimum"):
            raise NotImplementedError(f"{self.__name__}.at is not there")
        rest = () if b is None else (_unwrap(b),)
        self._ufunc.at(_unwrap(a), _unwrap(indices), *rest)


def _unwrap_lists(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_unwrap_lists(v) for v in value]
    return value._value if isinstance(value, ndarray) else value


module = _Module("cupy")


def _empty_pinned(shape: Any, dtype: Any = float, order: str = "C") -> np.ndarray:
    return np.empty(shape, dtype, order)


_cupyx = types.ModuleType("cupyx")
_cupyx.empty_pinned = _empty_pinned  # type: ignore[attr-defined]


@contextlib.contextmanager
def install() -> Iterator[Counts]:
    """Let ``import cupy`` find the stand-in, and ``"cuda"`` be a device of it."""
    from ironlearn.nn.backend import device

    names = {"cupy": module, "cupy.cuda": module.cuda, "cupyx": _cupyx}
    before = {name: sys.modules.get(name) for name in names}
    sys.modules.update(names)
    _forget(device._devices)
    counts.reset()
    try:
        yield counts
    finally:
        for name, was in before.items():
            if was is None:
                del sys.modules[name]
            else:
                sys.modules[name] = was
        _forget(device._devices)


def _forget(devices: dict[str, Any]) -> None:
    for name in [name for name in devices if name.startswith("cuda")]:
        del devices[name]
