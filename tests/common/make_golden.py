"""Write the golden model files: ``python tests/common/make_golden.py``.

Each file of ``golden/`` was written by the version that first had its type, and stays: later
versions must read it and answer the same. The script therefore adds what is missing and never
writes over what is there. Beside ``NAME.ironlearn`` lies ``NAME.npz`` with rows and answers.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.datasets import load_iris

GOLDEN = Path(__file__).parent / "golden"
METHODS = ("predict", "predict_proba", "decision_function", "transform", "apply")


def _iris() -> tuple[np.ndarray, np.ndarray]:
    X, y = load_iris(return_X_y=True)
    return X, np.array(["setosa", "versicolor", "virginicà"])[y]


def _gaussian_nb() -> tuple[Any, np.ndarray]:
    from ironlearn.naive_bayes import GaussianNB

    X, y = _iris()
    return GaussianNB(var_smoothing=1e-8).fit(X, y), X[::7]


def _categorical_nb() -> tuple[Any, np.ndarray]:
    from ironlearn.naive_bayes import CategoricalNB

    X, y = _iris()
    return CategoricalNB(alpha=0.5).fit(X.astype(np.int64), y), X[::7].astype(np.int64)


def _multinomial_nb() -> tuple[Any, np.ndarray]:
    from ironlearn.naive_bayes import MultinomialNB

    X, y = _iris()
    return MultinomialNB(alpha=[0.1, 1, 2, 0.5]).fit(X, y), X[::7]


def _complement_nb() -> tuple[Any, np.ndarray]:
    from ironlearn.naive_bayes import ComplementNB

    X, y = _iris()
    return ComplementNB(norm=True, class_prior=[0.2, 0.3, 0.5]).fit(X, y), X[::7]


def _bernoulli_nb() -> tuple[Any, np.ndarray]:
    from ironlearn.naive_bayes import BernoulliNB

    X, y = _iris()
    return BernoulliNB(alpha=0.5, binarize=3.1).fit(X, y), X[::7]


def _tree() -> tuple[Any, np.ndarray]:
    from ironlearn.tree import DecisionTreeClassifier

    X, y = _iris()
    X[::11, 2] = np.nan
    return DecisionTreeClassifier(max_depth=4, random_state=0).fit(X, y), X[::7]


def _tree_with_categories() -> tuple[Any, np.ndarray]:
    from ironlearn.tree import DecisionTreeClassifier

    X, y = _iris()
    table = X.astype(object)
    table[:, 0] = np.array(["short", "middle", "long", "länger"])[(X[:, 0] - 4).astype(int)]
    table[::9, 0] = None
    tree = DecisionTreeClassifier(categorical_features=[0], criterion="entropy", random_state=0)
    return tree.fit(table, y), table[::7]


def _tree_of_outputs() -> tuple[Any, np.ndarray]:
    from ironlearn.tree import DecisionTreeClassifier

    X, y = _iris()
    width = np.array(["narrow", "middle", "wide"])[np.digitize(X[:, 1], [2.8, 3.2])]
    both = np.stack([y, width], axis=1)
    return DecisionTreeClassifier(max_depth=4, random_state=0).fit(X[:, :3], both), X[::7, :3]


def _regression_tree() -> tuple[Any, np.ndarray]:
    from ironlearn.tree import DecisionTreeRegressor

    X, _ = _iris()
    y = X[:, 3] - 2.0
    X[::11, 2] = np.nan
    weights = np.linspace(0.5, 1.5, len(X))
    return DecisionTreeRegressor(max_leaf_nodes=9, random_state=0).fit(X[:, :3], y, weights), X[
        ::7, :3
    ]


def _regression_tree_of_outputs() -> tuple[Any, np.ndarray]:
    from ironlearn.tree import DecisionTreeRegressor

    X, _ = _iris()
    tree = DecisionTreeRegressor(criterion="absolute_error", max_depth=4, random_state=0)
    return tree.fit(X[:, :2], X[:, 2:]), X[::7, :2]


def _forest() -> tuple[Any, np.ndarray]:
    from ironlearn.ensemble import RandomForestClassifier

    X, y = _iris()
    weights = np.linspace(0.5, 1.5, len(X))
    forest = RandomForestClassifier(5, max_depth=4, voting="hard", random_state=0)
    return forest.fit(X, y, weights), X[::7]


def _extra_trees() -> tuple[Any, np.ndarray]:
    from ironlearn.ensemble import ExtraTreesClassifier

    X, y = _iris()
    X[::13, 1] = np.nan
    forest = ExtraTreesClassifier(5, bootstrap=True, oob_score=True, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # five trees saw some rows all
        return forest.fit(X, y), X[::7]


def _forest_of_outputs() -> tuple[Any, np.ndarray]:
    from ironlearn.ensemble import RandomForestClassifier

    X, y = _iris()
    both = np.stack([y, np.digitize(X[:, 1], [2.8, 3.2])], axis=1)
    return RandomForestClassifier(4, max_depth=4, random_state=0).fit(X[:, :3], both), X[::7, :3]


def _regression_forest() -> tuple[Any, np.ndarray]:
    from ironlearn.ensemble import RandomForestRegressor

    X, _ = _iris()
    forest = RandomForestRegressor(30, max_depth=3, oob_score=True, random_state=0)
    return forest.fit(X[:, :3], X[:, 3] - 2.0, np.linspace(0.5, 1.5, len(X))), X[::7, :3]


def _extra_regression_trees() -> tuple[Any, np.ndarray]:
    from ironlearn.ensemble import ExtraTreesRegressor

    X, _ = _iris()
    return ExtraTreesRegressor(5, max_depth=4, random_state=0).fit(X[:, :2], X[:, 2:]), X[::7, :2]


def _linear_svc() -> tuple[Any, np.ndarray]:
    from ironlearn.svm import LinearSVC

    X, y = _iris()
    return LinearSVC(random_state=0).fit(X, y), X[::7]


def _linear_svr() -> tuple[Any, np.ndarray]:
    from ironlearn.svm import LinearSVR

    X, _ = load_iris(return_X_y=True)
    return LinearSVR(epsilon=0.1, random_state=0).fit(X[:, :3], X[:, 3]), X[::7, :3]


def _svc() -> tuple[Any, np.ndarray]:
    from ironlearn.svm import SVC

    X, y = _iris()
    return SVC(break_ties=True, class_weight="balanced").fit(X, y), X[::7]


def _svc_of_sparse_rows() -> tuple[Any, np.ndarray]:
    from scipy import sparse

    from ironlearn.svm import SVC

    X, y = _iris()
    X[X < 1] = 0.0
    model = SVC(kernel="poly", coef0=1.0, decision_function_shape="ovo")
    return model.fit(sparse.csr_matrix(X), y), X[::7]


def _svc_with_probabilities() -> tuple[Any, np.ndarray]:
    from ironlearn.svm import SVC

    X, y = _iris()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return SVC(kernel="linear", probability=True, random_state=0).fit(X, y), X[::7]


def _svr() -> tuple[Any, np.ndarray]:
    from ironlearn.svm import SVR

    X, _ = _iris()
    return SVR(C=2.0, epsilon=0.05).fit(X[:, :3], X[:, 3], np.linspace(0.5, 1.5, 150)), X[::7, :3]


def _kmeans() -> tuple[Any, np.ndarray]:
    from ironlearn.cluster import KMeans

    X, _ = _iris()
    return KMeans(3, random_state=0).fit(X), X[::7]


def _mini_batch_kmeans() -> tuple[Any, np.ndarray]:
    from ironlearn.cluster import MiniBatchKMeans

    X, _ = _iris()
    model = MiniBatchKMeans(3, batch_size=32, random_state=0).fit(X)
    return model.partial_fit(X[:40]), X[::7]


def _bisecting_kmeans() -> tuple[Any, np.ndarray]:
    from ironlearn.cluster import BisectingKMeans

    X, _ = _iris()
    return BisectingKMeans(5, random_state=0).fit(X), X[::7]


def _mlp_classifier() -> tuple[Any, np.ndarray]:
    from ironlearn.neural_network import MLPClassifier

    X, y = _iris()
    model = MLPClassifier((8, 5), activation="tanh", max_iter=60, tol=1.0, random_state=0)
    return model.fit(X, y, np.linspace(0.5, 1.5, len(X))), X[::7]


def _mlp_classifier_of_labels() -> tuple[Any, np.ndarray]:
    from ironlearn.neural_network import MLPClassifier

    X, _ = _iris()
    labels = (X[:, 2:] > [3.8, 1.2]).astype(int)
    model = MLPClassifier((6,), solver="lbfgs", alpha=1.0, tol=0.01, random_state=0)
    return model.fit(X[:, :2], labels), X[::7, :2]


def _mlp_regressor() -> tuple[Any, np.ndarray]:
    from ironlearn.neural_network import MLPRegressor

    X, _ = _iris()
    model = MLPRegressor(hidden_layer_sizes=(7,), early_stopping=True, tol=1.0, random_state=0)
    return model.fit(X[:, :2], X[:, 2:]), X[::7, :2]


#: What each file holds. The part before a dash is the estimator's type.
MAKERS: dict[str, Callable[[], tuple[Any, np.ndarray]]] = {
    "GaussianNB": _gaussian_nb,
    "CategoricalNB": _categorical_nb,
    "MultinomialNB": _multinomial_nb,
    "ComplementNB": _complement_nb,
    "BernoulliNB": _bernoulli_nb,
    "DecisionTreeClassifier": _tree,
    "DecisionTreeClassifier-categories": _tree_with_categories,
    "DecisionTreeClassifier-outputs": _tree_of_outputs,
    "DecisionTreeRegressor": _regression_tree,
    "DecisionTreeRegressor-outputs": _regression_tree_of_outputs,
    "RandomForestClassifier": _forest,
    "RandomForestClassifier-outputs": _forest_of_outputs,
    "RandomForestRegressor": _regression_forest,
    "ExtraTreesClassifier": _extra_trees,
    "ExtraTreesRegressor": _extra_regression_trees,
    "LinearSVC": _linear_svc,
    "LinearSVR": _linear_svr,
    "SVC": _svc,
    "SVC-sparse": _svc_of_sparse_rows,
    "SVC-probability": _svc_with_probabilities,
    "SVR": _svr,
    "MLPClassifier": _mlp_classifier,
    "MLPClassifier-labels": _mlp_classifier_of_labels,
    "MLPRegressor": _mlp_regressor,
    "KMeans": _kmeans,
    "MiniBatchKMeans": _mini_batch_kmeans,
    "BisectingKMeans": _bisecting_kmeans,
}


def main(folder: Path = GOLDEN) -> None:
    """Add the files that are missing."""
    for name, make in MAKERS.items():
        path = folder / f"{name}.ironlearn"
        if path.exists():
            continue
        try:
            model, X = make()
        except ImportError as error:
            print(f"{name}: {error}")
            continue
        model.save(path)
        answers = {m: getattr(model, m)(X) for m in METHODS if hasattr(model, m)}
        rows = X.astype(str) if X.dtype == object else X
        np.savez_compressed(folder / f"{name}.npz", X=rows, **answers)
        print(f"wrote {path}")


if __name__ == "__main__":
    main()
