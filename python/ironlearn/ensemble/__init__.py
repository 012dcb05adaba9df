"""Ensembles of trees."""

from ironlearn.ensemble.extra_trees import ExtraTreesClassifier, ExtraTreesRegressor
from ironlearn.ensemble.random_forest import RandomForestClassifier, RandomForestRegressor

__all__ = [
    "ExtraTreesClassifier",
    "ExtraTreesRegressor",
    "RandomForestClassifier",
    "RandomForestRegressor",
]
