"""A forest in plain Python.

Breiman, "Random forests", Machine Learning 45, 2001; with random thresholds Geurts, Ernst and
Wehenkel, "Extremely randomized trees", Machine Learning 63, 2006.
"""

from __future__ import annotations

from collections import Counter
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from ironlearn._random import Stream
from ironlearn.reference._splits import Settings
from ironlearn.reference.tree import Arrays, grow, joined, leaf_of, most_classes, prepare

#: Keeps bootstrap draws apart from the choices within trees: "bootstra" in ASCII.
_BOOTSTRAP = int.from_bytes(b"bootstra")


def forest_fit(
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
    n_trees: int,
    first_tree: int,
    bootstrap: bool,
    n_draws: int,
    balanced_subsample: bool,
    oob: bool,
    n_threads: int,
) -> tuple[Arrays, tuple[NDArray[np.float64], NDArray[np.int64]] | None]:
    """Grow a forest; return its arrays and, where asked for, the out-of-bag votes.

    The votes on a row are added up; beside the sums stands how many trees gave them.
    """
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
    trees = []
    drawn: list[Counter[int]] = []
    for tree in range(first_tree, first_tree + n_trees):
        if not bootstrap:
            trees.append(grow(data, settings, sample_weight, tree))
            continue
        counts = draw(len(x), sample_weight, n_draws, seed, tree)
        drawn.append(counts)
        weights = tree_weights(y, counts, balanced_subsample)
        trees.append(grow(data, settings, weights, tree))
    arrays = joined(trees)
    if not (oob and bootstrap):
        return arrays, None
    votes = np.zeros((len(x), arrays["value"].shape[1]))
    voters = np.zeros(len(x), dtype=np.int64)
    for tree, counts in enumerate(drawn):
        for row in range(len(x)):
            if row not in counts:
                leaf = arrays["offsets"][tree] + leaf_of(arrays, tree, x[row])
                votes[row] += arrays["value"][leaf]
                voters[row] += 1
    return arrays, (votes, voters)


def draw(
    rows: int, weight: NDArray[np.float64] | None, n_draws: int, seed: int, tree: int
) -> Counter[int]:
    """Return how often each row is drawn, with replacement, in proportion to its weight."""
    stream = Stream(seed ^ _BOOTSTRAP, tree)
    if weight is None:
        return Counter(stream.below(rows) for _ in range(n_draws))
    # Rows of weight 0 repeat the sum before them, so they are never the first above a number.
    sums = list(accumulate(float(w) for w in weight))
    last = next(row for row, upto in enumerate(sums) if upto >= sums[-1])
    places = [stream.next_f64() * sums[-1] for _ in range(n_draws)]
    return Counter(
        next((row for row, upto in enumerate(sums) if upto > place), last) for place in places
    )


def tree_weights(
    y: NDArray[np.uint32] | NDArray[np.float64], counts: Counter[int], balanced: bool
) -> NDArray[np.float64]:
    """Return each row's draws, times its class's weight where classes are balanced."""
    weights = np.array([float(counts[row]) for row in range(len(y))])
    if not balanced or y.dtype == np.float64:
        return weights
    for column in y.reshape(len(y), -1).T:
        per_class: Counter[int] = Counter()
        for row, count in counts.items():
            per_class[int(column[row])] += count
        total = sum(per_class.values())
        scale = {code: total / (len(per_class) * count) for code, count in per_class.items()}
        weights = weights * np.array([scale.get(int(code), 0.0) for code in column])
    return weights
