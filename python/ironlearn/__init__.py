"""Machine learning with a Rust core behind scikit-learn's API.

Importing this package imports NumPy and nothing heavier; each subpackage is loaded when it
is first named.

Examples
--------
>>> from sklearn.datasets import load_iris
>>> from ironlearn.naive_bayes import GaussianNB
>>> X, y = load_iris(return_X_y=True)
>>> round(GaussianNB().fit(X, y).score(X, y), 2)
0.96
"""

from __future__ import annotations

import importlib
import os
import warnings
from typing import TYPE_CHECKING, Any

from ironlearn import _core

if TYPE_CHECKING:
    from ironlearn.base import Estimator

__version__: str = _core.build_info()["version"]

_SUBPACKAGES = frozenset(
    {
        "augmentation",
        "bench",
        "cli",
        "cluster",
        "ensemble",
        "evaluation",
        "io",
        "naive_bayes",
        "neural_network",
        "nn",
        "patch",
        "reference",
        "series",
        "serving",
        "svm",
        "text",
        "tree",
        "vision",
    }
)

#: Functions of `ironlearn.patch` that stand here as well.
_PATCH_FUNCTIONS = frozenset({"sklearn_patch", "sklearn_unpatch"})

__all__ = ["__version__", "load", *sorted(_PATCH_FUNCTIONS), *sorted(_SUBPACKAGES)]

_SIMD = os.environ.get("IRONLEARN_SIMD")
if _SIMD is not None and _SIMD.strip() != _core.build_info()["simd"]:
    warnings.warn(
        f"IRONLEARN_SIMD={_SIMD!r} is not available here: using "
        f"{_core.build_info()['simd']!r}. Accepted: 'scalar' up to "
        f"{_core.build_info()['simd_detected']!r}.",
        RuntimeWarning,
        stacklevel=2,
    )


def load(path: str | os.PathLike[str]) -> Estimator:
    """Load a fitted estimator from a model file.

    Parameters
    ----------
    path : str or path-like
        A file written by an estimator's ``save``.

    Returns
    -------
    Estimator
        The estimator as it was saved.

    Raises
    ------
    ironlearn.exceptions.ModelFileError
        The file is not a model file, was changed, or is of a newer version.
    """
    from ironlearn.base import load_estimator

    return load_estimator(path)


def __getattr__(name: str) -> Any:
    if name in _SUBPACKAGES:
        return importlib.import_module(f"ironlearn.{name}")
    if name in _PATCH_FUNCTIONS:
        return getattr(importlib.import_module("ironlearn.patch"), name)
    raise AttributeError(f"module 'ironlearn' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
