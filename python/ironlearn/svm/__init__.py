"""Support vector machines."""

from ironlearn.svm.linear import LinearSVC
from ironlearn.svm.linear_svr import LinearSVR
from ironlearn.svm.path import linear_svm_path
from ironlearn.svm.svc import SVC
from ironlearn.svm.svr import SVR

__all__ = ["SVC", "SVR", "LinearSVC", "LinearSVR", "linear_svm_path"]
