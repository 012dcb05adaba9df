"""A random forest: out-of-bag score, growing it further, and what matters."""

from __future__ import annotations

import argparse

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from ironlearn.ensemble import RandomForestClassifier


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trees", type=int, default=200)
    trees = parser.parse_args().trees

    X, y = load_digits(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0, stratify=y)

    # The rows that a tree did not draw judge it: a test score without a test set.
    forest = RandomForestClassifier(oob_score=True, warm_start=True, random_state=0)
    for n in sorted({max(trees // 8, 1), max(trees // 4, 1), max(trees // 2, 1), trees}):
        forest.set_params(n_estimators=n).fit(X_train, y_train)
        print(f"{n:4d} trees: out of bag {forest.oob_score_:.3f}", flush=True)
    print(f"test accuracy {forest.score(X_test, y_test):.3f}")

    shades = " .:-=+*#%@"
    importance = forest.feature_importances_.reshape(8, 8)
    levels = (importance / importance.max() * (len(shades) - 1)).astype(int)
    print("pixels that matter:")
    for row in levels:
        print("  " + "".join(shades[v] * 2 for v in row))

    shares = np.mean([tree.predict(X_test) == y_test for tree in forest.estimators_], axis=1)
    print(f"single trees reach {shares.min():.3f} to {shares.max():.3f}")


if __name__ == "__main__":
    main()
