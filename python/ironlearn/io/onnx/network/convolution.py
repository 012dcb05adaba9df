"""Convolutions, which ONNX computes channels first."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ironlearn.io.onnx.network.writer import Value, Writer
from ironlearn.nn.layers.base import Shape

#: A kernel (height, width, in, out) as (out, in, height, width).
_KERNEL = (3, 2, 0, 1)


def sides(padding: Any) -> list[int]:
    """Return zeros before all axes, then those after them."""
    return [before for before, _ in padding] + [after for _, after in padding]


def _convolved(w: Writer, layer: Any, x: Value, shape: Shape) -> Value:
    """Return the convolution of `layer`, a Conv2D; over steps it is of images of height 1."""
    x = w.first(x)
    size: Any = x.shape[:-1] if len(x.shape) == 3 else (1, x.shape[0])
    kernel, padding = w.weight(layer.kernel, axes=_KERNEL), layer.geometry(size)
    settings = (layer.kernel_size, layer.strides, layer.dilation_rate)
    if len(x.shape) == 2:
        kernel = w.squeeze(kernel, 2)
        padding = padding[1:]
        settings = tuple(pair[1:] for pair in settings)
    inputs = [kernel, w.weight(layer.bias)] if layer.use_bias else [kernel]
    name = w.op(
        "Conv",
        x.name,
        *inputs,
        kernel_shape=settings[0],
        strides=settings[1],
        dilations=settings[2],
        group=layer.groups,
        pads=sides(padding),
    )
    return w.activate(replace(x, name=name, shape=shape), layer.activation)


def conv(w: Writer, layer: Any, x: Value) -> Value:
    """`Conv2D`."""
    return _convolved(w, layer, x, layer.output_shape(x.shape))


def conv_steps(w: Writer, layer: Any, x: Value) -> Value:
    """`Conv1D`."""
    y = _convolved(w, layer._conv, x, layer.output_shape(x.shape))
    return replace(y, mask=None)


def depthwise(w: Writer, layer: Any, x: Value) -> Value:
    """`DepthwiseConv2D`: as many groups as channels."""
    return conv(w, layer._conv, x)


def separable(w: Writer, layer: Any, x: Value) -> Value:
    """`SeparableConv2D`."""
    return conv(w, layer._pointwise, depthwise(w, layer._depthwise, x))


def conv_transpose(w: Writer, layer: Any, x: Value) -> Value:
    """`Conv2DTranspose`: kernel (height, width, out, in) as (in, out, height, width)."""
    x = w.first(x)
    size, padding = layer._geometry(x.shape[:2])
    # Cells at the end that no kernel reaches.
    rest = [
        out - ((length or 0) - 1) * step - kernel + before + after
        for out, length, step, kernel, (before, after) in zip(
            size, x.shape[:2], layer.strides, layer.kernel_size, padding, strict=True
        )
    ]
    inputs = [w.weight(layer.kernel, axes=_KERNEL)]
    if layer.use_bias:
        inputs.append(w.weight(layer.bias))
    name = w.op(
        "ConvTranspose",
        x.name,
        *inputs,
        kernel_shape=layer.kernel_size,
        strides=layer.strides,
        pads=sides(padding),
        output_padding=rest,
    )
    shape = layer.output_shape(x.shape)
    return w.activate(replace(x, name=name, shape=shape, mask=None), layer.activation)
