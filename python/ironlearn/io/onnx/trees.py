"""ONNX graphs of trees and forests.

The ensemble operator finds each tree's leaf; what the leaves hold is looked up in one table. So
one operator serves classes, votes and numbers, and sums are in double precision.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ironlearn.io.onnx import inputs
from ironlearn.io.onnx.graph import Graph, labels

#: Leaves of a tree are counted in single precision.
_MOST_LEAVES = 1 << 24


def classifier(graph: Graph, model: Any, dtype: Any) -> None:
    """Mean shares of the leaves' classes, or shares of the trees' votes, for each output."""
    arrays = model._model.arrays()
    counts = model._model.class_counts
    outputs, most = len(counts), max(counts)
    value = arrays["value"].reshape(-1, outputs, most)
    if getattr(model, "voting", "soft") == "hard":
        value = np.eye(most)[value.argmax(axis=2)]
    shares = _mean(graph, model, arrays, value.reshape(-1, outputs * most), dtype)
    if outputs == 1:
        labels(graph, model.classes_, graph.first_largest(shares))
        graph.output("probabilities", shares, np.float64, most)
        return
    for k, (classes, count) in enumerate(zip(model.classes_, counts, strict=True)):
        own = graph.columns(shares, np.arange(k * most, k * most + count))
        labels(graph, classes, graph.first_largest(own), f"label_{k}")
        graph.output(f"probabilities_{k}", own, np.float64, count)


def regressor(graph: Graph, model: Any, dtype: Any) -> None:
    """The mean of what the leaves predict."""
    arrays = model._model.arrays()
    outputs = model._model.n_outputs
    mean = _mean(graph, model, arrays, arrays["value"].reshape(-1, outputs), dtype)
    if outputs == 1:
        graph.output("prediction", graph.reshape(mean, -1), np.float64)
    else:
        graph.output("prediction", mean, np.float64, outputs)


def _mean(
    graph: Graph, model: Any, arrays: dict[str, NDArray[Any]], value: NDArray[Any], dtype: Any
) -> str:
    """Return the mean over the trees of what their leaves hold, one row of `value` each."""
    ensemble = _Ensemble(arrays)
    found = graph.op("TreeEnsembleRegressor", _rows(graph, model, dtype), **ensemble.attributes())
    leaf = graph.op(
        "Add", graph.cast(found, np.int64), graph.constant(ensemble.first_leaf, np.int64)
    )
    held = graph.pick(value[ensemble.leaves].astype(np.float64), leaf)
    trees = len(ensemble.first_leaf)
    total = graph.sum(held, axis=1)
    return graph.op("Div", total, graph.constant(float(trees)))


def _rows(graph: Graph, model: Any, dtype: Any) -> str:
    """Return the rows in single precision, which the thresholds are for."""
    categories = model._categories
    if categories is None:
        x = inputs.matrix(graph, model, dtype)
        return x if dtype == "float32" else graph.cast(x, np.float32)
    vocabularies = [categories.values.get(j) for j in range(int(model.n_features_in_))]
    columns = inputs.codes(graph, model, vocabularies, np.float32, np.nan, dtype)
    return graph.op("Concat", *columns, axis=1)


class _Ensemble:
    """The nodes of all trees, as the ensemble operator wants them."""

    def __init__(self, arrays: dict[str, NDArray[Any]]) -> None:
        self._arrays = arrays
        self._trees: list[int] = []
        self._ids: list[int] = []
        self._features: list[int] = []
        self._modes: list[str] = []
        self._values: list[float] = []
        self._true: list[int] = []
        self._false: list[int] = []
        self._missing_true: list[int] = []
        offsets = arrays["offsets"]
        is_leaf = arrays["left"] < 0
        #: Nodes that are leaves, over all trees.
        self.leaves = np.flatnonzero(is_leaf)
        before = np.concatenate([[0], np.cumsum(is_leaf)])
        #: Where each tree's leaves begin among them.
        self.first_leaf = before[offsets[:-1]]
        self._number = before[:-1]
        for tree in range(len(offsets) - 1):
            self._add_tree(tree, int(offsets[tree]), int(offsets[tree + 1]))

    def _add_tree(self, tree: int, start: int, end: int) -> None:
        a = self._arrays
        leaves = self._number[end - 1] + 1 - self.first_leaf[tree]
        if leaves > _MOST_LEAVES:
            raise ValueError(
                f"tree {tree} has {leaves} leaves; at most {_MOST_LEAVES} can be exported to ONNX."
            )
        extra = end - start
        for node in range(start, end):
            own = node - start
            left, right = int(a["left"][node]), int(a["right"][node])
            if left < 0:
                self._add(tree, own, 0, "LEAF", 0.0, 0, 0, False)
                continue
            feature, missing = int(a["feature"][node]), bool(a["missing_left"][node])
            codes = self._codes(node)
            if codes is None:
                threshold = _rounded_down(float(a["threshold"][node]))
                self._add(tree, own, feature, "BRANCH_LEQ", threshold, left, right, missing)
                continue
            # One question a code; a yes goes left, and so may a missing value at the first.
            at = own
            for number, code in enumerate(codes):
                last = number + 1 == len(codes)
                onward = right if last else extra
                self._add(
                    tree, at, feature, "BRANCH_EQ", code, left, onward, missing and number == 0
                )
                if not last:
                    at, extra = extra, extra + 1

    def _codes(self, node: int) -> list[float] | None:
        start, end = self._arrays["category_offsets"][node : node + 2]
        if start == end:
            return None
        words = self._arrays["category_bits"][start:end]
        bits = (words[:, None] >> np.arange(64, dtype=np.uint64)) & np.uint64(1)
        codes = np.flatnonzero(bits.ravel()).astype(float).tolist()
        # A question that only missing values answer with yes.
        return codes or [-1.0]

    def _add(
        self,
        tree: int,
        node: int,
        feature: int,
        mode: str,
        value: float,
        true: int,
        false: int,
        missing_true: bool,
    ) -> None:
        self._trees.append(tree)
        self._ids.append(node)
        self._features.append(feature)
        self._modes.append(mode)
        self._values.append(value)
        self._true.append(true)
        self._false.append(false)
        self._missing_true.append(int(missing_true))

    def attributes(self) -> dict[str, Any]:
        """Return the operator's attributes: target t is the leaf of tree t."""
        offsets = self._arrays["offsets"]
        tree = np.searchsorted(offsets, self.leaves, side="right") - 1
        return {
            "domain": "ai.onnx.ml",
            "n_targets": len(self.first_leaf),
            "aggregate_function": "SUM",
            "post_transform": "NONE",
            "nodes_treeids": self._trees,
            "nodes_nodeids": self._ids,
            "nodes_featureids": self._features,
            "nodes_modes": self._modes,
            "nodes_values": self._values,
            "nodes_truenodeids": self._true,
            "nodes_falsenodeids": self._false,
            "nodes_missing_value_tracks_true": self._missing_true,
            "nodes_hitrates": [1.0] * len(self._trees),
            "target_treeids": tree.tolist(),
            "target_nodeids": (self.leaves - offsets[tree]).tolist(),
            "target_ids": tree.tolist(),
            "target_weights": (self._number[self.leaves] - self.first_leaf[tree])
            .astype(float)
            .tolist(),
        }


def _rounded_down(threshold: float) -> float:
    """Return the largest single-precision number that is not above a threshold."""
    with np.errstate(over="ignore"):
        near = np.float32(threshold)
    if float(near) > threshold:
        near = np.nextafter(near, np.float32(-np.inf))
    return float(near)
