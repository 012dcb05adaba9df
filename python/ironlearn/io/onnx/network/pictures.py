"""Networks of `ironlearn.nn.pretrained` for pictures.

Maps stay channels first from the first convolution to the last.
"""

from __future__ import annotations

from typing import Any

from ironlearn.io.onnx.network.shape import flattened
from ironlearn.io.onnx.network.writer import Value, Writer, value


def inverted_residual(w: Writer, layer: Any, x: Value) -> Value:
    """`InvertedResidual`: widen, convolve each channel, narrow, and add the input."""
    y = x if layer.expand is None else w.layer(layer.expand, x)
    y = w.layer(layer.project, w.layer(layer.depthwise, y))
    return _sum(w, y, x) if layer.adds else y


def of_inverted_residuals(w: Writer, layer: Any, x: Value) -> Value:
    """`EfficientNetLite0` and `MobileNetV2`."""
    y = w.layer(layer.stem, x)
    for block in layer.blocks:
        y = inverted_residual(w, block, y)
    return _classified(w, layer, w.layer(layer.head, y))


def resnet(w: Writer, layer: Any, x: Value) -> Value:
    """`ResNet18`."""
    y = w.layer(layer.pool, w.layer(layer.stem, x))
    for block in layer.blocks:
        inner = w.layer(block.second, w.layer(block.first, y))
        around = y if block.around is None else w.layer(block.around, y)
        y = w.activate(_sum(w, inner, around), "relu")
    return _classified(w, layer, y)


def vgg(w: Writer, layer: Any, x: Value) -> Value:
    """`VGG16`."""
    for block in layer.blocks:
        x = w.layer(block, x)
    if not layer.include_top:
        return _mean(w, x)
    x = flattened(w, x)
    for part in layer.top:
        x = w.layer(part, x)
    return x


def _sum(w: Writer, a: Value, b: Value) -> Value:
    return a.named(w.op("Add", a.name, w.turn(b, a.order).name))


def _mean(w: Writer, x: Value) -> Value:
    axes = [x.place(1), x.place(2)]
    return value(w.op("ReduceMean", x.name, axes=axes, keepdims=0), (x.shape[-1],))


def _classified(w: Writer, layer: Any, x: Value) -> Value:
    """Return the mean of each map, or what the last layer makes of these."""
    features = _mean(w, x)
    return features if layer.top is None else w.layer(layer.top, features)
