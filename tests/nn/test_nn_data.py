"""Batches: the right rows in the right order, and nothing read that is not asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ironlearn.exceptions import DataError, InvalidParameterError
from ironlearn.nn.data import (
    ArrayData,
    IteratorData,
    as_batches,
    epoch_generator,
    join,
    take,
    weights_by_class,
)


def read(data: Any, epoch: int = 0, start: int = 0, seed: int = 0) -> list[Any]:
    return list(data.batches(epoch, epoch_generator(seed, epoch), start))


@given(n=st.integers(1, 40), size=st.integers(1, 12), epoch=st.integers(0, 3), drop=st.booleans())
def test_an_epoch_holds_every_sample_once(n: int, size: int, epoch: int, drop: bool) -> None:
    if drop and n < size:
        return
    data = ArrayData(np.arange(n), -np.arange(n), np.ones(n), batch_size=size, drop_last=drop)
    batches = read(data, epoch)
    assert len(batches) == data.n_batches
    assert all(len(x) == size for x, _, _ in batches[:-1])
    x = np.concatenate([x for x, _, _ in batches])
    np.testing.assert_array_equal(x, -np.concatenate([y for _, y, _ in batches]))
    left = n % size if drop else 0
    assert len(set(x.tolist())) == len(x) == n - left
    rows = list(data.rows(epoch, epoch_generator(0, epoch)))
    np.testing.assert_array_equal(np.concatenate(rows), x)


def test_the_order_depends_on_seed_and_epoch_alone() -> None:
    data = ArrayData(np.arange(50), batch_size=7)
    first = join([x for x, _, _ in read(data, 1)])
    read(data, 5)
    np.testing.assert_array_equal(first, join([x for x, _, _ in read(data, 1)]))
    assert (first != join([x for x, _, _ in read(data, 2)])).any()
    assert (first != join([x for x, _, _ in read(data, 1, seed=1)])).any()
    # Another batch size cuts the same order.
    other = ArrayData(np.arange(50), batch_size=50)
    np.testing.assert_array_equal(first, read(other, 1)[0][0])


@pytest.mark.parametrize("start", [0, 1, 3, 4])
def test_the_rest_of_an_epoch_is_the_same(start: int) -> None:
    def noise(x: Any, rng: np.random.Generator) -> Any:
        return x + rng.standard_normal(x.shape)

    for data in (
        ArrayData(np.arange(30.0), batch_size=8, transform=noise),
        IteratorData(lambda epoch: ((np.full(3, 10 * epoch + i), None) for i in range(4))),
    ):
        whole, rest = read(data, 2), read(data, 2, start)
        assert len(rest) == 4 - start
        for (x, _, _), (again, _, _) in zip(whole[start:], rest, strict=True):
            np.testing.assert_array_equal(x, again)


def test_several_inputs_stay_together() -> None:
    x = (np.arange(9), np.arange(9)[:, None] * 2.0)
    y = (np.arange(9) * 3, np.arange(9) * 4)
    for (a, b), (c, d), weights in read(ArrayData(x, y, batch_size=4)):
        np.testing.assert_array_equal(a * 2, b[:, 0])
        np.testing.assert_array_equal(a * 3, c)
        np.testing.assert_array_equal(a * 4, d)
        assert weights is None
    assert take(None, [0]) is None
    np.testing.assert_array_equal(join([take(x, slice(0, 4)), take(x, slice(4, 9))])[1], x[1])


def test_memory_mapped_rows_are_read_when_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    stored = np.arange(600, dtype=np.float32).reshape(100, 6)
    np.save(path, stored)
    mapped = np.load(path, mmap_mode="r")
    data = ArrayData(mapped, batch_size=9)
    # Still the mapped file, not a copy of it.
    assert isinstance(data.x, np.memmap)
    x = join([x for x, _, _ in read(data)])
    np.testing.assert_array_equal(np.sort(x[:, 0]), stored[:, 0])
    assert not isinstance(read(data)[0][0], np.memmap)


def test_iterators_may_be_endless_and_must_not_be_short() -> None:
    def endless() -> Any:
        while True:
            yield np.ones((2, 1)), np.zeros(2), [1.0, 0.0]

    data = IteratorData(endless, 5)
    assert data.n_batches == 5
    assert len(read(data)) == 5
    short = IteratorData(lambda: [(np.ones(2), None)], 5)
    with pytest.raises(DataError, match="ended after 1 batches, but steps_per_epoch is 5"):
        read(short)
    with pytest.raises(DataError, match="of epoch 3 yielded no batch"):
        read(IteratorData(lambda: []), 3)
    with pytest.raises(InvalidParameterError, match="an iterator alone can be read only once"):
        IteratorData(iter([]))  # type: ignore[arg-type]
    for item, message in (
        (3, r"must be \(x, y\)"),
        ((np.ones(2), np.ones(3)), "has 2 samples in x and 3 in y"),
        ((np.ones(2), np.ones(2), [1.0]), r"sample_weight must have shape \(2,\)"),
        ((np.ones(2), np.ones(2), [1.0, -1.0]), "finite numbers >= 0"),
        ((["a", "b"], np.ones(2)), "x must hold numbers"),
    ):
        with pytest.raises(DataError, match=message):
            read(IteratorData(lambda item=item: [item]))
    with pytest.raises(InvalidParameterError, match="steps_per_epoch must be an int >= 1"):
        IteratorData(endless, 0)


def test_bad_arrays_are_named() -> None:
    x = np.ones((4, 2))
    for args, message in (
        ((np.ones((0, 2)),), "x has no samples"),
        ((x, np.ones(3)), "got 4 and, in y, 3"),
        (((x, np.ones(5)),), "got 4 and, in x, 5"),
        (((),), "empty tuple"),
        ((np.float64(3),), "must have an axis of samples"),
        ((np.array(["a"]),), "x must hold numbers, got dtype <U1"),
        ((x, np.ones(4), np.ones(3)), r"sample_weight must have shape \(4,\), got \(3,\)"),
        ((x, np.ones(4), -np.ones(4)), "finite numbers >= 0"),
        ((x, np.ones(4), [1, 1, 1, np.nan]), "finite numbers >= 0"),
        ((x, np.ones(4), np.zeros(4)), "all sample_weight values are zero"),
    ):
        with pytest.raises(DataError, match=message):
            ArrayData(*args, batch_size=2)
    for size in (0, True, 2.0):
        with pytest.raises(InvalidParameterError, match="batch_size must be an int >= 1"):
            ArrayData(x, batch_size=size)  # type: ignore[arg-type]
    with pytest.raises(InvalidParameterError, match="transform must be callable"):
        ArrayData(x, batch_size=2, transform=3)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="drop_last leaves no batch"):
        ArrayData(x, batch_size=5, drop_last=True)
    with pytest.raises(InvalidParameterError, match="data must be Batches"):
        as_batches(x)


def test_class_weights_become_sample_weights() -> None:
    codes = np.array([0, 1, 1, 1])
    labels = np.array(["a", "b"])
    assert weights_by_class(codes, None, labels) is None
    np.testing.assert_allclose(weights_by_class(codes, {"a": 3}, labels), [3, 1, 1, 1])
    np.testing.assert_allclose(
        weights_by_class(codes, {np.str_("b"): 2}, labels, [1, 0, 1, 2]), [1, 0, 2, 4]
    )
    balanced = weights_by_class(codes, "balanced", labels, [1, 2, 2, 2])
    assert balanced is not None
    sums = np.bincount(codes, balanced)
    assert sums[0] == pytest.approx(sums[1])
    for bad, message in (
        ({"c": 1}, "names the class 'c'"),
        ({"a": -1}, "of 'a' must be a finite number >= 0"),
        ("even", "must be a dict, 'balanced' or None, got 'even'"),
    ):
        with pytest.raises(InvalidParameterError, match=message):
            weights_by_class(codes, bad, labels)
