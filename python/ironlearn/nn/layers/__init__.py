"""Layers: functions with parameters. One file a layer or a few of a kind.

A layer's constructor only stores; `Layer.build` draws the parameters once the input's shape is
known; `Layer.forward` computes. `Sequential` chains layers; a network of any other form is a
`Layer` with layers as attributes.
"""

from ironlearn.nn.layers.activation import Activation
from ironlearn.nn.layers.attention import AdditiveAttention, AttentionPooling, DotAttention
from ironlearn.nn.layers.base import INFERENCE, Buffer, Layer, Mode, Parameter
from ironlearn.nn.layers.bidirectional import Bidirectional
from ironlearn.nn.layers.branches import LayerGraph, Merge
from ironlearn.nn.layers.capsules import CapsuleLength, PrimaryCapsules, RoutingCapsules
from ironlearn.nn.layers.conv import Conv1D, Conv2D
from ironlearn.nn.layers.conv_transpose import Conv2DTranspose
from ironlearn.nn.layers.dense import Dense
from ironlearn.nn.layers.depthwise import DepthwiseConv2D, SeparableConv2D
from ironlearn.nn.layers.dropout import Dropout, GaussianNoise, SpatialDropout1D, SpatialDropout2D
from ironlearn.nn.layers.embedding import Embedding
from ironlearn.nn.layers.graph import GraphConvolution
from ironlearn.nn.layers.multi_head import KeyValueCache, MultiHeadAttention
from ironlearn.nn.layers.normalization import BatchNorm, GroupNorm, LayerNorm, Scale
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
from ironlearn.nn.layers.position import PositionEmbedding, SinePositionEncoding
from ironlearn.nn.layers.recurrent import GRU, LSTM, SimpleRNN
from ironlearn.nn.layers.registry import layer_from_spec
from ironlearn.nn.layers.resampling import PixelShuffle, UpSample2D
from ironlearn.nn.layers.reshape import Flatten, Permute, Reshape, ZeroPad2D
from ironlearn.nn.layers.sequential import Sequential
from ironlearn.nn.layers.spectral_norm import SpectralNorm
from ironlearn.nn.layers.transformer import TransformerDecoderBlock, TransformerEncoderBlock

__all__ = [
    "GRU",
    "INFERENCE",
    "LSTM",
    "Activation",
    "AdditiveAttention",
    "AttentionPooling",
    "AvgPool1D",
    "AvgPool2D",
    "BatchNorm",
    "Bidirectional",
    "Buffer",
    "CapsuleLength",
    "Conv1D",
    "Conv2D",
    "Conv2DTranspose",
    "Dense",
    "DepthwiseConv2D",
    "DotAttention",
    "Dropout",
    "Embedding",
    "Flatten",
    "GaussianNoise",
    "GlobalAvgPool1D",
    "GlobalAvgPool2D",
    "GlobalMaxPool1D",
    "GlobalMaxPool2D",
    "GraphConvolution",
    "GroupNorm",
    "KeyValueCache",
    "Layer",
    "LayerGraph",
    "LayerNorm",
    "MaxPool1D",
    "MaxPool2D",
    "Merge",
    "Mode",
    "MultiHeadAttention",
    "Parameter",
    "Permute",
    "PixelShuffle",
    "PositionEmbedding",
    "PrimaryCapsules",
    "Reshape",
    "RoutingCapsules",
    "Scale",
    "SeparableConv2D",
    "Sequential",
    "SimpleRNN",
    "SinePositionEncoding",
    "SpatialDropout1D",
    "SpatialDropout2D",
    "SpectralNorm",
    "TransformerDecoderBlock",
    "TransformerEncoderBlock",
    "UpSample2D",
    "ZeroPad2D",
    "layer_from_spec",
]
