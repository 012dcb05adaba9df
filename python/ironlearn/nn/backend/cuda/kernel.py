"""Launching kernels, and the one place that decides whether a kernel takes an input."""

from __future__ import annotations

from typing import Any

import numpy as np

from ironlearn.nn.backend.cuda.source import PRECISIONS, options, source
from ironlearn.nn.backend.device import Array
from ironlearn.nn.backend.override import Override, Ready

#: Threads of a block where nothing else decides.
THREADS = 256
#: Blocks of a grid whose threads go on to further elements.
_MOST_BLOCKS = 1 << 16
_WARP = 32
#: Threads that keep a large GPU busy.
_MANY_THREADS = 1 << 17


class Kernels:
    """The kernels of one device module, compiled once a precision, on first use.

    Parameters
    ----------
    xp : module
        CuPy.
    """

    def __init__(self, xp: Any) -> None:
        self._xp = xp
        self._functions: dict[tuple[str, str], Any] = {}
        self._modules: dict[str, Any] = {}

    def module(self, precision: str) -> Any:
        """Return the compiled kernels for arrays of the dtype `precision`."""
        module = self._modules.get(precision)
        if module is None:
            module = self._xp.RawModule(code=source(), options=options(precision))
            self._modules[precision] = module
        return module

    def launch(
        self,
        name: str,
        dtype: Any,
        blocks: int | tuple[int, ...],
        threads: int | tuple[int, ...],
        *arguments: Any,
        shared: int = 0,
    ) -> None:
        """Queue a kernel.

        Parameters
        ----------
        name : str
            The kernel.
        dtype : dtype
            Of the arrays that it reads and writes as numbers.
        blocks, threads : int or tuple of int
            Sizes of the grid and of a block.
        *arguments : arrays, int, float, bool or None
            In the order of the kernel's parameters. Arrays are in C order, ``None`` is the null
            pointer; numbers arrive as ``long long`` or ``double``.
        shared : int
            Bytes of dynamic shared memory of a block.

        Notes
        -----
        A grid without blocks has nothing to do; CUDA itself would refuse it.
        """
        grid = blocks if isinstance(blocks, tuple) else (blocks,)
        if 0 in grid:
            return
        precision = str(dtype)
        function = self._functions.get((name, precision))
        if function is None:
            function = self.module(precision).get_function(name)
            self._functions[name, precision] = function
        block = threads if isinstance(threads, tuple) else (threads,)
        function(grid, block, tuple(_passed(a) for a in arguments), shared_mem=shared)

    def each(self, name: str, like: Array, n: int, *arguments: Any) -> None:
        """Queue a kernel whose threads walk over `n` elements of arrays of the dtype of `like`."""
        self.launch(name, like.dtype, blocks_of(n), THREADS, *arguments)

    def cells(
        self, name: str, like: Array, cells: int, channels: int, *arguments: Any, before: int = 0
    ) -> None:
        """Queue a kernel that walks over `cells` cells of `channels` channels each.

        The kernel's last parameters are `cells`, `channels` and the binary logarithm of how many
        threads share a cell. It gets `before` blocks more than the walk wants, for other work.
        """
        shift = 0
        while 1 << shift < min(channels, THREADS) and (
            1 << shift < _WARP or cells << shift < _MANY_THREADS
        ):
            shift += 1
        blocks = before + blocks_of(cells << shift)
        self.launch(name, like.dtype, blocks, THREADS, *arguments, cells, channels, shift)


def blocks_of(n: int, threads: int = THREADS) -> int:
    """Return the blocks for a walk over `n` elements; the kernel strides on where they are few.

    Examples
    --------
    >>> blocks_of(0), blocks_of(1), blocks_of(257)
    (0, 1, 2)
    """
    return min(-(-n // threads), _MOST_BLOCKS)


def rows_of(rows: int, width: int) -> tuple[int, tuple[int, int]]:
    """Return the grid and the block for rows of `width` elements: a warp or a block for each.

    Examples
    --------
    >>> rows_of(10, 64), rows_of(10, 5000)
    ((3, (32, 4)), (10, (256, 1)))
    """
    if width <= 1024:
        return -(-rows // 4), (32, 4)
    return rows, (256 if width <= 8192 else 1024, 1)


def lanes_of(width: int) -> int:
    """Return how many neighbouring threads share rows of `width`: a power of two up to a warp.

    Examples
    --------
    >>> lanes_of(1), lanes_of(5), lanes_of(300)
    (1, 8, 32)
    """
    return min(32, 1 << max(width - 1, 0).bit_length())


def _passed(value: Any) -> Any:
    if value is None:
        return 0
    if isinstance(value, bool | np.bool_ | np.integer):
        return int(value)
    if isinstance(value, np.floating):
        return float(value)
    return value


class fused(Override):
    """Mark a method of the GPU's operations as an override by a kernel.

    Kernels take arguments whose float arrays (and dtypes, where one is an argument) are all of one
    of the dtypes that they are compiled for; arrays that are not in C order are copied into it
    first.
    """

    @staticmethod
    def ready(ops: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Ready | None:
        """Return the arguments in C order, or ``None`` where their floats are no kernel's."""
        seen: set[str] = set()
        values = [_ready(ops.xp, value, seen) for value in args]
        named = {key: _ready(ops.xp, value, seen) for key, value in kwargs.items()}
        return (values, named) if len(seen) == 1 and seen <= PRECISIONS.keys() else None


def _ready(xp: Any, value: Any, seen: set[str]) -> Any:
    """Return `value` as a kernel takes it; note the dtypes of numbers."""
    if isinstance(value, xp.ndarray):
        if value.dtype.kind not in "iub":
            seen.add(str(value.dtype))
        return value if value.flags.c_contiguous else xp.ascontiguousarray(value)
    if isinstance(value, tuple) and any(isinstance(item, xp.ndarray) for item in value):
        return tuple(_ready(xp, item, seen) for item in value)
    if isinstance(value, np.dtype) or (isinstance(value, type) and issubclass(value, np.generic)):
        seen.add(str(np.dtype(value)))
    return value
