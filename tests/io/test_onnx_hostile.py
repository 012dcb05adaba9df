"""ONNX files that are damaged, hostile or beyond what layers can do are refused, by name."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from common.onnx_cases import made
from ironlearn.exceptions import InvalidParameterError, ModelFileError
from ironlearn.io.onnx import from_onnx, to_onnx
from ironlearn.nn import layers as L


def model(
    nodes: list[Any],
    shape: tuple[Any, ...] = ("N", 4),
    weights: dict[str, Any] | None = None,
    opset: int = 17,
    kind: int = TensorProto.FLOAT,
) -> Any:
    tensors = [numpy_helper.from_array(np.asarray(a), n) for n, a in (weights or {}).items()]
    x = helper.make_tensor_value_info("x", kind, shape)
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "g", [x], [y], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])


def node(kind: str, inputs: str, output: str = "y", **attributes: Any) -> Any:
    names = ["" if name == "-" else name for name in inputs.split()]
    return helper.make_node(kind, names, output.split(), name=f"to {output}", **attributes)


def ones(*shape: int) -> Any:
    return np.ones(shape, np.float32)


IMAGE = ("N", 3, 6, 6)


@pytest.mark.parametrize(
    ("nodes", "shape", "weights", "message"),
    [
        ([node("NonMaxSuppression", "x")], ("N", 4), {}, r"\(NonMaxSuppression\): the operator is"),
        ([node("If", "x", then_branch=helper.make_graph([], "g", [], []))], ("N", 4), {},
         r"node 'to y' \(If\): the operator is not supported; known are Abs"),
        ([node("Relu", "z")], ("N", 4), {}, "is computed from the inputs"),
        ([node("Add", "x z")], ("N", 4), {}, r"'z' is missing"),
        ([node("Relu", "x a"), node("Relu", "x", "a"), node("Add", "a b")], ("N", 4), {},
         r"'b' is missing"),
        ([node("Relu", "x", "a"), node("Sigmoid", "x", "a"), node("Tanh", "a")], ("N", 4), {},
         "output 'a' is there already"),
        ([node("Sqrt", "x")], ("N", 4), {}, r"\(Sqrt\): .*none of the activations linear, relu"),
        ([node("LeakyRelu", "x", alpha=0.3)], ("N", 4), {}, r"\(LeakyRelu\): .* none of the act"),
        ([node("Min", "x x2", "y"), node("Tanh", "x", "x2")], ("N", 4), {}, "'x2' is missing"),
        ([node("Tanh", "x", "a"), node("Min", "x a")], ("N", 4), {}, "takes two computed values"),
        ([node("MatMul", "x x")], ("N", 4), {}, "is no attention"),
        ([node("MatMul", "x x")], ("N", 4, 4), {}, "part of an attention or a table of places"),
        ([node("MatMul", "x x", "s"), node("MatMul", "s x")], ("N", 4, 4), {}, "without a softmax"),
        ([node("MatMul", "x x", "s"), node("Add", "s x")], ("N", 4, 4), {}, "computed masks ar"),
        ([node("MatMul", "x x", "s"), node("Add", "s m")], ("N", 4, 4), {"m": ones(4, 4)},
         "only those of later steps"),
        ([node("MatMul", "x x", "s"), node("Where", "m s f")], ("N", 4, 4),
         {"m": np.tri(4) > 0, "f": np.float32(0)}, "0.0 in place of later steps"),
        ([node("MatMul", "x x", "s"), node("Where", "m s f")], ("N", 4, 4),
         {"m": np.tri(4) < 1, "f": np.float32(-1e9)}, "only those of later steps"),
        ([node("Where", "m x f")], ("N", 4, 4), {"m": np.tri(4) > 0, "f": np.float32(0)},
         "chooses from other things"),
        ([node("Greater", "x z")], ("N", 4), {"z": np.float32(0)}, "none of the activations"),
        ([node("Slice", "x z z")], ("N", 4), {"z": np.array([1])}, "batch.s axis|only columns"),
        ([node("MatMul", "x w", "a"), node("Slice", "a z z o")], ("N", 4),
         {"w": ones(4, 2), "z": np.array([0]), "o": np.array([1])}, "there are no columns"),
        ([node("LessOrEqual", "x t", "b"), node("Where", "b x x")], ("N", 4), {"t": ones(4)},
         "'x' is not a constant|'x' is missing"),
        ([node("MatMul", "x x", "s"), node("Softmax", "s", "w"), node("MatMul", "w x")],
         ("N", 4, 4), {}, "batch first, with heads side by side|no linear map of a sequence"),
        ([node("Split", "x", "y z", axis=1)], ("N", 4, 4), {}, "only the last axis of a linear"),
        ([node("Split", "x", "y z", axis=2)], ("N", 4, 4), {}, "no linear map of a sequence"),
        ([node("MatMul", "x w", "a"), node("Split", "a s", "y z", axis=1)], ("N", 4),
         {"w": ones(4, 5), "s": np.array([2, 4])}, "5 columns are not split into"),
        ([node("Range", "o n o", "r"), node("Add", "x r")], ("N", 4),
         {"o": np.array(1), "n": np.array(1 << 50)}, "it is too long"),
        ([node("MatMul", "w x")], ("N", 4), {"w": ones(2, 2)}, "only the reverse"),
        ([node("MatMul", "x w")], ("N", 4), {"w": ones(3, 2)}, "kernel of 3 rows does not fit"),
        ([node("MatMul", "x w")], ("N", 4), {"w": ones(4)}, r"shape \(4,\) and dtype float32"),
        ([node("Gemm", "x w", transA=1)], ("N", 4), {"w": ones(4, 2)}, "transA=1 is not supported"),
        ([node("Gemm", "x w b")], ("N", 4), {"w": ones(4, 2), "b": ones(3)}, "bias of the shape"),
        ([node("Gemm", "x w")], ("N", 4), {"w": np.ones((4, 2), np.int64)}, "dtype int64"),
        ([node("Mul", "x w")], ("N", 4), {"w": ones(5)}, r"shape \(5,\) does not fit"),
        ([node("Mul", "x w")], ("N", 4), {"w": ones(1, 1, 4)}, "is wider than its value"),
        ([node("Mul", "x w")], ("N", 3, 4), {"w": ones(3, 4)}, "neither one number nor one for ea"),
        ([node("Div", "w x")], ("N", 4), {"w": ones(4)}, "divides by a computed value"),
        ([node("Div", "x w")], ("N", 4), {"w": np.zeros(4, np.float32)}, "or by zero"),
        ([node("Softmax", "x", axis=0)], ("N", 4), {}, "works along the batch's axis"),
        ([node("Softmax", "x", axis=7)], ("N", 4), {}, "no axis 7 in a value of 2 axes"),
        ([node("Transpose", "x", perm=[0, 0])], ("N", 4), {}, r"perm=\(0, 0\) does not order"),
        ([node("Reshape", "x s")], ("N", 4), {"s": np.array([3, -1])}, "asks for lengths that do|"
         "joins or splits axes"),
        ([node("Reshape", "x s")], ("N", 4), {"s": np.array([-1, -1])}, "more than one length"),
        ([node("Reshape", "x s")], ("N", 4), {"s": np.array([-1])}, "of unknown length"),
        ([node("Reshape", "x s")], ("N", 4), {"s": np.array([0, 5])}, r"asks for .* 5"),
        ([node("Reshape", "x s")], ("N", 4), {"s": np.array([0, 0, 0])}, "copies the length of"),
        ([node("Reshape", "x x")], ("N", 4), {}, "the shape is not a constant"),
        ([node("Flatten", "x", axis=0)], ("N", 4), {}, "leaves no axis for the batch"),
        ([node("Squeeze", "x s")], ("N", 4), {"s": np.array([1])}, "have not the length 1"),
        ([node("Concat", "x x", axis=0)], ("N", 4), {}, "joins along the batch's axis"),
        ([node("Cast", "x", to=TensorProto.STRING)], ("N", 4), {}, "type number 8 is not suppor"),
        ([node("ReduceMean", "x", axes=[1])], ("N", 4), {}, "over the axes"),
        ([node("Gather", "e x")], ("N", 4), {"e": ones(2, 2, 2)}, r"shape \(2, 2, 2\)"),
        ([node("Conv", "x k")], ("N", 4), {"k": ones(1, 4, 1, 1)}, r"shape \(None, 4\); images"),
        ([node("Conv", "x k")], IMAGE, {"k": ones(2, 2, 2, 2)}, "does not fit 3 channels"),
        ([node("Conv", "x k", group=2)], IMAGE, {"k": ones(2, 3, 2, 2)}, "in 2 groups does not fi"),
        ([node("Conv", "x k", group=0)], IMAGE, {"k": ones(2, 3, 2, 2)}, "in 0 groups does not fi"),
        ([node("Conv", "x k")], IMAGE, {"k": ones(2, 3, 7, 7)}, "smaller than its kernel"),
        ([node("Conv", "x k", strides=[0, 1])], IMAGE, {"k": ones(2, 3, 2, 2)}, "strides=.0, 1."),
        ([node("Conv", "x k", strides=2)], IMAGE, {"k": ones(2, 3, 2, 2)}, "no tuple"),
        ([node("Conv", "x k", pads=[-1, 0, 0, 0])], IMAGE, {"k": ones(2, 3, 2, 2)}, "pads="),
        ([node("Conv", "x k", auto_pad="WIDE")], IMAGE, {"k": ones(2, 3, 2, 2)}, "auto_pad='WIDE'"),
        ([node("Conv", "x k b")], IMAGE, {"k": ones(2, 3, 2, 2), "b": ones(3)}, "3 numbers inst"),
        ([node("ConvTranspose", "x k", strides=[2, 2], pads=[1, 1, 0, 0])], IMAGE,
         {"k": ones(3, 2, 3, 3)}, "geometry of no layer"),
        ([node("MaxPool", "x")], IMAGE, {}, "has no kernel_shape"),
        ([node("MaxPool", "x", kernel_shape=[2, 2], dilations=[2, 2])], IMAGE, {}, "dilations="),
        ([node("MaxPool", "x", kernel_shape=[5, 5], strides=[2, 2], ceil_mode=1)], IMAGE, {},
         "ceil_mode=1 makes a difference"),
        ([node("BatchNormalization", "x g g g v")], IMAGE, {"g": ones(3), "v": -ones(3)},
         "negative variance"),
        ([node("BatchNormalization", "x g g g v")], IMAGE, {"g": ones(3), "v": ones(4)},
         "running_var has 4 numbers instead of 3"),
        ([node("BatchNormalization", "x g g g")], IMAGE, {"g": ones(3)}, "running_var is missing"),
        ([node("Pad", "x p")], IMAGE, {"p": np.array([0, 0, 1, 1, 0, 1, 1, 1])}, "only zeros arou"),
        ([node("Pad", "x p v")], IMAGE, {"p": np.array([0, 0, 1, 1, 0, 0, 1, 1]),
         "v": np.float32(2)}, "of 2.0"),
        ([node("Resize", "x - s", mode="linear")], IMAGE, {"s": ones(4)}, "mode='linear' is not"),
        ([node("Conv", "x k", "a"), node("Resize", "a - s", mode="nearest")], IMAGE,
         {"k": ones(2, 3, 1, 1), "s": np.array([1, 1, 1.5, 2], np.float32)}, "no whole numbers"),
        ([node("Conv", "x k", "a"), node("Resize", "a - s", mode="nearest")], IMAGE,
         {"k": ones(2, 3, 1, 1), "s": np.array([1, 1, 1e9, 2], np.float32)}, "times larger"),
        ([node("DepthToSpace", "x", blocksize=2)], IMAGE, {}, "blocksize=2 does not fit"),
        ([node("LSTM", "x W R - l", hidden_size=2)], ("T", "N", 3),
         {"W": ones(1, 8, 3), "R": ones(1, 8, 2), "l": np.array([1], np.int32)}, "lengths of seq"),
        ([node("LSTM", "x W R - - h", hidden_size=2)], ("T", 1, 3),
         {"W": ones(1, 8, 3), "R": ones(1, 8, 2), "h": ones(1, 1, 2)}, "states to begin with"),
        ([node("LSTM", "x W R", hidden_size=2)], ("T", "N", 3),
         {"W": ones(1, 8, 4), "R": ones(1, 8, 2)}, r"do not fit; expected \[\(1, 8, 3\)"),
        ([node("LSTM", "x W R", hidden_size=2, activations=["Tanh"] * 3)], ("T", "N", 3),
         {"W": ones(1, 8, 3), "R": ones(1, 8, 2)}, "activations=.* are not supported"),
        ([node("LSTM", "x W R", "a b c", hidden_size=2), node("Identity", "c")],
         ("T", "N", 3), {"W": ones(1, 8, 3), "R": ones(1, 8, 2)}, "cell state is not given"),
        ([node("LSTM", "x W R", "a", hidden_size=2), node("Gather", "a i", axis=0)],
         ("T", "N", 3), {"W": ones(1, 8, 3), "R": ones(1, 8, 2), "i": np.array(1)},
         "other than the last step"),
        ([node("Gather", "x i", axis=1)], ("N", 4), {"i": np.array([1, 2])}, "several places of"),
        ([node("GRU", "x W R", hidden_size=2)], ("T", "N", 3),
         {"W": ones(1, 6, 3), "R": ones(1, 6, 2)}, "linear_before_reset=0 is not supported"),
        ([node("Constant", "", "y", value=numpy_helper.from_array(ones(2)))], ("N", 4), {},
         "is computed from the inputs"),
        ([node("Mul", "x t", "a"), node("Mul", "a t")], ("N", 4), {"t": np.float32(1e30)},
         r"\(Mul\): its weights become too large"),
        ([node("Gemm", "x w", alpha=1e30)], ("N", 4), {"w": ones(4, 2) * np.float32(1e30)},
         r"\(Gemm\): its weights become too large"),
        ([node("Unsqueeze", "x a")], ("N", 4), {"a": np.arange(20)}, "more than 16 are not supp"),
        ([node("Conv", "x k")], IMAGE, {"k": ones(2, 3, 0, 2)}, "its settings do not fit: kernel"),
        ([node("Tanh", "x")], ("N", 1 << 40), {}, "has the shape"),
        ([node("Add", "x w")], ("N", 4), {"w": np.full(4, np.nan, np.float32)}, "w holds values"),
    ],
)  # fmt: skip
def test_what_no_layer_stands_for(nodes: Any, shape: Any, weights: Any, message: str) -> None:
    with pytest.raises(ModelFileError, match=message):
        from_onnx(model(nodes, shape, weights))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.graph.ClearField("output") or m.graph.ClearField("node"), "holds no graph"),
        (lambda m: m.opset_import[0].__setattr__("version", 99), "are of version .99.; 9 to 23"),
        (lambda m: m.ClearField("opset_import"), r"are of version \[\]"),
        (lambda m: m.graph.input[0].type.tensor_type.ClearField("shape"), "no tensor of known"),
        (lambda m: m.graph.input[0].type.tensor_type.__setattr__("elem_type", 8), "type STRING"),
        (lambda m: m.graph.input[0].type.tensor_type.__setattr__("elem_type", 2), "takes bytes"),
        (lambda m: m.graph.initializer[0].__setattr__("data_type", 14), "type COMPLEX64"),
        (lambda m: m.graph.initializer[0].__setattr__("data_type", 77), "type 77"),
        (lambda m: m.graph.initializer[0].dims.__setitem__(0, 1 << 62), "shape .*, but holds"),
        (lambda m: m.graph.initializer[0].dims.extend([1 << 62] * 8), "shape .*, but holds"),
        (lambda m: m.graph.initializer[0].dims.extend([1] * 20), "impossible shape"),
        (lambda m: m.graph.initializer[0].dims.__setitem__(0, -4), "impossible shape"),
        (lambda m: m.graph.initializer[0].__setattr__("raw_data", b"abc"), "holds 0.75 numbers"),
        (lambda m: m.graph.sparse_initializer.add(), "sparse and quantized"),
        (lambda m: m.graph.node[0].__setattr__("domain", "evil"), r"\(evil::MatMul\): the op"),
    ],
)  # fmt: skip
def test_damaged_models(change: Any, message: str) -> None:
    broken = model([node("MatMul", "x w")], ("N", 4), {"w": ones(4, 2)})
    change(broken)
    with pytest.raises(ModelFileError, match=message):
        from_onnx(broken)


def test_other_files_are_not_opened(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(bytes(32))
    away = model([node("MatMul", "x w")], ("N", 4), {"w": ones(4, 2)})
    tensor = away.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for place in ("secret", "../secret", "/etc/passwd"):
        del tensor.external_data[:]
        tensor.external_data.add(key="location", value=place)
        path = tmp_path / "net.onnx"
        path.write_bytes(away.SerializeToString())
        with pytest.raises(ModelFileError, match="w lies in a file of its own"):
            from_onnx(path)


def test_small_files_take_little_memory() -> None:
    huge = 1 << 40
    cases = [
        model([node("ConstantOfShape", "s", "a"), node("Add", "x a")], ("N", 4),
              {"s": np.array([huge, huge])}),
        model([node("Expand", "o s", "a"), node("Add", "x a")], ("N", 4),
              {"o": ones(1), "s": np.array([huge, huge])}),
        model([node("Add", "u v", "w"), node("Add", "x w")], ("N", 4),
              {"u": ones(4000, 1), "v": ones(1, 4000)}),
        model([node("Gather", "u i", "w"), node("Add", "x w")], ("N", 4),
              {"u": ones(1, 60000), "i": np.zeros(60000, np.int64)}),
        model([node("Resize", "x - s", mode="nearest")], IMAGE,
              {"s": np.array([1, 1, 3e4, 3e4], np.float32)}),
        model([node("Pad", "x p")], IMAGE, {"p": np.array([0, 0, 1 << 29, 0, 0, 0, 0, 0])}),
        model([node("Mul", "x t")], ("N", 1 << 30), {"t": np.float32(2)}),
        model([node("InstanceNormalization", "x t t")], ("N", 1 << 30, 2), {"t": ones(1)}),
        model([*(node("Concat", f"v{i} v{i}", f"v{i + 1}", axis=0) for i in range(40)),
               node("Add", "x v40")], ("N", 4), {"v0": ones(4)}),
        model([*(node("Cast", f"v{i}", f"v{i + 1}", to=(7, 1)[i % 2]) for i in range(1000)),
               node("Add", "x v1000")], ("N", 9999), {"v0": ones(9999)}),
        model([node("Tanh", "x", "v0"),
               *(node("Gemm", f"v{i} w", f"v{i + 1}", transB=1) for i in range(3000)),
               node("Identity", "v3000")], ("N", 99), {"w": ones(99, 99)}),
    ]  # fmt: skip
    tracemalloc.start()
    try:
        for case in cases:
            try:
                from_onnx(case)
            except ModelFileError:
                pass
        assert tracemalloc.get_traced_memory()[1] < 20e6
    finally:
        tracemalloc.stop()


def test_long_chains_of_functions_end() -> None:
    # Written out, the last one would have 2 ** 60 operators.
    doubled = [node("Mul", f"v{i} v{i}", f"v{i + 1}") for i in range(60)]
    start, end = node("Tanh", "x", "v0"), node("Identity", "v60")
    assert isinstance(from_onnx(model([start, *doubled, end])), L.LayerGraph)
    long = [node("Neg", f"v{i}", f"v{i + 1}") for i in range(2000)]
    end = node("Identity", "v2000")
    network: Any = from_onnx(model([start, *long, end]))
    assert len(network.layers) < 100


SEED = to_onnx(
    made(
        lambda: L.Sequential(
            [L.Conv2D(2, 2, activation="gelu"), L.MaxPool2D(2), L.Flatten(), L.Dense(2)]
        ),
        (5, 5, 1),
    )
).SerializeToString()


@settings(max_examples=300)
@given(st.lists(st.tuples(st.integers(0, len(SEED) - 1), st.integers(0, 255)), max_size=8),
       st.integers(0, len(SEED)))  # fmt: skip
def test_random_changes_give_a_network_or_an_error(changes: Any, end: int) -> None:
    broken = bytearray(SEED)
    for place, byte in changes:
        broken[place] = byte
    for content in (bytes(broken), bytes(broken[:end])):
        try:
            from_onnx(content)
        except (ModelFileError, InvalidParameterError):
            pass


@pytest.mark.parametrize("call", ["from_onnx(b'')", "to_onnx(Dense(2))"])
def test_without_the_package(call: str) -> None:
    code = (
        "import sys; sys.modules['onnx'] = None\n"
        "from ironlearn.io.onnx import from_onnx, to_onnx\n"
        "from ironlearn.nn.layers import Dense\n"
        f"try: {call}\n"
        "except ImportError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'ironlearn[onnx]'" in done.stdout


def test_what_is_asked_for() -> None:
    fine = model([node("MatMul", "x w")], ("N", 4), {"w": ones(4, 2)})
    with pytest.raises(InvalidParameterError, match="'source' parameter of from_onnx .* a int"):
        from_onnx(3)
    with pytest.raises(InvalidParameterError, match="'output' parameter of from_onnx .* got 'z'"):
        from_onnx(fine, output="z")
    with pytest.raises(ModelFileError, match="no ONNX file"):
        from_onnx(b"PK\x03\x04 and so on")
    with pytest.raises(ModelFileError, match="no ONNX file"):
        from_onnx(b"")
    with pytest.raises(FileNotFoundError):
        from_onnx("/nowhere/at/all.onnx")
    two = onnx.ModelProto.FromString(fine.SerializeToString())
    two.graph.output.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, None))
    with pytest.raises(InvalidParameterError, match="has the outputs y, z; a network has one"):
        from_onnx(two)
