"""From bytes of unknown origin to checked nodes and arrays. Nothing in a file is executed."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from onnx import AttributeProto, TensorProto, numpy_helper

from ironlearn.exceptions import InvalidParameterError, ModelFileError

#: Versions of the operators that are understood.
OLDEST, NEWEST = 9, 23
_MOST_NODES = 100_000
_MOST_AXES = 16
_DOMAINS = ("", "ai.onnx")

#: Types of tensors, how many bytes a number has, and the field that holds numbers one by one.
_TENSORS = {
    TensorProto.FLOAT: (4, "float_data"),
    TensorProto.DOUBLE: (8, "double_data"),
    TensorProto.FLOAT16: (2, "int32_data"),
    TensorProto.BFLOAT16: (2, "int32_data"),
    TensorProto.INT64: (8, "int64_data"),
    TensorProto.INT32: (4, "int32_data"),
    TensorProto.INT8: (1, "int32_data"),
    TensorProto.UINT8: (1, "int32_data"),
    TensorProto.BOOL: (1, "int32_data"),
}


@dataclass(frozen=True)
class Node:
    """An operator with its inputs' and outputs' names.

    Attributes
    ----------
    kind : str
        The operator.
    name : str
        Its name in the file, or that of its first output.
    inputs, outputs : tuple of str
        Names of values; "" is one left out.
    attributes : mapping
        Numbers, strings, tuples of them and arrays.
    """

    kind: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]

    def refuse(self, why: str) -> ModelFileError:
        """Return the error that this node cannot become a layer."""
        return ModelFileError(f"node {self.name!r} ({self.kind}): {why}")

    def get(self, name: str, default: Any) -> Any:
        """Return an attribute of the type of its default."""
        value = self.attributes.get(name, default)
        wanted = type(default)
        if default is not None and type(value) is not wanted:
            raise self.refuse(f"the attribute {name} is {value!r}, no {wanted.__name__}.")
        return value

    def expect(self, **values: Any) -> None:
        """Refuse attributes that have other values than these, the only ones understood."""
        for name, wanted in values.items():
            value = self.get(name, wanted)
            if value != wanted:
                raise self.refuse(f"{name}={value!r} is not supported, only {wanted!r}.")

    def given(self, place: int) -> str:
        """Return the name of an input, "" if it is left out."""
        return self.inputs[place] if place < len(self.inputs) else ""


@dataclass(frozen=True)
class Model:
    """What a file holds.

    Attributes
    ----------
    opset : int
        Version of the operators.
    nodes : list of Node
        In an order in which they can be computed.
    constants : dict of str to ndarray
        Weights by name.
    inputs : dict of str to (dtype, lengths)
        What the graph is given; ``None`` is any length.
    outputs : tuple of str
        What it gives.
    """

    opset: int
    nodes: list[Node]
    constants: dict[str, NDArray[Any]]
    inputs: dict[str, tuple[np.dtype[Any], tuple[int | None, ...]]] = field(default_factory=dict)
    outputs: tuple[str, ...] = ()


def read(source: Any) -> Model:
    """Return what a file, its bytes or an ``onnx.ModelProto`` holds."""
    if isinstance(source, onnx.ModelProto):
        return _checked(source)
    if isinstance(source, str | os.PathLike):
        source = Path(source).read_bytes()
    if not isinstance(source, bytes):
        raise InvalidParameterError(
            "The 'source' parameter of from_onnx must be a path, bytes or an onnx.ModelProto; got "
            f"a {type(source).__name__}."
        )
    try:
        return _checked(onnx.ModelProto.FromString(source))
    except DecodeError as error:
        raise ModelFileError("this is no ONNX file, or it is damaged.") from error


def _checked(model: onnx.ModelProto) -> Model:
    graph = model.graph
    if not graph.node and not graph.output:
        raise ModelFileError("this is no ONNX file: it holds no graph.")
    if len(graph.node) > _MOST_NODES:
        raise ModelFileError(f"the graph has more than {_MOST_NODES} nodes.")
    if graph.sparse_initializer or graph.quantization_annotation:
        raise ModelFileError("sparse and quantized weights are not supported.")
    versions = [entry.version for entry in model.opset_import if entry.domain in _DOMAINS]
    if len(versions) != 1 or not OLDEST <= versions[0] <= NEWEST:
        raise ModelFileError(
            f"the operators are of version {versions}; {OLDEST} to {NEWEST} are understood."
        )
    constants = {}
    for tensor in graph.initializer:
        constants[_text(tensor.name)] = array(tensor)
    inputs = {
        _text(value.name): _input(value) for value in graph.input if value.name not in constants
    }
    nodes = [_node(node) for node in graph.node]
    return Model(versions[0], nodes, constants, inputs, tuple(_text(o.name) for o in graph.output))


def array(tensor: Any) -> NDArray[Any]:
    """Return a tensor of a file, floating-point ones in single precision, once all sizes fit."""
    name = _text(tensor.name) or "a tensor"
    if tensor.data_location == TensorProto.EXTERNAL or tensor.external_data:
        raise ModelFileError(
            f"{name} lies in a file of its own: such files are not followed; save the model with "
            "its weights in one file."
        )
    if tensor.data_type not in _TENSORS:
        kind = _type_name(tensor.data_type)
        raise ModelFileError(f"{name} is of the type {kind}, which is not supported.")
    size, place = _TENSORS[tensor.data_type]
    dims = list(tensor.dims)
    if len(dims) > _MOST_AXES or any(n < 0 for n in dims):
        raise ModelFileError(f"{name} has the impossible shape {dims[:_MOST_AXES]}.")
    # Whole numbers of any size: their product cannot wrap around.
    count = math.prod(dims)
    held = len(tensor.raw_data) / size if tensor.raw_data else len(getattr(tensor, place))
    if held != count:
        raise ModelFileError(f"{name} has the shape {dims}, but holds {held:g} numbers.")
    try:
        value: NDArray[Any] = np.asarray(numpy_helper.to_array(tensor))
    except (ValueError, TypeError, OverflowError) as error:
        raise ModelFileError(f"{name} cannot be read: {error}") from error
    if value.dtype.kind not in "iub":
        with np.errstate(over="ignore"):
            value = value.astype(np.float32, copy=False)
        if not np.isfinite(value).all():
            raise ModelFileError(f"{name} holds values that are not finite.")
    return value


def _type_name(number: int) -> str:
    known = TensorProto.DataType.values()
    return str(TensorProto.DataType.Name(number)) if number in known else str(number)


def _input(value: Any) -> tuple[np.dtype[Any], tuple[int | None, ...]]:
    kind = value.type.tensor_type
    if not value.type.HasField("tensor_type") or not kind.HasField("shape"):
        raise ModelFileError(f"the input {value.name!r} is no tensor of known shape.")
    if kind.elem_type not in _TENSORS:
        raise ModelFileError(
            f"the input {value.name!r} is of the type {_type_name(kind.elem_type)}, which is not "
            "supported."
        )
    lengths = tuple(
        dim.dim_value if dim.HasField("dim_value") and dim.dim_value > 0 else None
        for dim in kind.shape.dim
    )
    if not 1 <= len(lengths) <= _MOST_AXES or any((n or 0) >= 1 << 31 for n in lengths):
        raise ModelFileError(f"the input {value.name!r} has the shape {lengths[:_MOST_AXES]}.")
    return np.dtype(onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)), lengths


def _node(node: Any) -> Node:
    inputs, outputs = (tuple(_text(name) for name in part) for part in (node.input, node.output))
    name = _text(node.name) or next((output for output in outputs if output), "")
    attributes = {_text(a.name): _attribute(a) for a in node.attribute}
    kind, domain = _text(node.op_type), _text(node.domain)
    kind = kind if domain in _DOMAINS else f"{domain}::{kind}"
    return Node(kind, name, inputs, outputs, attributes)


def _text(value: Any) -> str:
    """Return a name, which a damaged file may hold as bytes that are no text."""
    if not isinstance(value, str):
        raise ModelFileError(f"the name {bytes(value)[:40]!r} is no text: the file is damaged.")
    return value


def _attribute(attribute: Any) -> Any:
    readers: dict[int, Callable[[Any], Any]] = {
        AttributeProto.INT: lambda a: int(a.i),
        AttributeProto.FLOAT: lambda a: float(a.f),
        AttributeProto.STRING: lambda a: a.s.decode("utf-8", "replace"),
        AttributeProto.INTS: lambda a: tuple(int(v) for v in a.ints),
        AttributeProto.FLOATS: lambda a: tuple(float(v) for v in a.floats),
        AttributeProto.STRINGS: lambda a: tuple(v.decode("utf-8", "replace") for v in a.strings),
        AttributeProto.TENSOR: lambda a: array(a.t),
    }
    # A graph within a graph, or a reference: its operator will be refused, if it is needed.
    reader = readers.get(attribute.type)
    return attribute.name if reader is None else reader(attribute)
