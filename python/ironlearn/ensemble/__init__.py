"""Ensembles of trees."""

from ironlearn.ensemble.extra_trees import ExtraTreesClassifier
from ironlearn.ensemble.random_forest import RandomForestClassifier

__all__ = ["ExtraTreesClassifier", "RandomForestClassifier"]
