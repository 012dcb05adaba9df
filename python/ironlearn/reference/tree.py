"""One exact decision tree in plain Python: which nodes there are, in which order.

Breiman, Friedman, Olshen and Stone, "Classification and Regression Trees", 1984. Numbers are
added up in the order in which the native engine adds them up and logarithms are those of the
same C library, so that trees are equal node by node for every setting. Weights that depend on
the class alone are the exception: the native engine may multiply where this adds up, so that
their sums, and the scores of splits, are equal to rounding only.
"""

from __future__ import annotations

import heapq
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ironlearn._random import Stream
from ironlearn.reference import _numbers
from ironlearn.reference._splits import (
    EPSILON,
    Data,
    Node,
    Quantiles,
    Settings,
    Side,
    Split,
    best_split,
    child_key,
    mean_impurity,
    total_of,
)

Arrays = dict[str, NDArray[Any]]
_DTYPES: dict[str, type] = {
    "left": np.int32,
    "right": np.int32,
    "feature": np.int32,
    "threshold": np.float64,
    "missing_left": np.bool_,
    "impurity": np.float64,
    "n_node_samples": np.int64,
    "weighted_n_node_samples": np.float64,
    "value": np.float64,
}


def tree_fit(
    x: NDArray[np.float32],
    y: NDArray[np.uint32] | NDArray[np.float64],
    sample_weight: NDArray[np.float64] | None,
    *,
    n_classes: int | list[int] | None,
    criterion: str,
    splitter: str,
    max_depth: int,
    min_samples_split: int,
    min_samples_leaf: int,
    min_weight_leaf: float,
    max_features: int,
    max_leaf_nodes: int,
    min_impurity_decrease: float,
    max_bins: int,
    categorical: NDArray[np.bool_] | None,
    monotonic: NDArray[np.int8] | None,
    seed: int,
    n_threads: int,
) -> Arrays:
    """Grow one tree; return its arrays as ``ForestModel.arrays`` does."""
    settings = Settings(
        n_classes=most_classes(n_classes),
        criterion=criterion,
        splitter=splitter,
        max_depth=max_depth,
        min_samples_split=min_samples_split,
        min_samples_leaf=min_samples_leaf,
        min_weight_leaf=min_weight_leaf,
        max_features=max_features,
        max_leaf_nodes=max_leaf_nodes,
        min_impurity_decrease=min_impurity_decrease,
        max_bins=max_bins,
        seed=seed,
    )
    data = prepare(x, y, settings, categorical, monotonic)
    return joined([grow(data, settings, sample_weight, 0)])


def most_classes(n_classes: int | list[int] | None) -> int:
    """Return the most classes of an output; 1 for numbers."""
    if n_classes is None:
        return 1
    return n_classes if isinstance(n_classes, int) else max(n_classes)


def prepare(
    x: NDArray[np.float32],
    y: NDArray[np.uint32] | NDArray[np.float64],
    settings: Settings,
    categorical: NDArray[np.bool_] | None,
    monotonic: NDArray[np.int8] | None,
) -> Data:
    """Check the values; sort them into bins where bins are asked for."""
    rows = [[float(value) for value in row] for row in x]
    if any(math.isinf(value) for row in rows for value in row):
        raise ValueError("Input X contains infinity or a value too large for its dtype.")
    width = x.shape[1]
    kinds = [False] * width if categorical is None else [bool(c) for c in categorical]
    bins: list[Quantiles | None] = [None] * width
    if settings.max_bins > 0:
        for feature in range(width):
            values = [row[feature] for row in rows if not math.isnan(row[feature])]
            if values and not kinds[feature]:
                bins[feature] = Quantiles(values, settings.max_bins)
    constraints = None if monotonic is None else [int(m) for m in monotonic]
    columns = y.reshape(len(rows), -1)
    if y.dtype == np.float64:
        numbers = [[float(value) for value in row] for row in columns]
        return Data(rows, [], width, kinds, constraints, bins, numbers)
    codes = [[int(code) for code in row] for row in columns]
    return Data(rows, codes, width, kinds, constraints, bins)


def grow(
    data: Data, settings: Settings, weight: NDArray[np.float64] | None, tree: int
) -> list[dict[str, Any]]:
    """Return the nodes of the tree with this number, grown on the rows of positive weight."""
    weights = [1.0] * len(data.rows) if weight is None else [float(w) for w in weight]
    kind = _NumberGrower if data.values is not None else _Grower
    grower = kind(data, settings, weights)
    root = Node(
        rows=[row for row, w in enumerate(weights) if w > 0],
        key=Stream(settings.seed, tree).next_u64(),
        depth=0,
        bounds=(-math.inf, math.inf),
    )
    if settings.max_leaf_nodes < 0:
        grower.depth_first(root)
    else:
        grower.best_first(root, settings.max_leaf_nodes)
    return grower.nodes


