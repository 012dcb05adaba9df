"""Kernel machines in plain Python: sequential minimal optimisation over the whole matrix."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Fit = tuple[
    NDArray[np.int64],
    NDArray[np.int64],
    NDArray[np.float64],
    NDArray[np.float64],
    NDArray[np.int64],
    NDArray[np.float64],
    bool,
    NDArray[np.float64],
    NDArray[np.float64],
]


def kernel_matrix(
    a: NDArray[Any], b: NDArray[Any], kernel: str, gamma: float, coef0: float, degree: int
) -> NDArray[np.float64]:
    """Return the kernel of each row of `a` with each row of `b` by its formula."""
    out = np.empty((len(a), len(b)))
    for i, x in enumerate(a.astype(np.float64)):
        for j, z in enumerate(b.astype(np.float64)):
            if kernel == "rbf":
                out[i, j] = math.exp(-gamma * math.fsum((x - z) ** 2))
                continue
            product = math.fsum(x * z)
            if kernel == "poly":
                product = (gamma * product + coef0) ** degree
            elif kernel == "sigmoid":
                product = math.tanh(gamma * product + coef0)
            out[i, j] = product
    return out


def _solve(
    K: NDArray[np.float64],
    sign: NDArray[np.float64],
    cost: NDArray[np.float64],
    linear: NDArray[np.float64],
    tol: float,
    max_iter: int,
) -> tuple[NDArray[np.float64], float, int, float, bool]:
    """Minimise ``a'Qa/2 + linear'a`` with ``Q = sign K sign``, ``sign'a = 0``."""
    alpha = np.zeros(len(sign))
    gradient = linear.copy()
    steps, converged = 0, False
    while True:
        f = sign * gradient
        up = np.where(sign > 0, alpha < cost, alpha > 0)
        low = np.where(sign > 0, alpha > 0, alpha < cost)
        if not up.any() or not low.any() or f[low].max() - f[up].min() < tol:
            converged = True
            break
        if 0 <= max_iter <= steps:
            break
        i = int(np.argmin(np.where(up, f, np.inf)))
        violation = np.where(low, f - f[i], 0.0)
        curvature = np.maximum(K[i, i] + np.diag(K) - 2 * K[i], 1e-12)
        j = int(np.argmax(np.where(violation > 0, violation**2 / curvature, -1.0)))
        room_i = cost[i] - alpha[i] if sign[i] > 0 else alpha[i]
        room_j = alpha[j] if sign[j] > 0 else cost[j] - alpha[j]
        step = min(violation[j] / curvature[j], room_i, room_j)
        alpha[i] = np.clip(alpha[i] + sign[i] * step, 0, cost[i])
        alpha[j] = np.clip(alpha[j] - sign[j] * step, 0, cost[j])
        gradient += sign * step * (K[i] - K[j])
        steps += 1
    f = sign * gradient
    free = (alpha > 0) & (alpha < cost)
    if free.any():
        rho = float(f[free].mean())
    else:
        bounds = [f[up].min() if up.any() else None, f[low].max() if low.any() else None]
        finite = [float(b) for b in bounds if b is not None]
        rho = sum(finite) / len(finite) if finite else 0.0
    objective = float(alpha @ (gradient + linear) / 2)
    return alpha, rho, steps, objective, converged


FOLDS = 5


