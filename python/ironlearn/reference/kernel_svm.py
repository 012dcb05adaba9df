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
    n_threads: int,
) -> Fit:
    """Fit a classifier of each class against each other one."""
    K = x if kernel == "precomputed" else kernel_matrix(x, x, kernel, gamma, coef0, degree)
    groups = [np.flatnonzero((y == c) & (cost > 0)) for c in range(n_classes)]
    weights: dict[tuple[int, int], NDArray[np.float64]] = {}
    intercept, n_iter, objectives, all_converged = [], [], [], True
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
    )
