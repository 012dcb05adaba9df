"""Rows of a table by number."""

from __future__ import annotations

import numpy as np

from nn.cuda.cases import Case, one

_rng = np.random.default_rng(3)


def _ids(*shape: int, high: int = 7) -> np.ndarray:
    return _rng.integers(0, high, shape)


def _reading(name: str, ids: np.ndarray, width: int, **settings: bool) -> list[Case]:
    table = _rng.standard_normal((7, width))
    return [
        one(operation, name, {"ids": ids, "table": table}, **settings)
        for operation in ("embedding", "take_rows")
    ]


def _adding(name: str, ids: np.ndarray, width: int, kernels: bool = True) -> list[Case]:
    arrays = {"gy": _rng.standard_normal((*ids.shape, width)), "ids": ids}
    return [
        one("embedding_backward", name, arrays, 7, kernels=kernels),
        one("embedding_rows", name, arrays, waits=True, kernels=kernels),
    ]


CASES = [
    *_reading("matrix", _ids(3, 4), 5),
    *_reading("one", _ids(1), 1),
    *_reading("none", _ids(0), 5, kernels=False),
    *_reading("wide", _ids(9), 70),
    *_reading("many", _ids(300), 3),
    *_reading("int32", _ids(3, 4).astype(np.int32), 5),
    *_reading("from the end", np.array([-1, -7, 0]), 5),
    *_adding("matrix", _ids(3, 4), 5),
    *_adding("one", _ids(1), 1),
    *_adding("none", _ids(0), 5, kernels=False),
    *_adding("wide", _ids(9), 70),
    *_adding("many", _ids(300), 3),
    *_adding("mostly padding", _ids(20, 9) * (_ids(20, 9) > 4), 9),
    *_adding("int32", _ids(3, 4).astype(np.int32), 5),
    Case(
        "strided",
        ("embedding_backward",),
        {"gy": _rng.standard_normal((4, 6, 5)), "ids": _ids(6, 4)},
        lambda ops, a: ops.embedding_backward(a["gy"].swapaxes(0, 1), a["ids"], 7),
    ),
]
