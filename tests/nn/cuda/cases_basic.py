"""Products, scatters and sums over broadcast axes."""

from __future__ import annotations

from typing import Any

import numpy as np

from nn.cuda.cases import Case, one

_rng = np.random.default_rng(2)


def _scatter(
    name: str, shape: tuple[int, ...], values: tuple[int, ...], key: Any, **settings: Any
) -> Case:
    """Return a case of `scatter_add`; arrays in `key` are the case's, other keys its own."""
    keys = key if isinstance(key, tuple) else (key,)
    arrays = {f"key{i}": k for i, k in enumerate(keys) if isinstance(k, np.ndarray)}
    arrays["values"] = _rng.standard_normal(values)

    def run(ops: Any, a: Any) -> Any:
        index = tuple(a.get(f"key{i}", k) for i, k in enumerate(keys))
        return ops.scatter_add(shape, index if isinstance(key, tuple) else index[0], a["values"])

    return Case(name, ("scatter_add",), arrays, run, **settings)


def _rows(n: int, high: int) -> np.ndarray:
    return _rng.integers(0, high, n)


CASES = [
    one("matmul", "2d", {"a": _rng.random((5, 4)), "b": _rng.random((4, 3))}, kernels=False),
    one(
        "matmul",
        "stacks",
        {"a": _rng.random((2, 1, 5, 4)), "b": _rng.random((3, 4, 3))},
        kernels=False,
    ),
    one("matmul", "row", {"a": _rng.random((1, 4)), "b": _rng.random((2, 4, 3))}, kernels=False),
    one("matmul", "3d", {"a": _rng.random((2, 5, 4)), "b": _rng.random((4, 3))}, kernels=False),
    _scatter("rows", (6, 5), (20, 5), _rows(20, 6)),
    _scatter("rows of one", (6,), (40,), _rows(40, 6)),
    _scatter("no value", (6, 5), (0, 5), _rows(0, 6), kernels=False),
    _scatter("one value", (1, 1), (1, 1), np.array([0])),
    _scatter("no width", (6, 0), (3, 0), _rows(3, 6)),
    _scatter("wide rows", (3, 70), (9, 70), _rows(9, 3)),
    _scatter("very wide rows", (2, 2100), (3, 2100), _rows(3, 2)),
    _scatter("many for one", (2, 3), (700, 3), _rows(700, 2)),
    _scatter("many places", (300, 3), (50, 3), _rows(50, 300)),
    _scatter("negative", (6, 5), (4, 5), np.array([-1, 0, -6, 5])),
    _scatter("int32", (6, 5), (20, 5), _rows(20, 6).astype(np.int32)),
    _scatter("rows in a matrix", (6, 5), (4, 3, 5), _rows(12, 6).reshape(4, 3)),
    _scatter("more axes", (6, 2, 3), (4, 2, 3), _rows(4, 6)),
    _scatter("broadcast values", (6, 5), (5,), _rows(4, 6)),
    _scatter("pairs", (6, 5), (8,), (_rows(8, 6), _rows(8, 5))),
    _scatter("grid", (6, 5, 2), (3, 4, 2), (_rows(3, 6)[:, None], _rows(4, 5))),
    _scatter("after a slice", (3, 6), (3, 9), (slice(None), _rows(9, 6))),
    _scatter("after steps", (7, 6, 2), (3, 9, 2), (slice(1, 7, 2), _rows(9, 6))),
    _scatter("after a number", (3, 6), (9,), (1, _rows(9, 6))),
    _scatter("around a slice", (4, 3, 6), (9, 3), (_rows(9, 4), slice(None), _rows(9, 6))),
    Case(
        "strided",
        ("scatter_add",),
        {"rows": _rows(20, 6), "values": _rng.random((20, 10))},
        lambda ops, a: ops.scatter_add((6, 5), a["rows"][::2], a["values"][::2, ::2]),
    ),
]
for _have, _want, _kernels in (
    ((4, 5), (4, 5), False),
    ((4, 5), (5,), True),
    ((4, 5), (1, 5), True),
    ((4, 5), (4, 1), False),
    ((4, 5), (1, 1), True),
    ((4, 5), (), True),
    ((3, 4, 5), (5,), True),
    ((3, 4, 5), (1, 4, 5), True),
    ((3, 4, 5), (4, 1), False),
    ((3, 4, 5), (1, 1, 5), True),
    ((1, 1, 5), (5,), False),
    ((1, 4, 5), (1, 1, 5), True),
    ((0, 5), (5,), False),
    ((600, 2), (2,), True),
):
    CASES.append(
        one(
            "unbroadcast",
            f"{_have} to {_want}",
            {"array": _rng.standard_normal(_have)},
            _want,
            kernels=_kernels,
        )
    )
