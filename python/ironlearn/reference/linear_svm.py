"""Linear support vector classification and regression in plain Python."""

from __future__ import annotations

import itertools
import math
import random
from typing import Any

import numpy as np
from numpy.typing import NDArray

Vector = list[float]
#: Weights, iterations, objective, whether it converged, dual variables.
Solution = tuple[list[Vector], int, float, bool, Vector]
#: What a fit returns.
Fit = tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64], bool, NDArray[np.float64]]
#: Weights and dual variables of an earlier fit.
Start = tuple[NDArray[np.float64], NDArray[np.float64]] | None


def linear_svm_fit(
    x: Any,
    y: NDArray[np.uint32],
    sample_cost: NDArray[np.float64],
    class_weight: NDArray[np.float64],
    *,
    objective: str,
    bias: float | None,
    tol: float,
    max_iter: int,
    seed: int,
    n_threads: int,
    start: Start = None,
) -> Fit:
    """Return weights, passes and objective of each problem, whether all converged, duals.

    Plain coordinate descent over rows (Hsieh et al., ICML 2008) or features (Yuan et al.,
    JMLR 2010) without shrinking or acceleration, until the duality gap is below `tol` relative
    to the objective. A start does not matter to the optimum, so it is left alone.
    """
    rows = _extended_rows(x, bias)
    costs = [float(c) for c in sample_cost]
    codes = [int(c) for c in y]
    classes = len(class_weight)
    shuffler = random.Random(seed)
    solutions: list[Solution] = []
    if objective == "crammer_singer":
        costs = [c * float(class_weight[k]) for c, k in zip(costs, codes, strict=True)]
        solutions.append(_crammer_singer(rows, codes, costs, classes, tol, max_iter, shuffler))
    else:
        for k in [1] if classes == 2 else range(classes):
            signs = [1.0 if code == k else -1.0 for code in codes]
            negative = float(class_weight[0]) if classes == 2 else 1.0
            own = [
                c * (float(class_weight[k]) if s > 0 else negative)
                for c, s in zip(costs, signs, strict=True)
            ]
            if objective == "l1_squared_hinge":
                solutions.append(_l1(rows, signs, own, tol, max_iter))
            elif objective in ("hinge", "squared_hinge", "squared_hinge_dual"):
                hinge = objective == "hinge"
                goals = [(1.0, math.inf) if s > 0 else (-math.inf, -1.0) for s in signs]
                solutions.append(_dual(rows, goals, own, hinge, tol, max_iter, shuffler))
            else:
                raise ValueError(f"unknown objective {objective!r}")
    return _collected(solutions)


def linear_svr_fit(
    x: Any,
    y: NDArray[np.float64],
    sample_cost: NDArray[np.float64],
    *,
    objective: str,
    epsilon: float,
    bias: float | None,
    tol: float,
    max_iter: int,
    seed: int,
    n_threads: int,
    start: Start = None,
) -> Fit:
    """As `linear_svm_fit`, of one weight vector for targets (Ho and Lin, JMLR 2012)."""
    rows = _extended_rows(x, bias)
    if not (math.isfinite(epsilon) and epsilon >= 0):
        raise ValueError(f"epsilon must be finite and not negative, got {epsilon}")
    if objective not in (
        "epsilon_insensitive",
        "squared_epsilon_insensitive",
        "squared_epsilon_insensitive_dual",
    ):
        raise ValueError(f"unknown objective {objective!r}")
    goals = [(float(v) - epsilon, float(v) + epsilon) for v in y]
    costs = [float(c) for c in sample_cost]
    plain = objective == "epsilon_insensitive"
    return _collected([_dual(rows, goals, costs, plain, tol, max_iter, random.Random(seed))])


def _collected(solutions: list[Solution]) -> Fit:
    return (
        np.array([w for solution in solutions for w in solution[0]]),
        np.array([solution[1] for solution in solutions]),
        np.array([solution[2] for solution in solutions]),
        all(solution[3] for solution in solutions),
        np.array([b for solution in solutions for b in solution[4]]),
    )


