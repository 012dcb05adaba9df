"""Work on many arrays of a device at once.

A pass over an array costs a device's queue the same whether the array is large or small. Small
arrays are therefore joined first: one pass over all of them, instead of one for each. Devices
without a queue gain nothing by that and work on each array by itself.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ironlearn.nn.backend.device import Array, Device

#: Arrays of fewer bytes are joined.
_SMALL = 1 << 20
#: Joined arrays begin at multiples of so many elements, so that kernels find them aligned.
_ALIGNED = 64


def copied(device: Device, arrays: list[Array]) -> list[Array]:
    """Return copies of `arrays`, of any types, in C order; some may share one memory.

    Examples
    --------
    >>> from ironlearn.nn.backend.device import get_device
    >>> array = np.array([1.0])
    >>> copied(get_device("cpu"), [array])[0] is array
    False
    """
    found: list[Array] = [None] * len(arrays)
    with device.context():
        small: dict[str, list[int]] = {}
        for i, array in enumerate(arrays):
            if device.asynchronous and 0 < array.nbytes < _SMALL:
                small.setdefault(str(array.dtype), []).append(i)
            else:
                found[i] = array.copy()
        for places in small.values():
            whole, starts = _joined(device, [arrays[i] for i in places])
            for i, start in zip(places, starts, strict=True):
                found[i] = whole[start : start + arrays[i].size].reshape(arrays[i].shape)
    return found


def _joined(device: Device, arrays: list[Array]) -> tuple[Array, list[int]]:
    """Return an array that holds `arrays`, all of one type, and where each of them begins."""
    rest = device.xp.zeros(_ALIGNED, arrays[0].dtype)
    pieces, starts, length = [], [], 0
    for array in arrays:
        starts.append(length)
        pieces.append(array.reshape(-1))
        fill = -array.size % _ALIGNED
        if fill:
            pieces.append(rest[:fill])
        length += array.size + fill
    return device.xp.concatenate(pieces), starts


def total(device: Device, arrays: list[Array], *, squared: bool = False) -> Array:
    """Return the sum over all elements of all `arrays`, or over their squares.

    Parameters
    ----------
    device : Device
    arrays : list of arrays
        At least one, all of one floating-point type.
    squared : bool, default=False

    Returns
    -------
    array of shape ()
        It stays on the device.

    Examples
    --------
    >>> from ironlearn.nn.backend.device import get_device
    >>> float(total(get_device("cpu"), [np.array([1.0, 2.0]), np.array([[3.0]])], squared=True))
    14.0
    """
    with device.context():
        if device.asynchronous:
            small = [a.reshape(-1) for a in arrays if a.nbytes < _SMALL]
            if len(small) > 1:
                arrays = [a for a in arrays if a.nbytes >= _SMALL]
                arrays.append(device.xp.concatenate(small))
        return sum((a * a if squared else a).sum() for a in arrays)


def scaled(
    device: Device, arrays: list[Array], dtype: np.dtype[Any], scale: float | Array = 1.0
) -> list[Array]:
    """Return `arrays` in another floating-point type, multiplied by `scale` there.

    Parameters
    ----------
    device : Device
    arrays : list of arrays
    dtype : dtype
    scale : float or array of shape (), default=1.0

    Returns
    -------
    list of arrays
        In C order. Some may lie side by side in one memory. Where nothing had to be done, an array
        is the one that was given.

    Examples
    --------
    >>> from ironlearn.nn.backend.device import get_device
    >>> scaled(get_device("cpu"), [np.array([1.0, 2.0])], np.dtype(np.float16), 0.5)
    [array([0.5, 1. ], dtype=float16)]
    """
    found = list(arrays)
    with device.context():
        joined: list[int] = []
        if device.asynchronous:
            joined = [
                i
                for i, a in enumerate(arrays)
                if 0 < a.nbytes < _SMALL and a.dtype == arrays[0].dtype
            ]
        if len(joined) > 1:
            whole, starts = _joined(device, [arrays[i] for i in joined])
            whole = _scaled(whole, dtype, scale)
            for i, start in zip(joined, starts, strict=True):
                found[i] = whole[start : start + arrays[i].size].reshape(arrays[i].shape)
        else:
            joined = []
        for i in set(range(len(arrays))) - set(joined):
            found[i] = _scaled(arrays[i], dtype, scale)
    return found


def _scaled(array: Array, dtype: np.dtype[Any], scale: float | Array) -> Array:
    cast = array if array.dtype == dtype else array.astype(dtype)
    if isinstance(scale, float):
        return cast if scale == 1.0 else cast * scale
    return cast * scale.astype(dtype)
