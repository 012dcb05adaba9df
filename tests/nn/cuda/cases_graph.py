"""Sums over the edges of a graph."""

from __future__ import annotations

from typing import Any

import numpy as np

from nn.cuda.cases import Case

_rng = np.random.default_rng(4)


def _propagate(name: str, nodes: int, width: int, edges: int, rows: int, **settings: Any) -> Case:
    arrays = {
        "x": _rng.standard_normal((nodes, width)),
        "rows": _rng.integers(0, max(rows, 1), edges),
        "columns": _rng.integers(0, nodes, edges),
        "values": _rng.standard_normal(edges),
    }
    return Case(
        name,
        ("propagate",),
        arrays,
        lambda ops, a: ops.propagate(a["x"], a["rows"], a["columns"], a["values"], rows),
        **settings,
    )


CASES = [
    _propagate("square", 6, 5, 20, 6),
    _propagate("wide", 6, 40, 20, 9),
    _propagate("one", 1, 1, 1, 1),
    _propagate("no edges", 6, 5, 0, 6, kernels=False),
    _propagate("many edges", 9, 3, 400, 2),
    _propagate("many rows", 9, 3, 30, 300),
]