def _held_out(
    K: NDArray[np.float64],
    sign: NDArray[np.float64],
    cost: NDArray[np.float64],
    random: np.random.RandomState,
    tol: float,
    max_iter: int,
) -> NDArray[np.float64]:
    """Return the score of each row by the machine of the other folds."""
    n = len(sign)
    order = np.arange(n)
    for i in range(n):
        j = i + _below(random, n - i)
        order[[i, j]] = order[[j, i]]
    scores = np.zeros(n)
    for fold in range(FOLDS):
        held = order[fold * n // FOLDS : (fold + 1) * n // FOLDS]
        rest = np.setdiff1d(order, held)
        present = set(sign[rest])
        if len(present) < 2:
            scores[held] = present.pop() if present else 0.0
            continue
        linear = -np.ones(len(rest))
        alpha, rho, *_ = _solve(
            K[np.ix_(rest, rest)], sign[rest], cost[rest], linear, tol, max_iter
        )
        scores[held] = K[np.ix_(held, rest)] @ (sign[rest] * alpha) - rho
    return scores


def _below(random: np.random.RandomState, n: int) -> int:
    """Return a number below `n` from words of 32 bits, by Lemire's method."""
    while True:
        product = int(random._bit_generator.random_raw()) * n
        if product % 2**32 >= (2**32 - n) % n:
            return product >> 32


def sigmoid(scores: NDArray[np.float64], positive: NDArray[np.bool_]) -> tuple[float, float]:
    """Return slope and constant of Platt's sigmoid (Lin, Lin and Weng, 2007)."""
    n_positive, n_negative = int(positive.sum()), int((~positive).sum())
    target = np.where(positive, (n_positive + 1) / (n_positive + 2), 1 / (n_negative + 2))

    def loss(a: float, b: float) -> float:
        t = scores * a + b
        return float(np.sum(np.where(t >= 0, target, target - 1) * t + np.log1p(np.exp(-abs(t)))))

    a, b = 0.0, math.log((n_negative + 1) / (n_positive + 1))
    for _ in range(100):
        p = probability(scores, a, b)
        gradient = np.array([scores @ (target - p), np.sum(target - p)])
        if np.abs(gradient).max() < 1e-5:
            break
        w = p * (1 - p)
        hessian = np.array([[scores**2 @ w, scores @ w], [scores @ w, w.sum()]])
        step = -np.linalg.solve(hessian + 1e-12 * np.eye(2), gradient)
        length, before = 1.0, loss(a, b)
        while loss(a + length * step[0], b + length * step[1]) >= before + 1e-4 * length * (
            gradient @ step
        ):
            length /= 2
            if length < 1e-10:
                return a, b
        a, b = a + length * step[0], b + length * step[1]
    return a, b


def probability(scores: NDArray[np.float64], a: float, b: float) -> NDArray[np.float64]:
    """Return ``1 / (1 + exp(scores * a + b))``."""
    t = scores * a + b
    small = np.exp(-np.abs(t))
    return np.asarray(np.where(t >= 0, small, 1.0) / (1.0 + small))


def couple(pairs: NDArray[np.float64], n_classes: int) -> NDArray[np.float64]:
    """Return probabilities of classes from those of pairs (Wu, Lin and Weng, 2004, method 2)."""
    r = np.zeros((n_classes, n_classes))
    r[np.triu_indices(n_classes, 1)] = pairs
    r += np.tril(1 - r.T, -1)
    Q = -r.T * r
    np.fill_diagonal(Q, (r**2).sum(axis=0))
    p = np.full(n_classes, 1 / n_classes)
    for _ in range(max(100, n_classes)):
        if np.abs(Q @ p - p @ Q @ p).max() < 0.005 / n_classes:
            break
        for i in range(n_classes):
            p[i] += (p @ Q @ p - Q[i] @ p) / Q[i, i]
            p /= p.sum()
    return p


def kernel_svc_fit(
    x: NDArray[Any],
    y: NDArray[np.uint32],
    cost: NDArray[np.float64],
    *,
    n_classes: int,
    kernel: str,
    gamma: float,
    coef0: float,
    degree: int,
    tol: float,
    max_iter: int,
    cache_size: float,
    shrinking: bool,
    folds: int | None,
    n_threads: int,
) -> Fit:
    """Fit a classifier of each class against each other one."""
    K = x if kernel == "precomputed" else kernel_matrix(x, x, kernel, gamma, coef0, degree)
    groups = [np.flatnonzero((y == c) & (cost > 0)) for c in range(n_classes)]
    weights: dict[tuple[int, int], NDArray[np.float64]] = {}
    intercept, n_iter, objectives, all_converged = [], [], [], True
    sigmoids = []
    for a in range(n_classes):
        for b in range(a + 1, n_classes):
            rows = np.concatenate([groups[a], groups[b]])
            sign = np.where(np.arange(len(rows)) < len(groups[a]), 1.0, -1.0)
            alpha, rho, steps, objective, converged = _solve(
                K[np.ix_(rows, rows)], sign, cost[rows], -np.ones(len(rows)), tol, max_iter
            )
            full = np.zeros(len(x))
            full[rows] = sign * alpha
            weights[a, b] = full
            intercept.append(-rho)
            n_iter.append(steps)
            objectives.append(objective)
            all_converged &= converged
            if folds is not None:
                # As in LIBSVM, all pairs draw their folds from the same stream.
                random = np.random.RandomState(folds)
                scores = _held_out(K[np.ix_(rows, rows)], sign, cost[rows], random, tol, max_iter)
                sigmoids.append(sigmoid(scores, sign > 0))
    used = np.any([w != 0 for w in weights.values()], axis=0)
    support_of = [group[used[group]] for group in groups]
    support = np.concatenate(support_of)
    dual = np.zeros((n_classes - 1, len(support)))
    ends = np.cumsum([0] + [len(s) for s in support_of])
    for (a, b), full in weights.items():
        dual[b - 1, ends[a] : ends[a + 1]] = full[support_of[a]]
        dual[a, ends[b] : ends[b + 1]] = full[support_of[b]]
    return (
        support.astype(np.int64),
        np.array([len(s) for s in support_of], dtype=np.int64),
        dual,
        np.array(intercept),
        np.array(n_iter, dtype=np.int64),
        np.array(objectives),
        all_converged,
        np.array([a for a, _ in sigmoids]),
        np.array([b for _, b in sigmoids]),
    )


def kernel_svr_fit(
    x: NDArray[Any],
    y: NDArray[np.float64],
    cost: NDArray[np.float64],
    *,
    epsilon: float,
    kernel: str,
    gamma: float,
    coef0: float,
    degree: int,
    tol: float,
    max_iter: int,
    cache_size: float,
    shrinking: bool,
    n_threads: int,
) -> Fit:
    """Fit a regression that tolerates deviations of `epsilon`."""
    K = x if kernel == "precomputed" else kernel_matrix(x, x, kernel, gamma, coef0, degree)
    rows = np.flatnonzero(cost > 0)
    K = np.tile(K[np.ix_(rows, rows)], (2, 2))
    sign = np.repeat([1.0, -1.0], len(rows))
    linear = np.concatenate([epsilon - y[rows], epsilon + y[rows]])
    alpha, rho, steps, objective, converged = _solve(
        K, sign, np.tile(cost[rows], 2), linear, tol, max_iter
    )
    weights = alpha[: len(rows)] - alpha[len(rows) :]
    used = weights != 0
    return (
        rows[used].astype(np.int64),
        np.array([used.sum()], dtype=np.int64),
        weights[used][None],
        np.array([-rho]),
        np.array([steps], dtype=np.int64),
        np.array([objective]),
        converged,
        np.empty(0),
        np.empty(0),
    )
