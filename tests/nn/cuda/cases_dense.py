"""Affine maps."""

from __future__ import annotations

from typing import Any

import numpy as np

from ironlearn.nn.backend.ops.activations import FUSED
from nn.cuda.cases import Case, one

_rng = np.random.default_rng(1)


def _arrays(n: int, inputs: int, outputs: int) -> dict[str, np.ndarray]:
    return {
        "x": _rng.standard_normal((n, inputs)),
        "w": _rng.standard_normal((inputs, outputs)),
        "b": _rng.standard_normal(outputs),
    }


def _backward_arrays(n: int, inputs: int, outputs: int) -> dict[str, np.ndarray]:
    forward = _arrays(n, inputs, outputs)
    return {
        "gy": _rng.standard_normal((n, outputs)),
        "x": forward["x"],
        "w": forward["w"],
        "y": _rng.uniform(-0.9, 0.9, (n, outputs)),
    }


def _without_output(ops: Any, a: Any) -> Any:
    return ops.affine_backward(a["gy"], a["x"], a["w"], None, "linear")


def _strided(ops: Any, a: Any) -> Any:
    return ops.affine(a["x"].T, a["w"][:, ::2], a["b"][::2], "tanh")


def _cases() -> list[Case]:
    found = []
    for name in (*FUSED, "gelu", "softplus"):
        found.append(one("affine", name, _arrays(5, 4, 7), name))
    for shape in ((1, 1, 1), (0, 3, 4), (3, 4, 0), (70, 3, 33), (2, 3, 600)):
        kernels = 0 not in shape
        found.append(one("affine", f"{shape}", _arrays(*shape), "relu", kernels=kernels))
        found.append(
            one("affine_backward", f"{shape}", _backward_arrays(*shape), "relu", kernels=kernels)
        )
    for name in FUSED:
        found.append(one("affine_backward", name, _backward_arrays(9, 4, 5), name))
    # Sums over several stretches of rows, by one and by several columns of threads.
    for shape in ((1100, 2, 1), (300, 2, 5), (100, 2, 40)):
        found.append(one("affine_backward", f"{shape}", _backward_arrays(*shape), "tanh"))
    for needs in ((False, True, True), (True, False, True), (True, True, False)):
        found.append(
            one("affine_backward", f"{needs}", _backward_arrays(6, 4, 5), "sigmoid", needs)
        )
    found += [
        one(
            "affine",
            "no bias",
            {k: v for k, v in _arrays(5, 4, 7).items() if k != "b"},
            None,
            "tanh",
        ),
        one(
            "affine",
            "no bias, linear",
            {k: v for k, v in _arrays(5, 4, 7).items() if k != "b"},
            kernels=False,
        ),
        Case(
            "strided",
            ("affine",),
            _arrays(4, 6, 7) | {"x": _rng.random((4, 6)), "w": _rng.random((4, 7))},
            _strided,
        ),
        Case("no output", ("affine_backward",), _backward_arrays(6, 4, 5), _without_output),
    ]
    return found


CASES = _cases()
