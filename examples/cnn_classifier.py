"""A convolutional network that reads digits: training, what it confuses, a file, plots.

Without arguments it takes scikit-learn's digits of 8 x 8 pixels. ``--mnist FOLDER`` takes the four
files of MNIST (``train-images-idx3-ubyte.gz`` and so on) instead.
"""

from __future__ import annotations

import argparse
import gzip
import tempfile
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import ironlearn
from ironlearn.vision import CNNClassifier


def mnist(folder: Path) -> list[np.ndarray]:
    """Return training images, test images, and their labels."""
    found = []
    for kind, skip in (("images-idx3", 16), ("labels-idx1", 8)):
        for part in ("train", "t10k"):
            raw = gzip.decompress((folder / f"{part}-{kind}-ubyte.gz").read_bytes())
            values = np.frombuffer(raw, np.uint8, offset=skip)
            found.append(values.reshape(-1, 28, 28) if skip == 16 else values)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mnist", type=Path, metavar="FOLDER", help="the folder of MNIST")
    parser.add_argument("--epochs", type=int, default=10, help="passes over the images")
    parser.add_argument("--plot", type=Path, metavar="FOLDER", help="write pictures to this folder")
    chosen = parser.parse_args()

    if chosen.mnist:
        X, X_test, y, y_test = mnist(chosen.mnist)
    else:
        digits = load_digits()
        X, X_test, y, y_test = train_test_split(
            (digits.images / 16).astype(np.float32), digits.target, random_state=0
        )
    # The accurate preset also moves and turns images, which pays where there are many pixels.
    model = CNNClassifier.from_preset(
        "accurate", epochs=chosen.epochs, augment=chosen.mnist is not None, random_state=0
    )
    X, X_held, y, y_held = train_test_split(X, y, test_size=0.1, random_state=0, stratify=y)
    model.fit(X, y, validation_data=(X_held, y_held))
    print(model.summary())
    for epoch, accuracy in enumerate(model.history_["val_accuracy"], 1):
        print(f"epoch {epoch:2d}: accuracy on held-back images {accuracy:.4f}")
    print(f"test accuracy {model.score(X_test, y_test):.4f}")

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "digits.ironlearn"
        model.save(path)
        loaded = ironlearn.load(path)
        same = np.array_equal(loaded.predict(X_test), model.predict(X_test))
        print(f"{path.stat().st_size / 1e6:.2f} MB on disk, the same answers: {same}")

    if chosen.plot is not None:
        chosen.plot.mkdir(parents=True, exist_ok=True)
        wrong = np.argsort(model.predict(X_test) == y_test, kind="stable")
        model.plot_samples(X_test[wrong], y_test[wrong], n=32).savefig(chosen.plot / "samples.png")
        model.plot_confusion(X_test, y_test).figure.savefig(chosen.plot / "confusion.png")
        model.plot_history().savefig(chosen.plot / "training.png")
        print("wrote", ", ".join(sorted(path.name for path in chosen.plot.glob("*.png"))))


if __name__ == "__main__":
    main()
