"""The best split of one node in plain Python.

A candidate is better where its score is higher. Between equal scores the first boundary of a
feature stays, and of two features the one whose hash of (node, feature) is smaller.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import reduce
from itertools import pairwise

from ironlearn._random import Stream, mix

EPSILON = 2.0**-52
_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15


@dataclass(frozen=True)
class Settings:
    """The settings of a tree; -1 is no limit."""

    #: The most classes of an output.
    n_classes: int
    criterion: str
    splitter: str
    max_depth: int
    min_samples_split: int
    min_samples_leaf: int
    min_weight_leaf: float
    max_features: int
    max_leaf_nodes: int
    min_impurity_decrease: float
    max_bins: int
    seed: int


@dataclass(frozen=True)
class Data:
    """Rows to learn from."""

    rows: list[list[float]]
    #: Class codes of each row, one an output; none where targets are numbers.
    y: list[list[int]]
    width: int
    categorical: list[bool]
    monotonic: list[int] | None
    bins: list[Quantiles | None]
    #: Numbers of each row, one an output; None where targets are classes.
    values: list[list[float]] | None = None


@dataclass(frozen=True)
class Node:
    """Rows that arrive at a node, and where it hangs."""

    rows: list[int]
    key: int
    depth: int
    #: Bounds on the share of class 1 from monotonic constraints above.
    bounds: tuple[float, float]
    parent: tuple[int, bool] | None = None


@dataclass(frozen=True)
class Side:
    """Class weights of some rows."""

    counts: list[float]
    weight: float
    impurity: float


@dataclass(frozen=True)
class Split:
    """The split of an inner node."""

    feature: int
    threshold: float
    missing_left: bool
    #: 64 category codes a word; empty for numbers.
    left_codes: list[int] = field(default_factory=list)

    def goes_left(self, value: float) -> bool:
        """Tell whether a row with this value of the feature goes left."""
        if math.isnan(value):
            return self.missing_left
        if not self.left_codes:
            return value <= self.threshold
        if not 0 <= value < 64 * len(self.left_codes):
            return self.missing_left
        code = int(value)
        return bool(self.left_codes[code // 64] >> code % 64 & 1)


def total_of(values: Iterable[float]) -> float:
    """Add up from left to right; the built-in sum compensates for rounding."""
    return reduce(lambda a, b: a + b, values, -0.0)


def _ordered(value: float) -> tuple[float, float]:
    # IEEE 754's total order: -0 before 0.
    return value, math.copysign(1.0, value)


def impurity(criterion: str, counts: list[float], total: float) -> float:
    """Return the Gini impurity, or the entropy in bits."""
    if criterion == "gini":
        return 1.0 - total_of(c * c for c in counts) / (total * total)
    shares = [c / total for c in counts]
    return 0.0 - total_of(p * math.log2(p) if p > 0 else 0.0 for p in shares)


def _xlog2x(x: float) -> float:
    return x * math.log2(x) if x > 0 else 0.0


def side_score(criterion: str, counts: list[float], total: float) -> float:
    """Return what one side adds to the score: the part of the gain that the split decides."""
    if criterion == "gini":
        return total_of(c * c for c in counts) / total
    return total_of(_xlog2x(c) for c in counts) - _xlog2x(total)


def side_scores(settings: Settings, counts: list[float], total: float) -> float:
    """Return the sum over the outputs of `side_score`."""
    outputs = range(0, len(counts), settings.n_classes)
    return total_of(
        side_score(settings.criterion, counts[at : at + settings.n_classes], total)
        for at in outputs
    )


def mean_impurity(settings: Settings, counts: list[float], total: float) -> float:
    """Return the mean over the outputs of `impurity`."""
    outputs = range(0, len(counts), settings.n_classes)
    parts = [
        impurity(settings.criterion, counts[at : at + settings.n_classes], total) for at in outputs
    ]
    return total_of(parts) / len(parts)


def child_key(key: int, left: bool) -> int:
    """Return the key of a child, which stands for its path from the root."""
    return mix(key + (_GOLDEN if left else _GOLDEN << 1))


def tie_rank(key: int, feature: int) -> int:
    """Return the rank of a feature among equally good ones at the node with this key."""
    return mix(key ^ ((feature + 1) * _GOLDEN & _MASK))


def midpoint(low: float, high: float) -> float:
    """Return scikit-learn's threshold between two neighbouring values."""
    middle = low / 2.0 + high / 2.0
    return low if middle == high or math.isinf(middle) else middle


