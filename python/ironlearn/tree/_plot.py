"""Fitted trees drawn with matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sklearn.utils.validation import check_is_fitted

from ironlearn.tree._labels import NodeText, fill_colour
from ironlearn.tree._structure import LEAF, Tree


def plot_tree(
    decision_tree: Any,
    *,
    max_depth: int | None = None,
    feature_names: Sequence[str] | None = None,
    class_names: Sequence[str] | bool | None = None,
    label: str = "all",
    filled: bool = False,
    impurity: bool = True,
    node_ids: bool = False,
    proportion: bool = False,
    rounded: bool = False,
    precision: int = 3,
    ax: Any = None,
    fontsize: float | None = None,
    show_missing: bool = False,
) -> list[Any]:
    """Draw a fitted tree with matplotlib.

    Parameters
    ----------
    decision_tree : DecisionTreeClassifier or DecisionTreeRegressor
        The fitted tree.
    max_depth : int, default=None
        Deeper branches are shown as "(...)".
    feature_names : sequence of str, default=None
        Names of the features; ``None`` takes those of the training data.
    class_names : sequence of str or bool, default=None
        Names of the classes in order; ``True`` takes ``classes_``, ``None`` shows no class.
    label : {"all", "root", "none"}, default="all"
        Which nodes say what their numbers are.
    filled : bool, default=False
        Colour nodes by their largest class.
    impurity : bool, default=True
        Show the impurity.
    node_ids : bool, default=False
        Show the nodes' numbers.
    proportion : bool, default=False
        Show shares instead of counts.
    rounded : bool, default=False
        Round the corners of nodes.
    precision : int, default=3
        Digits after the point.
    ax : matplotlib Axes, default=None
        Where to draw, in place of what is there; ``None`` takes the current axes.
    fontsize : float, default=None
        Size of the text; ``None`` makes the nodes fit.
    show_missing : bool, default=False
        Say at each test which way a missing value goes.

    Returns
    -------
    list of Annotation
        One for each node drawn, in preorder.

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("Agg")
    >>> from sklearn.datasets import load_iris
    >>> from ironlearn.tree import DecisionTreeClassifier, plot_tree
    >>> X, y = load_iris(return_X_y=True)
    >>> tree = DecisionTreeClassifier(max_depth=1, random_state=0).fit(X[:, 2:3], y)
    >>> len(plot_tree(tree, filled=True))
    3
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
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError("plot_tree needs matplotlib: pip install 'ironlearn[plot]'") from error
    tree: Tree = decision_tree.tree_
    axes = plt.gca() if ax is None else ax
    axes.clear()
    axes.set_axis_off()
    place = _layout(tree, max_depth)
    rows = max(y for _, y in place.values()) + 1
    columns = max(x for x, _ in place.values()) + 1

    def where(node: int) -> tuple[float, float]:
        x, y = place[node]
        return (x + 0.5) / columns, 1 - (y + 0.5) / rows

    ink = plt.rcParams["text.color"]
    drawn = []
    for node, (_, depth) in place.items():
        cut = max_depth is not None and depth > max_depth
        face = axes.get_facecolor()
        if filled:
            face = "#c0c0c0" if cut else fill_colour(tree, node)
        drawn.append(
            axes.annotate(
                "(...)" if cut else "\n".join(text.lines(decision_tree, node)),
                where(node),
                xycoords="axes fraction",
                ha="center",
                va="center",
                fontsize=fontsize,
                bbox={"boxstyle": "round" if rounded else "square", "fc": face, "ec": ink},
                zorder=2,
            )
        )
        for child, said, side in (
            (int(tree.children_left[node]), "True  ", "right"),
            (int(tree.children_right[node]), "  False", "left"),
        ):
            if child not in place:
                continue
            (x, y), (below, under) = where(node), where(child)
            axes.annotate(
                "",
                (below, under),
                xytext=(x, y),
                xycoords="axes fraction",
                textcoords="axes fraction",
                arrowprops={"arrowstyle": "-", "color": ink},
                zorder=1,
            )
            if node == 0:
                axes.text(
                    (x + below) / 2,
                    (y + under) / 2,
                    said,
                    ha=side,
                    transform=axes.transAxes,
                    fontsize=fontsize,
                )
    if fontsize is None:
        _fit(axes, drawn, columns, rows)
    return drawn


def _fit(axes: Any, drawn: list[Any], columns: float, rows: float) -> None:
    """Make the text so small that no node covers its neighbours."""
    renderer = axes.figure.canvas.get_renderer()
    room = axes.get_window_extent(renderer)
    boxes = []
    for note in drawn:
        note.update_bbox_position_size(renderer)
        boxes.append(note.get_bbox_patch().get_window_extent(renderer))
    factor = min(
        room.width / columns / max(box.width for box in boxes),
        room.height / rows / max(box.height for box in boxes),
    )
    size = drawn[0].get_fontsize() * min(factor, 1.5)
    for note in (*drawn, *axes.texts):
        note.set_fontsize(size)


def _layout(tree: Tree, max_depth: int | None) -> dict[int, tuple[float, int]]:
    """Place leaves side by side and every parent midway above its children, in preorder."""
    place: dict[int, tuple[float, int]] = {}
    column = 0.0
    stack = [(0, 0)]
    while stack:
        node, depth = stack.pop()
        place[node] = (column, depth)
        if tree.children_left[node] == LEAF or (max_depth is not None and depth > max_depth):
            column += 1.0
        else:
            stack.append((int(tree.children_right[node]), depth + 1))
            stack.append((int(tree.children_left[node]), depth + 1))
    for node in reversed(place):
        left, right = int(tree.children_left[node]), int(tree.children_right[node])
        if left in place:
            place[node] = ((place[left][0] + place[right][0]) / 2, place[node][1])
    return place
