"""The kernels' source and the precisions that it is compiled for."""

from __future__ import annotations

from functools import cache
from importlib import resources

#: What the preprocessor's PRECISION stands for.
PRECISIONS = {"float64": 64, "float32": 32, "float16": 16, "bfloat16": 17}


@cache
def source() -> str:
    """Return the source of all kernels, one translation unit.

    Examples
    --------
    >>> 'extern "C" __global__ void activation(' in source()
    True
    """
    folder = resources.files("ironlearn.nn.backend.cuda") / "kernels"
    files = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".cu"))
    # The number of a line in a message is that in its file.
    parts = [f'#line 1 "{name}"\n{(folder / name).read_text()}' for name in ("prelude.cuh", *files)]
    return "\n".join(parts)


def options(precision: str) -> tuple[str, ...]:
    """Return the compiler's options for arrays of the dtype `precision`.

    Examples
    --------
    >>> options("float32")
    ('-std=c++17', '-DPRECISION=32')
    """
    return ("-std=c++17", f"-DPRECISION={PRECISIONS[precision]}")
