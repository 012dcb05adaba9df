"""Random shifts, rotations, zooms and flips of images."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ironlearn._parameters import BOOLEAN, Table, real, validate

_ACCEPTED: Table = {
    "shift": (real(0),),
    "rotation": (real(0, 180),),
    "zoom": (real(0, 1, closed="left"),),
    "horizontal_flip": (BOOLEAN,),
    "vertical_flip": (BOOLEAN,),
}


class ImageAugmentation:
    """Changes each image of a batch at random: the same image never comes twice.

    Parameters
    ----------
    shift : float, default=0.0
        Most pixels by which an image moves, in each direction.
    rotation : float, default=0.0
        Most degrees by which it turns, to either side.
    zoom : float, default=0.0
        Most by which it grows or shrinks, as a fraction below 1.
    horizontal_flip, vertical_flip : bool, default=False
        Mirror every other image, left to right or upside down.

    Notes
    -----
    Cells that nothing moves into are 0. Without rotation and zoom an image moves by whole pixels;
    otherwise pixels are interpolated linearly between their four neighbours.

    Examples
    --------
    >>> import numpy as np
    >>> images = np.ones((2, 4, 4, 1), np.float32)
    >>> moved = ImageAugmentation(shift=1)(images, np.random.default_rng(0))
    >>> moved.shape
    (2, 4, 4, 1)
    """

    def __init__(
        self,
        *,
        shift: float = 0.0,
        rotation: float = 0.0,
        zoom: float = 0.0,
        horizontal_flip: bool = False,
        vertical_flip: bool = False,
    ) -> None:
        self.shift = shift
        self.rotation = rotation
        self.zoom = zoom
        self.horizontal_flip = horizontal_flip
        self.vertical_flip = vertical_flip
        values = {name: getattr(self, name) for name in _ACCEPTED}
        validate(type(self).__name__, _ACCEPTED, values)

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={getattr(self, name)!r}" for name in _ACCEPTED)
        return f"{type(self).__name__}({shown})"

    def __call__(self, images: NDArray[Any], rng: np.random.Generator) -> NDArray[Any]:
        """Return changed copies of `images`.

        Parameters
        ----------
        images : ndarray of shape (n, height, width, channels)
            Floating-point pixels.
        rng : numpy.random.Generator
            The source of the changes.

        Returns
        -------
        ndarray of the same shape and dtype
            The changed images.
        """
        if images.ndim != 4:
            raise ValueError(f"images must have shape (n, h, w, channels), got {images.shape}.")
        n = len(images)
        if self.rotation or self.zoom:
            images = self._turned(images, rng)
        elif self.shift >= 1:
            most = math.floor(self.shift)
            images = _moved(images, rng.integers(-most, most + 1, size=(n, 2)))
        else:
            images = images.copy()
        for axis, wanted in ((2, self.horizontal_flip), (1, self.vertical_flip)):
            if wanted:
                chosen = rng.random(n) < 0.5
                images[chosen] = np.flip(images[chosen], axis=axis)
        return images

    def _turned(self, images: NDArray[Any], rng: np.random.Generator) -> NDArray[Any]:
        n, height, width, channels = images.shape
        draws = rng.uniform(-1.0, 1.0, size=(4, n))
        angle = draws[0] * math.radians(self.rotation)
        scale = 1.0 / (1.0 + self.zoom * draws[1])
        cosine, sine = np.cos(angle) * scale, np.sin(angle) * scale
        middle_y, middle_x = (height - 1) / 2, (width - 1) / 2
        y, x = (
            axis.ravel().astype(np.float32)
            for axis in np.meshgrid(
                np.arange(height) - middle_y, np.arange(width) - middle_x, indexing="ij"
            )
        )

        def places(of_y: Any, of_x: Any, middle: float, shift: Any, size: int) -> Any:
            """Return where each cell comes from, in an image with a border of one zero."""
            start = middle + 1.0 - shift * self.shift
            factors = (column.astype(np.float32)[:, None] for column in (of_y, of_x, start))
            from_y, from_x, begin = factors
            found = from_y * y + from_x * x
            found += begin
            # The last cell of the border is never the first of two neighbours.
            return np.clip(found, 0.0, np.nextafter(np.float32(size + 1), np.float32(0)), out=found)

        from_y = places(cosine, -sine, middle_y, draws[2], height)
        from_x = places(sine, cosine, middle_x, draws[3], width)
        top, left = from_y.astype(np.intp), from_x.astype(np.intp)
        down, right = (from_y - top).astype(images.dtype), (from_x - left).astype(images.dtype)
        step = width + 2
        first = top * step + left
        first += (np.arange(n) * ((height + 2) * step))[:, None]
        padded = np.zeros((n, height + 2, step, channels), images.dtype)
        padded[:, 1:-1, 1:-1] = images
        cells = padded.reshape(-1) if channels == 1 else padded.reshape(-1, channels)
        if channels > 1:
            down, right = down[..., None], right[..., None]
        upper = np.take(cells, first, axis=0)
        upper += (np.take(cells, first + 1, axis=0) - upper) * right
        first += step
        lower = np.take(cells, first, axis=0)
        lower += (np.take(cells, first + 1, axis=0) - lower) * right
        upper += (lower - upper) * down
        return upper.reshape(images.shape)


def _moved(images: NDArray[Any], shifts: NDArray[Any]) -> NDArray[Any]:
    """Return images moved by whole pixels, (down, right) for each."""
    n, height, width, channels = images.shape
    most = int(np.abs(shifts).max(initial=0))
    padded = np.zeros((n, height + 2 * most, width + 2 * most, channels), images.dtype)
    padded[:, most : most + height, most : most + width] = images
    windows = np.lib.stride_tricks.sliding_window_view(padded, (height, width), axis=(1, 2))
    starts = most - shifts
    taken = windows[np.arange(n), starts[:, 0], starts[:, 1]]
    return np.ascontiguousarray(np.moveaxis(taken, 1, 3))
