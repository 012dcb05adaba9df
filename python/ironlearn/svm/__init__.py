"""Support vector machines."""

from ironlearn.svm.linear import LinearSVC
from ironlearn.svm.svc import SVC
from ironlearn.svm.svr import SVR

__all__ = ["SVC", "SVR", "LinearSVC"]
