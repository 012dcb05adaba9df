"""A decision tree that a person can read: prune by cross-validation, print, plot."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import cross_val_score, train_test_split

from ironlearn.tree import DecisionTreeClassifier, export_text, plot_tree


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--plot", type=Path, help="write a picture of the tree to this file")
    out = parser.parse_args().plot

    data = load_breast_cancer()
    X, X_test, y, y_test = train_test_split(
        data.data, data.target, random_state=0, stratify=data.target
    )
    full = DecisionTreeClassifier(random_state=0).fit(X, y)
    path = full.cost_complexity_pruning_path(X, y)
    alphas = np.unique(path.ccp_alphas[:-1])
    scores = [
        cross_val_score(DecisionTreeClassifier(ccp_alpha=a, random_state=0), X, y).mean()
        for a in alphas
    ]
    alpha = alphas[int(np.argmax(scores))]
    pruned = DecisionTreeClassifier(ccp_alpha=alpha, random_state=0).fit(X, y)
    print(
        f"full:   {full.get_n_leaves():3d} leaves, test accuracy {full.score(X_test, y_test):.3f}"
    )
    print(
        f"pruned: {pruned.get_n_leaves():3d} leaves, test accuracy "
        f"{pruned.score(X_test, y_test):.3f} (ccp_alpha={alpha:.4f})"
    )
    print(export_text(pruned, feature_names=list(data.feature_names)))
    best = np.argsort(pruned.feature_importances_)[::-1][:3]
    print("most important:", ", ".join(data.feature_names[best]))

    if out is not None:
        import matplotlib

        matplotlib.use("Agg")
        import matplotlib.pyplot as plt

        figure, axes = plt.subplots(figsize=(12, 7))
        plot_tree(
            pruned,
            feature_names=list(data.feature_names),
            class_names=list(data.target_names),
            filled=True,
            rounded=True,
            ax=axes,
        )
        figure.savefig(out, dpi=120)
        print("wrote", out)


if __name__ == "__main__":
    main()
