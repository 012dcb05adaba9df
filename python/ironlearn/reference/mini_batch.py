"""Mini-batch k-means in plain Python."""

from __future__ import annotations

import math
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ironlearn._random import Stream
from ironlearn.reference._rows import Rows as Data
from ironlearn.reference.kmeans import Rows, _nearest, _shifted, _square, _weights

State = tuple[NDArray[Any], NDArray[np.float64], int]


class _Work:
    """Centres, their weights, and the weighted sums of the rows that they were given."""

    def __init__(
        self, rows: Rows, centres: NDArray[Any], counts: NDArray[np.float64], since: int
    ) -> None:
        self.rows, self.since, self.dtype = rows, since, centres.dtype
        self.centres: Rows = [[float(v) for v in centre] for centre in centres]
        self.counts = [float(c) for c in counts]
        self.sums = [
            [c * v for v in centre] for c, centre in zip(self.counts, self.centres, strict=True)
        ]

    def due(self, batch: int) -> bool:
        self.since += batch
        if 0 in self.counts or self.since >= 10 * len(self.counts):
            self.since = 0
            return True
        return False

    def step(self, batch: list[int], weights: list[float]) -> tuple[float, float, list[int]]:
        """Return the inertia, the centres' squared shifts, and the batch by cluster."""
        labels = [_nearest(self.rows[i], self.centres) for i in batch]
        inertia = math.fsum(
            weights[i] * _square(self.rows[i], self.centres[c])
            for i, c in zip(batch, labels, strict=True)
        )
        shift, order = 0.0, []
        for c in range(len(self.centres)):
            mine = [i for i, label in zip(batch, labels, strict=True) if label == c]
            order += mine
            for i in mine:
                self.counts[c] += weights[i]
                self.sums[c] = [
                    s + weights[i] * v for s, v in zip(self.sums[c], self.rows[i], strict=True)
                ]
            if mine and self.counts[c] > 0:
                new = np.array([s / self.counts[c] for s in self.sums[c]], dtype=self.dtype)
                shift += _square([float(v) for v in new], self.centres[c])
                self.centres[c] = [float(v) for v in new]
        return inertia, shift, order

    def reassign(self, ratio: float, order: list[int], stream: Stream) -> int:
        heaviest = self.counts.index(max(self.counts))
        poor = [
            c
            for c, count in enumerate(self.counts)
            if count < ratio * self.counts[heaviest] and c != heaviest
        ]
        most = len(order) // 2
        if len(poor) > most:
            poor = sorted(sorted(poor, key=lambda c: (self.counts[c], c))[:most])
        if not poor:
            return 0
        least = min(count for c, count in enumerate(self.counts) if c not in poor)
        for done, c in enumerate(poor):
            pick = done + stream.below(len(order) - done)
            order[done], order[pick] = order[pick], order[done]
            self.centres[c] = list(self.rows[order[done]])
            self.counts[c] = least
            self.sums[c] = [least * v for v in self.centres[c]]
        return len(poor)

    def state(self) -> State:
        return np.array(self.centres, dtype=self.dtype), np.array(self.counts), self.since


def _draw(stream: Stream, n: int, reached: list[float]) -> int:
    if not reached:
        return stream.below(n)
    goal = stream.next_f64() * reached[-1]
    for i, total in enumerate(reached):
        if total > goal:
            return i
    return reached.index(reached[-1])


def mini_batch_run(
    x: Data,
    offset: NDArray[Any],
    sample_weight: NDArray[np.float64] | None,
    centres: NDArray[Any],
    counts: NDArray[np.float64],
    *,
    since: int,
    batch_size: int,
    n_steps: int,
    tol: float,
    max_no_improvement: int | None,
    reassignment_ratio: float,
    seed: int,
    history: bool,
    n_threads: int,
) -> tuple[State, int, str, float, list[tuple[float, float, int]]]:
    """Run steps on batches drawn with replacement, by weight where there are weights."""
    rows = _shifted(x, offset)
    n = len(rows)
    reached = [] if sample_weight is None else list(accumulate(float(w) for w in sample_weight))
    work = _Work(rows, centres, counts, since)
    share = min(batch_size * 2.0 / (n + 1), 1.0)
    smoothed, lowest, idle = math.nan, math.inf, 0
    told: list[tuple[float, float, int]] = []
    end, step = "steps", 0
    while step < n_steps:
        stream = Stream(seed, step)
        batch = [_draw(stream, n, reached) for _ in range(batch_size)]
        due = work.due(batch_size)
        inertia, shift, order = work.step(batch, [1.0] * n)
        moved = 0
        if due and reassignment_ratio > 0:
            moved = work.reassign(reassignment_ratio, order, stream)
        step += 1
        mean = inertia / batch_size
        if step > 1:
            smoothed = mean if step == 2 else smoothed * (1 - share) + mean * share
        told.append((inertia, smoothed, moved))
        if step == 1:
            continue
        if tol > 0 and shift <= tol and not moved:
            end = "still"
            break
        if smoothed < lowest:
            lowest, idle = smoothed, 0
        else:
            idle += 1
        if max_no_improvement is not None and idle >= max_no_improvement:
            end = "no improvement"
            break
    if n_steps == 1:
        smoothed = told[0][0] / batch_size
    return work.state(), step, end, smoothed, told if history else []


def mini_batch_step(
    x: Data,
    offset: NDArray[Any],
    sample_weight: NDArray[np.float64] | None,
    centres: NDArray[Any],
    counts: NDArray[np.float64],
    *,
    since: int,
    reassignment_ratio: float,
    seed: int,
    step: int,
    n_threads: int,
) -> tuple[State, tuple[float, float, int]]:
    """Do one step on all rows with their weights."""
    rows = _shifted(x, offset)
    work = _Work(rows, centres, counts, since)
    due = work.due(len(rows))
    weights = _weights(sample_weight, len(rows))
    inertia, _, order = work.step(list(range(len(rows))), weights)
    moved = 0
    if due and reassignment_ratio > 0:
        moved = work.reassign(reassignment_ratio, order, Stream(seed, step))
    return work.state(), (inertia, inertia / len(rows), moved)
