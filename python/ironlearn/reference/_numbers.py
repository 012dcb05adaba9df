"""The best split of one node in plain Python, where targets are numbers.

The squared error and the Poisson deviance are known from sums, which are added up in the order
in which the native engine adds them up, so that trees are equal to the last bit. Distances to
the median are formed anew for each cut, while the native engine moves the median along: they
are equal to rounding.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ironlearn._random import Stream
from ironlearn.reference._splits import (
    Data,
    Node,
    Settings,
    Split,
    code_set,
    midpoint,
    order_by_means,
    tie_rank,
    total_of,
)

#: Targets that add up to no more have no mean that the Poisson deviance allows.
_NO_MEAN = 10.0 * 2.0**-52
# Shares of a node's sum below this are what rounding leaves of a side of zeros.
_NO_SHARE = 1e-11


@dataclass(frozen=True)
class Side:
    """Statistics of some rows; lists have one number an output."""

    weight: float
    impurity: float
    #: The prediction: means, or medians.
    value: list[float]
    #: What is subtracted from targets before sums are formed.
    shift: list[float] = field(default_factory=list)
    #: Weighted sums of what is left.
    total: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Targets:
    """Numbers to predict, with weights."""

    y: list[list[float]]
    weights: list[float]
    criterion: str

    @property
    def whole(self) -> bool:
        """Whether all targets are whole numbers that add up exactly."""
        rows = len(self.y)
        return all(v.is_integer() and abs(v) * rows <= 2.0**53 for row in self.y for v in row)

    def side(self, rows: Sequence[int]) -> Side:
        """Return the statistics of these rows."""
        weight = 0.0
        for row in rows:
            weight += self.weights[row]
        value, shift, total, error = [], [], [], 0.0
        for k in range(len(self.y[0])):
            cells = [(self.weights[row], self.y[row][k]) for row in rows]
            if self.criterion == "absolute_error":
                middle = median(cells)
                value.append(middle)
                error += loss(cells, middle)
                continue
            summed = 0.0
            for w, target in cells:
                summed += w * target
            mean = summed / weight
            value.append(mean)
            part = 0.0
            if self.criterion == "poisson":
                shift.append(0.0)
                total.append(summed)
                if summed > _NO_MEAN:
                    for w, target in cells:
                        part += w * (target * math.log(target / mean)) if target > 0 else 0.0
            else:
                shift.append(_rounded(mean) if self.whole else mean)
                rest = 0.0
                for w, target in cells:
                    rest += w * (target - shift[k])
                    part += w * (target - mean) * (target - mean)
                total.append(rest)
            error += part
        return Side(weight, error / (weight * len(value)), value, shift, total)

    def score(self, left: list[float], left_weight: float, node: Side) -> float:
        """Return the part of the gain that a cut decides, from the sums on its left."""
        right_weight = node.weight - left_weight
        score = 0.0
        for part, total in zip(left, node.total, strict=True):
            rest = total - part
            if self.criterion == "poisson":
                if min(part, rest) <= max(_NO_MEAN, _NO_SHARE * (part + rest)):
                    score = -math.inf
                else:
                    score += part * math.log(part / left_weight)
                    score += rest * math.log(rest / right_weight)
            else:
                squares = part * part * right_weight + rest * rest * left_weight
                score += squares / (left_weight * right_weight)
        return score


def median(cells: list[tuple[float, float]]) -> float:
    """Return the weighted median of (weight, value); the middle of two where both will do."""
    cells = sorted(cells, key=lambda cell: cell[1])
    half = total_of(w for w, _ in cells) / 2.0
    below = 0.0
    for i, (weight, value) in enumerate(cells):
        below += weight
        if below > half:
            return value
        if below == half and i + 1 < len(cells):
            return (value + cells[i + 1][1]) / 2.0
    return cells[-1][1]


def loss(cells: list[tuple[float, float]], middle: float) -> float:
    """Return the weighted sum of distances to `middle`."""
    error = 0.0
    for weight, value in sorted(cells, key=lambda cell: cell[1]):
        error += weight * abs(value - middle)
    return error


def _rounded(value: float) -> float:
    low = math.floor(abs(value))
    return math.copysign(low + (abs(value) - low >= 0.5), value)


@dataclass
class _Cut:
    score: float
    #: The last of the present rows on the left.
    at: int
    missing_left: bool


def best_split(
    data: Data, targets: Targets, settings: Settings, node: Node, own: Side
) -> Split | None:
    """Return the best split of a node that the settings allow, if there is one."""
    search = _Search(data, targets, settings, node, own)
    stream = Stream(node.key, 0)
    features = list(range(data.width))
    varying = 0
    for drawn in range(data.width):
        if drawn >= settings.max_features and varying > 0:
            break
        if settings.max_features < data.width:
            other = drawn + stream.below(data.width - drawn)
            features[drawn], features[other] = features[other], features[drawn]
        varying += search.try_feature(features[drawn])
    return search.split


class _Search:
    def __init__(
        self, data: Data, targets: Targets, settings: Settings, node: Node, own: Side
    ) -> None:
        self.data = data
        self.targets = targets
        self.settings = settings
        self.node = node
        self.own = own
        self.split: Split | None = None
        self.best = (-math.inf, 0)

    def try_feature(self, feature: int) -> bool:
        """Try the splits of one feature; false where it is constant in this node."""
        bins = self.data.bins[feature]
        present: list[tuple[float, int]] = []
        missing: list[int] = []
        for row in self.node.rows:
            value = self.data.rows[row][feature]
            if math.isnan(value):
                missing.append(row)
            else:
                present.append((value + 0.0 if bins is None else bins.code(value), row))
        if not present:
            return False
        if not missing and all(value == present[0][0] for value, _ in present):
            return False
        if self.data.categorical[feature]:
            self.try_categories(feature, sorted(present), missing)
        elif self.settings.splitter == "random":
            self.try_one(feature, present, missing)
        else:
            self.try_boundaries(feature, sorted(present), missing)
        return True

    def offer(
        self,
        feature: int,
        cut: _Cut,
        threshold: float,
        missing: list[int],
        codes: tuple[list[int], list[int]] | None = None,
    ) -> None:
        """Take a cut where it is better than the best so far."""
        rank = tie_rank(self.node.key, feature)
        score, other = self.best
        if self.split is not None and not (
            cut.score > score or (cut.score == score and rank < other)
        ):
            return
        most_left = cut.at + 1 > len(self.node.rows) - (cut.at + 1)
        missing_left = cut.missing_left if missing else most_left
        words = [] if codes is None else code_set(*codes, missing_left)
        self.split = Split(feature, threshold, missing_left, words)
        self.best = (cut.score, rank)

    def judge(
        self, feature: int, left: list[int], right: list[int], sums: list[float], weight: float
    ) -> float | None:
        """Return the score of the cut between these rows where it may be made.

        `sums` and `weight` are those of the rows on the left.
        """
        settings, own = self.settings, self.own
        right_weight = own.weight - weight
        if min(len(left), len(right)) < max(settings.min_samples_leaf, 1):
            return None
        if right_weight <= 0 or min(weight, right_weight) < settings.min_weight_leaf:
            return None
        direction = 0 if self.data.monotonic is None else self.data.monotonic[feature]
        if self.targets.criterion == "absolute_error":
            sides = [[self.cells(rows, k) for rows in (left, right)] for k in self.outputs]
            middles = [[median(cells) for cells in both] for both in sides]
            values = middles[0]
            score = -total_of(
                loss(cells, middle)
                for both, pair in zip(sides, middles, strict=True)
                for cells, middle in zip(both, pair, strict=True)
            )
        else:
            score = self.targets.score(sums, weight, own)
            values = [
                own.shift[0] + sums[0] / weight,
                own.shift[0] + (own.total[0] - sums[0]) / right_weight,
            ]
        if direction != 0:
            low, high = self.node.bounds
            if min(values) < low or max(values) > high or (values[0] - values[1]) * direction > 0:
                return None
        return score if score > -math.inf else None

    @property
    def outputs(self) -> range:
        return range(len(self.own.value))

    def cells(self, rows: list[int], k: int) -> list[tuple[float, float]]:
        return [(self.targets.weights[row], self.targets.y[row][k]) for row in rows]

    def add(self, sums: list[float], row: int) -> float:
        """Add a row to the sums; return its weight."""
        weight = self.targets.weights[row]
        if self.own.shift:
            for k in self.outputs:
                sums[k] += weight * (self.targets.y[row][k] - self.own.shift[k])
        return weight

    def cut(
        self, feature: int, present: Sequence[tuple[float, int]], missing: list[int]
    ) -> _Cut | None:
        """Return the best cut between two different values.

        Missing values are tried on the right, then alone on the right, then on the left.
        """
        best: _Cut | None = None
        for missing_left in (False, True) if missing else (False,):
            sums, weight = [0.0 for _ in self.outputs], 0.0
            left = list(missing) if missing_left else []
            for row in left:
                weight += self.add(sums, row)
            for at, (value, row) in enumerate(present):
                weight += self.add(sums, row)
                left.append(row)
                if at + 1 < len(present):
                    if value == present[at + 1][0]:
                        continue
                elif missing_left or not missing:
                    continue
                right = [row for _, row in present[at + 1 :]]
                right += [] if missing_left else missing
                score = self.judge(feature, left, right, sums, weight)
                if score is not None and (best is None or score > best.score):
                    best = _Cut(score, at, missing_left)
        return best

    def try_boundaries(
        self, feature: int, present: list[tuple[float, int]], missing: list[int]
    ) -> None:
        cut = self.cut(feature, present, missing)
        if cut is None:
            return
        bins = self.data.bins[feature]
        value = present[cut.at][0]
        if cut.at + 1 == len(present):
            threshold = math.inf
        elif bins is None:
            threshold = midpoint(value, present[cut.at + 1][0])
        else:
            threshold = midpoint(bins.high[int(value)], bins.low[int(present[cut.at + 1][0])])
        self.offer(feature, cut, threshold, missing)

    def given(
        self,
        feature: int,
        present: list[tuple[float, int]],
        missing: list[int],
        missing_left: bool,
        goes_left: Callable[[float], bool],
    ) -> _Cut | None:
        """Return the cut that sends these values left, where it may be made."""
        left = [row for value, row in present if goes_left(value)]
        right = [row for value, row in present if not goes_left(value)]
        if missing_left:
            left = missing + left
        else:
            right = right + missing
        cut = self.cut(feature, [(0.0, row) for row in left] + [(1.0, row) for row in right], [])
        return None if cut is None else _Cut(cut.score, cut.at, missing_left)

    def try_one(self, feature: int, present: list[tuple[float, int]], missing: list[int]) -> None:
        """Try one threshold, uniform between the extremes; missing values toss a coin."""
        bins = self.data.bins[feature]
        low, high = min(v for v, _ in present), max(v for v, _ in present)
        stream = Stream(self.node.key, feature + 1)
        threshold = low + stream.next_f64() * (high - low)
        if threshold >= high:
            threshold = low
        missing_left = bool(stream.next_u64() & 1) and bool(missing)
        whole = not any(math.isnan(row[feature]) for row in self.data.rows)
        if whole and len(self.own.total) == 1:
            cut = self.by_lanes(feature, present, threshold)
        else:
            cut = self.given(feature, present, missing, missing_left, lambda v: v <= threshold)
        if cut is None:
            return
        below = max(value for value, _ in present if value <= threshold)
        self.offer(feature, cut, threshold if bins is None else bins.high[int(below)], missing)

    def by_lanes(
        self, feature: int, present: list[tuple[float, int]], threshold: float
    ) -> _Cut | None:
        """Return the cut at a threshold; sums are formed of every fourth row, then added."""
        lanes, weights = [[0.0] for _ in range(4)], [0.0] * 4
        sides: tuple[list[int], list[int]] = ([], [])
        for i, (value, row) in enumerate(present):
            sides[value > threshold].append(row)
            if value <= threshold:
                weights[i % 4] += self.add(lanes[i % 4], row)
        (a,), (b,), (c,), (d,) = lanes
        weight = (weights[0] + weights[1]) + (weights[2] + weights[3])
        score = self.judge(feature, *sides, [(a + b) + (c + d)], weight)
        return None if score is None else _Cut(score, len(sides[0]) - 1, False)

    def try_categories(
        self, feature: int, present: list[tuple[float, int]], missing: list[int]
    ) -> None:
        """Try the cuts of the order of the means; one random subset if random."""
        groups: dict[int, list[int]] = {}
        for value, row in present:
            groups.setdefault(int(value), []).append(row)
        codes = list(groups)
        stream = Stream(self.node.key, feature + 1)
        if self.settings.splitter == "random":
            order = list(range(len(codes)))
            stream.shuffle(order)
            only = 1 + stream.below(max(len(codes), 2) - 1)
            coin = bool(stream.next_u64() & 1) and bool(missing)
            chosen = {codes[place] for place in order[:only]}
            cut = self.given(feature, present, missing, coin, lambda v: int(v) in chosen)
            lefts = only
        else:
            sums, weights = [], []
            for rows in groups.values():
                sums.append([0.0 for _ in self.outputs])
                weights.append(0.0)
                for row in rows:
                    weight = self.targets.weights[row]
                    weights[-1] += weight
                    for k in self.outputs:
                        shift = (self.own.shift or self.own.value)[k]
                        sums[-1][k] += weight * (self.targets.y[row][k] - shift)
            order = order_by_means(sums, weights)
            arranged = [
                (float(i), row) for i, place in enumerate(order) for row in groups[codes[place]]
            ]
            cut = self.cut(feature, arranged, missing)
            lefts = 0 if cut is None else int(arranged[cut.at][0]) + 1
        if cut is not None:
            left = [codes[place] for place in order[:lefts]]
            self.offer(feature, cut, 0.0, missing, (left, codes))
