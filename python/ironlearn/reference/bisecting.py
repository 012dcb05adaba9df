"""Prediction of bisecting k-means in plain Python."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ironlearn.reference._rows import Rows, dense_rows


class BisectingTree:
    """Forks with two centres each; a child ``c < 0`` is the leaf ``-1 - c``."""

    def __init__(self, children: NDArray[np.int32], centres: NDArray[np.float64]) -> None:
        self.children, self.centres = children, centres

    def predict(self, x: Rows, *, n_threads: int) -> NDArray[np.int32]:
        """Return the leaf of each row: at each fork the nearer centre decides."""
        return np.array([self._leaf(row) for row in dense_rows(x)], dtype=np.int32)

    def _leaf(self, row: list[float]) -> int:
        at = 0 if len(self.children) else -1
        while at >= 0:
            squares = [
                math.fsum((v - c) ** 2 for v, c in zip(row, centre, strict=True))
                for centre in self.centres[at]
            ]
            at = int(self.children[at][0 if squares[0] <= squares[1] else 1])
        return -1 - at


def forks_of(centres: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the planes, normals and levels, between the two centres of each fork."""
    normals = [
        [float(a) - float(b) for a, b in zip(left, right, strict=True)] for left, right in centres
    ]
    levels = [
        math.fsum((float(a) ** 2 - float(b) ** 2) / 2 for a, b in zip(left, right, strict=True))
        for left, right in centres
    ]
    return np.array(normals), np.array(levels)
