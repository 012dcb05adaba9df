"""Makes a patched class: a subclass of scikit-learn's that trains in ironlearn.

Constructor, parameters, tags, routing and mixins are scikit-learn's own, by inheritance. Methods
and fitted attributes that ironlearn has are replaced by ones that ask the fitted ironlearn
estimator, once there is one; without it they are scikit-learn's.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import threading
from abc import ABCMeta
from collections.abc import Callable
from typing import Any

from sklearn.utils.metaestimators import available_if

from ironlearn.base import TYPES
from ironlearn.patch import _dispatch
from ironlearn.patch._fitted import MODEL, PatchedMixin, fitted_attribute

#: Packages of both libraries whose classes have the same names and meaning.
FAMILIES = ("naive_bayes", "tree", "ensemble", "svm", "cluster")

#: Methods that train.
TRAINING = ("fit", "partial_fit")

#: Methods of mixins that change the fitted model itself.
CHANGING = ("sparsify", "densify")

_classes: dict[str, type] = {}
_lock = threading.RLock()


class PatchedMeta(ABCMeta):
    """Lets scikit-learn's and ironlearn's own instances pass as those of a patched class.

    Code that checks ``isinstance(model, RandomForestClassifier)`` means what it checked before
    the name was replaced. Subclasses of a patched class are ordinary classes. ironlearn's classes
    pass by their instances alone: an abstract base asks its subclasses about every class and keeps
    the answer, so scikit-learn's own class would take them for its kind from then on.
    """

    def __subclasscheck__(cls, subclass: type) -> bool:
        genuine = cls.__dict__.get("_ironlearn_genuine")
        if genuine is None:
            return super().__subclasscheck__(subclass)
        # Not by issubclass: that of an abstract base asks its subclasses, this one among them.
        return genuine in subclass.__mro__

    def __instancecheck__(cls, instance: Any) -> bool:
        native = cls.__dict__.get("_ironlearn_native")
        kind = type(instance)
        return (native is not None and native in kind.__mro__) or cls.__subclasscheck__(kind)


def covered_names() -> list[str]:
    """Return the names of all estimators that this build can replace."""
    return [name for name in TYPES if is_covered(name)]


def is_covered(name: str) -> bool:
    """Tell whether this build can replace the estimator `name`."""
    return name in TYPES and _sklearn_module(name) is not None


def _sklearn_module(name: str) -> str | None:
    package, _, family = TYPES[name].rpartition(".")
    if package != "ironlearn" or family not in FAMILIES:
        return None
    module = f"sklearn.{family}"
    return module if hasattr(importlib.import_module(module), name) else None


def public_module(name: str) -> str:
    """Return the module of scikit-learn that users import `name` from."""
    module = _sklearn_module(name)
    assert module is not None
    return module


def genuine_class(name: str) -> type:
    """Return scikit-learn's class, whether or not it is replaced now."""
    found: type = getattr(importlib.import_module(public_module(name)), name)
    return found.__dict__.get("_ironlearn_genuine", found)


def patched_class(name: str) -> type:
    """Return the patched class, made at the first call."""
    with _lock:
        if name not in _classes:
            native = getattr(importlib.import_module(TYPES[name]), name)
            _classes[name] = _make(name, genuine_class(name), native)
        return _classes[name]


def _make(name: str, genuine: type, native: type) -> type:
    namespace: dict[str, Any] = {
        "__module__": "ironlearn.patch.estimators",
        "__qualname__": name,
        "__doc__": genuine.__doc__,
        "_ironlearn_genuine": genuine,
        "_ironlearn_native": native,
        "_ironlearn_defaults": _defaults(genuine),
        "_ironlearn_native_defaults": _defaults(native),
    }
    for member in dir(genuine):
        static = inspect.getattr_static(genuine, member)
        if member.startswith("_"):
            continue
        if isinstance(static, property):
            if hasattr(native, member) or member.endswith("_"):
                namespace[member] = _attribute(member, static)
        elif not inspect.isfunction(_plain(static)):
            continue  # such as set_fit_request, which inspects the methods
        elif member in TRAINING:
            namespace[member] = _training(member, static)
        elif member == "fit_transform" and _own(native, member):
            namespace[member] = _fit_transform(static)
        elif member != "fit_predict" and _own(native, member):
            namespace[member] = _answering(member, static)
    return PatchedMeta(name, (PatchedMixin, genuine), namespace)


def _defaults(kind: type) -> dict[str, Any]:
    """Return the constructor's parameters and their defaults."""
    parameters = inspect.signature(kind).parameters
    return {name: parameter.default for name, parameter in parameters.items()}


def _own(native: type, member: str) -> bool:
    """Tell whether ironlearn itself implements `member`, rather than a mixin of scikit-learn's.

    What mixins do (``score``) goes through the estimator's public methods and needs no
    replacement; a subclass that overrides one of those is respected that way.
    """
    if member in CHANGING:
        return hasattr(native, member)
    for kind in native.__mro__:
        if member in vars(kind):
            return kind.__module__.startswith("ironlearn.")
    return False


def _plain(static: Any) -> Callable[..., Any]:
    """Return the function behind a method that is only available sometimes."""
    return getattr(static, "fn", static)


def _guarded(method: Callable[..., Any], static: Any) -> Any:
    """Return `method`, available where scikit-learn's (or the fitted model's) is."""
    check = getattr(static, "check", None)
    if check is None:
        return method
    name = method.__name__

    def available(self: Any) -> bool:
        model = self.__dict__.get(MODEL)
        return bool(check(self)) if model is None else hasattr(model, name)

    return available_if(available)(method)


def _attribute(name: str, original: property) -> property:
    def get(self: Any) -> Any:
        model = self.__dict__.get(MODEL)
        if model is not None:
            return fitted_attribute(self, model, name)
        assert original.fget is not None
        return original.fget(self)

    return property(get, original.fset, original.fdel, original.__doc__)


def _training(name: str, static: Any) -> Any:
    original = _plain(static)

    @functools.wraps(original)
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        return _dispatch.train(self, name, original, args, kwargs)

    return _guarded(method, static)


def _fit_transform(static: Any) -> Any:
    original = _plain(static)

    @functools.wraps(original)
    def method(self: Any, X: Any, *args: Any, **kwargs: Any) -> Any:
        return self.fit(X, *args, **kwargs).transform(X)

    return _guarded(method, static)


def _answering(name: str, static: Any) -> Any:
    original = _plain(static)

    @functools.wraps(original)
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        model = self.__dict__.get(MODEL)
        if model is None:
            return original(self, *args, **kwargs)
        result = getattr(model, name)(*args, **kwargs)
        return self if result is model else result

    return _guarded(method, static)
