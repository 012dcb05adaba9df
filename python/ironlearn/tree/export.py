"""Fitted trees as text, as Graphviz source, and as a plot."""

from __future__ import annotations

import html
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import IO, Any

from sklearn.base import is_classifier
from sklearn.utils.validation import check_is_fitted

from ironlearn.tree._labels import (
    NodeText,
    class_names_of,
    conditions,
    feature_names_of,
    fill_colour,
)
from ironlearn.tree._structure import LEAF, Tree


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
    decision_tree : DecisionTreeClassifier or DecisionTreeRegressor
        The fitted tree.
    feature_names : sequence of str, default=None
        Names of the features; ``None`` takes those of the training data.
    class_names : sequence of str, default=None
        Names of the classes in order; ``None`` takes ``classes_``. Not for several outputs.
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
    names = feature_names_of(decision_tree, feature_names, "feature_{}")
    labels = class_names_of(decision_tree, class_names) if is_classifier(decision_tree) else None
    indent = "|" + " " * spacing
    lines: list[str] = []
    levels = _levels(tree)
    stack: list[tuple[int, int, str | None]] = [(0, 0, None)]
    while stack:
        node, depth, condition = stack.pop()
        if condition is not None:
            lines.append(f"{indent * (depth - 1)}|{'-' * spacing} {condition}")
        bullet = f"{indent * depth}|{'-' * spacing}"
        if tree.children_left[node] == LEAF:
            lines.append(f"{bullet} {_leaf(tree, node, labels, decimals, show_weights)}")
        elif depth > max_depth:
            lines.append(f"{bullet} truncated branch of depth {levels[node]}")
        else:
            left, right = conditions(
                decision_tree, node, names, f"{tree.threshold[node]:.{decimals}f}", show_missing
            )
            stack.append((int(tree.children_right[node]), depth + 1, right))
            stack.append((int(tree.children_left[node]), depth + 1, left))
    return "\n".join(lines) + "\n"


def _leaf(
    tree: Tree, node: int, labels: list[list[str]] | None, decimals: int, show_weights: bool
) -> str:
    """Return what a leaf says: numbers, or the most frequent class of each output."""

    def listed(values: Iterable[float]) -> str:
        return "[" + ", ".join(f"{value:.{decimals}f}" for value in values) + "]"

    values = tree.value[node]
    if labels is None:
        return f"value: {listed(values[:, 0])}"
    chosen = [names[int(row.argmax())] for names, row in zip(labels, values, strict=True)]
    weights = ""
    if show_weights:
        counts = [
            listed(row[:n] * tree.weighted_n_node_samples[node])
            for row, n in zip(values, tree.n_classes, strict=True)
        ]
        weights = f"weights: {', '.join(counts)} "
    return f"{weights}class: {', '.join(chosen)}"


def _levels(tree: Tree) -> list[int]:
    """Return how many levels of nodes there are from each node down."""
    levels = [1] * tree.node_count
    for node in range(tree.node_count - 1, -1, -1):
        left, right = int(tree.children_left[node]), int(tree.children_right[node])
        if left != LEAF:
            # Children come after their parents.
            levels[node] = 1 + max(levels[left], levels[right])
    return levels