class Quantiles:
    """At most `most` bins of about equal numbers of rows; one a value where that is enough."""

    def __init__(self, values: list[float], most: int) -> None:
        values = sorted(values, key=_ordered)
        distinct = 1 + sum(a < b for a, b in pairwise(values))
        self.low: list[float] = []
        self.high: list[float] = []
        start = 0
        while start < len(values):
            end = start + 1
            if distinct > most:
                bins_left = max(most - len(self.low), 1)
                end = start - (start - len(values)) // bins_left
            while end < len(values) and values[end] <= values[end - 1]:
                end += 1
            self.low.append(values[start])
            self.high.append(values[end - 1])
            start = end

    def code(self, value: float) -> int:
        """Return the bin of one of the values."""
        return next(i for i, high in enumerate(self.high) if high >= value)


def best_split(
    data: Data, settings: Settings, weights: list[float], node: Node, counts: list[float]
) -> Split | None:
    """Return the best split of a node that the settings allow, if there is one."""
    search = _Search(data, settings, weights, node, counts)
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
        self,
        data: Data,
        settings: Settings,
        weights: list[float],
        node: Node,
        counts: list[float],
    ) -> None:
        self.data = data
        self.settings = settings
        self.weights = weights
        self.node = node
        self.counts = counts
        self.split: Split | None = None
        self.score = -math.inf
        self.rank = 0

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
                present.append((value if bins is None else bins.code(value), row))
        if not present:
            return False
        if not missing and all(value == present[0][0] for value, _ in present):
            return False
        if self.data.categorical[feature]:
            self.try_categories(feature, present, missing)
        elif self.settings.splitter == "random":
            self.try_one(feature, present, missing)
        else:
            self.try_boundaries(feature, present, missing)
        return True

    def offer(
        self,
        feature: int,
        left: list[float],
        left_rows: int,
        threshold: float,
        missing_left: bool | None,
        codes: tuple[list[int], list[int]] | None = None,
    ) -> None:
        """Take a split where it is allowed and better than the best so far.

        `missing_left` is ``None`` where no row misses the feature: values that are missing
        later go where most rows go. `codes` are the categories on the left and all of them.
        """
        settings = self.settings
        right_rows = len(self.node.rows) - left_rows
        if min(left_rows, right_rows) < max(settings.min_samples_leaf, 1):
            return
        right = [max(c - part, 0.0) for c, part in zip(self.counts, left, strict=True)]
        # Each output has the whole weight.
        classes = settings.n_classes
        left_weight, right_weight = total_of(left[:classes]), total_of(right[:classes])
        if min(left_weight, right_weight) < settings.min_weight_leaf:
            return
        if min(left_weight, right_weight) <= 0:
            return
        direction = 0 if self.data.monotonic is None else self.data.monotonic[feature]
        if direction != 0 and settings.n_classes == 2:
            a, b = left[1] / left_weight, right[1] / right_weight
            low, high = self.node.bounds
            if min(a, b) < low or max(a, b) > high or (a - b) * direction > 0:
                return
        score = side_scores(settings, left, left_weight) + side_scores(
            settings, right, right_weight
        )
        rank = tie_rank(self.node.key, feature)
        if self.split is not None:
            tie = score == self.score and self.split.feature != feature and rank < self.rank
            if not (score > self.score or tie):
                return
        if missing_left is None:
            missing_left = left_rows > right_rows
        words = [] if codes is None else code_set(*codes, missing_left)
        self.split = Split(feature, threshold, missing_left, words)
        self.score, self.rank = score, rank

    def start(self, missing: list[int], missing_left: bool) -> tuple[list[float], int]:
        """Return the class weights and the number of rows on the left before any value."""
        left = [0.0] * len(self.counts)
        if not missing_left:
            return left, 0
        for row in missing:
            self.add(left, row)
        return left, len(missing)

    def add(self, counts: list[float], row: int) -> None:
        """Add the weight of a row to its class of each output."""
        for k, code in enumerate(self.data.y[row]):
            counts[k * self.settings.n_classes + code] += self.weights[row]

    def try_boundaries(
        self, feature: int, present: list[tuple[float, int]], missing: list[int]
    ) -> None:
        """Try every boundary between values, missing values on the right, then on the left.

        After the first pass stands the split of all values from the missing ones.
        """
        bins = self.data.bins[feature]
        present = sorted(present, key=lambda cell: _ordered(cell[0]))
        for missing_left in (False, True) if missing else (False,):
            left, rows = self.start(missing, missing_left)
            for i, (value, row) in enumerate(present):
                self.add(left, row)
                rows += 1
                if i + 1 < len(present):
                    above = present[i + 1][0]
                    if value >= above:
                        continue
                    if bins is None:
                        threshold = midpoint(value, above)
                    else:
                        threshold = midpoint(bins.high[int(value)], bins.low[int(above)])
                elif missing and not missing_left:
                    threshold = math.inf
                else:
                    continue
                side = missing_left if missing else None
                self.offer(feature, left, rows, threshold, side)

    def try_one(self, feature: int, present: list[tuple[float, int]], missing: list[int]) -> None:
        """Try one threshold, uniform between the extremes; missing values toss a coin."""
        bins = self.data.bins[feature]
        low, high = min(v for v, _ in present), max(v for v, _ in present)
        stream = Stream(self.node.key, feature + 1)
        cut = low + stream.next_f64() * (high - low)
        if cut >= high:
            cut = low
        missing_left = bool(stream.next_u64() & 1) and bool(missing)
        left, rows = self.start(missing, missing_left)
        below = low
        for value, row in present:
            if value <= cut:
                self.add(left, row)
                rows += 1
                below = max(below, value)
        threshold = cut if bins is None else bins.high[int(below)]
        self.offer(feature, left, rows, threshold, missing_left if missing else None)

    def try_categories(
        self, feature: int, present: list[tuple[float, int]], missing: list[int]
    ) -> None:
        """Try the cuts of one order of the categories; one random subset if random."""
        table: dict[int, list[float]] = {}
        rows_of: dict[int, int] = {}
        for value, row in sorted(present, key=lambda cell: cell[0]):
            code = int(value)
            self.add(table.setdefault(code, [0.0] * len(self.counts)), row)
            rows_of[code] = rows_of.get(code, 0) + 1
        codes = list(table)
        stream = Stream(self.node.key, feature + 1)
        random = self.settings.splitter == "random"
        only = 0
        if random:
            order = list(range(len(codes)))
            stream.shuffle(order)
            only = 1 + stream.below(max(len(codes), 2) - 1)
        else:
            order = order_categories(list(table.values()))
        coin = bool(stream.next_u64() & 1)
        passes = (False,) if not missing else (coin,) if random else (False, True)
        for missing_left in passes:
            left, rows = self.start(missing, missing_left)
            for i, place in enumerate(order):
                left = [a + b for a, b in zip(left, table[codes[place]], strict=True)]
                rows += rows_of[codes[place]]
                if i + 1 == len(order) and (missing_left or not missing):
                    break
                if random and i + 1 != only:
                    continue
                chosen = [codes[p] for p in order[: i + 1]]
                side = missing_left if missing else None
                self.offer(feature, left, rows, 0.0, side, (chosen, codes))


