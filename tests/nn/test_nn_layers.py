"""What every layer must do, over all of the registry, and what single layers compute."""

from __future__ import annotations

import inspect
import json
from typing import Any

import numpy as np
import pytest

from ironlearn.nn import layers as L
from ironlearn.nn.autograd import Tensor, backward
from ironlearn.nn.backend import get_device
from ironlearn.nn.layers import Mode, Sequential, layer_from_spec
from ironlearn.nn.layers.base import Layer
from ironlearn.nn.layers.registry import TYPES
from ironlearn.nn.layers.sequential import initialize
from nn.gradcheck import check_layer

#: A layer of each type, and the shape of an input without the batch's axis.
CASES: dict[str, tuple[Any, tuple[int, ...]]] = {
    "Activation": (lambda: L.Activation("gelu"), (4,)),
    "Activation softmax": (lambda: L.Activation("softmax"), (4,)),
    "AvgPool1D": (lambda: L.AvgPool1D(3, 2, "same"), (7, 2)),
    "AvgPool2D": (lambda: L.AvgPool2D(3, 2, "same"), (5, 6, 2)),
    "CapsuleLength": (lambda: L.CapsuleLength(), (3, 4)),
    "Conv1D": (lambda: L.Conv1D(3, 3, padding="causal", dilation_rate=2), (7, 2)),
    "Conv2D": (lambda: L.Conv2D(3, (2, 3), 2, "same", "tanh"), (5, 6, 2)),
    "Conv2D groups": (lambda: L.Conv2D(4, 3, groups=2, padding=1, activation="silu"), (5, 4, 6)),
    "Conv2DTranspose": (lambda: L.Conv2DTranspose(3, 3, 2, "same", "elu"), (3, 4, 2)),
    "Conv2DTranspose valid": (lambda: L.Conv2DTranspose(3, 2, 3), (3, 4, 2)),
    "Dense": (lambda: L.Dense(3, "sigmoid"), (4,)),
    "Dense steps": (lambda: L.Dense(3, "softmax", use_bias=False), (5, 4)),
    "DepthwiseConv2D": (lambda: L.DepthwiseConv2D(3, 2, "same", depth_multiplier=2), (5, 6, 3)),
    "Dropout": (lambda: L.Dropout(0.4), (6,)),
    "Flatten": (lambda: L.Flatten(), (2, 3)),
    "GaussianNoise": (lambda: L.GaussianNoise(0.4), (6,)),
    "GlobalAvgPool1D": (lambda: L.GlobalAvgPool1D(), (5, 3)),
    "GlobalAvgPool2D": (lambda: L.GlobalAvgPool2D(), (3, 4, 2)),
    "GlobalMaxPool1D": (lambda: L.GlobalMaxPool1D(), (5, 3)),
    "GlobalMaxPool2D": (lambda: L.GlobalMaxPool2D(), (3, 4, 2)),
    "MaxPool1D": (lambda: L.MaxPool1D(3, 2, "same"), (7, 2)),
    "MaxPool2D": (lambda: L.MaxPool2D(3, 2, "same"), (5, 6, 2)),
    "PixelShuffle": (lambda: L.PixelShuffle(2), (2, 3, 8)),
    "PrimaryCapsules": (lambda: L.PrimaryCapsules(2, 4, 3, 2), (6, 7, 2)),
    "Reshape": (lambda: L.Reshape((3, -1)), (6, 2)),
    "RoutingCapsules": (lambda: L.RoutingCapsules(3, 4, 3), (6, 5)),
    "SeparableConv2D": (lambda: L.SeparableConv2D(3, 3, activation="relu"), (5, 6, 2)),
    "Sequential": (lambda: Sequential([L.Dense(5, "tanh"), L.Dropout(0.3), L.Dense(2)]), (4,)),
    "SpatialDropout1D": (lambda: L.SpatialDropout1D(0.4), (5, 3)),
    "SpatialDropout2D": (lambda: L.SpatialDropout2D(0.4), (3, 4, 5)),
    "UpSample2D": (lambda: L.UpSample2D((2, 3)), (3, 4, 2)),
    "BatchNorm": (lambda: L.BatchNorm(activation="tanh"), (4, 5, 3)),
    "GroupNorm": (lambda: L.GroupNorm(2), (4, 5, 6)),
    "LayerGraph": (
        lambda: L.LayerGraph(
            [L.Dense(4, "tanh"), L.Merge("add"), L.Dense(2), L.Merge("concat")],
            [[0], [0, 1], [2], [3, 1]],
        ),
        (4,),
    ),
    "LayerNorm": (lambda: L.LayerNorm(), (4, 5)),
    "MultiHeadAttention": (lambda: L.MultiHeadAttention(2, 3, causal=True), (5, 6)),
    "Permute": (lambda: L.Permute((3, 1, 2)), (2, 3, 4)),
    "PositionEmbedding": (lambda: L.PositionEmbedding(7), (5, 4)),
    "SinePositionEncoding": (lambda: L.SinePositionEncoding(), (5, 4)),
    "Scale": (lambda: L.Scale(), (4, 5)),
    "TransformerEncoderBlock": (lambda: L.TransformerEncoderBlock(2, 8, "gelu"), (5, 6)),
    "ZeroPad2D": (lambda: L.ZeroPad2D(((1, 0), (0, 2))), (3, 4, 2)),
}
#: Tested with their own families: they take more than one tensor or a tensor of numbers of words.
ELSEWHERE = {
    "AdditiveAttention",
    "AttentionPooling",
    "Bidirectional",
    "DotAttention",
    "Embedding",
    "GRU",
    "GraphConvolution",
    "LSTM",
    "Merge",
    "SimpleRNN",
    "SpectralNorm",
    "TransformerDecoderBlock",
}