def export_graphviz(
    decision_tree: Any,
    out_file: str | os.PathLike[str] | IO[str] | None = None,
    *,
    max_depth: int | None = None,
    feature_names: Sequence[str] | None = None,
    class_names: Sequence[str] | bool | None = None,
    label: str = "all",
    filled: bool = False,
    leaves_parallel: bool = False,
    impurity: bool = True,
    node_ids: bool = False,
    proportion: bool = False,
    rotate: bool = False,
    rounded: bool = False,
    special_characters: bool = False,
    precision: int = 3,
    fontname: str = "helvetica",
    show_missing: bool = False,
) -> str | None:
    r"""Return a fitted tree as source for Graphviz.

    Parameters
    ----------
    decision_tree : DecisionTreeClassifier or DecisionTreeRegressor
        The fitted tree.
    out_file : str, path-like or text file, default=None
        Where to write; ``None`` returns the source.
    max_depth : int, default=None
        Deeper branches are shown as "(...)".
    feature_names : sequence of str, default=None
        Names of the features; ``None`` takes those of the training data.
    class_names : sequence of str or bool, default=None
        Names of the classes in order; ``True`` takes ``classes_``, ``None`` shows no class.
    label : {"all", "root", "none"}, default="all"
        Which nodes say what their numbers are.
    filled : bool, default=False
        Colour nodes by their largest class or their number; by impurity for several outputs.
    leaves_parallel : bool, default=False
        Draw all leaves at the bottom.
    impurity : bool, default=True
        Show the impurity.
    node_ids : bool, default=False
        Show the nodes' numbers.
    proportion : bool, default=False
        Show shares instead of counts.
    rotate : bool, default=False
        Draw from left to right.
    rounded : bool, default=False
        Round the corners of nodes.
    special_characters : bool, default=False
        Write labels as HTML, with a sign for "less or equal".
    precision : int, default=3
        Digits after the point.
    fontname : str, default="helvetica"
        The font.
    show_missing : bool, default=False
        Say at each test which way a missing value goes.

    Returns
    -------
    str or None
        A ``digraph``, where `out_file` is ``None``.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from ironlearn.tree import DecisionTreeClassifier, export_graphviz
    >>> X, y = load_iris(return_X_y=True)
    >>> tree = DecisionTreeClassifier(max_depth=1, random_state=0).fit(X[:, 2:3], y)
    >>> print(export_graphviz(tree, feature_names=["petal length"], impurity=False))
    digraph Tree {
    node [shape=box, fontname="helvetica"] ;
    edge [fontname="helvetica"] ;
    0 [label="petal length <= 2.45\nsamples = 150\nvalue = [50, 50, 50]"] ;
    1 [label="samples = 50\nvalue = [50, 0, 0]"] ;
    0 -> 1 [labeldistance=2.5, labelangle=45, headlabel="True"] ;
    2 [label="samples = 100\nvalue = [0, 50, 50]"] ;
    0 -> 2 [labeldistance=2.5, labelangle=-45, headlabel="False"] ;
    }
    """
    check_is_fitted(decision_tree)
    text = NodeText.of(
        decision_tree,
        max_depth=max_depth,
        feature_names=feature_names,
        class_names=class_names,
        label=label,
        impurity=impurity,
        node_ids=node_ids,
        proportion=proportion,
        precision=precision,
        show_missing=show_missing,
    )
    styles = [name for name, wanted in (("filled", filled), ("rounded", rounded)) if wanted]
    style = f', style="{", ".join(styles)}", color="black"' if styles else ""
    lines = ["digraph Tree {", f'node [shape=box{style}, fontname="{fontname}"] ;']
    if leaves_parallel:
        lines.append("graph [ranksep=equally, splines=polyline] ;")
    lines.append(f'edge [fontname="{fontname}"] ;')
    if rotate:
        lines.append("rankdir=LR ;")
    tree: Tree = decision_tree.tree_
    ranks: dict[str, list[int]] = {}
    stack: list[tuple[int, int, int, bool]] = [(0, 0, -1, True)]
    while stack:
        node, depth, parent, is_left = stack.pop()
        leaf, cut = tree.children_left[node] == LEAF, max_depth is not None and depth > max_depth
        ranks.setdefault("leaves" if leaf or cut else str(depth), []).append(node)
        if cut:
            said, colour = '"(...)"', "#C0C0C0"
        elif special_characters:
            shown = text.lines(decision_tree, node, at_most="\0", mark="\1")
            # Names may hold signs that HTML reads; our own signs are put in afterwards.
            said = html.escape("\n".join(shown)).replace("\n", "<br/>")
            said = f"<{said}>".replace("\0", "&le;").replace("\1", "&#35;")
            colour = fill_colour(tree, node)
        else:
            shown = [_escaped(line) for line in text.lines(decision_tree, node)]
            said = '"' + "\\n".join(shown) + '"'
            colour = fill_colour(tree, node)
        lines.append(
            f"{node} [label={said}" + (f', fillcolor="{colour}"' if filled else "") + "] ;"
        )
        if parent >= 0:
            edge = f"{parent} -> {node}"
            if parent == 0 and not cut:
                angle = (45 if is_left else -45) * (-1 if rotate else 1)
                edge += f' [labeldistance=2.5, labelangle={angle}, headlabel="{is_left}"]'
            lines.append(edge + " ;")
        if not (leaf or cut):
            stack.append((int(tree.children_right[node]), depth + 1, node, False))
            stack.append((int(tree.children_left[node]), depth + 1, node, True))
    if leaves_parallel:
        ranks.setdefault("leaves", [])
        lines += [
            "{rank=same ; " + "; ".join(str(node) for node in ranks[rank]) + "} ;"
            for rank in sorted(ranks)
        ]
    source = "\n".join([*lines, "}"])
    if out_file is None:
        return source
    if isinstance(out_file, str | os.PathLike):
        Path(out_file).write_text(source, encoding="utf-8")
    else:
        out_file.write(source)
    return None


def _escaped(line: str) -> str:
    return line.replace("\\", "\\\\").replace('"', '\\"')
