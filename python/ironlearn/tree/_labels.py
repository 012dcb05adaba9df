"""What the nodes of a drawn tree say, and their colours."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ironlearn.exceptions import InvalidParameterError
from ironlearn.tree._structure import LEAF, Tree

#: Values of classes that stand on one line of a node.
_VALUES_A_LINE = 8


def feature_names_of(estimator: Any, given: Sequence[str] | None, pattern: str) -> list[str]:
    """Return the features' names: those given, those of the training data, or numbered ones."""
    width = estimator.n_features_in_
    if given is None:
        known = getattr(estimator, "feature_names_in_", None)
        return [pattern.format(j) for j in range(width)] if known is None else list(known)
    if len(given) != width:
        raise ValueError(f"feature_names must contain {width} elements, got {len(given)}")
    return [str(name) for name in given]


def class_names_of(estimator: Any, given: Sequence[str] | bool | None) -> list[str]:
    """Return the classes' names: those given, or the labels."""
    if given is None or isinstance(given, bool):
        return [str(c) for c in estimator.classes_]
    if len(given) != len(estimator.classes_):
        raise ValueError(
            f"class_names must contain {len(estimator.classes_)} elements, got {len(given)}"
        )
    return [str(name) for name in given]


def conditions(
    estimator: Any,
    node: int,
    names: list[str],
    threshold: str,
    missing: bool = False,
    at_most: str = "<=",
) -> tuple[str, str]:
    """Return the conditions for going left and for going right."""
    tree: Tree = estimator.tree_
    feature = int(tree.feature[node])
    name = names[feature]
    codes = tree.categories_left(node)
    if codes is None:
        left, right = f"{name} {at_most} {threshold}", f"{name} >  {threshold}"
    else:
        known = estimator._categories.values[feature]
        listed = "{" + ", ".join(str(known[c]) for c in codes if c < len(known)) + "}"
        left, right = f"{name} in {listed}", f"{name} not in {listed}"
    if not missing:
        return left, right
    return (
        (left + " or missing", right)
        if tree.missing_go_to_left[node]
        else (
            left,
            right + " or missing",
        )
    )


@dataclass(frozen=True)
class NodeText:
    """Which lines a node shows."""

    feature_names: list[str]
    class_names: list[str] | None
    label: str
    impurity: bool
    node_ids: bool
    proportion: bool
    precision: int
    show_missing: bool

    @classmethod
    def of(
        cls,
        estimator: Any,
        *,
        max_depth: int | None,
        feature_names: Sequence[str] | None,
        class_names: Sequence[str] | bool | None,
        label: str,
        precision: int,
        **options: bool,
    ) -> NodeText:
        """Check the options that `plot_tree` and `export_graphviz` share."""
        if label not in ("all", "root", "none"):
            raise InvalidParameterError(f"label must be 'all', 'root' or 'none', got {label!r}.")
        for name, value, accepted in (
            ("max_depth", max_depth, "a non-negative int or None"),
            ("precision", precision, "a non-negative int"),
        ):
            whole = isinstance(value, int | np.integer) and value >= 0
            if not whole and not (name == "max_depth" and value is None):
                raise InvalidParameterError(f"{name} must be {accepted}, got {value!r}.")
        shown = class_names is not None and class_names is not False
        return cls(
            feature_names=feature_names_of(estimator, feature_names, "x[{}]"),
            class_names=class_names_of(estimator, class_names) if shown else None,
            label=label,
            precision=precision,
            **options,
        )

    def lines(self, estimator: Any, node: int, at_most: str = "<=", mark: str = "#") -> list[str]:
        """Return the lines of a node."""
        tree: Tree = estimator.tree_
        heads = self.label == "all" or (self.label == "root" and node == 0)

        def line(head: str, text: Any) -> str:
            return f"{head}{text}" if heads else str(text)

        lines = []
        if self.node_ids:
            lines.append(line("node ", f"{mark}{node}"))
        if tree.children_left[node] != LEAF:
            threshold = str(round(float(tree.threshold[node]), self.precision))
            condition, _ = conditions(
                estimator, node, self.feature_names, threshold, self.show_missing, at_most
            )
            lines.append(condition)
        if self.impurity:
            shown = round(float(tree.impurity[node]), self.precision)
            lines.append(line(f"{estimator.criterion} = ", shown))
        rows = int(tree.n_node_samples[node])
        share = round(100.0 * rows / float(tree.n_node_samples[0]), 1)
        lines.append(line("samples = ", f"{share}%" if self.proportion else rows))
        values = self._values(tree, node)
        values[0] = line("value = ", values[0])
        lines += values
        if self.class_names is not None:
            lines.append(line("class = ", self.class_names[int(tree.value[node, 0].argmax())]))
        return lines

    def _values(self, tree: Tree, node: int) -> list[str]:
        values = tree.value[node, 0]
        if not self.proportion:
            values = values * tree.weighted_n_node_samples[node]
        if not self.proportion and (np.mod(values, 1) == 0).all():
            texts = [str(int(v)) for v in values]
        else:
            texts = [str(float(v)) for v in np.around(values, self.precision)]
        rows = [
            ", ".join(texts[i : i + _VALUES_A_LINE]) for i in range(0, len(texts), _VALUES_A_LINE)
        ]
        rows[0] = "[" + rows[0]
        rows[-1] += "]"
        return [row + ("," if i + 1 < len(rows) else "") for i, row in enumerate(rows)]


def fill_colour(tree: Tree, node: int) -> str:
    """Return the colour of a node's largest class, the paler the less it leads.

    Hues are spread evenly over the classes, as scikit-learn spreads them.
    """
    values = tree.value[node, 0]
    hues = np.arange(25, 385, 360.0 / len(values)).astype(int)
    colour = colorsys.hsv_to_rgb(hues[int(values.argmax())] % 360 / 360, 0.75, 0.9)
    lead = 0.0
    if len(values) > 1:
        second, first = np.sort(values)[-2:]
        lead = (first - second) / (1 - second)
    mixed = (round(lead * int(255 * part) + (1 - lead) * 255) for part in colour)
    return "#" + "".join(f"{part:02x}" for part in mixed)
