"""Rows of the plain versions: dense arrays, or the parts of CSR matrices."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[Any] | tuple[NDArray[Any], NDArray[Any], NDArray[Any], int]


def dense_rows(x: Rows) -> list[list[float]]:
    """Return lists of finite numbers; elements of a CSR matrix stored in parts are added."""
    if isinstance(x, np.ndarray):
        rows = [[float(v) for v in row] for row in x]
    else:
        data, indices, indptr, width = x
        rows = [[0.0] * width for _ in range(len(indptr) - 1)]
        for i, row in enumerate(rows):
            for place in range(int(indptr[i]), int(indptr[i + 1])):
                row[int(indices[place])] += float(data[place])
    for row in rows:
        for value in row:
            if math.isnan(value):
                raise ValueError("Input X contains NaN.")
            if math.isinf(value):
                raise ValueError("Input X contains infinity or a value too large for its dtype.")
    return rows