def decision_function(
    x: Any, coef: NDArray[np.float64], intercept: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the scores of each row: its products with the weights, plus the intercepts."""
    models = list(zip(coef, intercept, strict=True))
    return np.array(
        [[_dot(row, [float(v) for v in w]) + float(b) for w, b in models] for row in dense_rows(x)]
    ).reshape(-1, len(coef))


def predict_codes(
    x: Any, coef: NDArray[np.float64], intercept: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Return the class with the highest score; of one column, whether it is above zero."""
    scores = decision_function(x, coef, intercept)
    if scores.shape[1] == 1:
        return (scores[:, 0] > 0).astype(np.int64)
    return np.array([max(range(len(s)), key=lambda k: (s[k], -k)) for s in scores.tolist()])


def dense_rows(x: Any) -> list[Vector]:
    """Return the rows of an array or of (data, indices, indptr, n_features)."""
    if not isinstance(x, tuple):
        return [[float(v) for v in row] for row in x]
    data, indices, indptr, width = x
    rows = []
    for start, end in itertools.pairwise(indptr):
        row = [0.0] * width
        for at in range(start, end):
            row[indices[at]] += float(data[at])
        rows.append(row)
    return rows


def _extended_rows(x: Any, bias: float | None) -> list[Vector]:
    """Return the rows with the constant feature, or raise for values that are refused."""
    rows = dense_rows(x)
    for row in rows:
        for value in row:
            if not math.isfinite(value):
                raise ValueError("Input X contains NaN, infinity or a value too large.")
    if bias is None:
        return rows
    if not (math.isfinite(bias) and bias > 0):
        raise ValueError(f"intercept_scaling must be a finite number above 0, got {bias}")
    return [[*row, bias] for row in rows]


def _dot(a: Vector, b: Vector) -> float:
    return math.fsum(p * q for p, q in zip(a, b, strict=True))


def _dual(
    rows: list[Vector],
    goals: list[tuple[float, float]],
    costs: Vector,
    plain: bool,
    tol: float,
    max_iter: int,
    shuffler: random.Random,
) -> Solution:
    """The distances of the products from intervals (`plain`), or their squares, with L2 penalty.

    Exact steps along one dual variable after another.
    """
    w = [0.0] * len(rows[0])
    beta = [0.0] * len(rows)
    order = [i for i, c in enumerate(costs) if c > 0]
    squares = [_dot(row, row) for row in rows]
    passes = 0
    while True:
        products = [_dot(row, w) for row in rows]
        misses = [
            max(low - z, z - high, 0.0) for z, (low, high) in zip(products, goals, strict=True)
        ]
        half = 0.5 * _dot(w, w)
        power = 1 if plain else 2
        primal = half + math.fsum(costs[i] * misses[i] ** power for i in order)
        dual = math.fsum(beta[i] * goals[i][beta[i] < 0] for i in order if beta[i]) - half
        if not plain:
            dual -= math.fsum(beta[i] ** 2 / (4 * costs[i]) for i in order)
        if primal - dual <= tol * primal or passes == max_iter:
            return [w], passes, primal, primal - dual <= tol * primal, beta
        shuffler.shuffle(order)
        for i in order:
            bound, extra = (costs[i], 0.0) if plain else (math.inf, 0.5 / costs[i])
            curvature = squares[i] + extra
            # Without the own part of the variable, the slope at zero; the interval is flat.
            slope = _dot(rows[i], w) - squares[i] * beta[i]
            low, high = goals[i]
            pull = low - slope if slope < low else min(high - slope, 0.0)
            # A row of zeros has a linear dual: it goes to its bound.
            new = pull / curvature if curvature > 0 else math.copysign(bound, pull) * bool(pull)
            new = min(max(new, -bound), bound)
            w = [a + (new - beta[i]) * v for a, v in zip(w, rows[i], strict=True)]
            beta[i] = new
        passes += 1


def _l1(rows: list[Vector], signs: Vector, costs: Vector, tol: float, max_iter: int) -> Solution:
    """Squared hinge with L1 penalty: each weight moves to the minimum of an upper bound."""
    width = len(rows[0])
    columns = [[s * row[j] for row, s in zip(rows, signs, strict=True)] for j in range(width)]
    bounds = [
        2 * math.fsum(c * v * v for c, v in zip(costs, column, strict=True)) for column in columns
    ]
    w = [0.0] * width
    slack = [1.0] * len(rows)
    passes = 0
    while True:
        alpha = [2 * c * max(0.0, s) for c, s in zip(costs, slack, strict=True)]
        loss = 0.5 * math.fsum(a * max(0.0, s) for a, s in zip(alpha, slack, strict=True))
        primal = math.fsum(abs(v) for v in w) + loss
        # The dual point scaled into the feasible set.
        largest = max((abs(_dot(column, alpha)) for column in columns), default=0.0)
        scale = 1 / max(1.0, largest)
        dual = scale * math.fsum(alpha) - scale * scale * loss
        if primal - dual <= tol * primal or passes == max_iter:
            return [w], passes, primal, primal - dual <= tol * primal, []
        for j, column in enumerate(columns):
            if bounds[j] == 0:
                continue
            slope = -math.fsum(
                2 * c * max(0.0, s) * v for c, s, v in zip(costs, slack, column, strict=True)
            )
            goal = w[j] - slope / bounds[j]
            new = math.copysign(max(0.0, abs(goal) - 1 / bounds[j]), goal)
            slack = [s - (new - w[j]) * v for s, v in zip(slack, column, strict=True)]
            w[j] = new
        passes += 1


def _crammer_singer(
    rows: list[Vector],
    codes: list[int],
    costs: Vector,
    classes: int,
    tol: float,
    max_iter: int,
    shuffler: random.Random,
) -> Solution:
    """All classes at once: the exact solution over one row's dual variables after another."""
    w = [[0.0] * len(rows[0]) for _ in range(classes)]
    # A row's weighting of its class errors: not negative, with its cost as sum.
    beta = [
        [c if k == code else 0.0 for k in range(classes)]
        for c, code in zip(costs, codes, strict=True)
    ]
    order = [i for i, c in enumerate(costs) if c > 0]
    squares = [_dot(row, row) for row in rows]
    passes = 0
    while True:
        half = 0.5 * math.fsum(_dot(v, v) for v in w)
        losses = [costs[i] * max(_errors(rows[i], codes[i], w)) for i in order]
        primal = half + math.fsum(losses)
        dual = math.fsum(costs[i] - beta[i][codes[i]] for i in order) - half
        if primal - dual <= tol * primal or passes == max_iter:
            return w, passes, primal, primal - dual <= tol * primal, []
        shuffler.shuffle(order)
        for i in order:
            errors = _errors(rows[i], codes[i], w)
            if squares[i] > 0:
                wanted = [b + e / squares[i] for b, e in zip(beta[i], errors, strict=True)]
                new = _project(wanted, costs[i])
            else:
                # No weight can move: the whole cost goes to the largest error.
                worst = errors.index(max(errors))
                new = [costs[i] if k == worst else 0.0 for k in range(classes)]
            for k in range(classes):
                change = beta[i][k] - new[k]
                w[k] = [a + change * v for a, v in zip(w[k], rows[i], strict=True)]
            beta[i] = new
        passes += 1


def _errors(row: Vector, code: int, w: list[Vector]) -> Vector:
    scores = [_dot(row, v) for v in w]
    return [s - scores[code] + (k != code) for k, s in enumerate(scores)]


def _project(values: Vector, total: float) -> Vector:
    """Return the nearest point whose elements are not negative and sum to `total`."""
    threshold = -math.inf
    ordered = sorted(values, reverse=True)
    for count in range(1, len(values) + 1):
        candidate = (math.fsum(ordered[:count]) - total) / count
        if ordered[count - 1] > candidate:
            threshold = candidate
    return [max(0.0, v - threshold) for v in values]
