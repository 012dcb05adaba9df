"""Naive Bayes classifiers."""

from ironlearn.naive_bayes.categorical import CategoricalNB
from ironlearn.naive_bayes.gaussian import GaussianNB

__all__ = ["CategoricalNB", "GaussianNB"]
