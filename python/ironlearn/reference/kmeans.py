"""k-means in plain Python."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ironlearn._random import Stream
from ironlearn.reference._rows import Rows as Data
from ironlearn.reference._rows import dense_rows

Rows = list[list[float]]


def _shifted(x: Data, offset: NDArray[Any]) -> Rows:
    x = np.array(dense_rows(x), dtype=offset.dtype)
    return [[float(v - o) for v, o in zip(row, offset, strict=True)] for row in x]


def _square(a: Sequence[float], b: Sequence[float]) -> float:
    return math.fsum((v - w) ** 2 for v, w in zip(a, b, strict=True))


def _weights(sample_weight: NDArray[np.float64] | None, n: int) -> list[float]:
    return [1.0] * n if sample_weight is None else [float(w) for w in sample_weight]


def kmeans_moments(x: Data, *, n_threads: int) -> tuple[NDArray[Any], float]:
    """Return the column means and the mean of the columns' variances, in two passes.

    Zeros take the place of the means of a CSR matrix, which is not shifted.
    """
    filled = dense_rows(x)
    columns = [[float(v) for v in column] for column in zip(*filled, strict=True)]
    means = [math.fsum(c) / len(c) for c in columns]
    variances = [
        math.fsum((v - m) ** 2 for v in c) / len(c) for c, m in zip(columns, means, strict=True)
    ]
    if isinstance(x, np.ndarray):
        offset = np.array(means, dtype=x.dtype)
    else:
        offset = np.zeros(len(means), dtype=x[0].dtype)
    return offset, math.fsum(variances) / len(variances)


class _Field:
    """Squared distances to the nearest chosen row."""

    def __init__(self, rows: Rows, weights: list[float]) -> None:
        self.rows, self.weights = rows, weights
        self.closest = [math.inf] * len(rows)

    def with_row(self, i: int) -> list[float]:
        chosen = self.rows[i]
        return [
            min(near, _square(row, chosen))
            for near, row in zip(self.closest, self.rows, strict=True)
        ]

    def mass(self, closest: list[float]) -> float:
        return math.fsum(w * near for w, near in zip(self.weights, closest, strict=True))

    def draw(self, stream: Stream) -> int:
        total = self.mass(self.closest)
        u = stream.next_f64()
        if not total > 0:
            return min(int(u * len(self.rows)), len(self.rows) - 1)
        rest, last = u * total, 0
        for i, (w, near) in enumerate(zip(self.weights, self.closest, strict=True)):
            if w * near > 0:
                last = i
                if rest < w * near:
                    break
                rest -= w * near
        return last


def _first(weights: list[float], weighted: bool, stream: Stream) -> int:
    if not weighted:
        return stream.below(len(weights))
    rest, last = stream.next_f64() * math.fsum(weights), 0
    for i, w in enumerate(weights):
        if w > 0:
            last = i
            if rest < w:
                break
            rest -= w
    return last


def _extend(field: _Field, chosen: list[int], k: int, stream: Stream) -> list[int]:
    trials = 2 + int(math.log(k))
    while len(chosen) < k:
        drawn = [field.draw(stream) for _ in range(trials)]
        tried = [field.with_row(i) for i in drawn]
        masses = [field.mass(closest) for closest in tried]
        best = masses.index(min(masses))
        field.closest = tried[best]
        chosen.append(drawn[best])
    return chosen


def _plus_plus(
    rows: Rows, weights: list[float], weighted: bool, k: int, stream: Stream
) -> list[int]:
    chosen = [_first(weights, weighted, stream)]
    field = _Field(rows, weights)
    field.closest = field.with_row(chosen[0])
    return _extend(field, chosen, k, stream)


def _parallel(rows: Rows, weights: list[float], weighted: bool, k: int, stream: Stream) -> Rows:
    chosen = [_first(weights, weighted, stream)]
    field = _Field(rows, weights)
    field.closest = field.with_row(chosen[0])
    for _ in range(5):
        mass = field.mass(field.closest)
        if not mass > 0:
            break
        fresh = [
            i
            for i, (w, near) in enumerate(zip(weights, field.closest, strict=True))
            if stream.next_f64() < 2 * k / mass * w * near
        ]
        for i in fresh:
            field.closest = field.with_row(i)
        chosen += fresh
    if len(chosen) <= k:
        return [rows[i] for i in _extend(field, chosen, k, stream)]
    candidates = [rows[i] for i in chosen]
    near_mass = [0.0] * len(chosen)
    for row, w in zip(rows, weights, strict=True):
        near_mass[_nearest(row, candidates)] += w
    return [candidates[i] for i in _plus_plus(candidates, near_mass, True, k, stream)]


def kmeans_init(
    x: Data,
    offset: NDArray[Any],
    sample_weight: NDArray[np.float64] | None,
    *,
    n_clusters: int,
    method: str,
    seed: int,
    n_threads: int,
) -> NDArray[Any]:
    """Return starting centres, less the offset."""
    rows = _shifted(x, offset)
    weights = _weights(sample_weight, len(rows))
    weighted = sample_weight is not None
    stream = Stream(seed, 0)
    if method == "random":
        keys = []
        for i, w in enumerate(weights):
            u = 1 - stream.next_f64()
            keys.append((-math.log(u) / w if w > 0 else math.inf, i))
        found = [rows[i] for _, i in sorted(keys)[:n_clusters]]
    elif method == "k-means++":
        found = [rows[i] for i in _plus_plus(rows, weights, weighted, n_clusters, stream)]
    elif method == "k-means||":
        found = _parallel(rows, weights, weighted, n_clusters, stream)
    else:
        raise ValueError(f"init must be 'k-means++', 'k-means||' or 'random', got {method}.")
    return np.array(found, dtype=offset.dtype)


def _nearest(row: Sequence[float], centres: Rows) -> int:
    squares = [_square(row, centre) for centre in centres]
    return squares.index(min(squares))


def _inertia(rows: Rows, weights: list[float], centres: Rows, labels: list[int]) -> float:
    parts = zip(rows, weights, labels, strict=True)
    return math.fsum(w * _square(row, centres[label]) for row, w, label in parts)


def _means(rows: Rows, weights: list[float], old: Rows, labels: list[int]) -> Rows:
    k, width = len(old), len(rows[0])
    members = [{i for i, c in enumerate(labels) if c == j and weights[i] > 0} for j in range(k)]
    empty = [j for j in range(k) if not members[j]]
    if empty:
        order = sorted(
            (-_square(rows[i], old[c]), i) for i, c in enumerate(labels) if weights[i] > 0
        )
        if order[0][0] < 0:
            for j, (_, i) in zip(empty, order, strict=False):
                members[labels[i]].discard(i)
                members[j] = {i}
    totals = [math.fsum(weights[i] for i in sorted(m)) for m in members]
    heaviest = totals.index(max(totals))
    means = []
    for j in range(k):
        source = j if members[j] else heaviest
        mine = sorted(members[source])
        means.append(
            [
                math.fsum(weights[i] * rows[i][f] for i in mine) / totals[source]
                for f in range(width)
            ]
        )
    return means


def kmeans_run(
    x: Data,
    offset: NDArray[Any],
    sample_weight: NDArray[np.float64] | None,
    centres: NDArray[Any],
    *,
    max_iter: int,
    tol: float,
    algorithm: str,
    history: bool,
    n_threads: int,
) -> tuple[NDArray[Any], NDArray[np.int32], float, int, NDArray[np.float64], bool, float]:
    """Run Lloyd's iteration; both values of `algorithm` name the same answer."""
    rows = _shifted(x, offset)
    weights = _weights(sample_weight, len(rows))
    now: Rows = [[float(v) for v in centre] for centre in centres]
    labels: list[int] = []
    steps: list[float] = []
    n_iter, settled, shift = 0, False, math.inf
    while n_iter < max_iter:
        n_iter += 1
        found = [_nearest(row, now) for row in rows]
        new = _means(rows, weights, now, found)
        # Centres are of the type of X.
        new = [[float(v) for v in centre] for centre in np.array(new, dtype=offset.dtype)]
        steps.append(_inertia(rows, weights, now, found))
        shift = math.fsum(_square(a, b) for a, b in zip(now, new, strict=True))
        settled = found == labels
        now, labels = new, found
        if settled or shift <= tol:
            break
    if not settled:
        labels = [_nearest(row, now) for row in rows]
    return (
        np.array(now, dtype=offset.dtype),
        np.array(labels, dtype=np.int32),
        _inertia(rows, weights, now, labels),
        n_iter,
        np.array(steps if history else []),
        settled,
        shift,
    )
