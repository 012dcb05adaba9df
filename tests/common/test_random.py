"""The Python streams are the Rust streams."""

from __future__ import annotations

import numpy as np
import pytest

from ironlearn._random import Stream, below, mix, seed_from, unit, words


def test_known_values() -> None:
    # The published first output of SplitMix64 seeded with 0.
    assert mix(0x9E3779B97F4A7C15) == 0xE220A8397B1DCDAF
    stream = Stream(42, 7)
    # The same two numbers stand in rust/core/src/rng.rs.
    assert [stream.next_u64(), stream.next_u64()] == [483231565967908813, 16482985722323447685]


def test_streams_are_uniform_enough() -> None:
    stream = Stream(1, 0)
    values = np.array([stream.next_f64() for _ in range(20_000)])
    assert values.min() >= 0
    assert values.max() < 1
    assert abs(values.mean() - 0.5) < 0.01
    counts = np.bincount([stream.below(7) for _ in range(14_000)], minlength=7)
    assert counts.min() > 1_800


def test_shuffle_is_a_permutation() -> None:
    items = list(range(50))
    Stream(5, 5).shuffle(items)
    assert items != list(range(50))
    assert sorted(items) == list(range(50))


@pytest.mark.parametrize("state", [None, 3, np.random.RandomState(3)])
def test_seeds(state: object) -> None:
    seed = seed_from(state)  # type: ignore[arg-type]
    assert 0 <= seed < 2**64
    if state == 3:
        assert seed == 3


@pytest.mark.parametrize("n", [1, 7, 1000, (1 << 32) - 1])
def test_many_numbers_at_once_are_the_stream_s(n: int) -> None:
    many = words(2**64 - 3, 12345, 500)
    stream = Stream(2**64 - 3, 12345)
    assert many.tolist() == [stream.next_u64() for _ in range(500)]
    stream = Stream(2**64 - 3, 12345)
    assert below(many, n).tolist() == [stream.below(n) for _ in range(500)]
    stream = Stream(2**64 - 3, 12345)
    assert unit(many).tolist() == [stream.next_f64() for _ in range(500)]
