"""Words as numbers."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ironlearn import _modelfile
from ironlearn.exceptions import ModelFileError

#: Number that fills short texts up, and number of words that are not in the vocabulary.
PADDING, UNKNOWN = 0, 1
#: The first number of a known word.
FIRST = 2

Ids = NDArray[np.int32]


class Vocabulary:
    """Numbers of words: 0 fills up, 1 is any unknown word, 2 the most frequent known one.

    Parameters
    ----------
    words : sequence of str
        The known words; the place of a word plus 2 is its number.

    Examples
    --------
    >>> vocabulary = Vocabulary.learn([["a", "b", "a"], ["a", "c"]], min_df=1)
    >>> vocabulary.words
    ['a', 'b', 'c']
    >>> vocabulary.encode(["c", "x", "a"]).tolist()
    [4, 1, 2]
    """

    def __init__(self, words: Sequence[str]) -> None:
        self.words = list(words)
        self._numbers = {word: i for i, word in enumerate(self.words, FIRST)}
        if len(self._numbers) != len(self.words):
            raise ValueError("a vocabulary has a word twice")

    def __len__(self) -> int:
        """Return how many numbers there are."""
        return len(self.words) + FIRST

    @classmethod
    def learn(
        cls,
        texts: Sequence[Sequence[str]],
        *,
        min_df: int | float = 1,
        max_features: int | None = None,
    ) -> Vocabulary:
        """Return the vocabulary of tokenised texts, by falling number of texts that have the word.

        Words of equally many texts are in alphabetical order, so that the order of the texts does
        not matter.

        Parameters
        ----------
        min_df : int or float, default=1
            Texts, or share of texts, that must have a word.
        max_features : int, default=None
            Most words to know.
        """
        found = Counter(word for text in texts for word in set(text))
        least = min_df if isinstance(min_df, int | np.integer) else math.ceil(min_df * len(texts))
        kept = sorted((-n, word) for word, n in found.items() if n >= least)
        return cls([word for _, word in kept[:max_features]])

    def encode(self, text: Sequence[str], limit: int | None = None) -> Ids:
        """Return the numbers of a tokenised text, of its first `limit` words."""
        numbers = self._numbers
        return np.array([numbers.get(word, UNKNOWN) for word in text[:limit]], dtype=np.int32)

    def pack(self, tensors: _modelfile.Tensors) -> dict[str, Any]:
        """Store the words in `tensors`; return their description."""
        return _modelfile.pack_values("vocabulary", np.array(self.words, dtype=object), tensors)

    @classmethod
    def unpack(cls, described: Any, tensors: _modelfile.Tensors) -> Vocabulary:
        """Return what `pack` stored."""
        words = _modelfile.unpack_values("vocabulary", described, tensors).tolist()
        if not all(isinstance(word, str) for word in words):
            raise ModelFileError("the vocabulary holds something that is no word.")
        return cls(words)


def padded(texts: Sequence[Ids]) -> Ids:
    """Return encoded texts as one array, filled up with 0 behind; one step at least.

    Examples
    --------
    >>> padded([np.array([5, 6]), np.array([7])]).tolist()
    [[5, 6], [7, 0]]
    """
    width = max(1, max(len(text) for text in texts))
    array = np.full((len(texts), width), PADDING, dtype=np.int32)
    for row, text in zip(array, texts, strict=True):
        row[: len(text)] = text
    return array
