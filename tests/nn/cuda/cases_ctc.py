"""Connectionist temporal classification."""

from __future__ import annotations

from typing import Any

import numpy as np

from nn.cuda.cases import Case

_rng = np.random.default_rng(0)


def _case(
    name: str,
    steps: int,
    classes: int,
    targets: Any,
    lengths: Any = None,
    blank: int = 0,
    **settings: Any,
) -> Case:
    targets = np.asarray(targets)
    n = targets.shape[0]
    logits = 2 * _rng.standard_normal((n, steps, classes))
    logs = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    arrays = {
        "logs": logs,
        "targets": targets,
        "lengths": np.full(n, steps) if lengths is None else np.asarray(lengths),
    }

    def run(ops: Any, a: Any) -> Any:
        return ops.ctc(a["logs"], a["targets"], a["lengths"], blank)

    return Case(name, ("ctc",), arrays, run, **settings)


def _strided(ops: Any, a: Any) -> Any:
    return ops.ctc(a["logs"].swapaxes(0, 1), a["targets"].T, a["lengths"], 0)


def _cases() -> list[Case]:
    found = [
        _case("one-step", 1, 3, [[1], [-1]]),
        # Repeated, equal and neighbouring symbols, padding, sequences that end early.
        _case("repeated", 9, 4, [[1, 1, 2, 1], [3, 2, 3, -1], [2, -1, -1, -1], [-1] * 4]),
        _case("lengths", 8, 3, [[1, 2], [2, 2], [1, -1], [1, 2]], [8, 5, 3, 0]),
        _case("blank-last", 7, 4, [[0, 1, 0], [2, 2, -1]], blank=3),
        # Fewer steps than symbols, or than symbols and the blanks that must part them.
        _case("impossible", 3, 3, [[1, 2, 1, 2], [1, 1, 1, -1], [1, 2, 1, -1]]),
        _case("blank-in-target", 6, 3, [[1, 0, 2], [0, 0, -1]]),
        _case("no-symbols", 4, 3, np.zeros((2, 0), np.int64), [4, 2]),
        _case("int32", 5, 3, np.array([[1, 2]], np.int32), np.array([4], np.int32)),
        # States of several warps.
        _case("long", 60, 6, _rng.integers(1, 6, (2, 25)), [60, 51]),
        _case("no-steps", 0, 3, [[1]], kernels=False),
        _case("no-sequences", 4, 3, np.zeros((0, 2), np.int64), kernels=False),
        # More states than a block's shared memory has room for.
        _case("too-many-states", 2, 3, np.full((1, 1300), -1), kernels=False, dtypes=("float32",)),
    ]
    whole = found[1]
    logs = np.ascontiguousarray(np.asarray(whole.arrays["logs"]).swapaxes(0, 1))
    targets = np.ascontiguousarray(np.asarray(whole.arrays["targets"]).T)
    arrays = {**whole.arrays, "logs": logs, "targets": targets}
    found.append(Case("strided", ("ctc",), arrays, _strided))
    return found


CASES = _cases()
