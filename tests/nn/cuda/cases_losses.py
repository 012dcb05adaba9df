"""Softmax and losses."""

from __future__ import annotations

from typing import Any

import numpy as np

from nn.cuda.cases import Case, one

_rng = np.random.default_rng(6)


def _probabilities(shape: tuple[int, ...], axis: int) -> np.ndarray:
    e = np.exp(_rng.standard_normal(shape))
    return e / e.sum(axis=axis, keepdims=True)


def _softmax_cases() -> list[Case]:
    found = []
    for shape, axis in (
        ((1, 1), -1),
        ((5, 7), -1),
        ((3, 2, 33), 2),
        ((2, 1100), -1),
        ((9, 4), 0),
        ((2, 5, 3), 1),
        ((2, 5, 3), -3),
        ((0, 4), -1),
        ((4, 0), -1),
        ((4, 0), 0),
    ):
        settings = {"kernels": 0 not in shape}
        x = {"x": _rng.standard_normal(shape) * 3}
        gradient = {"gy": _rng.standard_normal(shape), "y": _probabilities(shape, axis)}
        of_log = {"gy": gradient["gy"], "y": np.log(gradient["y"])}
        name = f"{shape} over {axis}"
        found += [
            one("softmax", name, x, axis, **settings),
            one("log_softmax", name, x, axis, **settings),
            one("softmax_backward", name, gradient, axis, **settings),
            one("log_softmax_backward", name, of_log, axis, **settings),
        ]
    x = {"x": _rng.standard_normal((6, 8))}
    found.append(Case("strided", ("softmax",), x, lambda ops, a: ops.softmax(a["x"].T[::2])))
    hard = np.array([[1e4, 0.0, -1e4], [-np.inf, 0.0, 1.0], [np.nan, 1.0, 2.0]])
    found.append(one("softmax", "far apart", {"x": hard}))
    found.append(one("softmax", "infinite", {"x": np.full((2, 3), -np.inf)}))
    return found


def _cross_entropy(
    name: str,
    n: int,
    classes: int,
    smoothing: float,
    targets: np.ndarray | None = None,
    **settings: Any,
) -> Case:
    arrays = {
        "logits": _rng.standard_normal((n, classes)) * 3,
        "targets": _rng.integers(0, max(classes, 1), n) if targets is None else targets,
        "g": _rng.standard_normal(n),
    }

    def run(ops: Any, a: Any) -> Any:
        losses, probabilities = ops.softmax_cross_entropy(a["logits"], a["targets"], smoothing)
        gradient = ops.softmax_cross_entropy_backward(
            probabilities, a["targets"], a["g"], smoothing
        )
        return losses, probabilities, gradient

    operations = ("softmax_cross_entropy", "softmax_cross_entropy_backward")
    return Case(name, operations, arrays, run, **settings)


def _sigmoid_cases() -> list[Case]:
    found = []
    for shape in ((0,), (1,), (5, 7), (3, 100)):
        arrays = {"logits": _rng.standard_normal(shape) * 8, "targets": _rng.random(shape)}
        kernels = 0 not in shape
        backward = {**arrays, "g": _rng.standard_normal(shape)}
        found += [
            one("sigmoid_cross_entropy", f"{shape}", arrays, kernels=kernels),
            one("sigmoid_cross_entropy_backward", f"{shape}", backward, kernels=kernels),
        ]
    broadcast = {"logits": _rng.standard_normal((5, 7)), "targets": _rng.random(7)}
    found.append(one("sigmoid_cross_entropy", "broadcast", broadcast, kernels=False))
    extreme = {"logits": np.array([-1e4, 1e4, np.nan, 0.0]), "targets": np.array([1.0, 1.0, 0, 0])}
    found.append(one("sigmoid_cross_entropy", "extreme", extreme))
    return found


CASES = [
    *_softmax_cases(),
    *_sigmoid_cases(),
    _cross_entropy("plain", 5, 7, 0.0),
    _cross_entropy("smooth", 5, 7, 0.1),
    _cross_entropy("one class", 3, 1, 0.1),
    _cross_entropy("many rows", 70, 3, 0.0),
    _cross_entropy("many classes", 2, 1300, 0.2),
    _cross_entropy("no rows", 0, 4, 0.1, kernels=False),
    _cross_entropy("int32 and from the end", 4, 3, 0.1, np.array([0, -1, 2, -3], np.int32)),
]
