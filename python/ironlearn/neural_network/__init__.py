"""Multilayer perceptrons, and what all estimators that train a network share."""

from ironlearn.neural_network.mlp_classifier import MLPClassifier
from ironlearn.neural_network.mlp_regressor import MLPRegressor

__all__ = ["MLPClassifier", "MLPRegressor"]
