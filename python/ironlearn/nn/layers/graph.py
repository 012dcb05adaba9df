"""Graph convolution."""

from __future__ import annotations

from typing import Any

import numpy as np

from ironlearn.nn import functional as F
from ironlearn.nn.autograd import Tensor
from ironlearn.nn.functional.graph import Adjacency, propagate
from ironlearn.nn.layers.activation import apply_activation
from ironlearn.nn.layers.base import INFERENCE, Layer, Mode, Parameter, Shape, check_activation
from ironlearn.nn.layers.dense import Dense


class GraphConvolution(Layer):
    """activation(A x W + b): each node sees itself and its neighbours.

    Parameters
    ----------
    units : int
        Width of the output.
    activation : str, optional
        See `Activation`.
    use_bias : bool, default=True
        Add the bias b.
    kernel_initializer : str, default="glorot_uniform"
        See `ironlearn.nn.initializers`.

    Notes
    -----
    `forward` takes the nodes (V, F) and an `Adjacency` A, usually of
    `ironlearn.nn.functional.graph.normalized_adjacency`. Kipf and Welling, "Semi-supervised
    classification with graph convolutional networks" (arXiv:1609.02907).

    Examples
    --------
    >>> import numpy as np
    >>> from ironlearn.nn.functional.graph import normalized_adjacency
    >>> layer = GraphConvolution(3)
    >>> layer._build((2,), np.random.default_rng(0))
    (3,)
    >>> layer(Tensor(np.ones((4, 2), np.float32)), normalized_adjacency([[0, 1]], 4)).shape
    (4, 3)
    """

    input_ndim = 2
    bias: Parameter

    def __init__(
        self,
        units: int,
        activation: str | None = None,
        *,
        use_bias: bool = True,
        kernel_initializer: str = "glorot_uniform",
    ) -> None:
        self._dense = Dense(
            units,
            activation=None,
            use_bias=False,
            kernel_initializer=kernel_initializer,
        )
        self.units = self._dense.units
        check_activation("GraphConvolution", activation)
        self.activation = activation
        self.use_bias = use_bias
        self.kernel_initializer = kernel_initializer

    def build(self, input_shape: Shape, rng: np.random.Generator) -> None:
        """Create kernel and bias."""
        self._dense._build(input_shape, rng, self.label)
        if self.use_bias:
            self.add_parameter("bias", (self.units,), "zeros", rng, decay=False)

    def output_shape(self, input_shape: Shape) -> Shape:
        """Return the width."""
        return (self.units,)

    def forward(  # type: ignore[override]
        self, x: Tensor, adjacency: Adjacency, mode: Mode = INFERENCE
    ) -> Tensor:
        """Compute the output of the nodes `x` in the graph `adjacency`."""
        self._expect(x)
        if x.shape[0] != adjacency.shape[1]:
            raise ValueError(
                f"{self._title()}: the graph has {adjacency.shape[1]} nodes, but x has "
                f"{x.shape[0]} rows."
            )
        width: Any = x.shape[1]
        # The cheaper order of the two products.
        if width > self.units:
            y = propagate(self._dense(x, mode), adjacency)
        else:
            y = self._dense(propagate(x, adjacency), mode)
        if self.use_bias:
            y = F.add(y, self.bias)
        return apply_activation(y, self.activation)
