"""Decides where a patched estimator trains, and keeps what was fitted."""

from __future__ import annotations

import copy
import inspect
import time
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np
from sklearn import get_config
from sklearn.base import BaseEstimator

from ironlearn.patch import _events

#: The fitted estimator of ironlearn, in the instance's dictionary.
MODEL = "_ironlearn_model"
#: Names of the attributes that a training call of scikit-learn's set.
FOREIGN = "_ironlearn_foreign"
#: Patched estimators made from parts of the model, such as a forest's trees.
_PARTS = "_ironlearn_parts"

#: What ironlearn raises for what it does not do. Anything else is a defect and is shown.
_REFUSALS = (ValueError, TypeError, NotImplementedError)

#: Classes whose state in scikit-learn is more than their public attributes.
_SEALED = frozenset({"SVC", "SVR", "MiniBatchKMeans", "BisectingKMeans"})

_MISSING = object()


def defaults_of(kind: type) -> dict[str, Any]:
    """Return the constructor's parameters and their defaults."""
    parameters = inspect.signature(kind).parameters
    return {name: parameter.default for name, parameter in parameters.items()}


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
        state.pop(_PARTS, None)
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
    parts = estimator.__dict__.setdefault(_PARTS, {})
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
    for key in (MODEL, _PARTS):
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


def train(
    estimator: Any,
    method: str,
    original: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Any:
    """Train in ironlearn, or in scikit-learn with a report of the reason."""
    name = estimator._ironlearn_genuine.__name__
    started = time.perf_counter()
    continues = _continues(estimator, method)
    model = estimator.__dict__.get(MODEL) if continues else None
    if not continues and not get_config()["skip_parameter_validation"]:
        # Both refuse what scikit-learn refuses, in its words.
        estimator._validate_params()
    parameters, reason = _parameters_for(estimator)
    reason = _refusal(estimator, continues, args, kwargs) or reason
    cause: Exception | None = None
    if reason is None:
        random_state: Any = getattr(estimator, "random_state", None)
        drawn = (
            random_state.get_state() if isinstance(random_state, np.random.RandomState) else None
        )
        try:
            if model is None:
                model = estimator._ironlearn_native(**parameters)
            else:
                model.set_params(**parameters)
            getattr(model, method)(*args, **kwargs)
        except _REFUSALS as error:
            if continues:
                raise  # what was learned so far is here, not in scikit-learn
            cause, reason = error, _first_line(error)
            if drawn is not None:
                random_state.set_state(drawn)
        else:
            _forget(estimator)
            estimator.__dict__[MODEL] = model
            _record("native", name, method, "", started)
            return estimator
    _events.forbid(name, method, reason, cause)
    _train_genuine(estimator, method, original, args, kwargs, name, cause, started)
    _events.announce(name, method, reason, stacklevel=3)
    _record("fallback", name, method, reason, started)
    return estimator


def _train_genuine(
    estimator: Any,
    method: str,
    original: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    name: str,
    cause: Exception | None,
    started: float,
) -> None:
    before = dict(estimator.__dict__)
    foreign = set(before.get(FOREIGN, ()))
    # scikit-learn must not find what ironlearn fitted.
    for key in (MODEL, _PARTS):
        estimator.__dict__.pop(key, None)
    try:
        original(estimator, *args, **kwargs)
    except BaseException as error:
        # A failed call leaves what was fitted before it.
        estimator.__dict__.clear()
        estimator.__dict__.update(before)
        if cause is not None and isinstance(error, Exception):
            _record("error", name, method, "", started)
            error.__context__ = None
        raise
    own = estimator._ironlearn_defaults
    estimator.__dict__[FOREIGN] = sorted(
        foreign | {k for k in estimator.__dict__ if k not in before and k not in own}
    )


def _record(kind: Any, name: str, method: str, reason: str, started: float) -> None:
    _events.record(_events.Event(kind, name, method, reason, time.perf_counter() - started))


def _forget(estimator: Any) -> None:
    """Drop what an earlier training call left: scikit-learn's attributes, parts of the model."""
    for key in estimator.__dict__.pop(FOREIGN, ()):
        estimator.__dict__.pop(key, None)
    estimator.__dict__.pop(_PARTS, None)


def _continues(estimator: Any, method: str) -> bool:
    """Tell whether the call goes on from an earlier one."""
    fitted = MODEL in estimator.__dict__ or FOREIGN in estimator.__dict__
    return fitted and (method == "partial_fit" or bool(getattr(estimator, "warm_start", False)))


def _refusal(
    estimator: Any, continues: bool, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> str | None:
    """Return why ironlearn is not asked at all, or ``None``."""
    if continues and FOREIGN in estimator.__dict__:
        return "the model was begun in scikit-learn, for the reason reported then"
    hook = _overridden_hook(type(estimator), estimator._ironlearn_genuine)
    if hook is not None:
        return f"{hook} is overridden, which only scikit-learn's training calls"
    if getattr(estimator, "_skl_callbacks", None):
        return "callbacks are set"
    if get_config()["array_api_dispatch"]:
        for value in (*args, *kwargs.values()):
            if hasattr(value, "__array_namespace__") and not isinstance(value, np.ndarray):
                return f"array_api_dispatch with an array of {type(value).__module__}"
    return None


def _overridden_hook(kind: type, genuine: type) -> str | None:
    """Return the private method of scikit-learn's that a subclass overrides, if any."""
    for base in kind.__mro__:
        if "_ironlearn_genuine" in vars(base):
            return None
        for name in vars(base):
            if (
                name.startswith("_")
                and not name.endswith("__")
                and not hasattr(BaseEstimator, name)
                and _is_method(inspect.getattr_static(genuine, name, None))
            ):
                return f"{base.__name__}.{name}"
    return None


def _is_method(static: Any) -> bool:
    return callable(static) or isinstance(static, property | classmethod | staticmethod)


def _parameters_for(estimator: Any) -> tuple[dict[str, Any], str | None]:
    """Return ironlearn's parameters, and why it cannot take scikit-learn's, if so."""
    native = estimator._ironlearn_native
    known = estimator._ironlearn_native_defaults
    chosen: dict[str, Any] = {}
    for name, default in estimator._ironlearn_defaults.items():
        value = getattr(estimator, name, default)
        rules = native._parameters.get(name) if name in known else None
        if rules is not None and any(rule.test(value) for rule in rules):
            chosen[name] = value
        elif not _same(value, default):
            if rules is None:
                return {}, f"ironlearn's {native.__name__} has no parameter {name!r}"
            accepted = " or ".join(rule.text for rule in rules)
            shown = repr(value)
            shown = shown if len(shown) <= 80 else shown[:77] + "..."
            return {}, f"{name}={shown} is not supported; {accepted} is"
    return chosen, None


def _same(a: Any, b: Any) -> bool:
    return a is b or (type(a) is type(b) and isinstance(a, int | float | str) and a == b)


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
