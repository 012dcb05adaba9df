"""Gaussian naive Bayes on a stream: learn from batches, stop, save, go on later."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split

import ironlearn
from ironlearn.naive_bayes import GaussianNB


def main() -> None:
    X, y = load_digits(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0, stratify=y)

    # Pixels of digits are often constant within a class: smooth the variances more than usual.
    model = GaussianNB(var_smoothing=1e-2)
    classes = np.unique(y)
    for start in range(0, len(X_train), 200):
        part = slice(start, start + 200)
        model.partial_fit(X_train[part], y_train[part], classes=classes)
        print(f"{min(start + 200, len(X_train)):5d} rows: {model.score(X_test, y_test):.3f}")

    at_once = GaussianNB(var_smoothing=1e-2).fit(X_train, y_train)
    print("batches and one fit agree:", np.allclose(model.theta_, at_once.theta_))
    print(f"log loss {log_loss(y_test, model.predict_proba(X_test)):.3f}")

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "digits.ironlearn")
        model.save(path)
        again = ironlearn.load(path).partial_fit(X_test, y_test)
        print(f"loaded and trained on: {again.class_count_.sum():.0f} rows seen")


if __name__ == "__main__":
    main()
