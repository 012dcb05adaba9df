"""Convolutions with their batch normalization taken into kernel and bias."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ironlearn.exceptions import ModelFileError
from ironlearn.nn.layers.conv import Conv2D
from ironlearn.nn.layers.depthwise import DepthwiseConv2D
from ironlearn.nn.pretrained.keras_layout import KerasWeights
from ironlearn.nn.pretrained.layout import Weights

Array = NDArray[Any]


def load_folded(
    layer: Conv2D | DepthwiseConv2D, weights: Weights, conv: str, norm: str, eps: float
) -> None:
    """Give a built convolution the weights of PyTorch's convolution and batch normalization.

    Parameters
    ----------
    layer : Conv2D or DepthwiseConv2D
        Built, with a bias.
    weights : Weights
        Where `conv` and `norm` are.
    conv, norm : str
        Names of the convolution's kernel and of the batch normalization.
    eps : float
        What the batch normalization adds to the variance.
    """
    kernel = weights.conv(conv, _inner(layer).kernel.shape)
    part, shape = weights.within(norm), (kernel.shape[3],)
    names = ("weight", "bias", "running_mean", "running_var")
    _fold(layer, kernel, [part.take(name, shape) for name in names], eps, norm)


def load_folded_keras(
    layer: Conv2D | DepthwiseConv2D, weights: KerasWeights, conv: str, norm: str, eps: float
) -> None:
    """Give a built convolution the weights of Keras's next convolution and batch normalization.

    Parameters
    ----------
    layer : Conv2D or DepthwiseConv2D
        Built, with a bias.
    weights : KerasWeights
        Whose next layers of the two kinds these are.
    conv, norm : str
        What Keras's network calls the two layers.
    eps : float
        What the batch normalization adds to the variance.
    """
    height, width, inputs, outputs = _inner(layer).kernel.shape
    if isinstance(layer, DepthwiseConv2D):
        # Keras has the channels in the third place, where all layers have their inputs.
        part = weights.layer("depthwise_conv2d", conv)
        kernel = part.take("depthwise_kernel", (height, width, outputs, inputs))
        kernel = np.ascontiguousarray(kernel.transpose(0, 1, 3, 2))
    else:
        kernel = weights.layer("conv2d", conv).take("kernel", (height, width, inputs, outputs))
    part = weights.layer("batch_normalization", norm)
    names = ("gamma", "beta", "moving_mean", "moving_variance")
    _fold(layer, kernel, [part.take(name, (outputs,)) for name in names], eps, norm)


def _inner(layer: Conv2D | DepthwiseConv2D) -> Any:
    return layer._conv if isinstance(layer, DepthwiseConv2D) else layer


def _fold(
    layer: Conv2D | DepthwiseConv2D, kernel: Array, norm: list[Array], eps: float, name: str
) -> None:
    gain, offset, mean, variance = (values.astype(np.float64) for values in norm)
    if not (variance + eps > 0).all():
        raise ModelFileError(f"the batch normalization {name!r} has a negative variance.")
    factor = gain / np.sqrt(variance + eps)
    inner = _inner(layer)
    inner.kernel.data = (kernel * factor).astype(np.float32)
    inner.bias.data = (offset - mean * factor).astype(np.float32)