class _Grower:
    def __init__(self, data: Data, settings: Settings, weights: list[float]) -> None:
        self.data = data
        self.settings = settings
        self.weights = weights
        self.nodes: list[dict[str, Any]] = []
        self.total = 0.0

    def depth_first(self, root: Node) -> None:
        """Split nodes in preorder."""
        stack = [root]
        while stack:
            found = self.open(stack.pop())
            if found is not None:
                index, _, split, left, right = found
                self.write(index, split)
                stack += (right, left)

    def best_first(self, root: Node, leaves: int) -> None:
        """Split the node that lowers the impurity most, until there are so many leaves."""
        frontier: list[tuple[float, int, tuple[Split, Node, Node]]] = []

        def offer(node: Node) -> None:
            found = self.open(node)
            if found is not None:
                index, improvement, split, left, right = found
                heapq.heappush(frontier, (-improvement, index, (split, left, right)))

        offer(root)
        made = 1
        while made < leaves and frontier:
            _, index, (split, left, right) = heapq.heappop(frontier)
            self.write(index, split)
            offer(left)
            offer(right)
            made += 1

    def open(self, node: Node) -> tuple[int, float, Split, Node, Node] | None:
        """Add a node as a leaf; return its index, its best split, what that gains, its children.

        The answer is ``None`` where the node must stay a leaf.
        """
        settings = self.settings
        own = self.side(node.rows)
        if node.parent is None:
            self.total = own.weight
        index = self.add(node, own)
        if (
            (0 <= settings.max_depth <= node.depth)
            or len(node.rows) < settings.min_samples_split
            or len(node.rows) // 2 < settings.min_samples_leaf
            or own.weight < 2.0 * settings.min_weight_leaf
            or own.impurity <= EPSILON
        ):
            return None
        split = self.search(node, own)
        if split is None:
            return None
        cells = [(row, self.data.rows[row][split.feature]) for row in node.rows]
        left_rows = [row for row, value in cells if split.goes_left(value)]
        right_rows = [row for row, value in cells if not split.goes_left(value)]
        left, right = self.side(left_rows), self.side(right_rows)
        improvement = (own.weight / self.total) * (
            own.impurity
            - right.weight / own.weight * right.impurity
            - left.weight / own.weight * left.impurity
        )
        if improvement + EPSILON < settings.min_impurity_decrease:
            return None
        bounds = self.bounds_below(node, split, left, right)
        children = [
            Node(rows, child_key(node.key, is_left), node.depth + 1, bound, (index, is_left))
            for rows, is_left, bound in zip(
                (left_rows, right_rows), (True, False), bounds, strict=True
            )
        ]
        return index, improvement, split, children[0], children[1]

    def search(self, node: Node, own: Any) -> Split | None:
        return best_split(self.data, self.settings, self.weights, node, own.counts)

    def side(self, rows: list[int]) -> Any:
        classes = self.settings.n_classes
        counts = [0.0] * (classes * len(self.data.y[0]))
        for row in rows:
            for k, code in enumerate(self.data.y[row]):
                counts[k * classes + code] += self.weights[row]
        weight = total_of(counts[:classes])
        return Side(counts, weight, mean_impurity(self.settings, counts, weight))

    def value(self, node: Node, own: Any) -> list[float]:
        """Return what a leaf predicts."""
        shares = [count / own.weight for count in own.counts]
        if self.data.monotonic is not None and len(shares) == 2:
            low, high = node.bounds
            shares[1] = min(max(shares[1], low), high)
            shares[0] = 1.0 - shares[1]
        return shares

    def middle(self, left: Any, right: Any) -> float | None:
        """Return the bound between two children whose prediction must rise or fall."""
        if self.settings.n_classes < 2:
            return None
        return float(left.counts[1] / left.weight / 2.0 + right.counts[1] / right.weight / 2.0)

    def add(self, node: Node, own: Any) -> int:
        index = len(self.nodes)
        self.nodes.append(
            {
                "left": -1,
                "right": -1,
                "feature": -2,
                "threshold": -2.0,
                "missing_left": False,
                "impurity": own.impurity,
                "n_node_samples": len(node.rows),
                "weighted_n_node_samples": own.weight,
                "value": self.value(node, own),
                "codes": [],
            }
        )
        if node.parent is not None:
            parent, is_left = node.parent
            self.nodes[parent]["left" if is_left else "right"] = index
        return index

    def write(self, index: int, split: Split) -> None:
        self.nodes[index] |= {
            "feature": split.feature,
            "threshold": split.threshold,
            "missing_left": split.missing_left,
            "codes": split.left_codes,
        }

    def bounds_below(
        self, node: Node, split: Split, left: Any, right: Any
    ) -> tuple[tuple[float, float], tuple[float, float]]:
        """Return what the constraint on the split's feature leaves to either child."""
        low, high = node.bounds
        direction = 0 if self.data.monotonic is None else self.data.monotonic[split.feature]
        middle = self.middle(left, right)
        if direction == 0 or middle is None:
            return node.bounds, node.bounds
        if direction > 0:
            return (low, middle), (middle, high)
        return (middle, high), (low, middle)


