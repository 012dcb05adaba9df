"""Layers: functions with parameters. One file a layer or a few of a kind.

A layer's constructor only stores; `Layer.build` draws the parameters once the input's shape is
known; `Layer.forward` computes. `Sequential` chains layers; a network of any other form is a
`Layer` with layers as attributes.
"""

from ironlearn.nn.layers.activation import Activation
from ironlearn.nn.layers.base import INFERENCE, Buffer, Layer, Mode, Parameter
from ironlearn.nn.layers.conv import Conv1D, Conv2D
from ironlearn.nn.layers.conv_transpose import Conv2DTranspose
from ironlearn.nn.layers.dense import Dense
from ironlearn.nn.layers.depthwise import DepthwiseConv2D, SeparableConv2D
from ironlearn.nn.layers.dropout import Dropout, GaussianNoise, SpatialDropout1D, SpatialDropout2D
from ironlearn.nn.layers.pooling import (
    AvgPool1D,
    AvgPool2D,
    GlobalAvgPool1D,
    GlobalAvgPool2D,
    GlobalMaxPool1D,
    GlobalMaxPool2D,
    MaxPool1D,
    MaxPool2D,
)
from ironlearn.nn.layers.registry import layer_from_spec
from ironlearn.nn.layers.resampling import PixelShuffle, UpSample2D
from ironlearn.nn.layers.reshape import Flatten, Reshape, ZeroPad2D
from ironlearn.nn.layers.sequential import Sequential

__all__ = [
    "INFERENCE",
    "Activation",
    "AvgPool1D",
    "AvgPool2D",
    "Buffer",
    "Conv1D",
    "Conv2D",
    "Conv2DTranspose",
    "Dense",
    "DepthwiseConv2D",
    "Dropout",
    "Flatten",
    "GaussianNoise",
    "GlobalAvgPool1D",
    "GlobalAvgPool2D",
    "GlobalMaxPool1D",
    "GlobalMaxPool2D",
    "Layer",
    "MaxPool1D",
    "MaxPool2D",
    "Mode",
    "Parameter",
    "PixelShuffle",
    "Reshape",
    "SeparableConv2D",
    "Sequential",
    "SpatialDropout1D",
    "SpatialDropout2D",
    "UpSample2D",
    "ZeroPad2D",
    "layer_from_spec",
]
