"""Raw texts as numbers of words: the part of a text model that a file keeps beside the network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ironlearn import _modelfile
from ironlearn.exceptions import ModelFileError
from ironlearn.nn.inference import predict
from ironlearn.nn.layers.base import Layer
from ironlearn.nn.layers.embedding import Embedding
from ironlearn.text._batches import by_length
from ironlearn.text._tokens import tokenize
from ironlearn.text._vocabulary import UNKNOWN, Ids, Vocabulary, padded


@dataclass(frozen=True)
class Encoder:
    """Turns texts into numbers of words.

    Attributes
    ----------
    vocabulary : Vocabulary
    lowercase, punctuation : bool
        See `tokenize`.
    max_length : int
        Words of a text that are read, from its beginning.
    """

    vocabulary: Vocabulary
    lowercase: bool
    punctuation: bool
    max_length: int

    @classmethod
    def learn(
        cls,
        texts: Sequence[str],
        *,
        lowercase: bool,
        punctuation: bool,
        max_length: int,
        min_df: int | float,
        max_features: int | None,
    ) -> tuple[Encoder, list[Ids]]:
        """Return the encoder of training texts, and the texts encoded."""
        words = [tokenize(text, lowercase=lowercase, punctuation=punctuation) for text in texts]
        vocabulary = Vocabulary.learn(words, min_df=min_df, max_features=max_features)
        encoder = cls(vocabulary, lowercase, punctuation, max_length)
        return encoder, [encoder._numbers(text) for text in words]

    def __call__(self, texts: Sequence[str]) -> list[Ids]:
        """Return texts as numbers; one without any word becomes a single unknown word."""
        return [
            self._numbers(tokenize(text, lowercase=self.lowercase, punctuation=self.punctuation))
            for text in texts
        ]

    def _numbers(self, words: Sequence[str]) -> Ids:
        numbers = self.vocabulary.encode(words, self.max_length)
        return numbers if len(numbers) else np.array([UNKNOWN], dtype=np.int32)

    def pack(self, tensors: _modelfile.Tensors) -> dict[str, Any]:
        """Store the vocabulary in `tensors`; return the rest as JSON values."""
        return {
            "vocabulary": self.vocabulary.pack(tensors),
            "lowercase": bool(self.lowercase),
            "punctuation": bool(self.punctuation),
            "max_length": int(self.max_length),
        }

    @classmethod
    def unpack(cls, described: Mapping[str, Any], tensors: _modelfile.Tensors) -> Encoder:
        """Return what `pack` stored."""
        length = described["max_length"]
        if type(length) is not int or length < 1:
            raise ModelFileError(f"max_length is {length!r}, no number of words.")
        return cls(
            Vocabulary.unpack(described["vocabulary"], tensors),
            bool(described["lowercase"]),
            bool(described["punctuation"]),
            length,
        )


def outputs(
    network: Layer, texts: Sequence[Ids], device: Any, batch_size: int = 128
) -> NDArray[Any]:
    """Return the network's outputs for encoded texts, batches of similar length at a time."""
    found: NDArray[Any] | None = None
    for rows in by_length(texts, batch_size):
        x = padded([texts[row] for row in rows])
        part = predict(network, x, batch_size=batch_size, device=device)
        if found is None:
            found = np.empty((len(texts), *part.shape[1:]), dtype=part.dtype)
        found[rows] = part
    assert found is not None
    return found


def probabilities(logits: NDArray[Any]) -> NDArray[np.float64]:
    """Return class probabilities: a softmax, or for a single logit a sigmoid of both signs."""
    z = logits.astype(np.float64)
    if z.shape[1] == 1:
        z = np.concatenate([np.zeros_like(z), z], axis=1)
    z -= z.max(axis=1, keepdims=True)
    np.exp(z, out=z)
    return z / z.sum(axis=1, keepdims=True)


def check_words(network: Layer, encoder: Encoder) -> None:
    """Refuse a file whose network knows another number of words than its vocabulary."""
    for layer in network.layers_of():
        if isinstance(layer, Embedding) and layer.input_dim < len(encoder.vocabulary):
            raise ModelFileError(
                f"the vocabulary has {len(encoder.vocabulary)} words, but the network knows "
                f"{layer.input_dim}."
            )
