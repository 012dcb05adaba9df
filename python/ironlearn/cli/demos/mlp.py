"""Tumours told apart by thirty measurements, by a multilayer perceptron."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from ironlearn.cli.demos import Outcome, Settings


def run(settings: Settings) -> Outcome:
    """Train on three quarters of scikit-learn's breast cancer data and tell the rest."""
    from sklearn.datasets import load_breast_cancer
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.model_selection import train_test_split
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from ironlearn.neural_network import MLPClassifier

    data = load_breast_cancer()
    X, X_test, y, y_test = train_test_split(
        data.data, data.target, random_state=settings.seed, stratify=data.target
    )
    network = MLPClassifier(
        hidden_layer_sizes=(32,),
        alpha=0.01,
        batch_size=32,
        max_iter=settings.epochs or 60,
        random_state=settings.seed,
        verbose=settings.verbose,
    )
    model = make_pipeline(StandardScaler(), network)
    with warnings.catch_warnings():
        # The number of passes is the point here, not an end of all improvement.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(X, y)
    answers = model.predict(X_test)
    missed = int(np.sum((y_test == 0) & (answers == 1)))
    lines = [
        f"{network.n_iter_} passes, loss {network.loss_:.4f}",
        f"{missed} of {int(np.sum(y_test == 0))} malignant tumours are missed",
    ]
    return Outcome(
        f"scikit-learn's breast cancer data: {len(X)} rows to train, {len(X_test)} to test",
        "accuracy",
        float(np.mean(answers == y_test)),
        float(np.mean(y_test == np.bincount(y).argmax())),
        "always the more frequent diagnosis",
        lines,
        loss_curve(network) if settings.plot else None,
    )


def loss_curve(network: Any) -> Any:
    """Return a figure of a perceptron's loss over the passes."""
    from ironlearn._plots import new_figure

    figure = new_figure(5.0, 3.6)
    axes = figure.add_subplot()
    axes.plot(range(1, len(network.loss_curve_) + 1), network.loss_curve_)
    axes.set(xlabel="pass", ylabel="loss", title=type(network).__name__)
    return figure
