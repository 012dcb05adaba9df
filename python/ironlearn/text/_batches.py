"""Batches of texts of similar length, so that little is filled up."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ironlearn.nn.data import Batch, Batches
from ironlearn.text._vocabulary import PADDING, UNKNOWN, Ids, padded

#: Batches whose texts are sorted by length together: more fill less up, but mix texts less.
_BUCKET = 20


class TextData(Batches):
    """Batches of encoded texts.

    Each epoch puts the texts into random order, sorts each run of 20 batches by length, cuts it
    into batches and shuffles those.

    Parameters
    ----------
    texts : sequence of ndarray of int
        Encoded texts.
    y : ndarray of shape (n_samples, ...)
        Targets.
    sample_weight : ndarray of shape (n_samples,), default=None
    batch_size : int
    shuffle : bool, default=True
        ``False`` takes the texts as they are.
    word_dropout : float, default=0.0
        Probability that a word is replaced by the unknown one, drawn anew each time (Iyyer et al.,
        "Deep unordered composition rivals syntactic methods for text classification", ACL 2015).
    """

    n_samples: int
    batch_size: int
    n_batches: int

    def __init__(
        self,
        texts: Sequence[Ids],
        y: NDArray[Any],
        sample_weight: NDArray[np.float64] | None = None,
        *,
        batch_size: int,
        shuffle: bool = True,
        word_dropout: float = 0.0,
    ) -> None:
        self.texts = texts
        self.lengths = np.array([len(text) for text in texts])
        self.y = y
        self.sample_weight = sample_weight
        self.n_samples = len(texts)
        self.batch_size = batch_size
        self.n_batches = -(-self.n_samples // batch_size)
        self.shuffle = shuffle
        self.word_dropout = word_dropout

    def _order(self, rng: np.random.Generator) -> list[NDArray[np.intp]]:
        size = self.batch_size
        if not self.shuffle:
            rows = np.arange(self.n_samples)
            return [rows[i : i + size] for i in range(0, self.n_samples, size)]
        order = rng.permutation(self.n_samples)
        batches: list[NDArray[np.intp]] = []
        for start in range(0, self.n_samples, _BUCKET * size):
            run = order[start : start + _BUCKET * size]
            run = run[np.argsort(self.lengths[run], kind="stable")]
            batches += [run[i : i + size] for i in range(0, len(run), size)]
        return [batches[i] for i in rng.permutation(len(batches))]

    def batches(self, epoch: int, rng: np.random.Generator, start: int = 0) -> Iterator[Batch]:
        """Yield the batches of `epoch` from number `start` on."""
        key = int(rng.integers(1 << 62))
        for number, rows in enumerate(self._order(rng)):
            if number < start:
                continue
            x = padded([self.texts[row] for row in rows])
            if self.word_dropout:
                own = np.random.Generator(np.random.PCG64([key, number]))
                x[(own.random(x.shape) < self.word_dropout) & (x != PADDING)] = UNKNOWN
            weights = None if self.sample_weight is None else self.sample_weight[rows]
            yield x, self.y[rows], weights


def by_length(texts: Sequence[Ids], batch_size: int) -> Iterator[NDArray[np.intp]]:
    """Yield the numbers of the texts of each batch, shortest texts first."""
    order = np.argsort([len(text) for text in texts], kind="stable")
    for start in range(0, len(order), batch_size):
        yield order[start : start + batch_size]
