"""Networks of ONNX files compute what onnxruntime computes with the files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from common.onnx_cases import CASES, close, example, made, outputs, session
from ironlearn.exceptions import InvalidParameterError
from ironlearn.io.onnx import from_onnx, save_onnx, to_onnx
from ironlearn.nn import layers as L
from ironlearn.nn.autograd import Tensor
from ironlearn.nn.inference import predict
from ironlearn.nn.layers.base import Layer
from ironlearn.nn.layers.sequential import initialize
from ironlearn.nn.pretrained.bert import BertEncoder
from ironlearn.nn.pretrained.efficientnet_lite import EfficientNetLite0
from ironlearn.nn.state import load_network, save_network

#: Layers whose graphs have operators that no layer stands for, and the one that is named.
NOT_READ = {
    "AdditiveAttention": "Add",
    "AttentionPooling": "Softmax",
    "AttentionPooling hidden": "Squeeze",
    "CapsuleLength": "ReduceSum",
    "DotAttention": "MatMul",
    "PrimaryCapsules": "ReduceSum",
    "RoutingCapsules": "MatMul",
    "RoutingCapsules once": "MatMul",
    "SinePositionEncoding": "Cast",
}


def graph(
    nodes: list[Any],
    shape: tuple[Any, ...],
    weights: dict[str, Any] | None = None,
    *,
    opset: int = 17,
    kind: int = TensorProto.FLOAT,
) -> Any:
    """Return a model from "x" of some shape to "y"."""
    given = helper.make_tensor_value_info("x", kind, shape)
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    tensors = [numpy_helper.from_array(np.asarray(a), n) for n, a in (weights or {}).items()]
    made_graph = helper.make_graph(nodes, "g", [given], [out], tensors)
    return helper.make_model(
        made_graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8
    )


def node(kind: str, inputs: str, output: str = "y", **attributes: Any) -> Any:
    """Return a node whose inputs are named with spaces between; a dash is one left out."""
    names = ["" if name == "-" else name for name in inputs.split()]
    return helper.make_node(kind, names, output.split(), name=f"to {output}", **attributes)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def normal(*shape: int, seed: int = 0) -> Any:
    return rng(seed).standard_normal(shape).astype(np.float32)


def there_and_here(model: Any, x: Any, order: tuple[int, ...] | None = None) -> tuple[Any, Layer]:
    """Compare both; `order` is the file's axis at each of the network's."""
    (expected,) = session(model).run(["y"], {"x": x})
    network = from_onnx(model)
    given = x if order is None else x.transpose(order)
    got = network(Tensor(given)).data
    if expected.ndim == len(order or ()) and order not in (None, (1, 0, 2)):
        expected = expected.transpose(order)
    close(got, expected)
    return got, network


def kinds(network: Any) -> list[str]:
    return [type(layer).__name__ for layer in network.layers]


# There and back -----------------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES)
def test_what_is_exported_is_read(case: str) -> None:
    layer = made(*CASES[case])
    model = to_onnx(layer)
    output = model.graph.output[0].name
    if case in NOT_READ:
        with pytest.raises(ValueError, match=rf"node '.*' \({NOT_READ[case]}\): "):
            from_onnx(model, output=output)
        return
    network = from_onnx(model, output=output)
    for n in (1, 3):
        x = example(layer, n)
        close(outputs(network, x)[0], outputs(layer, x)[0])


def test_a_chain_comes_back_as_it_was() -> None:
    network = made(
        lambda: L.Sequential(
            [
                L.Conv2D(4, 3, activation="relu"),
                L.BatchNorm(),
                L.MaxPool2D(2),
                L.Conv2D(5, 3, 2, "same", "gelu"),
                L.Flatten(),
                L.Dense(6, "relu"),
                L.Dense(3),
            ]
        ),
        (10, 9, 2),
    )
    again: Any = from_onnx(to_onnx(network))
    assert isinstance(again, L.Sequential)
    assert [type(a) for a in again.layers] == [type(a) for a in network.layers]  # type: ignore[attr-defined]
    assert again.input_shape == (10, 9, 2)
    x = example(network, 3)
    close(predict(again, x), predict(network, x))
    for name, array in network.state().items():
        np.testing.assert_allclose(again.state()[name], array, rtol=1e-6)


def test_residual_networks(tmp_path: Path) -> None:
    network = initialize(EfficientNetLite0(include_top=False), (32, 32, 3))
    save_onnx(network, tmp_path / "net.onnx")
    again: Any = from_onnx(tmp_path / "net.onnx")
    assert isinstance(again, L.LayerGraph)
    assert set(kinds(again)) == {"Conv2D", "Merge", "GlobalAvgPool2D"}
    x = normal(2, 32, 32, 3)
    expected = network(Tensor(x)).data
    np.testing.assert_allclose(again(Tensor(x)).data, expected, atol=1e-4 * abs(expected).max())
    save_network(again, tmp_path / "net")
    stored = load_network(tmp_path / "net").to_device("strict").to_device("cpu")
    np.testing.assert_array_equal(stored(Tensor(x)).data, again(Tensor(x)).data)


def test_bytes_paths_and_models_are_the_same(tmp_path: Path) -> None:
    network = made(lambda: L.Dense(2), (3,))
    model = to_onnx(network)
    path = tmp_path / "net.onnx"
    path.write_bytes(model.SerializeToString())
    x = normal(2, 3)
    for source in (model, model.SerializeToString(), path, str(path)):
        close(from_onnx(source)(Tensor(x)).data, network(Tensor(x)).data)


def test_values_within_can_be_asked_for() -> None:
    network = made(lambda: L.Sequential([L.Dense(4, "tanh"), L.Dense(2, "softmax")]), (3,))
    model = to_onnx(network)
    (name,) = (n.output[0] for n in model.graph.node if n.op_type == "Tanh")
    x = Tensor(normal(2, 3))
    close(from_onnx(model, output=name)(x).data, network.layers[0](x).data)  # type: ignore[attr-defined]


# Files as other frameworks write them -------------------------------------------------------------

IMAGES = (0, 2, 3, 1)


def test_a_small_network_channels_first() -> None:
    weights = {
        "k": normal(4, 3, 3, 3),
        "b": normal(4, seed=1),
        **{name: normal(4, seed=i) for i, name in enumerate(("gamma", "beta", "mean"))},
        "var": rng().uniform(0.5, 2, 4).astype(np.float32),
        "w": normal(5, 4 * 3 * 2, seed=2),
        "v": normal(5, seed=3),
    }
    nodes = [
        node("Conv", "x k b", "a", pads=[1, 1, 1, 1]),
        node("BatchNormalization", "a gamma beta mean var", "b2"),
        node("Relu", "b2", "c"),
        node("MaxPool", "c", "d", kernel_shape=[2, 2], strides=[2, 2]),
        node("Flatten", "d", "e"),
        node("Gemm", "e w v", "f", transB=1),
        node("Softmax", "f", axis=1),
    ]
    _, network = there_and_here(graph(nodes, ("N", 3, 6, 5), weights), normal(2, 3, 6, 5), IMAGES)
    # The image is flattened as it lies; the kernel's rows are in another order instead.
    assert kinds(network) == ["Conv2D", "BatchNorm", "MaxPool2D", "Flatten", "Dense"]
    assert network.input_shape == (6, 5, 3)


def test_the_batch_that_a_file_was_made_for() -> None:
    weights = {"k": normal(2, 3, 2, 2), "s": np.array([1, -1]), "w": normal(2 * 4 * 4, 3)}
    nodes = [node("Conv", "x k", "a"), node("Reshape", "a s", "b"), node("MatMul", "b w")]
    network = from_onnx(graph(nodes, (1, 3, 5, 5), weights))
    x = normal(3, 3, 5, 5)
    single = graph(nodes, (1, 3, 5, 5), weights)
    expected = np.concatenate([session(single).run(None, {"x": x[i : i + 1]})[0] for i in range(3)])
    close(network(Tensor(x.transpose(IMAGES))).data, expected)


def test_shapes_that_the_file_computes() -> None:
    weights = {
        "k": normal(2, 3, 2, 2),
        "zero": np.array(0),
        "minus": np.array([-1]),
        "w": normal(2 * 4 * 4, 3),
        "axes": np.array([0]),
    }
    nodes = [
        node("Conv", "x k", "a"),
        node("Shape", "a", "s"),
        node("Gather", "s zero", "n", axis=0),
        node("Unsqueeze", "n axes", "n1"),
        node("Concat", "n1 minus", "target", axis=0),
        node("Reshape", "a target", "b"),
        node("MatMul", "b w"),
    ]
    there_and_here(graph(nodes, ("N", 3, 5, 5), weights), normal(3, 3, 5, 5), IMAGES)


@pytest.mark.parametrize(
    ("nodes", "name"),
    [
        (["Div x root2 a", "Erf a b", "Add b one c", "Mul x c d", "Mul d half y"], "gelu"),
        (["Sigmoid x a", "Mul x a y"], "silu"),
        (["Clip x zero six y"], "relu6"),
        (["Max x zero y"], "relu"),
        (["Exp x a", "Neg x n", "Relu x r", "Abs x m", "Neg m e", "Exp e f", "Add f one g",
          "Log g h", "Add r h y"], "softplus"),
        (["Greater x zero a", "Mul x hundredth b", "Where a x b y"], "leaky_relu"),
        (["Less x zero a", "Where a zero x y"], "relu"),
        (["Mul x tenth a", "Mul a tenth b", "Max x b y"], "leaky_relu"),
        (["Pow x three a", "Mul a cubic b", "Add x b c", "Mul c root d", "Tanh d e",
          "Add one e f", "Mul x f g", "Mul half g y"], "gelu_tanh"),
    ],
)  # fmt: skip
def test_activations_however_they_are_written(nodes: list[str], name: str) -> None:
    numbers = {"root2": 2**0.5, "one": 1, "half": 0.5, "zero": 0, "six": 6, "tenth": 0.1,
               "hundredth": 0.01, "three": 3, "cubic": 0.044715,
               "root": (2 / np.pi) ** 0.5}  # fmt: skip
    parts = [line.split() for line in nodes]
    made_nodes = [node(p[0], " ".join(p[1:-1]), p[-1]) for p in parts]
    model = graph(made_nodes, ("N", 4), {n: np.float32(v) for n, v in numbers.items()})
    _, network = there_and_here(model, 3 * normal(50, 4))
    assert repr(network) == f"Sequential(layers=[Activation(activation={name!r})])"


@pytest.mark.parametrize(
    ("first", "layer"), [("Mul x tenth z", "Scale"), ("Tanh x z", "Activation")]
)
def test_an_activation_after_something_else(first: str, layer: str) -> None:
    lines = [first, "Div z root2 a", "Erf a b", "Add b one c", "Mul z c d", "Mul d half e",
             "Greater e zero f", "Mul e tenth g", "Where f e g h", "Mul h hundred y"]  # fmt: skip
    numbers = {"root2": 2**0.5, "one": 1, "half": 0.5, "zero": 0, "tenth": 0.01, "hundred": 100}
    parts = [line.split() for line in lines]
    nodes = [node(p[0], " ".join(p[1:-1]), p[-1]) for p in parts]
    model = graph(nodes, ("N", 4), {n: np.float32(v) for n, v in numbers.items()})
    _, network = there_and_here(model, 3 * normal(50, 4))
    assert kinds(network) == [layer, "Activation", "Activation", "Scale"]


def test_functions_that_meet_in_the_middle() -> None:
    # Neither is an activation as a whole; in parts they are.
    nodes = [
        node("Relu", "x", "a"),
        node("Sigmoid", "x", "b"),
        node("Add", "a b", "c"),
        node("Tanh", "c", "d"),
        node("Mul", "d two", "e"),
        node("Sigmoid", "e"),
    ]
    _, network = there_and_here(graph(nodes, ("N", 4), {"two": np.float32(2)}), normal(5, 4))
    assert isinstance(network, L.LayerGraph)


def test_means_and_deviations_of_channels() -> None:
    weights = {
        "mean": normal(1, 3, 1, 1),
        "scale": 1 + abs(normal(3, 1, 1)),
        "k": normal(2, 3, 2, 2),
        "gain": normal(2, 1, 1),
        "shift": normal(1, 2, 1, 1),
    }
    nodes = [
        node("Sub", "x mean", "a"),
        node("Div", "a scale", "b"),
        node("Conv", "b k", "c"),
        node("Mul", "c gain", "d"),
        node("Sub", "shift d"),
    ]
    model = graph(nodes, ("N", 3, 4, 4), weights)
    _, network = there_and_here(model, normal(2, 3, 4, 4), IMAGES)
    assert kinds(network) == ["Scale", "Conv2D"]


def test_squeeze_and_excitation() -> None:
    weights = {"k1": normal(2, 4, 1, 1), "k2": normal(4, 2, 1, 1)}
    nodes = [
        node("GlobalAveragePool", "x", "a"),
        node("Conv", "a k1", "b"),
        node("Relu", "b", "c"),
        node("Conv", "c k2", "d"),
        node("Sigmoid", "d", "e"),
        node("Mul", "x e"),
    ]
    there_and_here(graph(nodes, ("N", 4, 5, 3), weights), normal(2, 4, 5, 3), IMAGES)


def test_branches_side_by_side() -> None:
    weights = {"k1": normal(2, 3, 1, 1), "k3": normal(3, 3, 3, 3), "w": normal(8, 2)}
    nodes = [
        node("Conv", "x k1", "a"),
        node("Conv", "x k3", "b", pads=[1, 1, 1, 1]),
        node("AveragePool", "x", "c", kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1),
        node("Concat", "a b c", "d", axis=1),
        node("ReduceMean", "d", "e", axes=[2, 3], keepdims=0),
        node("MatMul", "e w"),
    ]
    there_and_here(graph(nodes, ("N", 3, 5, 4), weights), normal(2, 3, 5, 4), IMAGES)


@pytest.mark.parametrize(
    ("line", "more", "shape", "weights"),
    [
        ("Conv x k", {"auto_pad": "SAME_LOWER"}, (3, 5, 4), {"k": (2, 3, 2, 2)}),
        ("Conv x k", {"auto_pad": "SAME_UPPER", "strides": [2, 2]}, (3, 5, 4), {"k": (2, 3, 2, 2)}),
        ("Conv x k b", {"group": 3, "dilations": [2, 1]}, (3, 5, 4),
         {"k": (6, 1, 2, 3), "b": (6,)}),
        ("Conv x k", {"pads": [2, 1]}, (3, 7), {"k": (2, 3, 3)}),
        ("Conv x k", {"pads": [2, 0]}, (3, 7), {"k": (2, 3, 3)}),
        ("Conv x k", {"pads": [0, 2], "strides": [2]}, (3, 7), {"k": (2, 3, 3)}),
        ("ConvTranspose x k b", {"strides": [2, 2], "pads": [1, 1, 1, 1]}, (3, 4, 5),
         {"k": (3, 2, 4, 4), "b": (2,)}),
        ("ConvTranspose x k", {"strides": [3, 2], "output_padding": [1, 0]}, (3, 4, 5),
         {"k": (3, 2, 2, 2)}),
        ("MaxPool x", {"kernel_shape": [3], "pads": [1, 0], "strides": [2]}, (3, 8), {}),
        ("MaxPool x", {"kernel_shape": [2], "strides": [2]}, (3, 8), {}),
        ("AveragePool x", {"kernel_shape": [3], "pads": [1, 1], "count_include_pad": 1}, (3, 8),
         {}),
        ("MaxPool x", {"kernel_shape": [2, 2], "strides": [2, 2], "ceil_mode": 1}, (3, 8, 4), {}),
        ("GlobalMaxPool x", {}, (3, 8, 4), {}),
        ("GlobalAveragePool x", {}, (3, 8), {}),
        ("DepthToSpace x", {"blocksize": 2, "mode": "DCR"}, (8, 3, 4), {}),
        ("DepthToSpace x", {"blocksize": 2, "mode": "CRD"}, (8, 3, 4), {}),
        ("InstanceNormalization x g b", {}, (3, 5, 4), {"g": (3,), "b": (3,)}),
        ("InstanceNormalization x g b", {}, (3, 5), {"g": (3,), "b": (3,)}),
        ("Softmax x", {"axis": 1}, (3, 5, 4), {}),
        ("Softmax x", {"axis": -1}, (3, 5), {}),
        ("LayerNormalization x g b", {"epsilon": 1e-3}, (5, 4), {"g": (4,), "b": (4,)}),
        ("LayerNormalization x g", {}, (4,), {"g": (4,)}),
        ("ReduceMax x", {"axes": [1], "keepdims": 0}, (3, 5), {}),
        ("ReduceMean x", {"axes": [-1, -2]}, (3, 5, 4), {}),
        ("Flatten x", {}, (3, 5, 4), {}),
        ("MatMul x w", {}, (3, 5, 4), {"w": (4, 2)}),
        ("Add x p", {}, (3, 5), {"p": (3, 5)}),
    ],
)  # fmt: skip
def test_single_operators(
    line: str, more: dict[str, Any], shape: tuple[int, ...], weights: dict[str, Any]
) -> None:
    kind, inputs = line.split(" ", 1)
    arrays = {name: normal(*size, seed=7) for name, size in weights.items()}
    model = graph([node(kind, inputs, **more)], ("N", *shape), arrays)
    first = kind in ("Conv", "ConvTranspose", "DepthToSpace") or "Pool" in kind
    first = first or kind == "InstanceNormalization"
    order = (0, *range(2, len(shape) + 1), 1) if first else None
    there_and_here(model, normal(3, *shape), order)


@pytest.mark.parametrize(
    ("weights", "inputs", "more"),
    [
        ({"s": np.array([1, 1, 2, 3], np.float32)}, "x - s", {}),
        ({"s": np.array([1, 3, 10, 8])}, "x - - s", {}),
        ({"s": np.array([1, 1, 2, 2], np.float32)}, "x - s",
         {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}),
    ],
)  # fmt: skip
def test_larger_images(weights: Any, inputs: str, more: Any) -> None:
    model = graph([node("Resize", inputs, mode="nearest", **more)], (1, 3, 5, 4), weights)
    there_and_here(model, normal(1, 3, 5, 4), IMAGES)


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
@pytest.mark.parametrize("way", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("sequences", [True, False])
def test_recurrent_operators(kind: str, way: str, sequences: bool) -> None:
    gates, d = {"LSTM": 4, "GRU": 3, "RNN": 1}[kind], 2 if way == "bidirectional" else 1
    units, width = 3, 2
    weights = {
        "W": normal(d, gates * units, width, seed=1),
        "R": normal(d, gates * units, units, seed=2),
        "B": normal(d, 2 * gates * units, seed=3),
        "one": np.array([1]),
        "zeros": np.zeros((d, 4, units), np.float32),
        "flat": np.array([0, 0, -1]),
        "rows": np.array([-1, d * units]),
    }
    more = {"linear_before_reset": 1} if kind == "GRU" else {}
    out = "all" if sequences else "- last"
    nodes = [
        node("Transpose", "x", "t", perm=[1, 0, 2]),
        node(
            kind,
            "t W R B - zeros",
            out.replace("- ", " "),
            hidden_size=units,
            direction=way,
            **more,
        ),
    ]
    nodes[1].output[:] = ["all"] if sequences else ["", "last"]
    if sequences:
        # As PyTorch does: (T, D, N, H) to (T, N, D H), and batch first.
        nodes += [
            node("Transpose", "all", "u", perm=[0, 2, 1, 3]),
            node("Reshape", "u flat", "v"),
            node("Transpose", "v", perm=[1, 0, 2]),
        ]
    else:
        nodes += [node("Transpose", "last", "u", perm=[1, 0, 2]), node("Reshape", "u rows")]
    _, network = there_and_here(graph(nodes, (4, "T", width), weights), normal(4, 5, width))
    assert len(kinds(network)) == 1


def test_sequences_time_first() -> None:
    weights = {"W": normal(1, 12, 2), "R": normal(1, 12, 3), "w": normal(3, 2)}
    nodes = [
        node("LSTM", "x W R", "a", hidden_size=3),
        node("Squeeze", "a one", "b"),
        node("MatMul", "b w"),
    ]
    model = graph(nodes, ("T", "N", 2), {**weights, "one": np.array([1])})
    (expected,) = session(model).run(None, {"x": normal(5, 3, 2)})
    network = from_onnx(model)
    assert network.input_shape == (None, 2)
    close(network(Tensor(normal(5, 3, 2).transpose(1, 0, 2))).data, expected.transpose(1, 0, 2))


@pytest.mark.parametrize(("way", "index"), [("forward", -1), ("forward", 4), ("reverse", 0)])
def test_the_last_step_alone(way: str, index: int) -> None:
    weights = {"W": normal(1, 9, 2), "R": normal(1, 9, 3), "one": np.array([1]),
               "i": np.array(index)}  # fmt: skip
    nodes = [
        node("Transpose", "x", "t", perm=[1, 0, 2]),
        node("GRU", "t W R", "a", hidden_size=3, linear_before_reset=1, direction=way),
        node("Squeeze", "a one", "b"),
        node("Transpose", "b", "c", perm=[1, 0, 2]),
        node("Gather", "c i", axis=1),
    ]
    _, network = there_and_here(graph(nodes, ("N", 5, 2), weights), normal(3, 5, 2))
    assert kinds(network) == ["GRU"]


def test_all_steps_and_the_last_one() -> None:
    weights = {"W": normal(1, 3, 2), "R": normal(1, 3, 3), "one": np.array([1])}
    weights["zero"] = np.array([0])
    nodes = [
        node("Transpose", "x", "t", perm=[1, 0, 2]),
        node("RNN", "t W R", "every last", hidden_size=3),
        node("Squeeze", "every one", "b"),
        node("ReduceMean", "b", "c", axes=[0], keepdims=1),
        node("Sub", "c last", "d"),
        node("Squeeze", "d zero"),
    ]
    there_and_here(graph(nodes, ("N", 5, 2), weights), normal(3, 5, 2), None)


def test_columns_of_a_linear_map() -> None:
    weights = {"w": normal(4, 6), "b": normal(6), "s": np.array([2]), "e": np.array([1 << 40]),
               "two": np.array([2]), "z": np.array([0])}  # fmt: skip
    nodes = [
        node("MatMul", "x w", "a"),
        node("Add", "a b", "c"),
        node("Slice", "c z s two", "d"),
        node("Slice", "c s e two", "f"),
        node("Concat", "f d", axis=2),
    ]
    there_and_here(graph(nodes, ("N", "T", 4), weights), normal(2, 3, 4))


@pytest.mark.parametrize("heads", [1, 2])
@pytest.mark.parametrize("way", ["after", "before", "divided", "added", "chosen"])
def test_attention_however_it_is_scaled(heads: int, way: str) -> None:
    width, d = 6, 6 // heads
    weights: dict[str, Any] = {n: normal(width, width, seed=i) for i, n in enumerate("qkvo")}
    weights |= {f"b{n}": normal(width, seed=9 + i) for i, n in enumerate("qkvo")}
    weights |= {"heads": np.array([0, 0, heads, d]), "whole": np.array([0, 0, width])}
    weights |= {"root": np.float32(d**-0.25), "one": np.float32(d**-0.5), "d": np.float32(d**0.5)}
    nodes = []
    for name in "qkv":
        nodes += [
            node("MatMul", f"x {name}", f"{name}1"),
            node("Add", f"b{name} {name}1", f"{name}2"),
            node("Reshape", f"{name}2 heads", f"{name}3"),
        ]
    nodes += [node("Transpose", "q3", "q4", perm=[0, 2, 1, 3]),
              node("Transpose", "k3", "k4", perm=[0, 2, 3, 1]),
              node("Transpose", "v3", "v4", perm=[0, 2, 1, 3])]  # fmt: skip
    if way == "before":
        nodes += [node("Mul", "q4 root", "q5"), node("Mul", "k4 root", "k5"),
                  node("MatMul", "q5 k5", "s")]  # fmt: skip
    else:
        factor = ("Mul", "s1 one") if way == "after" else ("Div", "s1 d")
        nodes += [node("MatMul", "q4 k4", "s1"), node(*factor, "s2")]
        # No step sees a later one, in the two ways in which files say so.
        weights |= {"far": np.float32(-1e9), "seen": np.tri(5, dtype=bool)[None, None]}
        weights["low"] = np.where(np.tri(5), 0, -1e9).astype(np.float32)
        last = {"added": ("Add", "s2 low"), "chosen": ("Where", "seen s2 far")}
        nodes.append(node(*last.get(way, ("Identity", "s2")), "s"))
    nodes += [
        node("Softmax", "s", "w", axis=-1),
        node("MatMul", "w v4", "a"),
        node("Transpose", "a", "b", perm=[0, 2, 1, 3]),
        node("Reshape", "b whole", "c"),
        node("MatMul", "c o", "e"),
        node("Add", "e bo", "f"),
        node("Add", "x f"),
    ]
    _, network = there_and_here(graph(nodes, ("N", "T", width), weights), normal(3, 5, width))
    assert kinds(network) == ["MultiHeadAttention", "Merge"]
    assert network.layers[0].causal == (way in ("added", "chosen"))  # type: ignore[attr-defined]


def test_bert() -> None:
    network = initialize(BertEncoder(30, 8, 2, 2, 16, 12), (None,))
    again: Any = from_onnx(to_onnx(network))
    ids = rng().integers(0, 30, (3, 7))
    np.testing.assert_allclose(again(Tensor(ids)).data, network(Tensor(ids)).data, atol=1e-5)
    assert set(kinds(again)) == {
        *("Embedding", "PositionEmbedding", "Scale", "LayerNorm", "MultiHeadAttention"),
        *("Merge", "Dense"),
    }


def test_embeddings() -> None:
    nodes = [node("Gather", "e x", "a"), node("ReduceMean", "a", axes=[1], keepdims=0)]
    model = graph(nodes, ("N", "T"), {"e": normal(9, 4)}, kind=TensorProto.INT64)
    there_and_here(model, rng().integers(0, 9, (3, 5)))


@pytest.mark.parametrize("opset", [9, 11, 13, 17, 20])
def test_versions(opset: int) -> None:
    weights = {"w": normal(4, 4)}
    if opset < 13:
        nodes = [node("Unsqueeze", "x", "a", axes=[1]), node("Squeeze", "a", "b", axes=[1])]
    else:
        weights["one"] = np.array([1])
        nodes = [node("Unsqueeze", "x one", "a"), node("Squeeze", "a one", "b")]
    nodes.append(node("MatMul", "b w", "c"))
    if opset < 11:
        nodes.append(node("Clip", "c", "d", min=0.0, max=6.0))
    else:
        weights |= {"low": np.float32(0), "high": np.float32(6)}
        nodes.append(node("Clip", "c low high", "d"))
    nodes.append(node("Gelu", "d") if opset >= 20 else node("Tanh", "d"))
    there_and_here(graph(nodes, ("N", 4), weights, opset=opset), 5 * normal(3, 4))


def test_lengths_that_the_file_leaves_open() -> None:
    nodes = [node("Conv", "x k", "a"), node("Relu", "a")]
    model = graph(nodes, ("N", 3, "H", "W"), {"k": normal(2, 3, 2, 2)})
    with pytest.raises(ValueError, match=r"needs to know every length .* give input_shape"):
        from_onnx(model)
    network = from_onnx(model, input_shape=(6, 5, None))
    assert network.input_shape == (6, 5, 3)
    (expected,) = session(model).run(None, {"x": normal(2, 3, 6, 5)})
    close(network(Tensor(normal(2, 3, 6, 5).transpose(IMAGES))).data, expected.transpose(IMAGES))
    for shape in ((6, 5), (6, 5, 4), (0, 5, 3), "ab", (6.0, 5, 3)):
        with pytest.raises(InvalidParameterError, match="'input_shape' parameter of from_onnx"):
            from_onnx(model, input_shape=shape)
