"""The classifier of images on real pictures."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from ironlearn.vision import CNNClassifier


def mnist(folder: Path, part: str, n: int) -> tuple[np.ndarray, np.ndarray]:
    images = gzip.decompress((folder / f"mnist/{part}-images-idx3-ubyte.gz").read_bytes())
    labels = gzip.decompress((folder / f"mnist/{part}-labels-idx1-ubyte.gz").read_bytes())
    X = np.frombuffer(images, np.uint8, n * 784, offset=16).reshape(n, 28, 28)
    return X, np.frombuffer(labels, np.uint8, n, offset=8)


@pytest.mark.realdata
def test_two_passes_over_some_of_mnist(data_dir: Path) -> None:
    X, y = mnist(data_dir, "train", 4000)
    X_test, y_test = mnist(data_dir, "t10k", 2000)
    model = CNNClassifier(epochs=2, learning_rate=3e-3, schedule="one_cycle", random_state=0)
    # The most frequent digit is right in 11 % of the cases.
    assert model.fit(X, y).score(X_test, y_test) > 0.92


@pytest.mark.realdata
def test_colour_pictures_are_learned_a_little(data_dir: Path) -> None:
    with np.load(data_dir / "cifar10/cifar10_train10k_test2k.npz") as data:
        X, y = data["X_train"][:2000], data["y_train"][:2000]
        X_test, y_test = data["X_test"][:1000], data["y_test"][:1000]
    model = CNNClassifier(epochs=3, augment={"horizontal_flip": True}, random_state=0)
    # Ten classes of equal size: 10 % by chance.
    assert model.fit(X, y).score(X_test, y_test) > 0.25
