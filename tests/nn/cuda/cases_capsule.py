"""Capsules."""

from __future__ import annotations

from typing import Any

import numpy as np

from nn.cuda.cases import Case

_rng = np.random.default_rng(0)


def _squash(ops: Any, a: Any) -> Any:
    return ops.squash(a["x"]), ops.squash_backward(a["gy"], a["x"])


def _routing(rounds: int) -> Any:
    def run(ops: Any, a: Any) -> Any:
        out, saved = ops.routing(a["votes"], rounds)
        return out, ops.routing_backward(a["gout"], a["votes"], saved)

    return run


def _strided(ops: Any, a: Any) -> Any:
    return _routing(2)(ops, {"votes": a["votes"].swapaxes(1, 2), "gout": a["gout"].swapaxes(0, 1)})


def _cases() -> list[Case]:
    found = []
    both = ("squash", "squash_backward")
    for shape in ((1,), (5, 1), (7, 3), (2, 30, 8), (3, 45)):
        arrays = {name: _rng.standard_normal(shape) for name in ("x", "gy")}
        found.append(Case(str(shape), both, arrays, _squash))
    short = {"x": np.zeros((2, 4)), "gy": _rng.standard_normal((2, 4))}
    found.append(Case("no-length", both, short, _squash))
    empty = {"x": np.zeros((0, 4)), "gy": np.zeros((0, 4))}
    found.append(Case("empty", both, empty, _squash, kernels=False))
    both = ("routing", "routing_backward")
    # One input, some, several chunks of them, vectors of more than a warp.
    for n, kinds, inputs, width in ((1, 1, 1, 1), (2, 3, 5, 4), (2, 4, 70, 8), (1, 2, 33, 40)):
        for rounds in (1, 2, 3):
            arrays = {
                "votes": _rng.standard_normal((n, kinds, inputs, width)) / inputs**0.5,
                "gout": _rng.standard_normal((n, kinds, width)),
            }
            name = f"{n}-{kinds}-{inputs}-{width}-{rounds}"
            found.append(Case(name, both, arrays, _routing(rounds)))
    arrays = {
        "votes": _rng.standard_normal((2, 5, 3, 4)),
        "gout": _rng.standard_normal((3, 2, 4)),
    }
    found.append(Case("strided", both, arrays, _strided))
    arrays = {
        "votes": _rng.standard_normal((1, 130, 2, 2)),
        "gout": _rng.standard_normal((1, 130, 2)),
    }
    # The base operation, whose squashing and softmax have kernels.
    found.append(Case("many-kinds", both, arrays, _routing(2)))
    return found


CASES = _cases()
