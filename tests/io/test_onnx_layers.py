"""Exported layers compute in onnxruntime what they compute here, whatever the batch."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

from common.onnx_cases import CASES, close, example, made, outputs, session
from ironlearn.exceptions import InvalidParameterError
from ironlearn.io.onnx import to_onnx
from ironlearn.io.onnx.network.registry import EXPORTERS, REASONS, exporter_of
from ironlearn.nn import layers as L
from ironlearn.nn.autograd import Tensor
from ironlearn.nn.functional.graph import normalized_adjacency
from ironlearn.nn.layers.base import Layer
from ironlearn.nn.layers.registry import TYPES

Sequential = L.Sequential
#: onnxruntime ends the process when its LSTM and GRU are given no sequence at all.
NOT_EMPTY = ("LSTM", "GRU", "Bidirectional")
#: Layers that take more than one tensor, each with a test of its own below.
SEVERAL = {"GraphConvolution", "Merge", "TransformerDecoderBlock"}


def test_every_type_of_layer_is_exported_or_says_why_not() -> None:
    assert set(TYPES) <= set(EXPORTERS) | set(REASONS)
    assert not set(EXPORTERS) & set(REASONS)
    assert set(TYPES) - set(REASONS) <= {case.partition(" ")[0] for case in CASES} | SEVERAL
    assert all(callable(exporter_of(made(*case))) for case in CASES.values())


@pytest.mark.parametrize("case", CASES)
def test_a_layer_computes_the_same_there(case: str) -> None:
    layer = made(*CASES[case])
    model = to_onnx(layer)
    running = session(model)
    for n in (1, 3) if case.startswith(NOT_EMPTY) else (1, 3, 0):
        lengths = (5, 2) if None in CASES[case][1] else (5,)
        for length in lengths:
            x = example(layer, n, length)
            answers = running.run(None, {"X": x})
            expected = outputs(layer, x)
            assert len(answers) == len(expected)
            for got, wanted in zip(answers, expected, strict=True):
                close(got, wanted)


MASKS = np.array(
    [
        [True, True, True, False, False],
        [False, True, False, True, True],
        [True, False, True, False, False],
        [False] * 5,
    ]
)


@pytest.mark.parametrize(
    "make",
    [
        lambda: L.LSTM(3, return_sequences=True, return_state=True),
        lambda: L.LSTM(3, return_sequences=True, return_state=True, go_backwards=True),
        lambda: L.GRU(3, return_sequences=True, return_state=True),
        lambda: L.GRU(3, go_backwards=True),
        lambda: L.SimpleRNN(3, return_sequences=True),
        lambda: L.Bidirectional(L.LSTM(3, return_sequences=True, return_state=True)),
        lambda: L.GlobalAvgPool1D(),
        lambda: L.GlobalMaxPool1D(),
        lambda: L.AttentionPooling(4),
        lambda: L.AdditiveAttention(4),
        lambda: L.DotAttention(causal=True),
        lambda: L.MultiHeadAttention(2),
        lambda: L.MultiHeadAttention(2, causal=True),
        lambda: L.TransformerEncoderBlock(2, 5, norm_first=True),
        lambda: Sequential([L.LSTM(3, return_sequences=True), L.Dense(2), L.GRU(3)]),
    ],
)
def test_steps_that_do_not_count(make: Any) -> None:
    layer = made(make, (None, 4))
    running = session(to_onnx(layer, arguments=["mask"]))
    x = example(layer, 4)
    for rows in (slice(0, 4), slice(1, 2), slice(3, 4)):
        answers = running.run(None, {"X": x[rows], "mask": MASKS[rows]})
        for got, wanted in zip(answers, outputs(layer, x[rows], mask=MASKS[rows]), strict=True):
            close(got, wanted)


def test_zeros_mask_what_follows_an_embedding() -> None:
    embedding = L.Embedding(9, 4, mask_zero=True)
    network = made(lambda: Sequential([embedding, L.LSTM(3), L.Dense(2)]), (None,))
    ids = np.array([[3, 5, 0, 8, 0], [0, 0, 0, 0, 0], [1, 0, 0, 0, 0]])
    (got,) = session(to_onnx(network)).run(None, {"X": ids})
    close(got, outputs(network, ids)[0])


@pytest.mark.parametrize("kind", [L.LSTM, L.GRU, L.SimpleRNN])
@pytest.mark.parametrize("masked", [False, True])
def test_a_state_to_start_with(kind: Any, masked: bool) -> None:
    layer = made(lambda: kind(3, return_sequences=True, return_state=True), (None, 4))
    x = example(layer, 4)
    rng = np.random.default_rng(0)
    states = [rng.standard_normal((4, 3)).astype(np.float32) for _ in range(layer.states)]
    feed = {"X": x, **{f"initial_state_{i}": state for i, state in enumerate(states)}}
    more: dict[str, Any] = {"initial_state": tuple(Tensor(state) for state in states)}
    if masked:
        feed["mask"] = more["mask"] = MASKS
    running = session(to_onnx(layer, arguments=["initial_state", *(["mask"] if masked else [])]))
    for got, wanted in zip(running.run(None, feed), outputs(layer, x, **more), strict=True):
        close(got, wanted)


@pytest.mark.parametrize(
    "make",
    [
        lambda: L.DotAttention(causal=True),
        lambda: L.AdditiveAttention(3, context_width=6),
        lambda: L.MultiHeadAttention(2, context_width=6),
        lambda: L.TransformerDecoderBlock(2, 5, context_width=6),
        lambda: L.TransformerDecoderBlock(2, 5, norm_first=True),
    ],
)
@pytest.mark.parametrize("masked", [False, True])
def test_a_context_to_look_at(make: Any, masked: bool) -> None:
    layer = made(make, (None, 4))
    names = ["context", "context_mask"] if masked else ["context"]
    model = to_onnx(layer, arguments=names)
    width = model.graph.input[1].type.tensor_type.shape.dim[2].dim_value
    assert width == (getattr(layer, "context_width", None) or 4)
    context = np.random.default_rng(0).standard_normal((4, 5, width)).astype(np.float32)
    feed, more = {"context": context}, {"context": Tensor(context)}
    if masked:
        feed["context_mask"] = more["context_mask"] = MASKS
    for length in (2, 7):
        x = example(layer, 4, length)
        (got,) = session(model).run(None, {"X": x, **feed})
        close(got, outputs(layer, x, **more)[0])


@pytest.mark.parametrize("make", [lambda: L.GraphConvolution(3, "tanh")])
def test_a_graph_of_any_size(make: Any) -> None:
    layer = made(make, (4,))
    running = session(to_onnx(layer))
    for nodes, edges in ((5, [[0, 1], [1, 2], [3, 0]]), (1, [])):
        x = np.random.default_rng(0).standard_normal((nodes, 4)).astype(np.float32)
        a = normalized_adjacency(edges, nodes)
        feed = {"X": x, "rows": a.rows, "columns": a.columns, "values": a.values}
        (got,) = running.run(None, {k: np.asarray(v) for k, v in feed.items()})
        close(got, layer(Tensor(x), a).data)


def test_images_stay_channels_first_between_convolutions() -> None:
    network = made(
        lambda: Sequential(
            [
                L.Conv2D(4, 3, padding="same"),
                L.BatchNorm(activation="relu"),
                L.MaxPool2D(2),
                L.Dropout(0.2),
                L.Activation("gelu"),
                L.ZeroPad2D(1),
                L.SeparableConv2D(6, 3),
                L.GroupNorm(2),
                L.UpSample2D(2),
                L.GlobalAvgPool2D(),
                L.Dense(3),
            ]
        ),
        (8, 9, 2),
    )
    model = to_onnx(network)
    assert [node.op_type for node in model.graph.node].count("Transpose") == 1
    x = example(network, 3)
    close(session(model).run(None, {"X": x})[0], outputs(network, x)[0])


def test_sequences_stay_time_first_between_recurrent_layers() -> None:
    network = made(
        lambda: Sequential(
            [
                L.LSTM(4, return_sequences=True),
                L.Dense(5, "relu"),
                L.Bidirectional(L.GRU(3, return_sequences=True)),
                L.SimpleRNN(4),
            ]
        ),
        (None, 3),
    )
    model = to_onnx(network)
    assert [node.op_type for node in model.graph.node].count("Transpose") == 1
    x = example(network, 3)
    close(session(model).run(None, {"X": x})[0], outputs(network, x)[0])


def test_a_chain_of_everything_with_axes() -> None:
    network = made(
        lambda: Sequential(
            [
                L.Conv2D(4, 3, activation="relu"),
                L.Dense(4),
                L.LayerNorm(),
                L.AvgPool2D(2),
                L.Reshape((4, -1)),
                L.Conv1D(6, 2),
                L.PositionEmbedding(3),
                L.TransformerEncoderBlock(2, 8),
                L.MaxPool1D(2, 1),
                L.Flatten(),
                L.BatchNorm(),
                L.Dense(2, "softmax"),
            ]
        ),
        (6, 8, 2),
    )
    x = example(network, 3)
    close(session(to_onnx(network)).run(None, {"X": x})[0], outputs(network, x)[0])


def test_shared_layers_are_stored_once() -> None:
    dense = L.Dense(40)
    network = made(lambda: Sequential([dense, L.Activation("relu"), dense]), (40,))
    model = to_onnx(network)
    assert sum(np.prod(tensor.dims) == 1600 for tensor in model.graph.initializer) == 1
    x = example(network, 2)
    close(session(model).run(None, {"X": x})[0], outputs(network, x)[0])


@pytest.mark.parametrize("device", ["strict", "cpu"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_networks_elsewhere_and_in_double_precision(device: str, dtype: Any) -> None:
    network = made(lambda: Sequential([L.Dense(3), L.SpectralNorm(L.Dense(2))]), (4,))
    x = example(network, 2)
    expected = outputs(network, x)[0]
    network.astype(dtype).to_device(device)
    close(session(to_onnx(network)).run(None, {"X": x})[0], expected)


def test_bytes_and_double_precision_as_input() -> None:
    network = made(lambda: Sequential([L.Conv2D(2, 2), L.Flatten()]), (3, 3, 1))
    pixels = np.random.default_rng(0).integers(0, 256, (2, 3, 3, 1), dtype=np.uint8)
    expected = outputs(network, pixels.astype(np.float32) / np.float32(255))[0]
    for dtype, x in (("uint8", pixels), ("float64", pixels / 255)):
        close(session(to_onnx(network, dtype=dtype)).run(None, {"X": x})[0], expected)


def test_what_the_file_says() -> None:
    model = to_onnx(made(lambda: L.LSTM(2, return_sequences=True), (None, 3)))
    onnx.checker.check_model(model, full_check=True)
    assert {entry.domain: entry.version for entry in model.opset_import}[""] == 17
    names = [
        dim.dim_param or dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim
    ]
    assert names[1:] == ["length_1", 3]


class Unknown(Layer):
    pass


class Dense(L.Dense):
    """Of the same name, but of somebody else."""


def test_what_cannot_be_exported_is_named() -> None:
    network = made(lambda: Sequential([L.Dense(2), Unknown()]), (3,))
    with pytest.raises(InvalidParameterError, match=r"layer 1 \(Unknown\) cannot be exported"):
        to_onnx(network)
    with pytest.raises(InvalidParameterError, match=r"Dense cannot be exported"):
        to_onnx(made(lambda: Dense(2), (3,)))
    with pytest.raises(ValueError, match="Dense is not built"):
        to_onnx(L.Dense(2))
    dense = made(lambda: L.Dense(2), (3,))
    with pytest.raises(InvalidParameterError, match=r"'arguments' .*'mask'; accepted .*: none"):
        to_onnx(dense, arguments=["mask"])
    with pytest.raises(InvalidParameterError, match=r"'dtype' .* one of .*uint8; got 'int8'"):
        to_onnx(dense, dtype="int8")
    lstm = made(lambda: L.LSTM(2), (None, 3))
    with pytest.raises(InvalidParameterError, match="accepted .*: mask, initial_state"):
        to_onnx(lstm, arguments=["context"])
    wide = made(lambda: L.MaxPool2D(2, padding=2), (3, 3, 1))
    with pytest.raises(InvalidParameterError, match="padding 2 is not below its window"):
        to_onnx(wide)


def test_the_runtime_refuses_sequences_that_are_too_long() -> None:
    layer = made(lambda: L.PositionEmbedding(4), (None, 2))
    running = session(to_onnx(layer))
    with pytest.raises(Exception, match="Gather|Add"):
        running.run(None, {"X": np.zeros((1, 5, 2), np.float32)})
