"""Makes the model files of task estimators in `golden_tasks/`: what later versions must still read.

``python tests/common/make_golden_tasks.py NAME`` writes one; existing files of a released version
are never made again.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

FOLDER = Path(__file__).parent / "golden_tasks"


def cnn() -> tuple[Any, Any]:
    """Return a fitted classifier of images and its answers."""
    from sklearn.datasets import load_digits

    from ironlearn.vision import CNNClassifier

    X, y = load_digits(return_X_y=True)
    X = (X.reshape(-1, 8, 8) / 16).astype(np.float32)
    labels = np.array(["zero", "one", "two"])[y[y < 3]]
    model = CNNClassifier(epochs=1, batch_size=64, random_state=0).fit(X[y < 3], labels)
    return model, model.predict_proba(images())


def images() -> np.ndarray[Any, Any]:
    """Return images to predict."""
    return np.random.default_rng(0).random((5, 8, 8), dtype=np.float32)


def forecaster() -> tuple[Any, Any]:
    """Return a fitted forecaster and its answers."""
    from ironlearn.series import LSTMForecaster

    model = LSTMForecaster(horizon=4, window=8, epochs=2, random_state=0).fit(series())
    return model, model.predict()


def series() -> np.ndarray[Any, Any]:
    """Return a series with a season of 8 steps."""
    steps = np.arange(120)
    return 10 + np.sin(2 * np.pi * steps / 8) + 0.1 * np.cos(steps)


def texts() -> tuple[Any, Any]:
    """Return a fitted classifier of texts and its answers."""
    from ironlearn.text import LSTMTextClassifier

    words = ["good", "bad", "fine", "poor", "film", "plot", "the", "was"]
    rng = np.random.default_rng(0)
    many = [" ".join(rng.choice(words, 5)) for _ in range(80)]
    labels = [sum(t.count(w) for w in ("good", "fine")) > 1 for t in many]
    model = LSTMTextClassifier(epochs=1, random_state=0).fit(many, labels)
    return model, model.predict_proba(sentences())


def sentences() -> list[str]:
    """Return texts to predict."""
    return ["the film was good", "bad bad plot", "", "never seen words"]


GOLDEN = {"CNNClassifier": cnn, "LSTMForecaster": forecaster, "LSTMTextClassifier": texts}


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name in sys.argv[1:] or GOLDEN:
        estimator, answers = GOLDEN[name]()
        estimator.save(FOLDER / f"{name}.ironlearn")
        np.savez(FOLDER / f"{name}.npz", answers=answers)
