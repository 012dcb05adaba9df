"""Computations that every device must agree on, one file a family (`cases_<family>.py`).

A case runs some operations on arrays. The expected answer is that of the base operations in NumPy,
in double precision, on the same numbers.
"""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

#: Relative error that a dtype's answers may have, to the largest expected number.
TOLERANCE = {"float64": 1e-11, "float32": 2e-5, "float16": 1.5e-2, "bfloat16": 1e-1}


@dataclasses.dataclass(frozen=True)
class Case:
    """One computation.

    Attributes
    ----------
    name : str
        What is special about it.
    operations : tuple of str
        The operations of `Ops` that it proves.
    arrays : mapping of str to array
        Floats in double precision (cast to the dtype under test), integers and booleans.
    run : callable
        ``run(ops, arrays)`` returns an array or a sequence of arrays, floats or not; the arrays
        are the device's.
    factor : float
        Times the tolerance of the dtype.
    dtypes : tuple of str
        Precisions to be compared.
    kernels : bool
        At least one kernel of our own must be launched; False for what array code computes.
    waits : bool
        The operation is documented to wait for the device.
    """

    name: str
    operations: tuple[str, ...]
    arrays: Mapping[str, Any]
    run: Callable[[Any, Mapping[str, Any]], Any]
    factor: float = 1.0
    dtypes: tuple[str, ...] = ("float32", "float64", "float16", "bfloat16")
    kernels: bool = True
    waits: bool = False

    def __str__(self) -> str:
        return f"{self.operations[0]}-{self.name}"


def one(
    operation: str,
    name: str,
    arrays: Mapping[str, Any],
    *parameters: Any,
    options: Mapping[str, Any] | None = None,
    **settings: Any,
) -> Case:
    """Return the case of one operation called with `arrays`, in order, then `parameters`."""

    def run(ops: Any, given: Mapping[str, Any]) -> Any:
        return getattr(ops, operation)(*given.values(), *parameters, **(options or {}))

    return Case(name, (operation,), arrays, run, **settings)


@cache
def all_cases() -> tuple[Case, ...]:
    """Return the cases of every family."""
    names = sorted(path.stem for path in Path(__file__).parent.glob("cases_*.py"))
    found: list[Case] = []
    for name in names:
        found += importlib.import_module(f"nn.cuda.{name}").CASES
    return tuple(found)


def dtype_named(name: str) -> np.dtype[Any]:
    """Return a dtype by name."""
    if name == "bfloat16":
        import ml_dtypes

        return np.dtype(ml_dtypes.bfloat16)
    return np.dtype(name)


def flat(answer: Any) -> list[Any]:
    """Return the arrays of an answer; nested sequences are opened, ``None`` stays."""
    if isinstance(answer, Sequence):
        return [part for item in answer for part in flat(item)]
    return [answer]
