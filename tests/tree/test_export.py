"""Trees as text, as Graphviz source, and as a plot."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
from sklearn import tree as sk_tree
from sklearn.datasets import load_iris
from sklearn.exceptions import NotFittedError
from sklearn.tree import DecisionTreeClassifier as Theirs
from sklearn.tree import export_graphviz as their_graphviz
from sklearn.tree import export_text as their_text

import ironlearn.tree
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


@pytest.mark.parametrize(
    "options",
    [
        {"max_depth": 0},
        {"max_depth": 1, "show_weights": True},
        {"spacing": 1, "decimals": 4},
        {"show_weights": True, "decimals": 0, "class_names": ["a", "b", "c"]},
    ],
)
def test_text_options_are_scikit_learn_s(options: dict[str, Any]) -> None:
    settings: dict[str, Any] = {"max_depth": 4, "min_samples_leaf": 2, "random_state": 0}
    ours, theirs = (kind(**settings).fit(X[:, 2:3], Y) for kind in (DecisionTreeClassifier, Theirs))
    assert ours.get_depth() == 4
    assert export_text(ours, **options) == their_text(theirs, **options)


OPTIONS: list[dict[str, Any]] = [
    {},
    {"label": "root", "filled": True},
    {"label": "none", "node_ids": True, "rounded": True},
    {"impurity": False, "proportion": True, "filled": True, "rounded": True},
    {"max_depth": 1, "filled": True, "leaves_parallel": True},
    {"max_depth": 0, "leaves_parallel": True},
    {"rotate": True, "precision": 1, "fontname": "arial"},
    {"feature_names": ["petal length"], "class_names": ["a", "b", "c"]},
    {"special_characters": True, "node_ids": True, "feature_names": ["length"], "filled": True},
]


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("weighted", [False, True])
def test_graphviz_is_scikit_learn_s(options: dict[str, Any], weighted: bool) -> None:
    # Eighths are exact: scikit-learn would split pure nodes whose weights are rounded.
    weights = 0.5 + np.arange(len(Y)) % 13 / 8 if weighted else None
    settings: dict[str, Any] = {"max_depth": 3, "min_samples_leaf": 3, "random_state": 0}
    ours, theirs = (
        kind(**settings).fit(X[:, 2:3], Y, weights) for kind in (DecisionTreeClassifier, Theirs)
    )
    # Rounding leaves some of their impurities a little below zero.
    expected = re.sub(r"-0\.0(?!\d)", "0.0", their_graphviz(theirs, **options))
    assert export_graphviz(ours, **options) == expected
    for classes in (2, 4, 7, 12):
        y = (X[:, 2] * 10).astype(int) % classes
        ours, theirs = (
            kind(max_leaf_nodes=2, random_state=0).fit(X[:, 2:3], y)
            for kind in (DecisionTreeClassifier, Theirs)
        )
        colours = [
            re.findall('fillcolor="(.*?)"', f(t, filled=True))
            for f, t in ((export_graphviz, ours), (their_graphviz, theirs))
        ]
        assert colours[0] == colours[1]
        assert len(colours[0]) == 3


def test_graphviz(tree: DecisionTreeClassifier, tmp_path: Path) -> None:
    names = ['a "b" <', "c\\d"]
    source = export_graphviz(tree, feature_names=names, class_names=["x", "y", "z"])
    assert source.startswith("digraph Tree {")
    assert source.count("->") == tree.tree_.node_count - 1
    assert '\\"b\\"' in source or "c\\\\d" in source
    html = export_graphviz(tree, feature_names=names, special_characters=True)
    assert "&quot;b&quot; &lt;" in html or "c\\d" in html
    assert "class = 2" in export_graphviz(tree, class_names=True)
    assert "class =" not in export_graphviz(tree)
    assert " or missing" in export_graphviz(tree, show_missing=True)
    export_graphviz(tree, tmp_path / "tree.dot")
    with open(tmp_path / "other.dot", "w") as file:
        assert export_graphviz(tree, file) is None
    for written in ("tree.dot", "other.dot"):
        assert (tmp_path / written).read_text() == export_graphviz(tree)
    with pytest.raises(ValueError, match="label must be 'all', 'root' or 'none', got 'some'"):
        export_graphviz(tree, label="some")
    with pytest.raises(ValueError, match="max_depth must be a non-negative int or None, got -1"):
        export_graphviz(tree, max_depth=-1)
    with pytest.raises(ValueError, match="precision must be a non-negative int, got None"):
        export_graphviz(tree, precision=None)  # type: ignore[arg-type]


def test_categories_are_written_by_name() -> None:
    colour = np.array([["red"], ["green"], ["blue"], ["violet"]] * 10, dtype=object)
    model = DecisionTreeClassifier(categorical_features=[0]).fit(colour, [0, 1, 1, 0] * 10)
    for text in (export_text(model, feature_names=["c"]), export_graphviz(model)):
        assert "in {blue, green}" in text or "in {red, violet}" in text
    assert "not in {" in export_text(model)
    assert "in {" in plot_tree(model)[0].get_text()


def test_plot(tree: DecisionTreeClassifier) -> None:
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots()
    drawn = plot_tree(tree, ax=axes)
    assert len(drawn) == tree.tree_.node_count
    # Fitted to the figure: no node covers another.
    boxes = [note.get_bbox_patch().get_window_extent() for note in drawn]
    figure.canvas.draw()
    boxes = [note.get_bbox_patch().get_window_extent() for note in drawn]
    for i, a in enumerate(boxes):
        for b in boxes[:i]:
            assert not (a.x0 < b.x1 and b.x0 < a.x1 and a.y0 < b.y1 and b.y0 < a.y1)
    assert {text.get_text().strip() for text in axes.texts} >= {"True", "False"}
    # Two nodes at depth 1, of which one has two children.
    cut = plot_tree(tree, ax=axes, max_depth=1, filled=True, rounded=True, fontsize=7)
    assert [note.get_text() for note in cut].count("(...)") == 2
    assert len(cut) == 5
    assert all(note.get_fontsize() == 7 for note in cut)
    with pytest.raises(ValueError, match="label must be"):
        plot_tree(tree, ax=axes, label="x")
    plt.close("all")


@pytest.mark.parametrize("name", ["export_graphviz", "export_text", "plot_tree"])
def test_options_are_scikit_learn_s(name: str) -> None:
    ours, theirs = (
        inspect.signature(getattr(module, name)).parameters for module in (ironlearn.tree, sk_tree)
    )
    assert set(ours) - set(theirs) == {"show_missing"}
    for option, parameter in theirs.items():
        assert ours[option].default == parameter.default, option
        assert ours[option].kind == parameter.kind, option


def test_wrong_names(tree: DecisionTreeClassifier) -> None:
    with pytest.raises(ValueError, match="feature_names must contain 2"):
        export_text(tree, feature_names=["a"])
    with pytest.raises(ValueError, match="class_names must contain 3"):
        export_text(tree, class_names=["a"])
    with pytest.raises(NotFittedError):
        export_text(DecisionTreeClassifier())
