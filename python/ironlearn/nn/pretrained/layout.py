"""Turning other libraries' arrays into ours: the one place that knows both orders of axes."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ironlearn.exceptions import ModelFileError
from ironlearn.nn.pretrained.quantized import dequantize

Array = NDArray[Any]


class Weights:
    """Arrays by name that are taken one after the other, with their shapes checked.

    Parameters
    ----------
    arrays : mapping of str to ndarray
        As `read_weights` returns them.
    prefix : str, default=""
        Left out of the names.
    """

    def __init__(self, arrays: Mapping[str, Array], prefix: str = "") -> None:
        quantized = any(array.dtype.kind in "iu" for array in arrays.values())
        self._arrays = dequantize(arrays) if quantized else arrays
        self._prefix = prefix
        self._used: set[str] = set()

    def within(self, prefix: str, separator: str = ".") -> Weights:
        """Return the arrays whose names begin with `prefix` and `separator`, under the rest."""
        inner = copy.copy(self)
        inner._prefix = f"{self._prefix}{prefix}{separator}"
        return inner

    def finish(self, *ignored: str) -> None:
        """Refuse arrays within that nobody took: a larger network's would load halfway.

        Parameters
        ----------
        *ignored : str
            Beginnings or ends of names, behind the prefix, that may be left.

        Raises
        ------
        ModelFileError
            There are others; the first is named with its shape.
        """
        for name, array in self._arrays.items():
            rest = name.removeprefix(self._prefix)
            if (
                name.startswith(self._prefix)
                and name not in self._used
                and not (rest.startswith(ignored) or rest.endswith(ignored))
            ):
                raise ModelFileError(
                    f"the weights hold {name!r} of shape {tuple(array.shape)}, which the network "
                    "does not have: they are of another network."
                )

    def take(self, name: str, shape: tuple[int, ...]) -> Array:
        """Return the array `name` as float32: float16 and quantized integers are widened.

        Raises
        ------
        ModelFileError
            It is not there, or not of `shape`, or not finite.
        """
        full = self._prefix + name
        if full not in self._arrays:
            raise ModelFileError(
                f"the weights lack {full!r} of shape {shape}: they are of another network."
            )
        array = self._arrays[full]
        if tuple(array.shape) != shape:
            raise ModelFileError(
                f"{full!r} has the shape {tuple(array.shape)}, but the network needs {shape}."
            )
        if array.dtype.kind in "iu":
            raise ModelFileError(f"{full!r} is of {array.dtype} and has no scales beside it.")
        if array.dtype.kind != "f" or not np.isfinite(array).all():
            raise ModelFileError(f"{full!r} is no array of finite floats.")
        self._used.add(full)
        return np.ascontiguousarray(array, dtype=np.float32)

    def dense(self, name: str, inputs: int, outputs: int) -> Array:
        """Return PyTorch's kernel of a dense layer (out, in) as (in, out)."""
        return np.ascontiguousarray(self.take(name, (outputs, inputs)).T)

    def conv(self, name: str, shape: tuple[int, int, int, int]) -> Array:
        """Return PyTorch's kernel of a convolution (out, in, height, width) as `shape`.

        `shape` is (height, width, in, out).
        """
        height, width, inputs, outputs = shape
        kernel = self.take(name, (outputs, inputs, height, width))
        return np.ascontiguousarray(kernel.transpose(2, 3, 1, 0))
