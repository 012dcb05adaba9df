"""Layers that tell steps of a sequence apart by their places."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ironlearn.nn import functional as F
from ironlearn.nn.autograd import Tensor
from ironlearn.nn.layers.base import INFERENCE, Layer, Mode, Parameter, Shape, positive


def sine_positions(start: int, length: int, width: int) -> NDArray[np.float64]:
    """Return sines and cosines of the places from `start`: (length, width).

    Even columns are sines and odd ones cosines, of wavelengths from 2 pi to 20,000 pi.

    Examples
    --------
    >>> sine_positions(0, 2, 2).round(3)
    array([[0.   , 1.   ],
           [0.841, 0.54 ]])
    """
    place = np.arange(start, start + length, dtype=np.float64)[:, None]
    pairs = np.arange(0, width, 2, dtype=np.float64)
    angle = place * np.exp(pairs * (-math.log(10000.0) / width))
    out = np.empty((length, width))
    out[:, 0::2] = np.sin(angle)
    out[:, 1::2] = np.cos(angle[:, : width // 2])
    return out


class SinePositionEncoding(Layer):
    """Adds fixed sines and cosines of each step's place.

    Parameters
    ----------
    scale_input : bool, default=True
        Multiply the input by the square root of its width first, as is done with embeddings.

    Notes
    -----
    Input (N, T, width), output alike, T as long as one likes. Vaswani et al., "Attention is all you
    need" (arXiv:1706.03762), section 3.5.

    Examples
    --------
    >>> import numpy as np
    >>> layer = SinePositionEncoding()
    >>> layer._build((None, 2), np.random.default_rng(0))
    (None, 2)
    >>> layer(Tensor(np.zeros((1, 2, 2)))).data.round(3)
    array([[[0.   , 1.   ],
            [0.841, 0.54 ]]])
    """

    input_ndim = 3

    def __init__(self, scale_input: bool = True) -> None:
        self.scale_input = scale_input

    def forward(self, x: Tensor, mode: Mode = INFERENCE, start: int = 0) -> Tensor:
        """Compute the output of `x`, whose first step has the place `start`."""
        self._expect(x)
        _, length, width = x.shape
        table = sine_positions(start, length, width).astype(x.dtype)
        if self.scale_input:
            x = F.mul(x, math.sqrt(width))
        return F.add(x, Tensor(x.device.send(table)))


class PositionEmbedding(Layer):
    """Adds a trained vector for each step's place.

    Parameters
    ----------
    max_length : int
        Most steps that a sequence may have.
    embeddings_initializer : str, default="uniform"
        Initial values; see `ironlearn.nn.initializers`.

    Attributes
    ----------
    embeddings : Parameter of shape (max_length, width)

    Notes
    -----
    Input (N, T, width), output alike. Gehring et al., "Convolutional sequence to sequence learning"
    (arXiv:1705.03122).

    Examples
    --------
    >>> import numpy as np
    >>> layer = PositionEmbedding(16)
    >>> layer._build((None, 2), np.random.default_rng(0))
    (None, 2)
    >>> layer(Tensor(np.zeros((1, 5, 2), np.float32))).shape
    (1, 5, 2)
    """

    input_ndim = 3
    embeddings: Parameter

    def __init__(self, max_length: int, embeddings_initializer: str = "uniform") -> None:
        self.max_length = positive("PositionEmbedding", "max_length", max_length)
        self.embeddings_initializer = embeddings_initializer

    def build(self, input_shape: Shape, rng: np.random.Generator) -> None:
        """Create the vectors."""
        length, width = input_shape
        if width is None:
            raise ValueError(f"{self._title()} needs to know the width of its input.")
        self._check(0 if length is None else length)
        shape = (self.max_length, width)
        self.add_parameter("embeddings", shape, self.embeddings_initializer, rng, decay=False)

    def _check(self, end: Any) -> None:
        if end > self.max_length:
            raise ValueError(
                f"{self._title()} has max_length={self.max_length} places, but a sequence has "
                f"{end} steps."
            )

    def forward(self, x: Tensor, mode: Mode = INFERENCE, start: int = 0) -> Tensor:
        """Compute the output of `x`, whose first step has the place `start`."""
        self._expect(x)
        end = start + x.shape[1]
        self._check(end)
        return F.add(x, F.getitem(self.embeddings, slice(start, end)))
