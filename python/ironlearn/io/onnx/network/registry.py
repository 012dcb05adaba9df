"""The exporter of every type of layer."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any

from ironlearn.exceptions import InvalidParameterError

#: Every type of layer: the module beside this one that exports it, and its function.
EXPORTERS: Mapping[str, tuple[str, str]] = {
    "Activation": ("simple", "activation"),
    "AdditiveAttention": ("attention", "additive"),
    "AttentionPooling": ("attention", "attention_pooling"),
    "AvgPool1D": ("pooling", "pool_steps"),
    "AvgPool2D": ("pooling", "pool"),
    "BatchNorm": ("normalization", "batch_norm"),
    "BertEncoder": ("words", "bert"),
    "Bidirectional": ("recurrent", "bidirectional"),
    "CapsuleLength": ("capsules", "capsule_length"),
    "Conv1D": ("convolution", "conv_steps"),
    "Conv2D": ("convolution", "conv"),
    "Conv2DTranspose": ("convolution", "conv_transpose"),
    "Dense": ("simple", "dense"),
    "DepthwiseConv2D": ("convolution", "depthwise"),
    "DotAttention": ("attention", "dot"),
    "Dropout": ("simple", "unchanged"),
    "EfficientNetLite0": ("pictures", "of_inverted_residuals"),
    "Embedding": ("simple", "embedding"),
    "Flatten": ("shape", "flatten"),
    "GRU": ("recurrent", "recurrent"),
    "GaussianNoise": ("simple", "unchanged"),
    "GlobalAvgPool1D": ("pooling", "mean_of_steps"),
    "GlobalAvgPool2D": ("pooling", "mean_of_image"),
    "GlobalMaxPool1D": ("pooling", "maximum_of_steps"),
    "GlobalMaxPool2D": ("pooling", "maximum_of_image"),
    "GraphConvolution": ("graphs", "graph_convolution"),
    "GroupNorm": ("normalization", "group_norm"),
    "InvertedResidual": ("pictures", "inverted_residual"),
    "LSTM": ("recurrent", "recurrent"),
    "LayerGraph": ("containers", "layer_graph"),
    "LayerNorm": ("normalization", "layer_norm"),
    "MaxPool1D": ("pooling", "pool_steps"),
    "MaxPool2D": ("pooling", "pool"),
    "Merge": ("containers", "merge"),
    "MobileNetV2": ("pictures", "of_inverted_residuals"),
    "MultiHeadAttention": ("attention", "multi_head"),
    "Permute": ("shape", "permute"),
    "PixelShuffle": ("shape", "pixel_shuffle"),
    "PositionEmbedding": ("position", "position_embedding"),
    "PrimaryCapsules": ("capsules", "primary"),
    "ResNet18": ("pictures", "resnet"),
    "Reshape": ("shape", "reshape"),
    "RoutingCapsules": ("capsules", "routing"),
    "Scale": ("normalization", "scale"),
    "SeparableConv2D": ("convolution", "separable"),
    "Sequential": ("containers", "sequential"),
    "SimpleRNN": ("recurrent", "recurrent"),
    "SinePositionEncoding": ("position", "sine_positions"),
    "SpatialDropout1D": ("simple", "unchanged"),
    "SpatialDropout2D": ("simple", "unchanged"),
    "SpectralNorm": ("containers", "spectral_norm"),
    "TransformerDecoderBlock": ("transformer", "decoder"),
    "TransformerEncoderBlock": ("transformer", "encoder"),
    "UpSample2D": ("shape", "upsample"),
    "VGG16": ("pictures", "vgg"),
    "ZeroPad2D": ("shape", "zero_pad"),
}

#: Types of layers that no graph can hold, and the reason that a user is told.
REASONS: Mapping[str, str] = {}

Exporter = Callable[..., Any]


def exporter_of(layer: Any) -> Exporter:
    """Return the function that exports a layer.

    Raises
    ------
    InvalidParameterError
        There is none for layers of this type. The exact type counts: a subclass may compute
        something else.
    """
    kind = type(layer)
    name = kind.__name__
    if kind.__module__.split(".")[0] != "ironlearn" or name not in EXPORTERS:
        reason = REASONS.get(name, f"known are {', '.join(EXPORTERS)}")
        raise InvalidParameterError(f"{layer._title()} cannot be exported to ONNX: {reason}.")
    module, function = EXPORTERS[name]
    path = f"ironlearn.io.onnx.network.{module}"
    exporter: Exporter = getattr(importlib.import_module(path), function)
    return exporter
