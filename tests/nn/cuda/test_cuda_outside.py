"""Numbers that name nothing: memory stays whole, and the answer shows it.

Looking at the numbers first would wait for the device, so nothing can be raised.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest


def _send(gpu: Any, *arrays: Any) -> Any:
    return [gpu.send(np.asarray(a)) for a in arrays]


@pytest.mark.parametrize("outside", [5, -6, 2**40, -(2**40)])
def test_a_row_that_the_table_has_not_is_no_number(gpu: Any, outside: int) -> None:
    ids, table = _send(gpu, [4, outside, -5], np.arange(10, dtype=np.float32).reshape(5, 2))
    rows = gpu.receive(gpu.ops.embedding(ids, table))
    np.testing.assert_array_equal(rows, [[8, 9], [np.nan, np.nan], [0, 1]])


@pytest.mark.parametrize("outside", [5, -6, 2**40, -(2**40)])
@pytest.mark.parametrize("entries", [3, 9])
def test_what_goes_nowhere_is_left_out(gpu: Any, outside: int, entries: int) -> None:
    # With fewer entries than places, and with more.
    places = np.arange(entries) % 4
    places[1] = outside
    values = np.arange(1, entries + 1, dtype=np.float32)[:, None] * np.ones(2, np.float32)
    expected = np.zeros((5, 2), np.float32)
    inside = np.arange(entries) != 1
    np.add.at(expected, places[inside], values[inside])
    ids, grads = _send(gpu, places, values)
    for answer in (
        gpu.ops.scatter_add((5, 2), ids, grads),
        gpu.ops.embedding_backward(grads, ids, 5),
    ):
        np.testing.assert_array_equal(gpu.receive(answer), expected)


@pytest.mark.parametrize("outside", [3, -4, 2**40])
def test_a_target_that_is_no_class_makes_its_loss_no_number(gpu: Any, outside: int) -> None:
    logits, targets = _send(gpu, np.zeros((3, 3), np.float32), [0, outside, 2])
    losses, probabilities = gpu.ops.softmax_cross_entropy(logits, targets)
    np.testing.assert_allclose(gpu.receive(losses), [np.log(3), np.nan, np.log(3)], rtol=1e-6)
    np.testing.assert_allclose(gpu.receive(probabilities), 1 / 3, rtol=1e-6)


@pytest.mark.parametrize("outside", [3, -4, 2**40])
def test_an_edge_from_nowhere_makes_its_sum_no_number(gpu: Any, outside: int) -> None:
    x = np.ones((3, 2), np.float32)
    x, rows, columns, values = _send(gpu, x, [0, 1, 1], [0, outside, 2], np.ones(3, np.float32))
    sums = gpu.receive(gpu.ops.propagate(x, rows, columns, values, 2))
    np.testing.assert_array_equal(sums, [[1, 1], [np.nan, np.nan]])
