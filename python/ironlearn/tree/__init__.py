"""Decision trees."""

from ironlearn.tree._plot import plot_tree
from ironlearn.tree.classifier import DecisionTreeClassifier
from ironlearn.tree.export import export_graphviz, export_text
from ironlearn.tree.regressor import DecisionTreeRegressor

__all__ = [
    "DecisionTreeClassifier",
    "DecisionTreeRegressor",
    "export_graphviz",
    "export_text",
    "plot_tree",
]
