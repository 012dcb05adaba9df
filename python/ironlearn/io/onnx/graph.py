"""An ONNX graph under construction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

#: What every exported graph is written for.
OPSETS = {"": 17, "ai.onnx.ml": 3}
#: Stands for minus infinity in sums of products, where 0 times infinity would be no number.
LEAST = -1e300


class Graph:
    """Nodes, constants, inputs and outputs, each value under a name of its own."""

    def __init__(self) -> None:
        self._nodes: list[Any] = []
        self._constants: list[Any] = []
        self._inputs: list[Any] = []
        self._outputs: list[Any] = []
        self._count = 0
        #: What else the file says, by name.
        self.properties: dict[str, str] = {}

    def _name(self, kind: str) -> str:
        self._count += 1
        return f"{kind.lower()}_{self._count}"

    def op(self, kind: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        """Add a node; return the name of its output."""
        return self.ops(kind, 1, *inputs, domain=domain, **attributes)[0]

    def ops(
        self, kind: str, count: int, *inputs: str, domain: str = "", **attributes: Any
    ) -> tuple[str, ...]:
        """Add a node of several outputs; return their names. An input left out is empty."""
        names = tuple(self._name(kind) for _ in range(count))
        self._nodes.append(
            helper.make_node(kind, list(inputs), list(names), domain=domain, **attributes)
        )
        return names

    def constant(self, value: Any, dtype: Any = None) -> str:
        """Add a constant tensor; return its name."""
        array = np.asarray(value, dtype=dtype)
        name = self._name("constant")
        if array.dtype.kind in "OU":
            words = [str(word).encode() for word in array.ravel()]
            tensor = helper.make_tensor(name, TensorProto.STRING, array.shape, words)
        else:
            tensor = numpy_helper.from_array(np.asarray(array, order="C"), name)
        self._constants.append(tensor)
        return name

    def input(self, name: str, dtype: Any, *widths: int | str | None) -> str:
        """Add an input of any number of rows; a width that is a name is free as well."""
        self._inputs.append(helper.make_tensor_value_info(name, _code(dtype), [None, *widths]))
        return name

    def output(self, name: str, value: str, dtype: Any, *widths: int | str | None) -> None:
        """Give out a value, of one row for each of the input, under this name."""
        self._nodes.append(helper.make_node("Identity", [value], [name]))
        self._outputs.append(helper.make_tensor_value_info(name, _code(dtype), [None, *widths]))

    def cast(self, value: str, dtype: Any) -> str:
        """Return the value in another dtype."""
        return self.op("Cast", value, to=_code(dtype))

    def double(self, value: str) -> str:
        """Return the value in double precision."""
        return self.cast(value, np.float64)

    def sum(self, value: str, axis: int) -> str:
        """Return the sums along an axis, which vanishes."""
        return self.op("ReduceSum", value, self.constant([axis], np.int64), keepdims=0)

    def columns(self, value: str, indices: Sequence[int] | NDArray[Any]) -> str:
        """Return some columns."""
        return self.op("Gather", value, self.constant(indices, np.int64), axis=1)

    def reshape(self, value: str, *shape: int) -> str:
        """Return the value in another shape; -1 is what is left, 0 what was there."""
        return self.op("Reshape", value, self.constant(shape, np.int64))

    def pick(self, values: NDArray[Any], index: str) -> str:
        """Return the elements of a table at the indices."""
        return self.op("Gather", self.constant(values), index, axis=0)

    def first_largest(self, value: str) -> str:
        """Return the index of each row's largest element, the first of equal ones."""
        return self.op("ArgMax", value, axis=1, keepdims=0)

    def loop(
        self, steps: int, state: str, width: int, body: Callable[[Graph, str], tuple[str, str]]
    ) -> str:
        """Return the state, a matrix of some width, after at most so many steps of a loop.

        `body` is given a graph and the state, and returns whether to go on, and the next state.
        """
        inner = Graph()
        # Names are unique over the nested graphs, whose nodes see the values around them.
        inner._count = self._count
        step, going, given = (inner._name(kind) for kind in ("step", "going", "state"))
        onward, after = body(inner, given)
        self._count = inner._count
        value = helper.make_tensor_value_info
        nested = helper.make_graph(
            inner._nodes,
            "step",
            [
                value(step, TensorProto.INT64, []),
                value(going, TensorProto.BOOL, []),
                value(given, TensorProto.DOUBLE, [None, width]),
            ],
            [value(onward, TensorProto.BOOL, []), value(after, TensorProto.DOUBLE, [None, width])],
            inner._constants,
        )
        limit = self.constant(steps, np.int64)
        return self.op("Loop", limit, self.constant(True), state, body=nested)

    def model(self, producer_version: str, properties: dict[str, str]) -> Any:
        """Return the finished, checked model."""
        graph = helper.make_graph(
            self._nodes, "ironlearn", self._inputs, self._outputs, self._constants
        )
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid(d, v) for d, v in OPSETS.items()],
            ir_version=8,
            producer_name="ironlearn",
            producer_version=producer_version,
        )
        helper.set_model_props(model, {**properties, **self.properties})
        onnx.checker.check_model(model)
        return model


def _code(dtype: Any) -> int:
    dtype = np.dtype(dtype)
    if dtype.kind in "OU":
        return int(TensorProto.STRING)
    return int(helper.np_dtype_to_tensor_dtype(dtype))


def finite(logarithms: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return logarithms with a very small number in place of minus infinity."""
    return np.maximum(logarithms, LEAST)


def labels(graph: Graph, classes: NDArray[Any], codes: str, name: str = "label") -> None:
    """Give out the labels of class codes."""
    kind = classes.dtype.kind
    if kind in "iu":
        classes = classes.astype(np.int64)
    elif kind == "O" and not all(isinstance(value, str) for value in classes.tolist()):
        raise ValueError(
            "the class labels mix types, which no ONNX tensor can hold: use integers or strings."
        )
    graph.output(name, graph.pick(classes, codes), classes.dtype)


def probabilities(graph: Graph, joint: str, classes: NDArray[Any]) -> None:
    """Give out labels and probabilities from joint log-likelihoods."""
    labels(graph, classes, graph.first_largest(joint))
    graph.output("probabilities", graph.op("Softmax", joint, axis=1), np.float64, len(classes))
