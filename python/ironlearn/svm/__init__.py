"""Support vector machines."""

from ironlearn.svm.linear import LinearSVC

__all__ = ["LinearSVC"]
