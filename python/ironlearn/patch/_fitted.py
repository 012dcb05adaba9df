"""What a patched estimator shows of the ironlearn estimator that was fitted inside of it."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np

from ironlearn.patch import _events

#: The fitted estimator of ironlearn, in the instance's dictionary.
MODEL = "_ironlearn_model"
#: Names of the attributes that a training call of scikit-learn's set.
FOREIGN = "_ironlearn_foreign"
#: Patched estimators made from parts of the model, such as a forest's trees.
PARTS = "_ironlearn_parts"

#: Classes whose state in scikit-learn is more than their public attributes.
_SEALED = frozenset({"SVC", "SVR", "MiniBatchKMeans", "BisectingKMeans"})

_MISSING = object()


class PatchedMixin:
    """What all patched classes share; comes before scikit-learn's class."""

    _ironlearn_genuine: ClassVar[type]
    _ironlearn_native: ClassVar[type]
    _ironlearn_defaults: ClassVar[Mapping[str, Any]]
    _ironlearn_native_defaults: ClassVar[Mapping[str, Any]]

    def __getattr__(self, name: str) -> Any:
        model = self.__dict__.get(MODEL)
        if model is not None and _is_public_result(type(self), name):
            return fitted_attribute(self, model, name)
        declared = inspect.getattr_static(type(self), name, None)
        if isinstance(declared, property) and declared.fget is not None:
            return declared.fget(self)  # raises again, with its own message
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __setattr__(self, name: str, value: Any) -> None:
        model = self.__dict__.get(MODEL)
        if model is not None:
            if name in self._ironlearn_defaults:
                if name in self._ironlearn_native_defaults:
                    # A copy, as shallow copies of this estimator share the model.
                    model = self.__dict__[MODEL] = copy.copy(model)
                    setattr(model, name, value)
            elif (
                name.endswith("_") and _is_public_result(type(self), name) and hasattr(model, name)
            ):
                _hand_over(self, model, name)
        super().__setattr__(name, value)

    def __dir__(self) -> list[str]:
        names = set(super().__dir__())
        model = self.__dict__.get(MODEL)
        if model is not None:
            names.update(n for n in dir(model) if _is_public_result(type(self), n))
        return sorted(names)

    def __getstate__(self) -> dict[str, Any]:
        whole: Any = super().__getstate__()
        state = dict(whole)
        state.pop(PARTS, None)
        return state

    def __sklearn_tags__(self) -> Any:
        tags: Any = super().__sklearn_tags__()  # type: ignore[misc]
        # What ironlearn takes is taken, whatever scikit-learn would do with it.
        native = self._ironlearn_native().__sklearn_tags__().input_tags
        tags.input_tags.sparse |= native.sparse
        tags.input_tags.allow_nan |= native.allow_nan
        return tags

    def __sklearn_is_fitted__(self) -> bool:
        if self.__dict__.get(MODEL) is not None:
            return True
        asked = getattr(self._ironlearn_genuine, "__sklearn_is_fitted__", None)
        if asked is not None:
            return bool(asked(self))
        return any(n.endswith("_") and not n.startswith("__") for n in self.__dict__)


def _is_public_result(kind: Any, name: str) -> bool:
    """Tell whether the fitted model answers for `name`: its results, not its parameters."""
    if name in _PRIVATE:
        return True
    return not name.startswith("_") and name not in kind._ironlearn_native_defaults


def fitted_attribute(estimator: Any, model: Any, name: str) -> Any:
    """Return an attribute of the fitted model, parts of it as scikit-learn's types.

    ``tree_`` is scikit-learn's own class, and a forest's trees are patched estimators, as plots,
    explainers and converters demand.
    """
    read = _PRIVATE.get(name)
    if read is not None:
        return read(model)
    value = getattr(model, name)
    make = _TRANSLATED.get(name)
    if make is None:
        return value
    parts = estimator.__dict__.setdefault(PARTS, {})
    if name not in parts:
        parts[name] = make(value)
    return parts[name]


def _hand_over(estimator: Any, model: Any, attribute: str) -> None:
    """Let scikit-learn go on with what ironlearn fitted: its models can be changed."""
    name = estimator._ironlearn_genuine.__name__
    if name in _SEALED:
        raise AttributeError(
            f"{attribute} of this {name} cannot be set: ironlearn fitted it, and its models do "
            "not change. Outside of the patch scikit-learn's can."
        )
    reason = f"{attribute} was set, and models of ironlearn do not change"
    _events.forbid(name, f"{attribute} =", reason, None)
    results: dict[str, Any] = {}
    for result in dir(model):
        if not result.endswith("_") or not _is_public_result(type(estimator), result):
            continue
        if isinstance(inspect.getattr_static(type(estimator), result, None), property):
            continue  # computed from the others
        value: Any = getattr(estimator, result, _MISSING)
        if value is not _MISSING:
            frozen = isinstance(value, np.ndarray) and not value.flags.writeable
            results[result] = value.copy() if frozen else value
    if "KMeans" in name:
        from sklearn.utils._openmp_helpers import _openmp_effective_n_threads

        results["_n_threads"] = _openmp_effective_n_threads()
    for key in (MODEL, PARTS):
        estimator.__dict__.pop(key, None)
    estimator.__dict__.update(results)
    estimator.__dict__[FOREIGN] = sorted(results)
    _events.record(_events.Event("fallback", name, f"{attribute} =", reason, 0.0))
    _events.announce(name, f"{attribute} =", reason, stacklevel=3)


def _genuine_tree(tree: Any) -> Any:
    from sklearn.tree._tree import Tree

    if not hasattr(tree, "categories_left"):
        return tree
    genuine = Tree(tree.n_features, np.asarray(tree.n_classes, dtype=np.intp), tree.n_outputs)
    genuine.__setstate__(tree.__getstate__())
    return genuine


def _adopted(value: Any) -> Any:
    return [adopt(part) for part in value] if isinstance(value, list) else adopt(value)


def _runs(model: Any) -> int:
    """Return how many runs a k-means made."""
    if not isinstance(model.init, str) and not callable(model.init):
        return 1
    if model.n_init != "auto":
        return int(model.n_init)
    if isinstance(model.init, str) and model.init.startswith("k-means"):
        return 1
    return 3 if "MiniBatch" in type(model).__name__ else 10


def _reader(name: str) -> Callable[[Any], Any]:
    return lambda model: getattr(model, name)


#: Private attributes that mixins of scikit-learn's and libraries around it read.
_PRIVATE: dict[str, Callable[[Any], Any]] = {
    "_n_features_out": _reader("_n_features_out"),
    "_gamma": _reader("_gamma"),
    "_n_init": _runs,
    "_n_samples_bootstrap": _reader("_n_draws"),
}

_TRANSLATED: dict[str, Callable[[Any], Any]] = {
    "tree_": _genuine_tree,
    "estimators_": _adopted,
    "estimator_": _adopted,
}


def adopt(model: Any) -> Any:
    """Return a patched estimator around an estimator of ironlearn's."""
    from ironlearn.patch import _build

    name = type(model).__name__
    if not _build.is_covered(name):
        return model
    kind: Any = _build.patched_class(name)
    if type(model) is not kind._ironlearn_native:
        return model
    parameters = model.get_params(deep=False)
    shared = {n: v for n, v in parameters.items() if n in kind._ironlearn_defaults}
    estimator = kind(**shared)
    if hasattr(model, "_model"):
        estimator.__dict__[MODEL] = model
    return estimator