class _NumberGrower(_Grower):
    """The same where targets are numbers."""

    def __init__(self, data: Data, settings: Settings, weights: list[float]) -> None:
        super().__init__(data, settings, weights)
        assert data.values is not None
        self.targets = _numbers.Targets(data.values, weights, settings.criterion)

    def search(self, node: Node, own: Any) -> Split | None:
        return _numbers.best_split(self.data, self.targets, self.settings, node, own)

    def side(self, rows: list[int]) -> Any:
        return self.targets.side(rows)

    def value(self, node: Node, own: Any) -> list[float]:
        low, high = node.bounds
        return [min(max(value, low), high) for value in own.value]

    def middle(self, left: Any, right: Any) -> float | None:
        return float(left.value[0] / 2.0 + right.value[0] / 2.0)


def joined(trees: list[list[dict[str, Any]]]) -> Arrays:
    """Return the arrays of all trees, one after the other."""
    nodes = [node for tree in trees for node in tree]
    out: Arrays = {
        name: np.array([node[name] for node in nodes], dtype=dtype)
        for name, dtype in _DTYPES.items()
    }
    out["value"] = out["value"].reshape(len(nodes), -1)
    out["offsets"] = np.cumsum([0, *(len(tree) for tree in trees)]).astype(np.int64)
    sizes = [len(node["codes"]) for node in nodes]
    out["category_offsets"] = np.cumsum([0, *sizes]).astype(np.int64)
    words = [word for node in nodes for word in node["codes"]]
    out["category_bits"] = np.array(words, dtype=np.uint64)
    return out


def leaf_of(arrays: Arrays, tree: int, row: NDArray[np.float32]) -> int:
    """Return the leaf of a row, numbered within the tree."""
    start = int(arrays["offsets"][tree])
    at = 0
    while arrays["left"][start + at] >= 0:
        node = start + at
        words = slice(*arrays["category_offsets"][node : node + 2])
        split = Split(
            feature=int(arrays["feature"][node]),
            threshold=float(arrays["threshold"][node]),
            missing_left=bool(arrays["missing_left"][node]),
            left_codes=[int(word) for word in arrays["category_bits"][words]],
        )
        side = "left" if split.goes_left(float(row[split.feature])) else "right"
        at = int(arrays[side][node])
    return at


def apply(arrays: Arrays, x: NDArray[np.float32], *, n_threads: int) -> NDArray[np.int64]:
    """Return the leaf of each row in each tree, as ``ForestModel.apply`` does."""
    trees = range(len(arrays["offsets"]) - 1)
    return np.array([[leaf_of(arrays, tree, row) for tree in trees] for row in x], dtype=np.int64)


def predict_values(
    arrays: Arrays, x: NDArray[np.float32], *, n_threads: int
) -> NDArray[np.float64]:
    """Return the mean of the trees' numbers, as ``ForestModel.predict_values`` does."""
    leaves = apply(arrays, x, n_threads=n_threads)
    out = np.zeros((len(x), arrays["value"].shape[1]))
    for i, row in enumerate(leaves):
        for start, leaf in zip(arrays["offsets"], row, strict=False):
            out[i] += arrays["value"][start + leaf]
    return out / leaves.shape[1]


def predict_proba(
    arrays: Arrays, x: NDArray[np.float32], *, voting: str, n_threads: int
) -> NDArray[np.float64]:
    """Return class probabilities, as ``ForestModel.predict_proba`` does."""
    n_classes = arrays["value"].shape[1]
    leaves = apply(arrays, x, n_threads=n_threads)
    out = np.zeros((len(x), n_classes))
    for i, row in enumerate(leaves):
        for start, leaf in zip(arrays["offsets"], row, strict=False):
            shares = arrays["value"][start + leaf]
            if voting == "hard":
                shares = np.eye(n_classes)[shares.argmax()]
            out[i] += shares
    return out / leaves.shape[1]
