"""The arrays of one fitted tree under scikit-learn's names."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ironlearn import _core

LEAF = -1
UNDEFINED = -2


class Tree:
    """One fitted tree, with the fields of scikit-learn's ``tree_``.

    Parameters
    ----------
    model : ForestModel
        A native model of one tree.

    Attributes
    ----------
    node_count, n_leaves, max_depth, n_features, n_outputs, max_n_classes : int
        Sizes.
    children_left, children_right : ndarray of shape (node_count,)
        Children of each node, -1 for leaves.
    feature : ndarray of shape (node_count,)
        Feature that each node tests, -2 for leaves.
    threshold : ndarray of shape (node_count,)
        Rows whose feature is at most this go left; -2 for leaves.
    missing_go_to_left : ndarray of shape (node_count,)
        Whether missing values go left.
    impurity, n_node_samples, weighted_n_node_samples : ndarray of shape (node_count,)
        Statistics of the training rows in each node.
    value : ndarray of shape (node_count, n_outputs, max_n_classes)
        Fractions of the classes in each node, or the predicted numbers.
    """

    def __init__(self, model: _core.ForestModel) -> None:
        self._model = model
        arrays = model.arrays()
        self.children_left: NDArray[np.int64] = arrays["left"].astype(np.int64)
        self.children_right: NDArray[np.int64] = arrays["right"].astype(np.int64)
        self.feature: NDArray[np.int64] = arrays["feature"].astype(np.int64)
        self.threshold: NDArray[np.float64] = arrays["threshold"]
        self.missing_go_to_left: NDArray[np.uint8] = arrays["missing_left"].astype(np.uint8)
        self.impurity: NDArray[np.float64] = arrays["impurity"]
        self.n_node_samples: NDArray[np.int64] = arrays["n_node_samples"]
        self.weighted_n_node_samples: NDArray[np.float64] = arrays["weighted_n_node_samples"]
        self.value: NDArray[np.float64] = arrays["value"].reshape(
            -1, model.n_outputs, model.n_classes
        )
        self._category_offsets = arrays["category_offsets"]
        self._category_bits = arrays["category_bits"]
        self.node_count = self.capacity = len(self.feature)
        self.n_features = model.n_features
        self.n_outputs = model.n_outputs
        counts = model.class_counts
        self.n_classes = np.array([1] * model.n_outputs if counts is None else counts)
        self.max_n_classes = model.n_classes
        self.n_leaves = int((self.children_left == LEAF).sum())
        self._depths = self._depth_of_nodes()
        self.max_depth = int(self._depths.max())

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._model,)

    def __getstate__(self) -> dict[str, Any]:
        """Return what scikit-learn's tree returns: the nodes as one structured array."""
        names = {
            "left_child": "children_left",
            "right_child": "children_right",
            "feature": "feature",
            "threshold": "threshold",
            "impurity": "impurity",
            "n_node_samples": "n_node_samples",
            "weighted_n_node_samples": "weighted_n_node_samples",
            "missing_go_to_left": "missing_go_to_left",
        }
        # Eight bytes a field, the flag as well: a node of 64 bytes.
        layout: Any = {
            "names": list(names),
            "formats": [getattr(self, attribute).dtype for attribute in names.values()],
            "offsets": [8 * i for i in range(len(names))],
            "itemsize": 8 * len(names),
        }
        nodes: NDArray[Any] = np.zeros(self.node_count, dtype=np.dtype(layout))
        for field, attribute in names.items():
            nodes[field] = getattr(self, attribute)
        return {
            "max_depth": self.max_depth,
            "node_count": self.node_count,
            "nodes": nodes,
            "values": self.value,
        }

    def _depth_of_nodes(self) -> NDArray[np.int64]:
        depths = np.zeros(self.node_count, dtype=np.int64)
        for node in np.flatnonzero(self.children_left != LEAF):
            # Parents come before their children.
            depths[self.children_left[node]] = depths[self.children_right[node]] = depths[node] + 1
        return depths

    def compute_node_depths(self) -> NDArray[np.int64]:
        """Return the depth of each node; the root's is 1, as in scikit-learn."""
        return self._depths + 1

    def categories_left(self, node: int) -> NDArray[np.int64] | None:
        """Return the category codes that go left at `node`, ``None`` for a threshold."""
        start, end = self._category_offsets[node : node + 2]
        if start == end:
            return None
        words = self._category_bits[start:end]
        bits = (words[:, None] >> np.arange(64, dtype=np.uint64)) & np.uint64(1)
        return np.flatnonzero(bits.ravel())

    def apply(self, X: NDArray[np.float32]) -> NDArray[np.int64]:
        """Return the leaf of each row."""
        return self._model.apply(np.ascontiguousarray(X, dtype=np.float32), n_threads=1)[:, 0]

    def predict(self, X: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the values of each row's leaf.

        The shape is (n_samples, n_classes), or (n_samples, n_outputs, max_n_classes).
        """
        values = self.value[self.apply(X)]
        return values[:, 0] if self.n_outputs == 1 else values

    def decision_path(self, X: NDArray[np.float32]) -> Any:
        """Return a CSR matrix with a one for each node that a row passes."""
        leaves = self.apply(X)
        parent = np.full(self.node_count, -1)
        inner = np.flatnonzero(self.children_left != LEAF)
        parent[self.children_left[inner]] = inner
        parent[self.children_right[inner]] = inner
        counts = self._depths[leaves] + 1
        indptr = np.concatenate([[0], np.cumsum(counts)])
        indices = np.empty(indptr[-1], dtype=np.int64)
        place, node = indptr[1:] - 1, leaves.copy()
        rows = np.arange(len(leaves))
        while len(rows):
            indices[place[rows]] = node[rows]
            place[rows] -= 1
            node[rows] = parent[node[rows]]
            rows = rows[node[rows] >= 0]
        data = np.ones(len(indices), dtype=np.int64)
        return sp.csr_matrix((data, indices, indptr), shape=(len(leaves), self.node_count))

    def compute_feature_importances(self, normalize: bool = True) -> NDArray[np.float64]:
        """Return each feature's total decrease of impurity."""
        inner = self.children_left != LEAF
        left, right = self.children_left[inner], self.children_right[inner]
        weighted = self.weighted_n_node_samples * self.impurity
        decrease = weighted[inner] - weighted[left] - weighted[right]
        importances = (
            np.bincount(self.feature[inner], weights=decrease, minlength=self.n_features)
            / self.weighted_n_node_samples[0]
        )
        total = importances.sum()
        return importances / total if normalize and total > 0 else importances
