"""A multilayer perceptron in a pipeline: scaled features, early stopping, its loss, its answers."""

from __future__ import annotations

import argparse
from pathlib import Path

from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ironlearn.neural_network import MLPClassifier


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--plot", type=Path, help="write a picture of the training to this file")
    out = parser.parse_args().plot

    X, y = load_digits(return_X_y=True)
    X, X_test, y, y_test = train_test_split(X, y, random_state=0, stratify=y)
    network = MLPClassifier(
        hidden_layer_sizes=(64,), learning_rate_init=0.005, early_stopping=True, random_state=0
    )
    model = make_pipeline(StandardScaler(), network).fit(X, y)
    linear = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(X, y)
    print(f"{network.n_iter_} passes, loss {network.loss_:.4f}")
    print(f"test accuracy {model.score(X_test, y_test):.4f}")
    print(f"a linear model's {linear.score(X_test, y_test):.4f}")
    unsure = model.predict_proba(X_test).max(axis=1).argmin()
    print(f"least sure about row {unsure}: {model.predict_proba(X_test[[unsure]]).max():.2f}")

    if out is not None:
        import matplotlib

        matplotlib.use("Agg")
        import matplotlib.pyplot as plt

        figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.5), layout="constrained")
        left.plot(network.loss_curve_)
        left.set(xlabel="pass", ylabel="training loss")
        right.plot(network.validation_scores_)
        right.set(xlabel="pass", ylabel="accuracy on held-back rows")
        figure.savefig(out, dpi=120)
        print("wrote", out)


if __name__ == "__main__":
    main()
