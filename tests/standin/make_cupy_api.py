"""Write down which functions CuPy has, and which parameters each takes.

Run where CuPy is installed (a GPU is not needed)::

    python tests/standin/make_cupy_api.py

The stand-in for CuPy refuses whatever is not in the file that this writes, `cupy_api.json`: names
and parameters are all it holds.
"""

from __future__ import annotations

import inspect
import json
import re
import warnings
from pathlib import Path
from typing import Any


def parameters(function: Any) -> list[str] | None:
    """Return the names of a function's parameters; ``None`` where they cannot be known."""
    try:
        found = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return from_docstring(function)
    return [
        ("*" * (p.kind is p.VAR_POSITIONAL) or "**" * (p.kind is p.VAR_KEYWORD)) + p.name
        for p in found
    ]


def from_docstring(function: Any) -> list[str] | None:
    """Return the parameters that the first line of a compiled function's docstring names."""
    line = (function.__doc__ or "").partition("\n")[0]
    match = re.match(r"[\w.]+\((.*)\)", line)
    if match is None:
        return None
    names = [part.split("=")[0].split()[-1] for part in match[1].split(",") if part.strip()]
    return [name for name in names if name not in ("self", "*")]


def main() -> None:
    """Write the file."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import cupy
    functions, ufuncs, other = {}, [], []
    for name in sorted(dir(cupy)):
        value = getattr(cupy, name)
        if name.startswith("_"):
            continue
        if isinstance(value, cupy.ufunc):
            ufuncs.append(name)
        elif inspect.ismodule(value) or inspect.isclass(value) or not callable(value):
            other.append(name)
        else:
            functions[name] = parameters(value)
    methods = {
        name: parameters(getattr(cupy.ndarray, name))
        if callable(getattr(cupy.ndarray, name))
        else "attribute"
        for name in sorted(dir(cupy.ndarray))
        if not name.startswith("_")
    }
    answer = {
        "cupy": cupy.__version__,
        "functions": functions,
        "methods": methods,
        "other": other,
        "ufuncs": ufuncs,
    }
    path = Path(__file__).with_name("cupy_api.json")
    path.write_text(json.dumps(answer, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
