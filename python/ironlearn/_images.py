"""Images as networks take them: checked, with channels, pixels from 0 to 1."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Larger copies of all images as float32 are not made: batches are turned one by one instead.
MOST_BYTES = 1 << 30


def check_images(owner: str, X: Any, *, empty: bool = False) -> NDArray[Any]:
    """Return X as images (n, height, width, channels), uint8 or floating point, and not copied.

    Parameters
    ----------
    owner : str
        Whose input it is, for messages.
    X : array-like
        Images (n, height, width) or (n, height, width, channels): uint8, or floats in [0, 1].
    empty : bool, default=False
        No image at all is accepted.

    Raises
    ------
    ValueError
        X has another number of axes, holds no pixel, or pixels out of range or NaN.
    TypeError
        X does not hold uint8 or floats.
    """
    images = X if isinstance(X, np.ndarray) else np.asarray(X)
    if images.ndim == 2:
        side = int(images.shape[1] ** 0.5)
        hint = f"; X.reshape(-1, {side}, {side}) if they are flat squares" * (
            side * side == images.shape[1]
        )
        raise ValueError(
            f"{owner} takes images of shape (n, height, width) or (n, height, width, channels), "
            f"got shape {images.shape}{hint}."
        )
    if images.ndim not in (3, 4):
        raise ValueError(
            f"{owner} takes images of shape (n, height, width) or (n, height, width, channels), "
            f"got shape {images.shape}; a single image needs a first axis of length 1."
        )
    if images.dtype.kind not in "f" and images.dtype != np.uint8:
        raise TypeError(
            f"{owner} takes pixels as uint8 or as floats in [0, 1], got dtype {images.dtype}."
        )
    if images.ndim == 3:
        images = images[..., None]
    if 0 in images.shape[1:]:
        raise ValueError(f"{owner}: images of shape {images.shape[1:]} have no pixels.")
    if not len(images) and not empty:
        raise ValueError(f"{owner}: X has 0 samples; at least one image is needed.")
    if images.dtype.kind == "f" and images.size:
        # NaN passes through minimum and maximum.
        low, high = float(images.min()), float(images.max())
        if not (low >= 0 and high <= 1):
            if np.isnan(low):
                raise ValueError(f"{owner}: X contains NaN pixels.")
            raise ValueError(
                f"{owner}: floating-point pixels must be in [0, 1], but X has values from "
                f"{low:.6g} to {high:.6g}; divide by the largest possible value, or pass uint8."
            )
    return images


def as_floats(images: NDArray[Any]) -> NDArray[np.float32]:
    """Return pixels from 0 to 1 in single precision; C order; those that are so already as is."""
    if images.dtype == np.uint8:
        scaled = images.astype(np.float32)
        scaled *= np.float32(1 / 255)
        return scaled
    return np.ascontiguousarray(images, dtype=np.float32)
