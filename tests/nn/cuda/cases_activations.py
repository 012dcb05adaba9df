"""Activations."""

from __future__ import annotations

import numpy as np

from ironlearn.nn.backend.ops.activations import FUSED, UNFUSED
from nn.cuda.cases import Case, one

_rng = np.random.default_rng(0)
_SHAPES = ((0,), (1,), (5, 7), (3, 4, 50))


def _wide(shape: tuple[int, ...]) -> np.ndarray:
    return _rng.standard_normal(shape) * 4


def _cases() -> list[Case]:
    found = []
    for name in FUSED + UNFUSED:
        for shape in _SHAPES:
            found.append(
                one(
                    "activation",
                    f"{name}-{shape}",
                    {"x": _wide(shape)},
                    name,
                    kernels=name != "linear" and 0 not in shape,
                )
            )
        backward = "activation_backward" if name in FUSED else "activation_input_backward"
        found.append(
            one(
                backward,
                name,
                {"gy": _wide((5, 7)), "y": _wide((5, 7))},
                name,
                kernels=name != "linear",
            )
        )
    ends = np.array([-np.inf, -40.0, -4.0, -0.46875, 0.0, 0.46875, 4.0, 12.0, np.inf, np.nan])
    for name in ("sigmoid", "erfc", "normal_cdf"):
        for shape in _SHAPES:
            found.append(one(name, f"{shape}", {"x": _wide(shape)}, kernels=0 not in shape))
        found.append(one(name, "ends", {"x": ends}))
    found.append(one("activation", "strided", {"x": _wide((6, 8))}, "tanh"))
    found.append(
        Case(
            "transposed",
            ("activation",),
            {"x": _wide((6, 8))},
            lambda ops, a: ops.activation(a["x"].T[::2], "tanh"),
        )
    )
    return found


CASES = _cases()
