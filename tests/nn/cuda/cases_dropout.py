"""Random masks and noise."""

from __future__ import annotations

from typing import Any

import numpy as np

from ironlearn._random import unit, words
from nn.cuda.cases import Case, one

_rng = np.random.default_rng(5)
#: Seeds and tasks whose keys have the highest bit set and not set, beyond 64 bits, below 0.
_STREAMS = ((0, 0), (42, 7), (2**64 - 1, 3), (-5, 2**70))


def _units(seed: int, task: int, *shape: int, **settings: Any) -> Case:
    return one("random_unit", f"{seed}-{task}-{shape}", {}, seed, task, shape, **settings)


def _of_dtype(operation: str, name: str, *parameters: Any, **settings: Any) -> Case:
    """Return a case of an operation whose last parameter is the dtype."""
    return Case(
        name,
        (operation,),
        {"like": np.zeros(1)},
        lambda ops, a: getattr(ops, operation)(*parameters, a["like"].dtype),
        **settings,
    )


CASES = [
    *(_units(seed, task, 3, 5, dtypes=("float64",)) for seed, task in _STREAMS),
    _units(1, 2, 0, dtypes=("float64",), kernels=False),
    _units(1, 2, 700, dtypes=("float64",)),
    _of_dtype("dropout_mask", "plain", 3, 4, (5, 60), 0.3),
    _of_dtype("dropout_mask", "number", 3, 4, (), 0.3),
    _of_dtype("dropout_mask", "empty", 3, 4, (0, 5), 0.3, kernels=False),
    _of_dtype("random_normal", "plain", 3, 4, (5, 60)),
    _of_dtype("random_normal", "one", 2**63, 4, (1,)),
    _of_dtype("random_normal", "empty", 3, 4, (0, 5), kernels=False),
    Case(
        "named type",
        ("dropout_mask",),
        {},
        lambda ops, a: ops.dropout_mask(3, 4, (9,), 0.5, np.float32),
        dtypes=("float32",),
        factor=0.0,
    ),
]
for _rate in (0.0, 0.1, 0.5, 0.999):
    CASES.append(one("dropout", f"{_rate}", {"x": _rng.standard_normal((7, 41))}, 9, 8, _rate))
# A rate that is one of the numbers drawn: that element stays.
_drawn = float(unit(words(9, 8, 20))[13])
CASES.append(one("dropout", "a number drawn", {"x": _rng.standard_normal(20)}, 9, 8, _drawn))
for _seed, _task in _STREAMS:
    _x = {"x": _rng.standard_normal((3, 11))}
    CASES.append(one("dropout", f"{_seed}-{_task}", _x, _seed, _task, 0.4))
CASES.append(
    Case(
        "strided",
        ("dropout",),
        {"x": _rng.standard_normal((6, 8))},
        lambda ops, a: ops.dropout(a["x"].T[::2], 1, 2, 0.5),
    )
)
