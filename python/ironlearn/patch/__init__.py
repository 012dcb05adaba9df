"""Run unchanged scikit-learn code on ironlearn's estimators.

`sklearn_patch` replaces the covered classes in scikit-learn's public modules, and
``python -m ironlearn.patch script.py`` runs a script that way. What ironlearn does not do falls
back to scikit-learn, with a `ironlearn.exceptions.FallbackWarning` that says why; `report` lists
what ran where. `docs/drop_in.md` has the details.

Examples
--------
>>> import ironlearn
>>> from sklearn.datasets import load_iris
>>> X, y = load_iris(return_X_y=True)
>>> with ironlearn.sklearn_patch(["GaussianNB"]):
...     from sklearn.naive_bayes import GaussianNB
...     model = GaussianNB().fit(X, y)
>>> type(model).__module__, round(model.score(X, y), 2)
('ironlearn.patch.estimators', 0.96)
>>> from ironlearn import patch
>>> patch.report().native["GaussianNB"] >= 1
True
>>> patch.is_patched("GaussianNB")
False
"""

from typing import Any

from ironlearn.patch._events import Report, report, reset_report
from ironlearn.patch._install import Patch, covered, is_patched, sklearn_patch, sklearn_unpatch


def load_ipython_extension(ipython: Any) -> None:
    """Patch in a notebook: ``%load_ext ironlearn.patch``."""
    sklearn_patch()


def unload_ipython_extension(ipython: Any) -> None:
    """Undo the patch: ``%unload_ext ironlearn.patch``."""
    sklearn_unpatch()


__all__ = [
    "Patch",
    "Report",
    "covered",
    "is_patched",
    "report",
    "reset_report",
    "sklearn_patch",
    "sklearn_unpatch",
]
