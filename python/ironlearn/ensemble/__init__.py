"""Ensembles of trees."""

from ironlearn.ensemble.forest import RandomForestClassifier

__all__ = ["RandomForestClassifier"]
