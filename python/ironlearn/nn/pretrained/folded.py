"""Convolutions with their batch normalization taken into kernel and bias."""

from __future__ import annotations

from typing import Any

import numpy as np

from ironlearn.nn.layers.conv import Conv2D
from ironlearn.nn.layers.depthwise import DepthwiseConv2D
from ironlearn.nn.pretrained.layout import Weights


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
    inner: Any = layer._conv if isinstance(layer, DepthwiseConv2D) else layer
    kernel = weights.conv(conv, inner.kernel.shape)
    factor, offset = weights.batch_norm(norm, kernel.shape[3], eps)
    inner.kernel.data = (kernel * factor).astype(np.float32)
    inner.bias.data = offset.astype(np.float32)
