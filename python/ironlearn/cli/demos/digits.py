"""Handwritten digits of 8 x 8 pixels, read by a convolutional network."""

from __future__ import annotations

import numpy as np

from ironlearn.cli.demos import Outcome, Settings


def run(settings: Settings) -> Outcome:
    """Train on three quarters of scikit-learn's digits and read the rest."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    from ironlearn.vision import CNNClassifier

    digits = load_digits()
    X, X_test, y, y_test = train_test_split(
        (digits.images / 16).astype(np.float32),
        digits.target,
        random_state=settings.seed,
        stratify=digits.target,
    )
    model = CNNClassifier(
        epochs=settings.epochs or 10,
        schedule="one_cycle",
        learning_rate=3e-3,
        random_state=settings.seed,
        verbose=int(settings.verbose),
    )
    model.fit(X, y, validation_data=(X_test, y_test))
    answers = model.predict(X_test)
    wrong = np.flatnonzero(answers != y_test)
    counts = np.bincount(y)
    lines = [f"{len(wrong)} of {len(y_test)} digits are misread"]
    lines += [
        f"  a {y_test[i]} for a {answers[i]}, sure to {model.predict_proba(X_test[[i]]).max():.0%}"
        for i in wrong[:5]
    ]
    figure = None
    if settings.plot:
        # Misread digits first: they are what one wants to see.
        order = np.argsort(answers == y_test, kind="stable")
        figure = model.plot_samples(X_test[order], y_test[order], n=32)
    return Outcome(
        f"scikit-learn's digits: {len(X)} to train, {len(X_test)} to test",
        "accuracy",
        float(np.mean(answers == y_test)),
        float(np.mean(y_test == counts.argmax())),
        "always the most frequent digit",
        lines,
        figure,
    )
