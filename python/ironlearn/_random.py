"""Counter-based random streams, the same numbers as the Rust core's.

Number n of a stream is a fixed function of (seed, task, n): the output mix of SplitMix64
(Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15


def mix(word: int) -> int:
    """Return the output mix of SplitMix64: a bijection of 64-bit words."""
    z = word & _MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
    return z ^ (z >> 31)


def stream_key(seed: int, task: int) -> int:
    """Return the 64 bits that number n of a stream is made of, with n.

    Examples
    --------
    >>> mix(stream_key(42, 7) + _GOLDEN)
    483231565967908813
    """
    return mix(mix(seed + _GOLDEN) ^ ((task * _GOLDEN) & _MASK))


class Stream:
    """One stream of random numbers.

    Parameters
    ----------
    seed, task : int
        The stream's key; equal keys give equal numbers.

    Examples
    --------
    >>> Stream(42, 7).next_u64()
    483231565967908813
    """

    def __init__(self, seed: int, task: int) -> None:
        self._key = stream_key(seed, task)
        self._counter = 0

    def next_u64(self) -> int:
        """Return the next 64 random bits."""
        self._counter = (self._counter + 1) & _MASK
        return mix(self._key + self._counter * _GOLDEN)

    def next_f64(self) -> float:
        """Return the next number in [0, 1), a multiple of 2**-53."""
        return (self.next_u64() >> 11) * 2.0**-53

    def below(self, n: int) -> int:
        """Return the next integer in ``range(n)``."""
        return (self.next_u64() * n) >> 64

    def shuffle(self, items: list[Any]) -> None:
        """Put `items` into random order, in place."""
        for i in range(len(items) - 1, 0, -1):
            j = self.below(i + 1)
            items[i], items[j] = items[j], items[i]


def words(seed: int, task: int, count: int, xp: Any = np) -> NDArray[np.uint64]:
    """Return the first `count` outputs of a stream at once, as an array of the module `xp`.

    Examples
    --------
    >>> words(42, 7, 1).tolist()
    [483231565967908813]
    """
    # Products of arrays wrap around, as those of the stream do.
    z = xp.arange(1, count + 1, dtype=np.uint64) * np.uint64(_GOLDEN)
    z += np.uint64(stream_key(seed, task))
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def below(words: NDArray[np.uint64], n: int) -> NDArray[np.uint64]:
    """Return the integers in ``range(n)`` that `Stream.below` makes of `words`; n < 2**32."""
    size, half = np.uint64(n), np.uint64(32)
    low = (words & np.uint64(0xFFFFFFFF)) * size >> half
    return ((words >> half) * size + low) >> half


def unit(words: NDArray[np.uint64]) -> NDArray[np.float64]:
    """Return the numbers in [0, 1) that `Stream.next_f64` makes of `words`."""
    return (words >> np.uint64(11)).astype(np.float64) * 2.0**-53


def seed_from(random_state: int | np.random.RandomState | None) -> int:
    """Return the 64-bit seed that `random_state` stands for.

    An integer is its own seed; a generator or ``None`` (NumPy's global one) is drawn from.
    """
    if random_state is None:
        draw = np.random.randint(0, 1 << 32, size=2, dtype=np.uint64)
    elif isinstance(random_state, np.random.RandomState):
        draw = random_state.randint(0, 1 << 32, size=2, dtype=np.uint64)
    else:
        return int(random_state) & _MASK
    return int(draw[0]) << 32 | int(draw[1])
