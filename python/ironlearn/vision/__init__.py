"""Networks for images."""

from ironlearn.vision.cnn_classifier import CNNClassifier

__all__ = ["CNNClassifier"]
