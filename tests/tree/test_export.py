"""Trees as text, as Graphviz source, and as a plot."""

from __future__ import annotations

import matplotlib
import pytest
from sklearn.datasets import load_iris
from sklearn.exceptions import NotFittedError
from sklearn.tree import DecisionTreeClassifier as Theirs
from sklearn.tree import export_text as their_text

from ironlearn.tree import DecisionTreeClassifier, export_graphviz, export_text, plot_tree

matplotlib.use("Agg")
X, Y = load_iris(return_X_y=True)


@pytest.fixture(scope="module")
def tree() -> DecisionTreeClassifier:
    return DecisionTreeClassifier(max_depth=3, random_state=0).fit(X[:, 2:], Y)


def test_text_is_scikit_learn_s(tree: DecisionTreeClassifier) -> None:
    one = DecisionTreeClassifier(max_depth=2, random_state=0).fit(X[:, 2:3], Y)
    theirs = Theirs(max_depth=2, random_state=0).fit(X[:, 2:3], Y)
    names = ["petal length"]
    assert export_text(one, feature_names=names) == their_text(theirs, feature_names=names)
    assert " or missing" in export_text(tree, show_missing=True)
    assert " or missing" not in export_text(tree)
    assert "weights: [" in export_text(tree, show_weights=True)
    assert "truncated branch" in export_text(tree, max_depth=0)


def test_graphviz(tree: DecisionTreeClassifier) -> None:
    source = export_graphviz(tree, feature_names=['a "b"', "c\\d"], class_names=["x", "y", "z"])
    assert source.startswith("digraph Tree {")
    assert source.count("->") == tree.tree_.node_count - 1
    assert '\\"b\\"' in source or "c\\\\d" in source
    assert export_graphviz(tree, max_depth=1).count("->") == 2


def test_plot(tree: DecisionTreeClassifier) -> None:
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots()
    drawn = plot_tree(tree, ax=axes)
    assert len(drawn) == tree.tree_.node_count
    assert len(plot_tree(tree, ax=axes, max_depth=1)) == 3
    figure.canvas.draw()
    plt.close(figure)


def test_wrong_names(tree: DecisionTreeClassifier) -> None:
    with pytest.raises(ValueError, match="feature_names must contain 2"):
        export_text(tree, feature_names=["a"])
    with pytest.raises(ValueError, match="class_names must contain 3"):
        export_text(tree, class_names=["a"])
    with pytest.raises(NotFittedError):
        export_text(DecisionTreeClassifier())