def made(case: str) -> tuple[Layer, np.ndarray[Any, Any]]:
    make, shape = CASES[case]
    layer = initialize(make(), shape, 3)
    return layer, np.random.default_rng(5).standard_normal((3, *shape))


def test_every_layer_has_a_case() -> None:
    assert {case.partition(" ")[0] for case in CASES} | ELSEWHERE >= set(TYPES)


def test_every_layer_is_exported_and_registered() -> None:
    for name in TYPES:
        assert issubclass(getattr(L, name), Layer)
    exported = {
        name
        for name in L.__all__
        if inspect.isclass(getattr(L, name)) and issubclass(getattr(L, name), Layer)
    }
    assert exported - {"Layer"} == set(TYPES)


@pytest.mark.parametrize("case", CASES)
def test_gradients(case: str) -> None:
    layer, x = made(case)
    check_layer(layer, x, mode=Mode(training=True, seed=1, step=4))


@pytest.mark.parametrize("case", CASES)
def test_shapes_dtypes_and_devices(case: str) -> None:
    layer, x = made(case)
    answers = []
    for name in ("cpu", "strict"):
        device = get_device(name)
        layer.to_device(device)
        for n in (0, 1, 3):
            given = device.send(x[:n].astype(np.float32))
            y = layer(Tensor(given, requires_grad=True))
            assert y.shape == (n, *layer.output_shape(x.shape[1:]))
            assert y.dtype == np.float32
        backward(y, device.send(np.ones(y.shape, np.float32)))
        grads = [p.grad for p in layer.parameters()]
        answers.append([device.receive(a) for a in [y.data, *grads]])
        for p in layer.parameters():
            p.grad = None
    for ours, theirs in zip(*answers, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("case", CASES)
def test_a_spec_and_a_state_make_the_same_layer(case: str) -> None:
    layer, x = made(case)
    spec = json.loads(json.dumps(layer.spec()))
    copy = initialize(layer_from_spec(spec), x.shape[1:], 99).load_state(layer.state())
    assert copy.spec() == layer.spec()
    assert repr(copy) == repr(layer)
    given = Tensor(x.astype(np.float32))
    np.testing.assert_array_equal(copy(given).data, layer(given).data)


@pytest.mark.parametrize("case", [c for c in CASES if made(c)[0].input_ndim])
def test_other_numbers_of_axes_are_refused(case: str) -> None:
    make, shape = CASES[case]
    with pytest.raises(ValueError, match=f"{case.partition(' ')[0]}.* takes inputs of"):
        initialize(make(), (*shape, 2))


@pytest.mark.parametrize(
    "case", [c for c in CASES if made(c)[0].parameters() and "Pool" not in c and c != "Sequential"]
)
def test_other_widths_are_refused(case: str) -> None:
    layer, x = made(case)
    wide = np.concatenate([x, x], axis=-1)
    with pytest.raises(ValueError, match=r"expects inputs of shape \(N, .*got \(3, "):
        layer(Tensor(wide))


def test_a_layer_that_is_not_built_says_so() -> None:
    with pytest.raises(ValueError, match="layer Dense is not built"):
        L.Dense(3)(Tensor(np.ones((1, 2))))


def test_errors_name_the_layer_in_its_network() -> None:
    net = Sequential([L.Dense(4), Sequential([L.Dense(3)])]).initialize((2,))
    with pytest.raises(ValueError, match=r"layer 1.0 \(Dense\) expects inputs of shape \(N, 4\)"):
        net.layers[1].layers[0](Tensor(np.ones((1, 3))))  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: L.Dense(0), "units of Dense must be an int >= 1, got 0"),
        (lambda: L.Dense(True), "units of Dense must be an int >= 1, got True"),
        (lambda: L.Dense(2, "swish"), "activation of Dense must be one of"),
        (lambda: L.Conv2D(2, 0), "kernel_size of Conv2D must be an int >= 1 or two of them"),
        (lambda: L.Conv2D(2, 3, padding="full"), "padding of Conv2D must be 'valid', 'same'"),
        (lambda: L.Conv2D(2, 3, padding=((1, -1), (0, 0))), "padding of Conv2D"),
        (lambda: L.Conv1D(2, 3, padding="full"), "'valid', 'same' or 'causal'"),
        (lambda: L.Dropout(1.0), r"rate of Dropout must be a number in \[0, 1\), got 1.0"),
        (lambda: L.Reshape((2, 0)), "target_shape of Reshape must hold positive ints"),
        (lambda: L.Sequential(3), "layers of Sequential must be a list of layers"),
        (lambda: initialize(L.Conv2D(3, 3, groups=2), (5, 5, 4)), "groups=2 must divide"),
        (lambda: initialize(L.Conv2D(3, 7), (5, 5, 4)), "5 x 5 cells are smaller than its kernel"),
        (lambda: initialize(L.Reshape((4,)), (5,)), r"cannot turn shape \(5,\) into \(4,\)"),
        (lambda: initialize(L.PixelShuffle(2), (2, 2, 3)), "channels that 4 divides, got 3"),
        (lambda: initialize(L.Dense(2), (None,)), "needs to know the width"),
    ],
)
def test_settings_are_checked(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"type": "os.system", "config": {}}, "unknown layer type 'os.system'"),
        ({"type": "Dense"}, "exactly 'type' and 'config'"),
        ({"type": "Dense", "config": {"units": -1}}, "settings of a Dense do not fit"),
        ({"type": "Dense", "config": {"units": 1, "x": 1}}, "settings of a Dense do not fit"),
        ({"type": "Dense", "config": {"units": {"a": 1}}}, "must be a value, a list or a layer"),
        ({"type": "Sequential", "config": {"layers": [3]}}, "settings of a Sequential"),
    ],
)
def test_hostile_specs_are_refused(spec: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        layer_from_spec(spec)


def test_nested_specs_have_a_limit() -> None:
    spec: Any = {"type": "Dense", "config": {"units": 1}}
    for _ in range(100):
        spec = {"type": "Sequential", "config": {"layers": [spec]}}
    with pytest.raises(ValueError, match="nested more than"):
        layer_from_spec(spec)


def test_states_of_other_networks_are_refused_whole() -> None:
    net = Sequential([L.Dense(3), L.Dense(2)]).initialize((4,))
    before = net.state()
    for change, message in (
        (lambda s: s.pop("layers.0.bias"), "lacks 'layers.0.bias'"),
        (lambda s: s.update(extra=np.ones(1)), "unknown 'extra'"),
        (
            lambda s: s.update({"layers.1.kernel": np.ones((2, 2))}),
            r"layers.1.kernel has the shape",
        ),
    ):
        state = {k: v + 1 for k, v in before.items()}
        change(state)
        with pytest.raises(ValueError, match=message):
            net.load_state(state)
    for name, value in net.state().items():
        np.testing.assert_array_equal(value, before[name])


def test_shared_layers_count_once_and_stay_shared() -> None:
    dense = L.Dense(4)
    net = Sequential([dense, L.Activation("relu"), dense]).initialize((4,))
    assert len(net.parameters()) == 2
    net.to_device("strict").to_device("cpu")
    assert net.layers[0] is net.layers[2]
    assert "parameters: 20 " in net.summary()


def test_convolution_of_one_place_is_a_product() -> None:
    x = np.random.default_rng(0).standard_normal((2, 3, 3, 2))
    layer = initialize(L.Conv2D(4, 3), (3, 3, 2)).astype(np.float64)
    expected = x.reshape(2, -1) @ layer.kernel.data.reshape(-1, 4)
    np.testing.assert_allclose(layer(Tensor(x)).data.reshape(2, 4), expected)


def test_transposed_convolution_is_the_adjoint() -> None:
    rng = np.random.default_rng(0)
    up = initialize(L.Conv2DTranspose(2, 3, 2, "same", use_bias=False), (4, 5, 3))
    down = initialize(L.Conv2D(3, 3, 2, "same", use_bias=False), (8, 10, 2))
    down.kernel.data = up.kernel.data
    x, y = rng.standard_normal((1, 4, 5, 3)), rng.standard_normal((1, 8, 10, 2))
    left = (up.astype(np.float64)(Tensor(x)).data * y).sum()
    right = (x * down.astype(np.float64)(Tensor(y)).data).sum()
    np.testing.assert_allclose(left, right)


def test_masked_steps_do_not_count() -> None:
    x = np.random.default_rng(0).standard_normal((2, 4, 3))
    mask = np.array([[True, True, False, False], [False] * 4])
    mean = L.GlobalAvgPool1D()(Tensor(x), mask=mask).data
    top = L.GlobalMaxPool1D()(Tensor(x), mask=mask).data
    np.testing.assert_allclose(mean, [x[0, :2].mean(axis=0), np.zeros(3)])
    np.testing.assert_allclose(top, [x[0, :2].max(axis=0), np.zeros(3)])


def test_dropout_keeps_the_mean_and_repeats_from_its_key() -> None:
    layer = initialize(L.Dropout(0.25), (100_000,))
    x = Tensor(np.ones((1, 100_000)))
    y = layer(x, Mode(True, 1, 1)).data
    assert set(np.unique(y)) == {0.0, 1 / 0.75}
    assert abs(y.mean() - 1) < 0.01
    np.testing.assert_array_equal(y, layer(x, Mode(True, 1, 1)).data)
    assert (y != layer(x, Mode(True, 1, 2)).data).any()
    assert (y != layer(x, Mode(True, 2, 1)).data).any()


def test_graph_convolution_follows_the_formula() -> None:
    from ironlearn.nn.functional.graph import normalized_adjacency

    rng = np.random.default_rng(0)
    edges = np.array([[0, 1], [1, 2], [2, 1], [3, 0], [2, 2]])
    dense = np.eye(5)
    for a, b in edges:
        dense[a, b] = dense[b, a] = 1
    scale = 1 / np.sqrt(dense.sum(axis=1))
    expected = scale[:, None] * dense * scale
    x = rng.standard_normal((5, 4))
    adjacency = normalized_adjacency(edges, 5, dtype=np.float64)
    for units in (2, 6):
        layer = initialize(L.GraphConvolution(units), (4,)).astype(np.float64)
        want = expected @ x @ layer._dense.kernel.data
        np.testing.assert_allclose(layer(Tensor(x), adjacency).data, want)
        strict = get_device("strict")
        layer.to_device("strict")
        given = Tensor(strict.send(x))
        np.testing.assert_allclose(
            strict.receive(layer(given, adjacency.to_device("strict")).data), want
        )
    with pytest.raises(ValueError, match="nodes from 0 to 3"):
        normalized_adjacency(edges + 1, 4)
    with pytest.raises(ValueError, match="graph has 5 nodes, but x has 3 rows"):
        layer.to_device("cpu")(Tensor(x[:3]), adjacency)


def test_graph_convolution_gradients() -> None:
    from ironlearn.nn.functional.graph import normalized_adjacency

    adjacency = normalized_adjacency([[0, 1], [1, 2]], 4, dtype=np.float64)
    layer = initialize(L.GraphConvolution(3, "tanh"), (4,))

    class Fixed(Layer):
        def __init__(self) -> None:
            self.inner = layer

        def forward(self, x: Tensor, mode: Mode = L.INFERENCE) -> Tensor:
            return self.inner(x, adjacency, mode)

    check_layer(Fixed(), np.random.default_rng(0).standard_normal((4, 4)))
