"""The four forests, and scikit-learn's beside each."""

from __future__ import annotations

from typing import Any

import sklearn.ensemble

import ironlearn.ensemble

CLASSIFIERS = ("RandomForestClassifier", "ExtraTreesClassifier")
REGRESSORS = ("RandomForestRegressor", "ExtraTreesRegressor")
ALL = CLASSIFIERS + REGRESSORS


def ours(name: str) -> Any:
    return getattr(ironlearn.ensemble, name)


def theirs(name: str) -> Any:
    return getattr(sklearn.ensemble, name)
