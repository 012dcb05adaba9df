"""What the nodes of a drawn tree say, and their colours."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import is_classifier

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


def class_names_of(estimator: Any, given: Sequence[str] | bool | None) -> list[list[str]]:
    """Return the names of the classes of each output: those given, or the labels."""
    several = isinstance(estimator.classes_, list)
    if given is None or isinstance(given, bool):
        outputs = estimator.classes_ if several else [estimator.classes_]
        return [[str(c) for c in classes] for classes in outputs]
    if several:
        raise ValueError("class_names cannot be given for a tree with several outputs.")
    if len(given) != len(estimator.classes_):
        raise ValueError(
            f"class_names must contain {len(estimator.classes_)} elements, got {len(given)}"
        )
    return [[str(name) for name in given]]


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
        # As in scikit-learn, only for one output of classes.
        shown = class_names is not None and class_names is not False
        shown = shown and is_classifier(estimator) and estimator.n_outputs_ == 1
        return cls(
            feature_names=feature_names_of(estimator, feature_names, "x[{}]"),
            class_names=class_names_of(estimator, class_names)[0] if shown else None,
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
        """Return the lines of a node's value, of all outputs."""
        numbers = (tree.n_classes == 1).all()
        if numbers and tree.n_outputs == 1:
            return [str(np.around(tree.value[node, 0, 0], self.precision))]
        values = tree.value[node]
        if not numbers and not self.proportion:
            values = values * tree.weighted_n_node_samples[node]
        whole = not numbers and not self.proportion and (np.mod(values, 1) == 0).all()
        lines = []
        for row in values:
            around = [float(v) for v in np.around(row, self.precision)]
            lines.append(_wrapped([str(int(v)) if whole else str(v) for v in around]))
        if tree.n_outputs > 1:
            lines[0][0] = "[" + lines[0][0]
            lines[-1][-1] += "]"
        return [line for output in lines for line in output]


def _wrapped(texts: list[str]) -> list[str]:
    """Return a list of values, a few a line."""
    rows = [", ".join(texts[i : i + _VALUES_A_LINE]) for i in range(0, len(texts), _VALUES_A_LINE)]
    rows[0] = "[" + rows[0]
    rows[-1] += "]"
    return [row + ("," if i + 1 < len(rows) else "") for i, row in enumerate(rows)]


def fill_colour(tree: Tree, node: int) -> str:
    """Return the colour of a node's largest class, the paler the less it leads.

    Hues are spread evenly over the classes, as scikit-learn spreads them. Numbers have one hue,
    the paler the smaller they are; so have several outputs, the paler the more impure they are.
    """
    if tree.n_outputs > 1 or tree.n_classes[0] == 1:
        shades = -tree.impurity if tree.n_outputs > 1 else tree.value[:, 0, 0]
        low, high = shades.min(), shades.max()
        lead = (shades[node] - low) / (high - low) if high > low else 0.0
        hue = np.arange(25, 385, 360.0 / tree.n_classes[0]).astype(int)[0]
        return _mixed(hue, float(lead))
    values = tree.value[node, 0]
    hues = np.arange(25, 385, 360.0 / len(values)).astype(int)
    lead = 0.0
    if len(values) > 1:
        second, first = np.sort(values)[-2:]
        lead = (first - second) / (1 - second)
    return _mixed(hues[int(values.argmax())], float(lead))


def _mixed(hue: int, lead: float) -> str:
    """Return a hue in degrees, mixed with white where `lead` is below 1."""
    colour = colorsys.hsv_to_rgb(hue % 360 / 360, 0.75, 0.9)
    mixed = (round(lead * int(255 * part) + (1 - lead) * 255) for part in colour)
    return "#" + "".join(f"{part:02x}" for part in mixed)
