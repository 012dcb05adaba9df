"""How much a word speaks for a class: a start for embeddings."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ironlearn.text._vocabulary import FIRST, Ids


def log_count_ratios(
    texts: Sequence[Ids],
    codes: NDArray[np.int64],
    n_classes: int,
    n_words: int,
    weights: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    """Return, for each word and class, the logarithm of how much likelier the class makes it.

    Each text counts a word once, and every word is seen once more in each class than it was
    (Wang and Manning, "Baselines and bigrams: simple, good sentiment and topic classification",
    ACL 2012).

    Returns
    -------
    ndarray of shape (n_words, 1 for two classes, else n_classes)
        For two classes the ratio of the second to the first; else of each to all others. Filling
        and unknown words have 0.

    Examples
    --------
    >>> texts = [np.array([2, 3]), np.array([2, 4])]
    >>> log_count_ratios(texts, np.array([0, 1]), 2, 5).ravel().round(2).tolist()
    [0.0, 0.0, 0.0, -0.69, 0.69]
    """
    counts = np.ones((n_classes, n_words))
    for i, (text, code) in enumerate(zip(texts, codes, strict=True)):
        counts[code, np.unique(text)] += 1.0 if weights is None else weights[i]
    counts[:, :FIRST] = 0
    others = counts.sum(axis=0) - counts
    share = counts / counts.sum(axis=1, keepdims=True)
    rest = others / others.sum(axis=1, keepdims=True)
    ratios = np.zeros((n_words, n_classes))
    ratios[FIRST:] = np.log(share[:, FIRST:] / rest[:, FIRST:]).T
    return ratios[:, 1:] if n_classes == 2 else ratios
