"""The sort that does not wait."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ironlearn.nn.backend.cuda.sort import sorted_by_place
from standin.cupy import counts


@pytest.mark.parametrize("n", [1, 2, 255, 1024, 1025, 5000])
@pytest.mark.parametrize("n_places", [1, 255, 256, 70_000])
def test_places_are_in_order_and_entries_stay_so(gpu: Any, n: int, n_places: int) -> None:
    rng = np.random.default_rng(n + n_places)
    places = rng.integers(0, n_places + 1, n)
    if n > 2:
        places[rng.integers(0, n, n // 2)] = n_places // 2
    keys = places * n + np.arange(n)
    there = gpu.send(keys)
    counts.reset()
    answer = sorted_by_place(gpu.ops, there, n_places, np.dtype(np.float32))
    assert counts.waits == 0
    np.testing.assert_array_equal(gpu.receive(answer), np.sort(keys))
