"""Naive Bayes classifiers."""

from ironlearn.naive_bayes.gaussian import GaussianNB

__all__ = ["GaussianNB"]
