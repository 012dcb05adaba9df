"""Puts the patched classes in the place of scikit-learn's, and back."""

from __future__ import annotations

import copyreg
import importlib
import sys
import threading
import warnings
from collections.abc import Iterable
from types import ModuleType, TracebackType
from typing import Any, Self

from ironlearn.exceptions import FallbackWarning, InvalidParameterError
from ironlearn.patch import _build, _events

#: Modules of scikit-learn that use a class by a name of their own at call time: as the default
#: of a meta-estimator, or in a function. Further private modules stay as they are, so that
#: scikit-learn's estimators are made of scikit-learn's parts.
_INTERNAL: dict[str, tuple[str, ...]] = {
    "sklearn.calibration": ("LinearSVC",),
    "sklearn.cluster._kmeans": ("KMeans", "MiniBatchKMeans"),
    "sklearn.ensemble._bagging": ("DecisionTreeClassifier", "DecisionTreeRegressor"),
    "sklearn.ensemble._weight_boosting": ("DecisionTreeClassifier", "DecisionTreeRegressor"),
}

_lock = threading.RLock()
#: Names that are replaced now.
_active: set[str] = set()


def covered() -> list[str]:
    """Return the names of the estimators that `sklearn_patch` can replace.

    Returns
    -------
    list of str
        Class names, those that this build of ironlearn and scikit-learn both have.
    """
    return _build.covered_names()


def is_patched(name: str) -> bool:
    """Return whether scikit-learn's `name` is replaced now.

    Parameters
    ----------
    name : str
        A class name.

    Returns
    -------
    bool
        True between `sklearn_patch` and `sklearn_unpatch`.
    """
    return name in _active


class Patch:
    """What one call of `sklearn_patch` changed; as a context manager it is undone at the end.

    Parameters
    ----------
    names : iterable of str
        The classes that the call replaced.
    mode_before : str or None
        What fallbacks did before the call.

    Attributes
    ----------
    names : tuple of str
        The classes that the call replaced.
    """

    def __init__(self, names: Iterable[str], mode_before: str | None) -> None:
        self.names = tuple(names)
        self._mode_before = mode_before

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        sklearn_unpatch(self.names)
        _events.set_mode(self._mode_before)

    def __repr__(self) -> str:
        return f"<ironlearn replaces scikit-learn's {', '.join(self.names) or 'nothing more'}>"


def sklearn_patch(names: Iterable[str] | None = None, *, fallback: str | None = None) -> Patch:
    """Replace scikit-learn's estimators by ones that train in ironlearn.

    Parameters
    ----------
    names : iterable of str, default=None
        Class names, such as ``["SVC", "KMeans"]``; ``None`` replaces all in `patch.covered`.
    fallback : {"warn", "log", "error"}, default=None
        What happens when scikit-learn must do the training: a
        `ironlearn.exceptions.FallbackWarning`, a line in the log ``ironlearn.patch``, or a
        `ironlearn.exceptions.FallbackError`. ``None`` leaves it to the environment variable
        ``IRONLEARN_PATCH_FALLBACK``, which is "warn" where it is not set.

    Returns
    -------
    Patch
        May be used in a ``with`` statement, which undoes the patch at its end.

    Raises
    ------
    InvalidParameterError
        A name is not covered, or `fallback` is none of the three.

    Warns
    -----
    FallbackWarning
        Modules imported a class before, and keep scikit-learn's.
    """
    wanted = _checked(names)
    with _lock:
        mode_before = _events.set_mode(fallback) if fallback is not None else _events._mode
        new = [name for name in wanted if name not in _active]
        for name in new:
            _replace(name, _build.genuine_class(name), _build.patched_class(name))
            _active.add(name)
        holders = _holders(new)
    if holders:
        warnings.warn(
            "These modules imported scikit-learn's classes before the patch and keep them: "
            f"{holders}. Patch first, then import.",
            FallbackWarning,
            stacklevel=2,
        )
    return Patch(new, mode_before)


def sklearn_unpatch(names: Iterable[str] | None = None) -> None:
    """Put scikit-learn's estimators back.

    Estimators that were made in between keep training in ironlearn.

    Parameters
    ----------
    names : iterable of str, default=None
        Class names; ``None`` puts all back.
    """
    wanted = _checked(names)
    with _lock:
        for name in wanted:
            if name in _active:
                _restore(name, _build.genuine_class(name), _build.patched_class(name))
                _active.discard(name)


def _checked(names: Iterable[str] | None) -> list[str]:
    known = covered()
    if names is None:
        return known
    wanted = [names] if isinstance(names, str) else list(names)
    for name in wanted:
        if name not in known:
            raise InvalidParameterError(
                f"names must be of estimators that ironlearn covers: {', '.join(known)}. "
                f"Got {name!r}."
            )
    return wanted


def _replace(name: str, genuine: type, patched: type) -> None:
    home = importlib.import_module(_build.public_module(name))
    setattr(home, name, patched)
    for path, inside in _INTERNAL.items():
        module = sys.modules.get(path)
        if name in inside and module is not None and vars(module).get(name) is genuine:
            setattr(module, name, patched)
    # pickle finds a class by its name, which now means another one.
    copyreg.pickle(genuine, _reduce_genuine)


def _restore(name: str, genuine: type, patched: type) -> None:
    # Modules of scikit-learn that were first imported under the patch hold the class, too.
    for path, module in list(sys.modules.items()):
        if (path == "sklearn" or path.startswith("sklearn.")) and isinstance(module, ModuleType):
            if vars(module).get(name) is patched:
                setattr(module, name, genuine)
    copyreg.dispatch_table.pop(genuine, None)


def _holders(names: list[str]) -> str:
    """Return which modules outside of scikit-learn hold a class that was just replaced."""
    found: dict[str, set[str]] = {}
    genuine = {id(_build.genuine_class(name)): name for name in names}
    for path, module in list(sys.modules.items()):
        if path.partition(".")[0] in ("sklearn", "ironlearn") or not isinstance(module, ModuleType):
            continue
        held = {genuine[id(value)] for value in list(vars(module).values()) if id(value) in genuine}
        if held:
            found[path] = held
    shown = [f"{path} ({', '.join(sorted(held))})" for path, held in sorted(found.items())]
    return ", ".join(shown[:5]) + (f" and {len(shown) - 5} more" if len(shown) > 5 else "")


class _Reference:
    """Pickles as ``getattr(import_module(module), name)``, which needs nothing of ironlearn."""

    def __init__(self, module: str, name: str | None = None) -> None:
        self.module, self.name = module, name

    def __reduce__(self) -> Any:
        if self.name is None:
            return importlib.import_module, (self.module,)
        return getattr, (_Reference(self.module), self.name)


def _reduce_genuine(instance: Any) -> Any:
    """Pickle one of scikit-learn's own estimators while its class's name is taken."""
    kind = type(instance)
    reference = _Reference(kind.__module__, kind.__qualname__)
    return copyreg._reconstructor, (reference, object, None), instance.__getstate__()  # type: ignore[attr-defined]
