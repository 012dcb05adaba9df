"""Running the inverted residuals of a network, in prediction as one operation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ironlearn.nn import functional as F
from ironlearn.nn.autograd import Tensor, grad_enabled
from ironlearn.nn.backend.ops.convolution import Padding, Pair
from ironlearn.nn.layers.base import INFERENCE, Layer, Mode
from ironlearn.nn.layers.conv import Conv2D
from ironlearn.nn.layers.depthwise import DepthwiseConv2D


def run_residuals(blocks: Sequence[Layer], x: Tensor, mode: Mode = INFERENCE) -> Tensor:
    """Return what inverted residuals, one after the other, make of `x`.

    Without gradients they are one operation, so that no wide image is ever written to memory.

    Parameters
    ----------
    blocks : sequence of Layer
        Built blocks with the parts ``expand`` (or ``None``), ``depthwise`` and ``project``, and
        ``adds``, whether the input is added.
    x : Tensor of shape (N, H, W, C)
    mode : Mode
        Whether the network is trained.

    Returns
    -------
    Tensor of shape (N, OH, OW, O)
    """
    if blocks and not mode.training and not grad_enabled():
        lowered = _lowered(blocks, x)
        if lowered is not None:
            weights, geometry, activation = lowered
            return F.inverted_residuals(x, weights, geometry=geometry, activation=activation)
    for block in blocks:
        x = block(x, mode)
    return x


def _lowered(
    blocks: Sequence[Any], x: Tensor
) -> tuple[list[Tensor | None], list[tuple[Pair, Padding]], str] | None:
    """Return what `inverted_residuals` takes, ``None`` where a block is of another kind."""
    weights: list[Tensor | None] = []
    geometry: list[tuple[Pair, Padding]] = []
    shape: Any = x.shape[1:]
    names: set[str | None] = set()
    for block in blocks:
        before = shape
        middle: Any = getattr(block.depthwise, "_conv", None)
        wide = [] if block.expand is None else [block.expand]
        # A part that is another layer, or a subclass, may compute something else.
        known = type(block.depthwise) is DepthwiseConv2D
        if not known or any(type(p) is not Conv2D for p in (*wide, middle, block.project)):
            return None
        plain = all(_is_by_pixel(layer) for layer in (*wide, block.project))
        single = middle.dilation_rate == (1, 1) and middle.filters == middle.groups
        biased = all(layer.use_bias for layer in (*wide, middle, block.project))
        if not (plain and single and biased) or block.project.activation is not None:
            return None
        names |= {layer.activation for layer in (*wide, middle)}
        weights += [wide[0].kernel, wide[0].bias] if wide else [None, None]
        weights += [middle.kernel, middle.bias, block.project.kernel, block.project.bias]
        geometry.append((middle.strides, middle.geometry(shape[:2])))
        shape = block.project.output_shape(middle.output_shape((*shape[:2], middle.filters)))
        if block.adds != (shape == before):
            return None
    if len(names) != 1:
        return None
    return weights, geometry, names.pop() or "linear"


def _is_by_pixel(layer: Conv2D) -> bool:
    return layer.kernel_size == layer.strides == (1, 1) and layer.groups == 1
