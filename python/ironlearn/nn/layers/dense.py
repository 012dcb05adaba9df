"""The fully connected layer."""

from __future__ import annotations

import numpy as np

from ironlearn.nn import functional as F
from ironlearn.nn.autograd import Tensor
from ironlearn.nn.backend.ops.activations import FUSED, UNFUSED
from ironlearn.nn.layers.activation import apply_activation
from ironlearn.nn.layers.base import (
    INFERENCE,
    Layer,
    Mode,
    Parameter,
    Shape,
    check_activation,
    positive,
)


class Dense(Layer):
    """activation(x W + b), over the last axis.

    Parameters
    ----------
    units : int
        Width of the output.
    activation : str, optional
        See `Activation`.
    use_bias : bool, default=True
        Add the bias b.
    kernel_initializer : str, default="glorot_uniform"
        Initial values of W; see `ironlearn.nn.initializers`.

    Attributes
    ----------
    kernel : Parameter of shape (inputs, units)
    bias : Parameter of shape (units,)

    Notes
    -----
    Input (N, ..., inputs), output (N, ..., units).

    Examples
    --------
    >>> import numpy as np
    >>> layer = Dense(2, activation="relu")
    >>> layer._build((3,), np.random.default_rng(0))
    (2,)
    >>> layer(Tensor(np.ones((4, 3), np.float32))).shape
    (4, 2)
    """

    kernel: Parameter
    bias: Parameter

    def __init__(
        self,
        units: int,
        activation: str | None = None,
        *,
        use_bias: bool = True,
        kernel_initializer: str = "glorot_uniform",
    ) -> None:
        self.units = positive("Dense", "units", units)
        check_activation("Dense", activation)
        self.activation = activation
        self.use_bias = use_bias
        self.kernel_initializer = kernel_initializer

    def build(self, input_shape: Shape, rng: np.random.Generator) -> None:
        """Create kernel and bias."""
        width = input_shape[-1] if input_shape else None
        if width is None:
            raise ValueError(f"{self._title()} needs to know the width of its input.")
        self.add_parameter("kernel", (width, self.units), self.kernel_initializer, rng)
        if self.use_bias:
            self.add_parameter("bias", (self.units,), "zeros", rng, decay=False)

    def output_shape(self, input_shape: Shape) -> Shape:
        """Return the input's shape with the last axis of `units`."""
        return (*input_shape[:-1], self.units)

    def forward(self, x: Tensor, mode: Mode = INFERENCE) -> Tensor:
        """Compute the output of `x`."""
        self._expect(x)
        bias = self.bias if self.use_bias else None
        name = self.activation or "linear"
        if name in FUSED + UNFUSED:
            return F.affine(x, self.kernel, bias, name)
        return apply_activation(F.affine(x, self.kernel, bias), name)
