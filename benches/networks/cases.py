"""What each case is: its data, and how many steps one call makes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

BATCH = 32


@dataclass(frozen=True)
class Case:
    """One network and its work.

    Attributes
    ----------
    steps : int
        Training steps (or predictions) of one call.
    batch : int
        Samples of a step.
    target : float
        How many times as fast as the faster peer it shall be.
    what : str
        The network in words.
    """

    steps: int
    batch: int
    target: float
    what: str


CASES: dict[str, Case] = {
    "digits_cnn": Case(
        40, BATCH, 4.0, "28x28x1: Conv 32, pool, Conv 64, pool, Conv 64, Dense 64, Dense 10"
    ),
    "lstm_50x2": Case(40, BATCH, 3.0, "50 steps of 1 feature: LSTM 50, LSTM 50, Dense 1"),
    "text_lstm": Case(
        20, BATCH, 3.0, "100 words: Embedding 10,000 x 64, LSTM 50, Dense 64, Dense 1"
    ),
    "dense_stack": Case(100, BATCH, 2.0, "784-512-10"),
    "denoising_cnn": Case(20, BATCH, 1.5, "28x28x1: Conv 32, 32, 1 of 3x3, same padding"),
    "gan_mlp": Case(
        10, BATCH, 1.0, "G 100-128-256-512-1024-784, D 784-512-256-128-1: a step of each"
    ),
    "conv_vae": Case(20, BATCH, 1.0, "28x28x1, latent 20: 2 strided conv, 2 transposed conv"),
    "capsule": Case(1, BATCH, 1.0, "28x28x1: Conv 256 9x9, primary 8-D, 10 x 16-D, 3 rounds"),
    "srcnn": Case(2, 16, 1.0, "48x48x1: Conv 64 9x9, Conv 64 5x5, Conv 1 5x5"),
    "cnn_224": Case(1, BATCH, 1.0, "224x224x3: the stack of digits_cnn"),
    "seq2seq": Case(
        2, BATCH, 1.0, "20 words each side: embeddings 256, LSTM 512, attention, 10,000 / 5,000"
    ),
    "transformer": Case(1, BATCH, 1 / 1.2, "64 steps: 4 encoder blocks, d 512, 8 heads, ff 2,048"),
    "vgg16_forward": Case(1, 8, 1 / 1.2, "224x224x3: the 13 convolutions of VGG16, forward only"),
    "one_image": Case(200, 1, 1.0, "digits_cnn: class probabilities of one image"),
}


@dataclass
class Place:
    """Where and in which precision the networks are made to compute.

    Attributes
    ----------
    device : str
        ``"cpu"``, or ``"cuda"`` for the first GPU.
    precision : str
        ``"float32"``; on a GPU also ``"tf32"``, ``"float16"`` or ``"bfloat16"`` (mixed precision).
    """

    device: str = "cpu"
    precision: str = "float32"


#: Set before a case is built.
PLACE = Place()

VGG16 = ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512))


def data(name: str) -> tuple[np.ndarray[Any, Any], ...]:
    """Return inputs and targets for all steps of one call, the same for every library."""
    case = CASES[name]
    rng = np.random.default_rng(0)
    n = case.steps * case.batch

    def images(*shape: int) -> np.ndarray[Any, Any]:
        return rng.random((n, *shape), dtype=np.float32)

    labels = rng.integers(0, 10, n)
    if name in ("digits_cnn", "capsule"):
        return images(28, 28, 1), labels
    if name == "one_image":
        return images(28, 28, 1), labels
    if name == "lstm_50x2":
        return images(50, 1), rng.random((n, 1), dtype=np.float32)
    if name == "text_lstm":
        return rng.integers(1, 10_000, (n, 100)), rng.integers(0, 2, n)
    if name == "dense_stack":
        return images(784), labels
    if name == "gan_mlp":
        return images(784), rng.standard_normal((n, 100)).astype(np.float32)
    if name in ("denoising_cnn", "conv_vae"):
        return images(28, 28, 1), images(28, 28, 1)
    if name == "srcnn":
        return images(48, 48, 1), images(48, 48, 1)
    if name == "cnn_224":
        return images(224, 224, 3), labels
    if name == "vgg16_forward":
        return images(224, 224, 3), labels
    if name == "seq2seq":
        return (
            rng.integers(1, 10_000, (n, 20)),
            rng.integers(1, 5_000, (n, 20)),
            rng.integers(1, 5_000, (n, 20)),
        )
    return images(64, 512), images(64, 512)
