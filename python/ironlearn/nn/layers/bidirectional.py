"""A recurrent layer that walks both ways."""

from __future__ import annotations

from typing import Any

import numpy as np

from ironlearn.nn import functional as F
from ironlearn.nn.autograd import Tensor
from ironlearn.nn.backend.device import Array
from ironlearn.nn.layers.base import INFERENCE, Layer, Mode, Shape
from ironlearn.nn.layers.recurrent import Recurrent
from ironlearn.nn.layers.registry import layer_from_spec

_MERGES = ("concat", "sum", "mul", "ave")


class Bidirectional(Layer):
    """A recurrent layer and its mirror image, which walks the other way.

    Parameters
    ----------
    layer : LSTM, GRU or SimpleRNN
        The layer that walks forward; its settings hold for both.
    merge_mode : {"concat", "sum", "mul", "ave"}, default="concat"
        How the two outputs become one.

    Attributes
    ----------
    forward_layer, backward_layer : layers
        The two; `backward_layer` is made when the layer is built.

    Notes
    -----
    Input (N, T, F); output (N, T, 2 units) or (N, 2 units) with "concat", else as of the layer.
    With ``return_state`` of the layer a tuple of the output, the states of the forward layer and
    those of the backward one. Schuster and Paliwal, "Bidirectional recurrent neural networks",
    IEEE Transactions on Signal Processing 45 (1997).

    Examples
    --------
    >>> import numpy as np
    >>> from ironlearn.nn.layers import LSTM
    >>> layer = Bidirectional(LSTM(6))
    >>> layer._build((None, 3), np.random.default_rng(0))
    (12,)
    >>> layer(Tensor(np.ones((2, 5, 3), np.float32))).shape
    (2, 12)
    """

    input_ndim = 3
    takes_mask = True

    def __init__(self, layer: Recurrent, merge_mode: str = "concat") -> None:
        if not isinstance(layer, Recurrent):
            raise ValueError(
                f"layer of Bidirectional must be a recurrent layer, got {type(layer).__name__}."
            )
        if merge_mode not in _MERGES:
            raise ValueError(
                f"merge_mode of Bidirectional must be one of {_MERGES}, got {merge_mode!r}."
            )
        self.forward_layer = layer
        self.merge_mode = merge_mode
        config = {**layer.config(), "go_backwards": not layer.go_backwards}
        self.backward_layer: Recurrent = layer_from_spec(
            {"type": type(layer).__name__, "config": config}
        )

    @property
    def layer(self) -> Recurrent:
        """The layer that walks forward."""
        return self.forward_layer

    def build(self, input_shape: Shape, rng: np.random.Generator) -> None:
        """Build both layers."""
        prefix = f"{self.label}." if self.label else ""
        self.forward_layer._build(input_shape, rng, f"{prefix}forward")
        self.backward_layer._build(input_shape, rng, f"{prefix}backward")

    def output_shape(self, input_shape: Shape) -> Shape:
        """Return the layer's shape, twice as wide with "concat"."""
        shape = self.forward_layer.output_shape(input_shape)
        if self.merge_mode == "concat":
            return (*shape[:-1], 2 * self.forward_layer.units)
        return shape

    def compute_mask(self, x: Tensor, mask: Array | None) -> Array | None:
        """Return the mask of the input as long as there are steps."""
        return self.forward_layer.compute_mask(x, mask)

    def forward(self, x: Tensor, mode: Mode = INFERENCE, mask: Array | None = None) -> Any:
        """Compute the output of `x`."""
        self._expect(x)
        one = self.forward_layer(x, mode, mask=mask)
        two = self.backward_layer(x, mode, mask=mask)
        if not self.forward_layer.return_state:
            return self._merge(one, two)
        return (self._merge(one[0], two[0]), *one[1:], *two[1:])

    def _merge(self, a: Tensor, b: Tensor) -> Tensor:
        if self.merge_mode == "concat":
            return F.concatenate([a, b], axis=-1)
        if self.merge_mode == "mul":
            return F.mul(a, b)
        total = F.add(a, b)
        return total if self.merge_mode == "sum" else F.mul(total, 0.5)
