"""The closed list of layer types that a file may name, and how a layer is made from its spec."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from ironlearn.exceptions import ModelFileError

#: Every layer type, and the module below `ironlearn.nn.layers` that has it.
TYPES: Mapping[str, str] = {
    "Activation": "activation",
    "AdditiveAttention": "attention",
    "AttentionPooling": "attention",
    "AvgPool1D": "pooling",
    "AvgPool2D": "pooling",
    "BatchNorm": "normalization",
    "Bidirectional": "bidirectional",
    "CapsuleLength": "capsules",
    "Conv1D": "conv",
    "Conv2D": "conv",
    "Conv2DTranspose": "conv_transpose",
    "Dense": "dense",
    "DepthwiseConv2D": "depthwise",
    "DotAttention": "attention",
    "Dropout": "dropout",
    "Embedding": "embedding",
    "Flatten": "reshape",
    "GRU": "recurrent",
    "GaussianNoise": "dropout",
    "GlobalAvgPool1D": "pooling",
    "GlobalAvgPool2D": "pooling",
    "GlobalMaxPool1D": "pooling",
    "GlobalMaxPool2D": "pooling",
    "GraphConvolution": "graph",
    "GroupNorm": "normalization",
    "LSTM": "recurrent",
    "LayerGraph": "branches",
    "LayerNorm": "normalization",
    "MaxPool1D": "pooling",
    "MaxPool2D": "pooling",
    "Merge": "branches",
    "MultiHeadAttention": "multi_head",
    "Permute": "reshape",
    "PixelShuffle": "resampling",
    "PositionEmbedding": "position",
    "PrimaryCapsules": "capsules",
    "Reshape": "reshape",
    "RoutingCapsules": "capsules",
    "Scale": "normalization",
    "SeparableConv2D": "depthwise",
    "Sequential": "sequential",
    "SimpleRNN": "recurrent",
    "SinePositionEncoding": "position",
    "SpatialDropout1D": "dropout",
    "SpatialDropout2D": "dropout",
    "SpectralNorm": "spectral_norm",
    "TransformerDecoderBlock": "transformer",
    "TransformerEncoderBlock": "transformer",
    "UpSample2D": "resampling",
    "ZeroPad2D": "reshape",
}

_DEPTH = 32


def layer_from_spec(spec: Any) -> Any:
    """Return the layer, not built, that a description stands for.

    Parameters
    ----------
    spec : mapping
        What `Layer.spec` returned.

    Returns
    -------
    Layer

    Raises
    ------
    ModelFileError
        The spec names no known layer type, or its settings do not fit the type.
    """
    return _layer(spec, 0)


def _layer(spec: Any, depth: int) -> Any:
    if depth > _DEPTH:
        raise ModelFileError(f"layers are nested more than {_DEPTH} deep.")
    if not isinstance(spec, Mapping) or set(spec) != {"type", "config"}:
        raise ModelFileError("a layer's description must have exactly 'type' and 'config'.")
    kind, config = spec["type"], spec["config"]
    if not isinstance(kind, str) or kind not in TYPES:
        raise ModelFileError(f"unknown layer type {kind!r}; known are {', '.join(sorted(TYPES))}.")
    if not isinstance(config, Mapping):
        raise ModelFileError(f"the settings of a {kind} must be an object.")
    module = importlib.import_module(f"ironlearn.nn.layers.{TYPES[kind]}")
    settings = {str(key): _value(value, depth + 1) for key, value in config.items()}
    try:
        return getattr(module, kind)(**settings)
    except (TypeError, ValueError) as error:
        raise ModelFileError(f"the settings of a {kind} do not fit: {error}") from error


def _value(value: Any, depth: int) -> Any:
    if isinstance(value, Mapping):
        if set(value) == {"type", "config"}:
            return _layer(value, depth)
        raise ModelFileError("a setting of a layer must be a value, a list or a layer.")
    if isinstance(value, list):
        if depth > _DEPTH:
            raise ModelFileError(f"layers are nested more than {_DEPTH} deep.")
        items = [_value(item, depth + 1) for item in value]
        return items if any(hasattr(item, "forward") for item in items) else tuple(items)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise ModelFileError(f"a setting of a layer is a {type(value).__name__}.")
