"""Integers that stand for numbers: how 8-bit weights become float32 again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ironlearn.exceptions import ModelFileError

Array = NDArray[Any]

_VARIABLES = "/vars/"


def affine(integers: Array, scale: Array, zero_point: Array, axis: int | None = None) -> Array:
    """Return (integers - zero_point) * scale as float32.

    Parameters
    ----------
    integers : ndarray of int
        Of any shape.
    scale, zero_point : ndarray
        One number each, or one for each place of `axis`.
    axis : int, optional
        The axis whose places have their own scales, e.g. the outputs of a layer.

    Returns
    -------
    ndarray of float32
        Of the shape of `integers`.

    Raises
    ------
    ModelFileError
        The scales do not fit the integers, or are not finite.

    Notes
    -----
    Differences of integers are exact; then follows one product in single precision, as PyTorch's
    ``dequantize`` computes it. Jacob et al., "Quantization and training of neural networks for
    efficient integer-arithmetic-only inference" (arXiv:1712.05877), equation 1.

    Examples
    --------
    >>> affine(np.array([3, 5], np.int8), np.array(0.5), np.array(3))
    array([0., 1.], dtype=float32)
    """
    if axis is None:
        shape: tuple[int, ...] = ()
    elif 0 <= axis < integers.ndim:
        shape = (integers.shape[axis],)
    else:
        raise ModelFileError(f"a tensor of {integers.ndim} axes has scales along axis {axis}.")
    if scale.shape != shape or zero_point.shape != shape:
        raise ModelFileError(
            f"scales of shape {scale.shape} and zero points of shape {zero_point.shape} do not fit "
            f"integers of shape {integers.shape}."
        )
    with np.errstate(over="ignore"):
        factor = scale.astype(np.float32)
    if integers.dtype.kind not in "iu" or not np.isfinite(factor).all():
        raise ModelFileError("a quantized tensor has no integers, or a scale that is not finite.")
    if zero_point.dtype.kind not in "iuf" or not (np.abs(zero_point.astype(float)) < 2**31).all():
        raise ModelFileError("a quantized tensor has zero points that are no small numbers.")
    wide = np.float32 if zero_point.dtype.kind == "f" else np.int64
    distance = integers.astype(wide) - _along(zero_point.astype(wide), integers, axis)
    with np.errstate(over="ignore"):
        return np.asarray(distance.astype(np.float32) * _along(factor, integers, axis), np.float32)


def _along(values: Array, integers: Array, axis: int | None) -> Array:
    """Return `values` so that they spread along `axis` of `integers`."""
    if axis is None:
        return values
    return values.reshape([-1 if i == axis else 1 for i in range(integers.ndim)])


def dequantize(arrays: Mapping[str, Array]) -> dict[str, Array]:
    """Return arrays by their names, with 8-bit integers that have scales turned into float32.

    Parameters
    ----------
    arrays : mapping of str to ndarray
        As `read_weights` returns them.

    Returns
    -------
    dict of str to ndarray
        The scales and zero points that were used are left out. Integers without scales stay as they
        are: they may be indices or counts.

    Raises
    ------
    ModelFileError
        Scales do not fit their integers; the array is named.

    Notes
    -----
    Three conventions of files are known:

    - ``weight_scale`` and, where it is not 0, ``weight_zero_point`` beside ``weight``: the value is
      (integer - zero point) * scale. One scale, or one for each row, or one for each group of
      columns of a row (compressed-tensors, which vLLM and llm-compressor write).
    - ``SCB`` beside ``weight``: integer * SCB / 127, one number for each row, its largest absolute
      value (bitsandbytes; Dettmers et al., "LLM.int8()", arXiv:2208.07339).
    - In Keras's files an int8 kernel is the first of a layer's variables and its scales the last,
      one for each output: the value is integer / scale.

    PyTorch's own quantized tensors need none of this: `read_weights` returns their values.

    Examples
    --------
    >>> arrays = {"fc.weight": np.array([[2, 4]], np.int8), "fc.weight_scale": np.array([[0.5]])}
    >>> dequantize(arrays)
    {'fc.weight': array([[1., 2.]], dtype=float32)}
    """
    answer = dict(arrays)
    for name, integers in arrays.items():
        if integers.dtype not in (np.int8, np.uint8):
            continue
        module, dot, last = name.rpartition(".")
        layer, _, place = name.rpartition(_VARIABLES)
        try:
            if f"{name}_scale" in arrays:
                answer[name] = _grouped(integers, name, arrays)
                answer.pop(f"{name}_scale")
                answer.pop(f"{name}_zero_point", None)
            elif last == "weight" and f"{module}{dot}SCB" in arrays:
                top = arrays[f"{module}{dot}SCB"].astype(np.float32) / np.float32(127)
                answer[name] = affine(integers, top, np.zeros(top.shape, np.int64), 0)
                answer.pop(f"{module}{dot}SCB")
                answer.pop(f"{module}{dot}weight_format", None)
            elif layer and place == "0" and integers.dtype == np.int8:
                scale = max(
                    (n for n in arrays if n.rpartition(_VARIABLES)[0] == layer and n != name),
                    key=lambda n: (len(n), n),
                    default=None,
                )
                if scale is not None:
                    answer[name] = _divided(integers, arrays[scale])
                    answer.pop(scale)
        except ModelFileError as error:
            raise ModelFileError(f"{name!r}: {error}") from error
    return answer


def _grouped(integers: Array, name: str, arrays: Mapping[str, Array]) -> Array:
    scale = arrays[f"{name}_scale"]
    zero = arrays.get(f"{name}_zero_point", np.zeros(scale.shape, np.int64))
    if scale.size == 1 and zero.size == 1:
        return affine(integers, scale.reshape(()), zero.reshape(()))
    rows = integers.shape[0] if integers.ndim else 0
    groups = scale.size // rows if rows else 0
    if (
        not groups
        or scale.shape not in ((rows,), (rows, groups))
        or zero.shape != scale.shape
        or (groups > 1 and (integers.ndim != 2 or integers.shape[1] % groups))
    ):
        raise ModelFileError(
            f"scales of shape {scale.shape} and zero points of shape {zero.shape} do not fit "
            f"integers of shape {integers.shape}."
        )
    parts = integers.reshape(rows * groups, -1)
    return affine(parts, scale.reshape(-1), zero.reshape(-1), 0).reshape(integers.shape)


def _divided(integers: Array, scale: Array) -> Array:
    if scale.dtype.kind != "f" or scale.shape != integers.shape[-1:] or not np.all(scale > 0):
        raise ModelFileError(
            f"scales of shape {scale.shape} do not fit integers of shape {integers.shape}, or are "
            "not positive."
        )
    return (integers.astype(np.float32) / scale.astype(np.float32)).astype(np.float32)
