"""A layer of each type for the tests of ONNX files, and onnxruntime as judge."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime

from ironlearn.nn import layers as L
from ironlearn.nn.autograd import Tensor
from ironlearn.nn.layers.base import Layer
from ironlearn.nn.layers.sequential import initialize

Sequential = L.Sequential
#: A layer of each type, and the shape of an input without the batch's axis. None is any length.
CASES: dict[str, tuple[Any, tuple[int | None, ...]]] = {
    **{
        f"Activation {name}": (lambda name=name: L.Activation(name), (4,))
        for name in (
            *("linear", "relu", "sigmoid", "tanh", "leaky_relu", "elu", "gelu", "gelu_tanh"),
            *("relu6", "silu", "softplus", "softmax"),
        )
    },
    "AdditiveAttention": (lambda: L.AdditiveAttention(4), (None, 3)),
    "AttentionPooling": (lambda: L.AttentionPooling(), (None, 3)),
    "AttentionPooling hidden": (lambda: L.AttentionPooling(4), (5, 3)),
    "AvgPool1D": (lambda: L.AvgPool1D(3, 2, "same"), (7, 2)),
    "AvgPool2D": (lambda: L.AvgPool2D(3, 2, "same"), (5, 6, 2)),
    "BatchNorm": (lambda: L.BatchNorm(activation="tanh"), (4, 5, 3)),
    "BatchNorm rows": (lambda: L.BatchNorm(), (3,)),
    "Bidirectional": (lambda: L.Bidirectional(L.LSTM(3, return_sequences=True)), (None, 2)),
    "Bidirectional sum": (lambda: L.Bidirectional(L.GRU(3), "sum"), (5, 2)),
    "Bidirectional mul": (
        lambda: L.Bidirectional(L.SimpleRNN(3, go_backwards=True), "mul"),
        (5, 2),
    ),
    "Bidirectional ave": (
        lambda: L.Bidirectional(L.LSTM(3, return_state=True), "ave"),
        (None, 2),
    ),
    "CapsuleLength": (lambda: L.CapsuleLength(), (3, 4)),
    "Conv1D": (lambda: L.Conv1D(3, 3, padding="causal", dilation_rate=2), (7, 2)),
    "Conv1D strides": (lambda: L.Conv1D(4, 3, 2, "same", "gelu", groups=2), (8, 2)),
    "Conv2D": (lambda: L.Conv2D(3, (2, 3), 2, "same", "tanh"), (5, 6, 2)),
    "Conv2D groups": (lambda: L.Conv2D(4, 3, groups=2, padding=1, activation="silu"), (5, 4, 6)),
    "Conv2D softmax": (
        lambda: L.Conv2D(3, 2, padding=((1, 0), (2, 1)), activation="softmax", use_bias=False),
        (4, 4, 2),
    ),
    "Conv2DTranspose": (lambda: L.Conv2DTranspose(3, 3, 2, "same", "elu"), (3, 4, 2)),
    "Conv2DTranspose valid": (lambda: L.Conv2DTranspose(3, 2, 3), (3, 4, 2)),
    "Conv2DTranspose narrow": (
        lambda: L.Conv2DTranspose(3, (1, 4), (3, 2), "same", use_bias=False),
        (3, 4, 2),
    ),
    "Dense": (lambda: L.Dense(3, "sigmoid"), (4,)),
    "Dense steps": (lambda: L.Dense(3, "softmax", use_bias=False), (None, 4)),
    "DepthwiseConv2D": (lambda: L.DepthwiseConv2D(3, 2, "same", depth_multiplier=2), (5, 6, 3)),
    "DotAttention": (lambda: L.DotAttention(scaled=True, causal=True), (None, 3)),
    "Dropout": (lambda: L.Dropout(0.4), (6,)),
    "Embedding": (lambda: L.Embedding(9, 3), (None,)),
    "Flatten": (lambda: L.Flatten(), (2, 3)),
    "GRU": (lambda: L.GRU(4, return_sequences=True), (None, 3)),
    "GRU backwards": (lambda: L.GRU(4, go_backwards=True), (5, 3)),
    "GaussianNoise": (lambda: L.GaussianNoise(0.4), (6,)),
    "GlobalAvgPool1D": (lambda: L.GlobalAvgPool1D(), (None, 3)),
    "GlobalAvgPool2D": (lambda: L.GlobalAvgPool2D(), (3, 4, 2)),
    "GlobalMaxPool1D": (lambda: L.GlobalMaxPool1D(), (None, 3)),
    "GlobalMaxPool2D": (lambda: L.GlobalMaxPool2D(), (3, 4, 2)),
    "GroupNorm": (lambda: L.GroupNorm(2), (4, 5, 6)),
    "GroupNorm steps": (lambda: L.GroupNorm(3), (5, 6)),
    "LSTM": (lambda: L.LSTM(4), (None, 3)),
    "LSTM states": (
        lambda: L.LSTM(4, return_sequences=True, return_state=True, go_backwards=True),
        (None, 3),
    ),
    "LayerGraph": (
        lambda: L.LayerGraph(
            [L.Dense(4, "tanh"), L.Merge("add"), L.Dense(2), L.Merge("concat"), L.Merge("max")],
            [[0], [0, 1], [2], [3, 1], [4, 4]],
        ),
        (4,),
    ),
    "LayerGraph images": (
        lambda: L.LayerGraph(
            [
                *(L.Conv2D(3, 3, padding="same"), L.Merge("sub"), L.Merge("concat")),
                *(L.Permute((3, 1, 2)), L.Scale(), L.Flatten()),
            ],
            [[0], [0, 1], [0, 2], [3], [4], [5]],
        ),
        (4, 5, 3),
    ),
    "LayerNorm": (lambda: L.LayerNorm(), (4, 5)),
    "MaxPool1D": (lambda: L.MaxPool1D(3, 2, "same"), (7, 2)),
    "MaxPool2D": (lambda: L.MaxPool2D(3, 2, "same"), (5, 6, 2)),
    "MultiHeadAttention": (lambda: L.MultiHeadAttention(2, 3, causal=True), (None, 6)),
    "MultiHeadAttention plain": (lambda: L.MultiHeadAttention(2, use_bias=False), (5, 6)),
    "Permute": (lambda: L.Permute((3, 1, 2)), (2, 3, 4)),
    "PixelShuffle": (lambda: L.PixelShuffle(2), (2, 3, 8)),
    "PositionEmbedding": (lambda: L.PositionEmbedding(7), (None, 4)),
    "PositionEmbedding fixed": (lambda: L.PositionEmbedding(7), (5, 4)),
    "PrimaryCapsules": (lambda: L.PrimaryCapsules(2, 4, 3, 2), (6, 7, 2)),
    "Reshape": (lambda: L.Reshape((3, -1)), (6, 2)),
    "RoutingCapsules": (lambda: L.RoutingCapsules(3, 4, 3), (6, 5)),
    "RoutingCapsules once": (lambda: L.RoutingCapsules(3, 4, 1), (6, 5)),
    "Scale": (lambda: L.Scale(), (4, 5)),
    "SeparableConv2D": (lambda: L.SeparableConv2D(3, 3, activation="relu"), (5, 6, 2)),
    "Sequential": (lambda: Sequential([L.Dense(5, "tanh"), L.Dropout(0.3), L.Dense(2)]), (4,)),
    "SimpleRNN": (lambda: L.SimpleRNN(4, "relu", return_sequences=True), (None, 3)),
    "SimpleRNN linear": (lambda: L.SimpleRNN(4, "linear"), (5, 3)),
    "SinePositionEncoding": (lambda: L.SinePositionEncoding(), (None, 5)),
    "SinePositionEncoding fixed": (lambda: L.SinePositionEncoding(False), (5, 4)),
    "SpatialDropout1D": (lambda: L.SpatialDropout1D(0.4), (5, 3)),
    "SpatialDropout2D": (lambda: L.SpatialDropout2D(0.4), (3, 4, 5)),
    "SpectralNorm": (lambda: L.SpectralNorm(L.Conv2D(3, 2)), (4, 4, 2)),
    "TransformerEncoderBlock": (
        lambda: L.TransformerEncoderBlock(2, 8, "gelu", causal=True),
        (None, 6),
    ),
    "TransformerEncoderBlock first": (
        lambda: L.TransformerEncoderBlock(2, 8, norm_first=True),
        (5, 6),
    ),
    "UpSample2D": (lambda: L.UpSample2D((2, 3)), (3, 4, 2)),
    "ZeroPad2D": (lambda: L.ZeroPad2D(((1, 0), (0, 2))), (3, 4, 2)),
}


def session(model: Any) -> onnxruntime.InferenceSession:
    """Return what runs a model, or the bytes of one."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(
        model if isinstance(model, bytes) else model.SerializeToString(),
        options,
        providers=["CPUExecutionProvider"],
    )


