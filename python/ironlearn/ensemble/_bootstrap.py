"""Bootstrap samples: rows' weights, how many rows are drawn, and which."""

from __future__ import annotations

import numbers
import warnings
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.class_weight import compute_sample_weight

from ironlearn import _core, _random
from ironlearn.ensemble._steps import Votes

#: Keeps bootstrap draws apart from the choices within trees: "bootstra" in ASCII.
_BOOTSTRAP = 0x626F6F7473747261


def n_draws(max_samples: Any, rows: int, weights: NDArray[np.float64] | None) -> int:
    """Return how many rows each tree draws.

    A fraction is one of the total weight, so that a row of weight 2 counts as two rows.
    """
    if max_samples is None:
        return rows
    if isinstance(max_samples, numbers.Integral):
        return int(max_samples)
    total = rows if weights is None else float(weights.sum())
    if max_samples * total >= 1 << 32:
        raise ValueError(
            f"max_samples={max_samples} of a total weight of {total} is too large: fewer than "
            "2**32 rows can be drawn."
        )
    draws = max(int(max_samples * total), 1)
    if draws < min(rows, max(10, rows ** (1 / 3))):
        what = "the number of rows is" if weights is None else "the sum of the weights is"
        warnings.warn(
            f"max_samples={max_samples} draws only {draws} rows for each tree, because {what} "
            f"{total}: give max_samples as an integer.",
            UserWarning,
            stacklevel=4,
        )
    return draws


def drawn_rows(
    seed: int, tree: int, rows: int, draws: int, weights: NDArray[np.float64] | None
) -> NDArray[np.int32]:
    """Return the rows that the tree with this number drew, in the order of drawing."""
    words = _random.words(seed ^ _BOOTSTRAP, tree, draws)
    if weights is None:
        return _random.below(words, rows).astype(np.int32)
    sums = np.cumsum(weights)
    # Rows of weight 0 repeat the sum before them, so they are never the first above a number.
    found = np.searchsorted(sums, _random.unit(words) * sums[-1], side="right")
    last = np.searchsorted(sums, sums[-1], side="left")
    return np.where(found < rows, found, last).astype(np.int32)


def class_weighted(
    class_weight: Any,
    y: Any,
    codes: NDArray[np.uint32],
    weights: NDArray[np.float64] | None,
) -> NDArray[np.float64]:
    """Return the rows' weights times those of their classes, of all outputs.

    A string balances the classes: each weighs the same, its rows' own weights included.
    """
    if isinstance(class_weight, str):
        expanded = np.ones(len(codes))
        for column in codes.reshape(len(codes), -1).T:
            sums = np.bincount(column, weights)
            # A class whose rows all weigh nothing has no weight to balance.
            scale = sums.sum() / (len(sums) * np.where(sums > 0, sums, 1.0))
            expanded *= scale[column]
    else:
        expanded = compute_sample_weight(class_weight, np.asarray(y).reshape(codes.shape))
    return expanded if weights is None else weights * expanded


def out_of_bag_votes(
    model: _core.ForestModel,
    X: NDArray[np.float32],
    drawn: Iterable[NDArray[np.int32]],
    n_threads: int,
) -> Votes:
    """Sum up what each tree answers for the rows which it did not draw, and count the trees.

    `drawn` are the rows of the model's first trees.
    """
    votes: NDArray[np.float64] | None = None
    voters = np.zeros(len(X), dtype=np.int64)
    for index, rows in enumerate(drawn):
        tree = model.tree(index)
        values = tree.arrays()["value"]
        if votes is None:
            votes = np.zeros((len(X), values.shape[1]))
        unseen = np.ones(len(X), dtype=bool)
        unseen[rows] = False
        if unseen.any():
            leaves = tree.apply(X[unseen], n_threads=n_threads)[:, 0]
            votes[unseen] += values[leaves]
            voters += unseen
    assert votes is not None
    return votes, voters
