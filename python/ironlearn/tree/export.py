"""Fitted trees as text, as Graphviz source, and as a plot."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from ironlearn.tree._structure import LEAF, Tree


def _names(estimator: Any, feature_names: Sequence[str] | None) -> list[str]:
    width = estimator.n_features_in_
    if feature_names is None:
        known = getattr(estimator, "feature_names_in_", None)
        return [f"feature_{j}" for j in range(width)] if known is None else list(known)
    if len(feature_names) != width:
        raise ValueError(f"feature_names must contain {width} elements, got {len(feature_names)}")
    return list(feature_names)


def _test(
    estimator: Any, tree: Tree, node: int, names: list[str], digits: int, missing: bool = False
) -> tuple[str, str]:
    """Return the conditions for going left and for going right."""
    feature = int(tree.feature[node])
    name = names[feature]
    codes = tree.categories_left(node)
    if not np.isnan(tree.threshold[node]) and codes is None:
        value = f"{tree.threshold[node]:.{digits}f}"
        conditions = f"{name} <= {value}", f"{name} >  {value}"
    else:
        known = estimator._categories.values[feature]
        chosen = [known[c] for c in (codes if codes is not None else []) if c < len(known)]
        listed = "{" + ", ".join(str(v) for v in chosen) + "}"
        conditions = f"{name} in {listed}", f"{name} not in {listed}"
    if not missing:
        return conditions
    to_left = bool(tree.missing_go_to_left[node])
    words = (" or missing", "") if to_left else ("", " or missing")
    return conditions[0] + words[0], conditions[1] + words[1]


def export_text(
    decision_tree: Any,
    *,
    feature_names: Sequence[str] | None = None,
    class_names: Sequence[str] | None = None,
    max_depth: int = 10,
    spacing: int = 3,
    decimals: int = 2,
    show_weights: bool = False,
    show_missing: bool = False,
) -> str:
    """Return a fitted tree as indented text.

    Parameters
    ----------
    decision_tree : DecisionTreeClassifier
        The fitted tree.
    feature_names : sequence of str, default=None
        Names of the features; ``None`` takes those of the training data.
    class_names : sequence of str, default=None
        Names of the classes in order; ``None`` takes ``classes_``.
    max_depth : int, default=10
        Deeper branches are cut short.
    spacing : int, default=3
        Width of one level.
    decimals : int, default=2
        Digits after the point.
    show_weights : bool, default=False
        Add the class weights to each leaf.
    show_missing : bool, default=False
        Say at each test which way a missing value goes.

    Returns
    -------
    str
        One line a node.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from ironlearn.tree import DecisionTreeClassifier, export_text
    >>> X, y = load_iris(return_X_y=True)
    >>> tree = DecisionTreeClassifier(max_depth=1, random_state=0).fit(X[:, 2:3], y)
    >>> print(export_text(tree, feature_names=["petal length"]))
    |--- petal length <= 2.45
    |   |--- class: 0
    |--- petal length >  2.45
    |   |--- class: 1
    """
    check_is_fitted(decision_tree)
    tree: Tree = decision_tree.tree_
    names = _names(decision_tree, feature_names)
    labels = _class_names(decision_tree, class_names)
    indent = "|" + " " * spacing
    lines: list[str] = []
    stack: list[tuple[int, int, str | None]] = [(0, 0, None)]
    while stack:
        node, depth, condition = stack.pop()
        if condition is not None:
            lines.append(f"{indent * (depth - 1)}|{'-' * spacing} {condition}")
        bullet = f"{indent * depth}|{'-' * spacing}"
        if tree.children_left[node] == LEAF:
            weights = ""
            if show_weights:
                counts = tree.value[node, 0] * tree.weighted_n_node_samples[node]
                weights = f"weights: [{', '.join(f'{c:.{decimals}f}' for c in counts)}] "
            lines.append(f"{bullet} {weights}class: {labels[int(tree.value[node, 0].argmax())]}")
        elif depth > max_depth:
            lines.append(f"{bullet} truncated branch")
        else:
            left, right = _test(decision_tree, tree, node, names, decimals, show_missing)
            stack.append((int(tree.children_right[node]), depth + 1, right))
            stack.append((int(tree.children_left[node]), depth + 1, left))
    return "\n".join(lines) + "\n"


def _class_names(estimator: Any, class_names: Sequence[str] | None) -> list[str]:
    if class_names is None:
        return [str(c) for c in estimator.classes_]
    if len(class_names) != len(estimator.classes_):
        raise ValueError(
            f"class_names must contain {len(estimator.classes_)} elements, got {len(class_names)}"
        )
    return list(class_names)


def _label(estimator: Any, tree: Tree, node: int, names: list[str], labels: list[str]) -> str:
    lines = []
    if tree.children_left[node] != LEAF:
        lines.append(_test(estimator, tree, node, names, 3)[0])
    lines.append(f"{estimator.criterion} = {tree.impurity[node]:.3f}")
    lines.append(f"samples = {tree.n_node_samples[node]}")
    lines.append(f"class = {labels[int(tree.value[node, 0].argmax())]}")
    return "\n".join(lines)


def export_graphviz(
    decision_tree: Any,
    *,
    feature_names: Sequence[str] | None = None,
    class_names: Sequence[str] | None = None,
    max_depth: int | None = None,
) -> str:
    """Return a fitted tree as source for Graphviz.

    Parameters
    ----------
    decision_tree : DecisionTreeClassifier
        The fitted tree.
    feature_names, class_names : sequence of str, default=None
        Names; ``None`` takes those of the training data.
    max_depth : int, default=None
        Deeper branches are left out.

    Returns
    -------
    str
        A ``digraph``.
    """
    check_is_fitted(decision_tree)
    tree: Tree = decision_tree.tree_
    names = _names(decision_tree, feature_names)
    labels = _class_names(decision_tree, class_names)
    lines = ["digraph Tree {", 'node [shape=box, fontname="helvetica"] ;']
    for node in range(tree.node_count):
        if max_depth is not None and tree._depths[node] > max_depth:
            continue
        # A JSON string is a valid Graphviz string: quotes and backslashes are escaped.
        text = json.dumps(_label(decision_tree, tree, node, names, labels), ensure_ascii=False)
        lines.append(f"{node} [label={text}] ;")
        if tree.children_left[node] != LEAF and tree._depths[node] != max_depth:
            lines.append(f"{node} -> {tree.children_left[node]} ;")
            lines.append(f"{node} -> {tree.children_right[node]} ;")
    return "\n".join([*lines, "}"]) + "\n"


def plot_tree(
    decision_tree: Any,
    *,
    max_depth: int | None = None,
    feature_names: Sequence[str] | None = None,
    class_names: Sequence[str] | None = None,
    ax: Any = None,
    fontsize: int = 9,
) -> list[Any]:
    """Draw a fitted tree with matplotlib.

    Parameters
    ----------
    decision_tree : DecisionTreeClassifier
        The fitted tree.
    max_depth : int, default=None
        Deeper branches are left out.
    feature_names, class_names : sequence of str, default=None
        Names; ``None`` takes those of the training data.
    ax : matplotlib Axes, default=None
        Where to draw; ``None`` takes the current axes.
    fontsize : int, default=9
        Size of the text.

    Returns
    -------
    list of Annotation
        One for each node drawn.
    """
    check_is_fitted(decision_tree)
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError("plot_tree needs matplotlib: pip install 'ironlearn[plot]'") from error
    tree: Tree = decision_tree.tree_
    names = _names(decision_tree, feature_names)
    labels = _class_names(decision_tree, class_names)
    axes = plt.gca() if ax is None else ax
    axes.set_axis_off()
    shown = [
        node
        for node in range(tree.node_count)
        if max_depth is None or tree._depths[node] <= max_depth
    ]
    place = _layout(tree, set(shown))
    deepest = max(y for _, y in place.values())
    widest = max(x for x, _ in place.values())
    palette = plt.get_cmap("tab10")
    drawn = []
    for node in shown:
        x, y = place[node]
        where = ((x + 0.5) / (widest + 1), 1 - (y + 0.5) / (deepest + 1))
        best = int(tree.value[node, 0].argmax())
        red, green, blue, _ = palette(best % 10)
        purity = 0.15 + 0.5 * float(tree.value[node, 0, best])
        parent = place.get(_parent(tree, node))
        # Opaque, so that no arrow shines through: mixed with white instead.
        colour = tuple(1 - purity * (1 - c) for c in (red, green, blue))
        drawn.append(
            axes.annotate(
                _label(decision_tree, tree, node, names, labels),
                where,
                xycoords="axes fraction",
                ha="center",
                va="center",
                fontsize=fontsize,
                bbox={"boxstyle": "round", "fc": colour, "ec": "0.4"},
                zorder=2,
            )
        )
        if parent is not None:
            above = ((parent[0] + 0.5) / (widest + 1), 1 - (parent[1] + 0.5) / (deepest + 1))
            axes.annotate(
                "",
                above,
                xytext=where,
                xycoords="axes fraction",
                textcoords="axes fraction",
                arrowprops={"arrowstyle": "-", "color": "0.4"},
                zorder=1,
            )
    return drawn


def _parent(tree: Tree, node: int) -> int:
    above = np.flatnonzero((tree.children_left == node) | (tree.children_right == node))
    return int(above[0]) if len(above) else -1


def _layout(tree: Tree, shown: set[int]) -> dict[int, tuple[float, int]]:
    """Place leaves side by side and every parent midway above its children."""
    place: dict[int, tuple[float, int]] = {}
    order: list[int] = []
    stack = [0]
    while stack:
        node = stack.pop()
        order.append(node)
        if tree.children_left[node] != LEAF and int(tree.children_left[node]) in shown:
            stack += (int(tree.children_right[node]), int(tree.children_left[node]))
    column = 0.0
    for node in order:
        left = int(tree.children_left[node])
        if left == LEAF or left not in shown:
            place[node] = (column, int(tree._depths[node]))
            column += 1.0
    for node in reversed(order):
        left, right = int(tree.children_left[node]), int(tree.children_right[node])
        if left != LEAF and left in shown:
            middle = (place[left][0] + place[right][0]) / 2
            place[node] = (middle, int(tree._depths[node]))
    return place