def shaken(layer: Layer, seed: int = 1) -> Layer:
    """Return a layer whose parameters and statistics are no longer zeros and ones."""
    rng = np.random.default_rng(seed)
    layer.load_state(
        {
            name: np.abs(array + rng.uniform(0.1, 0.4, array.shape))
            if name.endswith("running_var")
            else array + rng.normal(0, 0.2, array.shape)
            for name, array in layer.state().items()
        }
    )
    return layer


def made(make: Any, shape: tuple[int | None, ...]) -> Layer:
    return shaken(initialize(make(), shape, 3))


def close(got: Any, expected: Any) -> None:
    assert got.shape == expected.shape
    np.testing.assert_allclose(got, expected, rtol=2e-5, atol=2e-5)


def outputs(layer: Layer, x: Any, **more: Any) -> list[Any]:
    y = layer(Tensor(x), **more)
    return [part.data for part in (y if isinstance(y, tuple) else (y,))]


def example(layer: Layer, n: int, length: int = 5) -> Any:
    rng = np.random.default_rng(n)
    assert layer.input_shape is not None
    shape = (n, *(length if size is None else size for size in layer.input_shape))
    if isinstance(layer, L.Embedding):
        return rng.integers(0, layer.input_dim, shape)
    return rng.standard_normal(shape).astype(np.float32)
