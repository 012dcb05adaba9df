"""Growing a forest step by step, with progress."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ironlearn import _core

#: Sums of the answers of the trees that did not draw a row, and how many those are.
Votes = tuple[NDArray[np.float64], NDArray[np.int64]]


def add(votes: Votes, more: Votes | None) -> Votes:
    """Add up votes of different trees."""
    return votes if more is None else (votes[0] + more[0], votes[1] + more[1])


def grow(
    some: Callable[[int, int], tuple[_core.ForestModel, Votes | None]], wanted: int, verbose: int
) -> tuple[_core.ForestModel, Votes | None]:
    """Grow `wanted` trees, where ``some(done, count)`` grows the next ones.

    A forest grown in steps is the forest grown at once, since each tree has its own number.
    """
    step = wanted
    if verbose:
        step = 1 if verbose > 1 else max(1, wanted // 20)
    models: list[_core.ForestModel] = []
    votes: Votes | None = None
    start = time.perf_counter()
    for done in range(0, wanted, step):
        count = min(step, wanted - done)
        model, part = some(done, count)
        models.append(model)
        votes = part if votes is None else add(votes, part)
        if verbose:
            seconds = time.perf_counter() - start
            print(f"{done + count} of {wanted} trees in {seconds:.1f} s", flush=True)
    return models[0] if len(models) == 1 else _core.ForestModel.concat(models), votes
