"""The progression of diabetes, predicted by a multilayer perceptron."""

from __future__ import annotations

import warnings

import numpy as np

from ironlearn.cli.demos import Outcome, Settings
from ironlearn.cli.demos.mlp import loss_curve


def run(settings: Settings) -> Outcome:
    """Train on three quarters of scikit-learn's diabetes data and predict the rest."""
    from sklearn.datasets import load_diabetes
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.model_selection import train_test_split
    from sklearn.preprocessing import StandardScaler

    from ironlearn.neural_network import MLPRegressor

    X, y = load_diabetes(return_X_y=True)
    X, X_test, y, y_test = train_test_split(X, y, random_state=settings.seed)
    rows, targets = StandardScaler().fit(X), StandardScaler().fit(y[:, None])
    network = MLPRegressor(
        hidden_layer_sizes=(32,),
        alpha=1.0,
        batch_size=32,
        max_iter=settings.epochs or 30,
        random_state=settings.seed,
        verbose=settings.verbose,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        network.fit(rows.transform(X), targets.transform(y[:, None])[:, 0])
    answers = targets.inverse_transform(network.predict(rows.transform(X_test))[:, None])[:, 0]
    error = float(np.mean(np.abs(answers - y_test)))
    plain = float(np.mean(np.abs(y.mean() - y_test)))
    residual = float(((y_test - answers) ** 2).sum() / ((y_test - y_test.mean()) ** 2).sum())
    lines = [
        f"{network.n_iter_} passes, loss {network.loss_:.4f}",
        f"mean absolute error {error:.1f}, that of the mean {plain:.1f}",
    ]
    return Outcome(
        f"scikit-learn's diabetes data: {len(X)} rows to train, {len(X_test)} to test",
        "R²",
        1.0 - residual,
        1.0 - float(((y_test - y.mean()) ** 2).sum() / ((y_test - y_test.mean()) ** 2).sum()),
        "always the mean",
        lines,
        loss_curve(network) if settings.plot else None,
    )
