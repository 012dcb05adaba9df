"""Steps of the optimizers."""

from __future__ import annotations

from typing import Any

import numpy as np

from ironlearn.nn.backend.ops.optimizer import SLOTS
from nn.cuda.cases import Case

_rng = np.random.default_rng(7)
_HYPER = {
    "lr": 0.05,
    "step": 3.0,
    "beta1": 0.9,
    "beta2": 0.99,
    "eps": 1e-3,
    "momentum": 0.8,
    "rho": 0.9,
}
_PENALTIES = {"scale": 0.5, "l1": 0.02, "l2": 0.03, "weight_decay": 0.1}
_SHAPES = ((3, 4), (5,), (0,), (1,), (2, 3, 5))


def _step(
    name: str,
    kind: str,
    shapes: tuple[tuple[int, ...], ...] = _SHAPES,
    transposed: bool = False,
    **hyper: float,
) -> Case:
    arrays: dict[str, Any] = {
        "params": [_rng.standard_normal(shape) for shape in shapes],
        "grads": [_rng.standard_normal(shape) for shape in shapes],
        "slots": [[_rng.random(shape) for shape in shapes] for _ in SLOTS[kind]],
    }
    decay = [i % 2 == 0 for i in range(len(shapes))]

    def run(ops: Any, a: Any) -> Any:
        params, grads = a["params"], a["grads"]
        if transposed:
            # Views: the step must change what they look at.
            params = [params[0].T, *params[1:]]
            grads = [grads[0].T, *grads[1:-1], ops.xp.flip(grads[-1], 0)]
            a["slots"][0][0] = a["slots"][0][0].T
        ops.optimizer_step(kind, params, grads, a["slots"], {**_HYPER, **hyper}, decay)
        return [a["params"], a["slots"]]

    return Case(name, ("optimizer_step",), arrays, run)


def _of_fewer_bits(ops: Any, a: Any) -> Any:
    # Numbers that have no rounding error in either precision.
    grads = [a["grads"].astype(np.float16)]
    ops.optimizer_step("momentum", [a["w"]], grads, [[a["v"]]], _EXACT, [False])
    return a["w"], a["v"]


_EXACT = {"lr": 0.25, "momentum": 0.5}
_WHOLE = {name: _rng.integers(-8, 9, (3, 4)).astype(np.float64) for name in ("w", "grads", "v")}

CASES = [
    *(_step(kind, kind) for kind in SLOTS),
    *(_step(f"{kind} with penalties", kind, **_PENALTIES) for kind in SLOTS),
    _step("more arrays than a launch takes", "adam", ((2, 3),) * 35),
    _step("large", "momentum", ((5000,), (3,), (2048,), (2049,))),
    _step("strided", "momentum", transposed=True),
    Case(
        "gradients of fewer bits",
        ("optimizer_step",),
        _WHOLE,
        _of_fewer_bits,
        dtypes=("float32", "float64"),
        factor=0.0,
    ),
]
