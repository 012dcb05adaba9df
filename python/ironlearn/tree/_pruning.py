"""Minimal cost-complexity pruning.

Breiman, Friedman, Olshen and Stone, "Classification and Regression Trees", 1984, chapter 3.
"""

from __future__ import annotations

import heapq
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ironlearn import _core


def prune(model: _core.ForestModel, alpha: float) -> _core.ForestModel:
    """Return the smallest subtree whose weakest link is stronger than `alpha`."""
    arrays = model.arrays()
    cut, _, _ = _weakest_links(arrays, alpha)
    return _without(model, arrays, cut) if cut else model


def path(model: _core.ForestModel) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the effective alphas of successive prunings and the leaves' total impurity."""
    _, alphas, impurities = _weakest_links(model.arrays(), np.inf)
    return np.array(alphas), np.array(impurities)


def _weakest_links(
    arrays: dict[str, NDArray[Any]], limit: float
) -> tuple[set[int], list[float], list[float]]:
    left, right = arrays["left"].tolist(), arrays["right"].tolist()
    weight = arrays["weighted_n_node_samples"]
    own = (weight * arrays["impurity"] / weight[0]).tolist()
    n = len(left)
    parent = [-1] * n
    branch, leaves = list(own), [1] * n
    for node in range(n - 1, -1, -1):
        if left[node] >= 0:
            a, b = left[node], right[node]
            parent[a] = parent[b] = node
            branch[node] = branch[a] + branch[b]
            leaves[node] = leaves[a] + leaves[b]

    def link(node: int) -> float:
        return (own[node] - branch[node]) / (leaves[node] - 1)

    heap = [(link(node), node) for node in range(n) if left[node] >= 0]
    heapq.heapify(heap)
    gone = [False] * n
    cut: set[int] = set()
    alphas, impurities = [0.0], [branch[0]]
    while heap:
        alpha, node = heapq.heappop(heap)
        if gone[node] or node in cut or alpha != link(node):
            continue
        if limit < alpha:
            break
        cut.add(node)
        below = [left[node], right[node]]
        while below:
            child = below.pop()
            gone[child] = True
            if left[child] >= 0 and child not in cut:
                below += (left[child], right[child])
        # Sums are taken anew from the children, so that no rounding accumulates.
        branch[node], leaves[node] = own[node], 1
        up = parent[node]
        while up >= 0:
            branch[up] = branch[left[up]] + branch[right[up]]
            leaves[up] = leaves[left[up]] + leaves[right[up]]
            heapq.heappush(heap, (link(up), up))
            up = parent[up]
        alphas.append(alpha)
        impurities.append(branch[0])
    return cut, alphas, impurities


def _without(
    model: _core.ForestModel, arrays: dict[str, NDArray[Any]], cut: set[int]
) -> _core.ForestModel:
    n = len(arrays["left"])
    keep = np.zeros(n, dtype=bool)
    keep[0] = True
    for node in range(n):
        if keep[node] and node not in cut and arrays["left"][node] >= 0:
            keep[arrays["left"][node]] = keep[arrays["right"][node]] = True
    index = np.cumsum(keep) - 1
    leaf = np.zeros(n, dtype=bool)
    leaf[list(cut)] = True
    out = {}
    for name, values in arrays.items():
        if name in ("offsets", "category_offsets", "category_bits"):
            continue
        values = values.copy()
        if name in ("left", "right"):
            values = np.where((values >= 0) & ~leaf, index[values], -1).astype(np.int32)
        elif name == "feature":
            values[leaf] = -2
        elif name == "threshold":
            values[leaf] = -2.0
        elif name == "missing_left":
            values[leaf] = False
        out[name] = np.ascontiguousarray(values[keep])
    sizes = np.diff(arrays["category_offsets"])
    words = np.repeat(keep & ~leaf, sizes)
    out["category_bits"] = arrays["category_bits"][words]
    kept = np.where(leaf, 0, sizes)[keep]
    out["category_offsets"] = np.concatenate([[0], np.cumsum(kept)]).astype(np.int64)
    out["offsets"] = np.array([0, int(keep.sum())], dtype=np.int64)
    return _core.ForestModel.from_arrays(model.class_counts, model.n_features, **out)
