"""Activations as layers."""

from __future__ import annotations

from ironlearn.nn import functional as F
from ironlearn.nn.autograd import Tensor
from ironlearn.nn.layers.base import INFERENCE, Layer, Mode, check_activation


def apply_activation(x: Tensor, name: str | None) -> Tensor:
    """Return the activation `name` of `x`; ``"softmax"`` is over the last axis."""
    if name is None or name == "linear":
        return x
    if name == "softmax":
        return F.softmax(x)
    return F.activation(x, name)


class Activation(Layer):
    """An activation by name.

    Parameters
    ----------
    activation : {"linear", "relu", "sigmoid", "tanh", "leaky_relu", "elu", "gelu", \
"gelu_tanh", "relu6", "silu", "softplus", "softmax"}
        Elementwise, except for ``"softmax"``, which is over the last axis.

    Examples
    --------
    >>> import numpy as np
    >>> layer = Activation("relu")
    >>> layer(Tensor(np.array([[-1.0, 2.0]]))).data
    array([[0., 2.]])
    """

    def __init__(self, activation: str) -> None:
        check_activation("Activation", activation)
        self.activation = activation

    def forward(self, x: Tensor, mode: Mode = INFERENCE) -> Tensor:
        """Compute the output of `x`."""
        return apply_activation(x, self.activation)
