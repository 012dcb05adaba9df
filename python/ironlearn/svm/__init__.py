"""Support vector machines."""

from ironlearn.svm.linear import LinearSVC
from ironlearn.svm.svc import SVC

__all__ = ["SVC", "LinearSVC"]