def code_set(left: list[int], present: list[int], others_left: bool) -> list[int]:
    """Return the codes that go left; those that the node has not seen go with the missing."""
    words = [_MASK if others_left else 0] * (max(present) // 64 + 1)
    for code in present:
        words[code // 64] &= ~(1 << code % 64)
    for code in left:
        words[code // 64] |= 1 << code % 64
    return words


def order_categories(table: list[list[float]]) -> list[int]:
    """Return an order of the categories (rows of class weights) whose cuts are worth trying.

    By the share of class 1 for two classes (Breiman et al. 1984, theorem 4.5), for more along
    the first principal component of the class shares (Coppersmith, Hong and Hosking,
    "Partitioning nominal attributes in decision trees", 1999).
    """
    weight = [total_of(row) for row in table]
    classes = len(table[0])
    if classes < 2:
        return list(range(len(table)))
    if classes == 2:
        key = [row[1] / w for row, w in zip(table, weight, strict=True)]
    else:
        key = _component(table, weight)
    return sorted(range(len(table)), key=lambda c: (*_ordered(key[c]), c))


def order_by_means(sums: list[list[float]], weight: list[float]) -> list[int]:
    """Return an order of the categories by their mean target, given weighted sums and weights.

    Several outputs are ordered along their first principal component.
    """
    if len(sums[0]) == 1:
        key = [row[0] / w for row, w in zip(sums, weight, strict=True)]
    else:
        key = _component(sums, weight)
    return sorted(range(len(sums)), key=lambda c: (*_ordered(key[c]), c))


def _component(table: list[list[float]], weight: list[float]) -> list[float]:
    total = total_of(weight)
    classes = range(len(table[0]))
    mean = [total_of(row[k] / total for row in table) + 0.0 for k in classes]
    shares = [
        [value / w - m for value, m in zip(row, mean, strict=True)]
        for row, w in zip(table, weight, strict=True)
    ]

    def norm(row: list[float]) -> float:
        return total_of(v * v for v in row)

    start = 0
    for c in range(1, len(table)):
        if norm(shares[c]) * weight[c] > norm(shares[start]) * weight[start]:
            start = c
    axis = list(shares[start])
    along = [0.0] * len(table)
    for _ in range(50):
        image = [0.0 for _ in classes]
        for c, row in enumerate(shares):
            along[c] = total_of(a * b for a, b in zip(row, axis, strict=True))
            scale = along[c] * weight[c] / total
            image = [n + scale * s for n, s in zip(image, row, strict=True)]
        length = math.sqrt(norm(image))
        if length <= 2.2250738585072014e-308:
            break
        new = [n / length for n in image]
        change = total_of((n - a) * (n - a) for n, a in zip(new, axis, strict=True))
        axis = new
        if change < 1e-20:
            break
    return along
